"""The public services that the documents' examples name, all of them on the loopback.

Examples run as they stand, with the services' own host names. Only the environment differs, as it does on a machine
behind a company's proxy: ``HTTPS_PROXY`` leads to a proxy that answers for every host, ``SSL_CERT_FILE`` names the
authority that its certificates come from, and ``SMTP_SERVER`` and ``SMTP_PORT`` are a mail server. So nothing leaves
the machine, and everything is as encrypted and verified as it would be outside.
"""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from http_channels import CHANNELS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage
    from pathlib import Path

LOGIN = ("scripts@example.com", "a secret of the tests")


@attrs.frozen(kw_only=True)
class Request:
    """What a service was asked."""

    host: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


Answer: TypeAlias = tuple[int, bytes]


def _slack(request: Request) -> Answer:
    method = request.path.rpartition("/")[2]
    said: dict[str, Any] = {"ok": True, "channel": "C0123456789", "ts": "1767225600.000100"}
    if method == "files.getUploadURLExternal":
        said = {"ok": True, "upload_url": "https://files.slack.com/upload/v1/x", "file_id": "F0123456789"}
    return 200, json.dumps(said).encode()


def _ok(answer: Answer) -> Callable[[Request], Answer]:
    return lambda _: answer


SERVICES: dict[str, Callable[[Request], Answer]] = {
    **{each.host: _ok((each.accepted.status, each.accepted.body)) for each in CHANNELS.values()},
    "files.slack.com": _ok((200, b"OK")),
    "login.microsoftonline.com": _ok((200, b'{"access_token": "t0ken"}')),
    "slack.com": _slack,
}


class Internet:
    """A proxy that answers for all services, a mail server, and what they got.

    Args:
        folder: Where the authority's certificate is written.
    """

    def __init__(self, folder: Path) -> None:
        self.requests: list[Request] = []
        self.mails: list[EmailMessage] = []
        self._authority = trustme.CA()
        self._certificate = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self._certificate))
        self.context = cache(self._context)
        self._proxy = _Proxy(self)
        self._mail = _Mail(
            self,
            "127.0.0.1",
            0,
            ready_timeout=20,
            tls_context=self.context("localhost"),
            require_starttls=True,
            authenticator=_check,
            enable_SMTPUTF8=True,
        )

    def _context(self, host: str) -> ssl.SSLContext:
        """Return what a host proves its name with."""
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(host).configure_cert(context)
        return context

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that lead here."""
        proxy = f"http://127.0.0.1:{self._proxy.server_port}"
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "SSL_CERT_FILE": str(self._certificate),
            "REQUESTS_CA_BUNDLE": str(self._certificate),
            "SMTP_SERVER": "localhost",
            "SMTP_PORT": str(self._mail.port),
            "SMTP_USER": LOGIN[0],
            "SMTP_PASSWORD": LOGIN[1],
        }

    def forget(self) -> None:
        """Begin anew, for the next example."""
        self.requests.clear()
        self.mails.clear()

    def asked(self, host: str) -> list[Request]:
        """Return what a service was asked."""
        return [each for each in self.requests if each.host == host]

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a mail."""
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 taken"

    def start(self) -> None:
        """Begin to listen."""
        self._mail.start()
        threading.Thread(target=self._proxy.serve_forever, kwargs={"poll_interval": 0.02}, name="proxy").start()

    def stop(self) -> None:
        """Listen no more."""
        self._proxy.shutdown()
        self._proxy.server_close()
        self._mail.stop()


def _check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, login: LoginPassword) -> AuthResult:
    return AuthResult(success=(login.login.decode(), login.password.decode()) == LOGIN)


class _Mail(Controller):
    def _trigger_server(self) -> None:
        """Find out the port before aiosmtpd connects to it: 0 is none that anybody can connect to."""
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]  # aiosmtpd has few types


class _Proxy(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, internet: Internet) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.internet = internet

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Tunnel(BaseHTTPRequestHandler):
    """Takes ``CONNECT host:443`` and is then that host."""

    server: _Proxy

    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0]
        self.send_response_only(200)
        self.end_headers()
        with (
            suppress(OSError),  # a client that keeps its connection for later just leaves
            self.server.internet.context(host).wrap_socket(self.connection, server_side=True) as secured,
        ):
            secured.settimeout(20)
            _Service(secured, (host, 443), self.server)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so by http.server
        """Say nothing."""


class _Service(BaseHTTPRequestHandler):
    server: _Proxy
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        host = self.client_address[0]
        request = Request(host=host, path=self.path, headers=dict(self.headers.items()), body=body)
        self.server.internet.requests.append(request)
        status, answer = SERVICES.get(host, _ok((404, b"nobody is there")))(request)
        self.send_response_only(status)
        if status != 204:  # it has no body, and says so by its number
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so by http.server
        """Say nothing."""


@contextmanager
def internet(folder: Path) -> Iterator[Internet]:
    """Let the services be there for as long as the block lasts."""
    place = Internet(folder)
    place.start()
    try:
        yield place
    finally:
        place.stop()
