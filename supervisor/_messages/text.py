"""Parts of a message as text: in 78 columns, complete by itself, or as Markdown.

Markdown is kept to the few forms that chat services agree on: bold, lists and fenced code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from supervisor._models.parts import Bars, Code, Facts, Text
from supervisor._text import cut_middle, one_line, printable

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


_SPECIAL = re.compile(r"([\\`*_\[\]<>~|#])")
_FENCE = "```"
_SHORTEST = 200


def markdown_pieces(parts: Iterable[Part], limit: int, most: int) -> list[str]:
    """Return parts as Markdown texts, each complete by itself: code that is split is fenced in each of them.

    Args:
        parts: The parts.
        limit: The most characters of one text; at least 200.
        most: The most texts. The middle of long texts and code is left out; if that is not enough, a note replaces
            the remaining texts.
    """
    limit = max(_SHORTEST, limit)
    parts = [part.with_texts(printable) for part in parts]
    share = max(_SHORTEST, limit * (most - 2) // 2)
    made = [""]
    for part in parts:
        for block in _blocks(part, limit, share):
            if made[-1] and len(made[-1]) + 2 + len(block) > limit:
                made.append(block)
            else:
                made[-1] = f"{made[-1]}\n\n{block}" if made[-1] else block
    if len(made) > most:
        made[most - 1] = f"[... {len(made) - most + 1:,} more pieces were left out ...]"
    return made[:most]


def escaped_markdown(text: str) -> str:
    """Return a text with all markup and mentions escaped."""
    return _SPECIAL.sub(r"\\\1", text).replace("@", "@\u200b")


def _blocks(part: Part, limit: int, share: int) -> Iterator[str]:
    if isinstance(part, Facts):
        yield from _facts(part, limit)
    elif isinstance(part, Code):
        yield from _fenced(part, limit, share)
    else:
        assert isinstance(part, (Text, Bars))
        text = cut_middle(part.text, share)
        for piece in _split(text, limit // 2 - 4):  # each character may be escaped
            shown = escaped_markdown(piece.strip())
            yield f"**{shown}**" if isinstance(part, Text) and part.is_strong and "\n" not in shown else shown


def _facts(facts: Facts, limit: int) -> Iterator[str]:
    """Yield a list, in blocks that are short enough."""
    lines = [f"**{escaped_markdown(facts.title)}**"] if facts.title else []
    for row in facts.rows:
        room = limit // 2 - len(row.label) - len(row.aside) - 20
        mark = "\N{WARNING SIGN} " if row.stands_out else ""
        aside = f" ({escaped_markdown(row.aside)})" if row.aside else ""
        text = escaped_markdown(one_line(row.text, max(20, room)))
        lines.append(f"- {mark}{escaped_markdown(row.label)}: {text}{aside}")
    block = ""
    for line in lines:
        if block and len(block) + 1 + len(line) > limit:
            yield block
            block = ""
        block = f"{block}\n{line}" if block else line
    if block:
        yield block


def _fenced(code: Code, limit: int, share: int) -> Iterator[str]:
    head = f"**{escaped_markdown(one_line(code.title, 100))}**\n" if code.title else ""
    text = cut_middle(code.text.strip("\n"), share).replace(_FENCE, "``\u200b`")
    for piece in _split(text, limit - len(head) - 2 * len(_FENCE) - 2):
        yield f"{head}{_FENCE}\n{piece}\n{_FENCE}"
        head = ""


def _split(text: str, limit: int) -> Iterator[str]:
    """Yield a text in pieces of at most ``limit`` characters, cut at the end of a line if possible."""
    while len(text) > limit:
        at = text.rfind("\n", limit // 2, limit)
        end = at if at >= 0 else limit
        yield text[:end]
        text = text[end:].removeprefix("\n")
    if text.strip():
        yield text
