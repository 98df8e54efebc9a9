"""How a run compares with those before it, and what stands out."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor._messages import message_for
from supervisor._messages.baseline import baseline_of
from supervisor._models import Kind, Outcome
from supervisor._models.parts import Past, PastRun
from supervisor._text import duration_range, number_range, ordinal
from supervisor.models import ErrorDetails, MessageDetails, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 3, 1, 2, 0, 3, tzinfo=UTC)
ERROR = ErrorDetails(type="KeyError", message="'apn'", fingerprint="abc")
FAILED = RunReport(
    id="r1",
    name="parcels",
    outcome=Outcome.FAILURE,
    started_at=NOW,
    ended_at=NOW + timedelta(seconds=12),
    duration_s=12.0,
    error=ERROR,
    host="gis-01",
)
DONE = attrs.evolve(FAILED, outcome=Outcome.SUCCESS, error=None, duration_s=400.0)


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the machine's own time be UTC, where nights are known."""
    if not hasattr(time, "tzset"):
        pytest.skip("no tzset")
    monkeypatch.setitem(os.environ, "TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def runs(*outcomes: Outcome, every: timedelta = timedelta(days=1), **facts: Any) -> tuple[PastRun, ...]:
    """Return earlier runs, newest first."""
    return tuple(
        PastRun(**{"outcome": each, "started_at": NOW - every * (index + 1), "duration_s": 390.0 + index % 5, **facts})
        for index, each in enumerate(outcomes)
    )


def successes(count: int, **facts: Any) -> tuple[PastRun, ...]:
    """Return so many successes."""
    return runs(*[Outcome.SUCCESS] * count, **facts)


def lead(details: MessageDetails) -> str:
    """Return the first paragraph in one line."""
    return " ".join(details.message.split("\n\n")[0].split())


def failure(past: Past, **changes: Any) -> str:
    """Return the first paragraph of a failure."""
    return lead(message_for(Kind.FAILURE, attrs.evolve(FAILED, **changes), past=past))


@pytest.mark.parametrize(
    ("past", "text"),
    [
        (Past(), "The first run of this name that is known here."),
        (Past(runs=successes(1), successes=1), "First failure after 1 success."),
        (Past(runs=successes(30), successes=212), "First failure after 212 successes."),
        (Past(runs=successes(30), successes=500), "First failure after at least 500 successes."),
    ],
)
def test_a_first_failure_says_what_it_follows(past: Past, text: str) -> None:
    """The first failure says how many successes came before."""
    assert failure(past).endswith(f"parcels failed on gis-01 after 12 s. {text}")


@pytest.mark.parametrize(
    ("at_hour", "every", "unit"),
    [
        (2, timedelta(days=1), "night"),
        (23, timedelta(hours=23.5), "night"),
        (12, timedelta(days=1), "day"),
        (2, timedelta(hours=1), "run"),
        (2, timedelta(days=3), "run"),
    ],
)
def test_failures_in_a_row_are_nights_where_runs_are_nightly(at_hour: int, every: timedelta, unit: str) -> None:
    """The third failure of a nightly run is the third night in a row, of a daily one the third day, else the run."""
    now = NOW.replace(hour=at_hour)
    failures = tuple(PastRun(outcome=Outcome.FAILURE, started_at=now - every * n) for n in (1, 2))
    past = Past(runs=failures, failures=2, failing_since=failures[-1].started_at)
    text = failure(past, started_at=now)
    assert f"Third {unit} in a row that failed, since {failures[-1].started_at:%Y-%m-%d %H:%M:%S} +0000." in text


@pytest.mark.parametrize(
    ("fingerprints", "text"),
    [
        (("abc", "abc"), ", each time with this error."),
        (("xyz", "abc"), ", but the last time with another error."),
        (("abc", "xyz"), ", the last time with this error too."),
        (("abc", ""), "+0000."),
    ],
)
def test_failures_in_a_row_say_whether_they_are_alike(fingerprints: tuple[str, str], text: str) -> None:
    """Whether those before it failed for the same reason is shown where it is known."""
    failures = tuple(
        PastRun(outcome=Outcome.FAILURE, started_at=NOW - timedelta(days=n + 1), fingerprint=each)
        for n, each in enumerate(fingerprints)
    )
    assert failure(Past(runs=failures, failures=2, failing_since=failures[-1].started_at)).endswith(text)


def test_who_was_interrupted_is_not_compared() -> None:
    """A run that a person stopped is no failure to count."""
    assert failure(Past(runs=successes(3), successes=3), outcome=Outcome.INTERRUPTED).endswith("after 12 s.")


def test_a_recovery_says_how_many_failed_and_since_when() -> None:
    """A recovery tells what it ends; a note that tells it already is not doubled."""
    past = Past(runs=runs(Outcome.FAILURE, Outcome.DIED), failures=2, failing_since=NOW - timedelta(days=2))
    assert "Before it, 2 runs failed in a row, since 2026-02-27 02:00:03 +0000." in lead(
        message_for(Kind.RECOVERY, DONE, past=past)
    )
    assert "failed in a row" not in lead(message_for(Kind.RECOVERY, DONE, note="All is well.", past=past))


def summary(values: dict[str, Any], *known: dict[str, Any], **changes: Any) -> MessageDetails:
    """Return the summary of a success after others with known values."""
    before = tuple(
        PastRun(outcome=Outcome.SUCCESS, started_at=NOW - timedelta(days=n + 1), duration_s=390.0 + n, values=each)
        for n, each in enumerate(known)
    )
    report = attrs.evolve(DONE, values=values, **changes)
    return message_for(Kind.SUCCESS, report, past=Past(runs=before, successes=len(before)))


NIGHTS = [{"empty": 11_900 + 20 * n, "counties": 29, "source": "SGID"} for n in range(20)]


def test_a_number_that_stands_out_is_named_up_front() -> None:
    """What is far from the usual stands in the subject, in the first lines, and is marked in the table."""
    details = summary({"counties": 29, "empty": 0, "source": "SGID"}, *NIGHTS)
    assert details.subject == "parcels succeeded on gis-01, but empty is 0"
    paragraphs = details.message.split("\n\n")
    assert paragraphs[1] == "empty: 0, usually 11,900-12,200"
    assert "! empty     0 (usually 11,900-12,200)\n" in paragraphs[2]
    assert "  counties  29 (usually 29)\n" in paragraphs[2]
    assert "  source    SGID" in paragraphs[2]


def test_a_duration_that_stands_out_is_named() -> None:
    """A run that takes far longer than usual says so; with several anomalies, two are named and the rest counted."""
    details = summary({}, *NIGHTS, duration_s=2460.0)
    assert details.subject == "parcels succeeded on gis-01, but it took 41 min"
    assert "It took 41 min, usually 7 min" in details.message
    values = {"a": 1, "b": 1, "c": 1}
    known = [{"a": 100, "b": 100, "c": 100}] * 6
    subject = summary(values, *known, duration_s=2460.0).subject
    assert subject == "parcels succeeded on gis-01, but a is 1, b is 1 and 2 more stand out"


def test_ordinary_numbers_raise_no_alarm() -> None:
    """What is within the usual is shown beside it, and nothing else is shown."""
    details = summary({"empty": 12_050, "counties": 29}, *NIGHTS)
    assert details.subject == "parcels succeeded on gis-01"
    assert "!" not in details.message


@pytest.mark.parametrize("count", range(5))
def test_first_runs_raise_no_alarm(count: int) -> None:
    """With fewer than five successes before, nothing is usual yet."""
    details = summary({"empty": 0}, *NIGHTS[:count], duration_s=9_999.0)
    assert details.subject == "parcels succeeded on gis-01"
    assert "usually" not in details.message


@pytest.mark.parametrize(
    ("known", "value", "stands_out"),
    [
        (29, 29, False),
        (29, 30, False),
        (29, 3, True),
        (0, 0, False),
        (0, 1, False),
        (0, 40, True),
        (0.0, 1e-9, False),
        (0.0, 0.7, True),
        (0.25, 0.26, False),
        (0.25, 0.9, True),
        (0.25, float("nan"), True),
        (1_000_000, 1_000_001, False),
        (-5, -5, False),
    ],
)
def test_constants_raise_no_false_alarm(known: float, value: float, stands_out: bool) -> None:
    """What was always the same may change a little, and for counts by two, before it stands out."""
    details = summary({"n": value}, *[{"n": known}] * 20)
    assert ("but n is" in details.subject) == stands_out


@pytest.mark.parametrize("value", [True, None, "12", 10**400, "x" * 5_000])
def test_what_is_no_number_is_not_compared(value: Any) -> None:
    """Texts, truths and numbers beyond all bounds are shown as they are."""
    details = summary({"n": value}, *[{"n": 5}] * 20)
    assert details.subject == "parcels succeeded on gis-01"


def test_short_runs_may_vary() -> None:
    """A second more or less is nothing to tell, however short a run is."""
    before = successes(20, duration_s=0.5)
    report = attrs.evolve(DONE, duration_s=6.0)
    assert "but" not in message_for(Kind.SUCCESS, report, past=Past(runs=before, successes=20)).subject


def test_the_last_runs_are_bars_with_words() -> None:
    """The last runs and this one are bars, oldest first, failures marked, with the same in a sentence."""
    outcomes = [Outcome.SUCCESS] * 10
    outcomes[3] = Outcome.FAILURE
    outcomes[5] = Outcome.INTERRUPTED
    details = message_for(Kind.SUCCESS, DONE, past=Past(runs=runs(*outcomes), successes=3))
    bars: Any = details.parts[0].bars  # type: ignore[union-attr]  # it is an account
    assert bars.marks == "....-.x...."
    assert bars.durations_s[-1] == 400.0
    assert (bars.first, bars.last) == ("2026-02-19", "2026-03-01")
    assert bars.text == ("Of the 10 runs before it, 8 succeeded, usually in 6-7 min; 1 failed, on 2026-02-25.").replace(
        "6-7", "7"
    )
    few = message_for(Kind.SUCCESS, DONE, past=Past(runs=successes(3), successes=3))
    assert few.parts[0].bars is None  # type: ignore[union-attr]  # it is an account


NUMBERS = st.floats(allow_nan=True) | st.integers() | st.booleans() | st.text(max_size=3) | st.none()


@given(value=NUMBERS, known=st.lists(NUMBERS, max_size=30), duration_s=st.floats(min_value=0, max_value=1e12))
def test_no_numbers_raise(value: Any, known: list[Any], duration_s: float) -> None:
    """Whatever was recorded, and however long runs took, a summary can be composed."""
    details = summary({"n": value}, *[{"n": each} for each in known], duration_s=duration_s)
    assert details.message
    assert len(details.subject) <= 200


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=5, max_size=40))
def test_usual_numbers_are_in_order(numbers: list[float]) -> None:
    """Low, median and high are in order, and within the numbers that they come from."""
    usual = baseline_of(numbers)
    assert usual is not None
    tiny = 1e-9 * max(1.0, *(abs(each) for each in numbers))
    assert min(numbers) - tiny <= usual.low <= usual.median + tiny <= usual.high + 2 * tiny <= max(numbers) + 3 * tiny
    assert baseline_of(numbers[:4]) is None


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (11_912, 12_312, "11,900-12,300"),
        (29, 29, "29"),
        (12_345, 12_345, "12,345"),
        (-3, 4, "-3 to 4"),
        (0.2, 0.3, "0.2-0.3"),
        (0, 0.5, "0-0.5"),
        (1, 2, "1-2"),
        (float("-inf"), 1, "-inf to 1"),
    ],
)
def test_ranges_of_numbers(low: float, high: float, text: str) -> None:
    """A range is shown no finer than what its ends differ by."""
    assert number_range(low, high) == text


@pytest.mark.parametrize(
    ("low_s", "high_s", "text"),
    [
        (372, 420, "6-7 min"),
        (395, 400, "7 min"),
        (40, 41, "40-41 s"),
        (0.2, 0.3, "200 ms to 300 ms"),
        (5400, 7200, "1.5-2 h"),
        (86_400, 200_000, "1-2.3 d"),
    ],
)
def test_ranges_of_durations(low_s: float, high_s: float, text: str) -> None:
    """A range of durations is shown in one unit."""
    assert duration_range(low_s, high_s) == text


def test_places_in_a_row() -> None:
    """Small places are words, large ones numbers."""
    assert [ordinal(n) for n in (1, 3, 10, 11, 12, 21, 22, 23, 111, 1001)] == [
        "first",
        "third",
        "tenth",
        "11th",
        "12th",
        "21st",
        "22nd",
        "23rd",
        "111th",
        "1,001st",
    ]
