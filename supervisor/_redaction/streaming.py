"""Redact bytes that arrive in pieces, such as a log that is being compressed, in bounded memory."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from supervisor._redaction.spans import Span, with_markers

if TYPE_CHECKING:
    from supervisor._redaction.scanner import Scanner

BLOCK_BYTES = 256 * 1024
"""How many bytes are collected before they are scanned; a longer line is scanned in parts."""

_OVERLAP_BYTES = 8 * 1024  # more than is needed to recognize any secret by its beginning
_MARGIN_BYTES = 256  # a secret that ends so close to the end of the data may continue after it
_CONTEXT_BYTES = 128  # so many bytes before a secret may be needed to recognize it
_LINES_BYTES = 1024  # so many bytes behind the name of a secret may have its value
_HELD_BYTES = 256 * 1024
_MARK_BYTES = 2  # of a byte order mark of UTF-16
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class BytesFilter:
    """Takes bytes in pieces of any size and returns them without secrets.

    Bytes without secrets are returned unchanged, whatever their encoding. Secrets are found across the borders of
    pieces, and private keys across lines. Text is assumed to be ASCII, UTF-8 or another encoding that extends ASCII;
    UTF-16 is recognized by its byte order mark, which PowerShell's ``>`` writes. It is not meant for binary files,
    since replacing a secret moves everything after it.

    At most some 300 KB are held back, and 400 KB more of a secret that does not end: a longer one is shortened before
    it is replaced.

    Args:
        scanner: Finds the secrets.
    """

    def __init__(self, scanner: Scanner) -> None:
        self._blocks = _Blocks(scanner)
        self._start = b""
        self._transcoder: _Utf16 | None = None
        self._begun = False

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take a piece, and return the redacted bytes that are complete; b"" if none are yet."""
        if not self._begun:
            self._start += bytes(data)
            if len(self._start) < _MARK_BYTES:
                return b""
            data = self._begin()
        piece = bytes(data)
        if self._transcoder is not None:
            return self._transcoder.encode(self._blocks.feed(self._transcoder.decode(piece)))
        return self._blocks.feed(piece)

    def flush(self) -> bytes:
        """Return the remaining bytes; no more pieces can be fed afterwards."""
        rest = b"" if self._begun else self._begin()
        if self._transcoder is None:
            return self._blocks.feed(rest) + self._blocks.flush()
        left_over = self._transcoder.left_over()
        return self._transcoder.encode(self._blocks.feed(rest) + self._blocks.flush(), final=True) + left_over

    def _begin(self) -> bytes:
        self._begun = True
        encoding = _UTF16.get(self._start[:_MARK_BYTES])
        if encoding is not None:
            self._transcoder = _Utf16(encoding)
        return self._start


class _Utf16:
    """Converts UTF-16 into UTF-8 and back without loss."""

    def __init__(self, encoding: str) -> None:
        self._from = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._from_utf8 = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        self._encoding = encoding

    def decode(self, data: bytes) -> bytes:
        return self._from.decode(data).encode("utf-8", "surrogatepass")

    def encode(self, data: bytes, *, final: bool = False) -> bytes:
        return self._from_utf8.decode(data, final).encode(self._encoding, "surrogatepass")

    def left_over(self) -> bytes:
        """Return the bytes of a character at the end that is incomplete."""
        return self._from.getstate()[0]


class _Blocks:
    """Collects pieces and redacts them block by block."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._pieces: list[bytes] = []
        self._size = 0
        self._due = BLOCK_BYTES
        self._context = 0  # so many bytes at the beginning have been returned already

    def feed(self, data: bytes) -> bytes:
        self._pieces.append(data)
        self._size += len(data)
        return self._advance(final=False) if self._size >= self._due else b""

    def flush(self) -> bytes:
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> bytes:
        data = b"".join(self._pieces)
        spans = self._scanner.spans(data, self._context, more=not final)
        cut = len(data) if final else self._cut(data, spans)
        done = with_markers(data, spans, self._context, cut)
        kept_from = max(0, cut - _CONTEXT_BYTES)
        self._context = cut - kept_from
        self._keep(data[kept_from:] if final else self._shortened(data, spans, kept_from, cut))
        return done

    def _keep(self, rest: bytes) -> None:
        self._pieces, self._size = [rest], len(rest)
        self._due = self._size + BLOCK_BYTES

    def _cut(self, data: bytes, spans: list[Span]) -> int:
        """Return up to where no secret can change any more.

        That is a line break before the last lines, since a value may be in the lines below its name; or, in a long
        line, before its end.
        """
        cut = data.rfind(b"\n", self._context, max(self._context, len(data) - _LINES_BYTES)) + 1
        margin = 0
        if not cut:
            cut, margin = max(self._context, len(data) - _OVERLAP_BYTES), _MARGIN_BYTES
        for span in reversed(spans):
            if span.origin < cut and span.end + margin >= len(data):
                cut = span.origin
            elif span.origin < cut < span.end:
                cut = span.end
        return max(cut, self._context)

    def _shortened(self, data: bytes, spans: list[Span], start: int, cut: int) -> bytes:
        """Return the bytes to keep, without the middle of a secret that is too long to be kept."""
        last = spans[-1] if spans else None
        if last is None or last.origin < cut or last.end - last.start <= _HELD_BYTES:
            return data[start:]
        head, tail = last.start + _HELD_BYTES // 4, last.end - _HELD_BYTES // 4
        while data[head - 1 : head] == b"\\" and head > last.start:
            head -= 1  # a backslash and the character that it escapes stay together
        while data[tail - 1 : tail] == b"\\" and tail < last.end:
            tail += 1
        return data[start:head] + data[tail:]
