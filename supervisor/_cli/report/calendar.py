"""A year of days, one square each: the colour shows what happened, and so does a shape."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import attrs

from supervisor._cli.report.charts import element
from supervisor._cli.report.formatting import date_of, weekday
from supervisor._cli.report.script_summary import DAYS, day_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WEEKS = 53
CELL = 11
STEP = 14
LEFT, TOP = 30, 18

# What is drawn into a square of 11 by 11, besides the square itself.
GLYPHS: Mapping[str, str] = {
    "bad": "m3 3 5 5m0-5-5 5",
    "died": "m5.5 2.5 3 3-3 3-3-3z",
    "part": "m0 11 11-11v11z",
    "stopped": "m3 5.5h5",
    "running": "m4 3 4 2.5-4 2.5z",
}
_SQUARE = f"h{CELL}v{CELL}h-{CELL}z"
_HOLLOW = f"m.5.5h{CELL - 1}v{CELL - 1}h-{CELL - 1}z"
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@attrs.frozen
class Calendar:
    """A drawn year.

    Args:
        svg: The drawing.
        first: Its first day, a Monday, counted from 1970-01-01.
        last: Its last day.
        summary: What it shows, in words.
    """

    svg: str
    first: int
    last: int
    summary: str


def calendar(days: Mapping[int, Sequence[int]], today: int) -> Calendar:
    """Draw the 53 weeks up to today.

    Args:
        days: How many runs ended in which way on each day, by the codes of the outcomes.
        today: The last day, counted from 1970-01-01.
    """
    first = today - weekday(today) - 7 * (WEEKS - 1)
    by_look: dict[str, list[int]] = defaultdict(list)
    for day in range(first, today + 1):
        by_look[day_of(days[day]) if day in days else "none"].append(day)
    content = _labels(first, today) + "".join(_squares(look, by_look[look], first) for look in ("none", *DAYS))
    width, height = LEFT + WEEKS * STEP, TOP + 7 * STEP
    view = f"0 0 {width} {height}"
    svg = element("svg", content, class_="year", width=width, height=height, view_box=view, focusable="false")
    return Calendar(svg, first, today, _summary(by_look))


def legend(look: str) -> str:
    """Return one square as the calendar draws it."""
    square = element("path", class_=f"d-{look}", d="M0 0" + (_HOLLOW if look == "skipped" else _SQUARE))
    glyph = element("path", class_=f"g-{look}", d="M0 0" + GLYPHS[look]) if look in GLYPHS else ""
    return element("svg", square + glyph, width=CELL, height=CELL, view_box=f"0 0 {CELL} {CELL}", focusable="false")


def _squares(look: str, days: Iterable[int], first: int) -> str:
    """Return all days of one look: one path for their squares and one for what is drawn into them."""
    places = [f"M{LEFT + (day - first) // 7 * STEP} {TOP + (day - first) % 7 * STEP}" for day in days]
    if not places:
        return ""
    shape = _HOLLOW if look == "skipped" else _SQUARE
    squares = element("path", class_=f"d-{look}", d="".join(place + shape for place in places))
    if look not in GLYPHS:
        return squares
    return squares + element("path", class_=f"g-{look}", d="".join(place + GLYPHS[look] for place in places))


def _labels(first: int, last: int) -> str:
    parts = [element("text", WEEKDAYS[row], class_="tick", x=0, y=TOP + row * STEP + CELL - 1.5) for row in (0, 2, 4)]
    for week in range(WEEKS - 2):
        monday = date_of(first + 7 * week)
        if monday.day <= 7:  # noqa: PLR2004 - the first Monday of its month
            name = f"{monday:%b}" if monday.month > 1 else f"{monday:%Y}"
            parts.append(element("text", name, class_="tick", x=LEFT + week * STEP, y=TOP - 6))
    return "".join(parts)


def _summary(by_look: Mapping[str, Sequence[int]]) -> str:
    looks = [f"{words} on {len(by_look[look])}" for look, words in DAYS.items() if by_look.get(look)]
    days = sum(len(by_look.get(look, ())) for look in DAYS)
    return f"{days} days with runs in the last year: {', '.join(looks)}" if days else "no runs in the last year"
