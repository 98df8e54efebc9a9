"""Render the parts of a message as Markdown that all chat services support: bold text, lists and fenced code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from supervisor._models.parts import Bars, Code, Facts, Text
from supervisor._text import cut_middle, one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._models.parts import Part

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
