"""Drawings as SVG text: numbers over time, and a year of days.

Colours and strokes come from the page's style, so that light and dark can differ. In a chart each run is a dot, or,
where there are too many, the spread of each span. In a calendar each day is a square; its colour and its shape show
what happened.
"""

from __future__ import annotations

from collections import defaultdict
from math import floor, log10
from statistics import median
from typing import TYPE_CHECKING

import attrs

from supervisor._cli.report.formatting import date_of, day, offset_s, weekday
from supervisor._cli.report.script_summary import CODES, DAYS, FAILED, SUCCEEDED, day_of
from supervisor._text import DAY_S, HOUR_S, MINUTE_S, duration, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from supervisor._cli.report.script_summary import Series
    from supervisor._models.parts import Baseline

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
        short_number = last - first <= 70  # noqa: PLR2004 - ten weeks
        every = max(1, -(-(last - first) // 7))
        days = range(first, last + 1, every) if short_number else _months(first, last)
        return [(self.x(_midnight_s(each)), _day_name(each, with_day=short_number)) for each in days]


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
    """Return a multiple of a step, rounded so that no error of floating point is shown."""
    return float(f"{value:.12g}")


def _duration_step(least_s: float) -> float:
    return next((step for step in _DURATION_STEPS if step >= least_s), least_s)


def _number_step(least: float) -> float:
    power = 10.0 ** floor(log10(max(least, _LEAST)))
    return next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= least * (1 - 1e-9)), 10 * power)


def element(name: str, content: str = "", **attributes: object) -> str:
    """Return an element. Attributes are our own numbers and words; ``class_`` and ``view_box`` are spelt for Python."""
    from html import escape

    known = {"class_": "class", "view_box": "viewBox", "preserve": "preserveAspectRatio", "anchor": "text-anchor"}
    written = "".join(
        f' {known.get(key, key)}="{escape(value if isinstance(value, str) else short_number(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def short_number(number: object) -> str:
    """Return a number with one digit after the point at most."""
    return f"{number:.1f}".rstrip("0").rstrip(".") if isinstance(number, float) else str(number)


def percent(thousandths: float) -> str:
    """Return a place in a plot that is 1,000 wide as a percentage of its width."""
    return f"{thousandths / 10:.2f}%"


def dots(points: Iterable[tuple[float, float]]) -> str:
    """Return a path of points: lines without length, which round caps make dots of whatever the scale."""
    return "".join(f"M{short_number(x)} {short_number(y)}h0" for x, y in points)


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Return a path through points."""
    path = "L".join(f"{short_number(x)} {short_number(y)}" for x, y in points)
    return f"M{path}" if path else ""


def bars(spans: Iterable[tuple[float, float, float]]) -> str:
    """Return a path of upright lines, each at an x from one y to another."""
    return "".join(f"M{short_number(x)} {short_number(low)}V{short_number(high)}" for x, low, high in spans)


def use(symbol: str, x: str, y: float, style: str) -> str:
    """Return a mark at a place; its shape is a symbol of the page, with its middle at the origin."""
    return f'<use href="#{symbol}" x="{x}" y="{short_number(y)}" class="{style}"/>'


_TOP, _BOTTOM = 8.0, 18.0
_MANY = 500
_SPANS = 200
_AROUND = 4
_MARKS = 5.0  # failures that would lie on each other are drawn once
_LEAST_HEIGHT = 4.0

Point = tuple[float, float]
_SYMBOLS = {**dict.fromkeys(FAILED, "m-fail"), CODES["died"]: "m-died"}


@attrs.frozen
class Plot:
    """The area of a chart: 1,000 units wide, and ``height`` units high."""

    time: TimeAxis
    axis: Axis
    height: float

    def y(self, value: float) -> float:
        """Return where a number stands, from the top."""
        return _TOP + (1 - self.axis.share(value)) * (self.height - _TOP - _BOTTOM)

    def point(self, at_s: float, value: float) -> Point:
        """Return where a number at an instant stands."""
        return self.time.x(at_s), self.y(value)


def duration_chart(series: Series, time: TimeAxis, height: float = 150.0) -> str:
    """Return the chart of how long runs took."""
    return _chart(series, Plot(time, duration_axis(series.numbers), height))


def number_chart(series: Series, time: TimeAxis, height: float = 110.0) -> str:
    """Return the chart of a recorded number."""
    return _chart(series, Plot(time, number_axis(series.numbers), height))


def _chart(series: Series, plot: Plot) -> str:
    runs = list(zip(series.at_s, series.numbers, series.codes, strict=True))[::-1]
    good = [plot.point(at_s, number) for at_s, number, code in runs if code in SUCCEEDED]
    content = "".join((_grid(plot), _band(series.usual, plot), _drawn(good, plot), _marks(runs, plot)))
    return element("svg", content, class_="chart", width="100%", height=plot.height, focusable="false")


def _grid(plot: Plot) -> str:
    parts = []
    for value, text in plot.axis.ticks:
        y = plot.y(value)
        parts.append(element("line", class_="grid", x1="0", x2="100%", y1=y, y2=y))
        parts.append(element("text", text, class_="tick", x=-8, y=y + 4, anchor="end"))
    for index, (x, name) in enumerate(plot.time.ticks()):
        if SIDE <= x < WIDTH - SIDE * 4:
            style = "tick odd" if index % 2 else "tick"
            parts.append(element("text", name, class_=style, x=percent(x), y=plot.height - 3, anchor="middle"))
    return "".join(parts)


def _band(usual: Baseline | None, plot: Plot) -> str:
    """Return the band between which a number usually is."""
    if usual is None:
        return ""
    top, bottom = plot.y(usual.high), plot.y(usual.low)
    spare = max(0.0, _LEAST_HEIGHT - (bottom - top)) / 2
    return element("rect", class_="usual", x="0", width="100%", y=top - spare, height=bottom - top + 2 * spare)


def _drawn(points: Sequence[Point], plot: Plot) -> str:
    if len(points) <= _MANY:
        paths = element("path", class_="dots", d=dots(points)) + _line(_smooth(points))
    else:
        spans = _spans(points)
        paths = element("path", class_="spread", d=bars((x, min(ys), max(ys)) for x, ys in spans))
        paths += _line([(x, median(ys)) for x, ys in spans])
    view = f"0 0 {WIDTH:.0f} {plot.height:.0f}"
    size = {"width": "100%", "height": plot.height}
    return element("svg", paths, view_box=view, preserve="none", **size) if points else ""


def _line(points: Sequence[Point]) -> str:
    return element("path", class_="middle", d=polyline(points)) if len(points) > 1 else ""


def _smooth(points: Sequence[Point]) -> list[Point]:
    """Return the running median of points, from half the points at both ends."""
    ys = [y for _, y in points]
    return [(x, median(ys[max(0, place - _AROUND) : place + _AROUND + 1])) for place, (x, _) in enumerate(points)]


def _spans(points: Iterable[Point]) -> list[tuple[float, list[float]]]:
    """Return what lies within each narrow span of time."""
    width = WIDTH / _SPANS
    spans: dict[int, list[float]] = defaultdict(list)
    for x, y in points:
        spans[int(x / width)].append(y)
    return [((number + 0.5) * width, ys) for number, ys in sorted(spans.items())]


def _marks(runs: Iterable[tuple[float, float, int]], plot: Plot) -> str:
    """Return the marks for failures and for values that are beyond the scale."""
    marks: dict[tuple[str, int, int], str] = {}
    for at_s, value, code in runs:
        symbol = _SYMBOLS.get(code)
        if symbol is None and value <= plot.axis.high:
            continue
        x, y = plot.point(at_s, value)
        symbol = symbol or "m-far"
        place = (symbol, int(x / _MARKS), int(y / _MARKS))
        if place not in marks:
            marks[place] = use(symbol, percent(x), y, symbol)
    return "".join(marks.values())


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
    "warned": "m5.5 2.8v3.2m0 2.2v.1",
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
    for each in range(first, today + 1):
        by_look[day_of(days[each]) if each in days else "none"].append(each)
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
    """Return the days that look alike: one path for their squares and one for the symbols in them."""
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
