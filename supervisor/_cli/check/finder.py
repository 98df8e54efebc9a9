"""What a check finds: runs that died, hang or take too long, starts that were missed, and what is over again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from supervisor._alerts.missed import DEFAULT_GRACE_S, EARLY, missed_starts, plan_of
from supervisor._alerts.stall_messages import union
from supervisor._alerts.state import slow_by
from supervisor._models.alerts import Notification, StallHistory, recovery_is_notified
from supervisor._models.kinds import Kind, Outcome
from supervisor._schedules import parse
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from supervisor._alerts.missed import Missed
    from supervisor._cli.check.checker import View
    from supervisor._models.alerts import AlertSummary
    from supervisor._models.values import MessageDetails
    from supervisor._store import Journal
    from supervisor._store.records import AlertRecord, RunRecord

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
        claim: Claims the telling in the journal, within the commit that stores the message; the argument are the names
            of the handlers that may hear of it. Returns what is to be told, for exactly one caller of all processes.
        owed: Who is to hear of it, by their names, where it is the end of what they heard of; none for all.
    """

    kind: Kind
    name: str
    run_id: str = ""
    since: datetime
    compose: Callable[[], MessageDetails | None] = attrs.field(repr=False)
    claim: Callable[[Collection[str]], Notification | None] = attrs.field(repr=False)
    owed: tuple[str, ...] = ()

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
        self._open = {(each.kind, each.name, each.run_id): each for each in view.open}

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
            over = self._missed_over(record) if record.kind is Kind.MISSED else self._run_over(record)
            if over is not None:
                yield over

    # What is wrong

    def _died(self, run: RunRecord) -> Finding:
        def claim(heard_by: Collection[str]) -> Notification | None:
            if heard_by:
                return _noted(self._journal.mark_died(run.id))
            # What no handler hears of is left to the script's own next run, which tells its handlers.
            return self._journal.open_alert(Kind.DIED, run.id)

        from supervisor._alerts.messages import died

        return Finding(
            kind=Kind.DIED,
            name=run.name,
            run_id=run.id,
            since=_instant(run.seen_at_s),
            compose=lambda: self._about(
                run, lambda record: died(record, self._journal, self._view.now, self._slow_before(run.id))
            ),
            claim=claim,
        )

    def _slow(self, run: RunRecord) -> Iterator[Finding]:
        from supervisor._alerts.messages import overdue, stalled

        now = self._view.now
        silent_s, taken_s = self._view.awake_s(run.seen_at_s), self._view.awake_s(run.started_at_s)
        if self._is_stalled(run) and self._is_news(run):
            yield self._of_run(Kind.STALLED, run, run.seen_at_s, lambda record: stalled(record, now, silent_s))
        if _is_beyond(taken_s, run.max_duration_s) and (Kind.OVERDUE, run.name, run.id) not in self._open:
            since_s = run.started_at_s + (run.max_duration_s or 0)
            yield self._of_run(Kind.OVERDUE, run, since_s, lambda record: overdue(record, now, taken_s))

    def _is_stalled(self, run: RunRecord) -> bool:
        return _is_beyond(self._view.awake_s(run.seen_at_s), run.stall_after_s)

    def _is_news(self, run: RunRecord) -> bool:
        """Tell whether a stall is not told yet: the first, one after the stall that is known, or one held back."""
        known = self._open.get((Kind.STALLED, run.name, run.id))
        if known is None or _has_moved(known, run):
            return True
        stalls = StallHistory(known.since.timestamp(), known.notified_at.timestamp(), known.times, known.skipped)
        return stalls.skipped_one_is_due(self._view.now.timestamp())

    def _of_run(
        self, kind: Kind, run: RunRecord, since_s: float, compose: Callable[[RunRecord], MessageDetails]
    ) -> Finding:
        return Finding(
            kind=kind,
            name=run.name,
            run_id=run.id,
            since=_instant(since_s),
            compose=lambda: self._about(run, compose),
            claim=lambda _: self._journal.open_alert(kind, run.id),
        )

    def _missed(self, starts: Missed) -> Finding:
        from supervisor._alerts.messages import missed

        plan, since = starts.plan, starts.due[0]

        def compose() -> MessageDetails:
            last_run = self._journal.run_now(plan.newest) if plan.newest is not None else None
            return missed(starts, self._view, last_run, self._booted_at())

        return Finding(
            kind=Kind.MISSED,
            name=plan.name,
            since=since,
            compose=compose,
            claim=lambda _: _noted(self._journal.open_missed_alert(plan.name, plan.schedule.text, since, plan.newest)),
        )

    # What is over

    def _run_over(self, record: AlertRecord) -> Finding | None:
        run = record.run
        if run is not None and record.kind is not Kind.DIED:
            if run.outcome == Outcome.SUCCESS:
                return self._ended_well(run, record)
            if run.outcome is None and not run.is_gone:
                return self._goes_on(run, record)
        if run is None or run.outcome is not None or record.kind is not Kind.DIED:
            # It failed or died, which is told as that, or nobody knows it any more.
            self._journal.resolve_alert(record.key)
        return None

    def _goes_on(self, run: RunRecord, record: AlertRecord) -> Finding | None:
        from supervisor._alerts.messages import goes_on

        if record.kind is not Kind.STALLED or not recovery_is_notified(record.times):
            return None
        if not _has_moved(record, run) or self._is_stalled(run):
            return None

        def claim(names: Collection[str]) -> Notification | None:
            # Whom only the script can tell hears of it from the script, and so do all others.
            return _noted(self._journal.resolve_stall(run.id, only=names) is not None)

        return self._over(
            record,
            lambda: self._about(run, lambda each: goes_on(record, each, self._view.now)),
            claim,
            record.awaiting_recovery,
        )

    def _ended_well(self, run: RunRecord, record: AlertRecord) -> Finding | None:
        """Return one recovery for all that is over with a good end."""
        from supervisor._alerts.messages import ended_well

        records = [each for each in self._view.open if each.run_id == run.id]
        if record is not records[0]:
            return None

        def compose(each: RunRecord) -> MessageDetails:
            past = self._journal.past(run.name, before=run.id)
            return ended_well(each, self._view.now, past, self._slow_before(run.id))

        def claim(_: Collection[str]) -> Notification | None:
            resolved = [self._journal.resolve_alert(each.key) for each in records]
            return _noted(any(resolved))

        owed = union((), (name for each in records for name in each.awaiting_recovery))
        return self._over(record, lambda: self._about(run, compose), claim, owed)

    def _slow_before(self, run_id: str) -> AlertSummary:
        return slow_by(self._journal.alerts_of(run_id))

    def _missed_over(self, record: AlertRecord) -> Finding | None:
        from supervisor._alerts.messages import started_again

        first = self._journal.first_run_since(record.name, record.since - _early(record.schedule))
        if first is not None:
            count = _count_missed(record, first)
            return self._over(
                record,
                lambda: self._about(first, lambda each: started_again(record, each, count, self._view.now)),
                lambda _: _noted(self._journal.resolve_alert(record.key)),
            )
        plan = plan_of(self._view, record.name)
        if plan is None or plan.schedule.text != record.schedule:
            self._journal.resolve_alert(record.key)  # it has another schedule now, or none: no start is owed
        return None

    def _over(
        self,
        record: AlertRecord,
        compose: Callable[[], MessageDetails | None],
        claim: Callable[[Collection[str]], Notification | None],
        owed: tuple[str, ...] = (),
    ) -> Finding:
        return Finding(
            kind=Kind.RECOVERY,
            name=record.name,
            run_id=record.run_id,
            since=record.since,
            compose=compose,
            claim=claim,
            owed=owed,
        )

    def _about(self, run: RunRecord, compose: Callable[[RunRecord], MessageDetails]) -> MessageDetails | None:
        record = self._journal.run_now(run)
        return compose(record) if record is not None else None


def _noted(is_ours: bool) -> Notification | None:
    return Notification() if is_ours else None


def _has_moved(record: AlertRecord, run: RunRecord) -> bool:
    """Tell whether a run has made progress since it was found to make none."""
    return run.seen_at_s > record.since.timestamp() + _ROUNDING_S


def _early(schedule: str | None) -> timedelta:
    """Return how much before its time a start may come. An interval counts from the last start, which is no new one."""
    try:
        is_interval = schedule is not None and parse(schedule).cron is None
    except ConfigurationError:
        is_interval = False
    return timedelta() if is_interval else EARLY


def _is_beyond(passed_s: float, limit_s: float | None) -> bool:
    return limit_s is not None and passed_s > limit_s + HEAD_START_S


def _count_missed(record: AlertRecord, first: RunRecord) -> int:
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
