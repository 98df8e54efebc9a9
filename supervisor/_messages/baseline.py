"""What is usual for a number, and whether one stands out: for durations and recorded values.

- What stands out in a run: numbers far from what is usual for them.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import attrs

from supervisor._messages.comparison import as_number
from supervisor._text import duration, duration_range, number_range, one_line, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from supervisor._models.values import RunReport

AT_LEAST = 5
"""Fewer numbers say nothing of what is usual."""

_TIMES = 4.0
_FLOOR = 0.05


@attrs.frozen
class Usual:
    """What a number usually is.

    Args:
        median: Half of the numbers are below it.
        low: A tenth of the numbers are below it.
        high: A tenth of the numbers are above it.
        count: How many numbers it was found from.
    """

    median: float
    low: float
    high: float
    count: int

    def stands_out(self, value: float, least: float = 0.0) -> bool:
        """Tell whether a number is far from what is usual: by four times the spread, or a fifth of the median.

        The spread is half of what lies between low and high, so that one wild number among the known ones changes
        little. Numbers that are always the same have none; the fifth of the median keeps them from raising alarms.

        Args:
            value: The number.
            least: A difference that is never far, whatever the spread.
        """
        if not isfinite(value):
            return True
        spread = max((self.high - self.low) / 2, _FLOOR * abs(self.median))
        return abs(value - self.median) > max(_TIMES * spread, least)


def usual_of(numbers: Iterable[float]) -> Usual | None:
    """Return what is usual among numbers, or None when there are fewer than five.

    Args:
        numbers: Those of the last successes, say. What is no finite number does not count.
    """
    known = sorted(number for number in numbers if isfinite(number))
    if len(known) < AT_LEAST:
        return None
    return Usual(_quantile(known, 0.5), _quantile(known, 0.1), _quantile(known, 0.9), len(known))


def _quantile(known: Sequence[float], share: float) -> float:
    """Return the number below which a share of sorted ones lies; ``statistics`` knows how, but takes 20 ms to load."""
    place = share * (len(known) - 1)
    below = int(place)
    rest = place - below
    if rest == 0 or known[below] == known[below + 1]:
        return known[below]
    # Each by itself: their difference may be too large for a float.
    return known[below] * (1 - rest) + known[below + 1] * rest


LEAST_DURATION_S = 10.0
"""Runs that differ by less seconds than that are alike, however short they are."""

LEAST_COUNT = 2
"""Counts that differ by no more are alike: what is always 0 may be 1 for once."""

_LEAST_SHARE = 0.01
_NAMED = 2


@attrs.frozen
class Finding:
    """One number that stands out.

    Args:
        name: What was recorded under that name; "" for the duration.
        text: What it is now.
        usual: What it usually is.
    """

    name: str
    text: str
    usual: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}, {self.usual}" if self.name else f"It took {self.text}, {self.usual}"

    @property
    def clause(self) -> str:
        """Return it as a part of a sentence ("empty is 0", "it took 41 min")."""
        return f"{one_line(self.name, 40)} is {one_line(self.text, 40)}" if self.name else f"it took {self.text}"


def findings(report: RunReport, usual: Mapping[str, Usual], usual_duration: Usual | None) -> Iterator[Finding]:
    """Yield what stands out: recorded numbers in their order, then the duration."""
    for name, value in report.values.items():
        known = usual.get(name)
        if known is not None and value_stands_out(value, known):
            yield Finding(one_line(name, 60), told(value), usual_text(known))
    if usual_duration is not None and usual_duration.stands_out(report.duration_s, LEAST_DURATION_S):
        yield Finding("", duration(report.duration_s), usual_duration_text(usual_duration))


def value_stands_out(value: Any, usual: Usual) -> bool:
    """Tell whether a recorded value is far from what is usual."""
    number = as_number(value)
    if number is None:
        return False
    return usual.stands_out(number, LEAST_COUNT if isinstance(number, int) else _least(usual))


def _least(usual: Usual) -> float:
    """Return the least difference that counts: where all was 0 so far, nothing else tells what much is."""
    return 0.0 if usual.median or usual.low or usual.high else _LEAST_SHARE


def usual_text(usual: Usual) -> str:
    """Return what is usual in words ("usually 11,900-12,300", "always 29")."""
    return f"usually {number_range(usual.low, usual.high)}"


def usual_duration_text(usual: Usual) -> str:
    """Return what is usual for a duration in words ("usually 6-7 min")."""
    return f"usually {duration_range(usual.low, usual.high)}"


def but(found: Sequence[Finding]) -> str:
    """Return the end of a subject that says what stands out (", but empty is 0 and it took 41 min"); "" for nothing."""
    clauses = [each.clause for each in found[:_NAMED]]
    if len(found) > _NAMED:
        clauses = [", ".join(clauses), f"{len(found) - _NAMED} more stand out"]
    return f", but {' and '.join(clauses)}" if clauses else ""
