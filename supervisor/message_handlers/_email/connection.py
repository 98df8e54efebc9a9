"""One SMTP connection: opened for the first e-mail, kept for the next ones, and replaced when the server has closed it.

Handlers import this module when they first send, because a run that sends no e-mail needs neither ``smtplib`` nor
``ssl``.
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

IDLE_LIMIT_S = 60.0  # servers may close after 5 minutes (RFC 5321, 4.5.3.2.7), firewalls earlier and silently
QUIT_TIMEOUT_S = 2.0
FINAL_REPLY_FACTOR = 6


class SmtpConnection:
    """The connection to one server. A thread holds ``lock`` while it uses it.

    Args:
        server: The server.
        clock: Returns monotonic seconds; a parameter for tests.
    """

    def __init__(self, server: Server, clock: Callable[[], float] = time.monotonic) -> None:
        self.lock = threading.Lock()
        self._server = server
        self._final_reply_server = attrs.evolve(server, timeout_s=server.timeout_s * FINAL_REPLY_FACTOR)
        self._clock = clock
        self._smtp: smtplib.SMTP | None = None
        self._used_at_s = 0.0
        self._has_sent = False
        self._is_closing = False

    def open(self) -> Mapping[str, str]:
        """Connect if there is no connection yet, and return the extensions that the server announced.

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
            self._has_sent = False
        self._used_at_s = now
        return self._smtp

    def send(self, envelope: Envelope, message: EncodedMessage) -> dict[str, Reply]:
        """Send an e-mail and return the recipients that were refused, each with the server's reply.

        The server has accepted the e-mail for the others when this returns; when all are refused, nothing was sent.
        After an error the connection is closed, and the next e-mail opens a new one.

        Raises:
            DeliveryError: The server did not accept the e-mail, or did not confirm that it had.
        """
        with self._dropped_on_error():
            refused = self._start_message(envelope, message.size_bytes)
            if len(refused) < len(envelope.recipients):
                self._send_content(message)
                self._has_sent = True
                self._used_at_s = self._clock()
        if len(refused) == len(envelope.recipients):
            self.drop()  # the server still waits for a recipient
        return refused

    @contextmanager
    def _dropped_on_error(self) -> Iterator[None]:
        """Close the connection when sending fails: the server would take what follows as the rest of the e-mail."""
        done = False
        try:
            yield
            done = True
        finally:
            if not done:
                self.drop()

    def _start_message(self, envelope: Envelope, size_bytes: int) -> dict[str, Reply]:
        """Give the commands before an e-mail's content, and return the recipients that were refused.

        A connection that has sent e-mails before may have been closed by the server: then this is done once more on a
        new one. No content has been sent yet, so nobody gets an e-mail twice.
        """
        try:
            return self._give_commands(self._opened(), envelope, size_bytes)
        except LostError:
            if not self._has_sent:
                raise
        self.drop()
        return self._give_commands(self._opened(), envelope, size_bytes)

    def _give_commands(self, smtp: smtplib.SMTP, envelope: Envelope, size_bytes: int) -> dict[str, Reply]:
        smtp.command_encoding = "utf-8" if envelope.utf8 else "ascii"
        self._give_sender(smtp, envelope, size_bytes)
        replies = {each: self._command(smtp, f"RCPT TO:<{each}>") for each in envelope.recipients}
        refused = {recipient: reply for recipient, reply in replies.items() if not reply.is_success}
        if len(refused) < len(envelope.recipients):
            reply = self._command(smtp, "DATA")
            if reply.code != 354:  # noqa: PLR2004 - RFC 5321, 4.2.3: "start mail input"
                raise self._server.refusal_error("the message", reply)
        return refused

    def _give_sender(self, smtp: smtplib.SMTP, envelope: Envelope, size_bytes: int) -> None:
        reply = self._command(smtp, f"MAIL FROM:<{envelope.sender}>{_mail_options(smtp, envelope, size_bytes)}")
        if not reply.is_success:
            what = f"the sender {envelope.sender}"
            if reply.code == 530 and self._server.username is None:  # noqa: PLR2004 - RFC 4954, 6
                raise self._server.login_error(what, reply, "give username and password")
            raise self._server.refusal_error(what, reply)

    def _command(self, smtp: smtplib.SMTP, command: str) -> Reply:
        return self._server.run(command.partition(":")[0], smtp.docmd, command)

    def _send_content(self, message: EncodedMessage) -> None:
        """Send the content of an e-mail, and wait until the server has accepted responsibility for it.

        The timeout counts for each piece, so that a slow network does not matter. The final reply may take six times
        as long: the server looks for spam and viruses before it replies, and an e-mail is sent twice when the client
        gives up too early (RFC 5321, 4.5.3.2.6 asks for 10 minutes).
        """
        smtp = self._smtp
        assert smtp is not None
        assert smtp.sock is not None
        for piece in message.pieces():
            try:
                smtp.send(piece)
            except OSError as error:
                raise self._server.lost_error("the text of the message", error) from error
        smtp.sock.settimeout(self._final_reply_server.timeout_s)
        reply = self._final_reply_server.run("the end of the message", smtp.getreply)
        if not reply.is_success:
            raise self._server.refusal_error("the message", reply)
        smtp.sock.settimeout(self._server.timeout_s)

    def drop(self) -> None:
        """Close the connection without QUIT; in a forked child, that leaves the parent's connection open."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            smtp.close()

    def close(self) -> None:
        """Give QUIT and close the connection, after the e-mail that is being sent."""
        self._is_closing = True
        self.close_if_requested()

    def close_if_requested(self) -> None:
        """Close the connection if :meth:`close` was called meanwhile; to be called after the lock was released."""
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


def _mail_options(smtp: smtplib.SMTP, envelope: Envelope, size_bytes: int) -> str:
    """Return the options of MAIL: the size of the e-mail (RFC 1870), and whether it needs UTF-8 (RFC 6531)."""
    options = f" SIZE={size_bytes}" if smtp.has_extn("size") else ""
    if envelope.utf8:
        options += " SMTPUTF8" + (" BODY=8BITMIME" if smtp.has_extn("8bitmime") else "")
    return options
