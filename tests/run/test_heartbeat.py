"""When runs give signs of life, and that nothing of it is left behind."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from waiting import wait_until

from supervisor import supervise
from supervisor._run import heartbeat
from supervisor._run.heartbeat import Heart
from supervisor._runtime import default_runtime
from supervisor._store.essentials import JournalUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the place decide, as it does outside of tests."""
    monkeypatch.delenv("SUPERVISOR_HEARTBEAT_S", raising=False)


@pytest.fixture
def heart() -> Iterator[Heart]:
    """Return a heart of the test's own, which stops after it."""
    heart = Heart()
    yield heart
    heart.stop()


def threads() -> list[str]:
    """Return the names of the threads that give signs of life."""
    return [each.name for each in threading.enumerate() if each.name.endswith("heartbeat")]


def record_of(name: str) -> Any:
    """Return the newest run of a name, as the journal has it."""
    journal = default_runtime().journal()
    assert journal is not None
    return journal.last_run(name)


def test_an_ordinary_machine_has_no_thread_and_no_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every later process can look, a run gives no signs of life."""
    monkeypatch.setattr("supervisor._run.recorder.can_be_looked_up", lambda _: True)
    with supervise("ordinary"):
        assert threads() == []
        assert record_of("ordinary").heartbeat_s is None


def test_elsewhere_a_run_gives_one_each_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due every minute is noted at the start; a shorter run writes nothing more."""
    monkeypatch.setattr("supervisor._run.recorder.can_be_looked_up", lambda _: False)
    with supervise("contained"):
        assert len(threads()) == 1
    record = record_of("contained")
    assert (record.heartbeat_s, record.heartbeat_at_s) == (60.0, None)
    heartbeat.heart.stop()
    heartbeat.heart.go_on()
    assert threads() == []


@pytest.mark.parametrize(("wanted", "expected"), [(0, None), (5, 5)])
def test_the_setting_wins_over_the_place(
    monkeypatch: pytest.MonkeyPatch, wanted: float, expected: float | None
) -> None:
    """0 turns them off in a container, a number turns them on everywhere."""
    monkeypatch.setattr("supervisor._run.recorder.can_be_looked_up", lambda _: wanted > 0)
    with supervise("chosen", heartbeat_s=wanted):
        assert record_of("chosen").heartbeat_s == expected
    heartbeat.heart.stop()
    heartbeat.heart.go_on()


def test_each_run_has_its_own_pace(heart: Heart) -> None:
    """A run with a short interval wakes a thread that sleeps for a longer one."""
    beats: list[str] = []
    heart.add("slow", 3600.0, lambda *_: beats.append("slow"))
    heart.add("fast", 0.01, lambda *_: beats.append("fast"))
    wait_until(lambda: len(beats) > 2)
    heart.remove("fast")
    assert set(beats) == {"fast"}


def test_the_longest_silence_is_told(heart: Heart) -> None:
    """What held up the thread once may do so again, so it counts as usual from then on."""
    told: list[float] = []

    def write(longest_s: float, _: object) -> None:
        told.append(longest_s)
        if len(told) == 1:
            time.sleep(0.3)  # as C code does that keeps the GIL

    heart.add("held up", 0.01, write)
    wait_until(lambda: len(told) > 3)
    assert told[0] < 0.3 <= told[1] == told[2]


def test_a_journal_that_takes_nothing_is_tried_again(heart: Heart) -> None:
    """One sign of life that cannot be written does not end the others."""
    tried: list[float] = []

    def write(longest_s: float, _: object) -> None:
        tried.append(longest_s)
        raise JournalUnavailable("/state/journal.sqlite3", "disk I/O error")

    heart.add("unlucky", 0.01, write)
    wait_until(lambda: len(tried) > 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_is_made_without_the_thread(heart: Heart) -> None:
    """The thread ends before it, and the parent has one again after it."""
    beats: list[int] = []
    heart.add("forks", 0.01, lambda *_: beats.append(1))
    wait_until(lambda: beats)
    heart.stop()
    assert threads() == []
    before = len(beats)
    heart.go_on()
    wait_until(lambda: len(beats) > before)


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_a_script_that_forks_is_not_warned_of_our_thread() -> None:
    """Python 3.12 and later warn of a fork beside other threads: ours has ended by then."""
    if sys.platform == "win32":
        pytest.skip("POSIX only")
    with supervise("forks", heartbeat_s=5):
        child = os.fork()
        if child == 0:
            os._exit(len(threads()))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(threads()) == 1
    heartbeat.heart.stop()
    heartbeat.heart.go_on()
