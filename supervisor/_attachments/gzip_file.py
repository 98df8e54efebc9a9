"""Compresses a file as gzip, whole or the last part that fits, in bounded memory."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import attrs

if TYPE_CHECKING:
    from supervisor._attachments.sources import Source

GZIP_TYPE = "application/gzip"
# The best ratio of deflate is 1,032 to 1: https://zlib.net/zlib_tech.html
_MAX_RATIO = 1100
_SAMPLE_BYTES = 256 * 1024
_STEP_BYTES = 4 * _SAMPLE_BYTES
_TRIES = 4
_LINE_BYTES = 64 * 1024
_GZIP_WINDOW_BITS = 31  # tells zlib to write a gzip header without name and time, and a checksum at the end
_ZLIB_LEVEL = 4  # twice as fast as the default 6; a tenth larger, but still smaller than the output of isal


class TooBigError(Exception):
    """An attachment does not fit into the bytes that it may have."""


class _Compressor(Protocol):
    def compress(self, data: memoryview | bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


@attrs.frozen
class Compressed:
    """A source that was compressed, or its last part.

    Args:
        start: The offset in the source where the part begins; above 0 when only the last part fits.
        read_bytes: The number of bytes that were read from there.
        written_bytes: The size of the gzip file; above the limit where compression stopped because of it.
    """

    start: int
    read_bytes: int
    written_bytes: int


def compress(source: Source, output: BinaryIO, *, limit_bytes: int | None, may_cut: bool) -> Compressed:
    """Write a source as gzip: whole, or else the last lines that fit.

    Args:
        source: The file to compress.
        output: An empty file, open for writing.
        limit_bytes: The largest size of ``output``; None for no limit.
        may_cut: Whether the last part alone is of use.

    Raises:
        TooBigError: The source does not fit, and may not be cut.
        OSError: ``output`` cannot be written.
    """
    if limit_bytes is None:
        return _compress_from(source, output, 0, None)
    if _may_fit(source, limit_bytes, may_cut=may_cut):
        whole = _compress_from(source, output, 0, limit_bytes)
        if whole.written_bytes <= limit_bytes:
            return whole
    if not may_cut:
        raise TooBigError
    return _compress_tail(source, output, limit_bytes)


def estimated_bytes(source: Source) -> int:
    """Return the approximate size of a source as gzip, from samples of at most 2 MB."""
    steps = max(1, min(8, source.size_bytes // _SAMPLE_BYTES))
    return int(_density(source, [source.size_bytes * step // steps for step in range(steps)]) * source.size_bytes)


def _may_fit(source: Source, limit_bytes: int, *, may_cut: bool) -> bool:
    """Return whether the whole may fit. A try stops at the limit, so the estimate only has to exclude clear cases."""
    if not may_cut:
        return source.size_bytes <= limit_bytes * _MAX_RATIO
    return source.size_bytes <= limit_bytes or estimated_bytes(source) < 1.3 * limit_bytes


def _compress_from(source: Source, output: BinaryIO, start: int, limit_bytes: int | None) -> Compressed:
    compressor = _compressor()
    output.seek(0)
    output.truncate()
    written = 0
    for chunk in source.chunks(start):
        written += output.write(compressor.compress(chunk))
        if limit_bytes is not None and written > limit_bytes:
            return Compressed(start, source.read_bytes, written)
    written += output.write(compressor.flush())
    return Compressed(start, source.read_bytes, written)


def _compress_tail(source: Source, output: BinaryIO, limit_bytes: int) -> Compressed:
    start = _start_of_tail(source, limit_bytes)
    for tries_left in reversed(range(_TRIES)):
        start = _start_of_line(source, start)
        if start >= source.size_bytes:
            break
        tail = _compress_from(source, output, start, limit_bytes)
        if tail.written_bytes <= limit_bytes:
            return tail
        # The samples were too optimistic: take a tenth less than the part that this try has compressed. The last try
        # takes as many bytes as fit without any compression.
        kept = tail.read_bytes * limit_bytes // tail.written_bytes if tries_left > 1 else limit_bytes
        start = max(start, source.size_bytes - kept * 9 // 10)
    raise TooBigError


def _start_of_tail(source: Source, limit_bytes: int) -> int:
    """Return the offset from which on about ``limit_bytes`` of gzip are left.

    Goes back from the end in steps, and estimates the compressed size of each from a sample of a quarter.
    """
    start, left = source.size_bytes, limit_bytes * 0.98
    while start > 0:
        step = min(_STEP_BYTES, start)
        weight = _density(source, [start - step]) * step
        if weight > left:
            return start - int(step * left / weight)
        start, left = start - step, left - weight
    return 0


def _start_of_line(source: Source, start: int) -> int:
    """Return the offset of the next line, or of the next character where lines are longer than 64 KiB."""
    if start <= 0:
        return 0
    following = source.sample(start - 1, _LINE_BYTES)
    line = start + following.find(b"\n")
    if start <= line < source.size_bytes:
        return line
    beginning = following[1:5]
    return start + len(beginning) - len(beginning.lstrip(bytes(range(0x80, 0xC0))))


def _density(source: Source, offsets: list[int]) -> float:
    """Return the bytes of gzip per byte of content, from samples at some offsets."""
    read = written = 0
    for offset in offsets:
        sample = source.sample(offset, _SAMPLE_BYTES)
        compressor = _compressor()
        read += len(sample)
        written += len(compressor.compress(sample)) + len(compressor.flush())
    return written / read if read else 1.0


def _compressor() -> _Compressor:
    library, level = _library()
    compressor: _Compressor = library.compressobj(level, library.DEFLATED, _GZIP_WINDOW_BITS)
    return compressor


@cache
def _library() -> tuple[Any, int]:
    """Return isal, which is several times as fast, or else zlib, with the compression level to use."""
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return zlib, _ZLIB_LEVEL
    return isal_zlib, isal_zlib.ISAL_DEFAULT_COMPRESSION
