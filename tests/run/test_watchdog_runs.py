"""Runs that stall or take too long: told with their stacks, and interrupted where that is asked for."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from scripts import Script, run
from waiting import PATIENCE_S, let_time_pass, wait_until

from supervisor import current_run, supervise, supervised
from supervisor._run import thread_control
from supervisor._store import open_journal
from supervisor.errors import OverdueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from recorders import Recorder

quiet = functools.partial(supervise, journal=False)
hasty = functools.partial(quiet, max_duration_s=0.2, on_overdue="interrupt")


def text_of(recorder: Recorder, number: int = 0) -> str:
    """Return a message as one line."""
    return " ".join(recorder.messages[number].message.split())


def hang() -> None:
    """Be at work for too long, in Python code."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        pass


def sleep() -> None:
    """Wait for too long, in one call."""
    time.sleep(PATIENCE_S)


# What is told


def test_a_run_that_stalls_is_told_with_its_stacks(recorder: Recorder) -> None:
    """A run without a sign of life is told as stalled, once, with what its threads do; it goes on, and ends well."""
    with quiet("night", handlers=[recorder], stall_after_s=0.05) as run:
        wait_until(lambda: recorder.messages)
        let_time_pass(0.2, "it is told no second time")
    assert run.outcome == "success"
    assert recorder.received == ["stalled", "recovery"]
    assert recorder.subjects[0].startswith("night stalled on ")
    assert "in test_a_run_that_stalls_is_told_with_its_stacks" in text_of(recorder)
    assert "It goes on" in text_of(recorder)


def test_a_run_that_takes_too_long_is_told_once(recorder: Recorder) -> None:
    """A run that makes progress but takes too long is told as overdue, once."""
    with quiet("night", handlers=[recorder], max_duration_s=0.05) as run:
        for number in run.track(range(60)):
            let_time_pass(0.005, "an item takes time")
            run.record(number=number)
        wait_until(lambda: recorder.messages)
    assert recorder.received == ["overdue", "recovery"]
    assert recorder.subjects[0].startswith("night is overdue on ")
    assert run.outcome == "success"


@pytest.mark.parametrize("sign", ["progress", "track", "record", "notify", "nested", "nested progress", "thread"])
def test_signs_of_life(sign: str) -> None:
    """Progress, values and messages are signs of life, and so is all that nested runs do, in threads too."""

    def nested() -> None:
        with quiet("inner") as inner:
            if "progress" in sign:
                inner.progress(1)

    with quiet("night") as run:
        run._state.due_s = 0.0
        before = run._state.last_alive_s(time.monotonic())
        thread = threading.Thread(target=lambda: run.record(rows=1))
        {
            "progress": lambda: run.progress(1),
            "track": lambda: list(run.track([1])),
            "record": lambda: run.record(rows=1),
            "notify": lambda: run.notify("hello"),
            "nested": nested,
            "nested progress": nested,
            "thread": thread.run,
        }[sign]()
        assert run._state.last_alive_s(time.monotonic()) > before


def test_progress_is_a_sign_of_life_to_the_second() -> None:
    """Progress that is only counted until the next look counts as a sign of life, at most a second late."""
    with quiet("night") as run:
        run.progress(1)
        let_time_pass(0.01, "progress that comes later")
        run.progress(2)
        now = time.monotonic()
        assert run._state.last_alive_s(now) >= now - 0.005
        assert run._state.last_alive_s(now + 60) <= now + 1.0


def test_a_run_that_goes_on_is_told_when_it_stalls_again(recorder: Recorder, log: pytest.LogCaptureFixture) -> None:
    """After a sign of life a later stall is told again, with the journal too."""
    with supervise("night", handlers=[recorder], stall_after_s=0.05) as run:
        wait_until(lambda: len(recorder.messages) == 1)
        run.record(rows=1)
        wait_until(lambda: "goes on after" in log.text)
        wait_until(lambda: len(recorder.messages) == 3)
    assert recorder.received == ["stalled", "recovery", "stalled", "recovery"]
    assert recorder.subjects[1].startswith("night makes progress again on ")


def test_what_a_check_has_told_is_not_told_again(
    recorder: Recorder, state: Path, log: pytest.LogCaptureFixture
) -> None:
    """A finding of this run that ``supervisor check`` was faster to tell stays told once."""
    journal = open_journal(state)
    with supervise("night", handlers=[recorder], max_duration_s=0.5) as run:
        assert journal.open_alert("overdue", run.id)  # type: ignore[arg-type]  # a StrEnum's text
        wait_until(lambda: "took longer than 500 ms" in log.text)
    journal.close()
    assert recorder.received == []


def test_the_journal_knows_what_was_told(recorder: Recorder, state: Path) -> None:
    """What a run tells of itself is noted, so that no check tells it again."""
    journal = open_journal(state)
    with supervise("night", handlers=[recorder], max_duration_s=0.05) as run:
        wait_until(lambda: recorder.messages)
        assert not journal.open_alert("overdue", run.id)  # type: ignore[arg-type]  # as above
    journal.close()


def test_only_a_run_with_limits_has_the_thread(tmp_path: Path) -> None:
    """Without limits there is neither the thread nor its module; with them it is gone some time after the run."""
    body = """
    import threading
    def others():
        return [each.name for each in threading.enumerate()][1:]
    with supervise("night", journal=False):
        print(others(), "supervisor._run.watchdog" in sys.modules)
    with supervise("night", journal=False, max_duration_s=60):
        print(others())
    """
    assert run(tmp_path, body).stdout == "[] False\n['supervisor limits']\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_tells_nothing(tmp_path: Path) -> None:
    """The run is its parent's: in a child that outlives its parent's limit nothing is told."""
    body = """
    import os, time
    with supervise("night", journal=False, handlers=[recorder], max_duration_s=0.2):
        pid = os.fork()
        if not pid:
            time.sleep(0.7)
            os._exit(0)
    os.waitpid(pid, 0)
    print(pid)
    """
    ended = run(tmp_path, body)
    assert [each for each in ended.messages if each["pid"] == int(ended.stdout)] == []


# What is interrupted


@pytest.mark.parametrize("work", [hang, sleep])
def test_the_main_thread_is_interrupted(work: Callable[[], None], recorder: Recorder) -> None:
    """A run in the main thread ends with OverdueError, whether it computes or waits, and is told as a failure."""
    began = time.monotonic()
    with (
        pytest.raises(OverdueError, match=r"night took longer than 200 ms \(max_duration_s\)"),
        hasty("night", handlers=[recorder]) as run,
    ):
        work()
    assert time.monotonic() - began < PATIENCE_S / 2
    assert run.outcome == "failure"
    assert recorder.received == ["overdue", "failure"]
    assert "It is interrupted now" in text_of(recorder)
    report = recorder.messages[1].report
    assert report is not None
    assert report.error is not None
    assert report.error.type == "OverdueError"
    assert report.error.where.startswith("test_watchdog_runs.py:")


def test_a_stalled_run_is_interrupted_too(recorder: Recorder) -> None:
    """``on_overdue`` is for stalls as well."""
    with (
        pytest.raises(OverdueError, match=r"made no progress for 50 ms \(stall_after_s\) and was interrupted"),
        quiet("night", stall_after_s=0.05, on_overdue="interrupt", handlers=[recorder]),
    ):
        sleep()
    assert recorder.received == ["stalled", "failure"]


def test_except_exception_does_not_swallow_the_interrupt() -> None:
    """Inside the script it is a KeyboardInterrupt: ``finally`` cleans up, ``except Exception`` does not see it."""
    seen: list[str] = []
    with pytest.raises(OverdueError), hasty("night"):
        try:
            sleep()
        except Exception:
            seen.append("swallowed")
        finally:
            seen.append("cleaned up")
    assert seen == ["cleaned up"]


def test_outside_of_the_run_it_is_a_timeout_like_any_other() -> None:
    """Who calls the function may catch it as TimeoutError, and ``reraise=False`` swallows it."""
    work = supervised("night", journal=False, max_duration_s=0.05, on_overdue="interrupt")(sleep)
    with pytest.raises(TimeoutError):
        work()
    with hasty("night", reraise=False) as run:
        sleep()
    assert run.outcome == "failure"


def test_what_the_script_makes_of_it_wins() -> None:
    """A script that catches the interrupt and returns has succeeded; one that raises something else raises that."""
    with hasty("night") as run, suppress(KeyboardInterrupt):
        sleep()
    assert run.outcome == "success"
    with pytest.raises(ValueError, match="half done"), hasty("night"):
        try:
            sleep()
        except KeyboardInterrupt:
            raise ValueError("half done") from None


def test_a_nested_run_is_told_as_interrupted_for_the_outer_ones_limit(recorder: Recorder) -> None:
    """A run within one that is overdue fails with it, not by a person, and a handler of both hears it once."""
    with (
        pytest.raises(OverdueError, match="outer took longer"),
        hasty("outer", handlers=[recorder]) as outer,
        quiet("inner", handlers=[recorder]) as inner,
    ):
        sleep()
    assert (inner.outcome, outer.outcome) == ("failure", "failure")
    assert recorder.received == ["overdue", "failure"]
    assert recorder.messages[1].subject.startswith("inner failed on ")


def test_ctrl_c_stays_an_interrupt(tmp_path: Path) -> None:
    """A person's Ctrl+C in a run with limits is told as that, and the exit code is 130."""
    if sys.platform == "win32":
        pytest.skip("there is no SIGINT to send")
    body = """
    import time
    with supervise("night", handlers=[recorder], max_duration_s=60, on_overdue="interrupt"):
        ready()
        time.sleep(60)
    """
    script = Script(tmp_path, body)
    script.send_when_ready(signal.SIGINT)
    ended = script.end()
    assert ended.shell_code == 130
    assert ended.messages[-1]["outcome"] == "interrupted"


not_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="Windows interrupts no such wait")


@pytest.mark.parametrize(
    ("waiting", "before"),
    [
        pytest.param("time.sleep(60)", "", id="a clock"),
        pytest.param("socket.create_server(('127.0.0.1', 0)).accept()", "", id="a socket", marks=not_on_windows),
        pytest.param("threading.Event().wait()", "", id="a lock", marks=not_on_windows),
        pytest.param("time.sleep(0.01)", "signal.signal(signal.SIGINT, signal.SIG_IGN)", id="SIGINT is ignored"),
        pytest.param(
            "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])", "",
            id="a child", marks=not_on_windows,
        ),
    ],
)  # fmt: skip
def test_a_script_is_interrupted_whatever_it_waits_for(waiting: str, before: str, tmp_path: Path) -> None:
    """As a scheduler runs it, a script that hangs ends with exit code 1 and the place where it hung."""
    body = f"""
    import signal, socket, subprocess, threading, time
    {before}
    @supervised("night", handlers=[recorder], max_duration_s=0.3, on_overdue="interrupt")
    def main():
        while True:
            {waiting}

    main()
    """
    ended = run(tmp_path, body)
    assert ended.code == 1, ended.stderr
    assert ended.kinds == ["overdue", "failure"]
    assert ended.messages[1]["error"] == "OverdueError"
    assert " in main" in ended.messages[1]["where"]
    assert ended.stderr.rstrip().endswith(
        "OverdueError: night took longer than 300 ms (max_duration_s) and was interrupted"
    )


def test_a_handler_of_the_scripts_own_decides(tmp_path: Path) -> None:
    """A script with a SIGINT handler of its own gets that called, once, and ends as it likes."""
    body = """
    import signal, time
    calls = []
    signal.signal(signal.SIGINT, lambda *args: calls.append(1))
    with supervise("night", handlers=[recorder], max_duration_s=0.1, on_overdue="interrupt") as run:
        until = time.monotonic() + 30
        while not calls and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(1.5)
    print(calls, run.outcome)
    """
    assert run(tmp_path, body).stdout == "[1] success\n"


def test_a_run_in_another_thread_is_interrupted_alone() -> None:
    """A run in a thread is reached when it runs Python code, and other threads are left alone."""
    caught: list[BaseException] = []

    def work() -> None:
        try:
            with hasty("night"):
                hang()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE_S)
    assert [type(each) for each in caught] == [OverdueError]


def test_an_interrupt_that_comes_too_late_stays_in_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends between the decision and the signal ends as it does, and no code behind it is hit."""
    if sys.platform == "win32":
        pytest.skip("there is no pthread_kill")

    def send_late(ident: int) -> None:
        time.sleep(0.05)
        signal.pthread_kill(ident, signal.SIGINT)

    monkeypatch.setattr(thread_control, "_send_to_main", send_late)
    monkeypatch.setattr(thread_control, "ON_ITS_WAY_S", PATIENCE_S)  # the machine may be busy
    for _ in range(3):
        with hasty("night") as run:
            wait_until(functools.partial(getattr, run._state, "overdue"))
        assert run.outcome == "success"
    let_time_pass(0.1, "the signal comes to no other code")


# asyncio


def test_a_task_is_cancelled_and_nothing_else() -> None:
    """A coroutine that awaits too long ends with OverdueError; its loop and other tasks go on."""

    @supervised("night", journal=False, max_duration_s=0.05, on_overdue="interrupt")
    async def late() -> None:
        await asyncio.sleep(PATIENCE_S)

    async def main() -> list[object]:
        found: list[object] = [*await asyncio.gather(late(), asyncio.sleep(0.2, "other"), return_exceptions=True)]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        return found

    late_one, other = asyncio.run(main())
    assert isinstance(late_one, OverdueError)
    assert other == "other"


def test_the_task_that_goes_on_is_not_cancelled_any_more() -> None:
    """Who catches the error in the same task can await as before: the cancellation is taken back."""

    async def main() -> int:
        try:
            async with hasty("night"):
                await asyncio.sleep(PATIENCE_S)
        except TimeoutError:
            task = asyncio.current_task()
            assert task is not None
            await asyncio.sleep(0.01)
            return task.cancelling()
        return -1

    assert asyncio.run(main()) == 0


def test_a_cancellation_by_others_stays_one(recorder: Recorder) -> None:
    """A task that somebody else cancelled is cancelled, limits or not."""

    async def main() -> None:
        async def work() -> None:
            async with quiet("night", max_duration_s=60, on_overdue="interrupt", handlers=[recorder]):
                await asyncio.sleep(PATIENCE_S)

        task = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert recorder.only.report is not None
    assert recorder.only.report.outcome == "cancelled"


def test_the_stacks_show_where_tasks_await(recorder: Recorder) -> None:
    """Of a run in an event loop the tasks are told too, since its thread only waits for them."""

    async def fetch() -> None:
        while not recorder.messages:  # noqa: ASYNC110 - another thread tells the handler
            await asyncio.sleep(0.3)

    async def main() -> None:
        async with quiet("night", max_duration_s=0.05, handlers=[recorder]):
            await asyncio.create_task(fetch(), name="fetching")

    asyncio.run(main())
    text = text_of(recorder)
    assert "Task fetching" in text
    assert "await asyncio.sleep(0.3)" in text


# Generators


def test_a_generator_that_waits_is_not_interrupted() -> None:
    """While a generator waits for its consumer it is not at work: the interrupt waits until it is."""

    @supervised("night", journal=False, max_duration_s=0.05, on_overdue="interrupt")
    def rows() -> Iterator[int]:
        yield 1
        hang()

    generator = rows()
    assert next(generator) == 1
    assert current_run() is None
    let_time_pass(0.3, "it is not interrupted while it waits")
    with pytest.raises(OverdueError):
        next(generator)
