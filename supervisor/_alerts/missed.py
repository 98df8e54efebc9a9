"""Which scheduled starts were missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from supervisor import _log
from supervisor._schedules import Schedule, parse
from supervisor._store.processes import hostname
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._cli.check.checker import View, Watched
    from supervisor._store.records import RunRecord

EARLY = timedelta(seconds=30)
"""A start that comes before its time by less than this is that start: schedulers and clocks are not exact."""
DEFAULT_GRACE_S = 600.0


@attrs.frozen(kw_only=True)
class Plan:
    """When the runs of a name should start from now on.

    Args:
        name: Of which runs.
        schedule: When.
        grace: How late a start may be.
        after: The first start is due after this.
        newest: Their newest run; None when there never was one.
    """

    name: str
    schedule: Schedule
    grace: timedelta
    after: datetime
    newest: RunRecord | None


@attrs.frozen(kw_only=True)
class Missed:
    """Starts that were missed in a row.

    Args:
        plan: When the runs should have started.
        due: When each of them was due, the oldest first; a thousand at most.
    """

    plan: Plan
    due: tuple[datetime, ...]


def missed_starts(view: View) -> Iterator[Missed]:
    """Yield what was missed, one for each name, whether or not it was told before."""
    for name in sorted(view.names):
        plan = plan_of(view, name)
        if plan is not None and not _is_under_way(plan.newest):
            due = plan.schedule.due(plan.after, view.now - plan.grace)
            if due:
                yield Missed(plan=plan, due=due)


def plan_of(view: View, name: str) -> Plan | None:
    """Return when the runs of a name should start, or None without a schedule.

    A run says when it starts which schedule it has, from the script or from the configuration. What the configuration
    says since then is newer.
    """
    newest, watched = view.newest.get(name), view.watched.get(name)
    recorded = newest.schedule if newest is not None else None
    if watched is not None and not _is_older(watched, newest):
        if watched.dropped_at is None:
            return _plan(name, watched.schedule, watched.grace_s, newest, watched.since)
        if watched.schedule == recorded:
            return None  # it came from the configuration, and was taken out there
    if recorded is None or newest is None:
        return None
    return _plan(name, recorded, newest.grace_s, newest, None)


def _is_older(watched: Watched, newest: RunRecord | None) -> bool:
    """Tell whether the newest run knew better than the configuration what its schedule is."""
    if newest is None or newest.schedule is None:
        return False
    changed_at = watched.dropped_at or watched.since
    return newest.started_at_s >= changed_at.timestamp() or (
        watched.dropped_at is None and newest.schedule == watched.schedule
    )


def _plan(name: str, text: str, grace_s: float | None, newest: RunRecord | None, since: datetime | None) -> Plan | None:
    try:
        schedule = parse(text)
    except ConfigurationError as error:  # only by a journal that was changed by hand, or that a newer version wrote
        _log.warning("the schedule of %r cannot be checked: %s", name, error)
        return None
    after = _counted_from(schedule, newest)
    if since is not None:
        after = max(after, since) if after is not None else since
    assert after is not None  # there is a run, or a schedule that was seen some time
    grace = timedelta(seconds=DEFAULT_GRACE_S if grace_s is None else grace_s)
    return Plan(name=name, schedule=schedule, grace=grace, after=after, newest=newest)


def _counted_from(schedule: Schedule, newest: RunRecord | None) -> datetime | None:
    """Return the instant after which the next start is due.

    What was due while the newest run was still under way is not missed: Task Scheduler and systemd start no second one
    (https://learn.microsoft.com/windows/win32/taskschd/tasksettings-multipleinstances,
    https://www.freedesktop.org/software/systemd/man/latest/systemd.timer.html).
    """
    if newest is None:
        return None
    started_at = datetime.fromtimestamp(newest.started_at_s, UTC)
    after = started_at if schedule.cron is None else started_at + EARLY
    seen_at = datetime.fromtimestamp(newest.seen_at_s, UTC)
    due = schedule.next_after(after)
    return seen_at if due is not None and due <= seen_at else after


def _is_under_way(newest: RunRecord | None) -> bool:
    """Tell whether a run is surely alive; of another machine's that cannot be told."""
    return newest is not None and newest.outcome is None and not newest.is_gone and newest.host == hostname()
