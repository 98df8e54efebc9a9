"""``supervise``, ``Supervisor`` and ``current_run``: blocks, reuse, and what belongs to a run."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import threading
import time
from typing import Any

import pytest
from recorders import Recorder
from waiting import PATIENCE_S, wait_until

import supervisor
from supervisor import (
    DeliveryError,
    MessageDetails,
    Run,
    RunStateError,
    Supervisor,
    current_run,
    supervise,
    supervised,
)
from supervisor._runtime import default_runtime
from supervisor.models import Outcome

quiet = functools.partial(supervise, journal=False)


def test_a_block_is_a_run() -> None:
    """The block of a ``with`` is a run: current inside, over behind it."""
    with quiet("block") as run:
        assert isinstance(run, Run)
        assert current_run() is run
        assert run.outcome is None
        assert not run.has_ended
    assert current_run() is None
    assert run.outcome is Outcome.SUCCESS
    assert run.has_ended


def test_an_async_block_is_a_run() -> None:
    """The block of an ``async with`` is a run."""

    async def work() -> Run:
        async with quiet("block") as run:
            await asyncio.sleep(0)
            assert current_run() is run
        assert current_run() is None
        return run

    assert asyncio.run(work()).outcome is Outcome.SUCCESS


def test_a_block_without_a_name_is_called_what_its_script_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name a block has the script's."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/scripts/parcels.py", raising=False)
    with quiet() as run:
        assert run.name == "parcels"


def test_the_exception_of_a_block_leaves_it() -> None:
    """An exception leaves its block, the same object, without anything added to its chain."""
    error = KeyError("apn")
    with pytest.raises(KeyError) as caught, quiet("block") as run:
        raise error
    assert caught.value is error
    assert error.__context__ is None
    assert error.__cause__ is None
    assert run.outcome is Outcome.FAILURE


def test_reraise_false_goes_on_behind_the_block() -> None:
    """With ``reraise=False`` the script goes on behind the block, and the failure was reported."""
    recorder = Recorder()
    with quiet("block", handlers=[recorder], reraise=False) as run:
        raise KeyError("apn")
    assert run.outcome is Outcome.FAILURE
    assert recorder.received == ["failure"]


def test_reraise_false_in_an_async_block() -> None:
    """With ``reraise=False`` a coroutine goes on behind the block, but never swallows its cancellation."""

    async def work(error: BaseException) -> str:
        async with quiet("block", reraise=False):
            raise error
        return "went on"

    assert asyncio.run(work(KeyError("apn"))) == "went on"
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(work(asyncio.CancelledError()))
    with pytest.raises(SystemExit):
        asyncio.run(work(SystemExit(3)))


@pytest.mark.parametrize("again", ["inside", "behind"])
def test_a_run_is_entered_once(again: str) -> None:
    """Entering a run a second time is a mistake of the caller, reported with its remedy; the first is not affected."""
    with quiet("block") as run:
        if again == "inside":
            with pytest.raises(RunStateError, match="'block' has been entered already: call supervise"), run:
                pass
            assert current_run() is run
    if again == "behind":
        with pytest.raises(RunStateError, match="entered already"), run:
            pass
    assert current_run() is None


def test_runs_in_runs() -> None:
    """A block in a block is a run of its own, which knows the one around it."""
    with quiet("outer") as outer:
        with quiet("inner") as inner:
            assert current_run() is inner
            assert inner.parent is outer
            assert inner.report().parent_id == outer.id
        assert current_run() is outer
    assert outer.parent is None


def test_ids_sort_by_time_and_are_unique() -> None:
    """A run's id never repeats, and stays the same."""
    runs = [quiet("one") for _ in range(100)]
    assert len({run.id for run in runs}) == 100
    assert runs[0].id == runs[0].id


# Supervisor


def test_a_supervisor_is_reusable() -> None:
    """The same settings serve many runs, each with its own state."""
    recorder = Recorder()
    sup = Supervisor("parcels", handlers=[recorder], report_on=["success"], journal=False)
    with sup.supervise() as one:
        one.record(rows=1)
    with sup.supervise("other") as two:
        pass
    with sup.supervise(report_on=["start"]):
        pass
    assert one.id != two.id
    assert two.values == {}
    assert recorder.received == ["success", "success", "start"]
    assert [each.report and each.report.name for each in recorder.messages] == ["parcels", "other", "parcels"]


def test_a_supervisor_decorates_bare_and_with_changes() -> None:
    """``.supervised`` stands bare, with a name, and with changes to the settings."""
    recorder = Recorder()
    sup = Supervisor(handlers=[recorder], report_on=["success"], journal=False)

    @sup.supervised
    def bare(run: Run) -> str:
        return run.name

    @sup.supervised("named")
    def named(run: Run) -> str:
        return run.name

    @sup.supervised(report_on=["start"])
    def changed(run: Run) -> str:
        return run.name

    assert [bare(), named(), changed()] == ["bare", "named", "changed"]
    assert recorder.received == ["success", "success", "start"]


def test_a_supervisors_name_is_its_functions_name() -> None:
    """A supervisor with a name gives it to the functions that it decorates."""

    @Supervisor("parcels", journal=False).supervised
    def work(run: Run) -> str:
        return run.name

    assert work() == "parcels"


def test_a_handler_added_later_hears_later_calls() -> None:
    """A handler that is added counts for all runs that start from then on, also of functions decorated before."""
    first, second = Recorder("first"), Recorder("second")
    sup = Supervisor(handlers=[first], report_on=["success"], journal=False)

    @sup.supervised
    def work() -> None: ...

    work()
    sup.add_message_handler(second)
    work()
    with sup.supervise("block"):
        pass
    assert len(first.messages) == 3
    assert len(second.messages) == 2
    with pytest.raises(supervisor.ConfigurationError, match="send_message"):
        sup.add_message_handler(object())  # type: ignore[arg-type]  # on purpose


def test_a_supervisor_notifies_outside_of_runs() -> None:
    """``Supervisor.notify`` sends to all its handlers, also to those that were added."""
    first, second = Recorder("first"), Recorder("second")
    sup = Supervisor("parcels", handlers=[first], journal=False)
    sup.notify("one", "text")
    sup.add_message_handler(second)
    sup.notify(MessageDetails("two", "text"))
    wait_until(lambda: len(first.messages) == 2 and second.messages)
    assert first.subjects == ["one", "two"]
    assert second.subjects == ["two"]
    report = first.messages[0].report
    assert report is not None
    assert report.name == "parcels"
    assert report.outcome is None


def test_old_scripts_use_it_as_they_did() -> None:
    """The three lines of a script for 3.x still do what they did."""
    recorder = Recorder()
    sup = Supervisor(handle_errors=False, journal=False)
    sup.add_message_handler(recorder)
    details = MessageDetails("subject", "message")
    sup.notify(details)
    wait_until(lambda: recorder.messages)
    assert recorder.only.id == details.id


# current_run


def collect(results: list[Any]) -> None:
    """Note the run that is current here."""
    results.append(current_run())


class OwnThread(threading.Thread):
    """A thread with a ``run`` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Any = "nothing"

    def run(self) -> None:
        """Note the run."""
        self.found = current_run()


def test_threads_started_inside_belong_to_the_run() -> None:
    """A plain thread, one with a ``run`` of its own and a timer find the run in which they were started."""
    results: list[Any] = []
    with quiet("block") as run:
        own = OwnThread()
        threads = [threading.Thread(target=collect, args=(results,)), threading.Timer(0, collect, (results,)), own]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [run, run]
    assert own.found is run


def test_threads_of_threads_belong_to_the_run() -> None:
    """A thread that a thread of the run starts belongs to the run too."""
    results: list[Any] = []

    def start_another() -> None:
        thread = threading.Thread(target=collect, args=(results,))
        thread.start()
        thread.join()

    with quiet("block") as run:
        thread = threading.Thread(target=start_another)
        thread.start()
        thread.join()
    assert results == [run]


def test_a_pool_made_inside_belongs_to_the_run() -> None:
    """The threads of a pool that is used inside a run belong to it."""
    from concurrent.futures import ThreadPoolExecutor

    with quiet("block") as run, ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: current_run(), range(4))) == [run] * 4


def test_what_starts_outside_stays_outside() -> None:
    """Threads that were started outside of runs, before or beside one, belong to none."""
    results: list[Any] = []
    go_on = threading.Event()

    def wait_and_collect() -> None:
        go_on.wait(PATIENCE_S)
        collect(results)

    before = threading.Thread(target=wait_and_collect)
    before.start()
    with quiet("block"):
        go_on.set()
        before.join()
    behind = threading.Thread(target=collect, args=(results,))
    behind.start()
    behind.join()
    assert results == [None, None]


def test_a_thread_that_outlives_its_run_is_in_none() -> None:
    """What has ended is not current: a thread still at work then finds the run around it, or none."""
    results: list[Any] = []
    go_on = threading.Event()

    def wait_and_collect() -> None:
        go_on.wait(PATIENCE_S)
        collect(results)

    with quiet("outer") as outer:
        with quiet("inner"):
            thread = threading.Thread(target=wait_and_collect)
            thread.start()
        go_on.set()
        thread.join()
    assert results == [outer]


def test_concurrent_runs_keep_their_threads_apart() -> None:
    """Two runs in two threads at once each have the threads that were started in them."""
    together = threading.Barrier(2)
    found: dict[str, Any] = {}

    def work(name: str) -> None:
        with quiet(name) as run:
            together.wait(PATIENCE_S)
            thread = threading.Thread(target=lambda: found.setdefault(name, (current_run(), run)))
            thread.start()
            thread.join()
            together.wait(PATIENCE_S)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(current is run for current, run in found.values())
    assert {run.name for run, _ in found.values()} == {"one", "two"}


def test_a_thread_object_keeps_its_own_methods() -> None:
    """After a thread has run, nothing of ours is left on it: neither the run nor a changed ``run``."""
    with quiet("block"):
        own = OwnThread()
        own.start()
        own.join()
    assert "run" not in vars(own)


def test_tasks_made_inside_belong_to_the_run() -> None:
    """Tasks, ``asyncio.to_thread`` and callbacks made inside a run find it; tasks made before do not."""

    async def find() -> Any:
        await asyncio.sleep(0)
        return current_run()

    async def work() -> tuple[Run, list[Any]]:
        go_on = asyncio.Event()

        async def wait_and_find() -> Any:
            await go_on.wait()
            return current_run()

        before = asyncio.create_task(wait_and_find())
        await asyncio.sleep(0)
        async with quiet("block") as run:
            inside = [
                await asyncio.create_task(find()),
                await asyncio.to_thread(current_run),
                *await asyncio.gather(find()),
            ]
            go_on.set()
            assert await before is None
        return run, inside

    run, inside = asyncio.run(work())
    assert inside == [run, run, run]


def test_two_tasks_with_blocks_keep_apart() -> None:
    """Blocks in two tasks of one loop, interleaved, each see their own run."""

    async def work(name: str) -> bool:
        async with quiet(name) as run:
            for _ in range(5):
                await asyncio.sleep(0)
                if current_run() is not run:
                    return False
        return current_run() is None

    async def both() -> list[bool]:
        return list(await asyncio.gather(work("one"), work("two")))

    assert asyncio.run(both()) == [True, True]


def test_signatures_name_the_settings() -> None:
    """``help()`` and editors see the settings by name."""
    for entrance in (supervise, supervised):
        parameters = list(inspect.signature(entrance).parameters)
        assert parameters[:2] == ["name", "title"]
        assert "reraise" in parameters


class Slow(Recorder):
    """Accepts a message only when it is let."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.go_on = threading.Event()

    def send_message(self, details: MessageDetails, /) -> None:
        """Wait, then keep the message."""
        self.go_on.wait(60)
        super().send_message(details)


class Refuses(Recorder):
    """Refuses every message for good."""

    def send_message(self, details: MessageDetails, /) -> None:
        """Refuse it."""
        raise DeliveryError("no such mailbox", permanent=True)


def test_outside_of_a_run_notify_returns_when_the_message_is_delivered() -> None:
    """A cloud function is frozen when it returns: what its supervisor was told has arrived by then."""
    slow = Slow()
    threading.Timer(0.2, slow.go_on.set).start()
    Supervisor(handlers=[slow]).notify("Loaded", "12 rows")
    assert [each.subject for each in slow.messages] == ["Loaded"]


def test_inside_a_run_notify_does_not_wait() -> None:
    """The script of a run goes on while its supervisor's message is delivered; flush() waits for it."""
    slow = Slow()
    sup = Supervisor(handlers=[slow])
    with quiet("block"):
        sup.notify("Loaded")
        assert not slow.messages
        assert not sup.flush(0)
        slow.go_on.set()
        assert sup.flush(60)
    assert [each.subject for each in slow.messages] == ["Loaded"]


def test_notify_outside_of_a_run_waits_no_longer_than_the_deadline() -> None:
    """A destination that does not answer holds up its caller for ``delivery_deadline_s``; flush() says so."""
    slow = Slow()
    sup = Supervisor(handlers=[slow], delivery_deadline_s=0.2)
    started_s = time.monotonic()
    sup.notify("Loaded")
    assert time.monotonic() - started_s < 30
    assert not slow.messages
    assert not sup.flush(0)
    slow.go_on.set()
    assert sup.flush(60)


def test_the_end_of_the_process_waits_no_longer_than_the_deadline() -> None:
    """What ``notify`` has waited for outside of a run does not hold up the end of the process for longer."""
    slow = Slow()
    Supervisor(handlers=[slow], delivery_deadline_s=0.2).notify("Loaded")
    started_s = time.monotonic()
    default_runtime().workers.finish(20)
    assert time.monotonic() - started_s < 15
    assert not slow.messages
    slow.go_on.set()


def test_a_dead_destination_costs_one_deadline() -> None:
    """What was waited for in vain is not waited for again, by the next message or the end of the process."""
    slow = Slow()
    sup = Supervisor(handlers=[slow], delivery_deadline_s=2)
    sup.notify("first")
    started_s = time.monotonic()
    for i in range(4):
        sup.notify(str(i))
    default_runtime().workers.finish(20)
    assert time.monotonic() - started_s < 8, "five times two seconds"
    slow.go_on.set()
    wait_until(lambda: len(slow.messages) == 5)


def test_a_destination_that_is_back_is_waited_for_again() -> None:
    """Once it has taken a message, ``notify`` returns when the next one is delivered, as before."""
    slow = Slow()
    sup = Supervisor(handlers=[slow], delivery_deadline_s=0.2)
    sup.notify("first")
    assert not slow.messages
    slow.go_on.set()
    wait_until(lambda: sup.flush(0))
    slow.go_on.clear()
    threading.Timer(0.1, slow.go_on.set).start()
    started_s = time.monotonic()
    sup.notify("second")
    assert len(slow.messages) == 2 or time.monotonic() - started_s >= 0.2
    wait_until(lambda: sup.flush(0))


def test_flush_says_whether_all_was_delivered() -> None:
    """``run.flush()`` is True when there is nothing to deliver, and False once after a message was refused for good."""
    with quiet("block", handlers=[Refuses()]) as run:
        assert run.flush()
        run.notify("Loaded")
        assert not run.flush(60)
        assert run.flush(60)
    assert run.flush()
