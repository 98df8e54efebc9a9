"""The messages of what a check finds, made from the record of the runs."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from supervisor._alerts.deaths import message_of
from supervisor._messages.builder import message_for, message_from_parts
from supervisor._messages.subjects import (
    missed_subject,
    overdue_subject,
    progress_again_subject,
    progress_line,
    stalled_subject,
    started_again_subject,
)
from supervisor._models.kinds import Kind
from supervisor._models.parts import Facts, Row, Text
from supervisor._schedules import COUNT_LIMIT
from supervisor._store.processes import hostname
from supervisor._text import counted, duration, local_time, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from supervisor._alerts.missed import Missed
    from supervisor._cli.check.checker import View
    from supervisor._models.alerts import AlertSummary
    from supervisor._models.parts import Part
    from supervisor._models.summary import Past
    from supervisor._models.values import MessageDetails, RunReport
    from supervisor._store import Journal
    from supervisor._store.records import AlertRecord, RunRecord

_GAP = timedelta(minutes=15)
"""Checks further apart than this say something of the machine."""


def died(record: RunRecord, journal: Journal, now: datetime, slow: AlertSummary) -> MessageDetails:
    """Return the message that a run died, the same that a later run of its name would send.

    Args:
        record: The run.
        journal: What has come before it, and where its own log is.
        now: The moment.
        slow: How it had stalled or taken too long before.

    Raises:
        JournalUnavailable: The journal cannot be read.
    """
    past = journal.past(record.report.name, before=record.report.id)
    state = os.path.dirname(journal.path)  # noqa: PTH120 - a text
    return attrs.evolve(message_of(record, state=state, redact=_redacted, past=past, slow=slow), created_at=now)


def _redacted(text: str) -> str:
    from supervisor._runtime import default_runtime

    return default_runtime().configuration.redactor().text(text)


def stalled(record: RunRecord, now: datetime, silent_s: float) -> MessageDetails:
    """Return the message that a run makes no progress.

    Args:
        record: The run.
        now: The moment.
        silent_s: For how many seconds there was no progress.
    """
    report = _until(record.report, now)
    headline = stalled_subject(report, silent_s)
    said = (
        f"Its last progress was at {local_time(record.progress_at)}."
        if record.progress_at is not None
        else "It has made none since its start."
    )
    lead = f"{headline}. {said} It should make some every {duration(record.stall_after_s or 0)}."
    return _message(Kind.STALLED, headline, lead, (_facts(_of_the_run(report)), _look_at(report)), now, report)


def overdue(record: RunRecord, now: datetime, taken_s: float) -> MessageDetails:
    """Return the message that a run takes too long.

    Args:
        record: The run.
        now: The moment.
        taken_s: How many seconds it has taken so far.
    """
    report = _until(record.report, now)
    headline = overdue_subject(report, taken_s)
    lead = f"{headline}. It should take {duration(record.max_duration_s or 0)} at most."
    return _message(Kind.OVERDUE, headline, lead, (_facts(_of_the_run(report)), _look_at(report)), now, report)


def missed(starts: Missed, view: View, last_run: RunRecord | None, booted_at: datetime | None) -> MessageDetails:
    """Return the message that scheduled starts were missed.

    Args:
        starts: Which ones.
        view: What the check saw.
        last_run: The newest run of that name; None when there never was one.
        booted_at: When the machine was started; None where it does not tell.
    """
    plan, due = starts.plan, starts.due
    host = last_run.report.host if last_run is not None else hostname()
    at = _clock(due[-1], view.now)
    headline = missed_subject(plan.name, host, _starts(len(due)) if len(due) > 1 else "", at)
    if len(due) == 1:
        lead = f"{plan.name} should have started on {host} at {local_time(due[0])}, and has not started since."
    else:
        lead = (
            f"{plan.name} should have started on {host} {_starts(len(due), 'time')} from {local_time(due[0])} to "
            f"{local_time(due[-1])}, and has not started since."
        )
    machine = " ".join(_of_the_machine(due[0], view, booted_at))
    rows = (
        Row("Schedule", f"{plan.schedule}, at most {duration(plan.grace.total_seconds())} late"),
        *_last_run(last_run, watched_since=plan.after),
    )
    rest = (*((Text(machine),) if machine else ()), _facts(rows), Text(_LOOK_AT_SCHEDULER))
    return _message(Kind.MISSED, headline, lead, rest, view.now)


def started_again(finding: AlertRecord, first: RunRecord, missed_count: int, now: datetime) -> MessageDetails:
    """Return the message that a script whose start was missed has started again.

    Args:
        finding: What was told.
        first: The first run since.
        missed_count: How many starts were missed in the end.
        now: The moment.
    """
    report = first.report
    were = "was" if missed_count == 1 else "were"
    headline = started_again_subject(finding.name, report.host, f"{_starts(missed_count)} {were} missed")
    lead = (
        f"{finding.name} started again at {local_time(report.started_at)} on {report.host}. {_starts(missed_count)} "
        f"{were} missed, the first at {local_time(finding.since)}."
    )
    return _message(Kind.RECOVERY, headline, lead, (_facts(_last_run(first)),), now, report)


def goes_on(finding: AlertRecord, record: RunRecord, now: datetime) -> MessageDetails:
    """Return the message that a run which had stalled makes progress again."""
    report = _until(record.report, now)
    headline = progress_again_subject(report)
    lead = f"{headline}, after it had made none since {local_time(finding.since)}."
    return _message(Kind.RECOVERY, headline, lead, (_facts(_of_the_run(report)),), now, report)


def ended_well(record: RunRecord, now: datetime, past: Past, slow: AlertSummary) -> MessageDetails:
    """Return the message that a run ended well which had stalled or was overdue, the same that it would send itself."""
    return attrs.evolve(message_for(Kind.RECOVERY, record.report, past=past, slow=slow), created_at=now)


def _message(  # noqa: PLR0913, PLR0917 - the parts of a message
    kind: Kind, headline: str, lead: str, rest: Iterable[Part], now: datetime, report: RunReport | None = None
) -> MessageDetails:
    return attrs.evolve(message_from_parts(kind, headline, (Text(lead), *rest), report), created_at=now)


def _until(report: RunReport, now: datetime) -> RunReport:
    """Return the report of a run under way with the time that it has taken so far."""
    return attrs.evolve(report, duration_s=max(0.0, (now - report.started_at).total_seconds()))


def _starts(count: int, noun: str = "start") -> str:
    return f"{counted(count, noun)}{' or more' if count >= COUNT_LIMIT else ''}"


def _clock(instant: datetime, now: datetime) -> str:
    """Return when something was, in the machine's time: without the date for what was today."""
    local = instant.astimezone()
    return f"{local:%H:%M}" if local.date() == now.astimezone().date() else f"{local:%Y-%m-%d %H:%M}"


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
    yield from (row for row in _of_the_run(report) if row.label != "Started")


def _of_the_run(report: RunReport) -> Iterator[Row]:
    facts = {
        "Progress": progress_line(report.progress) if report.progress is not None else "",
        "Started": local_time(report.started_at),
        "Host": f"{report.host} (user {report.user}, process {report.pid})",
        "Command": one_line(" ".join(report.argv)),
        "Log": str(report.log_path or ""),
        "Run": report.id,
    }
    yield from (Row(label, text) for label, text in facts.items() if text)


def _facts(rows: Iterable[Row]) -> Facts:
    return Facts("", tuple(rows), "machine")


def _look_at(report: RunReport) -> Text:
    return Text(
        f"Look at process {report.pid} on {report.host}; `supervisor show {report.id}` tells what is known of the run. "
        "Where it hangs, end it: the next start will tell of that."
    )


_LOOK_AT_SCHEDULER = (
    "Look whether the machine was on, and whether its scheduler still starts the script (crontab -l, systemctl "
    "list-timers, Task Scheduler): its line may be missing or disabled, or the script may fail before it is "
    "supervised. Where the schedule itself is wrong, mend it in the script or the configuration."
)
