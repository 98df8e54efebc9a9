"""Text as Slack takes it: clean, escaped, and split without loss.

Slack counts characters, but not the way Python does (an emoji may count as its ``:short_name:``), so lengths are
counted in UTF-8 bytes here, which is never fewer.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Any, TypeAlias

Block: TypeAlias = dict[str, Any]

SECTION_BYTES = 2_900
LONGEST_LINK_BYTES = 500

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_URL = re.compile(r"(https?://[^\s<>|`]+)")
_AFTER_URL = ".,;:!?'\")]}"


def clean(text: str) -> str:
    """Return a text that JSON and Slack take: Unix line ends, U+FFFD for control characters and lone surrogates."""
    text = _COLOURS.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def escaped(text: str) -> str:
    """Return a text with ``&``, ``<`` and ``>`` escaped, so that nothing in it can mention anybody.

    https://docs.slack.dev/messaging/formatting-message-text/#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def linked(text: str) -> str:
    """Return a text escaped, with its web addresses as links."""
    parts = _URL.split(text)
    return "".join(escaped(before) + _link(url) for before, url in zip_longest(parts[::2], parts[1::2], fillvalue=""))


def _link(url: str) -> str:
    """Return one web address as a link, without the punctuation that follows it in a sentence."""
    address = url.rstrip(_AFTER_URL)
    rest = url[len(address) :]
    if not address or len(escaped(address).encode()) > LONGEST_LINK_BYTES:
        return escaped(url)
    return f"<{escaped(address)}>{escaped(rest)}"


def split(text: str, limit_bytes: int) -> list[str]:
    """Return the pieces of a clean text, whose concatenation is the text.

    It is cut after a line, else after a word, else anywhere but inside an entity (``&amp;``) or a link.

    Args:
        text: What to split.
        limit_bytes: The most UTF-8 bytes of one piece; more than a link has.
    """
    pieces = []
    start = 0
    while start < len(text):
        end = _cut(text, start, _reach(text, start, limit_bytes))
        pieces.append(text[start:end])
        start = end
    return pieces


def shortened(text: str, limit_bytes: int) -> str:
    """Return a text of at most ``limit_bytes``; one that is longer ends in an ellipsis."""
    if len(text.encode()) <= limit_bytes:
        return text
    return split(text, limit_bytes - 3)[0].rstrip() + "…"


def _reach(text: str, start: int, limit_bytes: int) -> int:
    """Return the index up to which the text from ``start`` on fits."""
    piece = text[start : start + limit_bytes]
    encoded = piece.encode()
    if len(encoded) > limit_bytes:
        piece = encoded[:limit_bytes].decode("utf-8", "ignore")
    return start + max(1, len(piece))


def _cut(text: str, start: int, end: int) -> int:
    """Return where to cut a text that may go on from ``start`` up to ``end``."""
    if end >= len(text):
        return len(text)
    for border in ("\n", " "):
        found = text.rfind(border, start + (end - start) // 2, end)
        if found >= 0:
            return found + 1
    for opening, closing in (("<", ">"), ("&", ";")):
        found = text.rfind(opening, start, end)
        if found > start and closing not in text[found:end] and end - found < LONGEST_LINK_BYTES + 2:
            end = found
    return end


def section(text: str) -> Block:
    """Return a block with a text."""
    return {"type": "section", "text": mrkdwn(text)}


def mrkdwn(text: str) -> Block:
    """Return a text object that is shown as it is.

    Without ``verbatim``, Slack looks for names in the text and could mention a channel:
    https://docs.slack.dev/reference/block-kit/composition-objects/text-object
    """
    return {"type": "mrkdwn", "text": text, "verbatim": True}
