"""What the commands share: opening the journal, printing, tables, colours, times, and exit codes.

A text from outside (a run's name, an error) may contain anything: its control characters never reach the terminal, and
nothing in it counts as markup.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
import sys
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from html import unescape
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import click

from supervisor._places import is_terminal, shows_colour
from supervisor._runtime import default_runtime
from supervisor._text import ESCAPES, UNSEEN, duration, localized, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from supervisor._store import Store
    from supervisor._store.sqlite import JournalReader

C = TypeVar("C", bound="Callable[..., Any]")

FINE, FOUND, WRONG_USE = 0, 1, 2
"""The exit codes: success; something was found or failed; wrong usage or configuration."""

_PLAINER = {
    "…": "...", "·": "-", "━": "#", "─": "-", "→": "->", "←": "<-", "•": "*", "✓": "+", "✗": "x",
    "\N{EN DASH}": "-", "—": "-", "\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "€": "EUR", "£": "GBP", "°": " deg",
    "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ł": "l", "Ł": "L",
}  # fmt: skip
"""What stands for a character that the console does not have. Accents are left out; the rest are escapes."""

_ELLIPSIS = re.compile(r".{0,2}…")
_COLOURS = re.compile(r"(\x1b\[[\d;]*m)")
_LONGEST = 100_000
_PAGE = re.compile(r"<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>([^<]*[^<\s][^<]*)", re.IGNORECASE)
_TAGS = re.compile(r"<(script|style)\b.*?(?:</\1>|\Z)|<[^>]*(?:>|\Z)", re.IGNORECASE | re.DOTALL)
_VISIBLE = UNSEEN | dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)))
"""What becomes of characters that move the cursor, change the direction of the text, or show nothing."""


def journal() -> JournalReader | None:
    """Return the journal for reading, or None if there is none yet. Ends the command if it cannot be read.

    It is closed when the command ends.
    """
    from supervisor._store.sqlite import open_reader

    with journal_errors_shown():
        directory = default_runtime().state_path()
        reader = open_reader(default_runtime().state_directory())
        if reader is None:
            check_place(directory)
    context = click.get_current_context(silent=True)
    if reader is not None and context is not None:
        context.call_on_close(reader.close)
    return reader


def check_place(directory: str) -> bool:
    """Return whether there is a state directory, after a check that it is one, or that it can be made.

    Raises:
        JournalUnavailable: There can be no journal in that place, or it cannot be known whether there is one.
    """
    from supervisor._store.essentials import FILE_NAME, JournalUnavailable

    try:
        is_directory = stat.S_ISDIR(os.stat(directory).st_mode)  # noqa: PTH116 - pathlib hides some of the errors
        if is_directory:
            with suppress(FileNotFoundError):
                os.stat(os.path.join(directory, FILE_NAME))  # noqa: PTH116, PTH118 - pathlib hides some of the errors
    except FileNotFoundError as error:
        if os.path.islink(directory):  # noqa: PTH114 - a text
            raise JournalUnavailable(directory, "the state directory is a link that leads nowhere") from error
        return False
    except OSError as error:
        raise JournalUnavailable(os.path.join(directory, FILE_NAME), str(error.strerror)) from error  # noqa: PTH118 - a text
    if not is_directory:
        raise JournalUnavailable(directory, "the state directory is no directory")
    return True


def writable_journal() -> Store:
    """Return the journal for writing. Ends the command if it cannot be opened."""
    from supervisor._store import open_journal

    with journal_errors_shown():
        return open_journal(default_runtime().state_directory())


@contextmanager
def journal_errors_shown() -> Iterator[None]:
    """End the command with an error message if the block cannot read or write the journal."""
    from supervisor._store.essentials import JournalUnavailable

    try:
        yield
    except JournalUnavailable as error:
        fail(str(error))


def no_journal_yet() -> str:
    """Return the sentence that says that there is no journal yet."""
    return f"No run was journalled yet ({line(str(default_runtime().state_directory()))} has no journal)."


def say(text: str = "") -> None:
    """Print a text. Characters that the console cannot show are replaced; without a console nothing is printed."""
    _write(text, sys.stdout, err=False)


def print_problem(text: str, label: str = "", style: str = "bold red") -> None:
    """Print a problem to stderr, wrapped to the width of the terminal.

    Args:
        text: The problem; quoted input went through :func:`line`.
        label: The word before it, like "error"; "" for none.
        style: The style of the label.
    """
    label = f"{label}:" if label else ""
    first, *more = f"{label} {text}".lstrip().split("\n")
    columns = width(sys.stderr)
    head, *rest = (wrapped(first, columns) if columns is not None else None) or [first]
    painted = paint(head[: len(label)], style, sys.stderr) + head[len(label) :]
    _write("\n".join((painted, *rest, *more)), sys.stderr, err=True)


def fail(text: str, code: int = FOUND) -> NoReturn:
    """Print an error with its remedy, and end the command.

    Args:
        text: One line or several; quoted input went through :func:`line`.
        code: The exit code.
    """
    print_problem(text, "error")
    click.get_current_context().exit(code)


def print_json(value: Any) -> None:
    """Print one JSON document in ASCII, with times in UTC as ISO 8601, and NaN and infinity as texts."""
    import json

    say(json.dumps(plain(value), indent=2))


def plain(value: Any) -> Any:
    """Return a value converted to types that JSON has."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    return _instant(value) if isinstance(value, date) else str(value)


def _instant(value: date) -> str:
    is_aware = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC).isoformat() if is_aware else value.isoformat()  # type: ignore[attr-defined]  # a datetime


def table(columns: Sequence[Column | str], rows: Iterable[Sequence[str | Styled]]) -> None:
    """Print a table: fitted to the terminal, or complete if stdout is no terminal."""
    say("\n".join(drawn(columns, rows)))


def local(instant: datetime, *, seconds: bool = False) -> str:
    """Return a time in the machine's time zone ("2025-11-24 02:00")."""
    return localized(instant).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def ago(instant: datetime, now: datetime | None = None) -> str:
    """Return how long ago a time was ("2 h 3 min ago")."""
    seconds = ((now or datetime.now(UTC)) - instant).total_seconds()
    return f"{duration(round(max(0.0, seconds)))} ago" if seconds >= 1 else "just now"


def as_json(command: C) -> C:
    """Give a command the option ``--json``, as the parameter ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")(command)


def deadline(text: str, *, default_s: float = 60.0, least_s: float = 0) -> Callable[[C], C]:
    """Give a command the option ``--deadline``, as the parameter ``deadline_s``.

    Args:
        text: What it limits, for the help.
        default_s: The seconds without it.
        least_s: The fewest seconds.
    """
    limit = click.FloatRange(min=least_s)
    names = ("--deadline", "deadline_s")
    return click.option(*names, type=limit, default=default_s, show_default=True, metavar="SECONDS", help=text)


def exit_codes(*, zero: str = "fine", one: str = "", two: str = "wrong usage") -> str:
    """Return the description of a command's exit codes, for the end of its help.

    Args:
        zero: The meaning of 0.
        one: The meaning of 1; "" if it is not used.
        two: The meaning of 2.
    """
    described = "\n".join(f"  {code}  {text}" for code, text in enumerate((zero, one, two)) if text)
    return f"\b\nExit codes:\n{described}"


def _write(text: str, stream: Any, *, err: bool) -> None:
    if stream is None or getattr(stream, "closed", False):
        return
    click.echo(showable(text, stream), err=err)


# Tables, colours and texts from outside


class Styled(NamedTuple):
    """A text in a style: words like "bold", "dim", "red", "green", "yellow" and "cyan"."""

    text: str
    style: str


class Column(NamedTuple):
    """A column of a table.

    Args:
        title: Its heading.
        justify: "left" or "right".
        gives: How it shrinks in a narrow terminal: "cut" ends with an ellipsis, "wrap" takes more lines; "" shrinks
            only after the others.
    """

    title: str
    justify: str = "left"
    gives: str = ""


def drawn(
    columns: Sequence[Column | str], rows: Iterable[Sequence[str | Styled]], most: int | None = None
) -> list[str]:
    """Return the lines of a table, the headings first. A row is one line unless a column wraps.

    Args:
        columns: Its columns.
        rows: A cell for each column.
        most: The greatest width in characters; None for that of the terminal, or no limit if stdout is no terminal.
    """
    heads = [each if isinstance(each, Column) else Column(each) for each in columns]
    cells = [[each if isinstance(each, Styled) else Styled(each, "") for each in row] for row in rows]
    return _drawn(heads, cells, most or width() or _LONGEST)


def _drawn(columns: Sequence[Column], rows: Sequence[Sequence[Styled]], most: int) -> list[str]:
    from io import StringIO

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    whole = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        whole.add_column(
            Text(column.title), justify="right" if column.justify == "right" else "left", no_wrap=not column.gives
        )
    for row in rows:
        whole.add_row(*(_cell(column, cell) for column, cell in zip(columns, row, strict=True)))
    file = StringIO()
    console = Console(
        file=file,
        width=most,
        color_system="standard" if shows_colour(sys.stdout) else None,
        force_terminal=True,
        legacy_windows=False,  # click translates colours for old consoles
    )
    console.print(whole)
    return [_with_plain_ellipsis(each.rstrip()) for each in file.getvalue().rstrip("\n").split("\n")]


def _cell(column: Column, cell: Styled) -> Any:
    from rich.text import Text

    wraps = column.gives == "wrap"
    text = showable(cell.text, sys.stdout)  # before it is measured
    return Text(text, style=cell.style, no_wrap=not wraps, overflow="fold" if wraps else "ellipsis")


def _with_plain_ellipsis(row: str) -> str:
    """Return a row of a table in which an ellipsis that the console does not have takes as many columns as before."""
    if "…" not in row or showable("…", sys.stdout) == "…":
        return row
    return "".join(part if part.startswith("\x1b") else _ELLIPSIS.sub(_dots, part) for part in _COLOURS.split(row))


def _dots(found: re.Match[str]) -> str:
    return "." * len(found[0])


def paint(text: str, style: str, stream: Any = None) -> str:
    """Return a text in a style if stdout (or another stream) shows colours; otherwise unchanged."""
    if not text or not shows_colour(sys.stdout if stream is None else stream):
        return text
    words = set(style.split())
    colour = next(iter(words & {"red", "green", "yellow", "cyan", "blue", "magenta"}), None)
    return click.style(text, fg=colour, bold="bold" in words or None, dim="dim" in words or None)


def width(stream: Any = None) -> int | None:
    """Return the width of the terminal in characters; None if stdout (or another stream) is no terminal."""
    if not is_terminal(sys.stdout if stream is None else stream):
        return None
    from shutil import get_terminal_size

    return max(20, get_terminal_size().columns)


def line(text: str, limit: int = 200) -> str:
    """Return a text from outside as one line for the terminal, without control characters and escape sequences."""
    return _visible(one_line(ESCAPES.sub("", text[: 4 * limit]), limit)) or "(blank)"


def lines(text: str, limit: int = 100_000) -> list[str]:
    """Return a text from outside as :func:`line` does, with its line breaks and its indentation."""
    safe = text[:limit].encode("utf-8", "replace").decode()
    return [_visible(each) for each in ESCAPES.sub("", safe).expandtabs(4).splitlines()]


def _visible(text: str) -> str:
    """Return a text that the console can show, without control characters.

    Other characters that show nothing stand there as an escape, and others for those that the console does not have.
    """
    if text.isascii() and text.isprintable():
        return text
    return showable(text.translate(_VISIBLE), sys.stdout)


def reason(text: str, limit: int = 1_000) -> str:
    """Return why a delivery failed, as one line; of a page in HTML, as proxies answer with, its title or its words."""
    page = _PAGE.search(text)
    if page is None:
        return line(text, limit)
    html = text[page.start() :]
    title = _TITLE.search(html)
    words = title[1] if title is not None else _TAGS.sub(" ", html)
    return line(f"{text[: page.start()]}{' '.join(unescape(words).split())} (a page in HTML)", limit)


def cut(text: str, columns: int) -> str:
    """Return a text cut to a width in characters, with an ellipsis."""
    if columns >= 2 * len(text):
        return text
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= columns:
        return text
    ellipsis = showable("…", sys.stdout)
    return f"{set_cell_size(text, max(0, columns - len(ellipsis))).rstrip()}{ellipsis}"


def wrapped(text: str, columns: int) -> list[str]:
    """Return a text of one line wrapped to a width; no lines for an empty text."""
    from textwrap import wrap

    return wrap(text, max(20, columns), break_on_hyphens=False)


def showable(text: str, stream: Any) -> str:
    """Return a text in which characters that the stream cannot encode are replaced by plainer ones, or by escapes."""
    if text.isascii():
        return text
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, _REPLACING).decode(encoding)
    except (UnicodeError, LookupError):  # an encoding that is unknown, or that has not even ASCII
        return text.encode("ascii", _REPLACING).decode("ascii")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for the characters that cannot be encoded, and where to go on: an error handler of codecs."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_plainer, error.object[error.start : error.end])), error.end


def _plainer(character: str) -> str:
    from unicodedata import combining, normalize

    if character in _PLAINER:
        return _PLAINER[character]
    plain = "".join(each for each in normalize("NFKD", character) if not combining(each))
    return plain if plain.isascii() else character.encode("ascii", "backslashreplace").decode()


_REPLACING = "supervisor.plainer"
codecs.register_error(_REPLACING, _replaced)
