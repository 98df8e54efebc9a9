"""What a check notifies people of: new alerts, and the ends of alerts that were notified."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import attrs

from supervisor import _alerts
from supervisor._alerts import RunAlert, summary_of
from supervisor._alerts.audience import FAILURES
from supervisor._alerts.evaluation import evaluate, missed_start_alerts, plan_of
from supervisor._models import SUCCEEDED, Kind, Outcome
from supervisor._models.parts import Notification, StallHistory, recovery_is_notified
from supervisor._schedules import duration_s, parse_schedule
from supervisor._text import in_zone
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from supervisor._alerts.evaluation import Alert, View
    from supervisor._models.parts import AlertSummary
    from supervisor._models.values import MessageDetails
    from supervisor._redaction import Redactor
    from supervisor._store import Store
    from supervisor._store.records import AlertRecord, RunRecord, Streak

_ROUNDING_S = 0.001
"""Two times that differ by less are the same: storing a time rounds its fraction of a second."""

_ADVICE = {
    Kind.DIED: "it was killed, or the machine went down",
    Kind.STALLED: "look at its process",
    Kind.OVERDUE: "look at its process",
    Kind.MISSED: "look whether its scheduler still has it, and whether the machine was on",
    Kind.RECOVERY: "",
    Kind.FAILURE: "",
}


@attrs.frozen(kw_only=True)
class PendingAlert:
    """An alert, or its end, that people are to be notified of, unless somebody has done so already.

    Args:
        kind: Stalled, overdue, missed or died; recovery when one of these is over.
        name: Of which runs.
        run_id: Of which run; "" where a start was missed.
        since: When it began.
        compose: Makes its message.
        claim: Claims the notification in the journal, within the commit that stores the message; the argument are the
            names of the handlers that may get it. Returns what to notify of, for exactly one caller of all processes.
        awaiting: The names of the handlers that await this recovery; none for all handlers of the script.
        is_reminder: True for what people were notified of some time ago and that is still so.
    """

    kind: Kind
    name: str
    run_id: str = ""
    since: datetime
    compose: Callable[[], MessageDetails | None] = attrs.field(repr=False)
    claim: Callable[[Collection[str]], Notification | None] = attrs.field(repr=False)
    awaiting: tuple[str, ...] = ()
    is_reminder: bool = False

    @property
    def advice(self) -> str:
        """Return in a few words what a person should do; "" for nothing."""
        return _ADVICE[self.kind]


class Finder:
    """Finds what people are to be notified of.

    Args:
        journal: The journal.
        view: What the check sees.
        known: The alerts that people were notified of, and that are not over as far as the journal knows.
        booted_at: Returns when the machine was started, None where that is not known.
        redactor: Returns what takes secrets out of the last lines of logs.
    """

    def __init__(
        self,
        journal: Store,
        view: View,
        known: tuple[AlertRecord, ...],
        booted_at: Callable[[], datetime | None],
        redactor: Callable[[], Redactor],
    ) -> None:
        self._journal = journal
        self._view = view
        self._known = known
        self._booted_at = booted_at
        self._redactor = redactor
        self._open = {(each.kind, each.name, each.run_id): each for each in known}

    def alerts(self) -> Iterator[PendingAlert]:
        """Yield the alerts that hold now, without those that people were notified of for certain."""
        for alert in evaluate(self._view):
            if alert.kind is Kind.DIED or self._is_news(alert):
                yield self._pending(alert)

    def recoveries(self) -> Iterator[PendingAlert]:
        """Yield the ends of alerts that people were notified of. Alerts whose end needs no message are closed here."""
        for record in self._known:
            over = self._missed_over(record) if record.kind is Kind.MISSED else self._run_over(record)
            if over is not None:
                yield over

    def reminders(self, configured: Callable[[str], str | None]) -> Iterator[PendingAlert]:
        """Yield what people were notified of so long ago that they are to be reminded of it, and that is still so.

        Args:
            configured: Returns how often people are reminded, by the configuration, for runs of a name.
        """
        for name, newest in self._view.newest.items():
            every = newest.settings.get("remind_every") or configured(name)
            if every:
                yield from self._reminder_of(name, duration_s(str(every)))

    def _reminder_of(self, name: str, every_s: float) -> Iterator[PendingAlert]:
        streak = self._journal.failures_since_success(name)
        if streak.failures and streak.since is not None:
            yield from self._reminder(name, every_s, FAILURES, streak.since, partial(self._still_fails, name, streak))
        missed = self._open.get((Kind.MISSED, name, ""))
        if missed is not None:
            yield from self._reminder(name, every_s, (Kind.MISSED,), missed.since, partial(self._still_missed, name))

    def _reminder(
        self,
        name: str,
        every_s: float,
        kinds: tuple[Kind, ...],
        since: datetime,
        compose: Callable[[Kind], MessageDetails | None],
    ) -> Iterator[PendingAlert]:
        def overdue() -> dict[str, Kind]:
            notified = self._journal.notified_since(name, since.timestamp(), kinds, with_held=True)
            latest_s = self._view.now.timestamp() - every_s
            return {handler: Kind(kind) for handler, (at_s, kind) in notified.items() if at_s <= latest_s}

        if found := overdue():
            yield PendingAlert(
                kind=next(iter(found.values())),
                name=name,
                since=since,
                compose=lambda: compose(next(iter(found.values()))),
                claim=lambda names: _notification(bool(set(overdue()) & set(names))),
                awaiting=tuple(found),
                is_reminder=True,
            )

    def _still_fails(self, name: str, streak: Streak, kind: Kind) -> MessageDetails | None:
        from supervisor._alerts.messages import still_fails

        last = next(iter(self._journal.runs(name, failed=True, limit=1)), None)
        if last is None:
            return None
        return self._about(last, lambda record: still_fails(kind, record.report, streak, self._view.now))

    def _still_missed(self, name: str, kind: Kind) -> MessageDetails | None:
        from supervisor._alerts.messages import reminder

        alerts = (each for each in missed_start_alerts(self._view) if each.name == name)
        details = next((self._missed(each).compose() for each in alerts), None)
        return reminder(details, kind) if details is not None else None

    # What is wrong

    def _is_news(self, alert: Alert) -> bool:
        """Return whether an alert needs a message: it is new, or it is a later stall of the same run."""
        known = self._open.get((alert.kind, alert.name, alert.run_id))
        if known is None:
            return True
        if alert.kind is not Kind.STALLED or alert.run is None:
            return False
        stalls = StallHistory(known.since.timestamp(), known.notified_at.timestamp(), known.times, known.skipped)
        return _has_moved(known, alert.run) or stalls.skipped_one_is_due(self._view.now.timestamp())

    def _pending(self, alert: Alert) -> PendingAlert:
        run = alert.run
        if alert.plan is not None or run is None:
            return self._missed(alert)
        if alert.kind is Kind.DIED:
            return self._died(run, alert.since)
        return PendingAlert(
            kind=alert.kind,
            name=run.name,
            run_id=run.id,
            since=alert.since,
            compose=lambda: self._about(run, lambda record: self._late(alert.kind, run, record)),
            claim=lambda _: self._journal.open_alert(alert.kind, run.id),
        )

    def _died(self, run: RunRecord, since: datetime) -> PendingAlert:
        def claim(names: Collection[str]) -> Notification | None:
            if names:
                lost = run if run.is_lost else None
                return _notification(self._journal.mark_died(run.id, lost=lost, notified=names))
            # Where no handler is notified, the script's own next run notifies its handlers.
            return self._journal.open_alert(Kind.DIED, run.id)

        return PendingAlert(
            kind=Kind.DIED,
            name=run.name,
            run_id=run.id,
            since=since,
            compose=lambda: self._about(run, self._message_of_death),
            claim=claim,
        )

    def _message_of_death(self, record: RunRecord) -> MessageDetails:
        from supervisor._alerts.deaths import died

        report = record.report
        details = died(
            record,
            state=self._journal.directory,
            redact=self._redactor().text,
            past=self._journal.past(report.name, before=report.id),
            summary=self._alerts_of(report.id),
        )
        return attrs.evolve(details, created_at=self._view.now)

    def _late(self, kind: Kind, run: RunRecord, record: RunRecord) -> MessageDetails:
        from supervisor._alerts.messages import late_run

        is_stall = kind is Kind.STALLED
        since_s = run.seen_at_s if is_stall else run.started_at_s
        alert = RunAlert(
            kind=kind,
            since=_instant(since_s),
            lasted_s=self._view.awake_s(since_s),
            limit_s=(run.stall_after_s if is_stall else run.max_duration_s) or 0.0,
        )
        return late_run(alert, record.report, self._view.now)

    def _missed(self, alert: Alert) -> PendingAlert:
        plan, newest = alert.plan, alert.run
        assert plan is not None

        def compose() -> MessageDetails:
            from supervisor._alerts.messages import missed

            last_run = self._journal.run_now(newest) if newest is not None else None
            return missed(alert, self._view, last_run, self._booted_at())

        return PendingAlert(
            kind=Kind.MISSED,
            name=alert.name,
            since=alert.since,
            compose=compose,
            claim=lambda _: _notification(
                self._journal.open_missed_alert(alert.name, plan.schedule.text, alert.since, newest)
            ),
        )

    # What is over

    def _run_over(self, record: AlertRecord) -> PendingAlert | None:
        run = record.run
        if run is not None and record.kind is Kind.DIED and run.outcome not in (None, Outcome.DIED):
            return self._alive_after_all(run, record)
        if run is not None and record.kind is not Kind.DIED:
            if run.outcome in SUCCEEDED:
                return self._ended_well(run, record)
            if run.outcome is None and not run.is_gone:
                return self._goes_on(run, record)
        if run is None or run.outcome is not None or record.kind is not Kind.DIED:
            # It failed or died, which has a message of its own, or it is no longer kept.
            self._journal.resolve_alert(record.key)
        return None

    def _alive_after_all(self, run: RunRecord, record: AlertRecord) -> PendingAlert:
        """Return what takes a death back that was only printed: of that, the run knows nothing."""

        def compose(each: RunRecord) -> MessageDetails:
            from supervisor._alerts.messages import alive_after_all

            return alive_after_all(each.report, record.notified_at, self._view.now)

        return self._over(
            record,
            lambda: self._about(run, compose),
            lambda _: _notification(self._journal.resolve_alert(record.key)),
        )

    def _goes_on(self, run: RunRecord, record: AlertRecord) -> PendingAlert | None:
        if record.kind is not Kind.STALLED or not recovery_is_notified(record.times):
            return None
        if not _has_moved(record, run) or self._view.standing(run).stalled_since_s is not None:
            return None
        lasted_s = run.seen_at_s - record.since.timestamp()

        def compose(each: RunRecord) -> MessageDetails:
            from supervisor._alerts.messages import goes_on

            return goes_on(each.report, lasted_s, self._view.now)

        def claim(names: Collection[str]) -> Notification | None:
            # Where only the script can notify some handlers, the script notifies all of them.
            return _notification(self._journal.resolve_stall(run.id, only=names) is not None)

        return self._over(record, lambda: self._about(run, compose), claim, record.awaiting_recovery)

    def _ended_well(self, run: RunRecord, record: AlertRecord) -> PendingAlert | None:
        """Return one recovery for all that is over with a good end."""
        records = [each for each in self._known if each.run_id == run.id]
        if record is not records[0]:
            return None

        def compose(each: RunRecord) -> MessageDetails:
            from supervisor._alerts.messages import ended_well

            past = self._journal.past(run.name, before=run.id)
            return ended_well(each.report, self._view.now, past, self._alerts_of(run.id))

        def claim(_: Collection[str]) -> Notification | None:
            resolved = [self._journal.resolve_alert(each.key) for each in records]
            return _notification(any(resolved))

        awaiting = tuple(dict.fromkeys(name for each in records for name in each.awaiting_recovery))
        return self._over(record, lambda: self._about(run, compose), claim, awaiting)

    def _alerts_of(self, run_id: str) -> AlertSummary:
        return summary_of(self._journal.alerts_of(run_id))

    def _missed_over(self, record: AlertRecord) -> PendingAlert | None:
        first = self._journal.first_run_since(record.name, record.since - _early(record.schedule))
        if first is not None:
            count = _count_missed(record, first)

            def compose(each: RunRecord) -> MessageDetails:
                from supervisor._alerts.messages import started_again

                return started_again(record, each, count, self._view.now)

            return self._over(
                record,
                lambda: self._about(first, compose),
                lambda _: _notification(self._journal.resolve_alert(record.key)),
            )
        plan = plan_of(self._view, record.name)
        if plan is None or plan.schedule.text != record.schedule:
            self._journal.resolve_alert(record.key)  # it has another schedule now, or none: no start is due any more
        return None

    def _over(
        self,
        record: AlertRecord,
        compose: Callable[[], MessageDetails | None],
        claim: Callable[[Collection[str]], Notification | None],
        awaiting: tuple[str, ...] = (),
    ) -> PendingAlert:
        return PendingAlert(
            kind=Kind.RECOVERY,
            name=record.name,
            run_id=record.run_id,
            since=record.since,
            compose=compose,
            claim=claim,
            awaiting=awaiting,
        )

    def _about(self, run: RunRecord, compose: Callable[[RunRecord], MessageDetails]) -> MessageDetails | None:
        record = self._journal.run_now(run)
        if record is None:
            return None
        with in_zone(record.settings.get("timezone")):
            return compose(record)


def _notification(is_ours: bool) -> Notification | None:
    return Notification() if is_ours else None


def _has_moved(record: AlertRecord, run: RunRecord) -> bool:
    """Return whether a run has made progress since it was found to make none."""
    return run.seen_at_s > record.since.timestamp() + _ROUNDING_S


def _early(schedule: str | None) -> timedelta:
    try:
        return _alerts.early(parse_schedule(schedule)) if schedule is not None else _alerts.EARLY
    except ConfigurationError:
        return _alerts.EARLY


def _count_missed(record: AlertRecord, first: RunRecord) -> int:
    """Return how many starts were missed until a run started; the one for which it came in time is not."""
    try:
        schedule = parse_schedule(record.schedule)
    except ConfigurationError:
        return 1
    started_at = _instant(first.started_at_s)
    return 1 + len(_alerts.missed_starts(schedule, after=record.since, grace_s=first.grace_s, now=started_at))


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
