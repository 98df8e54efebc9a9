"""``supervisor completion``: the shell code that completes the commands."""

from __future__ import annotations

import os

import click

from supervisor._cli import shared

_VARIABLE = "_SUPERVISOR_COMPLETE"
_HINTS = {
    "bash": """# To have it in each new shell (bash 4.4 or newer):
#   supervisor completion bash > ~/.local/share/bash-completion/completions/supervisor
# or, without the package bash-completion, add this line to ~/.bashrc:
#   eval "$(supervisor completion bash)"
""",
    "zsh": """# To have it in each new shell, add this line to ~/.zshrc, behind compinit:
#   eval "$(supervisor completion zsh)"
""",
    "fish": """# To have it in each new shell:
#   supervisor completion fish > ~/.config/fish/completions/supervisor.fish
""",
}
_OTHERS = {"powershell", "pwsh", "cmd", "nu", "nushell", "tcsh", "csh", "ksh", "sh", "dash", "elvish", "xonsh"}


@click.command("completion", epilog=shared.exit_codes(two="there is no completion for that shell"))
@click.argument("shell", required=False, metavar="[bash|zsh|fish]")
def command(shell: str | None) -> None:
    """Print the shell code that completes commands, options, names of runs and handlers, ids and keys.

    Without a shell it takes the one that SHELL names. How to install it stands at the top of the code. There is none
    for PowerShell, which click, the library that parses the commands, does not offer.
    """
    name = shell if shell is not None else os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119 - a text
    name = name.lower().removesuffix(".exe")
    if name not in _HINTS:
        shared.fail(_refusal(name), shared.WRONG_USE)
    shared.say(_HINTS[name] + _code(name))


def _code(shell: str) -> str:
    from click.shell_completion import get_completion_class

    from supervisor._cli.main import main

    kind = get_completion_class(shell)
    assert kind is not None  # click has had the three since 8.0
    complete = kind(main, {}, "supervisor", _VARIABLE)
    # source() of bash starts bash to learn its version, and complains on stderr: the hint names the version instead.
    return complete.source_template % complete.source_vars()


def _refusal(name: str) -> str:
    known = "bash, zsh and fish"
    if not name:
        return f"say which shell: there is completion for {known}"
    if name in _OTHERS:
        return f"there is no completion for {name}: click, which supervisor is built on, offers {known} only"
    from supervisor._config.problems import meant

    return f"{shared.line(name)!r} is no shell that is known here; {meant(name, _HINTS)}"
