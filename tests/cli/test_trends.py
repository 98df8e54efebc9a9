"""Where durations and values are heading: shown where they surely change, and never for noise, a step or odd runs."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journalled import document, invoke

from supervisor._cli.trends import duration_trend, value_trend

if TYPE_CHECKING:
    from collections.abc import Callable

    from journalled import Past

    from supervisor._cli.trends import Trend

DAY = 86_400.0
SEEDS = st.integers(0, 10_000)


def daily(number: Callable[[int], float], count: int = 60, every_s: float = DAY) -> list[tuple[float, float]]:
    """Return one number for each of the last days, the newest first."""
    now = time.time()
    return [(now - (count - place) * every_s, number(place)) for place in range(count)][::-1]


def noisy(seed: int, shape: Callable[[int], float], share: float = 0.05, count: int = 60) -> Trend | None:
    """Return the trend of durations of about ten minutes that vary by a share."""
    chance = random.Random(seed)
    return duration_trend(daily(lambda place: 600 * shape(place) * (1 + chance.gauss(0, share)), count), None)


@given(SEEDS, st.integers(12, 60), st.floats(0.01, 0.3))
def test_noise_is_no_trend(seed: int, count: int, share: float) -> None:
    """Whatever varies from run to run, nothing is shown of durations that stay as they are."""
    assert noisy(seed, lambda _: 1.0, share, count) is None


@given(SEEDS, st.integers(10, 50))
def test_a_single_step_is_no_trend(seed: int, at: int) -> None:
    """The usual range tells of it; it is not heading anywhere."""
    assert noisy(seed, lambda place: 1.5 if place >= at else 1.0, 0.02) is None


@given(SEEDS)
def test_a_real_trend_is_found_among_odd_runs(seed: int) -> None:
    """Ten percent of the runs take five times as long, and the slope is still right to a quarter."""
    odd = random.Random(seed)
    found = noisy(seed, lambda place: (1 + 0.05 * place / 7) * (5 if odd.random() < 0.1 else 1), 0.02)
    assert found is not None
    assert found.per_s * 7 * DAY == pytest.approx(30, rel=0.25)


@given(SEEDS, st.floats(0.1, 10))
def test_it_does_not_hang_on_when_the_runs_were(seed: int, gap: float) -> None:
    """Runs come irregularly, also several at one instant."""
    chance = random.Random(seed)
    now, places = time.time(), sorted(chance.choice([0.0, chance.random() * gap]) for _ in range(60))
    found = value_trend("rows", [(now + place * 30 * DAY, 1000 + place * 900) for place in places])
    if found is not None:
        assert found.per_s * DAY == pytest.approx(30, rel=0.01)


@pytest.mark.parametrize(
    "points",
    [
        [],
        daily(lambda place: place, 11),
        daily(lambda _: 7.0),
        daily(lambda place: 600 + 30 * place, 60, 60.0),  # an hour: the time of day would pass for a trend
        daily(lambda place: 60 + place / 10),  # 6 s in two months
        daily(lambda place: float("nan") if place % 2 else place * 50.0, 20),
        [(time.time(), float(place)) for place in range(60)],
    ],
    ids=["none", "few", "equal", "an hour", "seconds", "nan", "one instant"],
)
def test_nothing_is_shown_of_too_little(points: list[tuple[float, float]]) -> None:
    """Few runs, a short time, a small change, or numbers that are none."""
    assert duration_trend(points, 900.0) is None


@pytest.mark.parametrize(
    ("name", "number", "text"),
    [
        ("", lambda place: 600 + 600 * 0.02 * place / 7, "takes 1.8 % longer each week; at this pace it reaches its "),
        ("", lambda place: 600 - 3 * place, "takes 4.1 % less time each week"),
        ("free_gb", lambda place: 200 - 3 * place, "free_gb falls by 21 (19 %) each week; at this pace it reaches 0 "),
        ("change", lambda place: 100 - 10 * place, "change falls by 70 (36 %) each week"),
        ("rows", lambda place: 12_000 + 100 * place, "rows rises by 700 (4.7 %) each week"),
        ("done", lambda place: True, ""),
        ("label", lambda place: "text", ""),
        ("huge", lambda place: 10**400 + place, ""),
    ],
)
def test_it_is_said_in_words(name: str, number: Callable[[int], float], text: str) -> None:
    """With the pace, and with the limit where it comes nearer to one."""
    points = daily(number)
    found = value_trend(name, points) if name else duration_trend(points, 900.0)
    assert str(found or "").startswith(text)
    assert bool(text) is (found is not None)
    if found is not None:
        assert (found.reaches_at is not None) == ("at this pace" in text)


@pytest.mark.parametrize(("every_d", "unit"), [(0.4, "day"), (1, "week"), (7, "month")])
def test_the_unit_fits_the_time(every_d: float, unit: str) -> None:
    """So that a percentage is neither tiny nor of a future that nobody has seen."""
    found = duration_trend(daily(lambda place: 600 + 10 * place, every_s=every_d * DAY), None)
    assert str(found).endswith(f" each {unit}")


def slower(past: Past) -> None:
    """Write two months of daily runs that take longer and longer, and leave less and less room."""
    for place in range(60):
        ago_s, values = (60 - place) * DAY - 60, {"free_gb": 300 - 3 * place, "rows": 12_000 + place % 5}
        past.run("parcels", ago_s=ago_s, took_s=600 + 4.0 * place, values=values, max_duration_s=900.0)
        past.run("lakes", ago_s=ago_s, took_s=60 + place % 7)


def test_history_says_it_of_a_name(past: Past) -> None:
    """Behind the table, and nothing of a script that stays as it is."""
    slower(past)
    shown = invoke("history", "parcels").stdout
    assert ": takes 3.9 % longer each week; at this pace it reaches its limit of 15 min around " in shown
    assert "By its last 60 successes: free_gb falls by 21 (" in shown
    assert "rows" not in shown.partition("By its last")[2]
    assert "By its last" not in invoke("history", "lakes").stdout


def test_a_digest_and_the_page_say_it(past: Past) -> None:
    """It is no problem by itself."""
    slower(past)
    shown = invoke("digest", "--print").stdout
    assert "Where it is heading" in shown
    assert "Where it is heading" not in invoke("digest", "--print", "--only", "problems").stdout
    digest = document("digest", "--print")
    assert digest["has_problems"] is False
    scripts = {each["name"]: each["trends"] for each in digest["scripts"]}
    assert scripts["lakes"] == []
    duration, value = scripts["parcels"]
    assert (duration["name"], duration["limit"], duration["runs"]) == (None, 900.0, 60)
    assert duration["per_day"] == pytest.approx(4.0)
    assert (value["name"], value["limit"]) == ("free_gb", 0.0)
    page = invoke("report", "--output", "-").stdout
    assert "<dt>Trend</dt><dd>takes 3.9 % longer each week; at this pace" in page
