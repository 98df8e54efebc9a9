"""What messages say in their headlines, and progress in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._models.kinds import Kind, Outcome
from supervisor._text import duration, number, one_line, rate

if TYPE_CHECKING:
    from supervisor._models.summary import Account
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


def subject_for(kind: Kind, report: RunReport, account: Account, slow: str = "") -> str:
    """Return the headline of one kind about a run: what, where and, in a few words, why.

    Args:
        kind: What it is about.
        report: What is known of the run.
        account: How it compares with those before it.
        slow: That it had stalled or took too long, in a few words, for a good end; "" for neither.
    """
    if kind is Kind.FAILURE:
        verb = VERBS.get(report.outcome or Outcome.FAILURE, "failed")
        why = "" if report.outcome in _STOPPED else reason(report)
        return one_line(f"{report.name} {verb} on {report.host}" + (f": {why}" if why else ""))
    if kind is Kind.PROGRESS:
        return one_line(f"{report.name} on {report.host}: {progress_said(report)}")
    slowly = f": {slow}" if slow and kind in _GOOD else ""
    return one_line(_OTHERS[kind].format(name=report.name, host=report.host) + slowly + _but(kind, report, account))


def _but(kind: Kind, report: RunReport, account: Account) -> str:
    """Return what stands out in a success; "" for nothing."""
    if kind not in _GOOD or (not account.usual and account.usual_duration is None):
        return ""
    from supervisor._messages.baseline import but, findings

    return but(list(findings(report, account.usual, account.usual_duration)))


def reason(report: RunReport) -> str:
    """Return in a few words why a run failed ("KeyError 'apn'"); "" where there is no error."""
    error = report.error
    if error is None:
        return ""
    if error.type == "SystemExit":
        said = "" if error.message == str(report.exit_code) else f", {error.message}"
        return f"exit code {report.exit_code}{said}"
    return str(error) + (f" (in {error.thread})" if error.thread else "")


def progress_said(report: RunReport) -> str:
    """Return in a few words how far a run is."""
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
