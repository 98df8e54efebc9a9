"""What the journal tells of runs and deliveries. Loaded when somebody asks, not by every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs

if TYPE_CHECKING:
    from datetime import datetime

    from supervisor.kinds import DeliveryState, Kind
    from supervisor.models import RunReport


@attrs.frozen(kw_only=True)
class RunRecord:
    """One run as the journal knows it.

    Args:
        report: What is known of the run. Of one that died, ``ended_at`` is None and ``duration_s`` lasts to its
            last sign of life.
        process_started: The start of its process, in the form of :class:`~supervisor.journal.processes.Process`.
        progress_at: When its last progress was noted; None without one.
        schedule: When it should run, as it was set; None without one.
        max_duration_s: The longest it should take; None without a limit.
        stall_after_s: The longest it should be without progress; None without a limit.
    """

    report: RunReport
    process_started: str = ""
    progress_at: datetime | None = None
    schedule: str | None = None
    max_duration_s: float | None = None
    stall_after_s: float | None = None


class Streak(NamedTuple):
    """Failures in a row, up to the newest run that has ended.

    Args:
        failures: How many; 0 when the newest ended well.
        since: When the first of them started; None without one.
    """

    failures: int
    since: datetime | None


class Repeats(NamedTuple):
    """What was told of equal failures.

    Args:
        told_at: When one was last told; None when never.
        held_back: How many were held back since.
    """

    told_at: datetime | None
    held_back: int


@attrs.frozen(kw_only=True)
class WaitingDelivery:
    """One delivery that is pending or failed, for people to look at.

    Args:
        key: What ``retry`` and ``drop`` take.
        handler: The name of the handler.
        state: Pending or failed.
        subject: The message's headline.
        kind: What the message is about.
        message_id: The message's own id.
        created_at: When the message was written.
        attempts: How often it was tried.
        last_error: Why the last attempt failed; "" before the first failure.
        due_at: When it may be tried again; None when it failed for good.
        is_claimed: True while a living process is sending it.
    """

    key: int
    handler: str
    state: DeliveryState
    subject: str
    kind: Kind
    message_id: str
    created_at: datetime
    attempts: int
    last_error: str
    due_at: datetime | None
    is_claimed: bool
