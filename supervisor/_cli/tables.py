"""What a terminal shows: tables, colours, widths, and texts that somebody else chose.

Such a text (a run's name, an error) may hold anything: nothing of it reaches the terminal as a command to it, and
nothing is taken for markup.
"""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from supervisor._terminal import is_terminal, shows_colour
from supervisor._text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PLAINER = str.maketrans({"…": "...", "·": "-", "━": "#", "─": "-", "→": "->", "•": "*", "✓": "+", "✗": "x"})
_LONGEST = 100_000
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that move the cursor or turn the direction of what follows, or cannot be written."""


class Styled(NamedTuple):
    """A text in a style: words like "bold", "dim", "red", "green", "yellow" and "cyan"."""

    text: str
    style: str


class Column(NamedTuple):
    """A column of a table.

    Args:
        title: What stands above it.
        justify: "left" or "right".
        gives: How it gives way in a terminal that is too narrow: "cut" ends with an ellipsis, "wrap" takes more
            lines; "" stays whole while others can give.
    """

    title: str
    justify: str = "left"
    gives: str = ""


def drawn(
    columns: Sequence[Column | str], rows: Iterable[Sequence[str | Styled]], most: int | None = None
) -> list[str]:
    """Return the lines of a table, its head first; each row is one unless a column wraps.

    Args:
        columns: Its columns.
        rows: A cell for each column.
        most: How many columns of the terminal it may take; None means all, and where stdout is none, what it needs.
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
    return [each.rstrip() for each in file.getvalue().rstrip("\n").split("\n")]


def _cell(column: Column, cell: Styled) -> Any:
    from rich.text import Text

    wraps = column.gives == "wrap"
    return Text(cell.text, style=cell.style, no_wrap=not wraps, overflow="fold" if wraps else "ellipsis")


def paint(text: str, style: str, stream: Any = None) -> str:
    """Return a text in a style where stdout (or another stream) shows colours, and as it is elsewhere."""
    if not text or not shows_colour(sys.stdout if stream is None else stream):
        return text
    words = set(style.split())
    colour = next(iter(words & {"red", "green", "yellow", "cyan", "blue", "magenta"}), None)
    return click.style(text, fg=colour, bold="bold" in words or None, dim="dim" in words or None)


def width(stream: Any = None) -> int | None:
    """Return the columns of the terminal; None where stdout (or another stream) is none, and nothing need be cut."""
    if not is_terminal(sys.stdout if stream is None else stream):
        return None
    from shutil import get_terminal_size

    return max(20, get_terminal_size().columns)


def line(text: str, limit: int = 200) -> str:
    """Return a text that somebody else wrote, for the terminal: one line, without anything that is no character."""
    whole = "".join(
        each for each in one_line(text, limit) if unicodedata.category(each) not in _HIDDEN or each == "\u200d"
    )
    return whole or "(blank)"


def lines(text: str, limit: int = 100_000) -> list[str]:
    """Return a text of several lines that somebody else wrote, for the terminal; the indentation stays."""
    safe = text[:limit].encode("utf-8", "replace").decode().expandtabs(4)
    return ["".join(c for c in each if unicodedata.category(c) not in _HIDDEN) for each in safe.splitlines()]


def cut(text: str, columns: int) -> str:
    """Return a text that takes no more columns of a terminal than these, cut with an ellipsis."""
    if columns >= 2 * len(text):
        return text
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= columns else f"{set_cell_size(text, columns - 1).rstrip()}…"


def wrapped(text: str, columns: int) -> list[str]:
    """Return a text of one line in as many lines as it takes; nothing for no text."""
    from textwrap import wrap

    return wrap(text, max(20, columns), break_on_hyphens=False)


def showable(text: str, stream: Any) -> str:
    """Return a text with what the stream cannot encode replaced by something plainer."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return text.translate(_PLAINER).encode(encoding, "backslashreplace").decode(encoding)
    return text
