"""The headlines of all messages, and progress in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._models.kinds import Kind, Outcome
from supervisor._text import counted, duration, number, one_line, rate

if TYPE_CHECKING:
    from supervisor._models.parts import Summary
    from supervisor._models.values import Progress, RunReport

VERBS = {
    Outcome.FAILURE: "failed",
    Outcome.INTERRUPTED: "was interrupted",
    Outcome.TERMINATED: "was terminated",
    Outcome.CANCELLED: "was cancelled",
    Outcome.DIED: "died",
}
_GOOD = (Kind.SUCCESS, Kind.RECOVERY)
_STOPPED = (Outcome.INTERRUPTED, Outcome.TERMINATED, Outcome.CANCELLED)
_OTHERS = {
    Kind.START: "{name} started on {host}",
    Kind.SUCCESS: "{name} succeeded on {host}",
    Kind.RECOVERY: "{name} recovered on {host}",
    Kind.DIED: "{name} died on {host}",
}


def run_label(report: RunReport) -> str:
    """Return what messages and lists call a run."""
    return report.name


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
        return one_line(f"{run_label(report)} {verb} on {report.host}" + (f": {why}" if why else ""))
    if kind is Kind.PROGRESS:
        return one_line(f"{run_label(report)} on {report.host}: {progress_text(report)}")
    clause = f": {alerts}" if alerts and kind in _GOOD else ""
    headline = _OTHERS[kind].format(name=run_label(report), host=report.host)
    return one_line(headline + clause + _anomalies(kind, report, summary))


def stalled_subject(report: RunReport, silent_s: float) -> str:
    """Return the headline about a run that has made no progress for some seconds."""
    return f"{run_label(report)} stalled on {report.host}: no progress for {duration(silent_s)}"


def overdue_subject(report: RunReport, taken_s: float) -> str:
    """Return the headline about a run that takes longer than it should, after some seconds."""
    return f"{run_label(report)} is overdue on {report.host}: under way for {duration(taken_s)}"


def progress_again_subject(report: RunReport) -> str:
    """Return the headline about a run that had stalled and makes progress again."""
    return f"{run_label(report)} makes progress again on {report.host}"


def missed_subject(name: str, host: str, starts: str, at: str) -> str:
    """Return the headline about missed starts.

    Args:
        name: The name of the run.
        host: The machine.
        starts: How many starts were missed ("3 starts"); "" for one.
        at: When the last of them was due.
    """
    return (
        f"{name} missed {starts} on {host}, the last at {at}"
        if starts
        else f"{name} missed its start at {at} on {host}"
    )


def started_again_subject(name: str, host: str, missed: str) -> str:
    """Return the headline about a script that started after missed starts ("3 starts were missed")."""
    return f"{name} started again on {host}: {missed}"


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
    if error.type == "SystemExit":
        text = "" if error.message == str(report.exit_code) else f", {error.message}"
        return f"exit code {report.exit_code}{text}"
    return str(error) + (f" (in {error.thread})" if error.thread else "")


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
