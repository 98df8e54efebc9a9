"""The steps of a run: ``run.step()`` and ``run.track(..., step=...)``."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from scripts import run as run_script
from waiting import wait_until

from supervisor import ConfigurationError, supervise, supervised
from supervisor._run import steps
from supervisor._store import Journal
from supervisor.models import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from recorders import Recorder

    from supervisor import Run
    from supervisor.models import RunStep

quiet = functools.partial(supervise, journal=False)


def outcomes(run: Run) -> dict[str, str | None]:
    """Return how each step ended, by its name."""
    return {each.name: each.outcome and str(each.outcome) for each in run.report().steps}


def test_a_message_has_a_table_of_them(recorder: Recorder) -> None:
    """Name, outcome, time and values, those within others indented."""
    with quiet("dolly", handlers=[recorder], report_on="success") as run:
        with run.step("load") as step:
            step.record(rows=12_041, file="roads.shp")
            with run.step("load roads"):
                pass
        with run.step("index"):
            pass
    text = recorder.only.message
    assert ["step", "outcome", "took", "values"] in [each.split() for each in text.splitlines()]
    assert "rows=12,041, file=roads.shp" in text
    assert "    load roads" in text
    assert [each.depth for each in run.report().steps] == [0, 1, 0]


def test_an_exception_leaves_it_unchanged_and_is_named(recorder: Recorder) -> None:
    """The script's exception is the same object, and the subject says in which step it was raised."""
    error = KeyError("apn")
    with pytest.raises(KeyError) as caught, quiet("dolly", handlers=[recorder]) as run:
        with run.step("load"):
            pass
        with run.step("join"), run.step("join roads"):
            raise error
    assert caught.value is error
    assert recorder.subjects[0].startswith("dolly failed in join roads on ")
    assert outcomes(run) == {"load": "success", "join": "failure", "join roads": "failure"}
    assert run.report().error.step == "join roads"  # type: ignore[union-attr]


def test_an_exception_made_of_another_is_named_too(recorder: Recorder) -> None:
    """What the script raises from the error of a step comes from that step; what it raises later does not."""
    with pytest.raises(RuntimeError), quiet("dolly", handlers=[recorder]) as run:
        try:
            with run.step("load"):
                raise KeyError("apn")
        except KeyError as error:
            raise RuntimeError("no parcels") from error
    with pytest.raises(RuntimeError), quiet("dolly", handlers=[recorder]) as run:
        try:
            with run.step("load"):
                raise KeyError("apn")
        except KeyError:
            pass
        raise RuntimeError("something else")
    assert [" in load on " in each for each in recorder.subjects] == [True, False]


def test_a_run_can_go_on_after_one(recorder: Recorder) -> None:
    """With on_error="continue" the exception is a warning; of the first three the message has the traceback."""
    with quiet("dolly", handlers=[recorder]) as run:
        for county in range(5):
            with run.step(f"county {county}", on_error="continue"):
                raise KeyError(f"apn {county}")
    assert recorder.received == ["warning"]
    assert recorder.subjects[0].startswith("dolly succeeded with 5 warnings on ")
    assert recorder.subjects[0].endswith(": county 0, county 1 and 3 more failed")
    assert recorder.only.message.count("Traceback (most recent call last)") == 3
    assert "KeyError 'apn 4' at test_steps.py:" in recorder.only.message
    assert [each.step for each in run.report().warnings] == [f"county {county}" for county in range(5)]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_ends_a_script_ends_it(error: BaseException) -> None:
    """Exits, interrupts and cancellations are not gone on after."""
    with pytest.raises(type(error)), quiet("dolly") as run, run.step("load", on_error="continue"):
        raise error
    assert run.outcome != Outcome.WARNING


def test_a_step_can_be_skipped_with_its_run() -> None:
    """run.skip() passes through it, whatever it does after exceptions."""
    with quiet("dolly") as run, run.step("load", on_error="continue"):
        run.skip("no updated tables")
    assert (run.outcome, outcomes(run)) == (Outcome.SKIPPED, {"load": "skipped"})


@pytest.mark.parametrize("value", ["ignore", None, True, ["raise"]])
def test_an_unknown_on_error_is_an_error_at_once(value: Any) -> None:
    """It says what there is."""
    with (
        quiet("dolly") as run,
        pytest.raises(ConfigurationError, match=r"on_error must be 'raise' or 'continue', got "),
    ):
        run.step("load", on_error=value)


def test_items_of_a_loop_are_steps(recorder: Recorder) -> None:
    """Each has the name that `step` returns; run.warn() belongs to the item at hand."""
    with quiet("dolly", handlers=[recorder]) as run:
        for table in run.track(["roads", "airstrips"], step=str.upper):
            if table == "airstrips":
                run.warn("timeout")
    assert outcomes(run) == {"ROADS": "success", "AIRSTRIPS": "warning"}
    assert run.report().warnings[0].step == "AIRSTRIPS"
    assert run.position[:2] == (2, 2)


def test_an_error_in_a_loop_names_its_item(recorder: Recorder) -> None:
    """The one that was worked on when the exception left the loop, also through another generator."""
    with pytest.raises(TimeoutError), quiet("dolly", handlers=[recorder]) as run:
        for _, table in enumerate(run.track(["roads", "airstrips", "trails"], step=str)):
            for number in range(3):
                if table == "airstrips" and number == 2:
                    raise TimeoutError("while polling")
    assert recorder.subjects[0].startswith("dolly failed in airstrips on ")
    assert outcomes(run) == {"roads": "success", "airstrips": "failure"}


def test_a_loop_that_was_left_by_break_did_not_fail(recorder: Recorder) -> None:
    """What fails after it is not its last item."""
    with pytest.raises(TimeoutError), quiet("dolly", handlers=[recorder]) as run:
        for table in run.track(["roads", "airstrips", "trails"], step=str):
            if table == "airstrips":
                break
        raise TimeoutError("later")
    assert " in airstrips" not in recorder.subjects[0]
    assert outcomes(run) == {"roads": "success", "airstrips": "success"}


def test_asynchronous_items_are_steps_too() -> None:
    """With `async for`."""

    async def tables() -> AsyncIterator[str]:
        for each in ("roads", "airstrips"):
            await asyncio.sleep(0)
            yield each

    async def main() -> Run:
        async with quiet("dolly") as run:
            async for _ in run.track(tables(), step=str):
                await asyncio.sleep(0)
        return run

    assert outcomes(asyncio.run(main())) == {"roads": "success", "airstrips": "success"}


def test_names_that_cannot_be_told_are_no_error() -> None:
    """A function that raises, objects that cannot be shown, and names of any length."""

    class Broken:
        def __str__(self) -> str:
            raise ValueError("no")

    def fails(_: object) -> str:
        raise ValueError("no")

    with quiet("dolly") as run:
        for _ in run.track([1], step=fails):
            pass
        for name in (Broken(), "", None, "x" * 5_000, "a\nb", "token=ghp_0123456789abcdefghijABCDEFGHIJ012345"):
            with run.step(name) as step:
                step.record(broken=Broken())
                step.progress(Broken(), "many")  # type: ignore[arg-type]
    names = [each.name for each in run.report().steps]
    assert names[0] == "(its name cannot be told: ValueError)"
    assert all(len(each) <= 100 for each in names)
    assert "ghp_0123456789" not in "".join(names)


def test_threads_and_tasks_have_steps_at_a_time() -> None:
    """Each its own, within the step in which it was started."""
    started = threading.Barrier(3)

    def work(run: Run, name: str) -> None:
        with run.step(name) as step:
            started.wait(60)
            for _ in step.track(range(3), message=name):
                pass
            started.wait(60)

    with quiet("dolly") as run:
        with run.step("all"):
            threads = [threading.Thread(target=work, args=(run, name)) for name in ("one", "two")]
            for each in threads:
                each.start()
            started.wait(60)
            assert next(each.name for each in run.report().steps if each.outcome is None) == "all"
            started.wait(60)
            for each in threads:
                each.join()

        async def task(name: str) -> None:
            with run.step(name):
                await asyncio.sleep(0)

        async def main() -> None:
            await asyncio.gather(task("three"), task("four"))

        asyncio.run(main())
    depths = {each.name: each.depth for each in run.report().steps}
    assert depths == {"all": 0, "one": 1, "two": 1, "three": 0, "four": 0}
    assert all(each.outcome == Outcome.SUCCESS for each in run.report().steps)


def test_of_many_200_are_kept_and_the_rest_is_summed(recorder: Recorder, state: Path) -> None:
    """Those that failed are kept rather than others, wherever they stand; a message shows 40."""
    with supervise("dolly", handlers=[recorder]) as run:
        for number in range(1_000):
            with run.step(f"county {number}", on_error="continue"):
                if number % 100 == 99:
                    raise KeyError(number)
    kept = run.report().steps
    assert sum(each.count for each in kept) == 1_000
    assert len(kept) <= steps.MOST_STEPS + 1
    assert sum(each.outcome == Outcome.FAILURE for each in kept) == 10
    assert kept[-1].name == "810 more"
    text = recorder.only.message
    assert "county 999" in text
    assert "more" in text
    assert len(next(iter(Journal(state).runs())).steps) == len(kept)


def test_a_message_counts_each_step_that_it_does_not_show(recorder: Recorder) -> None:
    """The row of the rest has the number of all of them, and says of how many it is that they failed."""
    with quiet("dolly", handlers=[recorder]) as run:
        for number in range(1_000):
            with run.step(f"county {number}", on_error="continue"):
                if number < 60:
                    raise KeyError(number)
    text = " ".join(recorder.only.message.split())
    assert "! 960 more, 20 of them failed failed" in text
    assert "960 more, 20 of them failed ok" not in text


def test_steps_in_threads_stand_below_the_step_that_they_are_in(recorder: Recorder) -> None:
    """What runs at the same time is not shown mixed: each inner step follows the one around it."""
    ready = threading.Barrier(2)

    def load(run: Run, name: str) -> None:
        with run.step(name):
            ready.wait(60)
            with run.step(f"{name} roads"):
                ready.wait(60)

    with quiet("dolly", handlers=[recorder], report_on="success") as run:
        threads = [threading.Thread(target=load, args=(run, name)) for name in ("one", "two")]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    names = [each.name for each in run.report().steps]
    assert names in (["one", "one roads", "two", "two roads"], ["two", "two roads", "one", "one roads"])


def test_a_step_may_be_written_with_async(recorder: Recorder) -> None:
    """A coroutine may say "async with", as it may of the run itself."""

    async def main() -> None:
        async with quiet("dolly", handlers=[recorder]) as run:
            async with run.step("load") as step:
                step.record(rows=3)
            async with run.step("join", on_error="continue"):
                raise KeyError("apn")
        assert outcomes(run) == {"load": "success", "join": "failure"}

    asyncio.run(main())
    assert recorder.received == ["warning"]


def test_others_see_which_step_is_under_way(state: Path) -> None:
    """While the run lasts the journal has what is under way; at its end all of them."""
    with supervise("dolly") as run:
        with run.step("load"):
            pass
        with run.step("join"), run.step("join roads"):
            (record,) = Journal(state).runs()
            assert [(each.name, each.outcome) for each in record.steps] == [("join", None), ("join roads", None)]
    (record,) = Journal(state).runs()
    assert [each.name for each in record.report.steps] == ["load", "join", "join roads"]


def test_a_slow_step_after_many_fast_ones_is_seen(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only some beginnings are written at once; the last is written soon after."""
    monkeypatch.setattr(steps, "_NOTE_EVERY_S", 0.05)
    with supervise("dolly") as run:
        for number in range(200):
            with run.step(f"fast {number}"):
                pass
        with run.step("slow"):

            def shown() -> list[RunStep]:
                (record,) = Journal(state).runs()
                return list(record.steps)

            wait_until(lambda: [each.name for each in shown()] == ["slow"])


def test_a_run_that_dies_in_a_step_is_named_with_it(tmp_path: Path, state: Path, recorder: Recorder) -> None:
    """The next run of the name says in which step the last one died."""
    done = run_script(
        tmp_path,
        """
        import os
        with supervise("dolly") as run:
            with run.step("join"):
                os._exit(9)
        """,
    )
    assert done.code == 9
    with supervise("dolly", handlers=[recorder]):
        pass
    assert recorder.received[0] == "died"
    assert recorder.subjects[0].startswith("dolly died in join on ")


def test_progress_of_a_step_is_the_runs() -> None:
    """With its name; a loop of the run that counts keeps its own count."""
    with quiet("dolly") as run:
        with run.step("load") as step:
            step.progress(3, total=10, message="roads")
        assert run.position == (3, 10, "load: roads")
        for _ in run.track(["roads"], step=str):
            with run.step("inner") as step:
                step.progress(5, total=50)
            assert run.position[1] == 1


def test_a_failure_that_the_outer_run_swallows_is_its_warning(recorder: Recorder) -> None:
    """Nobody was notified of it; where it ends the outer run too, the failure is all that is told."""
    with quiet("outer", handlers=[recorder]) as run:
        for reraise in (True, False):
            try:
                with quiet("inner", reraise=reraise):
                    raise KeyError("apn")
            except KeyError:
                assert reraise
    assert recorder.received == ["warning"]
    assert [each.step for each in run.report().warnings] == ["inner", "inner"]
    assert "failed: KeyError 'apn' at test_steps.py:" in recorder.only.message
    with pytest.raises(ValueError, match="x"), quiet("outer", handlers=[recorder]) as run:
        try:
            with quiet("inner"):
                raise KeyError("apn")
        except KeyError as error:
            raise ValueError("x") from error
    assert recorder.received == ["warning", "failure"]
    assert run.report().warning_count == 0


def test_a_failure_that_was_told_is_no_warning(recorder: Recorder) -> None:
    """An inner run with handlers has told it; warnings of one without come over to the outer run."""
    with quiet("outer", handlers=[recorder]) as run:
        with quiet("inner", handlers=[recorder], reraise=False):
            raise KeyError("apn")
        with quiet("quiet one") as inner:
            inner.warn("slow")
    assert recorder.received == ["failure", "warning"]
    assert [(each.step, each.text) for each in run.report().warnings] == [("quiet one", "slow")]


def test_a_step_costs_a_run_without_any_nothing(tmp_path: Path) -> None:
    """Their module is loaded with the first."""
    done = run_script(
        tmp_path,
        """
        import sys
        with supervise("dolly", journal=False) as run:
            for _ in run.track(range(3)):
                pass
        print([each for each in sys.modules if each.endswith((".steps", ".run_warnings"))])
        """,
    )
    assert done.stdout == "[]\n"


def test_a_supervised_function_may_use_them(recorder: Recorder) -> None:
    """The value is returned, and an exception in a step that goes on is not raised."""

    @supervised("dolly", handlers=[recorder], journal=False)
    def main(run: Run) -> int:
        with run.step("load", on_error="continue"):
            raise OSError("no disk")
        return 5

    assert main() == 5
    assert recorder.subjects[0].endswith(
        ": load: OSError no disk at test_steps.py:" + recorder.subjects[0].rpartition(":")[2]
    )
    assert sys.exc_info() == (None, None, None)
