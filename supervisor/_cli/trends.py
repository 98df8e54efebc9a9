"""Where the durations and the recorded numbers of a script are heading: a slow change that no single run shows.

The slope is Theil's and Sen's: the median of the slopes between all pairs of runs, which outliers do not move
(P. K. Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", 1968). A change is shown only if it is
significant by Mann's and Kendall's test, large beside what varies from run to run, and seen in the older and in the
newer half of the runs: so neither noise nor a single step is taken for a trend.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import combinations, pairwise
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._messages.baseline import as_number, quantile
from supervisor._text import DAY_S, duration, localized, number, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from supervisor._store.sqlite import JournalReader

MOST_RUNS = 60
"""How many of the last successes of a name are looked at."""

_FEWEST = 12
_LEAST_SPAN_S = 3 * DAY_S  # within less, the time of day would pass for a trend
_SURE = 3.29  # standard deviations: noise alone is beyond them once in a thousand times
_LEAST_SHARE = 0.1  # of the median: what the number changes by over all runs that are looked at
_LEAST_DURATION_S, _LEAST_COUNT = 10.0, 2.0  # what durations and counts change by over all runs
_LEAST_NOISE = 1.5  # that change beside the usual distance from the line
_LEAST_IN_HALVES = 0.25  # the slope in each half, beside that of all
_FARTHEST_S = 365 * DAY_S
_PERIODS = ((30 * DAY_S, "day", DAY_S), (180 * DAY_S, "week", 7 * DAY_S), (float("inf"), "month", 30 * DAY_S))
_MOST_NAMES = 40

Point = tuple[float, float]
"""When, in seconds since 1970, and a number."""


@attrs.frozen(kw_only=True)
class Trend:
    """A duration or a recorded number that rises or falls from run to run.

    Args:
        name: The name of the number; "" for the duration, in seconds.
        per_s: By how much it changes in a second.
        level: Where it is now.
        median: The median of all numbers that were looked at.
        span_s: The seconds from the first of these runs to the last.
        count: How many runs there were.
        limit: What it reaches at this pace; None where no limit is known that it comes nearer to.
        reaches_at: When, if within a year.
    """

    name: str
    per_s: float
    level: float
    median: float
    span_s: float
    count: int
    limit: float | None = None
    reaches_at: datetime | None = None

    def __str__(self) -> str:
        head = f"{self._what} each {self._period[1]}"
        if self.reaches_at is None or self.limit is None:
            return head
        limit = f"its limit of {duration(self.limit)}" if not self.name else number(self.limit)
        return f"{head}; at this pace it reaches {limit} around {_day(self.reaches_at)}"

    @property
    def _period(self) -> tuple[float, str, float]:
        return next(each for each in _PERIODS if self.span_s < each[0])

    @property
    def _what(self) -> str:
        change = self.per_s * self._period[2]
        share = abs(change / self.median) if self.median else 0.0
        percent = f"{share * 100:.2g} %" if share < 1 else f"{share * 100:,.0f} %"
        if not self.name:
            return f"takes {percent} {'longer' if change > 0 else 'less time'}"
        by = f"{float(f'{abs(change):.2g}'):,.10g}" + (f" ({percent})" if share else "")
        return f"{one_line(self.name, 60)} {'rises' if change > 0 else 'falls'} by {by}"

    def document(self) -> dict[str, Any]:
        """Return it as a document for programs; ``name`` is None for the duration."""
        return {
            "name": self.name or None,
            "per_day": self.per_s * DAY_S,
            "level": self.level,
            "median": self.median,
            "runs": self.count,
            "span_s": self.span_s,
            "limit": self.limit,
            "reaches_at": self.reaches_at,
            "text": str(self),
        }


def _day(instant: datetime) -> str:
    local, now = localized(instant), localized(datetime.now(UTC))
    return f"{local.day} {local:%B}" + (f" {local.year}" if local.year != now.year else "")


# Of the runs of a name


def trends(reader: JournalReader, name: str) -> tuple[Trend, ...]:
    """Return the trends of the runs of a name: of the duration, then of what the newest success recorded."""
    runs = reader.successful_runs(name, limit=MOST_RUNS)
    durations = [(run.started_at_s, run.duration_s or 0.0) for run in runs]
    recorded = [(run.started_at_s, run.values) for run in runs]
    names = list(recorded[0][1] if recorded else ())[:_MOST_NAMES]
    values = {each: [(at_s, given[each]) for at_s, given in recorded if each in given] for each in names}
    return trends_in(durations, runs[0].max_duration_s if runs else None, values.items())


def trends_in(
    durations: Sequence[Point], limit_s: float | None, values: Iterable[tuple[str, Iterable[tuple[float, Any]]]]
) -> tuple[Trend, ...]:
    """Return the trends of durations and of recorded values.

    Args:
        durations: When each run started, and how many seconds it took.
        limit_s: How long a run should take at most; None for no limit.
        values: What was recorded under each name, and when.
    """
    found = (duration_trend(durations, limit_s), *(value_trend(name, points) for name, points in values))
    return tuple(each for each in found if each is not None)


def duration_trend(points: Iterable[Point], limit_s: float | None) -> Trend | None:
    """Return the trend of durations; None where there is none."""
    return _trend("", points, _LEAST_DURATION_S, limit_s)


def value_trend(name: str, points: Iterable[tuple[float, Any]]) -> Trend | None:
    """Return the trend of what runs recorded under a name; None where there is none, or these are no numbers.

    A number that was never negative and falls has 0 for its limit: a free disk, say.
    """
    known = [(at_s, float(value)) for at_s, given in points if (value := as_number(given)) is not None]
    is_count = all(value.is_integer() for _, value in known)
    limit = 0.0 if known and min(value for _, value in known) >= 0 else None
    return _trend(name, known, _LEAST_COUNT if is_count else 0.0, limit)


# The estimate


def _trend(name: str, points: Iterable[Point], least: float, limit: float | None) -> Trend | None:
    points = sorted(each for each in points if isfinite(each[1]))[-MOST_RUNS:]
    if len(points) < _FEWEST or (span_s := points[-1][0] - points[0][0]) < _LEAST_SPAN_S:
        return None
    rising = _rising([value for _, value in points])  # first, since it is quick and mostly decides
    if abs(rising) <= _SURE or not (per_s := _slope(points)):
        return None
    start_s = points[0][0]
    leveled = [value - per_s * (at_s - start_s) for at_s, value in points]
    base = _median(leveled)
    rest = [each - base for each in leveled]
    noise = _median(map(abs, rest))
    memory = _memory(rest) if noise > abs(per_s) * span_s / 1e6 else 0.0
    if abs(rising) <= _SURE * sqrt((1 + memory) / (1 - memory)):
        return None
    median = _median([value for _, value in points])
    change = abs(per_s) * span_s
    if change < max(least, _LEAST_SHARE * abs(median), _LEAST_NOISE * noise) or not _is_steady(points, per_s):
        return None
    level = base + per_s * span_s
    reaches_at = _reaches(level, per_s, points[-1][0], limit)
    return Trend(
        name=name,
        per_s=per_s,
        level=level,
        median=median,
        span_s=span_s,
        count=len(points),
        limit=limit if reaches_at is not None else None,
        reaches_at=reaches_at,
    )


def _rising(values: Sequence[float]) -> float:
    """Return by how many standard deviations numbers rise: Mann's and Kendall's test, with its correction for ties."""
    count = len(values)
    score = sum((later > earlier) - (later < earlier) for earlier, later in combinations(values, 2))
    ties = (values.count(each) for each in set(values))
    variance = (count * (count - 1) * (2 * count + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    return (score - (score > 0) + (score < 0)) / sqrt(variance) if variance > 0 else 0.0


def _memory(rest: Sequence[float]) -> float:
    """Return the correlation of each number with the one before it, from 0 to 0.9, by their ranks.

    Where neighbors are alike beside the line there are fewer independent numbers: the variance grows as that of an
    autoregressive process of first order does.
    """
    scale = max(map(abs, rest)) or 1.0
    known = [round(each / scale, 6) for each in rest]
    ranks = [sum((each > other) - (each < other) for other in known) for each in known]
    total = sum(each * each for each in ranks)
    return min(0.9, max(0.0, sum(a * b for a, b in pairwise(ranks)) / total)) if total else 0.0


def _is_steady(points: Sequence[Point], per_s: float) -> bool:
    """Return whether both halves change as the whole does: the newer one alone is where it is heading."""
    middle = len(points) // 2
    return all(_slope(half) / per_s >= _LEAST_IN_HALVES for half in (points[:middle], points[middle:]))


def _slope(points: Sequence[Point]) -> float:
    """Return the median of the slopes between all pairs of points."""
    pairs = combinations(points, 2)
    slopes = [(later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in pairs if later[0] > earlier[0]]
    return _median(slopes) if slopes else 0.0


def _median(numbers: Iterable[float]) -> float:
    return quantile(sorted(numbers), 0.5)


def _reaches(level: float, per_s: float, last_s: float, limit: float | None) -> datetime | None:
    """Return when the line reaches a limit; None if it moves away from it, is beyond it, or takes over a year."""
    if limit is None or (limit - level) / per_s <= 0:
        return None
    at_s, now_s = last_s + (limit - level) / per_s, time.time()
    return datetime.fromtimestamp(at_s, UTC) if now_s < at_s < now_s + _FARTHEST_S else None
