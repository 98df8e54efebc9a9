"""Several commands go to a server in one go where it offers that, and one by one where it does not."""

from __future__ import annotations

import select
import socketserver
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from smtp_peers import WAIT_S, MailServer

from supervisor.errors import DeliveryError
from supervisor.message_handlers._email.handler import EmailHandler
from supervisor.message_handlers._email.pipelining import MOST_AT_ONCE
from supervisor.models import MessageDetails

if TYPE_CHECKING:
    from collections.abc import Iterator

QUIET_S = 0.05


class Postmaster(socketserver.ThreadingTCPServer):
    """A server that answers no command before it has heard so many, or DATA; whoever gives one at a time waits.

    Args:
        at_once: How many it wants to hear.
        offers: What it announces.
        answers: What it says to a command that begins like this, instead of what is usual.
        tls: Encrypts from the start.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, at_once: int, *offers: str, answers: dict[str, str] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Desk)
        self.at_once = at_once
        self.offers = offers
        self.answers = answers or {}
        self.tls = tls
        self.heard: list[list[str]] = []
        self.too_early = b""
        self.letters: list[bytes] = []

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self.server_address[1])

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection."""
        sock, address = super().get_request()
        sock.settimeout(WAIT_S)
        return (self.tls.wrap_socket(sock, server_side=True) if self.tls else sock), address


class _Desk(socketserver.BaseRequestHandler):
    server: Postmaster

    def handle(self) -> None:
        self.buffer = b""
        try:
            self.say("220 here")
            self.line()
            self.say("\r\n".join(["250-here", *(f"250-{each}" for each in self.server.offers), "250 HELP"]))
            while self.serve():
                pass
        except OSError:
            pass  # the client has hung up

    def say(self, *answers: str) -> None:
        self.request.sendall("".join(f"{each}\r\n" for each in answers).encode())

    def line(self) -> str:
        while b"\r\n" not in self.buffer:
            some = self.request.recv(65_536)
            if not some:
                raise ConnectionError
            self.buffer += some
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode().replace("quit", "QUIT")

    def serve(self) -> bool:
        """Hear some commands and answer them; return whether to go on."""
        group: list[str] = []
        while len(group) < self.server.at_once and (not group or group[-1] not in ("DATA", "QUIT")):
            group.append(self.line())
        self.server.heard.append(group)
        if select.select([self.request], [], [], QUIET_S)[0]:
            self.buffer += self.request.recv(65_536)
        self.server.too_early += self.buffer
        answers = [self.answer(each) for each in group]
        if "hang up" in answers:
            self.say(*answers[: answers.index("hang up")])
            return False
        self.say(*answers)
        if group[-1] == "DATA" and answers[-1].startswith("354"):
            lines = list(iter(self.line, "."))
            self.server.letters.append("\r\n".join(lines).encode())
            self.say("250 taken")
        return group[-1] != "QUIT"

    def answer(self, command: str) -> str:
        told = (answer for start, answer in self.server.answers.items() if command.startswith(start))
        usual = {"DATA": "354 go on", "QUIT": "221 bye"}.get(command, "250 fine")
        return next(told, usual)


@contextmanager
def running(server: Postmaster) -> Iterator[Postmaster]:
    """Run a server until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    with server:
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def handler_for(port: int, *to: str, **settings: Any) -> EmailHandler:
    """Return a handler that sends to a server of ours."""
    usual: dict[str, Any] = {"smtp_server": "127.0.0.1", "smtp_port": port, "security": "none"}
    to_addresses = to or ("ops@example.com",)
    return EmailHandler(from_address="jobs@example.com", to_addresses=to_addresses, **{**usual, **settings})


def send(handler: EmailHandler, *subjects: str) -> None:
    """Send messages and take leave of the server."""
    try:
        for subject in subjects:
            handler.send_message(MessageDetails(subject, "t"))
    finally:
        handler.close()


def test_the_commands_go_together_where_that_is_offered() -> None:
    """The server hears the sender, the recipients and DATA before it has answered anything, for each letter."""
    with running(Postmaster(1_000, "PIPELINING")) as server:
        send(handler_for(server.port, "a@example.com", "b@example.com"), "first", "second")
    *groups, _ = server.heard
    assert (
        groups == [["MAIL FROM:<jobs@example.com>", "RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>", "DATA"]] * 2
    )
    assert [b"Subject: first" in each for each in server.letters] == [True, False]
    assert server.too_early == b""


def test_the_commands_go_one_by_one_where_it_is_not_offered() -> None:
    """A server that does not announce it hears nothing before it has answered the command before."""
    with running(Postmaster(1)) as server:
        send(handler_for(server.port, "a@example.com", "b@example.com"), "s")
    assert [each[0].partition(":")[0] for each in server.heard] == ["MAIL FROM", "RCPT TO", "RCPT TO", "DATA", "QUIT"]
    assert server.too_early == b""
    assert len(server.letters) == 1


def test_many_recipients_go_in_groups() -> None:
    """No more commands are under way than whose answers fit into the buffers of the network (RFC 2920, 3.1)."""
    many = [f"{number}@example.com" for number in range(250)]
    with running(
        Postmaster(MOST_AT_ONCE, "PIPELINING", answers={"RCPT TO:<7@": "550 no", "RCPT TO:<249@": "550 no"})
    ) as server:
        send(handler_for(server.port, *many), "s")
    assert [len(each) for each in server.heard] == [100, 100, 52, 1]
    assert [each for group in server.heard for each in group if "RCPT" in each] == [
        f"RCPT TO:<{each}>" for each in many
    ]
    assert server.too_early == b""
    assert len(server.letters) == 1


def test_it_goes_over_tls_too() -> None:
    """What was announced before TLS is forgotten, and what is announced after it is used."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with authority.cert_pem.tempfile() as ca_file:
        with running(Postmaster(1_000, "PIPELINING", tls=context)) as tls:
            send(handler_for(tls.port, security="tls", ca_file=ca_file), "s")
        with MailServer(tls_context=context, extensions=("PIPELINING",)) as starttls:
            starttls.goes_wrong("RCPT b@", "550 5.1.1 no such user")
            to = ("a@example.com", "b@example.com", "c@example.com")
            send(handler_for(starttls.port, *to, security="starttls", ca_file=ca_file), "s")
    assert len(tls.letters) == 1
    assert [(each.recipients, each.is_encrypted) for each in starttls.arrived] == [([to[0], to[2]], True)]


def test_a_server_that_would_take_a_letter_for_nobody_gets_none() -> None:
    """Where all recipients are refused and DATA is answered with "go on" all the same, the connection is dropped."""
    with running(Postmaster(1_000, "PIPELINING", answers={"RCPT": "550 5.1.1 unknown"})) as server:
        handler = handler_for(server.port, "a@example.com", "b@example.com")
        for _ in range(2):
            with pytest.raises(
                DeliveryError, match=r"refused every recipient: a@.* \(550 5.1.1 unknown\), b@"
            ) as caught:
                send(handler, "s")
            assert caught.value.permanent
    assert [each[-1] for each in server.heard] == ["DATA", "DATA"]
    assert server.letters == []


@pytest.mark.parametrize(
    ("command", "step"),
    [("MAIL", "MAIL FROM"), ("RCPT TO:<a@", "RCPT TO"), ("RCPT TO:<b@", "RCPT TO"), ("DATA", "DATA")],
)
def test_a_connection_that_closes_halfway_is_temporary(command: str, step: str) -> None:
    """Whichever answer is the last, nothing was handed in, so that it can be tried again."""
    with running(Postmaster(1_000, "PIPELINING", answers={command: "hang up"})) as server:
        with pytest.raises(DeliveryError, match=f"was lost at {step}") as caught:
            send(handler_for(server.port, "a@example.com", "b@example.com"), "s")
        assert not caught.value.permanent
        assert server.letters == []


def test_the_first_refusal_counts() -> None:
    """What a server says to the recipients of a sender that it refused is no matter of theirs."""
    refusals = {"MAIL": "451 4.3.0 not now", "RCPT": "503 5.5.1 need MAIL", "DATA": "503 5.5.1 need RCPT"}
    with running(Postmaster(1_000, "PIPELINING", answers=refusals)) as server:
        with pytest.raises(DeliveryError, match=r"refused the sender jobs@example.com: 451 4.3.0 not now$") as caught:
            send(handler_for(server.port), "s")
        assert not caught.value.permanent
