"""Parts as Markdown, in the few forms that chat services agree on: bold, lists and fenced code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from supervisor._models.parts import Bars, Code, Facts, Text
from supervisor._text import cut_middle, one_line, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._models.parts import Part

_SPECIAL = re.compile(r"([\\`*_\[\]<>~|#])")
_FENCE = "```"
_SHORTEST = 200


def pieces(parts: Iterable[Part], limit: int, most: int) -> list[str]:
    """Return parts as Markdown texts, each complete by itself: a fence that is cut is closed, and opened anew.

    Args:
        parts: What to show.
        limit: The most characters of one text; at least 200.
        most: How many texts there may be. The middle of long code is left out to keep to it, as far as that goes.
    """
    limit = max(_SHORTEST, limit)
    parts = [part.with_texts(plain) for part in parts]
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


def escaped(text: str) -> str:
    """Return a text that shows as it is: nothing in it makes anything bold, a link or a mention."""
    return _SPECIAL.sub(r"\\\1", text).replace("@", "@\u200b")


def _blocks(part: Part, limit: int, share: int) -> Iterator[str]:
    if isinstance(part, Facts):
        yield from _facts(part, limit)
    elif isinstance(part, Code):
        yield from _fenced(part, limit, share)
    else:
        assert isinstance(part, (Text, Bars))
        text = cut_middle(part.text, share)
        for piece in _split(text, limit // 2 - 4):  # every character may need a backslash
            said = escaped(piece.strip())
            yield f"**{said}**" if isinstance(part, Text) and part.is_strong and "\n" not in said else said


def _facts(facts: Facts, limit: int) -> Iterator[str]:
    """Yield a list, in blocks of as many lines as fit."""
    lines = [f"**{escaped(facts.title)}**"] if facts.title else []
    for row in facts.rows:
        room = limit // 2 - len(row.label) - len(row.aside) - 20
        mark = "\N{WARNING SIGN} " if row.stands_out else ""
        aside = f" ({escaped(row.aside)})" if row.aside else ""
        said = escaped(one_line(row.text, max(20, room)))
        lines.append(f"- {mark}{escaped(row.label)}: {said}{aside}")
    block = ""
    for line in lines:
        if block and len(block) + 1 + len(line) > limit:
            yield block
            block = ""
        block = f"{block}\n{line}" if block else line
    if block:
        yield block


def _fenced(code: Code, limit: int, share: int) -> Iterator[str]:
    head = f"**{escaped(one_line(code.title, 100))}**\n" if code.title else ""
    text = cut_middle(code.text.strip("\n"), share).replace(_FENCE, "``\u200b`")
    for piece in _split(text, limit - len(head) - 2 * len(_FENCE) - 2):
        yield f"{head}{_FENCE}\n{piece}\n{_FENCE}"
        head = ""


def _split(text: str, limit: int) -> Iterator[str]:
    """Yield a text in pieces, cut after a line where there is one in reach."""
    while len(text) > limit:
        at = text.rfind("\n", limit // 2, limit)
        end = at if at >= 0 else limit
        yield text[:end]
        text = text[end:].removeprefix("\n")
    if text.strip():
        yield text
