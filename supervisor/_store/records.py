"""What the journal tells of runs and deliveries. Loaded when somebody asks, not by every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs

from supervisor._store.processes import Process

if TYPE_CHECKING:
    from datetime import datetime

    from supervisor._models.kinds import DeliveryState, Kind
    from supervisor._models.values import RunReport


@attrs.frozen(kw_only=True)
class RunRecord:
    """One run as the journal knows it.

    Args:
        report: What is known of the run. Of one that died, ``ended_at`` is None and ``duration_s`` lasts to its
            last sign of life.
        process_started: The start of its process, in the form of :class:`~supervisor._store.processes.Process`.
        progress_at: When its last progress was noted; None without one.
        schedule: When it should run, as it was set; None without one.
        max_duration_s: The longest it should take; None without a limit.
        stall_after_s: The longest it should be without progress; None without a limit.
        grace_s: How late a start may be by the schedule; None without one.
        program: The process of the program that ``supervisor run`` has started; None for other runs, and where it was
            not noted.
    """

    report: RunReport
    process_started: str = ""
    progress_at: datetime | None = None
    schedule: str | None = None
    max_duration_s: float | None = None
    stall_after_s: float | None = None
    grace_s: float | None = None
    program: Process | None = None

    @property
    def process(self) -> Process:
        """Return the process that it ran in."""
        return Process(self.report.host, self.report.pid, self.process_started)

    @property
    def seen_at(self) -> datetime:
        """Return its last sign of life that was noted while it was under way: its last progress, or its start."""
        return self.progress_at or self.report.started_at


class RunGlance(NamedTuple):
    """What a check looks at of a run: there may be thousands, so it is little, and instants are seconds since 1970.

    Args:
        key: How the journal finds it again.
        id: The run's own id.
        name: The name it was given.
        outcome: How it ended; None while it is under way, or when nobody has noticed yet that it died.
        host: The machine that it runs on.
        started_at_s: When it started.
        seen_at_s: Its last sign of life: its end, its last progress or its start.
        schedule: When it should run, as it was set; None without one.
        grace_s: How late a start may be by the schedule; None without one.
        max_duration_s: The longest it should take; None without a limit.
        stall_after_s: The longest it should be without progress; None without a limit.
        is_gone: True when it has not ended and its process has.
    """

    key: int
    id: str
    name: str
    outcome: str | None
    host: str
    started_at_s: float
    seen_at_s: float
    schedule: str | None
    grace_s: float | None
    max_duration_s: float | None
    stall_after_s: float | None
    is_gone: bool


class AlertRecord(NamedTuple):
    """Something that a check, or a run itself, has told of, and that is still so as far as the journal knows.

    Args:
        key: What ``resolve_alert`` takes.
        kind: Stalled, overdue, missed or died.
        name: Of which runs.
        run_id: Of which run; "" where a start was missed.
        schedule: The schedule whose time was missed; None for other kinds.
        since: When it began: the first start that was missed, the last sign of life, the end of the time allowed.
        notified_at: When it was told; of several stalls of a run, when one was last told.
        times: How often it was so of this run.
        skipped: How often since people were notified.
        awaiting_recovery: The names of the handlers that are to be notified of the recovery; none where it was only
            printed.
        run: The run as it is now; None where a start was missed, and where the run is kept no more.
    """

    key: int
    kind: Kind
    name: str
    run_id: str
    schedule: str | None
    since: datetime
    notified_at: datetime
    times: int
    skipped: int
    awaiting_recovery: tuple[str, ...]
    run: RunGlance | None


class LastCheck(NamedTuple):
    """When a check last looked, and how long the machine has slept since some instant.

    Args:
        at: When the check before this one looked; None for the first one.
        sleeps: Until when, in seconds since 1970, and how many seconds the machine slept, as far as checks noticed.
    """

    at: datetime | None
    sleeps: tuple[tuple[float, float], ...]


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
        notified_at: When one was last told; None when never.
        held_back: How many were held back since.
    """

    notified_at: datetime | None
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
