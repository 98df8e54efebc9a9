"""Calendars, charts and spans: what stands where, and that it needs no colour."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor._cli.report.charts import (
    GLYPHS,
    TimeAxis,
    calendar,
    duration_axis,
    duration_chart,
    legend,
    number_axis,
    number_chart,
)
from supervisor._cli.report.formatting import (
    day,
    duration_span,
    minute,
    number_span,
    offset_s,
    offsets,
    sane,
    wall,
    weekday,
    zone_name,
)
from supervisor._cli.report.script_summary import CODES, DAYS, OUTCOMES, Series, day_of

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_S = 86_400.0
NOON_S = 1_763_985_600.0  # 2025-11-24 12:00 UTC
FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


@pytest.fixture
def denver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this machine stand in Denver."""
    if not hasattr(time, "tzset"):
        pytest.skip("this platform cannot change its zone")
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "MST7MDT,M3.2.0,M11.1.0")
    time.tzset()
    yield
    monkeypatch.setenv("TZ", before) if before is not None else monkeypatch.delenv("TZ")
    time.tzset()


def counts(**outcomes: int) -> list[int]:
    """Return how many runs had each outcome."""
    return [outcomes.get(outcome, 0) for outcome in OUTCOMES]


def series(numbers: list[float], code: int = CODES["success"]) -> Series:
    """Return numbers a day apart, the first one the newest."""
    found = Series()
    for place, number in enumerate(numbers):
        found.add(NOON_S - place * DAY_S, number, code)
    return found


@pytest.mark.parametrize(
    ("outcomes", "look"),
    [
        ({"success": 3}, "good"),
        ({"success": 3, "failure": 1}, "part"),
        ({"failure": 1}, "bad"),
        ({"terminated": 1}, "bad"),
        ({"died": 1}, "died"),
        ({"died": 1, "failure": 1}, "bad"),
        ({"success": 1, "interrupted": 1}, "good"),
        ({"cancelled": 1}, "stopped"),
        ({"running": 1}, "running"),
        ({"skipped": 2}, "skipped"),
    ],
)
def test_a_day_looks_like_its_runs(outcomes: dict[str, int], look: str) -> None:
    """A failure shows whatever else the day had, and what neither failed nor succeeded has a look of its own."""
    assert day_of(counts(**outcomes)) == look


def test_each_look_differs_without_colour() -> None:
    """No two looks of the calendar have the same shapes, so that nobody has to tell colours apart."""
    shapes = {"".join(each.get("d", "") for each in ET.fromstring(legend(look)).iter("path")) for look in DAYS}
    assert len(shapes) == len(DAYS)
    assert set(GLYPHS) <= set(DAYS)


def test_calendar_has_a_square_for_each_day_and_says_what_it_shows() -> None:
    """A calendar ends today, begins on a Monday 52 weeks before, and its summary counts days of each look."""
    today = day(NOON_S)
    days = {
        today: counts(failure=1),
        today - 1: counts(success=1),
        today - 2: counts(success=2),
        today - 999: counts(died=1),
    }
    drawn = calendar(days, today)
    paths = {each.get("class"): each.get("d", "") for each in ET.fromstring(drawn.svg).iter("path")}
    assert weekday(drawn.first) == 0
    assert sum(paths[look].count("z") for look in ("d-none", "d-good", "d-bad")) == drawn.last - drawn.first + 1
    assert paths["d-good"].count("z") == 2
    assert paths["g-bad"].count("M") == 1
    assert drawn.summary == "3 days with runs in the last year: all went well on 2, failed on 1"
    assert calendar({}, today).summary == "no runs in the last year"


@given(st.lists(FINITE, min_size=1, max_size=50))
@example([5e-324])  # of which no power of ten is a step
def test_axes_hold_what_they_show(numbers: list[float]) -> None:
    """Any numbers find an axis with a few ticks, in which the lowest and nearly all others have their place."""
    axis = number_axis(numbers)
    assert axis.low <= min(numbers) or min(numbers) == pytest.approx(axis.low)
    assert axis.low < axis.high
    assert 2 <= len(axis.ticks) <= 7
    assert all(0 <= axis.share(each) <= 1 for each in numbers)


def test_axes_have_steps_that_people_have() -> None:
    """Durations step as clocks do, from 0; numbers far from 0 get an axis of their own; one hang flattens nothing."""
    assert [text for _, text in duration_axis([300.0, 700.0]).ticks] == ["0", "5 min", "10 min", "15 min"]
    assert [text for _, text in duration_axis([0.0003]).ticks][:2] == ["0", "1 ms"]
    assert number_axis([41_000, 41_400]).ticks[0] == (41_000, "41,000")
    assert [text for _, text in number_axis([1_500_000]).ticks] == ["0", "500k", "1M", "1.5M"]
    assert number_axis([5, 5]).ticks[0] == (0.0, "0")
    assert duration_axis([60.0] * 99 + [36_000.0]).high == 90.0


@pytest.mark.parametrize("count", [1, 2, 30, 5_000])
def test_charts_are_whole_drawings_of_bounded_size(count: int) -> None:
    """From one run to thousands, a chart is well-formed and small; failures are marks with a shape of their own."""
    chance = random.Random(count)
    found = Series()
    for place in range(count):
        found.add(NOON_S - place * 3_000, 60 + chance.random(), CODES["failure" if place % 7 == 0 else "success"])
    time_axis = TimeAxis(NOON_S - 400 * DAY_S, NOON_S)
    for svg in (duration_chart(found, time_axis), number_chart(found, time_axis)):
        root = ET.fromstring(svg)
        assert any(each.get("href") == "#m-fail" for each in root.iter("use"))
        assert len(svg) < 60_000


def test_what_is_off_the_scale_is_marked() -> None:
    """A run that took far longer than nearly all others is marked at the edge."""
    svg = duration_chart(series([60.0] * 50 + [90_000.0] + [60.0] * 50), TimeAxis(NOON_S - 101 * DAY_S, NOON_S))
    assert [each.get("href") for each in ET.fromstring(svg).iter("use")] == ["#m-far"]


def test_instants_are_those_of_the_machine(denver: None) -> None:
    """The page shows the machine's own time, in summer and in winter, and knows when the clocks changed."""
    assert minute(NOON_S) == "2025-11-24 05:00"
    assert zone_name(NOON_S) == "MST, UTC-7"
    changes = offsets(NOON_S - 300 * DAY_S, NOON_S)
    assert [(str(wall(at - 1))[:16], ahead // 3_600) for at, ahead in changes[1:]] == [
        ("2025-03-09 01:59", -6),
        ("2025-11-02 01:59", -7),
    ]
    assert day(NOON_S - 12.5 * 3_600) == day(NOON_S) - 1


def test_broken_instants_become_some_that_clocks_can_show() -> None:
    """An instant of a broken row becomes the nearest that every platform can show."""
    for broken in (float("nan"), float("-inf"), 1e300, -5.0):
        assert minute(sane(broken))
    assert offset_s(1e300) == 0


@pytest.mark.parametrize(
    ("low_s", "high_s", "text"),
    [
        (733.0, 776.0, "12.2 to 12.9 min"),
        (1_135.0, 1_370.0, "19 to 23 min"),
        (22.1, 37.9, "22 to 38 s"),
        (0.02, 0.035, "20 ms to 35 ms"),
        (5.0, 5.0, "5 s"),
        (12_000.0, 15_000.0, "3.3 to 4.2 h"),
        (61.0, 61.2, "61 s"),
    ],
)
def test_spans_of_durations_have_one_unit(low_s: float, high_s: float, text: str) -> None:
    """The span of two durations has one unit and no more digits than it needs."""
    assert duration_span(low_s, high_s) == text


def test_spans_of_numbers_have_three_digits() -> None:
    """The span of two numbers has three digits, or what stands before the point; equal ends are one number."""
    assert number_span(12_221.4, 12_314.0) == "12,221 to 12,314"
    assert number_span(214, 214) == "214"
    assert number_span(0.12345, 0.5) == "0.123 to 0.5"
