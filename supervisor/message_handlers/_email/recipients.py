"""Who of a message's recipients got it, was refused, or is to get it later."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import attrs

from supervisor.errors import DeliveryError
from supervisor.message_handlers._email.protocol import Envelope, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervisor.message_handlers._email.mailbox import Mailbox

REMEMBERED_MESSAGES = 1_000

_NOT_ASKED = Reply(553, "5.6.7 not asked: the server offers no SMTPUTF8, which this address needs")  # RFC 6531, 3.5


@attrs.define
class _Outcome:
    """Who of a message's recipients needs no further attempt."""

    reached: set[str] = attrs.field(factory=set)
    refused: dict[str, Reply] = attrs.field(factory=dict)


class Recipients:
    """Tells the recipients of each attempt, so that nobody gets a message twice because another was put off.

    It remembers that for 1,000 messages, and only as long as the process lasts.

    Args:
        server: What errors call the server.
        sender: Whom everything is from.
        mailboxes: Whom everything is to.
    """

    def __init__(self, server: str, sender: Mailbox, mailboxes: Sequence[Mailbox]) -> None:
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
        never = {each.address: _NOT_ASKED for each in waiting if each.address not in now}
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
            raise DeliveryError(f"{self._server} put off {told(put_off)}")
        if not outcome.reached:
            raise DeliveryError(f"{self._server} refused every recipient: {told(outcome.refused)}", permanent=True)
        return outcome.refused

    def _remember(self, message_id: str, outcome: _Outcome) -> None:
        self._outcomes[message_id] = outcome
        while len(self._outcomes) > REMEMBERED_MESSAGES:
            self._outcomes.popitem(last=False)


def told(replies: Mapping[str, Reply]) -> str:
    """Return who was refused, and why, for as many as a person wants to read."""
    each = [f"{address} ({reply})" for address, reply in replies.items()]
    return ", ".join(each[:5]) + (f" and {len(each) - 5} more" if each[5:] else "")
