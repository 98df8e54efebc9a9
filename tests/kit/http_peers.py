"""A real HTTP server on the loopback that answers as it is told and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import attrs

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from email.message import Message

    from supervisor.models import MessageHandler


@attrs.frozen(kw_only=True)
class Request:
    """A client's request: ``headers`` finds names in upper or lower case, ``body`` is unchunked."""

    method: str
    path: str
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def _body(value: object) -> bytes:
    """Return bytes and text as they are, and anything else as JSON."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def _headers(value: Mapping[str, str] | None) -> dict[str, str]:
    return dict(value or {})


@attrs.frozen
class Answer:
    """One answer.

    Args:
        status: The status code.
        headers: Headers besides ``Content-Length``; there are no others.
        body: Bytes or text as they are; anything else becomes JSON.
        delay_s: Seconds to wait first; the end of the peer cuts the wait short.
        drop: Close the connection instead of answering.
        drip_s: Seconds to wait before each single byte of the answer; 0 sends it at once.
    """

    status: int = 200
    headers: Mapping[str, str] = attrs.field(default=None, converter=_headers)
    body: bytes = attrs.field(default=b"", converter=_body)
    delay_s: float = attrs.field(default=0.0, kw_only=True)
    drop: bool = attrs.field(default=False, kw_only=True)
    drip_s: float = attrs.field(default=0.0, kw_only=True)


@attrs.frozen(kw_only=True)
class Channel:
    """How the tests that every handler of HTTP must pass make one, and what they know of its service.

    Args:
        make: Returns a handler that sends to a server, of which it gets the URL; settings of the test's own follow.
        accepted: What the service answers when it accepts a message.
        takes_any_success: Whether every 2xx is its acceptance; else it has an answer of its own.
        host: The service's own host, if examples of the documents send there.
        example: How such an example begins: ``WebhookHandler(``.
    """

    make: Callable[..., MessageHandler]
    accepted: Answer
    takes_any_success: bool = False
    host: str = ""
    example: str = ""


Rule: TypeAlias = "Callable[[Request], Answer | None]"


class HttpPeer(ThreadingHTTPServer):
    """The server; see :func:`http_peer`.

    Attributes:
        url: Where it listens, without a slash at the end; ``port`` is in it.
        requests: What it was asked, in order.
        answers: Answers for the next requests, in order; when none is left, ``rule`` and then :meth:`answer` decide.
        rule: Looks at a request and returns an answer, or None to leave it to :meth:`answer`.
        connections: How many connections clients have opened.
    """

    daemon_threads = False  # so that the end of the peer waits for its threads, and no socket leaks
    request_queue_size = 128

    def __init__(self, rule: Rule | None = None, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        if tls:  # each connection shakes hands in its own thread, when it is first read
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.rule = rule
        self.connections = 0
        self.ended = threading.Event()
        self._otherwise = Answer()
        self._sockets: set[socket.socket] = set()

    def answer(
        self,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: object = b"",
        *,
        delay_s: float = 0.0,
        drop: bool = False,
        drip_s: float = 0.0,
    ) -> None:
        """Give this answer whenever ``answers`` is empty and ``rule`` returns None."""
        self._otherwise = Answer(status, headers, body, delay_s=delay_s, drop=drop, drip_s=drip_s)

    def next_answer(self, request: Request) -> Answer:
        """Record a request and return the answer to it."""
        self.requests.append(request)
        if self.answers:
            return self.answers.pop(0)
        return (self.rule and self.rule(request)) or self._otherwise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count the connection and serve it in a thread of its own."""
        self.connections += 1
        self._sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a finished connection."""
        self._sockets.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Close all connections that clients keep open, as a server does with idle ones."""
        for each in list(self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about clients that have closed their connection."""


class _Handler(BaseHTTPRequestHandler):
    server: HttpPeer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize: ClassVar[int] = -1  # one packet per answer, as real servers do

    def _serve(self) -> None:
        request = Request(method=self.command, path=self.path, headers=self.headers, body=self._read())
        answer = self.server.next_answer(request)
        self.server.ended.wait(answer.delay_s) if answer.delay_s else None
        if answer.drop:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self._finish(answer)

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _finish(self, answer: Answer) -> None:
        if not answer.drip_s:
            self.end_headers()
            self.wfile.write(answer.body)
            return
        whole = b"".join([*self._headers_buffer, b"\r\n", answer.body])
        self._headers_buffer: list[bytes] = []
        for byte in whole:
            if self.server.ended.wait(answer.drip_s):
                break
            self.wfile.write(bytes((byte,)))
            self.wfile.flush()

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = _serve  # noqa: N815 - names that http.server asks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so by http.server
        """Print nothing: tests read ``peer.requests``."""


@contextmanager
def http_peer(rule: Rule | None = None, tls: ssl.SSLContext | None = None) -> Iterator[HttpPeer]:
    """Run a server on a free port of 127.0.0.1; it answers 200 with nothing until told otherwise.

    Args:
        rule: Looks at each request and returns its answer, as the service would; None leaves it to
            ``peer.answer(...)`` and ``peer.answers.append(Answer(...))``.
        tls: Speak TLS with this server's context.
    """
    peer = HttpPeer(rule, tls)
    thread = threading.Thread(target=peer.serve_forever, kwargs={"poll_interval": 0.02}, name="http peer")
    thread.start()
    try:
        yield peer
    finally:
        peer.ended.set()
        peer.shutdown()
        thread.join()
        peer.hang_up()
        peer.server_close()


def refused_url() -> str:
    """Return a URL with a port that has no listener."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
