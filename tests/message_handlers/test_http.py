"""HttpConnection against real local servers, mostly used through a WebhookHandler."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
import trustme
from http_peers import Answer, HttpPeer, http_peer, refused_url

from supervisor._models import Kind
from supervisor.errors import DeliveryError
from supervisor.message_handlers._http import HttpConnection, redact_secrets
from supervisor.message_handlers._webhook import WebhookHandler
from supervisor.models import MessageDetails

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 1, 31, 23, 59, 59, 123456, UTC)


def failure() -> MessageDetails:
    """Return a message."""
    return MessageDetails("nightly parcels failed", "KeyError 'x'", kind=Kind.FAILURE, id="m1")


def send(handler: WebhookHandler, details: MessageDetails | None = None) -> None:
    """Send one message and close the handler."""
    try:
        handler.send_message(details or failure())
    finally:
        handler.close()


def refusal(handler: WebhookHandler, details: MessageDetails | None = None) -> DeliveryError:
    """Send one message that is expected to fail, and return the error."""
    with pytest.raises(DeliveryError) as caught:
        send(handler, details)
    return caught.value


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "9999999"}, 86_400.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=90)), "Date": format_datetime(NOW)}, 90.0),
        ({"Retry-After": format_datetime(NOW - timedelta(seconds=90)), "Date": format_datetime(NOW)}, 0.0),
    ],
)
def test_retry_after_is_honoured(peer: HttpPeer, headers: dict[str, str], wait_s: float | None) -> None:
    """``Retry-After`` holds seconds or a date, compared with the server's clock; other values are ignored."""
    peer.answers.append(Answer(503, headers))
    assert refusal(WebhookHandler(url=peer.url)).retry_after_s == wait_s


def test_hang_is_bounded(peer: HttpPeer) -> None:
    """A server that never responds takes the timeout, and the error is temporary."""
    peer.answer(200, delay_s=60)
    started_s = time.monotonic()
    error = refusal(WebhookHandler(url=peer.url, timeout_s=0.2))
    assert time.monotonic() - started_s < 20
    assert (error.permanent, "within 0.2 s" in error.reason) == (False, True)


def test_dripping_answer_is_bounded(peer: HttpPeer) -> None:
    """A server that responds one byte at a time takes no longer than the timeout."""
    peer.answer(200, body="x" * 1000, drip_s=0.05)
    started_s = time.monotonic()
    error = refusal(WebhookHandler(url=peer.url, timeout_s=0.5))
    assert time.monotonic() - started_s < 20
    assert "within 0.5 s" in error.reason


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not drop what a full backlog cannot hold")
def test_connection_that_nobody_accepts_is_bounded() -> None:
    """A host that drops packets, here a listener whose queue is full, takes the timeout."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for each in fillers:
                each.setblocking(False)
                each.connect_ex(listener.getsockname())
            started_s = time.monotonic()
            error = refusal(WebhookHandler(url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.3))
        finally:
            for each in fillers:
                each.close()
    assert time.monotonic() - started_s < 6
    assert "within 0.3 s" in error.reason


def test_lost_connections_are_temporary(peer: HttpPeer) -> None:
    """Refused and lost connections and unknown hosts are temporary errors with the reason."""
    refused = refusal(WebhookHandler(url=refused_url()))
    peer.answer(drop=True)
    dropped = refusal(WebhookHandler(url=peer.url))
    unknown = refusal(WebhookHandler(url="http://no-such-host.invalid/"))
    assert not any(each.permanent for each in (refused, dropped, unknown))
    assert "refused" in refused.reason
    assert "closed the connection" in dropped.reason
    assert "no-such-host.invalid" in unknown.reason


def test_what_is_no_http_is_temporary() -> None:
    """A server that does not speak HTTP is a temporary error with the reason."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"220 smtp ready\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        error = refusal(WebhookHandler(url=f"http://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join()
    assert (error.permanent, "220 smtp ready" in error.reason) == (False, True)


def test_connection_is_kept_and_replaced(peer: HttpPeer) -> None:
    """Messages share a connection; one that the server has closed is replaced without an error."""
    handler = WebhookHandler(url=peer.url)
    for _ in range(5):
        handler.send_message(failure())
    assert peer.connections == 1
    peer.hang_up()
    handler.send_message(failure())
    assert peer.connections == 2
    handler.close()
    send(handler)
    assert peer.connections == 3


def test_connection_that_was_idle_for_long_is_not_used(peer: HttpPeer) -> None:
    """A connection that was idle for long is replaced, because firewalls drop idle ones silently."""
    now_s = 0.0
    connection = HttpConnection(peer.url, 5.0, clock=lambda: now_s)
    connection.post("/", b"", {})
    now_s = 14.0
    connection.post("/", b"", {})
    assert peer.connections == 1
    now_s = 30.0
    connection.post("/", b"", {})
    connection.close()
    assert peer.connections == 2


def test_threads_share_a_handler(peer: HttpPeer) -> None:
    """Several threads can send through one handler."""
    handler = WebhookHandler(url=peer.url)

    def send_ten() -> None:
        for _ in range(10):
            handler.send_message(failure())

    threads = [threading.Thread(target=send_ten) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    handler.close()
    assert len(peer.requests) == 40
    assert peer.connections <= 4
    assert all(request.json["id"] == "m1" for request in peer.requests)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_opens_a_connection_of_its_own(peer: HttpPeer) -> None:
    """After a fork, parent and child use different connections."""
    handler = WebhookHandler(url=peer.url)
    handler.send_message(failure())
    child = os.fork()  # type: ignore[attr-defined,unused-ignore]  # there is none on Windows
    if not child:
        try:
            handler.send_message(failure())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    handler.send_message(failure())
    handler.close()
    assert (len(peer.requests), peer.connections) == (3, 2)


def test_forgotten_handler_leaves_no_socket_open(peer: HttpPeer) -> None:
    """A handler that is garbage-collected closes its connection, without a ResourceWarning."""
    handler = WebhookHandler(url=peer.url)
    handler.send_message(failure())
    del handler


def test_refusal_in_the_middle_of_a_large_body_is_returned() -> None:
    """A response that comes before the body was read is returned, although the server closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                time.sleep(0.2)  # the answer arrives; then closing resets the connection, since much is unread

        thread = threading.Thread(target=refuse)
        thread.start()
        connection = HttpConnection(f"http://127.0.0.1:{listener.getsockname()[1]}", 20.0)
        answer = connection.post("/", b"x" * 50_000_000, {})
        connection.close()
        thread.join()
    assert answer.status == 413


def test_answer_without_its_end_counts() -> None:
    """The status counts even if the body never ends, because sending again would deliver the message twice."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def stop_in_the_middle() -> None:
            connection, _ = listener.accept()
            with connection:
                while not connection.recv(65_536).endswith(b"}"):
                    pass
                connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\nab")
                connection.recv(65_536)  # until the client has gone

        thread = threading.Thread(target=stop_in_the_middle)
        thread.start()
        send(WebhookHandler(url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=1))
        thread.join()


def test_slow_upload_may_take_longer_than_the_timeout() -> None:
    """The timeout counts for each block, so that a large body can be sent over a slow network."""
    body = b"x" * 20_000_000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # or the system takes it all at once

        def read_slowly() -> None:
            connection, _ = listener.accept()
            with connection:
                got = 0
                while got < len(body):
                    pause_at = got + 1_000_000
                    while got < min(pause_at, len(body)):
                        got += len(connection.recv(65_536))
                    time.sleep(0.1)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=read_slowly)
        thread.start()
        connection = HttpConnection(f"http://127.0.0.1:{listener.getsockname()[1]}", 1.2)
        started_s = time.monotonic()
        answer = connection.post("/", body, {})
        connection.close()
        thread.join()
    assert time.monotonic() - started_s > 1.2
    assert answer.status == 200


def test_huge_answer_is_not_read() -> None:
    """Only the first 64 KiB of a response are read, and its connection is not used again."""
    with http_peer() as peer:
        peer.answer(500, body=b"x" * 5_000_000)
        connection = HttpConnection(peer.url, 10.0)
        assert len(connection.post("/", b"", {}).body) == 65_536
        connection.post("/", b"", {})
        connection.close()
        assert peer.connections == 2


def test_certificate_is_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server's certificate must be trusted; otherwise nothing is sent and the error says why."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with http_peer(tls=context) as peer:
        error = refusal(WebhookHandler(url=peer.url))
        assert (error.permanent, "certificate of 127.0.0.1" in error.reason) == (False, True)
        assert not peer.requests
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        handler = WebhookHandler(url=peer.url)
        handler.send_message(failure())
        handler.send_message(failure())
        handler.close()
        assert len(peer.requests) == 2


def test_no_redirect_leaves_encryption(peer: HttpPeer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A redirect from https to http is not followed."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with http_peer(tls=context) as secured:
        secured.answers += [Answer(307, {"Location": f"{peer.url}/x"})]
        secured.answers += [Answer(307, {"Location": f"http://127.0.0.1:{secured.port}/x"})]
        connection = HttpConnection(secured.url, 10.0)
        assert [connection.post("/", b"", {}).status for _ in range(2)] == [307, 307]
        connection.close()
        assert len(secured.requests) == 2
    assert not peer.requests


def test_proxy_of_the_environment_is_used(peer: HttpPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP goes through HTTP_PROXY with its credentials, unless NO_PROXY names the server."""
    monkeypatch.setenv("http_proxy", peer.url.replace("://", "://pu:pp@"))
    send(WebhookHandler(url="http://hooks.example.com:8080/x?y"))
    [request] = peer.requests
    assert request.path == "http://hooks.example.com:8080/x?y"
    assert request.headers["Host"] == "hooks.example.com:8080"
    assert request.headers["Proxy-Authorization"] == f"Basic {base64.b64encode(b'pu:pp').decode()}"
    monkeypatch.setenv("http_proxy", refused_url())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    send(WebhookHandler(url=peer.url))
    assert peer.requests[1].path == "/"


@pytest.mark.parametrize("kind", ["https", "socks5", "socks5h", "ftp"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_of_another_kind_is_refused(
    peer: HttpPeer, monkeypatch: pytest.MonkeyPatch, scheme: str, kind: str
) -> None:
    """A proxy that is not supported is no reason to go without it: the error names the variable and what helps."""
    monkeypatch.setenv(f"{scheme}_proxy", f"{kind}://user:secret@127.0.0.1:{peer.port}")
    error = refusal(WebhookHandler(url=f"{scheme}://127.0.0.1:{peer.port}/x"))
    assert error.reason == (
        f"{scheme.upper()}_PROXY names a proxy {kind}://, but only http:// is supported (HTTPS goes through it all the "
        "same); give such a one, or put 127.0.0.1 into NO_PROXY"
    )
    assert (error.permanent, error.retry_after_s) == (False, 3600.0)
    assert peer.connections == 0


def test_the_proxy_of_the_other_scheme_is_not_used(peer: HttpPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY says nothing of http, and NO_PROXY may name a server with its port."""
    monkeypatch.setenv("https_proxy", refused_url())
    send(WebhookHandler(url=peer.url))
    monkeypatch.setenv("http_proxy", refused_url())
    monkeypatch.setenv("no_proxy", f"127.0.0.1:{peer.port}")
    send(WebhookHandler(url=peer.url))
    assert len(peer.requests) == 2


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("length", [8_192, 12_000, 100])
def test_an_answer_that_nobody_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, length: int, *, is_tls: bool
) -> None:
    """What comes behind an answer on a connection is not taken for the answer to the next message."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length - 43:0>5}\r\n\r\n".encode()
    first = head.ljust(length, b"x") + b"HTTP/1.1 204 No Content\r\n\r\n"
    with _scripted_server([first, b"HTTP/1.1 503 No\r\n\r\n"], context if is_tls else None) as port:
        connection = HttpConnection(f"http{'s' if is_tls else ''}://127.0.0.1:{port}", 10.0)
        statuses = [connection.post("/", b"", {}).status for _ in range(2)]
        connection.close()
    assert statuses == [200, 503]


@contextmanager
def _scripted_server(answers: list[bytes], context: ssl.SSLContext | None) -> Iterator[int]:
    """Run a server that sends these bytes, one piece for each request, on as many connections as it is asked on."""
    left = list(answers)

    def serve(client: socket.socket) -> None:
        client.settimeout(20)
        with client if context is None else context.wrap_socket(client, server_side=True) as connection:
            while left and connection.recv(65_536):
                connection.sendall(left.pop(0))

    def listen(listener: socket.socket) -> None:
        with suppress(OSError):
            while left:
                client, _ = listener.accept()
                with suppress(OSError):  # the client has left
                    serve(client)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)  # so that a failing test does not hang
        thread = threading.Thread(target=listen, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        left.clear()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_https_goes_through_a_proxys_tunnel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HTTPS goes through HTTPS_PROXY by CONNECT, and the certificate checked is the server's."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example.com").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with http_peer(tls=context) as peer, _tunnel(peer.port) as (proxy, asked):
        monkeypatch.setenv("https_proxy", proxy.replace("://", "://pu:pp@"))
        send(WebhookHandler(url="https://hooks.example.com/x"))
        assert [request.path for request in peer.requests] == ["/x"]
    assert asked[0].startswith(b"CONNECT hooks.example.com:443 ")
    assert base64.b64encode(b"pu:pp") in asked[0]


class _tunnel:  # noqa: N801 - used as a function
    """Run a proxy that opens a tunnel to a local port for one CONNECT, and records the request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._asked: list[bytes] = []

    def __enter__(self) -> tuple[str, list[bytes]]:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)  # so that a failing test does not hang
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}", self._asked

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            self._asked.append(client.recv(65_536))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, client))
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_an_error_names_the_host_but_no_secret_of_the_url() -> None:
    """Slack's errors said "no answer from ***"; the whole URL, its password, path and query are secret."""
    url = "https://me:pa55word@hooks.example.com:8443/services/T024BE7LD/Zq8Kd03L?sig=abcdef"
    said = redact_secrets(
        f"no answer from hooks.example.com: {url}, pa55word, /services/T024BE7LD/Zq8Kd03L, abcdef", [url]
    )
    assert said.startswith("no answer from hooks.example.com: ***, ***, ")
    assert not any(each in said for each in ("pa55word", "T024BE7LD", "Zq8Kd03L", "abcdef"))
