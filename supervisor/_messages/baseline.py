"""Compare a run with earlier runs of its name: usual ranges, anomalies, a sentence, and a bar chart."""

from __future__ import annotations

from itertools import pairwise, takewhile
from math import isfinite
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._models import FAILED, SUCCEEDED, Kind, Outcome
from supervisor._models.parts import LAST_RUNS, LAST_SUCCESSES, MOST_IN_A_ROW, Bars, Baseline
from supervisor._text import (
    counted,
    duration,
    duration_range,
    local_time,
    localized,
    number_range,
    one_line,
    ordinal,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from supervisor._models.parts import Past, PastRun
    from supervisor._models.values import RunReport

AT_LEAST = 5
"""The fewest numbers that a baseline is computed from."""

LEAST_DURATION_S = 10.0
"""Durations that differ by no more are alike, however short the runs are."""

LEAST_COUNT = 2
"""Counts that differ by no more are alike: a count that was always 0 may be 1 once."""

FEWEST_BARS = 4
"""A chart of fewer earlier runs is not shown."""

_LEAST_FLOAT = 0.01  # the least difference from a float that was always 0
_NAMED_ANOMALIES = 2
_HOUR_S = 3600
_A_DAY_S = (20 * _HOUR_S, 28 * _HOUR_S)  # between two starts of a daily run, one of which may be late
_EVENING, _MORNING = 18, 8
_TOO_LARGE = 1e300


# Usual ranges


def baselines_of(report: RunReport, past: Past) -> tuple[dict[str, Baseline], Baseline | None]:
    """Return the baselines of a run's recorded numbers and of its duration, from the last 20 successful runs."""
    known = (*past.runs, *past.earlier_successes)
    successes = [run for run in known if run.outcome in SUCCEEDED][:LAST_SUCCESSES]
    found = {
        name: baseline_of(_numbers(run.values.get(name) for run in successes))
        for name, value in report.values.items()
        if as_number(value) is not None
    }
    by_name = {name: each for name, each in found.items() if each is not None}
    return by_name, baseline_of(run.duration_s for run in successes)


def baseline_of(numbers: Iterable[float]) -> Baseline | None:
    """Return the usual range of some numbers, or None when fewer than five of them are finite."""
    known = sorted(number for number in numbers if isfinite(number))
    if len(known) < AT_LEAST:
        return None
    return Baseline(quantile(known, 0.5), quantile(known, 0.1), quantile(known, 0.9), len(known))


def quantile(known: Sequence[float], share: float) -> float:
    """Return the number below which a share of sorted numbers lies; ``statistics`` takes 20 ms to import."""
    place = share * (len(known) - 1)
    below = int(place)
    rest = place - below
    if rest == 0 or known[below] == known[below + 1]:
        return known[below]
    # Weighted one by one: the difference of the two may be too large for a float.
    return known[below] * (1 - rest) + known[below + 1] * rest


def _numbers(values: Iterable[Any]) -> list[float]:
    return [number for number in map(as_number, values) if number is not None]


def as_number(value: Any) -> float | None:
    """Return a recorded value as a number that can be compared; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > _TOO_LARGE:
        return None
    return value


def baseline_text(baseline: Baseline) -> str:
    """Return the usual range of a number as text ("usually 11,900-12,300", "usually 29")."""
    return f"usually {number_range(baseline.low, baseline.high)}"


def duration_baseline_text(baseline: Baseline) -> str:
    """Return the usual range of a duration as text ("usually 6-7 min")."""
    return f"usually {duration_range(baseline.low, baseline.high)}"


# Anomalies


@attrs.frozen
class Anomaly:
    """A recorded number or a duration that is far from its usual range.

    Args:
        name: The name of the number; "" for the duration.
        text: Its value as text.
        usual: Its usual range as text.
    """

    name: str
    text: str
    usual: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}, {self.usual}" if self.name else f"It took {self.text}, {self.usual}"

    @property
    def clause(self) -> str:
        """Return it as part of a sentence ("empty is 0", "it took 41 min")."""
        return f"{one_line(self.name, 40)} is {one_line(self.text, 40)}" if self.name else f"it took {self.text}"


def anomalies(
    report: RunReport, baselines: Mapping[str, Baseline], duration_baseline: Baseline | None
) -> Iterator[Anomaly]:
    """Yield the anomalies of a run: recorded numbers in their order, then the duration."""
    for name, value in report.values.items():
        known = baselines.get(name)
        if known is not None and value_stands_out(value, known):
            yield Anomaly(one_line(name, 60), value_text(value), baseline_text(known))
    if duration_baseline is not None and duration_baseline.stands_out(report.duration_s, LEAST_DURATION_S):
        yield Anomaly("", duration(report.duration_s), duration_baseline_text(duration_baseline))


def value_stands_out(value: Any, baseline: Baseline) -> bool:
    """Return whether a recorded value is a number far from its usual range."""
    number = as_number(value)
    if number is None:
        return False
    return baseline.stands_out(number, LEAST_COUNT if isinstance(number, int) else _least_float(baseline))


def _least_float(baseline: Baseline) -> float:
    """Return the least difference that counts; a number that was always 0 has no scale of its own."""
    return 0.0 if baseline.median or baseline.low or baseline.high else _LEAST_FLOAT


def anomaly_clause(found: Sequence[Anomaly]) -> str:
    """Return the end of a headline that names anomalies (", but empty is 0 and it took 41 min"); "" for none."""
    clauses = [each.clause for each in found[:_NAMED_ANOMALIES]]
    if len(found) > _NAMED_ANOMALIES:
        clauses = [", ".join(clauses), f"{len(found) - _NAMED_ANOMALIES} more stand out"]
    return f", but {' and '.join(clauses)}" if clauses else ""


# The sentence that compares a run with those before it


def comparison_sentence(kind: Kind, report: RunReport, past: Past, note: str) -> str:
    """Return how a run compares with those before it; "" where there is nothing to say.

    Args:
        kind: The kind of the message.
        report: The run.
        past: The runs before it.
        note: The message's note; that of a recovery says itself how many runs failed.
    """
    if kind is Kind.RECOVERY and past.failures and past.failing_since is not None and not note:
        return failures_sentence(past.failures, past.failing_since)
    if kind in (Kind.FAILURE, Kind.DIED) and (report.outcome is None or report.outcome in FAILED):
        return _nth_failure(report, past) if past.failures else _first_failure(past)
    if kind is Kind.SKIPPED and past.runs and past.runs[0].outcome is Outcome.SKIPPED:
        in_a_row = 1 + sum(1 for _ in takewhile(lambda run: run.outcome is Outcome.SKIPPED, past.runs))
        return f"{'At least ' if in_a_row > LAST_RUNS else ''}{in_a_row} runs in a row had nothing to do."
    return ""


def failures_sentence(failures: int, since: datetime) -> str:
    """Return how many runs failed before one that succeeded."""
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
    nth = ordinal(past.failures + 1).capitalize()
    return f"{nth} {unit} in a row that failed{since}{_same_error(report, failures)}."


def _failures_in_a_row(past: Past) -> list[PastRun]:
    """Return the failed runs immediately before, newest first; of a long row only those in ``past.runs``."""
    failures = []
    for run in past.runs:
        if run.outcome in SUCCEEDED:
            break
        if run.outcome in FAILED:
            failures.append(run)
    return failures[: past.failures]


def _unit(starts: list[datetime]) -> str:
    """Return "night" or "day" for runs that start once a day, and "run" for all others."""
    gaps_s = [(later - earlier).total_seconds() for later, earlier in pairwise(starts)]
    if not gaps_s or not all(_A_DAY_S[0] <= gap_s <= _A_DAY_S[1] for gap_s in gaps_s):
        return "run"
    hours = [localized(each).hour for each in starts]
    return "night" if all(hour >= _EVENING or hour < _MORNING for hour in hours) else "day"


def _same_error(report: RunReport, failures: list[PastRun]) -> str:
    """Return whether the runs before failed with the same error, by fingerprint; "" where that is not known."""
    current = report.error.fingerprint if report.error is not None else ""
    earlier = [each.fingerprint for each in failures]
    if not current or not all(earlier) or not earlier:
        return ""
    if all(each == current for each in earlier):
        return ", each time with this error"
    return ", but the last time with another error" if earlier[0] != current else ", the last time with this error too"


# The bar chart


def bars_of(report: RunReport, past: Past, duration_baseline: Baseline | None) -> Bars | None:
    """Return the durations of the last runs and of this one, oldest first; None where there are too few."""
    runs = [run for run in past.runs[: LAST_RUNS - 1] if run.outcome is not Outcome.SKIPPED][::-1]
    if len(runs) < FEWEST_BARS:
        return None
    first, last = localized(runs[0].started_at), localized(report.started_at)
    form = "%H:%M" if first.date() == last.date() else "%Y-%m-%d"
    return Bars(
        [float(f"{max(0.0, each):.3g}") for each in (*(run.duration_s for run in runs), report.duration_s)],
        "".join(map(_mark, (*(run.outcome for run in runs), report.outcome))),
        first.strftime(form),
        last.strftime(form),
        _bars_sentence(runs, duration_baseline),
    )


def _mark(outcome: Outcome | None) -> str:
    if outcome is None:
        return "o"
    return "." if outcome in SUCCEEDED else "x" if outcome in FAILED else "-"


def _bars_sentence(runs: list[PastRun], duration_baseline: Baseline | None) -> str:
    """Return the chart as a sentence ("Of the 29 runs before it, 27 succeeded, usually in 6-7 min; ...")."""
    succeeded = sum(run.outcome in SUCCEEDED for run in runs)
    failed = [run for run in runs if run.outcome in FAILED]
    text = f"Of the {counted(len(runs), 'run')} before it, {succeeded or 'none'} succeeded"
    if duration_baseline is not None:
        text += f", usually in {duration_range(duration_baseline.low, duration_baseline.high)}"
    if failed:
        last = "the last one on" if len(failed) > 1 else "on"
        text += f"; {len(failed)} failed, {last} {localized(failed[-1].started_at):%Y-%m-%d}"
    return f"{text}."
