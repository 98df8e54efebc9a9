"""A real SMTP server (aiosmtpd) on the loopback that takes mail, goes wrong where it is told, and remembers."""

from __future__ import annotations

import asyncio
import socket
import threading
import weakref
from base64 import b64decode
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final, Self

import attrs
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from email.message import EmailMessage

DROP: Final = "drop"
HANG: Final = "hang"
SILENT: Final = "silent"
"""The mail is taken, but the server does not say so."""
WAIT_S: Final = 20.0


@attrs.frozen(kw_only=True)
class Arrived:
    """A mail as it was received."""

    sender: str
    recipients: list[str]
    source: bytes
    options: list[str]
    login: bytes | None
    is_encrypted: bool

    @property
    def mail(self) -> EmailMessage:
        """Return the parsed mail."""
        return message_from_bytes(self.source, policy=policy.default)

    @property
    def text(self) -> str:
        """Return its plain text."""
        return _content(self.mail, "plain")

    @property
    def html(self) -> str:
        """Return its HTML."""
        return _content(self.mail, "html")


def _content(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


class _Session(SMTP):
    """A connection that simulates the server's planned faults."""

    def __init__(self, server: MailServer, **options: Any) -> None:
        super().__init__(server.postbox, **options)
        self._server = server
        self._is_greeted = False
        self._smtp_methods = {verb: partial(self._step, verb, step) for verb, step in self._smtp_methods.items()}
        server.sessions.add(self)

    async def push(self, status: Any) -> None:
        """Send a reply; the first one is the greeting."""
        if not self._is_greeted:
            self._is_greeted = True
            self._server.connections += 1
            fault = self._server.fault("banner")
            if fault is not None:
                await self.go_wrong(fault)
                return
        await super().push(status)

    async def _step(self, verb: str, step: Any, argument: str | None) -> None:
        self._server.asked.append(verb)
        fault = self._server.fault(verb, argument or "")
        await (step(argument) if fault is None else self.go_wrong(fault))

    async def go_wrong(self, fault: str) -> None:
        """Close the connection, hang, or send an unusual reply."""
        if fault == HANG:
            await asyncio.sleep(3600)
        elif fault == DROP:
            self.hang_up()
        else:
            await super().push(fault)

    def hang_up(self) -> None:
        """Close the connection, as a server does with one that was idle for too long."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


class _Postbox:
    """The handler of aiosmtpd that records mails."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def handle_EHLO(self, _: _Session, session: Any, envelope: Any, name: str, lines: list[str]) -> list[str]:  # noqa: N802 - aiosmtpd's name
        session.host_name = name
        self._server.helo.append(name)
        return [each for each in lines if not any(word in each for word in self._server.hidden)]

    async def handle_DATA(self, server: _Session, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        fault = self._server.fault("END")
        if fault in (DROP, HANG):
            await server.go_wrong(fault)
        elif fault not in (None, SILENT):
            return fault
        login = session.auth_data
        self._server.arrived.append(
            Arrived(
                sender=envelope.mail_from,
                recipients=list(envelope.rcpt_tos),
                source=bytes(envelope.original_content),
                options=list(envelope.mail_options),
                login=login.login if isinstance(login, LoginPassword) else login,
                is_encrypted=session.ssl is not None or self._server.is_encrypted,
            )
        )
        if fault == SILENT:
            await server.go_wrong(HANG)
        return "250 2.0.0 taken"

    async def auth_XOAUTH2(self, server: _Session, arguments: list[str]) -> AuthResult:  # noqa: N802 - aiosmtpd's name
        """Check a token as Gmail does: a wrong one gets a 334 with the reason, and 535 after an empty line."""
        said = b64decode(arguments[1]).decode()
        user, token, *_ = said.split("\1")
        if token == f"auth=Bearer {self._server.token}":
            return AuthResult(success=True, auth_data=user.removeprefix("user=").encode())
        await server.push("334 eyJzdGF0dXMiOiI0MDAifQ==")
        assert await server._reader.readuntil() == b"\r\n"
        return AuthResult(success=False, handled=False)


class MailServer(Controller):
    """A mail server, run in a thread.

    Args:
        logins: Who may log in, by name; None asks nobody for a login.
        token: The access token that XOAUTH2 takes.
        hidden: Lines with one of these words are left out of the answer to EHLO.
        tls: Encrypts from the start.
        options: For aiosmtpd's ``SMTP``.
    """

    def __init__(
        self,
        *,
        logins: dict[str, str] | None = None,
        token: str = "",
        hidden: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
        **options: Any,
    ) -> None:
        self.arrived: list[Arrived] = []
        self.asked: list[str] = []
        self.helo: list[str] = []
        self.connections = 0
        self.sessions: weakref.WeakSet[_Session] = weakref.WeakSet()
        self.token = token
        self.hidden = (*hidden, *(() if logins or token else ("AUTH",)))
        self.is_encrypted = tls is not None
        self.postbox = _Postbox(self)
        self._logins = logins or {}
        self._faults: dict[str, Iterator[str | None]] = {}
        options = {"auth_require_tls": False, "authenticator": self._check, "timeout": 3600, **options}
        super().__init__(self.postbox, "127.0.0.1", 0, ssl_context=tls, ready_timeout=WAIT_S, **options)

    def factory(self) -> _Session:
        """Return a new connection."""
        return _Session(self, **{"loop": self.loop, **self.SMTP_kwargs})

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call] # aiosmtpd has few types

    def _check(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, login: LoginPassword) -> AuthResult:
        known = self._logins.get(login.login.decode()) == login.password.decode("utf-8", "surrogateescape")
        return AuthResult(success=known, handled=False, auth_data=login)

    def goes_wrong(self, step: str, *faults: str | None, always: bool = False) -> None:
        """Tell what goes wrong at a step, one fault after the other; None is a time when all goes well.

        Args:
            step: "banner", a command ("RCPT"), a command with what is in its argument ("RCPT bob@"), or "END" for the
                answer to a whole mail.
            faults: DROP, HANG, SILENT or an answer.
            always: Whether to begin anew after the last.
        """
        self._faults[step] = cycle(faults) if always else iter(faults)

    def fault(self, verb: str, argument: str = "") -> str | None:
        """Return the planned fault for this step, or None."""
        for step, faults in self._faults.items():
            name, _, part = step.partition(" ")
            if name == verb and part in argument:
                return next(faults, None)
        return None

    def hang_up(self) -> None:
        """Close all connections."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(self._hang_up, done)
        assert done.wait(WAIT_S)

    def _hang_up(self, done: threading.Event) -> None:
        for session in list(self.sessions):
            session.hang_up()
        self.loop.call_later(0.02, done.set)  # after the transports have seen to it

    def __enter__(self) -> Self:
        self.start()
        self.connections = 0
        self.asked.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self.stop()


@contextmanager
def free_port() -> Iterator[int]:
    """Yield a local port without a listener."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """Yield an address that does not respond, because its queue of connections is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for each in fillers:
                each.settimeout(0.1)
                with suppress(OSError):
                    each.connect(address)
            yield address
        finally:
            for each in fillers:
                each.close()
