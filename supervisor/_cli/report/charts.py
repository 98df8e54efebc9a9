"""Numbers over time: each run a dot, or where there are too many the spread of each span; failures are marked."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING

import attrs

from supervisor._cli.report.axes import (
    SIDE,
    WIDTH,
    Axis,
    TimeAxis,
    duration_axis,
    number_axis,
)
from supervisor._cli.report.outcomes import CODES, FAILED, SUCCESS
from supervisor._cli.report.svg import (
    bars,
    dots,
    element,
    percent,
    polyline,
    use,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from supervisor._cli.report.script_summary import Series
    from supervisor._messages.baseline import Usual

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
    """A field to draw in: 1,000 wide, so many pixels high."""

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
    good = [plot.point(at_s, number) for at_s, number, code in runs if code == SUCCESS]
    content = "".join((_grid(plot), _band(series.usual, plot), _drawn(good, plot), _marks(runs, plot)))
    return element("svg", content, class_="chart", width="100%", height=plot.height, focusable="false")


def _grid(plot: Plot) -> str:
    parts = []
    for value, text in plot.axis.ticks:
        y = plot.y(value)
        parts.append(element("line", class_="grid", x1="0", x2="100%", y1=y, y2=y))
        parts.append(element("text", text, class_="tick", x=-8, y=y + 4, anchor="end"))
    for number, (x, name) in enumerate(plot.time.ticks()):
        if SIDE <= x < WIDTH - SIDE * 4:
            style = "tick odd" if number % 2 else "tick"
            parts.append(element("text", name, class_=style, x=percent(x), y=plot.height - 3, anchor="middle"))
    return "".join(parts)


def _band(usual: Usual | None, plot: Plot) -> str:
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
    """Return the marks of failures, and of what is off the scale."""
    marks: dict[tuple[str, int, int], str] = {}
    for at_s, number, code in runs:
        symbol = _SYMBOLS.get(code)
        if symbol is None and number <= plot.axis.high:
            continue
        x, y = plot.point(at_s, number)
        symbol = symbol or "m-far"
        place = (symbol, int(x / _MARKS), int(y / _MARKS))
        if place not in marks:
            marks[place] = use(symbol, percent(x), y, symbol)
    return "".join(marks.values())
