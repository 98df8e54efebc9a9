"""From what to what numbers usually are, with no more digits than a person wants."""

from __future__ import annotations

from supervisor._text import DAY_S, HOUR_S, MINUTE_S, duration, number

_UNITS = ((3 * DAY_S, DAY_S, "d"), (3 * HOUR_S, HOUR_S, "h"), (2 * MINUTE_S, MINUTE_S, "min"), (10, 1, "s"))
"""From how many seconds on a span is told in which unit."""
_DIGITS = 20


def duration_span(low_s: float, high_s: float) -> str:
    """Return the span of two durations in one unit ("12 to 13 min"), or one where they are as good as equal."""
    for least_s, unit_s, unit in _UNITS:
        if high_s >= least_s:
            low, high = (_rounded(each / unit_s, high_s / unit_s) for each in (low_s, high_s))
            return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
    short, long = duration(low_s), duration(high_s)
    return short if short == long else f"{short} to {long}"


def _rounded(value: float, most: float) -> str:
    return number(round(value)) if most >= _DIGITS else f"{value:.1f}".removesuffix(".0")


def number_span(low: float, high: float) -> str:
    """Return the span of two numbers ("11,900 to 12,300"), or one where they are as good as equal."""
    less, more = number(three_digits(low)), number(three_digits(high))
    return less if less == more else f"{less} to {more}"


def three_digits(value: float) -> float:
    """Return a number with three digits, or all of those before its point."""
    return round(value) if abs(value) >= 100 else float(f"{value:.3g}")  # noqa: PLR2004 - three digits
