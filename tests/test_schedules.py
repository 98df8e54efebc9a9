"""When a run should start: what is understood, what is refused, and what the clocks' changes do."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scripts import PACKAGE

from supervisor import supervise
from supervisor._schedules import COUNT_LIMIT, duration_s, machine_zone, parse_schedule
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no TZ to set for a process")


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return what sets the machine's zone, for the test."""
    if sys.platform == "win32":
        pytest.skip("Windows has no TZ to set for a process")

    def set_to(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_to
    monkeypatch.undo()
    time.tzset()


def starts(schedule: str, after: datetime, count: int, shown: str) -> list[str]:
    """Return the next starts as a zone's clock shows them."""
    due = islice(parse_schedule(schedule)._due_after(after), count)
    return [f"{each.astimezone(ZoneInfo(shown)):%a %H:%M %z}" for each in due]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("every 15 min", 900),
        ("every 2 h", 7_200),
        ("every 1 d", 86_400),
        ("every 90 s", 90),
        ("Every  2.5 Hours", 9_000),
        ("every hour", 3_600),
        ("every 30min", 1_800),
    ],
)
def test_intervals(text: str, seconds: float) -> None:
    """An interval is a number and a unit, in any case and with any blanks, and counts from the last start."""
    schedule = parse_schedule(text)
    assert schedule.every_s == seconds
    assert schedule.next_after(NOON) == NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("0 2 * * *", "2026-03-02 02:00"),
        ("*/15 * * * *", "2026-03-01 12:15"),
        ("30 9-17/2 * * MON-FRI", "2026-03-02 09:30"),
        ("0 6 1,15 * *", "2026-03-15 06:00"),
        ("0 0 L * *", "2026-03-31 00:00"),
        ("0 0 * JAN SUN#2", "2027-01-10 00:00"),
        ("@hourly", "2026-03-01 13:00"),
        ("@daily", "2026-03-02 00:00"),
        ("@weekly", "2026-03-08 00:00"),
        ("@Monthly", "2026-04-01 00:00"),
        ("@yearly", "2027-01-01 00:00"),
    ],
)
def test_cron_expressions(text: str, due: str, zone: Callable[[str], None]) -> None:
    """Five fields as in a crontab, and the words that crontabs have for them."""
    zone("UTC")
    found = parse_schedule(f"  {text} ").next_after(NOON)
    assert found is not None
    assert f"{found:%Y-%m-%d %H:%M}" == due
    assert found.tzinfo is UTC
    assert str(parse_schedule(f" {text}  ")) == text


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("0 25 * * *", "its hour is wrong"),
        ("60 * * * *", "its minute is wrong"),
        ("0 0 31 2 *", "its day of month is wrong"),
        ("0 0 * * MOON", "its day of week is wrong"),
        ("* * * * * *", "instead of five fields (minute, hour, day of the month, month, day of the week) it has 6"),
        ("02:00", "it has 1"),
        ("", "it has 0"),
        ("every night", "an interval is a number and s, min, h or d"),
        ("every 0 s", "an interval lasts from one second to ten years"),
        ("every 999999999 d", "an interval lasts from one second to ten years"),
        ("every -5 min", "an interval is a number"),
        ("every \u0665 min", "an interval is a number"),
        ("@reboot", "of these words there are @yearly"),
        (900, "it is no text"),
        (None, "it is no text"),
    ],
)
def test_what_is_refused(text: object, evidence: str) -> None:
    """Anything else is refused with what it was, what is wrong with it, and an example of what is right."""
    with pytest.raises(ConfigurationError) as caught:
        parse_schedule(text)
    reason = str(caught.value)
    assert reason.startswith(f"schedule must be a cron expression or an interval, got {text!r}: ")
    assert evidence in reason
    assert 'say for example "0 2 * * *" (every night at two), "@hourly" or "every 15 min"' in reason


FIELD = st.text("0123456789*/-,#LWMONJA", min_size=1, max_size=6)


@given(st.one_of(st.text(max_size=40), st.lists(FIELD, min_size=5, max_size=5).map(" ".join)))
@example("0 0 ² * *")
@example("1#2/3 * * * *")
@example("* * LW/2 * MON#5")
@example("every 1e5 s")
@example("\ud800 * * * *")
def test_nothing_else_is_raised(text: str) -> None:
    """Whatever the text, it is understood or refused as a mistake in the configuration."""
    try:
        schedule = parse_schedule(text)
    except ConfigurationError:
        return
    due = schedule.next_after(NOON)
    assert due is None or due > NOON


def test_a_setting_is_refused_where_it_is_made() -> None:
    """A mistake in the schedule of a run is reported when the run is set up."""
    with pytest.raises(ConfigurationError, match="its hour is wrong"):
        supervise("nightly", schedule="0 25 * * *")


def test_what_is_due_between_two_instants() -> None:
    """All times after one instant and up to another, that one included; a thousand at most."""
    schedule = parse_schedule("every 10 min")
    due = schedule.due(NOON, NOON + timedelta(minutes=30))
    assert due == tuple(NOON + timedelta(minutes=each) for each in (10, 20, 30))
    assert schedule.due(NOON, NOON) == ()
    assert len(parse_schedule("* * * * *").due(NOON, NOON + timedelta(days=30))) == COUNT_LIMIT


def test_what_is_rarely_or_never_due(zone: Callable[[str], None]) -> None:
    """A day that comes every four years is found; where no day ever fits, there is no next start."""
    zone("UTC")
    assert parse_schedule("0 0 29 2 *").next_after(NOON) == datetime(2028, 2, 29, tzinfo=UTC)
    assert parse_schedule("0 0 */31 * MON#5").next_after(NOON) is None  # the first of a month is no fifth Monday


# The clocks' changes


@posix
def test_an_hour_left_out_in_berlin(zone: Callable[[str], None]) -> None:
    """When the clocks go forward, what was due in the hour left out is due right after it, once."""
    zone("Europe/Berlin")
    before = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    assert starts("30 2 * * *", before, 3, "Europe/Berlin") == ["Sun 03:00 +0200", "Mon 02:30 +0200", "Tue 02:30 +0200"]
    assert starts("0 3 * * *", before, 2, "Europe/Berlin") == ["Sun 03:00 +0200", "Mon 03:00 +0200"]
    night = datetime(2026, 3, 29, 0, 20, tzinfo=UTC)  # 01:20
    assert starts("*/30 * * * *", night, 3, "Europe/Berlin") == [
        "Sun 01:30 +0100",
        "Sun 03:00 +0200",
        "Sun 03:30 +0200",
    ]


@posix
def test_an_hour_twice_in_berlin(zone: Callable[[str], None]) -> None:
    """When the clocks go back, a fixed time is due once, in the first pass, and what comes often goes on in both."""
    zone("Europe/Berlin")
    before = datetime(2026, 10, 24, 12, 0, tzinfo=UTC)
    assert starts("30 2 * * *", before, 2, "Europe/Berlin") == ["Sun 02:30 +0200", "Mon 02:30 +0100"]
    second_pass = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time: 02:30 has been
    assert starts("30 2 * * *", second_pass, 1, "Europe/Berlin") == ["Mon 02:30 +0100"]
    night = datetime(2026, 10, 25, 0, 10, tzinfo=UTC)
    assert starts("*/30 * * * *", night, 4, "Europe/Berlin") == [
        "Sun 02:30 +0200", "Sun 02:00 +0100", "Sun 02:30 +0100", "Sun 03:00 +0100",
    ]  # fmt: skip


@posix
def test_both_changes_in_denver(zone: Callable[[str], None]) -> None:
    """The same west of Greenwich, and an interval takes no notice of either."""
    zone("America/Denver")
    spring, autumn = datetime(2026, 3, 7, 18, 0, tzinfo=UTC), datetime(2026, 10, 31, 18, 0, tzinfo=UTC)
    assert starts("15 2 * * *", spring, 2, "America/Denver") == ["Sun 03:00 -0600", "Mon 02:15 -0600"]
    assert starts("15 1 * * *", autumn, 2, "America/Denver") == ["Sun 01:15 -0600", "Mon 01:15 -0700"]
    assert starts("every 1 d", spring, 1, "America/Denver") == ["Sun 12:00 -0600"]
    assert len(parse_schedule("0 * * * *").due(autumn, autumn + timedelta(hours=25))) == 25


@posix
@pytest.mark.parametrize("name", ["Europe/Berlin", "America/Denver", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_the_zone_is_the_machines(name: str, zone: Callable[[str], None]) -> None:
    """The machine's zone says the same as the database of zones, of each half hour of a year and both its passes."""
    zone(name)
    theirs, ours = ZoneInfo(name), machine_zone()
    for half_hours in range(0, 366 * 48, 5):
        instant = NOON + timedelta(minutes=30 * half_hours)
        one, other = instant.astimezone(theirs), instant.astimezone(ours)
        assert (one.replace(tzinfo=None), one.fold, one.utcoffset()) == (
            other.replace(tzinfo=None), other.fold, other.utcoffset(),
        )  # fmt: skip
        naive = one.replace(tzinfo=None)
        for fold in (0, 1):
            assert (
                naive.replace(tzinfo=theirs, fold=fold).utcoffset() == naive.replace(tzinfo=ours, fold=fold).utcoffset()
            )


@posix
def test_a_zone_without_a_name(zone: Callable[[str], None]) -> None:
    """A zone that TZ spells out, which no database has, counts too."""
    zone("XXX-5:30YYY,M3.5.0,M10.5.0/3")
    assert parse_schedule("0 2 * * *").next_after(NOON) == datetime(2026, 3, 1, 20, 30, tzinfo=UTC)


def test_it_is_cheap_until_it_is_asked() -> None:
    """Importing it loads neither cronsim nor dates."""
    code = "import sys; import supervisor._schedules; print(*{'cronsim', 'calendar', 'zoneinfo'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "\n"


@pytest.mark.parametrize(
    ("text", "words"), [("6", "a number and s, min, h or d"), ("0h", "a number and"), ("9999d", "ten years at most")]
)
def test_a_duration_that_is_none_is_refused(text: str, words: str) -> None:
    """The error says which of the two is wrong."""
    assert duration_s("90 min") == 5400.0
    with pytest.raises(ValueError, match=words):
        duration_s(text)
