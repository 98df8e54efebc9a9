"""What is usual for a number, and whether one stands out: for durations and recorded values."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
