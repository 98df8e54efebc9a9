"""How a run compares with those before it: in a sentence, in usual numbers, and as bars."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from supervisor._models.earlier_runs import LAST_RUNS, MOST_IN_A_ROW
from supervisor._models.kinds import FAILED, Kind, Outcome
from supervisor._text import counted, duration_range, local_time, ordinal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from supervisor._messages.baseline import Usual
    from supervisor._models.earlier_runs import Past, PastRun
    from supervisor._models.summary import Bars
    from supervisor._models.values import RunReport

LAST_SUCCESSES = 20
FEWEST_BARS = 4

_HOUR_S = 3600
_A_DAY_S = (20 * _HOUR_S, 28 * _HOUR_S)  # between two starts of a daily run, one of them late
_EVENING, _MORNING = 18, 8
_TOO_LARGE = 1e300


def compared(kind: Kind, report: RunReport, past: Past, note: str) -> str:
    """Return in a sentence how a run compares with those before it; "" where there is nothing to say.

    Args:
        kind: What the message is about.
        report: The run.
        past: What came before it.
        note: What is said besides; a recovery that has a note tells in it how many runs failed.
    """
    if kind is Kind.RECOVERY and past.failures and past.failing_since is not None and not note:
        return in_a_row(past.failures, past.failing_since)
    if kind in (Kind.FAILURE, Kind.DIED) and (report.outcome is None or report.outcome in FAILED):
        return _nth_failure(report, past) if past.failures else _first_failure(past)
    return ""


def in_a_row(failures: int, since: datetime) -> str:
    """Return in a sentence how many runs failed before one that went well."""
    if failures == 1:
        return f"The run before it failed, which started at {local_time(since)}."
    return f"Before it, {counted(failures, 'run')} failed in a row, since {local_time(since)}."


def _first_failure(past: Past) -> str:
    if not past.runs:
        return "The first run of this name that is known here."
    if not past.successes:
        return ""
    least = "at least " if past.successes >= MOST_IN_A_ROW else ""
    return f"First failure after {least}{counted(past.successes, 'success')}."


def _nth_failure(report: RunReport, past: Past) -> str:
    failures = _failures_in_a_row(past)
    since = f", since {local_time(past.failing_since)}" if past.failing_since is not None else ""
    unit = _unit([report.started_at, *(each.started_at for each in failures)])
    return f"{ordinal(past.failures + 1).capitalize()} {unit} in a row that failed{since}{_alike(report, failures)}."


def _failures_in_a_row(past: Past) -> list[PastRun]:
    """Return the failures right before, newest first, as far as they are known one by one."""
    failures = []
    for run in past.runs:
        if run.outcome is Outcome.SUCCESS:
            break
        if run.outcome in FAILED:
            failures.append(run)
    return failures[: past.failures]


def _unit(starts: list[datetime]) -> str:
    """Return "night" or "day" for runs that start once a day, and "run" for all others."""
    gaps_s = [(later - earlier).total_seconds() for later, earlier in pairwise(starts)]
    if not gaps_s or not all(_A_DAY_S[0] <= gap_s <= _A_DAY_S[1] for gap_s in gaps_s):
        return "run"
    hours = [each.astimezone().hour for each in starts]
    return "night" if all(hour >= _EVENING or hour < _MORNING for hour in hours) else "day"


def _alike(report: RunReport, failures: list[PastRun]) -> str:
    """Return whether those before it failed for the same reason, where that is known."""
    mine = report.error.fingerprint if report.error is not None else ""
    theirs = [each.fingerprint for each in failures]
    if not mine or not all(theirs) or not theirs:
        return ""
    if all(each == mine for each in theirs):
        return ", each time with this error"
    return ", but the last time with another error" if theirs[0] != mine else ", the last time with this error too"


def usual_numbers(report: RunReport, past: Past) -> tuple[dict[str, Usual], Usual | None]:
    """Return what is usual for each number that a run recorded, and for its duration, by the last 20 successes."""
    from supervisor._messages.baseline import usual_of

    successes = [run for run in past.runs if run.outcome is Outcome.SUCCESS][:LAST_SUCCESSES]
    usual = {
        name: usual_of(_numbers(run.values.get(name) for run in successes))
        for name, value in report.values.items()
        if as_number(value) is not None
    }
    return {name: each for name, each in usual.items() if each is not None}, usual_of(
        run.duration_s for run in successes
    )


def _numbers(values: Iterable[Any]) -> list[float]:
    return [number for number in map(as_number, values) if number is not None]


def as_number(value: Any) -> float | None:
    """Return a recorded value as a number that can be compared; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > _TOO_LARGE:
        return None
    return value


def bars(report: RunReport, past: Past, usual_duration: Usual | None) -> Bars | None:
    """Return the durations of the last runs and of this one, the oldest first; None where there are too few."""
    runs = [run for run in past.runs[: LAST_RUNS - 1] if run.outcome is not Outcome.SKIPPED][::-1]
    if len(runs) < FEWEST_BARS:
        return None
    from supervisor._models.summary import Bars

    first, last = runs[0].started_at.astimezone(), report.started_at.astimezone()
    form = "%H:%M" if first.date() == last.date() else "%Y-%m-%d"
    return Bars(
        [float(f"{max(0.0, each):.3g}") for each in (*(run.duration_s for run in runs), report.duration_s)],
        "".join(map(_mark, (*(run.outcome for run in runs), report.outcome))),
        first.strftime(form),
        last.strftime(form),
        _in_words(runs, usual_duration),
    )


def _mark(outcome: Outcome | None) -> str:
    if outcome is None:
        return "o"
    return "." if outcome is Outcome.SUCCESS else "x" if outcome in FAILED else "-"


def _in_words(runs: list[PastRun], usual_duration: Usual | None) -> str:
    """Return what bars show in a sentence ("Of the 29 runs before it, 27 succeeded, usually in 6-7 min; ...")."""
    succeeded = sum(run.outcome is Outcome.SUCCESS for run in runs)
    failed = [run for run in runs if run.outcome in FAILED]
    text = f"Of the {counted(len(runs), 'run')} before it, {succeeded or 'none'} succeeded"
    if usual_duration is not None:
        text += f", usually in {duration_range(usual_duration.low, usual_duration.high)}"
    if failed:
        last = "the last one on" if len(failed) > 1 else "on"
        text += f"; {len(failed)} failed, {last} {failed[-1].started_at.astimezone():%Y-%m-%d}"
    return f"{text}."
