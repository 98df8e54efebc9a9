"""One SMTP connection: opened when a letter needs it, kept for the next ones, mended when it went stale.

Handlers import this module when they first send: ``smtplib`` and ``ssl`` are more than most runs need.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs

from supervisor.message_handlers._email.connect import open_connection
from supervisor.message_handlers._email.protocol import LostError

if TYPE_CHECKING:
    import smtplib
    from collections.abc import Callable, Iterator, Mapping

    from supervisor.message_handlers._email.mime import EncodedMessage
    from supervisor.message_handlers._email.protocol import Envelope, Reply, Server

IDLE_LIMIT_S = 60.0  # servers may hang up after 5 minutes (RFC 5321, 4.5.3.2.7), firewalls sooner and without a word
QUIT_TIMEOUT_S = 2.0
FINAL_REPLY_FACTOR = 6


class SmtpConnection:
    """The connection to one server; whoever uses it holds its ``lock``.

    Args:
        server: Where letters are handed in.
        clock: Returns seconds; a parameter for tests.
    """

    def __init__(self, server: Server, clock: Callable[[], float] = time.monotonic) -> None:
        self.lock = threading.Lock()
        self._server = server
        self._patient = attrs.evolve(server, timeout_s=server.timeout_s * FINAL_REPLY_FACTOR)
        self._clock = clock
        self._smtp: smtplib.SMTP | None = None
        self._used_at_s = 0.0
        self._has_served = False
        self._is_closing = False

    def open(self) -> Mapping[str, str]:
        """Connect, unless that is done already, and return the extensions that the server announced.

        Raises:
            DeliveryError: It could not connect or log in.
        """
        return self._opened().esmtp_features

    def _opened(self) -> smtplib.SMTP:
        now = self._clock()
        if self._smtp is not None and now - self._used_at_s > IDLE_LIMIT_S:
            self.drop()
        if self._smtp is None:
            self._smtp = open_connection(self._server)
            self._has_served = False
        self._used_at_s = now
        return self._smtp

    def post(self, envelope: Envelope, letter: EncodedMessage) -> dict[str, Reply]:
        """Hand in a letter and return the recipients that were refused, each with the server's answer.

        The others got it when it returns; when all are refused, nobody did. After an error the connection is
        gone, and the next letter opens a new one.

        Raises:
            DeliveryError: The server did not take the letter, or did not say that it had.
        """
        with self._dropped_unless_done():
            refused = self._announced(envelope, letter.size_bytes)
            if len(refused) < len(envelope.recipients):
                self._hand_over(letter)
                self._has_served = True
                self._used_at_s = self._clock()
        if len(refused) == len(envelope.recipients):
            self.drop()  # the server still waits for a recipient
        return refused

    @contextmanager
    def _dropped_unless_done(self) -> Iterator[None]:
        """Drop the connection when a letter was broken off: what followed would be read as the rest of it."""
        done = False
        try:
            yield
            done = True
        finally:
            if not done:
                self.drop()

    def _announced(self, envelope: Envelope, size_bytes: int) -> dict[str, Reply]:
        """Announce a letter. A connection that served before may have gone stale: then once more on a new one.

        Nothing has been handed in yet, so nobody gets it twice.
        """
        try:
            return self._announce(self._opened(), envelope, size_bytes)
        except LostError:
            if not self._has_served:
                raise
        self.drop()
        return self._announce(self._opened(), envelope, size_bytes)

    def _announce(self, smtp: smtplib.SMTP, envelope: Envelope, size_bytes: int) -> dict[str, Reply]:
        smtp.command_encoding = "utf-8" if envelope.utf8 else "ascii"
        sender = f"MAIL FROM:<{envelope.sender}>{_mail_options(smtp, envelope, size_bytes)}"
        self._check_sender(envelope.sender, self._command(smtp, sender))
        replies = {each: self._command(smtp, f"RCPT TO:<{each}>") for each in envelope.recipients}
        refused = {recipient: reply for recipient, reply in replies.items() if not _is_ok(reply)}
        if len(refused) < len(envelope.recipients):
            reply = self._command(smtp, "DATA")
            if reply.code != 354:  # noqa: PLR2004 - "go on"
                raise self._server.refusal("the message", reply)
        return refused

    def _command(self, smtp: smtplib.SMTP, command: str) -> Reply:
        return self._server.ask(command.partition(":")[0], smtp.docmd, command)

    def _check_sender(self, sender: str, reply: Reply) -> None:
        if not _is_ok(reply):
            asks_for_login = reply.code == 530 and self._server.username is None  # noqa: PLR2004 - RFC 4954, 6
            remedy = "give username and password" if asks_for_login else ""
            raise self._server.refusal(f"the sender {sender}", reply, remedy)

    def _hand_over(self, letter: EncodedMessage) -> None:
        """Send a letter whose recipients were taken, and wait until the server is responsible for it.

        Each piece has the timeout for itself, so that a slow line does not matter. The verdict at the end has six
        times as much: the server looks for spam and viruses before it answers, and to give up too early means to
        send it twice (RFC 5321, 4.5.3.2.6 asks for 10 minutes).
        """
        smtp = self._smtp
        assert smtp is not None
        assert smtp.sock is not None
        for piece in letter.pieces():
            try:
                smtp.send(piece)
            except OSError as error:
                raise self._server.lost("the text of the message", error) from error
        smtp.sock.settimeout(self._patient.timeout_s)
        reply = self._patient.ask("the end of the message", smtp.getreply)
        if not _is_ok(reply):
            raise self._server.refusal("the message", reply)
        smtp.sock.settimeout(self._server.timeout_s)

    def drop(self) -> None:
        """Close the connection without a word; in a forked child, that leaves the parent's alone."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            smtp.close()

    def close(self) -> None:
        """Take leave of the server and close the connection, once the letter that is on its way has been sent."""
        self._is_closing = True
        self.close_if_asked()

    def close_if_asked(self) -> None:
        """Close the connection if that was asked for; whoever gave back the lock calls it."""
        if self._is_closing and self.lock.acquire(blocking=False):
            try:
                self._quit()
            finally:
                self.lock.release()

    def _quit(self) -> None:
        self._is_closing = False
        smtp = self._smtp
        if smtp is not None and smtp.sock is not None:
            with suppress(OSError):
                smtp.sock.settimeout(min(QUIT_TIMEOUT_S, self._server.timeout_s))
                smtp.quit()
        self.drop()


def _is_ok(reply: Reply) -> bool:
    return 200 <= reply.code < 300  # noqa: PLR2004 - RFC 5321, 4.2.1: 2yz


def _mail_options(smtp: smtplib.SMTP, envelope: Envelope, size_bytes: int) -> str:
    """Return what MAIL says of the letter to come: its size (RFC 1870), and whether it needs UTF-8 (RFC 6531)."""
    options = f" SIZE={size_bytes}" if smtp.has_extn("size") else ""
    if envelope.utf8:
        options += " SMTPUTF8" + (" BODY=8BITMIME" if smtp.has_extn("8bitmime") else "")
    return options
