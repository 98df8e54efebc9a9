"""Alerts: runs that are stalled, overdue or dead, and scheduled starts that were missed.

In comes what is known of runs, from the run itself or from the journal. Out go alerts (:mod:`.evaluation`) and their
messages (:mod:`.messages`, :mod:`.deaths`). Nothing is sent here.

The rules are here: when a run is stalled, overdue, dead or missed, and who is notified of it; one rule for each. The
run's own watchdog, ``supervisor check``, ``supervisor status`` and the page all ask these functions, which know nothing
but plain facts. How late their facts may be differs, and is an argument: a :class:`Margin`.

The journal holds which handlers were notified of a run's alerts and wait for the recovery, so that the run and all
checks together notify people once. Without a journal the run goes by its own memory.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol

import attrs

from supervisor._models import Kind
from supervisor._models.parts import AlertSummary, Notification, StallHistory, next_stall, recovery_is_notified
from supervisor._store.essentials import JournalUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from contextlib import AbstractContextManager

    from supervisor._schedules import Schedule
    from supervisor._store import Store
    from supervisor._store.records import AlertRecord


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
"""Progress is written to the journal at most once a second, so a run may be more alive than its record shows."""

OF_A_CHECK = Margin(30.0, 30.0)
"""The run's own watchdog reports first, since only it can say what the threads are doing; the check waits for it."""

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


# Who is notified of a run's alerts


class Identified(Protocol):
    """A run: its id is made when it is first asked for."""

    @property
    def id(self) -> str:
        """Return the id of the run."""


class JournalAccess(Protocol):
    """How a run uses its journal."""

    @property
    def journal(self) -> Store | None:
        """Return the journal; None where the run has none, and after a fault."""

    def stop_using_journal(self, error: JournalUnavailable) -> None:
        """Use the journal no longer."""

    def faults_logged(self) -> AbstractContextManager[None]:
        """Log a fault of the journal in the block, and use it no longer."""


class RunAlerts:
    """The alerts of one run.

    Args:
        run: The run.
        access: Has its journal.
    """

    def __init__(self, run: Identified, access: JournalAccess) -> None:
        self._run = run
        self._access = access
        self._memory = AlertsInMemory(monotonic)
        self._went_on = False
        self._stalled_at: datetime | None = None
        self._lasted_s: float | None = None

    # While it runs

    def raised(self, alert: RunAlert, notify: Callable[[Notification], Collection[str]] | None) -> bool:
        """Note that the run is stalled or overdue, in one commit with the message.

        Args:
            alert: Which of it.
            notify: Stores the message, and returns the names of the handlers that await the recovery too. It is not
                called where ``supervisor check`` has notified people, nor for a stall that is skipped. None where
                nobody wants to be notified: then a check may notify others.

        Returns:
            True for a stall that is skipped for now.
        """
        is_new, self._went_on = self._went_on, False
        if alert.kind is Kind.STALLED:
            self._stalled_at, self._lasted_s = alert.since, None
        notification = self._memory.note(alert.kind, is_new=is_new)
        if notify is None:
            return False
        journal = self._access.journal
        if journal is not None:
            try:
                return self._raised(journal, alert.kind, notify, is_new=is_new)
            except JournalUnavailable as error:
                self._access.stop_using_journal(error)
        if notification is not None:
            self._memory.await_recovery(alert.kind, notify(notification))
        return alert.kind is Kind.STALLED and self._memory.is_skipped

    def _raised(
        self, journal: Store, kind: Kind, notify: Callable[[Notification], Collection[str]], *, is_new: bool
    ) -> bool:
        with journal.one_commit():
            # The journal knows progress alone, and takes two stalls with other signs of life between for one.
            notification = journal.open_alert(kind, self._run.id, is_new=is_new)
            if notification is not None:
                journal.await_recovery(kind, self._run.id, notify(notification))
                return False
            return kind is Kind.STALLED and any(each.skipped for each in journal.alerts_of(self._run.id))

    def goes_on(
        self, lasted_s: float, notify: Callable[[Collection[str]], None], ours: Collection[str] | None = None
    ) -> None:
        """Note that the run goes on after it stalled, in one commit with the message.

        Args:
            lasted_s: How long it had stalled.
            notify: Stores the message for handlers of these names; it is not called where nobody awaits the recovery.
            ours: Which handlers we can reach, where another process serves the others; None for all.
        """
        self._went_on, self._lasted_s = True, lasted_s
        awaiting = self._memory.resolve_stall()
        journal = self._access.journal
        if journal is None:
            if awaiting:
                notify(awaiting)
            return
        with self._access.faults_logged(), journal.one_commit():
            if awaiting := journal.resolve_stall(self._run.id, only=ours) or ():
                notify(awaiting)

    # At its end

    def summary(self, last_stall_s: float | None) -> AlertSummary | None:
        """Return how the run has stalled or taken too long; None where it has not.

        Args:
            last_stall_s: How long the stall lasted in which it ended; None for none.
        """
        found, memory = summary_of(self._records()), self._memory
        stalls = max(found.stalls, memory.stalls)
        found = attrs.evolve(found, stalls=stalls, is_overdue=found.is_overdue or memory.is_overdue)
        if stalls == 1 and self._stalled_at is not None:
            lasted_s = last_stall_s if self._lasted_s is None else self._lasted_s
            found = attrs.evolve(found, stalled_at=self._stalled_at, lasted_s=lasted_s)
        return found if found.clause else None

    def awaiting_recovery(self) -> frozenset[str]:
        """Return the names of the handlers that are to be notified of a good end, since they know what it ends."""
        return self._memory.awaiting.union(*(each.awaiting_recovery for each in self._records()))

    def mark_recovery_notified(self, names: Collection[str]) -> None:
        """Note that handlers are notified of a good end, in the commit that stores its messages."""
        journal = self._access.journal
        if journal is not None:
            with self._access.faults_logged():
                for each in self._records():
                    if each.awaiting_recovery:
                        journal.mark_recovery_notified(each.key, names)

    def _records(self) -> tuple[AlertRecord, ...]:
        journal = self._access.journal
        if journal is not None:
            with self._access.faults_logged():
                return journal.alerts_of(self._run.id)
        return ()


def summary_of(records: Iterable[AlertRecord]) -> AlertSummary:
    """Return how a run has stalled or taken too long, by what people were notified of."""
    by_kind = {each.kind: each for each in records}
    stalled = by_kind.get(Kind.STALLED)
    return AlertSummary(
        stalls=stalled.times if stalled is not None else 0,
        stalled_at=stalled.since if stalled is not None else None,
        is_overdue=Kind.OVERDUE in by_kind,
    )


class AlertsInMemory:
    """What a run remembers of its own alerts, as the journal keeps it.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stalls: StallHistory | None = None
        self._awaiting: dict[Kind, tuple[str, ...]] = {}
        self.is_overdue = False

    @property
    def stalls(self) -> int:
        """Return how often the run has stalled."""
        return self._stalls.times if self._stalls is not None else 0

    @property
    def is_skipped(self) -> bool:
        """Return whether people are still to be notified of the last stall."""
        return self._stalls is not None and self._stalls.skipped > 0

    @property
    def awaiting(self) -> frozenset[str]:
        """Return the names of the handlers that await the recovery."""
        return frozenset().union(*self._awaiting.values())

    def note(self, kind: Kind, *, is_new: bool) -> Notification | None:
        """Note an alert; return what to notify people of, if anything."""
        if kind is not Kind.STALLED:
            self.is_overdue = True
            return Notification()
        changed = next_stall(self._stalls, 0.0, self._clock(), is_new=is_new)
        if changed is None:
            return None
        self._stalls, notification = changed
        return notification

    def await_recovery(self, kind: Kind, names: Iterable[str]) -> None:
        """Note which handlers await the recovery from an alert; those that were noted before stay."""
        self._awaiting[kind] = tuple(dict.fromkeys((*self._awaiting.get(kind, ()), *names)))

    def resolve_stall(self) -> tuple[str, ...]:
        """Return which handlers to notify now that the run goes on."""
        return self._awaiting.pop(Kind.STALLED, ()) if recovery_is_notified(self.stalls) else ()
