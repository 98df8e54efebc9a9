"""Bounds what apprise's services do with ``requests``, where :class:`AppriseHandler` sends, and nowhere else.

Apprise's services call ``requests.post()``, which follows redirects to any server, turns a POST into a GET on the way
and takes the page that it arrives at for acceptance, and which reads responses without bounds. Neither apprise nor
``requests`` has a setting against all of it for all services, so ``Session.send`` is wrapped, once; outside of
:func:`bounded` it does what it always does.
"""

from __future__ import annotations

import io
import zlib
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache, wraps
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from supervisor.message_handlers._http import (
    ANSWER_LIMIT_BYTES,
    FOLLOWED_REDIRECTS,
    MOST_REDIRECTS,
    BoundedResponse,
    origin,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_COMPRESSED = {"gzip", "x-gzip", "deflate"}
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # finds out which of the two it is
_PIECE_BYTES = 65_536
_timeout_s: ContextVar[float | None] = ContextVar("timeout_s", default=None)  # apprise hands it to its own threads


@contextmanager
def bounded(timeout_s: float) -> Iterator[None]:
    """Let what is sent through ``requests`` in this context be bounded for as long as the block lasts.

    They follow 307 and 308 to the same scheme, server and port, and no other redirect; a response must have arrived
    within the read timeout of its request, and only its first 1 MB is read, and unpacked.

    Args:
        timeout_s: The most seconds for the response to a request that sets no timeout of its own.
    """
    _wrap_send()
    token = _timeout_s.set(timeout_s)
    try:
        yield
    finally:
        _timeout_s.reset(token)


@cache
def _wrap_send() -> None:
    session_class: Any = import_module("requests").Session
    send = session_class.send

    @wraps(send)
    def send_bounded(session: Any, request: Any, **options: Any) -> Any:
        if _timeout_s.get() is None:
            return send(session, request, **options)
        return _send_bounded(send, session, request, options)

    session_class.send = send_bounded


def _send_bounded(send: Callable[..., Any], session: Any, request: Any, options: dict[str, Any]) -> Any:
    """Send a request of a session as :func:`bounded` says."""
    plain, bounded_adapter = _adapters()
    for prefix, adapter in tuple(session.adapters.items()):
        if type(adapter) is plain:
            session.mount(prefix, bounded_adapter())
    is_stream = options.get("stream")
    options |= {"allow_redirects": False, "stream": True}
    if not is_stream:
        request.headers["Accept-Encoding"] = "identity"
    response = send(session, request, **options)
    for _ in range(MOST_REDIRECTS):
        url = _followed_url(request, response)
        if not url:
            break
        response.close()
        request = request.copy()
        request.url = url
        response = send(session, request, **options)
    if not is_stream:
        _read(response)
    return response


def _followed_url(request: Any, response: Any) -> str:
    """Return the URL of a redirect that may be followed, or ""."""
    location = response.headers.get("Location")
    if response.status_code not in FOLLOWED_REDIRECTS or not location or not isinstance(request.body, (bytes, str)):
        return ""
    url = urljoin(request.url, location)
    with suppress(ValueError):  # no valid URL
        return url if origin(urlsplit(url)) == origin(urlsplit(request.url)) else ""
    return ""


def _read(response: Any) -> None:
    """Read a response's body within bounds; the status decides, so a body that breaks off counts as its end."""
    pieces: list[bytes] = []
    left = ANSWER_LIMIT_BYTES
    with suppress(Exception):  # of requests, urllib3 or the socket
        while left and (piece := response.raw.read(min(left, _PIECE_BYTES), decode_content=False)):
            pieces.append(piece)
            left -= len(piece)
    response.raw.close()
    body = b"".join(pieces)
    if response.headers.get("Content-Encoding", "").lower() in _COMPRESSED:
        try:
            body = zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body, ANSWER_LIMIT_BYTES)
        except zlib.error:
            body = b""
    response.raw = io.BytesIO(body)


def _new_response(connection: Any, sock: Any, *args: Any, **options: Any) -> BoundedResponse:
    own_s = connection.timeout
    timeout_s = own_s if isinstance(own_s, (int, float)) else _timeout_s.get() or 10.0
    return BoundedResponse(sock, monotonic() + timeout_s, monotonic, *args, **options)


@cache
def _adapters() -> tuple[Any, Any]:
    """Return the usual adapter of ``requests``, and one whose responses have to arrive in time."""
    plain: Any = import_module("requests.adapters").HTTPAdapter
    pools: Any = import_module("urllib3.connectionpool")

    def bounded_pool(pool: Any) -> Any:
        connection = type("BoundedConnection", (pool.ConnectionCls,), {"response_class": _new_response})
        return type("BoundedPool", (pool,), {"ConnectionCls": connection})

    by_scheme = {"http": bounded_pool(pools.HTTPConnectionPool), "https": bounded_pool(pools.HTTPSConnectionPool)}

    def init_poolmanager(self: Any, *args: Any, **options: Any) -> None:
        plain.init_poolmanager(self, *args, **options)
        self.poolmanager.pool_classes_by_scheme = by_scheme

    def proxy_manager_for(self: Any, proxy: str, **options: Any) -> Any:
        manager = plain.proxy_manager_for(self, proxy, **options)
        if not proxy.lower().startswith("socks"):  # whose connections are of classes of their own
            manager.pool_classes_by_scheme = by_scheme
        return manager

    methods = {"init_poolmanager": init_poolmanager, "proxy_manager_for": proxy_manager_for}
    return plain, type("BoundedAdapter", (plain,), methods)
