"""``supervisor completion``, and what shells complete: names of runs and handlers, ids of runs, keys of deliveries.

An error while completing yields no suggestions.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from supervisor._cli import shared
from supervisor._cli.shared import line
from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from click.shell_completion import CompletionItem

    from supervisor._store.sqlite.reader import JournalReader

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
    name = shell if shell is not None else os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119 - the result is to be text, not a Path
    name = name.lower().removesuffix(".exe")
    if name not in _HINTS:
        shared.fail(_refusal(name), shared.WRONG_USE)
    shared.say(_HINTS[name] + _code(name))


def _code(shell: str) -> str:
    from click.shell_completion import get_completion_class

    from supervisor._cli.main import main

    kind = get_completion_class(shell)
    assert kind is not None  # click has all three since 8.0
    complete = kind(main, {}, "supervisor", _VARIABLE)
    # source() of bash starts bash to learn its version, and complains on stderr: the hint names the version instead.
    return complete.source_template % complete.source_vars()


def _refusal(name: str) -> str:
    known = "bash, zsh and fish"
    if not name:
        return f"say which shell: there is completion for {known}"
    if name in _OTHERS:
        return f"there is no completion for {name}: click, which supervisor is built on, offers {known} only"
    from supervisor._config.problems import suggestion

    return f"{shared.line(name)!r} is no shell that is known here; {suggestion(name, _HINTS)}"


_BUSY_S = 0.5  # the user has pressed a key and is waiting
_MOST = 50


def run_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of runs that begin with the text."""
    with suppress(SupervisorError), _reading() as reader:
        return _items(((name, "") for name in reader.names()), incomplete)
    return []


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names and the ids of runs that begin with the text."""
    from supervisor._cli.run_facts import SHORT_ID

    with suppress(SupervisorError), _reading() as reader:
        names = _items(((name, "the newest run") for name in reader.names()), incomplete)
        reports = [each.report for each in reader.runs(limit=_MOST)]
        ids = ((each.id[:SHORT_ID], f"{each.name}, {each.outcome or 'under way'}") for each in reports)
        return [*names, *_items(ids, incomplete)]
    return []


def handlers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of configured handlers that begin with the text."""
    from supervisor._config.active import load

    known = load().handlers
    return _items(((name, spec.type) for name, spec in known.items()), incomplete)


def deliveries(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the keys, beginning with the text, of deliveries that wait or have failed."""
    with suppress(SupervisorError), _reading() as reader:
        waiting = reader.deliveries(limit=_MOST)
        return _items(((str(each.key), f"{each.handler}: {each.subject}") for each in waiting), incomplete)
    return []


@contextmanager
def _reading() -> Iterator[JournalReader]:
    """Open the journal for a moment.

    Raises:
        SupervisorError: It does not exist, or cannot be read.
    """
    from supervisor._runtime import default_runtime
    from supervisor._store.sqlite.reader import open_reader

    reader = open_reader(default_runtime().state_directory(), busy_s=_BUSY_S)
    if reader is None:
        raise SupervisorError("there is no journal yet")
    try:
        yield reader
    finally:
        reader.close()


def _items(offered: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    """Return the suggestions that begin with the text, without those with control characters, which nobody can type."""
    from click.shell_completion import CompletionItem

    return [
        CompletionItem(text, help=line(description, 60) if description else None)
        for text, description in offered
        if text.startswith(incomplete) and text == line(text, 10_000)
    ]
