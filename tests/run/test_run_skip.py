"""Runs that have nothing to do: ``run.skip()`` and ``RunSkipped``."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import TYPE_CHECKING

import pytest
from scripts import run as run_script

from supervisor import Run, RunStateError, current_run, supervise, supervised
from supervisor._store import Journal
from supervisor.errors import RunSkipped
from supervisor.models import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from recorders import Recorder

quiet = functools.partial(supervise, journal=False, report_on=["skipped", "success"])
quietly = functools.partial(supervised, journal=False, report_on=["skipped", "success"])


def by_method(run: Run) -> None:
    """Say it."""
    run.skip("no updated tables")


def by_hand(_: Run) -> None:
    """Raise it."""
    raise RunSkipped("no updated tables")


@pytest.mark.parametrize("skip", [by_method, by_hand])
def test_a_block_ends_quietly(skip: Callable[[Run], None], recorder: Recorder) -> None:
    """Nothing catches it on the way, the script goes on after the block, and the message says why."""
    with quiet("tables", handlers=[recorder]) as run:
        try:
            skip(run)
        except Exception:
            pytest.fail("it was caught")
        pytest.fail("it went on")
    assert (run.outcome, run.exit_code) == (Outcome.SKIPPED, 0)
    assert recorder.received == ["skipped"]
    assert recorder.subjects[0].startswith("tables had nothing to do on ")
    assert recorder.subjects[0].endswith(": no updated tables")
    assert recorder.only.report is not None
    assert str(recorder.only.report.error) == "nothing to do: no updated tables"
    assert "Traceback" not in recorder.only.message


def test_functions_of_every_kind_return_none(recorder: Recorder) -> None:
    """A function and a coroutine return None, generators end."""

    @quietly(handlers=[recorder])
    def plain(run: Run) -> int:
        run.skip()

    @quietly(handlers=[recorder])
    async def coroutine(run: Run) -> int:
        await asyncio.sleep(0)
        run.skip()

    @quietly(handlers=[recorder])
    def generator(run: Run) -> Iterator[int]:
        yield 1
        run.skip()

    @quietly(handlers=[recorder])
    async def async_generator(run: Run) -> AsyncIterator[int]:
        yield 1
        run.skip()

    async def all_of() -> list[int]:
        return [each async for each in async_generator()]

    assert plain() is None
    assert asyncio.run(coroutine()) is None
    assert list(generator()) == [1]
    assert asyncio.run(all_of()) == [1]
    assert recorder.received == ["skipped"] * 4


def test_nobody_hears_of_it_who_does_not_ask(recorder: Recorder) -> None:
    """It is no failure, and no success."""
    with supervise("tables", handlers=[recorder], report_on="success") as run:
        run.skip("no updated tables")
    assert recorder.received == []


def test_an_inner_run_ends_alone_and_an_outer_one_with_those_in_it(recorder: Recorder) -> None:
    """The skip of an inner run stays there; that of an outer one ends both."""
    with quiet("outer", handlers=[recorder]), quiet("inner", handlers=[recorder]) as inner:
        inner.skip()
    assert [each.split(" on ")[0] for each in recorder.subjects] == ["inner had nothing to do", "outer succeeded"]
    recorder.messages.clear()
    with quiet("outer", handlers=[recorder]) as outer:
        with quiet("inner", handlers=[recorder]):
            outer.skip()
        pytest.fail("it went on")
    assert [each.split(" on ")[0] for each in recorder.subjects] == [
        "inner had nothing to do",
        "outer had nothing to do",
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_in_a_thread_is_a_failure_all_the_same(recorder: Recorder) -> None:
    """What went wrong beside is not covered up."""

    def fail() -> None:
        raise KeyError("apn")

    with quiet("tables", handlers=[recorder]) as run:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        run.skip()
    assert run.outcome is Outcome.FAILURE
    assert recorder.received == ["failure"]


def test_streaks_go_on_and_are_told(recorder: Recorder, state: Path) -> None:
    """Skipped runs are neither failures nor successes: the recovery comes later, and the message counts them."""

    def fail() -> None:
        with pytest.raises(KeyError), supervise("tables", handlers=[recorder]):
            raise KeyError("apn")

    fail()
    for _ in range(3):
        with supervise("tables", handlers=[recorder], report_on="skipped") as run:
            run.skip()
    with supervise("tables", handlers=[recorder]):
        pass
    assert recorder.received == ["failure", "skipped", "skipped", "skipped", "recovery"]
    assert "in a row" not in recorder.messages[1].message
    assert "2 runs in a row had nothing to do." in " ".join(recorder.messages[2].message.split())
    assert "3 runs in a row had nothing to do." in " ".join(recorder.messages[3].message.split())
    assert [str(each.report.outcome) for each in Journal(state).runs()] == ["success", *["skipped"] * 3, "failure"]


def test_a_run_that_is_not_under_way_cannot_be_skipped() -> None:
    """It is the one method that raises: the script's next line counts on not being reached."""
    run = quiet("tables")
    with pytest.raises(RunStateError, match="the run 'tables' is not under way"):
        run.skip()
    with run:
        pass
    with pytest.raises(RunStateError, match="is not under way"):
        run.skip()
    assert current_run() is None


def test_a_script_that_skips_ends_with_0(tmp_path: Path) -> None:
    """Outside of a run, too, and nothing is printed."""
    ended = run_script(tmp_path, "from supervisor.errors import RunSkipped\nraise RunSkipped('nothing to do')")
    assert (ended.code, ended.stdout, ended.stderr) == (0, "", "")
