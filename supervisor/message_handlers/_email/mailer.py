"""Sends messages as e-mails: over one connection, to the recipients that have not received them yet.

The connection is opened for the first e-mail, kept for the next ones, and replaced when the server has closed it.
Handlers import this module when they first send, because a run that sends no e-mail needs neither ``smtplib`` nor
``ssl``.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

import attrs

from supervisor._attachments import PackedAttachments, packed
from supervisor._models.values import note_handover
from supervisor.errors import DeliveryError
from supervisor.message_handlers._email.mime import attachments_budget, encode_message
from supervisor.message_handlers._email.smtp import LostError, Reply, TooLargeError, open_connection

if TYPE_CHECKING:
    import smtplib
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._email.mime import CommonHeaders, EncodedMessage
    from supervisor.message_handlers._email.smtp import BoundedSmtp, Server
    from supervisor.message_handlers._options import MailAddress

IDLE_LIMIT_S = 60.0  # servers may close after 5 minutes (RFC 5321, 4.5.3.2.7), firewalls earlier and silently
QUIT_TIMEOUT_S = 2.0
FINAL_REPLY_FACTOR = 6


@attrs.frozen(kw_only=True)
class Envelope:
    """The sender and the recipients of one e-mail, as SMTP commands contain them.

    Args:
        sender: The address that bounces go to.
        recipients: The addresses that the e-mail is delivered to.
        utf8: Whether an address, and so a header, is not ASCII; only for servers with SMTPUTF8.
    """

    sender: str
    recipients: tuple[str, ...]
    utf8: bool = False


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
        self._smtp: BoundedSmtp | None = None
        self._used_at_s = 0.0
        self._has_sent = False
        self._is_closing = False

    def open(self) -> Mapping[str, str]:
        """Connect if there is no connection yet, and return the extensions that the server announced.

        Raises:
            DeliveryError: It could not connect or log in.
        """
        return self._opened().esmtp_features

    def _opened(self) -> BoundedSmtp:
        now = self._clock()
        is_stale = now - self._used_at_s > IDLE_LIMIT_S
        if self._smtp is not None and (is_stale or (self._has_sent and self._smtp.has_unread)):
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
                raise self._server.refusal_error("the message", reply, scope="message")
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
        unsent = b""  # one piece is kept back: the server has no message before the last one
        try:
            for piece in message.pieces():
                if unsent:
                    smtp.send(unsent)
                unsent = piece
            note_handover()
            smtp.send(unsent)
        except OSError as error:
            raise self._server.lost_error("the text of the message", error) from error
        smtp.sock.settimeout(self._final_reply_server.timeout_s)
        reply = self._final_reply_server.run("the end of the message", smtp.getreply)
        if not reply.is_success:
            raise self._server.refusal_error("the message", reply, scope="message")
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


REMEMBERED_MESSAGES = 1_000

SMALL_TEXT = 25_000  # characters of text that no server refuses for their number
SMALL_BYTES = 16 * SMALL_TEXT

_NO_SMTPUTF8 = Reply(553, "5.6.7 not asked: the server offers no SMTPUTF8, which this address needs")  # RFC 6531, 3.5


@attrs.define
class _Outcome:
    """The recipients of a message that need no further attempt."""

    reached: set[str] = attrs.field(factory=set)
    refused: dict[str, Reply] = attrs.field(factory=dict)


class RecipientTracker:
    """Tracks which recipients still need a message, so that a repeat for one of them is not sent to all.

    It does so for the last 1,000 messages, in memory.

    Args:
        server: The server's name in errors.
        sender: The sender of all messages.
        recipients: The recipients of all messages.
    """

    def __init__(self, server: str, sender: MailAddress, recipients: Sequence[MailAddress]) -> None:
        self._server = server
        self._sender = sender
        self._recipients = recipients
        self._outcomes: OrderedDict[str, _Outcome] = OrderedDict()

    def envelope(self, message_id: str, extensions: Mapping[str, str]) -> tuple[Envelope, dict[str, Reply]]:
        """Return the envelope of the next attempt, and the recipients that the server cannot reach without SMTPUTF8.

        Raises:
            DeliveryError: The sender's address needs SMTPUTF8, which the server does not offer (permanent).
        """
        outcome = self._outcomes.get(message_id) or _Outcome()
        done = outcome.reached | outcome.refused.keys()
        waiting = [each for each in self._recipients if each.address not in done]
        utf8 = "smtputf8" in extensions and any(each.needs_smtputf8 for each in (self._sender, *waiting))
        if self._sender.needs_smtputf8 and not utf8:
            raise DeliveryError(
                f"{self._server} offers no SMTPUTF8, which from_address {self._sender.address!r} needs; "
                "give one that is ASCII before the @",
                permanent=True,
            )
        now = tuple(each.address for each in waiting if utf8 or not each.needs_smtputf8)
        never = {each.address: _NO_SMTPUTF8 for each in waiting if each.address not in now}
        return Envelope(sender=self._sender.address, recipients=now, utf8=utf8), never

    def settle(self, message_id: str, envelope: Envelope, refused: Mapping[str, Reply]) -> dict[str, Reply]:
        """Record the outcome of an attempt; return the permanent refusals if at least one recipient got the message.

        Args:
            message_id: The message's id.
            envelope: The envelope of the attempt.
            refused: The recipients that were refused, and those that the server cannot reach.

        Raises:
            DeliveryError: Some recipients were refused temporarily, or all of them permanently.
        """
        outcome = self._outcomes.pop(message_id, None) or _Outcome()
        outcome.reached.update(set(envelope.recipients) - refused.keys())
        outcome.refused.update({address: reply for address, reply in refused.items() if reply.is_permanent})
        deferred = {address: reply for address, reply in refused.items() if not reply.is_permanent}
        if deferred:
            self._store(message_id, outcome)
            raise DeliveryError(f"{self._server} put off {list_refusals(deferred)}", scope="message")
        if not outcome.reached:
            raise DeliveryError(
                f"{self._server} refused every recipient: {list_refusals(outcome.refused)}", permanent=True
            )
        return outcome.refused

    def _store(self, message_id: str, outcome: _Outcome) -> None:
        self._outcomes[message_id] = outcome
        while len(self._outcomes) > REMEMBERED_MESSAGES:
            self._outcomes.popitem(last=False)


def list_refusals(replies: Mapping[str, Reply]) -> str:
    """Return the first five refused recipients with the server's replies, and the number of the others."""
    each = [f"{address} ({reply})" for address, reply in replies.items()]
    return ", ".join(each[:5]) + (f" and {len(each) - 5} more" if each[5:] else "")


class Mailer:
    """Sends the messages of one handler in one process.

    Args:
        server: The SMTP server.
        head: The headers that all e-mails share.
        recipients: The recipients of all messages.
        limit_bytes: The most that an e-mail may have, unless the server announces less.
    """

    def __init__(
        self, server: Server, head: CommonHeaders, recipients: Sequence[MailAddress], limit_bytes: int
    ) -> None:
        self._head = head
        self._limit_bytes = limit_bytes
        self._connection = SmtpConnection(server)
        self._tracker = RecipientTracker(str(server), head.sender, recipients)

    def prepare(self, details: MessageDetails) -> None:
        """Load what sending a message needs, by making an e-mail that is not sent."""
        encode_message(details, self._head, PackedAttachments(), utf8=False, limit_bytes=self._limit_bytes)

    def send(self, details: MessageDetails) -> dict[str, Reply]:
        """Send a message, and return the recipients that were permanently refused while others got it.

        Raises:
            DeliveryError: The server did not accept it for any recipient, or refused some temporarily.
        """
        try:
            with self._connection.lock:
                return self._send(details)
        finally:
            self._connection.close_if_requested()

    def close(self) -> None:
        """Close the connection after the e-mail that is being sent; the next one opens a new connection."""
        self._connection.close()

    def drop(self) -> None:
        """Drop a connection that belongs to the parent of this forked process, and leave it open there."""
        self._connection.drop()

    def _send(self, details: MessageDetails) -> dict[str, Reply]:
        """Send a message, and once more without attachments and with a short text if the server calls it too large."""
        extensions = self._connection.open()
        limit_bytes = _size_limit(self._limit_bytes, extensions.get("size", ""))
        try:
            return self._send_once(details, extensions, limit_bytes)
        except TooLargeError as error:
            if not details.attachments and len(details.message) + len(details.html or "") <= SMALL_TEXT:
                raise
            names = ", ".join(each.name for each in details.attachments)
            note = f"Sent without its attachments ({names}): {error.reason}" if names else ""
        smaller = attrs.evolve(details, attachments=())
        return self._send_once(smaller, self._connection.open(), min(limit_bytes, SMALL_BYTES), note)

    def _send_once(
        self, details: MessageDetails, extensions: Mapping[str, str], limit_bytes: int, note: str = ""
    ) -> dict[str, Reply]:
        envelope, refused = self._tracker.envelope(details.id, extensions)
        with self._attached(details, envelope, limit_bytes) as attached:
            noted = attrs.evolve(attached, notes=(note, *attached.notes)) if note else attached
            if envelope.recipients:
                message = encode_message(details, self._head, noted, utf8=envelope.utf8, limit_bytes=limit_bytes)
                refused |= self._connection.send(envelope, message)
        return self._tracker.settle(details.id, envelope, refused)

    def _attached(
        self, details: MessageDetails, envelope: Envelope, limit_bytes: int
    ) -> AbstractContextManager[PackedAttachments]:
        """Pack the attachments into the bytes that the e-mail's texts leave of the limit."""
        if not details.attachments:
            return nullcontext(PackedAttachments())
        bare = encode_message(details, self._head, PackedAttachments(), utf8=envelope.utf8, limit_bytes=limit_bytes)
        budget_bytes = attachments_budget(bare, len(details.attachments), limit_bytes)
        return packed(details.attachments, limit_bytes=budget_bytes)


def _size_limit(limit_bytes: int, announced: str) -> int:
    """Return the most that an e-mail may have: our own limit, or the announced one (RFC 1870; 0 means none)."""
    return min(limit_bytes, int(announced) or limit_bytes) if announced.isdecimal() else limit_bytes
