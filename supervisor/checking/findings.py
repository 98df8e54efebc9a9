"""What a check finds: runs that died, hang or take too long, starts that were missed, and what is over again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from supervisor.checking.missed import DEFAULT_GRACE_S, EARLY, missed_starts, plan_of
from supervisor.errors import ConfigurationError
from supervisor.kinds import Kind, Outcome
from supervisor.schedules import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor.checking.missed import Missed
    from supervisor.checking.view import View
    from supervisor.journal import Journal
    from supervisor.journal.records import FindingRecord, RunGlance, RunRecord
    from supervisor.models import MessageDetails

HEAD_START_S = 30.0
"""A run that watches itself tells first, since it knows more: a check waits for so much longer."""

_ROUNDING_S = 0.001
"""An instant loses the last digits of its seconds."""

_ADVICE = {
    Kind.DIED: "it was killed, or the machine went down",
    Kind.STALLED: "look at its process",
    Kind.OVERDUE: "look at its process",
    Kind.MISSED: "look whether its scheduler still has it, and whether the machine was on",
    Kind.RECOVERY: "",
}


@attrs.frozen(kw_only=True)
class Finding:
    """Something that is to be told, unless somebody has told it already.

    Args:
        kind: Stalled, overdue, missed or died; recovery when one of these is over.
        name: Of which runs.
        run_id: Of which run; "" where a start was missed.
        since: When it began.
        compose: Makes its message.
        claim: Claims the telling in the journal, within the commit that stores the message; the argument is whether
            some handler hears of it. True for exactly one caller of all processes.
    """

    kind: Kind
    name: str
    run_id: str = ""
    since: datetime
    compose: Callable[[], MessageDetails | None] = attrs.field(repr=False)
    claim: Callable[[bool], bool] = attrs.field(repr=False)

    @property
    def advice(self) -> str:
        """Return in a few words what a person should do; "" for nothing."""
        return _ADVICE[self.kind]


class Finder:
    """Finds what is to be told.

    Args:
        journal: The journal.
        view: What the check sees.
        booted_at: Returns when the machine was started, None where it does not tell.
    """

    def __init__(self, journal: Journal, view: View, booted_at: Callable[[], datetime | None]) -> None:
        self._journal = journal
        self._view = view
        self._booted_at = booted_at
        self._open = {(each.kind, each.name, each.run_id) for each in view.open}

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong now; what is known to be told already is left out."""
        for run in self._view.unended:
            if run.is_gone:
                yield self._died(run)
            else:
                yield from self._slow(run)
        for starts in missed_starts(self._view):
            if (Kind.MISSED, starts.plan.name, "") not in self._open:
                yield self._missed(starts)

    def recoveries(self) -> Iterator[Finding]:
        """Yield what was told and is over; what needs no word is closed on the way."""
        for record in self._view.open:
            compose = self._missed_over(record) if record.kind is Kind.MISSED else self._run_over(record)
            if compose is not None:
                yield Finding(
                    kind=Kind.RECOVERY,
                    name=record.name,
                    run_id=record.run_id,
                    since=record.since,
                    compose=compose,
                    claim=lambda _, key=record.key: self._journal.resolve_finding(key),  # type: ignore[misc]  # bound now
                )

    # What is wrong

    def _died(self, run: RunGlance) -> Finding:
        def claim(is_heard: bool) -> bool:
            # What no handler hears of is left to the script's own next run, which tells its handlers.
            return self._journal.mark_died(run.id) if is_heard else self._journal.note_finding(Kind.DIED, run.id)

        from supervisor.checking.messages import died

        return Finding(
            kind=Kind.DIED,
            name=run.name,
            run_id=run.id,
            since=_instant(run.seen_at_s),
            compose=lambda: self._about(run, lambda record: died(record, self._journal, self._view.now)),
            claim=claim,
        )

    def _slow(self, run: RunGlance) -> Iterator[Finding]:
        from supervisor.checking.messages import overdue, stalled

        now = self._view.now
        silent_s, taken_s = self._view.awake_s(run.seen_at_s), self._view.awake_s(run.started_at_s)
        if _is_beyond(silent_s, run.stall_after_s) and (Kind.STALLED, run.name, run.id) not in self._open:
            yield self._of_run(Kind.STALLED, run, run.seen_at_s, lambda record: stalled(record, now, silent_s))
        if _is_beyond(taken_s, run.max_duration_s) and (Kind.OVERDUE, run.name, run.id) not in self._open:
            since_s = run.started_at_s + (run.max_duration_s or 0)
            yield self._of_run(Kind.OVERDUE, run, since_s, lambda record: overdue(record, now, taken_s))

    def _of_run(
        self, kind: Kind, run: RunGlance, since_s: float, compose: Callable[[RunRecord], MessageDetails]
    ) -> Finding:
        return Finding(
            kind=kind,
            name=run.name,
            run_id=run.id,
            since=_instant(since_s),
            compose=lambda: self._about(run, compose),
            claim=lambda _: self._journal.note_finding(kind, run.id),
        )

    def _missed(self, starts: Missed) -> Finding:
        from supervisor.checking.messages import missed

        plan, since = starts.plan, starts.due[0]

        def compose() -> MessageDetails:
            last_run = self._journal.run_of(plan.newest) if plan.newest is not None else None
            return missed(starts, self._view, last_run, self._booted_at())

        return Finding(
            kind=Kind.MISSED,
            name=plan.name,
            since=since,
            compose=compose,
            claim=lambda _: self._journal.note_missed(plan.name, plan.schedule.text, since, plan.newest),
        )

    # What is over

    def _run_over(self, record: FindingRecord) -> Callable[[], MessageDetails | None] | None:
        from supervisor.checking.messages import ended_well, goes_on

        run, now = record.run, self._view.now
        if run is not None and record.kind is not Kind.DIED:
            if run.outcome == Outcome.SUCCESS:
                return lambda: self._about(run, lambda each: ended_well(record, each, now))
            if run.outcome is None and not run.is_gone:
                is_on = record.kind is Kind.STALLED and run.seen_at_s > record.since.timestamp() + _ROUNDING_S
                return (lambda: self._about(run, lambda each: goes_on(record, each, now))) if is_on else None
        if run is None or run.outcome is not None or record.kind is not Kind.DIED:
            # It failed or died, which is told as that, or nobody knows it any more.
            self._journal.resolve_finding(record.key)
        return None

    def _missed_over(self, record: FindingRecord) -> Callable[[], MessageDetails | None] | None:
        from supervisor.checking.messages import started_again

        first = self._journal.first_start(record.name, record.since - _early(record.schedule))
        if first is not None:
            count = _count_missed(record, first)
            return lambda: self._about(first, lambda each: started_again(record, each, count, self._view.now))
        plan = plan_of(self._view, record.name)
        if plan is None or plan.schedule.text != record.schedule:
            self._journal.resolve_finding(record.key)  # it has another schedule now, or none: no start is owed
        return None

    def _about(self, run: RunGlance, compose: Callable[[RunRecord], MessageDetails]) -> MessageDetails | None:
        record = self._journal.run_of(run)
        return compose(record) if record is not None else None


def _early(schedule: str | None) -> timedelta:
    """Return how much before its time a start may come. An interval counts from the last start, which is no new one."""
    try:
        is_interval = schedule is not None and parse(schedule).cron is None
    except ConfigurationError:
        is_interval = False
    return timedelta() if is_interval else EARLY


def _is_beyond(passed_s: float, limit_s: float | None) -> bool:
    return limit_s is not None and passed_s > limit_s + HEAD_START_S


def _count_missed(record: FindingRecord, first: RunGlance) -> int:
    """Return how many starts were missed until a run started; the one for which it came in time is not."""
    grace = timedelta(seconds=first.grace_s if first.grace_s is not None else DEFAULT_GRACE_S)
    until = _instant(first.started_at_s) - grace
    try:
        due = parse(record.schedule).due(record.since, until) if until > record.since else ()
    except ConfigurationError:
        due = ()
    return 1 + len(due)


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
