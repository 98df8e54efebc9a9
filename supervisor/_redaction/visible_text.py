r"""Look through what stands within a pair of key and value and is not seen: colours, and invisible characters.

Structlog writes ``\x1b[36mpassword\x1b[0m=\x1b[35mhunter2\x1b[0m``. Escape sequences and invisible characters are left
out for the search, full-width letters are replaced by plain ones, and what is found is looked up in the original.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor._redaction.spans import Span

# What a terminal takes for an escape sequence: https://www.ecma-international.org/publications-and-standards/standards/ecma-48/
_CSI = rb"\[[0-?]{0,40}[ -/]{0,4}[@-~]"
_LINK = rb"\](?:[^\x07\x1b\r\n]{0,1000})(?:\x07|\x1b\\)"
_DISGUISE = (
    rb"(?P<gone>\x1b(?:" + _CSI + rb"|" + _LINK + rb"|[()][0-9A-B]|[@-Z\\^_])"
    # The same within quoted text, as in JSON and in repr
    rb"|\\{1,4}(?:x1[bB]|u001[bB]|033|e)" + _CSI +
    # Soft hyphen, zero-width characters, marks of direction, word joiner, byte order mark, variation selectors
    rb"|\xc2\xad|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xa9]|\xef\xbb\xbf|\xef\xb8[\x80-\x8f])"
    # Blanks of other widths
    rb"|(?P<blank>\xc2\xa0|\xe2\x80[\x80-\x8a\xaf]|\xe3\x80\x80)"
    # Full-width forms of the characters from ! to ~
    rb"|(?P<wide>\xef(?:\xbc[\x81-\xbf]|\xbd[\x80-\x9e]))"
)
_FIRST_WIDE = 0xFF01
_ESCAPED = (rb"\x1b[", rb"\x1B[", rb"\u001b[", rb"\u001B[", rb"\033[", rb"\e[")
_BEYOND_ASCII = (
    b"\xc2\xa0",
    b"\xc2\xad",
    b"\xe2\x80",
    b"\xe2\x81",
    b"\xe3\x80\x80",
    b"\xef\xb8",
    b"\xef\xbb",
    b"\xef\xbc",
    b"\xef\xbd",
)


@cache
def _disguise() -> re.Pattern[bytes]:
    return re.compile(_DISGUISE)


def is_disguised(data: bytes) -> bool:
    """Return whether something in the bytes is not seen, or seen otherwise; False for most texts, at little cost."""
    if b"\x1b" in data:
        return True
    if b"\\" in data and any(each in data for each in _ESCAPED):
        return True
    return not data.isascii() and any(each in data for each in _BEYOND_ASCII) and _disguise().search(data) is not None


class VisibleText:
    """Bytes as they are seen, and where each of them comes from.

    Args:
        data: The original.
    """

    def __init__(self, data: bytes) -> None:
        self._size = len(data)
        pieces: list[bytes] = []
        # Where pieces begin, in what is seen and in the original, and how many bytes of the original each byte stands
        # for: what is replaced is a piece of its own.
        self._seen: list[int] = []
        self._original: list[int] = []
        self._width: list[int] = []
        at = done = 0
        for match in _disguise().finditer(data):
            replaced = _replacement(match)
            for piece, begin, width in (
                (data[done : match.start()], done, 1),
                (replaced, match.start(), match.end() - match.start()),
            ):
                if piece:
                    self._add(at, begin, width)
                    pieces.append(piece)
                    at += len(piece)
            done = match.end()
        self._add(at, done, 1)
        pieces.append(data[done:])
        self.data = b"".join(pieces)

    def _add(self, seen: int, original: int, width: int) -> None:
        self._seen.append(seen)
        self._original.append(original)
        self._width.append(width)

    def after(self, original: int) -> int:
        """Return the place that is seen at, or next after, a place of the original."""
        which = bisect_right(self._original, original) - 1
        if which < 0:
            return 0
        seen = self._seen[which] + -(-(original - self._original[which]) // self._width[which])
        return min(seen, self._seen[which + 1]) if which + 1 < len(self._seen) else seen

    def span(self, span: Span) -> Span:
        """Return where something that was found in :attr:`data` is in the original."""
        end = self._size if span.end == len(self.data) else self._place(span.end - 1, 1)
        return span._replace(start=self._place(span.start), end=end, origin=self._place(span.origin))

    def _place(self, seen: int, behind: int = 0) -> int:
        """Return the place of a byte in the original, or the place behind it."""
        which = bisect_right(self._seen, seen) - 1
        return self._original[which] + (seen - self._seen[which] + behind) * self._width[which]


def _replacement(match: re.Match[bytes]) -> bytes:
    if match["gone"] is not None:
        return b""
    if match["blank"] is not None:
        return b" "
    return bytes((ord(match["wide"].decode()) - _FIRST_WIDE + ord("!"),))
