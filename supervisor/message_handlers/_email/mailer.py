"""Sends messages as e-mails: packs the attachments, and tracks which recipients have received each message.

Handlers import this module when they first send.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import nullcontext
from typing import TYPE_CHECKING

import attrs

from supervisor._attachments import PackedAttachments, packed
from supervisor.errors import DeliveryError
from supervisor.message_handlers._email.connection import SmtpConnection
from supervisor.message_handlers._email.mime import attachments_budget, encode_message
from supervisor.message_handlers._email.protocol import Envelope, Reply, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._email.protocol import CommonHeaders, MailAddress, Server

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
