"""What went wrong, part by part: in one line, with the lines of code, the notes, the variables and the traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._models.parts import Code, Facts, Row, Text
from supervisor._text import cut_middle, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._models.parts import Part
    from supervisor._models.values import ErrorDetails

MOST_NOTES = 10
MOST_VARIABLES = 60
_SAID_LIMIT = 400
_MESSAGE_LIMIT = 4_000
_NOTE_LIMIT = 1_000
_EXCERPT_LIMIT = 4_000
_TRACEBACK_LIMIT = 60_000


def error_parts(error: ErrorDetails | None) -> Iterator[Part]:
    """Yield what happened, where, and what was noted on it."""
    if error is None:
        return
    yield Text(_what(error), is_strong=True)
    if error.excerpt or error.source:
        code = error.excerpt or error.source
        yield Code(f"at {one_line(error.where)}:" if error.where else "", cut_middle(code, _EXCERPT_LIMIT), "source")
    elif error.where:
        yield Text(f"at {one_line(error.where)}")
    if error.notes:
        rows = [Row("Note", cut_middle(each, _NOTE_LIMIT)) for each in error.notes[:MOST_NOTES]]
        if len(error.notes) > MOST_NOTES:
            rows.append(Row("Note", f"{len(error.notes) - MOST_NOTES:,} more"))
        yield Facts("", rows)


def _what(error: ErrorDetails) -> str:
    """Return what happened in one line; a longer text stands in full at the end of the traceback, if there is one."""
    message = error.message.strip()
    if error.traceback:
        message = one_line(message, _SAID_LIMIT)
    said = f"{error.type}: {cut_middle(message, _MESSAGE_LIMIT)}" if message else error.type
    return said + (f" (in {error.thread})" if error.thread else "")


def locals_of(error: ErrorDetails | None) -> Iterator[Part]:
    """Yield the local variables at the place of the error."""
    if error is not None and error.local_variables:
        rows = [Row(one_line(name, 60), cut_middle(text, _NOTE_LIMIT)) for name, text in error.local_variables]
        where = error.where.rpartition(" in ")[2]
        yield Facts(f"Local variables in {one_line(where)}" if where else "Local variables", _bounded(rows), "locals")


def _bounded(rows: list[Row]) -> list[Row]:
    left_out = len(rows) - MOST_VARIABLES
    return rows if left_out <= 0 else [*rows[:MOST_VARIABLES], Row("...", f"{left_out:,} more")]


def traceback_of(error: ErrorDetails | None) -> Iterator[Part]:
    """Yield the traceback; one that has nothing but the line at the top of the message is left out."""
    if error is not None and error.traceback and error.traceback.strip() != _what(error):
        yield Code("", cut_middle(error.traceback, _TRACEBACK_LIMIT), "traceback")
