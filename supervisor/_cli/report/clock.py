"""Instants in the zone of the machine that writes the page, whoever reads it where."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from supervisor._text import DAY_S

_EARLIEST_S = 0.0
_LATEST_S = 32_503_680_000.0  # the year 3000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sane(instant_s: float) -> float:
    """Return an instant that every clock can show: one from a broken row becomes the nearest such."""
    return min(max(instant_s, _EARLIEST_S), _LATEST_S) if instant_s == instant_s else _EARLIEST_S  # noqa: PLR0124 - a NaN


def offset_s(instant_s: float) -> int:
    """Return by how many seconds this machine's clock on the wall is ahead of UTC at an instant."""
    try:
        return time.localtime(instant_s).tm_gmtoff
    except (OverflowError, ValueError, OSError):  # what the platform's C library cannot say
        return 0


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
    name = time.localtime(instant_s).tm_zone
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
