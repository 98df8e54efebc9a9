"""The output of a program: passed through as it comes, byte by byte, and the last of it kept.

Each stream has a thread that waits for it, since who reads our own output may be slow. A stream that nobody reads
any more, or that cannot be written, is still emptied, so that the program goes on.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from supervisor import _log

if TYPE_CHECKING:
    from supervisor._cli.exec.spool import Spool

STDOUT, STDERR = 1, 2
CHUNK_BYTES = 65_536
TAIL_BYTES = 65_536
TAIL_LINES = 200
GRACE_S = 1.0
"""How long nothing may come, after the program's end, from what it has left running, before we go."""

STUCK_S = 5.0
"""How long whoever reads our output may keep us when the program had to be stopped."""

_LEFT_BEHIND_BYTES = 1 << 20  # the most that a pipe holds, so what the program itself has written is within it
_LOOK_EVERY_S = 0.05
_JOINED_BYTES = 4_096
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class Tail:
    """Keeps the last of several streams, in the order of arrival."""

    def __init__(self, limit_bytes: int = TAIL_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._chunks: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self.is_cut = False

    def add(self, stream: int, data: bytes) -> None:
        """Keep what has come; the caller holds a lock."""
        chunks = self._chunks
        self._size += len(data)
        if chunks and chunks[-1][0] == stream and len(chunks[-1][1]) + len(data) <= _JOINED_BYTES:
            data = chunks.pop()[1] + data  # many small ones would take more than they hold
        chunks.append((stream, data))
        while self._size > self._limit_bytes:
            oldest, surplus = chunks.popleft(), self._size - self._limit_bytes
            self.is_cut = True
            if len(oldest[1]) > surplus:
                chunks.appendleft((oldest[0], oldest[1][surplus:]))
            self._size -= min(surplus, len(oldest[1]))

    def chunks(self) -> tuple[tuple[int, bytes], ...]:
        """Return what is kept."""
        return tuple(self._chunks)


class Output:
    """Copies what a program writes, and keeps the last of it.

    Args:
        spool: Keeps all of it instead of passing it through; None passes it through.
    """

    def __init__(self, spool: Spool | None = None) -> None:
        self.tail = Tail()
        self.copied_bytes = 0
        self._spool = spool
        self._lock = threading.Lock()
        self._copiers: list[threading.Thread] = []
        self._writing = 0

    def copy(self, source: int, stream: int) -> None:
        """Begin to copy a pipe to one of our own streams.

        Args:
            source: Where to read, to the end; it is closed then.
            stream: 1 or 2.
        """
        copier = threading.Thread(target=self._copy, args=(source, stream), daemon=True)
        self._copiers.append(copier)
        copier.start()

    def _copy(self, source: int, stream: int) -> None:
        sink = _Sink(stream)
        with suppress(OSError):  # what Linux says at the end of a terminal
            while data := os.read(source, CHUNK_BYTES):
                with self._lock:
                    self.copied_bytes += len(data)
                    self._writing += 1
                    self.tail.add(stream, data)
                    if self._spool is not None:
                        self._spool.add(stream, data)
                if self._spool is None:
                    sink.write(data)
                with self._lock:
                    self._writing -= 1
        os.close(source)

    def finish(self, *, was_stopped: bool = False) -> bool:
        """Wait, after the program's end, until all is copied that it wrote; return whether the streams have ended.

        What it has left running may keep its output open for ever: it is not waited for longer than a second in which
        nothing comes.

        Args:
            was_stopped: Do not wait for long for whoever reads our output either.
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
        """Return the last lines as text. What a program writes over, as a progress bar, is shown as it was last.

        Args:
            most: How many, at most.
            only: Of which stream; None for all.
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
            lines = lines[1:]  # it has lost its beginning
        return lines[-most:]

    def replay(self) -> None:
        """Write what was kept instead of passed through."""
        if self._spool is not None:
            with self._lock:
                sinks = {STDOUT: _Sink(STDOUT), STDERR: _Sink(STDERR)}
                for stream, data in self._spool.read(self.tail):
                    sinks[stream].write(data)

    def close(self) -> None:
        """Let go of what was kept."""
        if self._spool is not None:
            with self._lock:
                self._spool.close()


def _joined(chunks: tuple[tuple[int, bytes], ...], only: int | None) -> bytes:
    """Return chunks in one piece; where another stream begins, a line does too."""
    pieces: list[bytes] = []
    last = None
    for stream, data in chunks:
        if only is None or stream == only:
            if last not in (None, stream) and pieces[-1][-1:] != b"\n":
                pieces.append(b"\n")
            pieces.append(data)
            last = stream
    return b"".join(pieces)


class _Sink:
    """One of our own streams, as long as somebody reads it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._has_warned = False

    def write(self, data: bytes) -> None:
        """Write all of it, unless nobody reads it or it cannot be written."""
        rest = memoryview(data)
        while rest and self._descriptor is not None:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody who shares the stream has made it so
                self._wait()
            except OSError as error:
                if error.errno not in _FULL:
                    self._descriptor = None  # nobody reads it: a broken pipe, a terminal that is gone
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
