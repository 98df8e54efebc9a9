"""Where numbers and instants stand in a plot, and what is written beside them."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

import attrs

from supervisor._cli.report.clock import date_of, day, offset_s
from supervisor._text import DAY_S, HOUR_S, MINUTE_S, duration, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH = 1000.0
SIDE = 10.0
"""What stays free on both sides of a plot, so that marks at its ends are whole; the script of the page knows it too."""

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30)
_MINUTES = (1, 2, 5, 10, 15, 30)
_HOURS = (1, 2, 3, 6, 12)
_LEAST = 1e-300  # below it, powers of ten come to nothing
_DURATION_STEPS = (
    *_SECONDS,
    *(step * MINUTE_S for step in _MINUTES),
    *(step * HOUR_S for step in _HOURS),
    *(step * DAY_S for step in (1, 2, 7, 14, 30, 100, 365)),
)
_TICKS = 3
_FAR = 3.0  # what is so many times higher than nearly all of the rest would press that flat
_NEARLY_ALL = 0.98


@attrs.frozen
class Axis:
    """The numbers of a plot.

    Args:
        low: The lowest that it shows.
        high: The highest; what is above is drawn at the edge, as off the scale.
        ticks: Numbers with a line, and what is written there.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """Return where a number stands: 0 at the bottom, 1 at the top and above it."""
        return min(1.0, max(0.0, (value - self.low) / ((self.high - self.low) or 1.0)))


@attrs.frozen
class TimeAxis:
    """The instants of a plot, in seconds since 1970."""

    first_s: float
    last_s: float

    def x(self, at_s: float) -> float:
        """Return where an instant stands, from left to right in a plot that is 1,000 wide."""
        share = (at_s - self.first_s) / ((self.last_s - self.first_s) or 1.0)
        return SIDE + (WIDTH - 2 * SIDE) * min(1.0, max(0.0, share))

    def ticks(self) -> list[tuple[float, str]]:
        """Return where months begin, or days when all is within ten weeks, and their names."""
        first, last = day(self.first_s) + 1, day(self.last_s)
        short = last - first <= 70  # noqa: PLR2004 - ten weeks
        every = max(1, -(-(last - first) // 7))
        days = range(first, last + 1, every) if short else _months(first, last)
        return [(self.x(_midnight_s(each)), _day_name(each, with_day=short)) for each in days]


def _midnight_s(day: int) -> float:
    noon = day * DAY_S + DAY_S / 2
    return day * DAY_S - offset_s(noon)


def _months(first: int, last: int) -> list[int]:
    starts = [each for each in range(first, last + 1) if date_of(each).day == 1]
    every = -(-len(starts) // 14)
    return starts[:: max(1, every)]


def _day_name(day: int, *, with_day: bool) -> str:
    date = date_of(day)
    if with_day:
        return f"{date.day} {date:%b}"
    return f"{date:%Y}" if date.month == 1 else f"{date:%b}"


def duration_axis(durations: Sequence[float]) -> Axis:
    """Return the axis of durations: from 0, in steps that clocks have."""
    return _axis(0.0, _highest(durations), _duration_step, duration)


def number_axis(numbers: Sequence[float]) -> Axis:
    """Return the axis of recorded numbers: from 0 unless they all stand far from it."""
    low, high = min(numbers), _highest(numbers)
    if 0 <= low < high * 0.6 or low == high >= 0:
        low = 0.0
    return _axis(low, high, _number_step, _tick)


def _tick(value: float) -> str:
    """Return a number that fits beside a plot ("120k", "1.5M")."""
    for least, factor, unit in ((1e15, 1.0, ""), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e5, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / factor:.3g}{unit}"
    return number(value)


def _highest(numbers: Sequence[float]) -> float:
    ordered = sorted(numbers)
    nearly = ordered[floor((len(ordered) - 1) * _NEARLY_ALL)]
    return nearly * 1.5 if ordered[-1] > nearly * _FAR > 0 else ordered[-1]


def _axis(low: float, high: float, step_of: Callable[[float], float], written: Callable[[float], str]) -> Axis:
    step = step_of((high - low) / _TICKS or abs(high) or 1.0)
    bottom = floor(low / step) * step
    count = max(1, -floor(-(high - bottom) / step))
    ticks = tuple((bottom + step * each, written(_neat(bottom + step * each))) for each in range(count + 1))
    return Axis(bottom, ticks[-1][0], ticks if bottom else ((0.0, "0"), *ticks[1:]))


def _neat(value: float) -> float:
    """Return a multiple of a step without the dust of its multiplication."""
    return float(f"{value:.12g}")


def _duration_step(least_s: float) -> float:
    return next((step for step in _DURATION_STEPS if step >= least_s), least_s)


def _number_step(least: float) -> float:
    power = 10.0 ** floor(log10(max(least, _LEAST)))
    return next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= least * (1 - 1e-9)), 10 * power)
