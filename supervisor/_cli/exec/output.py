"""The output of a program: copied to our own streams as it comes, and its end kept for failure messages.

Each stream has a thread of its own, since whoever reads our output may be slow. A stream that nobody reads any more,
or that cannot be written to, is still read to its end, so that the program continues. The output of a quiet command
is kept (:class:`DeferredOutput`) until it is known whether the command fails.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
from collections import deque
from contextlib import suppress
from io import BytesIO
from time import monotonic
from typing import IO, TYPE_CHECKING

from supervisor import _log
from supervisor._text import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

STDOUT, STDERR = 1, 2
CHUNK_BYTES = 65_536
TAIL_BYTES = 65_536
TAIL_LINES = 200
GRACE_S = 1.0
"""After the program's end: seconds without output from the processes that it left running until we stop reading."""

STUCK_S = 5.0
"""The most seconds that a slow reader of our output may delay us after the program had to be stopped."""

_LEFT_BEHIND_BYTES = 1 << 20  # the most that a pipe holds: what the program itself has written is within it
_LOOK_EVERY_S = 0.05
_JOINED_BYTES = 4_096
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class OutputTail:
    """Keeps the end of several streams, in the order of arrival."""

    def __init__(self, limit_bytes: int = TAIL_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._chunks: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self.is_cut = False

    def add(self, stream: int, data: bytes) -> None:
        """Add data; the caller holds a lock."""
        chunks = self._chunks
        self._size += len(data)
        if chunks and chunks[-1][0] == stream and len(chunks[-1][1]) + len(data) <= _JOINED_BYTES:
            data = chunks.pop()[1] + data  # many small chunks would take more memory than they hold
        chunks.append((stream, data))
        while self._size > self._limit_bytes:
            oldest, surplus = chunks.popleft(), self._size - self._limit_bytes
            self.is_cut = True
            if len(oldest[1]) > surplus:
                chunks.appendleft((oldest[0], oldest[1][surplus:]))
            self._size -= min(surplus, len(oldest[1]))

    def chunks(self) -> tuple[tuple[int, bytes], ...]:
        """Return what is kept, each piece with its stream."""
        return tuple(self._chunks)


class OutputCopier:
    """Copies the output of a program to our own streams, and keeps its end.

    Args:
        deferred: Keeps the output instead; None copies it at once.
    """

    def __init__(self, deferred: DeferredOutput | None = None) -> None:
        self.tail = OutputTail()
        self.copied_bytes = 0
        self._deferred = deferred
        self._lock = threading.Lock()
        self._copiers: list[threading.Thread] = []
        self._writing = 0

    def copy(self, source: int, stream: int) -> None:
        """Start to copy a pipe to one of our own streams.

        Args:
            source: The descriptor to read from; it is closed at the end.
            stream: 1 or 2.
        """
        copier = threading.Thread(target=self._copy, args=(source, stream), daemon=True)
        self._copiers.append(copier)
        copier.start()

    def _copy(self, source: int, stream: int) -> None:
        sink = _OwnStream(stream)
        with suppress(OSError):  # Linux reports the end of a terminal as an error
            while data := os.read(source, CHUNK_BYTES):
                with self._lock:
                    self.copied_bytes += len(data)
                    self._writing += 1
                    self.tail.add(stream, data)
                    if self._deferred is not None:
                        self._deferred.add(stream, data)
                if self._deferred is None:
                    sink.write(data)
                with self._lock:
                    self._writing -= 1
        os.close(source)

    def finish(self, *, was_stopped: bool = False) -> bool:
        """Wait, after the program's end, until its output is copied; return whether its streams have ended.

        Processes that it left running may keep its streams open for ever: the wait ends after a second without output.

        Args:
            was_stopped: Whether the program had to be stopped; then a slow reader of our output does not delay us long.
        """
        began = quiet_since = monotonic()
        at_end = seen = self.copied_bytes
        while any(each.is_alive() for each in self._copiers):
            for each in self._copiers:
                each.join(_LOOK_EVERY_S)
            now = monotonic()
            with self._lock:
                copied, is_writing = self.copied_bytes, self._writing > 0
            if copied != seen or is_writing:
                seen, quiet_since = copied, now
            if copied - at_end > _LEFT_BEHIND_BYTES or now - quiet_since > GRACE_S:
                return False
            if was_stopped and now - began > STUCK_S:
                return False
        return True

    def lines(self, most: int = TAIL_LINES, *, only: int | None = None) -> list[str]:
        """Return the last lines as text; of a line that was overwritten, as by a progress bar, the last version.

        Args:
            most: The most lines to return.
            only: The stream to return lines of; None for all.
        """
        with self._lock:
            chunks, is_cut = self.tail.chunks(), self.tail.is_cut
        lines = [
            each.removesuffix("\r").rpartition("\r")[2]
            for each in _joined(chunks, only).decode("utf-8", "replace").split("\n")
        ]
        while lines and not lines[-1].strip():
            lines.pop()
        if is_cut and len(lines) > 1:
            lines = lines[1:]  # the first line is not complete
        return lines[-most:]

    def replay(self, save: Callable[[Iterable[bytes]], str]) -> None:
        """Write the deferred output to our own streams: all of it, or if it is long its beginning and its end.

        Args:
            save: Called for a long output with all that was kept of it; returns the path of the file that it is in
                then, or "" if it could not be saved.
        """
        if self._deferred is None:
            return
        with self._lock:
            sinks = {STDOUT: _OwnStream(STDOUT), STDERR: _OwnStream(STDERR)}
            is_long = self._deferred.size_bytes > SHOWN_BYTES
            path = save(data for _, data in self._deferred.read(self.tail)) if is_long else ""
            for stream, data in self._deferred.read(self.tail, SHOWN_BYTES if is_long else None, path):
                sinks[stream].write(data)

    def close(self) -> None:
        """Drop the deferred output."""
        if self._deferred is not None:
            with self._lock:
                self._deferred.close()


def _joined(chunks: tuple[tuple[int, bytes], ...], only: int | None) -> bytes:
    """Return chunks as one text, in which a change of stream begins a new line."""
    pieces: list[bytes] = []
    last = None
    for stream, data in chunks:
        if only is None or stream == only:
            if last not in (None, stream) and pieces[-1][-1:] != b"\n":
                pieces.append(b"\n")
            pieces.append(data)
            last = stream
    return b"".join(pieces)


class _OwnStream:
    """One of our own streams, written to for as long as somebody reads it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._has_warned = False

    def write(self, data: bytes) -> None:
        """Write data completely, unless nobody reads the stream or the disk is full."""
        rest = memoryview(data)
        while rest and self._descriptor is not None:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # a process that shares the stream made it non-blocking
                self._wait()
            except OSError as error:
                if error.errno not in _FULL:
                    self._descriptor = None  # nobody reads it any more: a broken pipe, a closed terminal
                    return
                if not self._has_warned:
                    self._has_warned = True
                    _log.warning("some output of the program is lost: %s", error.strerror)
                return

    def _wait(self) -> None:
        import select

        if self._descriptor is not None:
            with suppress(OSError, ValueError):
                select.select((), (self._descriptor,), (), 1.0)


SHOWN_BYTES = 1024 * 1024
"""The most that is shown of the output of a quiet command: cron mails it."""

LIMIT_BYTES = 64 * 1024 * 1024
MEMORY_BYTES = 1024 * 1024

_HEAD = struct.Struct("=BI")
_STDERR = 2


class DeferredOutput:
    """Keeps the beginning of several streams in the order of arrival, in memory and then in a temporary file.

    Args:
        limit_bytes: The most to keep. What comes later is only in the :class:`OutputTail`.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._kept_bytes = 0
        self._left_out_bytes = 0
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._file_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Return how long the output is, with what was not kept of it."""
        return self._kept_bytes + self._left_out_bytes

    def add(self, stream: int, data: bytes) -> None:
        """Add data while there is room; the caller holds a lock."""
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

                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - close() closes it
            file, written = self._file, 0
            while written < len(self._memory):
                written += file.write(memoryview(self._memory)[written:]) or 0
        except OSError:  # the disk is full: keep what is in memory, and no more
            self._limit_bytes = 0
            return
        self._file_bytes += len(self._memory)
        self._memory = bytearray()

    def close(self) -> None:
        """Drop what is kept."""
        self._limit_bytes, self._memory = 0, bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self, tail: OutputTail, most_bytes: int | None = None, saved_in: str = "") -> Iterator[tuple[int, bytes]]:
        """Yield what was kept; then, if that was not all, a line that says how much is missing, and the tail.

        Args:
            tail: The end of the same streams.
            most_bytes: The most to yield, about, with the tail; None for all.
            saved_in: The file that the line is to name.
        """
        chunks = tail.chunks()
        tail_bytes = sum(len(data) for _, data in chunks)
        room = self._kept_bytes if most_bytes is None else max(0, most_bytes - tail_bytes)
        yield from _first(self._kept(), room)
        left_out = self.size_bytes - min(room, self._kept_bytes)
        missing = left_out - tail_bytes
        if missing > 0:
            saved = (
                "the whole" if self._left_out_bytes <= tail_bytes else f"its first {size(self._kept_bytes)} and its end"
            )
            where = f"; {saved} is in {saved_in}" if saved_in else ""
            yield _STDERR, f"\n[... {size(missing)} of output left out{where} ...]\n".encode()
        if left_out > 0:
            yield from chunks if missing > 0 else _last(chunks, left_out)

    def _kept(self) -> Iterator[tuple[int, bytes]]:
        if self._file is not None:
            with open(os.dup(self._file.fileno()), "rb") as file:  # noqa: PTH123 - a buffered copy of a descriptor
                file.seek(0)
                yield from _frames(file, self._file_bytes)
        yield from _frames(BytesIO(self._memory), len(self._memory))


def _frames(file: IO[bytes], end: int) -> Iterator[tuple[int, bytes]]:
    while file.tell() < end:
        stream, length = _HEAD.unpack(file.read(_HEAD.size))
        yield stream, file.read(length)


def _first(pieces: Iterable[tuple[int, bytes]], count: int) -> Iterator[tuple[int, bytes]]:
    """Yield the first ``count`` bytes of pieces."""
    for stream, data in pieces:
        if count <= 0:
            return
        yield stream, data[:count]
        count -= len(data)


def _last(chunks: tuple[tuple[int, bytes], ...], count: int) -> Iterator[tuple[int, bytes]]:
    """Yield the last ``count`` bytes of chunks."""
    skip = sum(len(data) for _, data in chunks) - count
    for stream, data in chunks:
        if skip < len(data):
            yield stream, data[max(0, skip) :]
        skip -= len(data)
