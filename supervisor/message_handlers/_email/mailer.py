"""Sends messages as letters: packs what goes along, hands them in, and keeps account of who got them.

Handlers import this module when they first send.

- Who of a message's recipients got it, was refused, or is to get it later.
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

_NO_SMTPUTF8 = Reply(553, "5.6.7 not asked: the server offers no SMTPUTF8, which this address needs")  # RFC 6531, 3.5


@attrs.define
class _Outcome:
    """Who of a message's recipients needs no further attempt."""

    reached: set[str] = attrs.field(factory=set)
    refused: dict[str, Reply] = attrs.field(factory=dict)


class RecipientTracker:
    """Tells the recipients of each attempt, so that nobody gets a message twice because another was put off.

    It remembers that for 1,000 messages, and only as long as the process lasts.

    Args:
        server: What errors call the server.
        sender: Whom everything is from.
        mailboxes: Whom everything is to.
    """

    def __init__(self, server: str, sender: MailAddress, mailboxes: Sequence[MailAddress]) -> None:
        self._server = server
        self._sender = sender
        self._mailboxes = mailboxes
        self._outcomes: OrderedDict[str, _Outcome] = OrderedDict()

    def envelope(self, message_id: str, extensions: Mapping[str, str]) -> tuple[Envelope, dict[str, Reply]]:
        """Return whom a message goes to now, and who cannot get it since the server has no SMTPUTF8.

        Raises:
            DeliveryError: It cannot be sent from the sender's address (permanent).
        """
        outcome = self._outcomes.get(message_id) or _Outcome()
        done = outcome.reached | outcome.refused.keys()
        waiting = [each for each in self._mailboxes if each.address not in done]
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
        """Note how an attempt went, and return who was refused for good while others got the message.

        Args:
            message_id: The message.
            envelope: Whom it went to.
            refused: Who of them did not get it, and those who could not be asked.

        Raises:
            DeliveryError: Some were put off (temporary), or the message is for nobody (permanent).
        """
        outcome = self._outcomes.pop(message_id, None) or _Outcome()
        outcome.reached.update(set(envelope.recipients) - refused.keys())
        outcome.refused.update({address: reply for address, reply in refused.items() if reply.is_permanent})
        put_off = {address: reply for address, reply in refused.items() if not reply.is_permanent}
        if put_off:
            self._remember(message_id, outcome)
            raise DeliveryError(f"{self._server} put off {list_refusals(put_off)}")
        if not outcome.reached:
            raise DeliveryError(
                f"{self._server} refused every recipient: {list_refusals(outcome.refused)}", permanent=True
            )
        return outcome.refused

    def _remember(self, message_id: str, outcome: _Outcome) -> None:
        self._outcomes[message_id] = outcome
        while len(self._outcomes) > REMEMBERED_MESSAGES:
            self._outcomes.popitem(last=False)


def list_refusals(replies: Mapping[str, Reply]) -> str:
    """Return who was refused, and why, for as many as a person wants to read."""
    each = [f"{address} ({reply})" for address, reply in replies.items()]
    return ", ".join(each[:5]) + (f" and {len(each) - 5} more" if each[5:] else "")


SMALL_TEXT = 25_000  # characters of text that no server refuses for their number
SMALL_BYTES = 16 * SMALL_TEXT


class Mailer:
    """Sends the messages of one handler in one process.

    Args:
        server: Where letters are handed in.
        head: What all letters have in common.
        mailboxes: Who gets them.
        limit_bytes: The most that a letter may have, where the server announces no less.
    """

    def __init__(self, server: Server, head: CommonHeaders, mailboxes: Sequence[MailAddress], limit_bytes: int) -> None:
        self._head = head
        self._limit_bytes = limit_bytes
        self._line = SmtpConnection(server)
        self._recipients = RecipientTracker(str(server), head.sender, mailboxes)

    def send(self, details: MessageDetails) -> dict[str, Reply]:
        """Send a message, and return who was refused for good while others got it.

        Raises:
            DeliveryError: The server did not take it, or not for everybody who could still get it.
        """
        try:
            with self._line.lock:
                return self._send(details)
        finally:
            self._line.close_if_asked()

    def close(self) -> None:
        """Take leave of the server, after the letter that may be on its way; the next one connects anew."""
        self._line.close()

    def forget(self) -> None:
        """Let go of a connection that belongs to the parent of this forked process, and leave it open there."""
        self._line.drop()

    def _send(self, details: MessageDetails) -> dict[str, Reply]:
        """Send a message, and once more without what made it too large if the server says so."""
        extensions = self._line.open()
        limit_bytes = _size_limit(self._limit_bytes, extensions.get("size", ""))
        try:
            return self._post(details, extensions, limit_bytes)
        except TooLargeError as error:
            if not details.attachments and len(details.message) + len(details.html or "") <= SMALL_TEXT:
                raise
            names = ", ".join(each.name for each in details.attachments)
            note = f"Sent without its attachments ({names}): {error.reason}" if names else ""
        smaller = attrs.evolve(details, attachments=())
        return self._post(smaller, self._line.open(), min(limit_bytes, SMALL_BYTES), note)

    def _post(
        self, details: MessageDetails, extensions: Mapping[str, str], limit_bytes: int, note: str = ""
    ) -> dict[str, Reply]:
        envelope, refused = self._recipients.envelope(details.id, extensions)
        with self._attached(details, envelope, limit_bytes) as attached:
            said = attrs.evolve(attached, notes=(note, *attached.notes)) if note else attached
            if envelope.recipients:
                letter = encode_message(details, self._head, said, utf8=envelope.utf8, limit_bytes=limit_bytes)
                refused |= self._line.post(envelope, letter)
        return self._recipients.settle(details.id, envelope, refused)

    def _attached(
        self, details: MessageDetails, envelope: Envelope, limit_bytes: int
    ) -> AbstractContextManager[PackedAttachments]:
        """Pack the attachments into what the letter leaves of the limit."""
        if not details.attachments:
            return nullcontext(PackedAttachments())
        bare = encode_message(details, self._head, PackedAttachments(), utf8=envelope.utf8, limit_bytes=limit_bytes)
        budget_bytes = attachments_budget(bare, len(details.attachments), limit_bytes)
        return packed(details.attachments, limit_bytes=budget_bytes)


def _size_limit(limit_bytes: int, announced: str) -> int:
    """Return the most that a letter may have: our own limit, or the announced one (RFC 1870; 0 means none)."""
    return min(limit_bytes, int(announced) or limit_bytes) if announced.isdecimal() else limit_bytes
