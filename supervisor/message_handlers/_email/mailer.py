"""Sends messages as letters: packs what goes along, hands them in, and keeps account of who got them.

Handlers import this module when they first send.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import attrs

from supervisor._attachments import Packed, packed
from supervisor.message_handlers._email.connection import Line
from supervisor.message_handlers._email.encoded_message import attachments_budget
from supervisor.message_handlers._email.mime import write
from supervisor.message_handlers._email.protocol import TooLargeError
from supervisor.message_handlers._email.recipients import Recipients

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._email.mailbox import Letterhead, Mailbox
    from supervisor.message_handlers._email.protocol import Envelope, Reply, Server

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

    def __init__(self, server: Server, head: Letterhead, mailboxes: Sequence[Mailbox], limit_bytes: int) -> None:
        self._head = head
        self._limit_bytes = limit_bytes
        self._line = Line(server)
        self._recipients = Recipients(str(server), head.sender, mailboxes)

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
        limit_bytes = _least(self._limit_bytes, extensions.get("size", ""))
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
                letter = write(details, self._head, said, utf8=envelope.utf8, limit_bytes=limit_bytes)
                refused |= self._line.post(envelope, letter)
        return self._recipients.settle(details.id, envelope, refused)

    def _attached(
        self, details: MessageDetails, envelope: Envelope, limit_bytes: int
    ) -> AbstractContextManager[Packed]:
        """Pack the attachments into what the letter leaves of the limit."""
        if not details.attachments:
            return nullcontext(Packed())
        bare = write(details, self._head, Packed(), utf8=envelope.utf8, limit_bytes=limit_bytes)
        budget_bytes = attachments_budget(bare, len(details.attachments), limit_bytes)
        return packed(details.attachments, limit_bytes=budget_bytes)


def _least(limit_bytes: int, announced: str) -> int:
    """Return the most that a letter may have: our own limit, or the announced one (RFC 1870; 0 means none)."""
    return min(limit_bytes, int(announced) or limit_bytes) if announced.isdecimal() else limit_bytes
