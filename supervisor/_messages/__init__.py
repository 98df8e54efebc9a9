"""Build messages from reports of runs, and render them as text, HTML and Markdown.

In goes a report, or parts of the caller's own; out comes a ``MessageDetails`` with its headline, which is made here. A
handler sends its parts (:mod:`.sections`) as it needs them (:mod:`.rendering`). All functions are pure: they depend on
their arguments and the time zone only.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from supervisor._models import FAILED, Kind, Outcome
from supervisor._models.parts import Summary, with_texts
from supervisor._models.values import MessageDetails, RunReport
from supervisor._text import (
    counted,
    cut_middle,
    duration,
    in_zone,
    local_time,
    nth,
    number,
    one_line,
    rate,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from supervisor._models.parts import AlertSummary, MessagePart, Past
    from supervisor._models.values import Progress

# Headlines

VERBS = {
    Outcome.FAILURE: "failed",
    Outcome.INTERRUPTED: "was interrupted",
    Outcome.TERMINATED: "was terminated",
    Outcome.CANCELLED: "was cancelled",
    Outcome.DIED: "died",
}
_GOOD = (Kind.SUCCESS, Kind.WARNING, Kind.RECOVERY)
_STOPPED = (Outcome.INTERRUPTED, Outcome.TERMINATED, Outcome.CANCELLED)
_EXITS = {"SystemExit", "click.exceptions.Exit", "typer.exceptions.Exit"}
_RULER = re.compile(r"^[-=_*#~]{4,}$\n?", re.MULTILINE)  # papermill draws some in the text of its errors
_WARNING_LIMIT = 120
_NAMED_STEPS = 3
_SEEN = 0xFF  # what POSIX leaves of an exit code
_OTHERS = {
    Kind.START: "started",
    Kind.DIED: "died",
}


class _Named(Protocol):
    """A run as its report or the journal has it."""

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...


def run_label(run: _Named) -> str:
    """Return what messages, lists and the report page call a run: its title, or its name."""
    title = run.settings.get("title")
    return title if isinstance(title, str) and title else run.name


def subject_for(kind: Kind, report: RunReport, summary: Summary, alerts: str = "") -> str:
    """Return the headline of a message about a run: what happened, where and, in a few words, why.

    Args:
        kind: The kind of the message.
        report: The run.
        summary: How it compares with earlier runs.
        alerts: A clause for a run that ended well but had stalled or was overdue; "" for neither.
    """
    if kind is Kind.FAILURE:
        verb = VERBS.get(report.outcome or Outcome.FAILURE, "failed")
        why = "" if report.outcome in _STOPPED else failure_reason(report)
        step = f" in {one_line(report.error.step, 60)}" if report.error is not None and report.error.step else ""
        headline = f"{run_label(report)} {verb}{step}{failed_attempts(report)} on {report.host}"
        return one_line(headline + (f": {why}" if why else ""))
    if kind is Kind.PROGRESS:
        return one_line(f"{run_label(report)} on {report.host}: {progress_text(report)}")
    clause = f": {alerts}" if alerts and kind in _GOOD else ""
    if kind is Kind.SKIPPED and report.error is not None and report.error.message:
        clause = f": {report.error.message}"
    if kind in _GOOD:
        clause = _what_it_warns_of(report) + clause
    did = good_end(kind, report) if kind in _GOOD else _OTHERS.get(kind) or how_skipped(report)
    if kind is Kind.DIED and (under_way := [each.name for each in report.steps if each.outcome is None]):
        did = f"{did} in {one_line(under_way[-1], 60)}"
    return one_line(f"{run_label(report)} {did} on {report.host}{clause}{_anomalies(kind, report, summary)}")


def _what_it_warns_of(report: RunReport) -> str:
    """Return the only warning of a good run, or the steps that failed, as the end of a headline; "" for neither."""
    if report.outcome is not Outcome.WARNING or not report.warnings:
        return ""
    if report.warning_count > 1:
        failed = [one_line(each.name, 40) for each in report.steps if each.outcome in FAILED and each.count == 1]
        if len(failed) > _NAMED_STEPS:
            failed[_NAMED_STEPS - 1 :] = [f"{len(failed) - _NAMED_STEPS + 1} more"]
        return f": {', '.join(failed[:-1])}{' and ' if failed[1:] else ''}{failed[-1]} failed" if failed else ""
    warning = report.warnings[0]
    text = warning.text.split(" ", 2)[-1] if warning.is_logged else warning.text  # without the date and time
    return f": {one_line(': '.join(filter(None, (warning.step, text))), _WARNING_LIMIT)}"


def good_end(kind: Kind, report: RunReport) -> str:
    """Return that a run succeeded or recovered, and with how many warnings ("succeeded with 2 warnings")."""
    warnings = f" with {counted(report.warning_count, 'warning')}" if report.outcome is Outcome.WARNING else ""
    return ("recovered" if kind is Kind.RECOVERY else "succeeded") + warnings + _good_attempt(report)


_MOST_TYPES = 3


def _good_attempt(report: RunReport) -> str:
    """Return at which attempt a run succeeded (" at the 3rd attempt (TimeoutError twice)"); "" for the first one."""
    return f" at the {nth(report.attempts)} attempt ({_errors_before(report)})" if report.retried else ""


def failed_attempts(report: RunReport) -> str:
    """Return after how many attempts a run failed (" after 4 attempts"); "" for one, and where it was stopped."""
    return f" after {report.attempts} attempts" if report.retried and report.outcome is Outcome.FAILURE else ""


def _errors_before(report: RunReport) -> str:
    """Return what the attempts before the last failed with ("TimeoutError twice, ConnectionError")."""
    counts = Counter(each.type for each in report.retried)
    texts = [f"{kind} {_TIMES.get(count) or f'{count} times'}".rstrip() for kind, count in counts.items()]
    more = [f"{len(texts) - _MOST_TYPES} others"] if len(texts) > _MOST_TYPES else []
    return ", ".join([*texts[:_MOST_TYPES], *more])


_TIMES = {1: " ", 2: "twice"}


def how_skipped(report: RunReport) -> str:
    """Return how a run ended that neither succeeded nor failed: for a queue of tasks it may come to that later."""
    return "had nothing to do" if report.error is None or not report.error.traceback else "left its task to the queue"


def stalled_subject(report: RunReport, silent_s: float) -> str:
    """Return the headline about a run that has made no progress for some seconds."""
    return f"{run_label(report)} stalled on {report.host}: no progress for {duration(silent_s)}"


def overdue_subject(report: RunReport, taken_s: float) -> str:
    """Return the headline about a run that takes longer than it should, after some seconds."""
    return f"{run_label(report)} is overdue on {report.host}: under way for {duration(taken_s)}"


def progress_again_subject(report: RunReport) -> str:
    """Return the headline about a run that had stalled and makes progress again."""
    return f"{run_label(report)} makes progress again on {report.host}"


def missed_subject(label: str, host: str, starts: str, at: str) -> str:
    """Return the headline about missed starts.

    Args:
        label: What messages call the runs.
        host: The machine.
        starts: How many starts were missed ("3 starts"); "" for one.
        at: When the last of them was due.
    """
    return (
        f"{label} missed {starts} on {host}, the last at {at}"
        if starts
        else f"{label} missed its start at {at} on {host}"
    )


def started_again_subject(report: RunReport, missed: str) -> str:
    """Return the headline about the first run after missed starts ("3 starts were missed")."""
    return f"{run_label(report)} started again on {report.host}: {missed}"


def still_fails_subject(report: RunReport, failures: int) -> str:
    """Return the headline of the reminder that a script still fails, after so many failures in a row."""
    why = failure_reason(report)
    in_a_row = f" ({failures} runs in a row)" if failures > 1 else ""
    return one_line(f"{run_label(report)} still fails on {report.host}{in_a_row}" + (f": {why}" if why else ""))


def held_back_subject(report: RunReport, count: int) -> str:
    """Return the headline of the message that closes a run which sent too many messages."""
    return f"{run_label(report)} on {report.host}: {counted(count, 'more message')} held back"


def _anomalies(kind: Kind, report: RunReport, summary: Summary) -> str:
    """Return the anomalies of a successful run as the end of a headline; "" for none."""
    if kind not in _GOOD or (not summary.baselines and summary.duration_baseline is None):
        return ""
    from supervisor._messages.baseline import anomalies, anomaly_clause

    return anomaly_clause(list(anomalies(report, summary.baselines, summary.duration_baseline)))


def failure_reason(report: RunReport) -> str:
    """Return in a few words why a run failed ("KeyError 'apn'"); "" where there is no error."""
    error = report.error
    if error is None:
        return ""
    if error.type in _EXITS and report.exit_code is not None:
        code = report.exit_code
        seen = code if sys.platform == "win32" else code & _SEEN
        exits = f"exit code {code}" if code == seen else f"exit code {code}, seen as {seen}"
        text = error.message.removeprefix(str(code))
        return f"{exits}{text}" if text != error.message else f"{exits}, {text}"
    return _RULER.sub("", str(error)) + (f" (in {error.thread})" if error.thread else "")


def progress_text(report: RunReport) -> str:
    """Return how far a run is, in a few words; "under way" if it reported no progress."""
    return progress_line(report.progress) if report.progress is not None else "under way"


def progress_line(progress: Progress) -> str:
    """Return progress in one line ("4,000 of 10,000 (40 %), 85/s, 1 min 10 s left: copying")."""
    parts = [
        number(progress.done) if progress.total is None else f"{number(progress.done)} of {number(progress.total)}"
    ]
    if progress.percentage is not None:
        parts[0] += f" ({progress.percentage:.0f} %)"
    if progress.rate_per_s:
        parts.append(rate(progress.rate_per_s))
    if progress.eta_s is not None and progress.eta_s >= 1:
        parts.append(f"{duration(progress.eta_s)} left")
    return ", ".join(parts) + (f": {one_line(progress.message)}" if progress.message else "")


# Messages

DELAYED_AFTER_S = 300
"""A message sent later than this after it was written says so."""

PART_LIMIT = 60_000
"""The most characters of one text in a message of parts."""


def message_for(  # noqa: PLR0913, PLR0917 - each is one independent fact that a message may contain
    kind: Kind,
    report: RunReport,
    attachments: Iterable[Any] = (),
    note: str = "",
    past: Past | None = None,
    alerts: AlertSummary | None = None,
) -> MessageDetails:
    """Return the message of one kind about a run.

    Its text is derived from the report, which is part of the message: remove secrets from the report first.

    Args:
        kind: The kind of the message.
        report: The run.
        attachments: Files that go with the message.
        note: A sentence to show after the first one; "" for none.
        past: The runs before it, to compare it with; None where they are not known.
        alerts: How it stalled or took too long; None where it did not. It is shown before the note, and in the headline
            of a run that ended well.
    """
    summary = Summary(note=note) if past is None else _compared_summary(kind, report, note, past)
    subject = subject_for(kind, report, summary, alerts.clause if alerts is not None else "")
    if alerts is not None:
        summary = attrs.evolve(summary, note=" ".join(filter(None, (alerts.sentence, note))))
    return MessageDetails(subject, "", tuple(attachments), kind=kind, report=report, parts=(summary,))


def message_from_parts(
    kind: Kind, subject: str, parts: Iterable[MessagePart], report: RunReport | None = None
) -> MessageDetails:
    """Return a message that consists of given parts.

    Args:
        kind: The kind of the message.
        subject: The headline.
        parts: What it shows, in this order; the middle of texts longer than 60,000 characters is left out. A
            ``Summary()`` among them stands for the contents of the report: the run's progress, and where it ran.
        report: The run; None outside of runs.
    """
    bounded = with_texts(parts, lambda texts: [cut_middle(each, PART_LIMIT) for each in texts])
    return MessageDetails(one_line(subject), kind=kind, report=report, parts=bounded)


def zone_of(report: RunReport | None) -> str | None:
    """Return the time zone of a run; None for one that has none of its own."""
    zone = report.settings.get("timezone") if report is not None else None
    return zone if isinstance(zone, str) else None


def with_delay_note(details: MessageDetails, now: datetime) -> MessageDetails:
    """Return a message that says that it is late, if it is sent long after it was written; else unchanged."""
    late_s = (now - details.created_at).total_seconds()
    if late_s < DELAYED_AFTER_S:
        return details
    host = f" on {details.report.host}" if details.report is not None else ""
    with in_zone(zone_of(details.report)):
        written = local_time(details.created_at)
    return _with_note(details, f"Delayed {duration(late_s)}: written {written}{host}.")


def with_given_up_note(details: MessageDetails, given_up: Sequence[tuple[str, str]]) -> MessageDetails:
    """Return a message that says which earlier ones were given up; unchanged if none was.

    Args:
        details: The message.
        given_up: Their handlers and subjects, the oldest first.
    """
    if not given_up:
        return details
    handler, subject = given_up[-1]
    verb, last = ("was", "") if len(given_up) == 1 else ("were", " (the last)")
    note = (
        f"{counted(len(given_up), 'earlier message')} {verb} given up: {one_line(subject)!r} to {handler}{last}; "
        "`supervisor flush --failed` sends again."
    )
    return _with_note(details, note)


def with_reserve_note(details: MessageDetails, note: str) -> MessageDetails:
    """Return a message that says why another handler than the one it was for sends it."""
    return _with_note(details, one_line(note))


def _with_note(details: MessageDetails, note: str) -> MessageDetails:
    """Return a message with a sentence before the rest of it."""
    from supervisor._models.parts import Text

    html = details.html and f"<p><em>{escape(note)}</em></p>{details.html}"
    parts = (Text(note), *details.parts) if details.parts else ()
    text = f"{note}\n\n{details.own_text}" if details.own_text or not parts else ""
    return attrs.evolve(details, message=text, html=html, parts=parts)


def held_back_message(report: RunReport, count: int, last_subjects: Iterable[str]) -> MessageDetails:
    """Return the closing message of a run that sent more messages than its rate limit allows.

    Args:
        report: The run.
        count: How many messages were held back.
        last_subjects: The headlines of the last ones.
    """
    from supervisor._models.parts import Code, Text

    text = f"The run sent more messages than its limit allows, so {counted(count, 'more')} were held back. The last:"
    parts: list[MessagePart] = [Text(text), Code("", "\n".join(map(one_line, last_subjects)))]
    return message_from_parts(Kind.NOTICE, held_back_subject(report, count), parts, report)


def _compared_summary(kind: Kind, report: RunReport, note: str, past: Past) -> Summary:
    """Return how a run compares with earlier ones, as far as a message of that kind shows it."""
    if kind not in (*_GOOD, Kind.FAILURE, Kind.DIED, Kind.SKIPPED):
        return Summary(note=note)
    from supervisor._messages.baseline import bars_of, baselines_of, comparison_sentence

    if kind is Kind.SKIPPED:
        return Summary(note=note, comparison=comparison_sentence(kind, report, past, note))
    baselines, duration_baseline = baselines_of(report, past)
    return Summary(
        note=note,
        comparison=comparison_sentence(kind, report, past, note),
        baselines=baselines if kind in _GOOD else {},
        duration_baseline=duration_baseline,
        bars=bars_of(report, past, duration_baseline),
    )
