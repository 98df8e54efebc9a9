"""From a report to the message that a person reads."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import attrs

from supervisor.compose.words import counted, duration, number, one_line, rate, size
from supervisor.kinds import Kind, Outcome
from supervisor.models import ErrorDetails, MessageDetails, Progress, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

DELAYED_AFTER_S = 300

_VERBS = {
    Outcome.FAILURE: "failed",
    Outcome.INTERRUPTED: "was interrupted",
    Outcome.TERMINATED: "was terminated",
    Outcome.CANCELLED: "was cancelled",
    Outcome.DIED: "died",
}


def message_for(kind: Kind, report: RunReport, attachments: Iterable[Any] = (), note: str = "") -> MessageDetails:
    """Return the message of one kind about a run.

    Args:
        kind: What it is about.
        report: What is known of the run; it goes along on the message.
        attachments: What goes with it.
        note: A sentence that stands behind the first one; "" for none.
    """
    subject, text = _COMPOSERS[kind](report, note)
    return MessageDetails(one_line(subject), text, tuple(attachments), kind=kind, report=report)


def delayed(details: MessageDetails, now: datetime) -> MessageDetails:
    """Return a message that says so when it is sent long after it was written; any other stays as it is."""
    late_s = (now - details.created_at).total_seconds()
    if late_s < DELAYED_AFTER_S:
        return details
    host = f" on {details.report.host}" if details.report is not None else ""
    note = f"Delayed {duration(late_s)}: written {local_time(details.created_at)}{host}."
    html = details.html and f"<p><em>{escape(note)}</em></p>{details.html}"
    return attrs.evolve(details, message=f"{note}\n\n{details.message}", html=html)


def held_back(report: RunReport, count: int, last_subjects: Iterable[str]) -> MessageDetails:
    """Return the closing message of a run that said too much.

    Args:
        report: What is known of the run.
        count: How many messages were held back.
        last_subjects: The subjects of the last ones.
    """
    subject = f"{report.name} on {report.host}: {counted(count, 'more message')} held back"
    lines = "\n".join(f"  {one_line(each)}" for each in last_subjects)
    text = f"The run sent messages faster than anybody can read, so {counted(count, 'more')} stayed untold. The last:"
    return MessageDetails(subject, f"{text}\n{lines}", report=report)


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


def local_time(instant: datetime) -> str:
    """Return an instant in the machine's own time with its offset ("2026-03-01 02:00:03 -0700")."""
    return instant.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def _start(report: RunReport, note: str) -> tuple[str, str]:
    headline = f"{report.name} started on {report.host}"
    return headline, _join(_lead(f"{headline}.", note), _machine(report))


def _progress(report: RunReport, note: str) -> tuple[str, str]:
    said = progress_line(report.progress) if report.progress is not None else "under way"
    headline = f"{report.name} on {report.host}: {said}"
    return headline, _join(_lead(f"{headline}.", note), _values(report), _machine(report))


def _success(report: RunReport, note: str) -> tuple[str, str]:
    headline = f"{report.name} succeeded on {report.host}"
    return headline, _join(
        _lead(f"{headline} after {duration(report.duration_s)}.", note), _values(report), _machine(report)
    )


def _recovery(report: RunReport, note: str) -> tuple[str, str]:
    headline = f"{report.name} recovered on {report.host}"
    return headline, _join(
        _lead(f"{headline}: it succeeded after {duration(report.duration_s)}.", note), _values(report), _machine(report)
    )


def _died(report: RunReport, note: str) -> tuple[str, str]:
    headline = f"{report.name} died on {report.host}"
    lead = (
        f"{headline}: the run that started at {local_time(report.started_at)} never ended, and its process "
        f"{report.pid} is gone. It was killed, or the machine went down."
    )
    return headline, _join(_lead(lead, note), _doing(report), _values(report), _machine(report))


def _failure(report: RunReport, note: str) -> tuple[str, str]:
    verb = _VERBS.get(report.outcome or Outcome.FAILURE, "failed")
    reason = _reason(report)
    after = (
        f" after {duration(report.duration_s)}"
        if report.outcome is not None
        else f", {duration(report.duration_s)} after its start; it goes on"
    )
    lead = f"{report.name} {verb} on {report.host}{after}."
    subject = f"{report.name} {verb} on {report.host}" + (f": {reason}" if reason else "")
    return subject, _join(
        _lead(lead, note),
        _error(report.error),
        _doing(report),
        _values(report),
        _traceback(report.error),
        _machine(report),
    )


_COMPOSERS = {
    Kind.START: _start,
    Kind.PROGRESS: _progress,
    Kind.SUCCESS: _success,
    Kind.FAILURE: _failure,
    Kind.RECOVERY: _recovery,
    Kind.DIED: _died,
}


def _lead(sentence: str, note: str) -> str:
    return f"{sentence} {note}".rstrip()


def _reason(report: RunReport) -> str:
    """Return in a few words why a run failed; "" where its outcome says it all."""
    error = report.error
    if error is None or report.outcome in (Outcome.INTERRUPTED, Outcome.TERMINATED, Outcome.CANCELLED):
        return ""
    if error.type == "SystemExit":
        return f"exit code {report.exit_code}" + (
            "" if error.message == str(report.exit_code) else f", {error.message}"
        )
    return str(error) + (f" (in {error.thread})" if error.thread else "")


def _error(error: ErrorDetails | None) -> str:
    """Return what happened and where."""
    if error is None:
        return ""
    lines = [f"{error.type}: {error.message}" if error.message else error.type]
    if error.thread:
        lines[0] += f" (in {error.thread})"
    if error.where:
        lines.append(f"at {error.where}" + (":" if error.source else ""))
    if error.source:
        lines.append(f"    {error.source}")
    return "\n".join(lines)


def _doing(report: RunReport) -> str:
    return f"It had come to {progress_line(report.progress)}" if report.progress is not None else ""


def _traceback(error: ErrorDetails | None) -> str:
    return error.traceback if error is not None else ""


def _values(report: RunReport) -> str:
    """Return what was recorded, one value a line."""
    if not report.values:
        return ""
    return "Recorded\n" + _table((name, _value(value)) for name, value in report.values.items())


def _value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124 - a NaN
        return str(value)
    return number(value) if abs(value) < 1e15 else str(value)  # noqa: PLR2004 - beyond it floats are not exact


def _machine(report: RunReport) -> str:
    """Return when, where and how it ran."""
    return _table((label, text) for label, text in _facts(report) if text)


def _facts(report: RunReport) -> Iterator[tuple[str, str]]:
    yield "Started", local_time(report.started_at)
    yield "Ended", local_time(report.ended_at) if report.ended_at is not None else ""
    yield "Duration", duration(report.duration_s) if report.ended_at is not None else ""
    yield "Host", f"{report.host} (user {report.user}, process {report.pid})"
    yield "Command", " ".join(report.argv)
    yield "Python", report.python
    yield "Used", ", ".join(_used(report))
    yield "Log", str(report.log_path or "")
    yield "Run", report.id


def _used(report: RunReport) -> Iterator[str]:
    if report.cpu_s is not None:
        yield f"{duration(report.cpu_s)} of processor time"
    if report.peak_memory_bytes is not None:
        yield f"{size(report.peak_memory_bytes)} of memory at its peak"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    rows = list(rows)
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"  {label:<{width}}  {text}" for label, text in rows)


def _join(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
