"""The pace of progress: a log line every 10 % or 60 s, messages at their own pace, rates of the phase at hand."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import pytest

from supervisor import supervise
from supervisor._run.progress import ProgressPace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor import Run

quiet = functools.partial(supervise, journal=False)


@pytest.fixture
def run() -> Iterator[Run]:
    """Return a run that looks at no clock of its own."""
    with quiet("night") as run:
        run._state.due_s = math.inf
        yield run


@pytest.fixture
def pace(run: Run) -> ProgressPace:
    """Return the pace of the run."""
    return ProgressPace(run._state)


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines that speak of progress."""
    return [
        each.getMessage()
        for each in log.records
        if each.name == "supervisor._run.progress" or ": " in each.getMessage()
    ]


def test_a_line_every_ten_percent(run: Run, pace: ProgressPace, log: pytest.LogCaptureFixture) -> None:
    """With a total there is a log line whenever 10 % more are done, and none between."""
    log.clear()
    now = 1000.0
    for done in range(101):
        run.progress(done, 100, "loading")
        pace.look(now, None)
        now += 0.1
    percentages = [line.partition(" %")[0].rpartition("(")[2] for line in lines(log)]
    assert percentages == [str(n) for n in range(10, 101, 10)]
    assert lines(log)[0].startswith("night: 10 of 100 (10 %)")
    assert lines(log)[0].endswith(": loading")


@pytest.mark.parametrize("total", [None, 1_000_000])
def test_a_line_a_minute(run: Run, pace: ProgressPace, total: int | None, log: pytest.LogCaptureFixture) -> None:
    """Where 10 % take long, or nobody knows what they are, there is a log line a minute."""
    log.clear()
    for second in range(301):
        run.progress(second, total)
        pace.look(1000.0 + second, None)
    assert len(lines(log)) == 5
    assert lines(log)[0].startswith("night: 60")


def test_it_is_looked_at_once_a_second(pace: ProgressPace) -> None:
    """However often a script speaks of its progress, once a second is enough."""
    assert pace.next_look(1000.0) == 1001.0


def test_messages_are_due_at_their_own_pace(run: Run, pace: ProgressPace) -> None:
    """A message is due when so many seconds have passed since the first progress or the last message."""
    run.progress(1, 100)
    due = [second for second in range(100) if pace.look(1000.0 + second, 30.0)]
    assert due == [30, 60, 90]


def test_no_messages_without_a_pace(run: Run, pace: ProgressPace) -> None:
    """Without a pace none is ever due."""
    run.progress(1, 100)
    assert not any(pace.look(1000.0 + second, None) for second in range(0, 10_000, 100))


def test_a_new_phase_begins_anew(run: Run, pace: ProgressPace, log: pytest.LogCaptureFixture) -> None:
    """A total that changes or a count that goes back is a new phase: its lines come at its own 10 %."""
    log.clear()
    run.progress(50, 100)
    pace.look(1000.0, None)
    pace.look(1000.1, None)
    run.progress(0, 10, "second")
    pace.look(1000.2, None)
    run.progress(1)
    pace.look(1000.3, None)
    run.progress(9)
    pace.look(1000.4, None)
    run.progress(0)
    pace.look(1000.5, None)
    run.progress(1)
    pace.look(1000.6, None)
    assert [line.partition(")")[0] for line in lines(log)] == [
        "night: 50 of 100 (50 %",
        "night: 1 of 10 (10 %",
        "night: 9 of 10 (90 %",
        "night: 1 of 10 (10 %",
    ]


def test_before_the_first_look_there_is_no_progress(run: Run, pace: ProgressPace) -> None:
    """Nothing is known before the first progress; a rate is known when something was done since."""
    assert pace.progress() is None
    run.progress(5, 10)
    pace.look(0.0, None)
    progress = pace.progress()
    assert progress is not None
    assert (progress.done, progress.rate_per_s) == (5, None)
    run.progress(7)
    progress = pace.progress()
    assert progress is not None
    assert progress.rate_per_s is not None
    assert progress.rate_per_s > 0
    assert progress.eta_s is not None


@pytest.mark.parametrize("total", [0, -5, math.nan, math.inf, "abc"])
def test_a_wrong_total_has_lines_too(run: Run, pace: ProgressPace, total: float, log: pytest.LogCaptureFixture) -> None:
    """A total that says nothing counts as unknown: a line a minute, without a percentage that would be wrong."""
    log.clear()
    for second in range(121):
        run.progress(second + 1, total)
        pace.look(1000.0 + second, None)
    assert len(lines(log)) == 2
    assert "%" not in lines(log)[0].replace("(0 %)", "")
