"""Render the parts of a message as plain text, 78 columns wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._models.parts import Bars, Code, Facts, Text
from supervisor._text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._models.parts import Part, Row
    from supervisor._models.values import MessageDetails

WIDTH = 78
_WIDEST_LABEL = 24


def text_of(details: MessageDetails) -> str:
    """Return the text of a message that consists of parts."""
    from supervisor._messages.sections import parts_of

    return text_from_parts(parts_of(details))


def text_from_parts(parts: Iterable[Part]) -> str:
    """Return parts as text, separated by blank lines. Words, code and URLs are never broken."""
    return printable("\n\n".join(text for part in parts if (text := "\n".join(_lines(part)))))


def _lines(part: Part) -> Iterator[str]:
    if isinstance(part, Facts):
        yield from _titled(part.title)
        yield from _table(part.rows)
    elif isinstance(part, Code):
        yield from _titled(part.title)
        indent = "" if part.role == "traceback" else "    "
        yield from (f"{indent}{line}".rstrip() for line in part.text.strip("\n").split("\n"))
    else:
        assert isinstance(part, (Text, Bars))
        for line in part.text.strip("\n").split("\n"):
            yield from wrapped_lines(line)


def _titled(title: str) -> Iterator[str]:
    if title:
        yield from wrapped_lines(title)


def _table(rows: Iterable[Row]) -> Iterator[str]:
    """Yield rows with their texts in one column; an exclamation mark precedes those that stand out."""
    rows = list(rows)
    width = min(_WIDEST_LABEL, max(len(row.label) for row in rows)) if rows else 0
    for row in rows:
        text = f"{row.text} ({row.aside})" if row.aside else row.text
        head = f"{'!' if row.stands_out else ' '} {row.label:<{width}}  "
        indent = " " * (width + 4)
        if len(row.label) > width:
            yield head.rstrip()
            head = indent
        for line in text.strip("\n").split("\n"):
            for piece in wrapped_lines(line, WIDTH - len(indent)):
                yield f"{head}{piece}".rstrip()
                head = indent


def wrapped_lines(line: str, width: int = WIDTH) -> Iterator[str]:
    """Yield a line as lines of at most ``width`` characters; a longer word gets a line of its own.

    A line that is short enough is unchanged; otherwise its first line keeps the indentation.
    """
    line = line.rstrip()
    if len(line) <= width:
        yield line
        return
    indent = line[: len(line) - len(line.lstrip())][: width // 2]
    current = ""
    for word in line.split():
        if current and len(current) + 1 + len(word) > width:
            yield current
            current = ""
        current = f"{current} {word}" if current else f"{indent}{word}"
    yield current
