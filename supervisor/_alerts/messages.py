"""The messages of alerts and of their ends: one writer for each, whether the run itself or a check noticed.

What a run that died leaves behind is in :mod:`~supervisor._alerts.deaths`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from supervisor._exceptions import host as here
from supervisor._messages import (
    failure_reason,
    message_for,
    message_from_parts,
    missed_subject,
    overdue_subject,
    progress_again_subject,
    progress_line,
    run_label,
    stalled_subject,
    started_again_subject,
    still_fails_subject,
)
from supervisor._messages.sections import machine_facts
from supervisor._models import Kind
from supervisor._models.parts import Code, Facts, Row, Summary, Text
from supervisor._schedules import COUNT_LIMIT
from supervisor._text import (
    counted,
    duration,
    in_zone,
    local_time,
    localized,
    one_line,
    ordinal,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from supervisor._alerts import RunAlert
    from supervisor._alerts.evaluation import Alert, Plan, View
    from supervisor._models.parts import AlertSummary, MessagePart, Notification, Past
    from supervisor._models.values import MessageDetails, RunReport
    from supervisor._store.records import AlertRecord, RunRecord, Streak

_GAP = timedelta(minutes=15)
"""Checks further apart than this say something of the machine."""

_THIRD = 3
_MOST_BEFORE = 10


# Stalled and overdue


def late_run(alert: RunAlert, report: RunReport, now: datetime | None = None) -> MessageDetails:
    """Return the message that a run is stalled or overdue.

    The run itself says what its threads are doing and what becomes of it; somebody else, where to look.

    Args:
        alert: What was noticed.
        report: What is known of the run; it goes along on the message.
        now: The moment, where somebody else than the run itself noticed; None means now.
    """
    if alert.interrupts is None and now is not None:
        report = _until(report, now)
    subject = stalled_subject if alert.kind is Kind.STALLED else overdue_subject
    headline = subject(report, alert.lasted_s)
    lead = " ".join((f"{headline}.", *_late_details(alert, report)))
    if alert.interrupts is None:
        rest: tuple[MessagePart, ...] = (_facts_of(report), _look_at(report))
    else:
        stacks = (Code("What its threads are doing", alert.stacks, "traceback"),) if alert.stacks else ()
        rest = (*stacks, Summary())
    return _message(alert.kind, headline, (Text(lead), *rest), now, report)


def _late_details(alert: RunAlert, report: RunReport) -> Iterator[str]:
    """Yield since when a run is late, what is allowed, and what becomes of the run, in sentences."""
    at = f"{local_time(alert.since)}, {duration(alert.lasted_s)} ago"
    setting = f"({alert.setting} is {alert.limit_s:g})"
    if alert.kind is Kind.OVERDUE:
        yield f"It started at {at}. It should take {duration(alert.limit_s)} at most {setting}."
    else:
        if alert.since == report.started_at:
            yield "It has made none since its start."
        else:
            yield f"Its last {'progress' if alert.interrupts is None else 'sign of life'} was at {at}."
        yield f"Progress is due every {duration(alert.limit_s)} {setting}."
    if alert.interrupts is not None:
        yield "It is interrupted now." if alert.interrupts else "It goes on."


def with_stall_number(details: MessageDetails, notification: Notification) -> MessageDetails:
    """Return the message of a stall with the number of the stall in its run; that of the first stays as it is.

    Args:
        details: The message; its first part is the text that says what happened.
        notification: How many stalls there were, and of how many before it nobody was notified.
    """
    times, skipped = notification
    if times == 1:
        return details
    which = f"It is the {ordinal(times)} stall of this run"
    if skipped:
        which += f", and {counted(skipped, 'stall')} before it went unreported"
    if times == _THIRD:
        which += ". From now on at most one stall an hour is reported, and the end of a stall is no longer reported"
    lead, *rest = details.parts
    assert isinstance(lead, Text)
    parts = (attrs.evolve(lead, text=f"{lead.text} {which}."), *rest)
    return attrs.evolve(details, subject=one_line(f"{details.subject}, for the {ordinal(times)} time"), parts=parts)


def goes_on(report: RunReport, lasted_s: float, now: datetime | None = None) -> MessageDetails:
    """Return the message that a run which had stalled makes progress again.

    Args:
        report: What is known of the run.
        lasted_s: For how many seconds it made none.
        now: The moment, where somebody else than the run itself noticed; None means now.
    """
    if now is not None:
        report = _until(report, now)
    headline = progress_again_subject(report)
    lead = Text(f"{headline}, after it had made none for {duration(lasted_s)}.")
    return _message(Kind.RECOVERY, headline, (lead, _facts_of(report)), now, report)


def ended_well(report: RunReport, now: datetime, past: Past, summary: AlertSummary) -> MessageDetails:
    """Return the message that a run ended well which had stalled or was overdue, the same that it would send itself."""
    return attrs.evolve(message_for(Kind.RECOVERY, report, past=past, alerts=summary), created_at=now)


def alive_after_all(report: RunReport, reported_at: datetime, now: datetime) -> MessageDetails:
    """Return the message that a run had not died, though that was reported.

    Args:
        report: The run, which has ended.
        reported_at: When its death was reported.
        now: The moment.
    """
    headline = f"{run_label(report)} was alive after all on {report.host}: {report.outcome}"
    lead = Text(
        f"It was reported as died at {local_time(reported_at)}; it ended itself after {duration(report.duration_s)}."
    )
    return _message(Kind.RECOVERY, headline, (lead, Summary()), now, report)


# What still is so, and what came before


def still_fails(kind: Kind, report: RunReport, streak: Streak, now: datetime) -> MessageDetails:
    """Return the reminder that a script still fails.

    Args:
        kind: The kind of the first alarm.
        report: The last run that failed.
        streak: The failures in a row.
        now: The moment.
    """
    since = f" since {local_time(streak.since)}" if streak.since is not None else ""
    headline = still_fails_subject(report, streak.failures)
    lead = (
        f"{run_label(report)} still fails on {report.host}: {counted(streak.failures, 'run')} in a row{since}. "
        "This is a reminder (remind_every); below is the last of them."
    )
    return _message(kind, headline, (Text(lead), Summary()), now, report)


def reminder(details: MessageDetails, kind: Kind) -> MessageDetails:
    """Return a message as the reminder that what it says is still so."""
    return attrs.evolve(details, subject=one_line(f"Reminder: {details.subject}"), kind=kind)


def with_failures_before(details: MessageDetails, records: Iterable[RunRecord]) -> MessageDetails:
    """Return the message of a failure with those before it, of which nobody was notified.

    Args:
        details: The message.
        records: The failed runs before it, newest first.
    """
    reports = [each.report for each in records]
    if not reports:
        return details
    rows = [
        Row(
            f"{localized(each.started_at):%Y-%m-%d %H:%M}",
            f"{failure_reason(each) or each.outcome} after {duration(each.duration_s)}",
        )
        for each in reports[:_MOST_BEFORE]
    ]
    if len(reports) > _MOST_BEFORE:
        rows.append(Row("...", "and earlier ones"))
    parts = (attrs.evolve(each, before=rows) if isinstance(each, Summary) else each for each in details.parts)
    return attrs.evolve(details, parts=parts)


# Missed


def missed(alert: Alert, view: View, last_run: RunRecord | None, booted_at: datetime | None) -> MessageDetails:
    """Return the message that scheduled starts were missed.

    Args:
        alert: Which ones.
        view: What the check saw.
        last_run: The newest run of that name; None when there never was one.
        booted_at: When the machine was started; None where that is not known.
    """
    plan = alert.plan
    assert plan is not None
    with in_zone(plan.schedule.zone or None):
        return _missed(alert, plan, view, last_run, booted_at)


def _missed(
    alert: Alert, plan: Plan, view: View, last_run: RunRecord | None, booted_at: datetime | None
) -> MessageDetails:
    due = alert.due
    host = last_run.report.host if last_run is not None else here()
    starts = _starts(len(due)) if len(due) > 1 else ""
    headline = missed_subject(alert.label, host, starts, _clock(due[-1], view.now))
    if len(due) == 1:
        lead = f"{alert.label} should have started on {host} at {local_time(due[0])}, and has not started since."
    else:
        lead = (
            f"{alert.label} should have started on {host} {_starts(len(due), 'time')} from {local_time(due[0])} to "
            f"{local_time(due[-1])}, and has not started since."
        )
    of_machine = " ".join(_of_the_machine(due[0], view, booted_at))
    rows = (
        Row("Schedule", f"{plan.schedule}, at most {duration(plan.grace_s)} late"),
        *_last_run(last_run, watched_since=plan.after),
    )
    rest = (*((Text(of_machine),) if of_machine else ()), _facts(rows), Text(_LOOK_AT_SCHEDULER))
    return _message(Kind.MISSED, headline, (Text(lead), *rest), view.now)


def missed_words(due: tuple[datetime, ...], now: datetime) -> str:
    """Return which starts were missed ("missed its start at 02:00", "missed 3 starts, the last at 02:00")."""
    at = _clock(due[-1], now)
    return f"missed its start at {at}" if len(due) == 1 else f"missed {_starts(len(due))}, the last at {at}"


def started_again(record: AlertRecord, first: RunRecord, missed_count: int, now: datetime) -> MessageDetails:
    """Return the message that a script whose start was missed has started again.

    Args:
        record: What people were notified of.
        first: The first run since.
        missed_count: How many starts were missed in the end.
        now: The moment.
    """
    report = first.report
    were = "was" if missed_count == 1 else "were"
    headline = started_again_subject(report, f"{_starts(missed_count)} {were} missed")
    lead = (
        f"{run_label(report)} started again at {local_time(report.started_at)} on {report.host}. "
        f"{_starts(missed_count)} {were} missed, the first at {local_time(record.since)}."
    )
    return _message(Kind.RECOVERY, headline, (Text(lead), _facts(_last_run(first))), now, report)


def _starts(count: int, noun: str = "start") -> str:
    return f"{counted(count, noun)}{' or more' if count >= COUNT_LIMIT else ''}"


def _clock(instant: datetime, now: datetime) -> str:
    """Return when something was, in the machine's time: without the date for what was today."""
    local = localized(instant)
    return f"{local:%H:%M}" if local.date() == localized(now).date() else f"{local:%Y-%m-%d %H:%M}"


def _of_the_machine(due: datetime, view: View, booted_at: datetime | None) -> Iterator[str]:
    """Yield what is known of the machine at the time of the start that was missed."""
    before = view.last_check.at
    if before is None or before > due or view.now - before < _GAP:
        return
    yield f"No check ran either between {local_time(before)} and {local_time(view.now)}:"
    if booted_at is not None and booted_at > due:
        yield f"the machine was off then, or restarting; it has been up since {local_time(booted_at)}."
    elif view.last_check.sleeps and view.last_check.sleeps[-1][0] >= view.now.timestamp():
        yield f"the machine slept for {duration(view.last_check.sleeps[-1][1])} of that time."
    else:
        yield "the machine may have been off or asleep, or its scheduler may not work."


def _last_run(record: RunRecord | None, *, watched_since: datetime | None = None) -> Iterator[Row]:
    if record is None:
        since = f" since {local_time(watched_since)}, when it was first looked for" if watched_since else ""
        yield Row("Last run", f"none{since}")
        return
    report = record.report
    how = f"{report.outcome} after {duration(report.duration_s)}" if report.outcome is not None else "has not ended"
    yield Row("Last run", f"{local_time(report.started_at)}, {how}")
    if report.error is not None:
        yield Row("Its error", one_line(str(report.error)))
    yield from (row for row in _rows_of(report) if row.label not in _IN_LAST_RUN)


_IN_LAST_RUN = ("Started", "Ended", "Duration")

_LOOK_AT_SCHEDULER = (
    "Look whether the machine was on, and whether its scheduler still starts the script (crontab -l, systemctl "
    "list-timers, Task Scheduler): its line may be missing or disabled, or the script may fail before it is "
    "supervised. Where the schedule itself is wrong, mend it in the script or the configuration."
)


# What they share


def _message(
    kind: Kind, headline: str, parts: tuple[MessagePart, ...], now: datetime | None, report: RunReport | None = None
) -> MessageDetails:
    details = message_from_parts(kind, headline, parts, report)
    return details if now is None else attrs.evolve(details, created_at=now)


def _until(report: RunReport, now: datetime) -> RunReport:
    """Return the report of a run under way with the time that it has taken so far."""
    return attrs.evolve(report, duration_s=max(0.0, (now - report.started_at).total_seconds()))


def _facts_of(report: RunReport) -> Facts:
    return _facts(_rows_of(report))


def _rows_of(report: RunReport) -> tuple[Row, ...]:
    progress = (Row("Progress", progress_line(report.progress)),) if report.progress is not None else ()
    return (*progress, *machine_facts(report).rows)


def _facts(rows: tuple[Row, ...] | Iterator[Row]) -> Facts:
    return Facts("", tuple(rows), "machine")


def _look_at(report: RunReport) -> Text:
    return Text(
        f"Look at process {report.pid} on {report.host}; `supervisor show {report.id}` shows what is known of the run. "
        "Where it hangs, end it: the next start will report that it died."
    )
