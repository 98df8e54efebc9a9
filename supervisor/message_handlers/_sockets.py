"""Finding, reaching and reading a server within a bounded time, however slowly its name servers or itself answer."""

from __future__ import annotations

import io
import select
import socket
import time
from math import inf
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias

from supervisor._forks import THREAD_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AddressInfo: TypeAlias = "tuple[Any, ...]"  # what socket.getaddrinfo returns

MOST_BYTES = 2_000_000  # of one answer: its headers, and as much of its body as anybody looks at


def resolve(host: str, port: int, timeout_s: float) -> Sequence[AddressInfo]:
    """Return the addresses of a host; a thread of its own resolves it, because ``getaddrinfo`` takes no timeout.

    Raises:
        TimeoutError: The name servers did not answer in time.
        OSError: There is no such host.
        ValueError: The name is not valid for a host.
    """
    found: SimpleQueue[Sequence[AddressInfo] | OSError | ValueError] = SimpleQueue()

    def call_getaddrinfo() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:
            found.put(error)

    try:
        Thread(target=call_getaddrinfo, name=f"{THREAD_PREFIX}look-up", daemon=True).start()
    except RuntimeError:  # the interpreter is shutting down and starts no threads any more
        call_getaddrinfo()
    try:
        result = found.get(timeout=timeout_s)
    except Empty:
        raise TimeoutError(f"no name server gave an address of {host!r} within {timeout_s:g} s") from None
    if isinstance(result, (OSError, ValueError)):
        raise result
    return result


def connect_socket(addresses: Sequence[AddressInfo], timeout_s: float) -> socket.socket:
    """Connect to the first address that answers; each gets a share of the time, so that none can use up all of it.

    Args:
        addresses: The result of :func:`resolve`.
        timeout_s: The most seconds for all together, and later for each step on the connection.

    Raises:
        OSError: No address answered; this is the error of the last one.
    """
    until = time.monotonic() + timeout_s
    failure: OSError = OSError("the host has no address")
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(0.01, (until - time.monotonic()) / (len(addresses) - index)))
            sock.connect(address)
            sock.settimeout(timeout_s)
            # The last piece of an e-mail is small: it must not wait until the pieces before it are acknowledged.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def has_unread(sock: socket.socket) -> bool:
    """Return whether something has arrived on an idle connection: an answer to no request, or that it was closed."""
    try:
        pending = getattr(sock, "pending", None)  # what TLS has decrypted already, and select() does not see
        return bool(pending is not None and pending()) or bool(select.select([sock], [], [], 0)[0])
    except (OSError, ValueError):  # closed, or a descriptor too high for select()
        return True


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

    def has_read_ahead(self, buffer: io.BufferedReader) -> bool:
        """Return whether a buffer on top of this reader has bytes that were not asked for; nothing is read for it."""
        until_s, self._until_s = self._until_s, -inf
        try:
            return bool(buffer.peek(1))
        except TimeoutError:  # it is empty, and would read
            return False
        finally:
            self._until_s = until_s

    def close(self) -> None:
        """Close the file; the socket stays open."""
        self._raw.close()
        super().close()
