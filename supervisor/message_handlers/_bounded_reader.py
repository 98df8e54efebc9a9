"""What is read from a server is bounded in time and in size, however slowly or long it sends."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

MOST_BYTES = 2_000_000  # of one answer: its headers, and as much of its body as anybody looks at


class BoundedReader(io.RawIOBase):
    """Reads from a socket until a moment, and at most so many bytes.

    The timeout of a socket alone starts anew with each byte: a server that sends one a second would never end.

    Args:
        sock: The socket; its timeout is set before each read.
        until_s: The moment, by the clock.
        limit_bytes: The most bytes.
        clock: Returns monotonic seconds; a parameter for tests.
    """

    def __init__(
        self,
        sock: socket.socket,
        until_s: float = 0.0,
        *,
        limit_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._raw = sock.makefile("rb", buffering=0)
        self._sock, self._clock = sock, clock
        self._until_s, self._limit_bytes, self._left_bytes = until_s, limit_bytes, limit_bytes

    def start(self, until_s: float) -> None:
        """Begin with the next answer of the server, until another moment."""
        self._until_s, self._left_bytes = until_s, self._limit_bytes

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read once.

        Raises:
            TimeoutError: The moment has come.
            OSError: The answer is too long.
        """
        left_s = self._until_s - self._clock()
        if left_s <= 0:
            raise TimeoutError
        if self._left_bytes <= 0:
            raise OSError(f"the answer is longer than {self._limit_bytes:,} bytes")
        self._sock.settimeout(left_s)
        count = self._raw.readinto(buffer)
        self._left_bytes -= count or 0
        return count

    def close(self) -> None:
        """Close the file; the socket stays open."""
        self._raw.close()
        super().close()
