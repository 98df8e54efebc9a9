"""When a run is stalled, overdue or dead, and a start missed: one rule each, by plain facts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from supervisor import _alerts
from supervisor._alerts import OF_A_CHECK, OF_THE_JOURNAL, OF_THE_RUN, Standing, standing
from supervisor._schedules import parse_schedule

NOW_S = 1_000_000.0
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def stands(**facts: Any) -> Standing:
    """Return how a run stands that started 1,000 s ago, and whose last sign of life was 100 s ago."""
    known = {"started_at_s": NOW_S - 1_000, "seen_at_s": NOW_S - 100, "stall_after_s": None, "max_duration_s": None}
    return standing(NOW_S, **{**known, **facts})


@pytest.mark.parametrize(
    ("margin", "stalls_at_s", "overdue_at_s"),
    [(OF_THE_RUN, 100.0, 1_000.0), (OF_THE_JOURNAL, 98.0, 1_000.0), (OF_A_CHECK, 70.0, 970.0)],
)
def test_who_sees_less_waits_longer(margin: _alerts.Margin, stalls_at_s: float, overdue_at_s: float) -> None:
    """The limit counts with the margin of who looks: the run itself at once, others later."""
    just = stands(stall_after_s=stalls_at_s, max_duration_s=overdue_at_s, margin=margin)
    assert just == Standing(stalled_since_s=NOW_S - 100, overdue_since_s=NOW_S - 1_000 + overdue_at_s)
    assert just.words == ("stalled", "overdue")
    assert just.is_late
    not_yet = stands(stall_after_s=stalls_at_s + 0.1, max_duration_s=overdue_at_s + 0.1, margin=margin)
    assert not_yet == Standing()
    assert not not_yet.is_late


def test_a_run_without_limits_is_never_late() -> None:
    """None is no limit, however long it takes."""
    assert stands(started_at_s=0.0, seen_at_s=0.0) == Standing()


def test_a_dead_run_is_nothing_else() -> None:
    """Of a run whose process is gone nobody expects progress."""
    dead = stands(stall_after_s=1, max_duration_s=1, process_is_gone=True)
    assert dead == Standing(has_died=True)
    assert dead.words == ("died",)
    assert not _alerts.has_died(has_ended=True, process_is_gone=True)


def test_what_the_machine_slept_does_not_count() -> None:
    """A sleep since the last sign of life is left out, one before it is not."""
    sleeps = [(NOW_S - 500, 300.0), (NOW_S - 50, 40.0)]
    assert _alerts.awake_s(NOW_S - 100, NOW_S, sleeps) == 60
    assert _alerts.awake_s(NOW_S - 1_000, NOW_S, sleeps) == 660
    assert _alerts.awake_s(NOW_S - 10, NOW_S, [(NOW_S - 5, 40.0)]) == 0
    assert stands(stall_after_s=80, sleeps=sleeps, margin=OF_THE_RUN) == Standing()


def test_a_start_is_missed_when_its_grace_is_over() -> None:
    """What was due after an instant counts, unless it may still come."""
    hourly = parse_schedule("0 * * * *")
    after = NOON - timedelta(hours=3)
    due = _alerts.missed_starts(hourly, after=after, grace_s=60.0, now=NOON + timedelta(seconds=59))
    assert [each.hour for each in due] == [10, 11]
    due = _alerts.missed_starts(hourly, after=after, grace_s=60.0, now=NOON + timedelta(seconds=61))
    assert [each.hour for each in due] == [10, 11, 12]
    assert _alerts.missed_starts(hourly, after=NOON, grace_s=None, now=NOON + timedelta(minutes=5)) == ()


def test_what_was_due_during_a_run_is_not_missed() -> None:
    """The next start counts from the end of a run that was still under way; a little early is that start."""
    hourly = parse_schedule("0 * * * *")
    started_at = NOON - timedelta(seconds=20)
    assert _alerts.counted_from(hourly, started_at, started_at) == NOON + timedelta(seconds=10)
    ended_at = NOON + timedelta(hours=1, minutes=5)
    assert _alerts.counted_from(hourly, started_at, ended_at) == ended_at
    every = parse_schedule("every 2 h")
    assert _alerts.counted_from(every, started_at, started_at) == started_at
