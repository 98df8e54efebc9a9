"""Workers: what fails is tried again, one thread serves a handler, and it ends when nothing is left to do."""

from __future__ import annotations

import functools
import os
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from faulty_handlers import Raises, worker_threads
from hypothesis import given
from hypothesis import strategies as st
from recorders import Recorder
from scripts import NO_WARNING_OF_FORKS
from scripts import run as run_script
from waiting import wait_until

from supervisor import DeliveryError, MessageDetails, Supervisor, current_run, supervise
from supervisor._delivery.pool import LONGEST_RETRY_S, is_given_up, retry_delay_s
from supervisor._store import DestinationRest
from supervisor.models import Delivery

if TYPE_CHECKING:
    from pathlib import Path

quiet = functools.partial(supervise, journal=False)


# Trying again


def test_a_temporary_failure_is_tried_again(log: pytest.LogCaptureFixture) -> None:
    """A message that was not taken is tried again until it is, with the same id, and the run waits for it."""
    raises = Raises(DeliveryError("busy", retry_after_s=0.0), OSError("down"))
    with quiet("night", handlers=[raises]) as run:
        run.notify("one")
    assert raises.subjects == ["one"]
    assert len(raises.tried_s) == 3
    assert raises.tried_s[2] - raises.tried_s[1] >= 0.9
    assert "busy" in log.text


def test_what_the_destination_asks_for_is_waited(log: pytest.LogCaptureFixture) -> None:
    """``retry_after_s`` is honoured: never sooner, whatever delivery would have chosen."""
    raises = Raises(DeliveryError("busy", retry_after_s=1.5))
    with quiet("night", handlers=[raises]) as run:
        run.notify("one")
    assert raises.tried_s[1] - raises.tried_s[0] >= 1.5
    assert raises.subjects == ["one"]


def test_a_run_does_not_wait_for_what_cannot_be_within_its_deadline() -> None:
    """A run that knows that the next attempt lies behind its deadline ends at once."""
    raises = Raises(DeliveryError("busy", retry_after_s=3600.0))
    before_s = time.monotonic()
    with quiet("night", handlers=[raises], delivery_deadline_s=50.0) as run:
        run.notify("one")
    assert time.monotonic() - before_s < 25


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DeliveryError("no such channel", permanent=True), "no such channel"),
        (ImportError("DLL load failed while importing _rust"), "ImportError: DLL load failed while importing _rust"),
    ],
    ids=["refused", "no library"],
)
def test_a_permanent_failure_is_not_repeated(error: Exception, text: str, log: pytest.LogCaptureFixture) -> None:
    """What was refused for good is not tried again; it is logged as an error, and the run does not wait for it."""
    raises = Raises(error, name="slack")
    with quiet("night", handlers=[raises]) as run:
        run.notify("one")
        run.notify("two")
    assert raises.subjects == ["two"]
    assert len(raises.tried_s) == 2
    assert f"slack refused 'one': {text}" in log.text
    assert "not delivered yet" not in log.text


def test_one_message_that_fails_does_not_hold_up_the_next() -> None:
    """While one message waits for its next attempt, the messages after it go out."""

    class Picky(Recorder):
        def send_message(self, details: Any, /) -> None:
            if details.subject == "bad" and "good 2" not in self.subjects:
                raise DeliveryError("not this one", retry_after_s=0.2, scope="message")
            super().send_message(details)

    picky = Picky()
    with quiet("night", handlers=[picky]) as run:
        for subject in ("bad", "good 1", "good 2"):
            run.notify(subject)
    assert picky.subjects == ["good 1", "good 2", "bad"]


@given(attempts=st.integers(1, 10_000), asked=st.none() | st.floats(0, 1e6), chance=st.floats(0, 1))
def test_waiting_grows_to_a_limit_and_is_never_too_short(attempts: int, asked: float | None, chance: float) -> None:
    """The wait doubles up to five minutes, differs by chance, and is at least what the destination asked for."""
    delay_s = retry_delay_s(attempts, asked, lambda: chance)
    longest = min(LONGEST_RETRY_S, 2.0 ** min(attempts - 1, 20))
    assert delay_s >= max(asked or 0.0, longest / 2)
    assert delay_s <= max(asked or 0.0, longest)


def test_the_random_numbers_of_a_script_stay_its_own() -> None:
    """A script that has seeded ``random`` gets the same numbers, however often a message is tried again."""
    before = random.getstate()
    delays_s = {retry_delay_s(10) for _ in range(100)}
    assert random.getstate() == before
    assert len(delays_s) > 90
    assert all(LONGEST_RETRY_S / 2 <= each <= LONGEST_RETRY_S for each in delays_s)


def test_an_old_message_is_not_given_up_for_its_age() -> None:
    """A machine that was off, or whose clock was wrong, does not throw a message away at the next refusal."""
    raises = Raises(OSError("down"))
    details = attrs.evolve(MessageDetails("old"), created_at=datetime.now(UTC) - timedelta(days=30))
    with quiet("night", handlers=[raises]) as run:
        run.notify(details)
    assert raises.subjects == ["old"]


@pytest.mark.parametrize(
    ("attempts", "failing_for", "is_over"),
    [(18, 30, False), (19, 6, False), (19, 7, True), (500, 0, False)],
)
def test_a_message_is_given_up_after_a_week_of_attempts(attempts: int, failing_for: int, is_over: bool) -> None:
    """Twenty attempts, the last a week or more after the first: those of the message, or of its destination."""
    now = datetime.now(UTC)
    since = now - timedelta(days=failing_for)
    message = MessageDetails("weekly", created_at=now - timedelta(days=60))
    failing_s = failing_for * 86_400.0
    own = Delivery(message=message, handler="mail", key=1, attempts=attempts, failing_s=failing_s)
    assert is_given_up(own, None, now) == is_over
    rest = DestinationRest(
        handler="mail", since=since, failures=attempts, next_in_s=0, last_error="down", waiting=1, failing_s=failing_s
    )
    untried = Delivery(message=message, handler="mail", key=2)
    assert is_given_up(untried, rest, now) == is_over
    young = Delivery(message=MessageDetails("new"), handler="mail", key=3)
    assert not is_given_up(young, rest, now)


def test_a_message_that_comes_late_says_so(recorder: Recorder) -> None:
    """A message that is delivered long after it was written says when that was."""
    details = MessageDetails("old", "text", html="<p>text</p>", created_at=datetime.now(UTC) - timedelta(hours=5))
    with quiet("night", handlers=[recorder]) as run:
        run.notify(details)
    assert recorder.only.message.startswith("Delayed 5 h")
    assert recorder.only.message.endswith("\n\ntext")
    assert recorder.only.html is not None
    assert "Delayed 5 h" in recorder.only.html


# Threads


@pytest.mark.parametrize("journal", [True, False])
def test_one_worker_serves_a_handler_at_a_time(journal: bool) -> None:
    """A handler needs no locks: messages of several threads, runs and supervisors reach it one at a time."""
    inside, most = 0, 0

    class Counts(Recorder):
        def send_message(self, details: Any, /) -> None:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            time.sleep(0.002)
            super().send_message(details)
            inside -= 1

    counts = Counts()
    sup = Supervisor(handlers=[counts], journal=journal)

    def speak(run: Any, n: int) -> None:
        for i in range(10):
            run.notify(f"{n} {i}")

    with sup.supervise("outer") as outer, sup.supervise("inner") as inner:
        speakers = [(outer, 0), (outer, 1), (inner, 2), (sup, 3)]
        threads = [threading.Thread(target=speak, args=speaker) for speaker in speakers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    wait_until(lambda: len(counts.messages) == 40)
    assert most == 1


def test_workers_come_with_the_first_message_and_go_when_all_is_done() -> None:
    """One thread a handler starts at the first message, and is gone some time after the run."""
    with quiet("night", handlers=[Recorder("served"), Recorder("idle", kinds={"died"})]) as run:
        assert worker_threads("served") == []
        run.notify("one")
        assert worker_threads("served") == ["supervisor served"]
        run.notify("two")
        assert worker_threads("served") == ["supervisor served"]
        assert worker_threads("idle") == []
    wait_until(lambda: not worker_threads("served"))


def test_a_handler_is_closed_when_all_is_done(recorder: Recorder) -> None:
    """A handler's ``close()`` is called when nothing is left to do, and the handler can be used again after it."""
    for subject in ("one", "two"):
        with quiet("night", handlers=[recorder]) as run:
            run.notify(subject)
        wait_until(lambda: recorder.closed == len(recorder.messages))
    assert recorder.subjects == ["one", "two"]


def test_a_close_that_raises_does_no_harm() -> None:
    """Whatever ``close()`` raises, or if it is no method at all, the run has ended well."""

    class Rude(Recorder):
        def close(self) -> None:
            super().close()
            raise OSError("already gone")

    rude = Rude()
    with quiet("night", handlers=[rude]) as run:
        run.notify("one")
    wait_until(lambda: rude.closed)
    odd = Recorder()
    odd.close = None  # type: ignore[assignment, method-assign]  # on purpose
    with quiet("night", handlers=[odd]) as run:
        run.notify("one")
    assert odd.subjects == ["one"]


def test_a_handler_is_not_in_the_run(recorder: Recorder) -> None:
    """A handler works outside of the run: neither its context nor its threads belong to the run."""
    seen: list[Any] = []

    class Looks(Recorder):
        def send_message(self, details: Any, /) -> None:
            thread = threading.Thread(target=lambda: seen.append(current_run()))
            thread.start()
            thread.join()
            seen.append(current_run())

    with quiet("night", handlers=[Looks()]) as run:
        run.notify("one")
    assert seen == [None, None]


def test_a_process_that_ends_waits_for_a_bounded_time(tmp_path: Path) -> None:
    """A process whose run gave up waiting ends without waiting again: the handler that hangs does not keep it."""
    body = """
        import threading
        class Hangs:
            def send_message(self, details): threading.Event().wait(60)
        with supervise("night", handlers=[Hangs()], delivery_deadline_s=0.1) as run:
            run.notify("one")
    """
    before_s = time.monotonic()
    ended = run_script(tmp_path, body)
    assert ended.code == 0
    assert time.monotonic() - before_s < 25


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_delivers_its_own_and_not_its_parents(tmp_path: Path) -> None:
    """After a fork the parent's messages stay the parent's, also those on their way, and the child can send its own."""
    body = """
        import os, time
        class Slow:
            name = "slow"
            def send_message(self, details):
                time.sleep(0.2)
                recorder.send_message(details)
        slow = Slow()
        with supervise("parent", handlers=[slow]) as outer:
            outer.notify("parent 1")
            outer.notify("parent 2")
            pid = os.fork()
            if pid == 0:
                with supervise("child", handlers=[slow]) as inner:
                    inner.notify("child 1")
                os._exit(0)
            os.waitpid(pid, 0)
    """
    ended = run_script(tmp_path, body, extra_env=NO_WARNING_OF_FORKS)
    assert (ended.code, ended.stderr) == (0, "")
    assert sorted(each["subject"] for each in ended.messages) == ["child 1", "parent 1", "parent 2"]
    pids = {each["subject"].split()[0]: each["pid"] for each in ended.messages}
    assert pids["child"] != pids["parent"]
