"""Output for a terminal: tables, colours, widths, and texts from outside.

A text from outside (a run's name, an error) may contain anything: its control characters never reach the terminal, and
nothing in it counts as markup.
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
"""Categories of characters that move the cursor, change the direction of the text, or cannot be written."""


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
    return [each.rstrip() for each in file.getvalue().rstrip("\n").split("\n")]


def _cell(column: Column, cell: Styled) -> Any:
    from rich.text import Text

    wraps = column.gives == "wrap"
    return Text(cell.text, style=cell.style, no_wrap=not wraps, overflow="fold" if wraps else "ellipsis")


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
    """Return a text from outside as one line for the terminal, without control characters."""
    whole = "".join(
        each for each in one_line(text, limit) if unicodedata.category(each) not in _HIDDEN or each == "\u200d"
    )
    return whole or "(blank)"


def lines(text: str, limit: int = 100_000) -> list[str]:
    """Return a text from outside as lines for the terminal, without control characters; indentation stays."""
    safe = text[:limit].encode("utf-8", "replace").decode().expandtabs(4)
    return ["".join(c for c in each if unicodedata.category(c) not in _HIDDEN) for each in safe.splitlines()]


def cut(text: str, columns: int) -> str:
    """Return a text cut to a width in characters, with an ellipsis."""
    if columns >= 2 * len(text):
        return text
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= columns else f"{set_cell_size(text, columns - 1).rstrip()}…"


def wrapped(text: str, columns: int) -> list[str]:
    """Return a text of one line wrapped to a width; no lines for an empty text."""
    from textwrap import wrap

    return wrap(text, max(20, columns), break_on_hyphens=False)


def showable(text: str, stream: Any) -> str:
    """Return a text with characters that the stream cannot encode replaced by plainer ones."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return text.translate(_PLAINER).encode(encoding, "backslashreplace").decode(encoding)
    return text
