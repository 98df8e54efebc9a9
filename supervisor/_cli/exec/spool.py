"""What a quiet command says, kept until it is known whether anybody wants to read it."""

from __future__ import annotations

import os
import struct
from io import BytesIO
from typing import IO, TYPE_CHECKING

from supervisor._text import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._cli.exec.output import Tail

LIMIT_BYTES = 64 * 1024 * 1024
MEMORY_BYTES = 1024 * 1024

_HEAD = struct.Struct("=BI")
_STDERR = 2


class Spool:
    """Keeps the beginning of several streams in the order of arrival: a little in memory, more in a nameless file.

    Args:
        limit_bytes: How much is kept; of what comes after it, only the tail is known.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._kept_bytes = 0
        self._left_out_bytes = 0
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._file_bytes = 0

    def add(self, stream: int, data: bytes) -> None:
        """Keep what has come, if there is room; the caller holds a lock."""
        room = max(0, self._limit_bytes - self._kept_bytes)
        kept = data[:room] if not self._left_out_bytes else b""
        self._left_out_bytes += len(data) - len(kept)
        if kept:
            self._kept_bytes += len(kept)
            self._memory += _HEAD.pack(stream, len(kept))
            self._memory += kept
            if len(self._memory) > MEMORY_BYTES:
                self._write_out()

    def _write_out(self) -> None:
        try:
            if self._file is None:
                import tempfile

                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as we do
            file, written = self._file, 0
            while written < len(self._memory):
                written += file.write(memoryview(self._memory)[written:]) or 0
        except OSError:  # no room on the disk: what memory holds now is the end
            self._limit_bytes = 0
            return
        self._file_bytes += len(self._memory)
        self._memory = bytearray()

    def close(self) -> None:
        """Let go of what is kept."""
        self._limit_bytes, self._memory = 0, bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self, tail: Tail) -> Iterator[tuple[int, bytes]]:
        """Yield what was kept; where not all was, then a note of how much is missing, and the tail.

        Args:
            tail: The last of the same streams.
        """
        if self._file is not None:
            with open(os.dup(self._file.fileno()), "rb") as file:  # noqa: PTH123 - with a buffer, other than ours
                file.seek(0)
                yield from _frames(file, self._file_bytes)
        yield from _frames(BytesIO(self._memory), len(self._memory))
        if self._left_out_bytes:
            chunks = tail.chunks()
            missing = self._left_out_bytes - sum(len(data) for _, data in chunks)
            if missing > 0:
                yield _STDERR, f"\n[... {size(missing)} of output left out ...]\n".encode()
            yield from chunks if missing > 0 else _last(chunks, self._left_out_bytes)


def _frames(file: IO[bytes], end: int) -> Iterator[tuple[int, bytes]]:
    while file.tell() < end:
        stream, length = _HEAD.unpack(file.read(_HEAD.size))
        yield stream, file.read(length)


def _last(chunks: tuple[tuple[int, bytes], ...], count: int) -> Iterator[tuple[int, bytes]]:
    """Yield the last so many bytes of chunks."""
    skip = sum(len(data) for _, data in chunks) - count
    for stream, data in chunks:
        if skip < len(data):
            yield stream, data[max(0, skip) :]
        skip -= len(data)
