"""Private keys in PEM, the one secret that goes over several lines (https://www.rfc-editor.org/rfc/rfc7468)."""

from __future__ import annotations

import re

from supervisor._redaction.spans import Span, is_marked
from supervisor._redaction.triggers import PRIVATE_KEY

LONGEST_BYTES = 16 * 1024
"""The most that is looked at for the end of a key: one of 16,384 bits has 13 kB."""

_BEGINNING = re.compile(rb"-{4,5} ?(BEGIN|END) [A-Z0-9 ]{0,20}\Z")
_FRAME = re.compile(rb"PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_NEXT = re.compile(rb"-{4,5} ?(BEGIN|END) ")
# In one line, line breaks may be written out as \n. Lines may be indented or quoted.
_BREAK = rb"(?:\s|\\[nr]|[\"'>|,])"
_BODY = re.compile(
    rb"(?:" + _BREAK + rb"*+[A-Za-z0-9+/]{16,}+={0,2})++(?:" + _BREAK + rb"++[A-Za-z0-9+/]{1,80}+={1,2})?"
)
_BLANK = re.compile(rb"(?:\s|\\[nr])*+")
_RUN = re.compile(rb"[A-Za-z0-9+/]{16}")
_LINE = re.compile(rb"[ \t]*[A-Za-z0-9+/]{1,80}={0,2}[ \t]*\r?\n?")


def find_private_key(data: bytes, at: int, *, more: bool) -> Span | None:
    """Return what stands between the BEGIN and END lines of a private key; the lines themselves stay.

    Where one of them is missing, as in a log that was cut, what looks like a key's lines is returned.

    Args:
        data: What to look at.
        at: Where "PRIVATE KEY" is.
        more: Whether more may follow behind the end of ``data``.
    """
    frame = _FRAME.match(data, at)
    if frame is None:
        return None
    beginning = _BEGINNING.search(data, max(0, at - 40), at)
    if beginning is None:
        return None
    if beginning[1] == b"END":
        return _before(data, beginning.start())
    return _behind(data, frame.end(), at, more=more)


def _behind(data: bytes, start: int, origin: int, *, more: bool) -> Span | None:
    closing = _NEXT.search(data, start, start + LONGEST_BYTES)
    if closing is None and more and len(data) < start + LONGEST_BYTES:
        return Span(start, len(data), PRIVATE_KEY, origin)
    if closing is not None and closing[1] == b"END":
        end = closing.start()
    else:
        body = _BODY.match(data, start)
        end = body.end() if body is not None else start
    return _trimmed(data, start, end, origin)


def _before(data: bytes, end: int) -> Span | None:
    """Return the lines of a key before its END line; a whole key is found by its BEGIN."""
    start = end
    while start > 0 and end - start < LONGEST_BYTES:
        line = data.rfind(b"\n", 0, start - 1) + 1
        if _LINE.fullmatch(data, line, start) is None:
            break
        start = line
    return _trimmed(data, start, end, start)


def _trimmed(data: bytes, start: int, end: int, origin: int) -> Span | None:
    """Leave the line breaks, whichever way they are written, around what is replaced."""
    blank = _BLANK.match(data, start, end)
    start = blank.end() if blank is not None else start
    while start < end and (data[end - 1] in b" \t\r\n" or data[end - 2 : end] in (rb"\n", rb"\r")):
        end -= 1 if data[end - 1] in b" \t\r\n" else 2
    if start >= end or is_marked(data[start:end]) or _RUN.search(data, start, end) is None:
        return None
    return Span(start, end, PRIVATE_KEY, min(origin, start))
