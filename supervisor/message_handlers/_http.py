"""HTTP requests with a bounded response and a bounded time; what the response means is for each handler to judge.

Handlers import this module when they first send, because a run that sends nothing does not need ``http.client``.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import ssl
import time
from base64 import b64encode
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO, TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import attrs

from supervisor._models.values import note_handover
from supervisor._text import one_line
from supervisor.errors import DeliveryError
from supervisor.message_handlers._sockets import BoundedReader, connect_socket, has_unread, resolve

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping
    from email.message import Message

MAX_WAIT_S = 86_400.0
TEMPORARY_STATUSES = frozenset(
    {401, 403, 407, 408, 425, 429}
)  # besides all 5xx: https://www.rfc-editor.org/rfc/rfc9110#section-15
RESPONSE_LIMIT_BYTES = 65_536  # error texts are short; the rest of a longer body is not read
ANSWER_LIMIT_BYTES = 1_000_000  # where the answer is more than a short text
LOGIN_STATUSES = frozenset({401, 403, 407})
RESTING_S = 3600.0  # services lock accounts whose logins fail more often; and a redirect does not pass by itself
MOST_REDIRECTS = 3
FOLLOWED_REDIRECTS = frozenset({307, 308})  # the others may turn a POST into a GET: RFC 9110, 15.4
_BLOCK_BYTES = 65_536
_IDLE_S = 15.0  # servers and firewalls drop idle connections silently, often after 20 s or 30 s


@attrs.frozen(kw_only=True)
class Response:
    """The response of an HTTP server.

    Args:
        status: The status code.
        headers: The headers; names are found in upper or lower case.
        body: The first bytes of the body, as many as its reader asked for.
    """

    status: int
    headers: Message
    body: bytes = b""

    @property
    def is_success(self) -> bool:
        """Return whether the status is 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - https://www.rfc-editor.org/rfc/rfc9110#section-15.3

    @property
    def json_object(self) -> dict[str, Any]:
        """Return the body as a JSON object; an empty one for anything else, such as the page of a proxy."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def is_temporary(self) -> bool:
        """Return whether the same request may succeed later, perhaps after somebody has set something right."""
        is_fault = self.status >= 500  # noqa: PLR2004 - 5xx are the server's faults
        return is_fault or self.is_redirect or self.status in TEMPORARY_STATUSES

    @property
    def scope(self) -> Literal["destination", "message"]:
        """Return what a refusal is about: 413 is said of one message, everything else of the destination."""
        return "message" if self.status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE else "destination"

    @property
    def is_redirect(self) -> bool:
        """Return whether the server names another place, which was not asked."""
        return 300 <= self.status < 400  # noqa: PLR2004 - https://www.rfc-editor.org/rfc/rfc9110#section-15.4

    def redirect_note(self, secrets: Iterable[str] = ()) -> str:
        """Return where a redirect points, without secrets; "" for what is no redirect, or points nowhere."""
        location = self.headers.get("Location") or ""
        if not self.is_redirect or not location:
            return ""
        return f"it has moved to {one_line(redact_secrets(location, secrets), 300)}; give that URL"

    def body_line(self, secrets: Iterable[str] = ()) -> str:
        """Return the body as one short line, without secrets that it may repeat."""
        return one_line(redact_secrets(self.body.decode("utf-8", "replace"), secrets), 300)

    @property
    def status_text(self) -> str:
        """Return the status code with its name ("503 Service Unavailable")."""
        return f"{self.status} {http.client.responses.get(self.status, '')}".rstrip()

    @property
    def retry_after_s(self) -> float | None:
        """Return the seconds to wait: what the server asks, at most a day; None when it does not say.

        A login that was refused, and a redirect, which needs another setting, rest for an hour at least.

        ``Retry-After`` holds seconds or a date (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3). A date is
        compared with the server's own ``Date``, so that a wrong clock on either side does no harm.
        """
        asked_s = self._asked_s()
        if self.is_redirect or self.status in LOGIN_STATUSES:
            return max(RESTING_S, asked_s or 0.0)
        return asked_s

    def _asked_s(self) -> float | None:
        value = (self.headers.get("Retry-After") or "").strip()
        try:
            seconds = float(value)
            return min(seconds, MAX_WAIT_S) if seconds >= 0 else None
        except ValueError:
            moment = _parse_date(value)
            return self.seconds_until(moment) if moment else None

    def seconds_until(self, moment: datetime) -> float:
        """Return the seconds from this response until an aware instant, between 0 and a day."""
        now = _parse_date(self.headers.get("Date") or "") or datetime.now(UTC)
        return min(max(0.0, (moment - now).total_seconds()), MAX_WAIT_S)


def _parse_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def redact_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return a text without the given secrets and their parts, both as they are and as a URL quotes them.

    The host of a URL is no secret, and says whom the text is about. Redact before a text is shortened: half a secret
    would not be recognised.
    """
    parts = {part for each in secrets for part in (each, *re.split(r"[/:@?&=#,;\s]+", _without_host(each)))}
    for secret in sorted(parts | {unquote(each) for each in parts}, key=len, reverse=True):
        if len(secret) > 3:  # noqa: PLR2004 - shorter parts are no secrets, but occur in ordinary words
            text = text.replace(secret, "***")
    return text


_HOST = re.compile(r"https?://(?:[^/?#@]*@)?(?P<host>[\w-]+(?:\.[\w-]+)+)(?::\d+)?(?=[/?#]|\Z)", re.IGNORECASE)


def _without_host(text: str) -> str:
    url = _HOST.match(text)
    return text if url is None else f"{text[: url.start('host')].partition('://')[2]} {text[url.end('host') :]}"


class HttpConnection:
    """Sends requests with a body to one server, and keeps connections open between them. Threads may share it.

    An idle connection that the server has closed is replaced before it is used; proxies are found as ``urllib`` finds
    them (``HTTPS_PROXY``, ``NO_PROXY``, the system's settings); certificates are always verified.

    Args:
        url: A URL of the server; a user and a password in it become basic authentication.
        timeout_s: The most seconds to connect, to send each block, and to read the whole response.
        limit_bytes: The most that is read of a response's body.
        clock: Returns monotonic seconds; a parameter for tests.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        *,
        limit_bytes: int = RESPONSE_LIMIT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._idle: deque[tuple[http.client.HTTPConnection, float, int]] = deque()
        self._parts = urlsplit(url)
        self._is_tls = self._parts.scheme.lower() == "https"
        self._timeout_s = timeout_s
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._tls: ssl.SSLContext | None = None
        self._proxy: SplitResult | None = None
        self._has_looked_for_proxy = False

    @property
    def server(self) -> str:
        """Return the server's name, with its port where the URL has one."""
        return self._parts.netloc.rpartition("@")[2]

    @property
    def path(self) -> str:
        """Return the path and the query of the URL that the connection was made for."""
        return path_of(self._parts)

    def post(self, path: str, body: bytes | IO[bytes], headers: Mapping[str, str]) -> Response:
        """Send one POST and return the response; see :meth:`send`."""
        return self.send("POST", path, body, headers)

    def send(self, method: str, path: str, body: bytes | IO[bytes], headers: Mapping[str, str]) -> Response:
        """Send one request and return the response, whatever its status.

        A redirect is followed only where the request stays as it is (307, 308) and goes to the same scheme, server
        and port: whatever else it names must get neither the message nor the credentials.

        Args:
            method: "POST", "PUT" or "PATCH".
            path: The path and the query.
            body: The body; a file is sent from its beginning to its end.
            headers: The headers; ``Content-Length`` is added.

        Raises:
            DeliveryError: There was no response, or not in time; temporary.
        """
        stream = io.BytesIO(body) if isinstance(body, bytes) else body
        response = self._send(method, path, stream, headers)
        for _ in range(MOST_REDIRECTS):
            new_path = self._path_on_this_server(path, response)
            if new_path is None:
                break
            path = new_path
            response = self._send(method, path, stream, headers)
        return response

    def _send(self, method: str, path: str, stream: IO[bytes], headers: Mapping[str, str]) -> Response:
        try:
            connection = self._take_idle() or self._connect()
            try:
                return self._exchange(connection, method, path, stream, headers)
            except BaseException:
                connection.close()
                raise
        except (OSError, http.client.HTTPException) as exc:
            raise DeliveryError(self._reason(exc)) from exc

    def _path_on_this_server(self, path: str, response: Response) -> str | None:
        """Return the path that a redirect leads to, or None where it is not followed."""
        location = response.headers.get("Location")
        if response.status not in FOLLOWED_REDIRECTS or not location:
            return None
        try:
            parts = urlsplit(urljoin(f"{self._parts.scheme}://{self.server}{path}", location))
            is_here = origin(parts) == origin(self._parts)
        except ValueError:  # no valid URL
            return None
        return path_of(parts) if is_here else None

    def close(self) -> None:
        """Close the open connections; the next request opens a new one."""
        while self._idle:
            with suppress(IndexError):  # another thread has taken the last one
                self._idle.pop()[0].close()

    def __del__(self) -> None:
        self.close()

    def _take_idle(self) -> http.client.HTTPConnection | None:
        """Return a connection that is still open, or None."""
        while self._idle:
            try:
                connection, since_s, pid = self._idle.pop()
            except IndexError:  # another thread has taken the last one
                return None
            # A forked child must not write to its parent's connection.
            if pid == os.getpid() and self._clock() - since_s < _IDLE_S and not has_unread(connection.sock):
                return connection
            connection.close()
        return None

    def _connect(self) -> http.client.HTTPConnection:
        proxy = self._find_proxy()
        target = proxy or self._parts
        host, port = target.hostname or "", target.port or (443 if self._is_tls and not proxy else 80)
        addresses = resolve(host, port, self._timeout_s)
        connection = self._new_connection(host, port, self._timeout_s)
        connection._create_connection = lambda *_: connect_socket(addresses, self._timeout_s)  # type: ignore[attr-defined]  # noqa: SLF001 - http.client gives each address the whole timeout, and has no public way to change that
        connection.response_class = self._new_response  # type: ignore[assignment]  # any callable will do
        if proxy and self._is_tls:
            authentication = _basic_authentication(proxy, "Proxy-")
            connection.set_tunnel(self._parts.hostname or "", self._parts.port or 443, authentication)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        connection.sock.settimeout(self._timeout_s)
        return connection

    def _new_connection(self, host: str, port: int, timeout_s: float) -> http.client.HTTPConnection:
        if not self._is_tls:
            return http.client.HTTPConnection(host, port, timeout=timeout_s, blocksize=_BLOCK_BYTES)
        self._tls = self._tls or ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, blocksize=_BLOCK_BYTES, context=self._tls)

    def _find_proxy(self) -> SplitResult | None:
        """Return the proxy, or None; it is looked up once."""
        # Not functools.cached_property: up to Python 3.11 it holds a lock, which a forked child could find locked.
        if not self._has_looked_for_proxy:
            self._proxy = proxy_for(self._parts)
            self._has_looked_for_proxy = True
        return self._proxy

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: IO[bytes],
        headers: Mapping[str, str],
    ) -> Response:
        proxy = None if self._is_tls else self._proxy
        target = f"http://{self.server}{path}" if proxy else path
        proxy_headers = _basic_authentication(proxy, "Proxy-") if proxy else {}
        headers = {**_basic_authentication(self._parts), **proxy_headers, **headers}
        headers["Content-Length"] = str(body.seek(0, io.SEEK_END))
        body.seek(0)
        try:
            # A stream is sent in blocks. The timeout counts for each of them, because a large body takes long.
            note_handover()
            connection.request(method, target, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a body closes the connection before it has read it, and may have said why.
            with suppress(OSError, http.client.HTTPException):
                return self._read_response(connection)
            raise
        return self._read_response(connection)

    def _new_response(self, sock: socket.socket, *args: Any, **options: Any) -> http.client.HTTPResponse:
        return BoundedResponse(sock, self._clock() + self._timeout_s, self._clock, *args, **options)

    def _read_response(self, connection: http.client.HTTPConnection) -> Response:
        with connection.getresponse() as message:
            assert isinstance(message, BoundedResponse)
            try:
                body = message.read(self._limit_bytes)
            except (OSError, http.client.HTTPException):
                body = b""  # the status has arrived and decides: to send again would deliver a message twice
            response = Response(status=message.status, headers=message.headers, body=body)
            is_complete = message.isclosed() and not message.has_more
        if is_complete and connection.sock is not None:
            connection.sock.settimeout(self._timeout_s)
            self._idle.append((connection, self._clock(), os.getpid()))
        else:
            connection.close()
        return response

    def _reason(self, exc: Exception) -> str:
        """Return why there was no response."""
        if isinstance(exc, TimeoutError):
            return f"{self.server} did not answer within {self._timeout_s:g} s"
        if isinstance(exc, ssl.SSLCertVerificationError):
            return f"the certificate of {self.server} is not trusted: {exc.verify_message}"
        if isinstance(exc, (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
            return f"{self.server} closed the connection before it had answered"
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        return f"no answer from {self.server}: {one_line(reason) or type(exc).__name__}"


def origin(parts: SplitResult) -> tuple[str, str | None, int]:
    """Return the origin of a URL, as RFC 6454 defines it: https://www.rfc-editor.org/rfc/rfc6454#section-4."""
    scheme = parts.scheme.lower()
    return scheme, parts.hostname, parts.port or (443 if scheme == "https" else 80)


def path_of(parts: SplitResult) -> str:
    """Return what a request names: the path and the query of a URL."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def proxy_for(parts: SplitResult) -> SplitResult | None:
    """Return the proxy that requests to a server go through, as ``urllib`` finds it, or None.

    Raises:
        DeliveryError: The proxy is of a kind that is not supported. Without it a message might leave the network in a
            way that nobody meant; so nothing is sent until somebody has changed the variable.
    """
    scheme = parts.scheme.lower()
    proxy = getproxies().get(scheme)
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    with suppress(ValueError):  # no valid URL
        found = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        if found.hostname and found.scheme == "http" and found.port != 0:
            return found
    kind = proxy.partition("://")[0] if "://" in proxy else "that is no URL"
    reason = (
        f"{scheme.upper()}_PROXY names a proxy {kind}://, but only http:// is supported (HTTPS goes through it all "
        f"the same); give such a one, or put {parts.hostname} into NO_PROXY"
    )
    raise DeliveryError(reason, retry_after_s=RESTING_S)


def _basic_authentication(parts: SplitResult, prefix: str = "") -> dict[str, str]:
    """Return the header with a URL's user and password, if it has any."""
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {f"{prefix}Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


class BoundedResponse(http.client.HTTPResponse):
    """A response that must have arrived in full by a deadline, however slowly its bytes come in.

    Attributes:
        has_more: Whether something came behind the response, which nobody has asked for: the next response on this
            connection would be taken for that of another request. It is known once all of the response was read.
    """

    has_more = False

    def __init__(
        self, sock: socket.socket, until_s: float, clock: Callable[[], float], *args: Any, **options: Any
    ) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self._reader = BoundedReader(sock, until_s, clock=clock)
        self._buffer = self.fp = io.BufferedReader(self._reader)

    def _close_conn(self) -> None:
        """Look for more before the buffer is dropped, as ``http.client`` does it at the end of a response."""
        if not self._buffer.closed:
            self.has_more = self._reader.has_read_ahead(self._buffer)
        super()._close_conn()  # type: ignore[misc]  # it has no public name
