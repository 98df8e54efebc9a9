"""What is wrong at a moment, by the journal: runs that are stalled, overdue or dead, and starts that were missed.

``supervisor check`` notifies people of it, ``supervisor status`` and the page show it: all of them call
:func:`evaluate` with what they see of the journal, and so they agree.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import attrs

from supervisor import _alerts, _log
from supervisor._messages import run_label
from supervisor._models import Kind
from supervisor._schedules import Schedule, parse_schedule
from supervisor._store.essentials import storable
from supervisor._store.processes import can_be_seen
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisor._alerts import Margin, Standing
    from supervisor._store.contract import Store
    from supervisor._store.records import LastCheck, RunRecord

_LATEST_S = 32_503_680_000.0
"""The year 3000, in seconds since 1970."""


class ReadableJournal(Protocol):
    """What is asked of a journal; see :class:`~supervisor._store.contract.Store`."""

    def newest_runs(self) -> dict[str, RunRecord]:
        """Return the newest run of each name."""

    def unended_runs(self) -> tuple[RunRecord, ...]:
        """Return the runs that have not ended, oldest first."""

    def schedules(self, configured: Mapping[str, str]) -> dict[str, tuple[str, datetime, datetime | None]]:
        """Return which schedules the configuration has or had."""

    def last_check(self, awake_s: float) -> LastCheck:
        """Return when the last check was, and when the machine slept."""


@attrs.frozen(kw_only=True)
class ConfiguredSchedule:
    """When the runs of a name should start, by the configuration of now.

    Args:
        schedule: The schedule, as text.
        grace_s: How late a start may be; None where the configuration does not say.
    """

    schedule: str
    grace_s: float | None = None


@attrs.frozen(kw_only=True)
class KnownSchedule:
    """A schedule that the configuration has or had, as checks have seen it.

    Args:
        schedule: The schedule, as text.
        since: When a check first saw it.
        dropped_at: When a check no longer saw it; None while it is there.
        grace_s: How late a start may be; None where the configuration does not say.
    """

    schedule: str
    since: datetime
    dropped_at: datetime | None = None
    grace_s: float | None = None


@attrs.frozen(kw_only=True, slots=False)  # a cached property needs a place
class View:
    """What somebody sees of the journal and of the configuration at one moment.

    Args:
        now: The moment.
        newest: The newest run of each name.
        unended: The runs that have not ended.
        schedules: The schedules that the configuration has or had, by the names of the runs.
        last_check: When the check before this moment was, and how long the machine slept.
        margin: How much longer than its limits a run may take before it is called stalled or overdue.
    """

    now: datetime
    newest: Mapping[str, RunRecord]
    unended: tuple[RunRecord, ...]
    schedules: Mapping[str, KnownSchedule]
    last_check: LastCheck
    margin: Margin

    @property
    def names(self) -> set[str]:
        """Return the names of all runs that there are or should be."""
        return {*self.newest, *(name for name, each in self.schedules.items() if each.dropped_at is None)}

    @cached_property
    def standings(self) -> dict[str, Standing]:
        """Return how the runs stand that have not ended, by their ids."""
        return {run.id: self.standing(run) for run in self.unended}

    def standing(self, run: RunRecord) -> Standing:
        """Return how a run stands that has not ended."""
        return _alerts.standing(
            self.now.timestamp(),
            started_at_s=run.started_at_s,
            seen_at_s=run.seen_at_s,
            stall_after_s=run.stall_after_s,
            max_duration_s=run.max_duration_s,
            process_is_gone=run.is_gone,
            margin=self.margin,
            sleeps=self.last_check.sleeps,
        )

    def awake_s(self, since_s: float) -> float:
        """Return the seconds since an instant, in seconds since 1970, in which the machine was awake."""
        return _alerts.awake_s(since_s, self.now.timestamp(), self.last_check.sleeps)


def view_of(
    journal: ReadableJournal,
    configured: Mapping[str, ConfiguredSchedule],
    now: datetime,
    awake_s: float,
    margin: Margin = _alerts.OF_THE_JOURNAL,
) -> View:
    """Return what is known of runs and schedules now; nothing is written to the journal.

    Args:
        journal: The journal.
        configured: The schedules that the configuration has, by the names of the runs.
        now: The moment, by the journal's clock.
        awake_s: What a clock shows that stands still while the machine sleeps.
        margin: How much longer than its limits a run may take.

    Raises:
        JournalUnavailable: The journal cannot be read.
    """
    return _view(journal, configured, now, margin, journal.last_check(awake_s), journal.schedules(_texts(configured)))


def view_of_check(journal: Store, configured: Mapping[str, ConfiguredSchedule], now: datetime, awake_s: float) -> View:
    """Note in the journal that a check is made now, and which schedules it saw; return its view (:func:`view_of`).

    Raises:
        JournalUnavailable: The journal cannot be read or written.
    """
    last_check = journal.note_check(awake_s)
    seen = journal.note_schedules(_texts(configured))
    return _view(journal, configured, now, _alerts.OF_A_CHECK, last_check, seen)


def _texts(configured: Mapping[str, ConfiguredSchedule]) -> dict[str, str]:
    return {name: each.schedule for name, each in configured.items()}


def _view(  # noqa: PLR0913, PLR0917 - what a view is made of
    journal: ReadableJournal,
    configured: Mapping[str, ConfiguredSchedule],
    now: datetime,
    margin: Margin,
    last_check: LastCheck,
    seen: Mapping[str, tuple[str, datetime, datetime | None]],
) -> View:
    graces = {storable(name): each.grace_s for name, each in configured.items()}
    schedules = {
        name: KnownSchedule(schedule=schedule, since=since, dropped_at=dropped_at, grace_s=graces.get(name))
        for name, (schedule, since, dropped_at) in seen.items()
    }
    return View(
        now=now,
        newest=journal.newest_runs(),
        unended=journal.unended_runs(),
        schedules=schedules,
        last_check=last_check,
        margin=margin,
    )


# What is wrong


@attrs.frozen(kw_only=True)
class Plan:
    """When the runs of a name should start from now on.

    Args:
        name: Of which runs.
        schedule: When.
        grace_s: How late a start may be.
        after: The first start is due after this.
        newest: Their newest run; None when there never was one.
    """

    name: str
    schedule: Schedule
    grace_s: float
    after: datetime
    newest: RunRecord | None


@attrs.frozen(kw_only=True)
class Alert:
    """Something that is wrong now.

    Args:
        kind: Died, stalled, overdue or missed.
        name: Of which runs.
        since: When it began: the last sign of life, the end of the time allowed, the first start that was missed.
        run: The run; where a start was missed, the newest one of that name, or None when there never was one.
        plan: When the runs should have started, where a start was missed; None otherwise.
        due: The starts that were missed in a row, the oldest first; a thousand at most.
    """

    kind: Kind
    name: str
    since: datetime
    run: RunRecord | None = None
    plan: Plan | None = None
    due: tuple[datetime, ...] = ()

    @property
    def label(self) -> str:
        """Return what messages and lists call its runs."""
        return run_label(self.run) if self.run is not None else self.name

    @property
    def run_id(self) -> str:
        """Return the id of the run; "" where a start was missed."""
        return self.run.id if self.run is not None and self.plan is None else ""


def evaluate(view: View) -> tuple[Alert, ...]:
    """Return what is wrong: dead, stalled and overdue runs in the order of their start, then missed starts by name."""
    return (
        *(alert for run in view.unended for alert in _of_run(run, view.standings[run.id])),
        *missed_start_alerts(view),
    )


def _of_run(run: RunRecord, standing: Standing) -> Iterator[Alert]:
    since_s = {
        Kind.DIED: run.last_sign_at_s if standing.has_died else None,
        Kind.STALLED: standing.stalled_since_s,
        Kind.OVERDUE: standing.overdue_since_s,
    }
    for kind, at_s in since_s.items():
        if at_s is not None:
            yield Alert(kind=kind, name=run.name, since=_instant(at_s), run=run)


def missed_start_alerts(view: View) -> Iterator[Alert]:
    """Yield what was missed, one alert for each name, whether or not people were notified of it."""
    for name in sorted(view.names):
        plan = plan_of(view, name)
        if plan is not None and not _is_under_way(plan.newest):
            due = _alerts.missed_starts(plan.schedule, after=plan.after, grace_s=plan.grace_s, now=view.now)
            if due:
                yield Alert(kind=Kind.MISSED, name=name, since=due[0], run=plan.newest, plan=plan, due=due)


def plan_of(view: View, name: str) -> Plan | None:
    """Return when the runs of a name should start, or None without a schedule.

    A run says when it starts which schedule it has, from the script or from the configuration. What the configuration
    says since then is newer.
    """
    newest, known = view.newest.get(name), view.schedules.get(name)
    recorded = newest.schedule if newest is not None else None
    if known is not None and not _is_older(known, newest):
        if known.dropped_at is None:
            return _plan(name, known.schedule, known.grace_s, newest, known.since)
        if known.schedule == recorded:
            return None  # it came from the configuration, and was taken out there
    if recorded is None or newest is None:
        return None
    return _plan(name, recorded, newest.grace_s, newest, None)


def _is_older(known: KnownSchedule, newest: RunRecord | None) -> bool:
    """Return whether the newest run knew better than the configuration what its schedule is."""
    if newest is None or newest.schedule is None:
        return False
    changed_at = known.dropped_at or known.since
    return newest.started_at_s >= changed_at.timestamp() or (
        known.dropped_at is None and newest.schedule == known.schedule
    )


def _plan(name: str, text: str, grace_s: float | None, newest: RunRecord | None, since: datetime | None) -> Plan | None:
    try:
        schedule = parse_schedule(text)
    except ConfigurationError as error:  # only by a journal that was changed by hand, or that a newer version wrote
        _log.warning("the schedule of %r cannot be checked: %s", name, error)
        return None
    after = since
    if newest is not None:
        started_at, seen_at = map(_instant, (newest.started_at_s, newest.seen_at_s))
        from_newest = _alerts.counted_from(schedule, started_at, seen_at)
        after = max(from_newest, since) if since is not None else from_newest
    assert after is not None  # there is a run, or a schedule that was seen some time
    grace_s = _alerts.DEFAULT_GRACE_S if grace_s is None else grace_s
    return Plan(name=name, schedule=schedule, grace_s=grace_s, after=after, newest=newest)


def _instant(at_s: float) -> datetime:
    """Return an instant in seconds since 1970; one that no clock can show becomes the nearest that can be shown."""
    return datetime.fromtimestamp(min(max(at_s, 0.0), _LATEST_S) if at_s == at_s else 0.0, UTC)  # noqa: PLR0124 - a NaN


def _is_under_way(newest: RunRecord | None) -> bool:
    """Return whether a run is alive, as far as it can be seen from here, or says so itself."""
    if newest is None or newest.outcome is not None or newest.is_gone:
        return False
    return newest.heartbeat_s is not None or can_be_seen(newest.process)
