"""What a check came to, as one line, as an exit code and as data; and the ping that says that checks go on.

A machine that is dead sends no ping, and so whoever expects one notices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from supervisor._cli.check.checker import Delivered
from supervisor._models.kinds import Kind
from supervisor._text import counted

if TYPE_CHECKING:
    from supervisor._cli.check.checker import Checked, NewAlert
    from supervisor._store import WaitingDelivery
    from supervisor._store.records import AlertRecord
    from supervisor.message_handlers import HealthchecksHandler

FINE, FOUND, WRONG_USE = 0, 1, 2


@attrs.frozen(kw_only=True)
class Result:
    """What a check came to.

    Args:
        checked: What it found; None when there was no journal, or it could not be read.
        delivered: What became of the messages.
        faults: Why the check could not do its work, or not all of it.
        ping_error: Why the ping was not taken; "" when it was, None without a ping.
        note: What there is to say instead, when there is no journal yet.
    """

    checked: Checked | None = None
    delivered: Delivered = attrs.field(factory=Delivered)
    faults: tuple[str, ...] = ()
    ping_error: str | None = None
    note: str = ""

    @property
    def open(self) -> tuple[AlertRecord, ...]:
        """Return what people were notified of before and is still so."""
        return self.checked.open if self.checked is not None else ()

    @property
    def new(self) -> tuple[NewAlert, ...]:
        """Return what this check was the first to notify people of."""
        return self.checked.new if self.checked is not None else ()

    @property
    def code(self) -> int:
        """Return the exit code."""
        if self.faults:
            return WRONG_USE
        is_found = any(each.alert.kind is not Kind.RECOVERY for each in self.new)
        is_left = self.delivered.failed or self.delivered.waiting or self.ping_error
        return FOUND if is_found or is_left else FINE

    @property
    def headline(self) -> str:
        """Return in one line what the check came to."""
        if self.checked is None:
            return self.note or "the check could not be made"
        scripts = counted(self.checked.names, "script")
        found = sum(each.alert.kind is not Kind.RECOVERY for each in self.new)
        before = self.delivered.failed_before
        parts = (
            (found, f"{counted(found, 'new alert')}"),
            (len(self.open), f"{len(self.open)} known before and still so"),
            (len(self.delivered.failed), f"{counted(len(self.delivered.failed), 'message')} refused"),
            (before, f"{counted(before, 'message')} refused before (`supervisor flush --failed` sends again)"),
            (len(self.delivered.waiting), f"{counted(len(self.delivered.waiting), 'message')} not delivered yet"),
        )
        said = ", ".join(text for count, text in parts if count)
        others = self.delivered.others
        waits = f"{counted(others, 'message')} for handlers that only the scripts know" if others else "nothing"
        return f"{scripts}: {said}" if said else f"all is well: {scripts}, {waits} waits"

    def document(self) -> dict[str, Any]:
        """Return all of it for programs."""
        checked, delivered = self.checked, self.delivered
        return {
            "checked_at": checked.at if checked is not None else None,
            "scripts": checked.names if checked is not None else 0,
            "new": [_new_document(each, delivered) for each in self.new],
            "open": [_open_document(each) for each in self.open],
            "refused": [_delivery_document(each) for each in delivered.failed],
            "refused_before": delivered.failed_before,
            "waiting": [_delivery_document(each) for each in delivered.waiting],
            "waiting_for_others": delivered.others,
            "pinged": None if self.ping_error is None else not self.ping_error,
            "faults": list(self.faults),
        }


def _new_document(new: NewAlert, delivered: Delivered) -> dict[str, Any]:
    alert = new.alert
    return {
        "kind": str(alert.kind),
        "name": alert.name,
        "run_id": alert.run_id or None,
        "since": alert.since,
        "subject": new.message.subject,
        "text": new.message.message,
        "message_id": new.message.id,
        "handlers": [each.delivery.handler for each in new.jobs],
        "heard": not any(new is each for each in delivered.unnotified),
    }


def _open_document(record: AlertRecord) -> dict[str, Any]:
    return {
        "kind": str(record.kind),
        "name": record.name,
        "run_id": record.run_id or None,
        "since": record.since,
        "told_at": record.notified_at,
    }


def _delivery_document(each: WaitingDelivery) -> dict[str, Any]:
    return {
        "key": each.key,
        "handler": each.handler,
        "subject": each.subject,
        "kind": str(each.kind),
        "attempts": each.attempts,
        "last_error": each.last_error,
        "due_at": each.due_at,
    }


TIMEOUT_S = 10.0


def pinger(url: str) -> HealthchecksHandler:
    """Return what pings a URL as Healthchecks takes it (https://healthchecks.io/docs/http_api/).

    Raises:
        ConfigurationError: It is no URL that can be pinged; the text does not quote it, since it is a secret.
    """
    from supervisor.message_handlers import HealthchecksHandler

    return HealthchecksHandler(ping_url=url, timeout_s=TIMEOUT_S)


def ping(handler: HealthchecksHandler, subject: str, text: str, *, works: bool) -> None:
    """Report that a check was made: success whatever it found, since people are notified of alerts by messages.

    Args:
        handler: What :func:`pinger` returned.
        subject: What the check came to.
        text: What it found.
        works: False when the check itself could not do its work: the URL with ``/fail`` is pinged then.

    Raises:
        DeliveryError: The ping was not taken.
    """
    from supervisor._models.values import MessageDetails

    try:
        handler.send_message(MessageDetails(subject, text, kind=Kind.SUCCESS if works else Kind.FAILURE))
    finally:
        handler.close()
