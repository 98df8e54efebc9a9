"""When a run is stalled, overdue, dead or missed: one rule for each, whoever applies it.

The run's own watchdog, ``supervisor check``, ``supervisor status`` and the page all ask these functions, which know
nothing but plain facts. What differs between them is how far they see, and that is an argument: a :class:`Margin`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import attrs

from supervisor._models.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._schedules import Schedule


class Margin(NamedTuple):
    """How many seconds beyond a limit somebody waits before calling a run stalled or overdue.

    Args:
        stalled_s: Beyond ``stall_after_s``.
        overdue_s: Beyond ``max_duration_s``.
    """

    stalled_s: float
    overdue_s: float


OF_THE_RUN = Margin(0.0, 0.0)
"""The run itself knows each sign of life the moment it comes."""

OF_THE_JOURNAL = Margin(2.0, 0.0)
"""Progress is noted in the journal once a second at most: what stands there may be older than what was made last."""

OF_A_CHECK = Margin(30.0, 30.0)
"""A run that watches itself notifies first, since it also knows what its threads are doing."""

DEFAULT_GRACE_S = 600.0
"""How late a scheduled start may be where nothing else is set."""

EARLY = timedelta(seconds=30)
"""A start that comes before its time by less than this is that start: schedulers and clocks are not exact."""


# Runs that have not ended


def is_stalled(silent_s: float, stall_after_s: float | None, margin_s: float = 0.0) -> bool:
    """Return whether a run is stalled.

    Args:
        silent_s: Seconds since its last sign of life: its last progress, or its start.
        stall_after_s: The longest it should be without; None without a limit.
        margin_s: How much longer to wait.
    """
    return stall_after_s is not None and silent_s >= stall_after_s + margin_s


def is_overdue(taken_s: float, max_duration_s: float | None, margin_s: float = 0.0) -> bool:
    """Return whether a run takes too long.

    Args:
        taken_s: Seconds since its start.
        max_duration_s: The longest it should take; None without a limit.
        margin_s: How much longer to wait.
    """
    return max_duration_s is not None and taken_s >= max_duration_s + margin_s


def has_died(*, has_ended: bool, process_is_gone: bool) -> bool:
    """Return whether a run died: its process is gone, and nobody noted how the run ended."""
    return process_is_gone and not has_ended


def awake_s(since_s: float, now_s: float, sleeps: Iterable[tuple[float, float]] = ()) -> float:
    """Return the seconds since an instant in which the machine was awake; at least 0.

    Args:
        since_s: The instant, in seconds since 1970.
        now_s: The moment, by the same clock.
        sleeps: Until when the machine slept, and how many seconds, as far as that is known.
    """
    slept_s = sum(slept_s for until_s, slept_s in sleeps if until_s > since_s)
    return max(0.0, now_s - since_s - slept_s)


class Standing(NamedTuple):
    """How a run stands that has not ended.

    Args:
        has_died: True when its process is gone.
        stalled_since_s: Its last sign of life, in seconds since 1970, where it is stalled; None where it is not.
        overdue_since_s: The end of the time allowed, where that is over; None where it is not.
    """

    has_died: bool = False
    stalled_since_s: float | None = None
    overdue_since_s: float | None = None

    @property
    def is_late(self) -> bool:
        """Return whether it is stalled or overdue."""
        return self.stalled_since_s is not None or self.overdue_since_s is not None

    @property
    def words(self) -> tuple[str, ...]:
        """Return what is wrong with it, as kinds of messages are called; nothing where all is well."""
        facts = (
            (Kind.DIED, self.has_died),
            (Kind.STALLED, self.stalled_since_s is not None),
            (Kind.OVERDUE, self.overdue_since_s is not None),
        )
        return tuple(str(kind) for kind, is_so in facts if is_so)


def standing(  # noqa: PLR0913 - the facts that decide
    now_s: float,
    *,
    started_at_s: float,
    seen_at_s: float,
    stall_after_s: float | None,
    max_duration_s: float | None,
    process_is_gone: bool = False,
    margin: Margin = OF_THE_JOURNAL,
    sleeps: Iterable[tuple[float, float]] = (),
) -> Standing:
    """Return how a run stands that has not ended, by the limits that it was started with.

    Args:
        now_s: The moment, in seconds since 1970 (UTC).
        started_at_s: When it started.
        seen_at_s: Its last sign of life: its last progress, or its start.
        stall_after_s: The longest it should be without progress; None without a limit.
        max_duration_s: The longest it should take; None without a limit.
        process_is_gone: True when its process has surely ended.
        margin: How much longer to wait.
        sleeps: When the machine slept; see :func:`awake_s`.
    """
    if has_died(has_ended=False, process_is_gone=process_is_gone):
        return Standing(has_died=True)
    sleeps = tuple(sleeps)
    stalls = is_stalled(awake_s(seen_at_s, now_s, sleeps), stall_after_s, margin.stalled_s)
    overdue = is_overdue(awake_s(started_at_s, now_s, sleeps), max_duration_s, margin.overdue_s)
    return Standing(
        stalled_since_s=seen_at_s if stalls else None,
        overdue_since_s=started_at_s + (max_duration_s or 0.0) if overdue else None,
    )


@attrs.frozen(kw_only=True)
class RunAlert:
    """A run that stalled, or that takes too long.

    Args:
        kind: ``Kind.STALLED`` or ``Kind.OVERDUE``.
        since: The run's last sign of life, or its start, as an aware UTC datetime.
        lasted_s: Seconds since then.
        limit_s: How many there may be.
        interrupts: True when the run is interrupted now, False when it is left to go on; None where somebody else than
            the run itself noticed.
        stacks: What every thread was doing; "" where that is not known.
        is_known: True for a stall that was noticed before, and of which nobody was notified.
    """

    kind: Kind
    since: datetime
    lasted_s: float
    limit_s: float
    interrupts: bool | None = None
    stacks: str = ""
    is_known: bool = False

    @property
    def setting(self) -> str:
        """Return the setting that drew the limit."""
        return "stall_after_s" if self.kind is Kind.STALLED else "max_duration_s"

    def __str__(self) -> str:
        from supervisor._text import duration

        did = "made no progress for" if self.kind is Kind.STALLED else "took longer than"
        return f"{did} {duration(self.limit_s)} ({self.setting})"


# Starts that did not come


def counted_from(schedule: Schedule, started_at: datetime, seen_at: datetime) -> datetime:
    """Return the instant after which the next start is due.

    What was due while the newest run was still under way is not missed: Task Scheduler and systemd start no second one
    (https://learn.microsoft.com/windows/win32/taskschd/tasksettings-multipleinstances,
    https://www.freedesktop.org/software/systemd/man/latest/systemd.timer.html).

    Args:
        schedule: When runs should start.
        started_at: When the newest run started.
        seen_at: Its end, or its last sign of life.
    """
    after = started_at + early(schedule)
    due = schedule.next_after(after)
    return seen_at if due is not None and due <= seen_at else after


def early(schedule: Schedule) -> timedelta:
    """Return how much before its time a start may come. An interval counts from the last start, which is no new one."""
    return EARLY if schedule.cron is not None else timedelta()


def missed_starts(schedule: Schedule, *, after: datetime, grace_s: float | None, now: datetime) -> tuple[datetime, ...]:
    """Return the starts that were missed, the oldest first, a thousand at most.

    Args:
        schedule: When runs should start.
        after: The first start is due after this; see :func:`counted_from`.
        grace_s: How many seconds late a start may be; None stands for the default.
        now: The moment.
    """
    until = now - timedelta(seconds=DEFAULT_GRACE_S if grace_s is None else grace_s)
    return schedule.due(after, until) if until > after else ()
