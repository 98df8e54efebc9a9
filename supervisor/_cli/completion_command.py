"""``supervisor completion``, and what shells complete: names of runs and handlers, ids of runs, keys of deliveries.

An error while completing yields no suggestions.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    add_completion_class,
    get_completion_class,
)

from supervisor._cli import shared
from supervisor._cli.shared import line
from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._store.sqlite import JournalReader

VARIABLE = "_SUPERVISOR_COMPLETE"
"""The environment variable by which the shell's code asks for suggestions; click reads it."""
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
_BUSY_S = 0.5  # the user has pressed a key and is waiting
_MOST = 50
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
    kind = get_completion_class(shell)
    assert kind is not None  # click has all three since 8.0
    complete = kind(click.Group(), {}, "supervisor", VARIABLE)
    # source() of bash starts bash to learn its version, and complains on stderr: the hint names the version instead.
    return complete.source_template % complete.source_vars()


def _refusal(name: str) -> str:
    known = "bash, zsh and fish"
    if not name:
        return f"say which shell: there is completion for {known}"
    if name in _OTHERS:
        return f"there is no completion for {name}: click, which supervisor is built on, offers {known} only"
    from supervisor._config.checks import suggestion

    return f"{shared.line(name)!r} is no shell that is known here; {suggestion(name, _HINTS)}"


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
    from supervisor._config import load

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
    from supervisor._store.sqlite import open_reader

    reader = open_reader(default_runtime().state_directory(), busy_s=_BUSY_S)
    if reader is None:
        raise SupervisorError("there is no journal yet")
    try:
        yield reader
    finally:
        reader.close()


def _items(offered: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    """Return the suggestions that begin with the text.

    Those with control characters, which nobody can type, are left out, and those that begin with a dash, which would be
    taken for options.
    """
    return [
        CompletionItem(text, help=line(description, 60) if description else None)
        for text, description in offered
        if text.startswith(incomplete) and not text.startswith("-") and text == line(text, 10_000)
    ]


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete files."""
    return [CompletionItem(incomplete, type="file")]


# What the shells get. Click's own code for bash puts names into the command line as they are, where bash executes
# what is in them, and splits them at blanks; its code for fish cuts them at a comma.


class Typed(NamedTuple):
    """The word before the cursor in a command line of bash.

    Args:
        before: The words before it, without quotes.
        word: The word itself, without quotes.
        raw: It as it stands in the line.
        quote: The quote that is open at the cursor; "" for none.
        is_plain: Whether it can be completed: it has nothing that the shell would expand, and no quote that is closed.
    """

    before: tuple[str, ...] = ()
    word: str = ""
    raw: str = ""
    quote: str = ""
    is_plain: bool = True


_TOKEN = re.compile(
    r"""(?P<blank>[ \t\n]+)|\\(?P<escaped>.?)|(?P<quote>['"])|(?P<plain>[^ \t\n\\'"]+)""",
    re.DOTALL,
)
_QUOTED = {"'": re.compile(r"[^']*"), '"': re.compile(r'(?:\\.|[^"\\])*\\?', re.DOTALL)}
_IN_DOUBLE = re.compile(r'\\([$`"\\\n])')
_EXPANDED = re.compile(r"(?<!\\)[$`]")


def typed(text: str) -> Typed:
    """Return the word that is typed at the end of a line, by bash's rules for quotes."""
    at, end = Typed(), 0
    while match := _TOKEN.match(text, end):
        start, end = match.span()
        if match["blank"]:
            at = Typed((*at.before, at.word) if at.raw else at.before)
        elif match["quote"]:
            at, end = _with_quoted(at, text, start)
        else:
            plain = match["plain"] or ""
            is_plain = at.is_plain and not _EXPANDED.search(plain)
            at = at._replace(word=at.word + plain + (match["escaped"] or ""), raw=at.raw + match[0], is_plain=is_plain)
    return at


def _with_quoted(at: Typed, text: str, start: int) -> tuple[Typed, int]:
    """Return what is typed with the quoted part that begins at an index, and where that ends."""
    quote = text[start]
    inside = _QUOTED[quote].match(text, start + 1)
    assert inside is not None  # both patterns match an empty text too
    is_open = inside.end() == len(text)
    content = _IN_DOUBLE.sub(r"\1", inside[0]) if quote == '"' else inside[0]
    end = inside.end() + (not is_open)
    is_plain = at.is_plain and is_open and (not at.raw or at.raw.endswith("="))
    is_plain = is_plain and not (quote == '"' and _EXPANDED.search(inside[0]))
    word, raw = at.word + content, at.raw + text[start:end]
    return Typed(at.before, word, raw, quote if is_open else "", is_plain), end


def for_bash(value: str, at: Typed, breaks: str) -> str:
    """Return a suggestion as it must stand in the line, so that bash reads the value again and executes nothing.

    Args:
        value: The suggestion.
        at: What is typed.
        breaks: ``COMP_WORDBREAKS``: bash replaces only what is typed after the last of these.
    """
    if at.quote == "'":
        return value.replace("'", "'\\''")
    if at.quote:
        # "!" calls up the history, even between double quotes, unless it is between single ones.
        return re.sub(r'([$`"\\])', r"\\\1", value).replace("!", "\"'!'\"")
    quoted = re.sub(r"([^\w@%+=:,./-])", r"\\\1", value)
    if at.raw.startswith("-"):
        return quoted
    kept = max((at.raw.rfind(each) for each in breaks if each in "@=:"), default=-1) + 1
    return quoted[kept:] if quoted.startswith(at.raw[:kept]) else quoted


@add_completion_class
class _Bash(BashComplete):
    """What bash gets: suggestions that are quoted already."""

    source_template: ClassVar[str] = """\
%(complete_func)s() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            plain,*) COMPREPLY+=("${line#plain,}") ;;
            file,*) compopt -o default ;;
            dir,*) compopt -o dirnames ;;
        esac
    done < <(env _SUPERVISOR_LINE="${COMP_LINE:0:COMP_POINT}" _SUPERVISOR_BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "${1/#\\~\\//$HOME/}" 2> /dev/null)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, and the one at it."""
        at = self._typed()
        return list(at.before[1:]), at.word

    def format_completion(self, item: CompletionItem) -> str:
        """Return one suggestion as the shell code reads it."""
        at = self._typed()
        if not at.is_plain:
            return ""
        return f"{item.type},{for_bash(item.value, at, os.environ.get('_SUPERVISOR_BREAKS', ''))}"

    def _typed(self) -> Typed:
        return typed(os.environ.get("_SUPERVISOR_LINE", ""))


@add_completion_class
class _Fish(FishComplete):
    """What fish gets: names with commas stay whole."""

    source_template: ClassVar[str] = FishComplete.source_template.replace('string split ","', 'string split -m 1 ","')
