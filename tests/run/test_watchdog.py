"""The watch over limits: what it finds and when, and the one thread that it takes."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from waiting import PATIENCE_S, let_time_pass, wait_until

from supervisor._alerts import RunAlert
from supervisor._alerts.messages import late_run
from supervisor._models import Kind
from supervisor._run import thread_control, watchdog
from supervisor._run.state import current_state
from supervisor._run.watchdog import Watcher
from supervisor._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeRun:
    """A run as far as its limits go, by a clock of the test's own."""

    parent = None
    has_ended = False
    is_suspended = False
    overdue: Any = None
    name = "night"

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings("night", **settings)
        self.sign_s = 0.0
        self.duration_s = 0.0

    def last_alive_s(self, now: float) -> float:
        """Return when the script last said something."""
        return min(now, self.sign_s)


def fake_run(**settings: Any) -> Any:
    """Return what stands for a run."""
    return FakeRun(**settings)


class Looking:
    """Looks at one run, at the times that a test says."""

    def __init__(self, **settings: Any) -> None:
        self.run = fake_run(**settings)
        self.ends: list[float] = []
        self.watch = watchdog._Watch(self.run, lambda alert: None, self._count, 0.0)

    def _count(self, lasted_s: float) -> None:
        self.ends.append(lasted_s)

    def at(self, now: float) -> list[tuple[str, float]]:
        """Return what is found at a moment: its kind, and how long it has lasted."""
        return [(str(each.kind), each.lasted_s) for each in self.watch.look(now)]


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """Return a watcher that idles no longer than it must."""
    watcher = Watcher(idle_s=0.02)
    yield watcher
    wait_until(lambda: watcher._thread is None)


# What is found


def test_a_run_without_a_sign_of_life_stalls_once() -> None:
    """A run that says nothing for ``stall_after_s`` is found to have stalled, once."""
    looking = Looking(stall_after_s=10)
    assert looking.watch.due_s == 10
    assert looking.at(9.9) == []
    assert looking.at(10) == [("stalled", 10)]
    assert looking.at(20) == looking.at(1000) == []


def test_a_sign_of_life_puts_the_stall_off() -> None:
    """The time counts from the last sign of life, and the next look is when it may be over."""
    looking = Looking(stall_after_s=10)
    looking.run.sign_s = 7
    assert looking.at(10) == []
    assert looking.watch.due_s == 17
    assert looking.at(17) == [("stalled", 10)]


def test_a_run_that_goes_on_is_noted_and_may_stall_again(log: pytest.LogCaptureFixture) -> None:
    """When progress comes back that is logged and passed on, and a later stall is found again."""
    looking = Looking(stall_after_s=10)
    assert looking.at(10)
    looking.run.sign_s = 14
    assert looking.at(15) == []
    assert looking.ends == [14]
    assert "run 'night' goes on after 14 s" in log.text
    assert looking.at(24) == [("stalled", 10)]
    assert looking.at(60) == []
    assert looking.ends == [14]


def test_a_stall_that_was_held_back_is_found_again_while_it_lasts() -> None:
    """What could not be told is found again a minute later; it interrupts and is logged only once."""
    looking = Looking(stall_after_s=10, on_overdue="interrupt")
    (alert,) = looking.watch.look(10)
    assert (alert.is_known, alert.interrupts) == (False, True)
    looking.watch.hold_back(10)
    assert looking.at(20) == looking.at(69) == []
    (again,) = looking.watch.look(70)
    assert (again.is_known, again.interrupts, again.lasted_s) == (True, False, 70)
    assert looking.at(1000) == [], "it was told"
    looking.watch.hold_back(1000)
    looking.run.sign_s = 1001
    assert looking.at(1002) == []
    assert looking.at(1010.9) == []
    assert looking.at(1011) == [("stalled", 10)]


def test_how_long_a_stall_lasted_with_which_a_run_ends() -> None:
    """A stall that was not over at the last look lasted until the last sign of life, or is not over at the end."""
    looking = Looking(stall_after_s=10)
    assert looking.watch.last_stall_s(5) is None
    assert looking.at(10)
    assert looking.watch.last_stall_s(13) == 13
    looking.run.sign_s = 12
    assert looking.watch.last_stall_s(13) == 12


def test_a_stalled_run_is_looked_at_again_within_a_minute() -> None:
    """That a run goes on is noted after a minute at most, however long its stalls may be."""
    looking = Looking(stall_after_s=600)
    assert looking.at(600)
    assert looking.watch.due_s == 660


def test_a_run_that_takes_too_long_is_overdue_once() -> None:
    """A run that takes longer than ``max_duration_s`` is found once, whatever progress it makes."""
    looking = Looking(max_duration_s=10)
    looking.run.sign_s = 9.9
    assert looking.at(9) == []
    assert looking.at(12) == [("overdue", 12)]
    assert looking.at(30) == []
    assert looking.watch.due_s == float("inf")


def test_both_limits_are_watched_side_by_side() -> None:
    """A run with both limits is looked at when the first of them may be passed."""
    looking = Looking(max_duration_s=15, stall_after_s=10)
    assert looking.watch.due_s == 10
    assert looking.at(10) == [("stalled", 10)]
    assert looking.watch.due_s == 15
    assert looking.at(15) == [("overdue", 15)]


def test_a_sleep_of_the_machine_counts_as_a_sign_of_life() -> None:
    """After a sleep that was much longer than asked for, nobody is blamed for what no one could do."""
    moments = iter([0.0, 0.0, 5000.0])
    watcher = Watcher(clock=lambda: next(moments))
    run: Any = FakeRun(stall_after_s=10)
    watcher._watches[id(run)] = watch = watchdog._Watch(run, lambda alert: None, lambda _: None, next(moments))
    with watcher._changed:
        watcher._sleep(0.001)
    assert watch.look(5000.0) == []
    assert watch.look(5010.0)[0].kind == "stalled"


def test_an_alert_has_the_stacks_and_says_what_it_is() -> None:
    """An alert knows since when, the limit, and what every thread was doing."""
    looking = Looking(stall_after_s=600, on_overdue="interrupt")
    (alert,) = looking.watch.look(600)
    assert str(alert) == "made no progress for 10 min (stall_after_s)"
    assert "Thread MainThread" in alert.stacks
    assert (alert.limit_s, alert.interrupts) == (600, True)


# What is told


@pytest.mark.parametrize(
    ("kind", "subject", "lead"),
    [
        (Kind.STALLED, "night stalled on {host}: no progress for 11 min", "stall_after_s is 600"),
        (Kind.OVERDUE, "night is overdue on {host}: under way for 11 min", "max_duration_s is 600"),
    ],
)
def test_the_message_says_what_and_where(kind: Kind, subject: str, lead: str) -> None:
    """The message has a subject that says it all, how long, what is done about it, the stacks and the run."""
    from datetime import UTC, datetime

    from supervisor import supervise
    from supervisor._messages.sections import parts_of

    with supervise("night", journal=False) as run:
        run.record(rows=3)
        report = run.report()
    alert = RunAlert(
        kind=kind,
        since=datetime.now(UTC),
        lasted_s=660.0,
        limit_s=600.0,
        interrupts=False,
        stacks="Thread MainThread\n  a.py:1 in b",
    )
    details = late_run(alert, report)
    assert details.subject == subject.format(host=report.host)
    assert details.kind is kind
    text = " ".join(map(str, parts_of(details)))
    for said in (lead, "11 min ago", "It goes on", "Thread MainThread\\n  a.py:1 in b", "rows"):
        assert said in text, said


# The thread


def test_one_thread_watches_over_all_runs_and_ends_when_none_is_left(watcher: Watcher) -> None:
    """However many runs are watched, there is one thread; it ends some time after the last one."""
    runs: list[Any] = [FakeRun(max_duration_s=60) for _ in range(50)]
    before = threading.active_count()
    for run in runs:
        watcher.add(run, lambda alert: None, lambda _: None)
    assert threading.active_count() == before + 1
    assert watcher._thread is not None
    assert watcher._thread.daemon
    for run in runs:
        watch = watcher.of(run)
        assert watch is not None
        watcher.remove(watch)
    wait_until(lambda: threading.active_count() == before)


def test_an_alert_is_told_in_time_and_only_while_the_run_is_watched(watcher: Watcher) -> None:
    """What becomes due is told by the thread without anybody asking, and after the end nothing is."""
    notified: list[RunAlert] = []
    run: Any = FakeRun(max_duration_s=0.05)
    other: Any = FakeRun(max_duration_s=0.05)
    watcher.add(run, notified.append, lambda _: None)
    wait_until(lambda: notified)
    assert notified[0].kind == "overdue"
    watch = watcher.of(run)
    assert watch is not None
    watcher.remove(watch)
    watcher.add(other, notified.append, lambda _: None)
    watch = watcher.of(other)
    assert watch is not None
    watcher.remove(watch)
    let_time_pass(0.15, "neither run is told of any more")
    assert len(notified) <= 2


def test_a_shorter_limit_that_comes_later_is_not_missed(watcher: Watcher) -> None:
    """A run that becomes due before those that are watched already wakes the thread."""
    notified: list[str] = []
    late: Any = FakeRun(max_duration_s=3600)
    soon: Any = FakeRun(max_duration_s=0.05)
    watcher.add(late, lambda alert: notified.append("late"), lambda _: None)
    watcher.add(soon, lambda alert: notified.append("soon"), lambda _: None)
    wait_until(lambda: notified)
    assert notified == ["soon"]
    for run in (late, soon):
        watch = watcher.of(run)
        assert watch is not None
        watcher.remove(watch)


def test_the_end_of_a_run_waits_for_what_is_being_told(watcher: Watcher) -> None:
    """A run that ends while its alert is told goes on when that is done, so that nothing comes after its end."""
    began, go, done = threading.Event(), threading.Event(), threading.Event()

    def tell(alert: RunAlert) -> None:
        began.set()
        go.wait()
        time.sleep(0.02)
        done.set()

    run: Any = FakeRun(max_duration_s=0.01)
    watcher.add(run, tell, lambda _: None)
    began.wait()
    go.set()
    watch = watcher.of(run)
    assert watch is not None
    watcher.remove(watch)
    assert done.is_set()


def test_what_is_logged_of_an_alert_belongs_to_its_run(watcher: Watcher, log: pytest.LogCaptureFixture) -> None:
    """The thread works in the context of the run that it speaks of, and of none otherwise."""
    seen: list[Any] = []
    run: Any = FakeRun(max_duration_s=0.01)
    watcher.add(run, lambda alert: seen.append(current_state()), lambda _: None)
    wait_until(lambda: seen)
    watch = watcher.of(run)
    assert watch is not None
    watcher.remove(watch)
    assert seen == [run]
    assert "run 'night' took longer than 10 ms (max_duration_s)" in log.text
    assert any(each.levelno == logging.WARNING for each in log.records)


def test_an_interrupt_on_its_way_stays_with_the_run_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who ends the watch right after the decision to interrupt waits for the signal, and does not let it out."""
    if sys.platform == "win32":
        pytest.skip("there is no pthread_kill")

    def send_late(ident: int) -> None:
        time.sleep(0.05)
        signal.pthread_kill(ident, signal.SIGINT)

    monkeypatch.setattr(thread_control, "_send_to_main", send_late)
    monkeypatch.setattr(thread_control, "ON_ITS_WAY_S", PATIENCE_S)  # the machine may be busy
    run = fake_run(max_duration_s=0.01, on_overdue="interrupt")
    watchdog.watch(run, lambda alert: None)
    wait_until(lambda: run.overdue)
    watchdog.unwatch(run)
    let_time_pass(0.1, "the signal comes to no other code")
    assert watchdog._watcher.of(run) is None


def test_a_run_without_limits_is_not_watched() -> None:
    """Without either setting there is neither a watch nor a thread."""
    run: Any = FakeRun()
    watchdog.watch(run, lambda alert: None)
    assert watchdog._watcher.of(run) is None
    watchdog.unwatch(run)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_watches_over_nothing() -> None:
    """The child of a fork has neither the thread nor the runs of its parent, and can watch over its own."""
    if sys.platform == "win32":
        pytest.skip("there is no fork")
    run: Any = FakeRun(max_duration_s=3600)
    watchdog.watch(run, lambda alert: None)
    pid = os.fork()
    if not pid:
        own: Any = FakeRun(max_duration_s=3600)
        is_free = watchdog._watcher.of(run) is None and threading.active_count() == 1
        watchdog.watch(own, lambda alert: None)
        watchdog.unwatch(own)
        os._exit(0 if is_free else 1)
    _, status = os.waitpid(pid, 0)
    watchdog.unwatch(run)
    assert status == 0
