"""Texts and data that are safe in a page, whoever wrote them.

- Instants in the zone of the machine that writes the page, whoever reads it where.
- From what to what numbers usually are, with no more digits than a person wants.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import isfinite
from typing import Any

from supervisor._text import (
    DAY_S,
    ESCAPES,
    HOUR_S,
    MINUTE_S,
    UNSEEN,
    cut_middle,
    duration,
    localized,
    number,
    shown_zone,
)

_MAX_EXACT = 1 << 53  # beyond it, JavaScript's numbers are not exact

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_SURROGATES = range(0xD800, 0xE000)
_VISIBLE = UNSEEN | {code: f"\\x{code:02x}" for code in _CONTROLS} | {code: f"\\u{code:04x}" for code in _SURROGATES}
_VISIBLE_LINES = {code: shown for code, shown in _VISIBLE.items() if code not in (0x09, 0x0A)}


def line(text: str, limit: int = 200) -> str:
    """Return a text for one line, cut at ``limit`` characters; what cannot be seen stands there as an escape."""
    text = text[: 4 * limit]
    if not (text.isascii() and text.isprintable()):
        text = " ".join(ESCAPES.sub("", text).split()).translate(_VISIBLE)
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def lines(text: str, limit: int = 20_000) -> str:
    """Return a text of several lines, cut in its middle; what cannot be seen stands there as an escape."""
    text = cut_middle(text, limit)
    return ESCAPES.sub("", text).replace("\r\n", "\n").translate(_VISIBLE_LINES)


def plain_number(value: Any) -> float | None:
    """Return a recorded value as a number that a chart can show, or None when it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    try:
        known = float(value)
    except (OverflowError, ValueError):
        return None
    return known if isfinite(known) else None


def shown_value(value: Any, limit: int = 200) -> float | str:
    """Return a recorded value as the page keeps it: numbers as numbers, all else as one line of text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -_MAX_EXACT < value < _MAX_EXACT else _long_number(value)
    known = plain_number(value)
    if known is not None:
        return known
    return line(value if isinstance(value, str) else _text(value), limit)


def _long_number(value: int) -> str:
    return number(value) if value.bit_length() < 1_000 else f"a number of {value.bit_length():,} bits"  # noqa: PLR2004 - Python refuses very long decimals


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        import reprlib  # what is nested may be of any size

        return reprlib.repr(value)
    return str(value)


def json_for_html(data: Any) -> str:
    """Return data as JSON that can stand in a ``script`` element: nothing in it can end the element.

    Raises:
        ValueError: A number is not finite, which JSON cannot say.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # https://html.spec.whatwg.org/multipage/scripting.html#restrictions-for-contents-of-script-elements
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


_EARLIEST_S = 0.0
_LATEST_S = 32_503_680_000.0  # the year 3000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sane(instant_s: float) -> float:
    """Return an instant that every clock can show: one from a broken row becomes the nearest such."""
    return min(max(instant_s, _EARLIEST_S), _LATEST_S) if instant_s == instant_s else _EARLIEST_S  # noqa: PLR0124 - a NaN


def offset_s(instant_s: float) -> int:
    """Return by how many seconds this machine's clock on the wall is ahead of UTC at an instant."""
    try:
        if shown_zone() is not None:
            return round(_localized(instant_s).utcoffset().total_seconds())  # type: ignore[union-attr]  # it is aware
        return time.localtime(instant_s).tm_gmtoff
    except (OverflowError, ValueError, OSError):  # what the platform's C library cannot say
        return 0


def _localized(instant_s: float) -> datetime:
    return localized(datetime.fromtimestamp(instant_s, UTC))


def day(instant_s: float) -> int:
    """Return the day of an instant on this machine, counted from 1970-01-01."""
    return int((instant_s + offset_s(instant_s)) // DAY_S)


def weekday(day: int) -> int:
    """Return 0 for a Monday, 6 for a Sunday."""
    return (day + 3) % 7  # 1970-01-01 was a Thursday


def date_of(day: int) -> datetime:
    """Return the date of a day that is counted from 1970-01-01."""
    return _EPOCH + timedelta(days=day)


def wall(instant_s: float) -> datetime:
    """Return an instant as this machine's clock on the wall shows it, without a zone."""
    return (_EPOCH + timedelta(seconds=instant_s + offset_s(instant_s))).replace(tzinfo=None)


def minute(instant_s: float) -> str:
    """Return an instant as people write it ("2025-11-24 02:00")."""
    return f"{wall(instant_s):%Y-%m-%d %H:%M}"


def zone_name(instant_s: float) -> str:
    """Return the machine's zone at an instant ("CET, UTC+1"); some platforms have long names."""
    offset = offset_s(instant_s)
    sign, minutes = "-" if offset < 0 else "+", abs(offset) // 60
    utc = f"UTC{sign}{minutes // 60}" + (f":{minutes % 60:02}" if minutes % 60 else "") if minutes else "UTC"
    name = _localized(instant_s).tzname() or utc
    return utc if name == utc or not name.isascii() or name[:1] in "+-" else f"{name}, {utc}"


def offsets(first_s: float, last_s: float) -> list[tuple[int, int]]:
    """Return from when on which offset holds, oldest first, so that a page can show instants as :func:`wall` does."""
    step = max(DAY_S / 2, (last_s - first_s) / 50_000)
    instants = [first_s + step * count for count in range(int((last_s - first_s) // step) + 1)] + [last_s]
    found = [(int(first_s), offset_s(first_s))]
    for before, after in pairwise(instants):
        if offset_s(after) != offset_s(before):
            found.append((_change(int(before), int(after)), offset_s(after)))
    return found


def _change(before: int, after: int) -> int:
    """Return the second at which the offset changes between two instants."""
    old = offset_s(before)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if offset_s(middle) == old else (before, middle)
    return after


_UNITS = ((3 * DAY_S, DAY_S, "d"), (3 * HOUR_S, HOUR_S, "h"), (2 * MINUTE_S, MINUTE_S, "min"), (10, 1, "s"))
"""From how many seconds on a span is given in which unit."""
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
