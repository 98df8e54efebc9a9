"""``run.progress`` and ``run.track``: they count right, show nothing that is wrong, and never raise."""

from __future__ import annotations

import asyncio
import functools
import math
import threading
import time
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from scripts import run as run_script

from supervisor import supervise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from recorders import Recorder

    from supervisor import Run
    from supervisor.models import Progress

quiet = functools.partial(supervise, journal=False)


def now(run: Run) -> Progress:
    """Return the progress that a report has."""
    progress = run.report().progress
    assert progress is not None
    return progress


class Rude:
    """A number that cannot be read."""

    def __float__(self) -> float:
        raise ArithmeticError("no number")

    def __str__(self) -> str:
        raise ValueError("no text")

    def __eq__(self, other: object) -> bool:
        raise ValueError("not comparable")

    __hash__ = None  # type: ignore[assignment]  # nor hashable


# progress


def test_a_run_without_progress_reports_none() -> None:
    """A run that never said how far it is has no progress, and ended runs keep theirs."""
    with quiet("night") as run:
        assert run.report().progress is None
        run.progress(3, 10, "loading")
    assert now(run).percentage == 30.0


def test_what_is_left_out_stays_as_it_was() -> None:
    """Each of done, total and message can be said alone."""
    with quiet("night") as run:
        run.progress(3, 10, "loading")
        run.progress(4)
        assert (now(run).done, now(run).total, now(run).message) == (4, 10, "loading")
        run.progress(message="writing")
        assert (now(run).done, now(run).total, now(run).message) == (4, 10, "writing")
        run.progress(total=20)
        assert (now(run).done, now(run).total, now(run).percentage) == (4, 20, 20.0)
        run.progress()
        assert now(run).done == 4


def test_zero_and_the_empty_text_are_said() -> None:
    """0 and "" are values, not the lack of one."""
    with quiet("night") as run:
        run.progress(3, 10, "loading")
        run.progress(0, message="")
        assert (now(run).done, now(run).message) == (0, "")


@pytest.mark.parametrize(
    "wrong",
    ["abc", "", math.nan, math.inf, -math.inf, -5, 0, object(), Rude(), [1], 10**400, 1j, Decimal("NaN"), b"5", True],
    ids=lambda each: type(each).__name__,
)
def test_a_wrong_number_never_raises(wrong: Any, recorder: Recorder, log: pytest.LogCaptureFixture) -> None:
    """Whatever a script gives as done, total or message, the run goes on, and its messages and reports can be made."""
    with quiet("night", handlers=[recorder], progress_every_s=1e-9, report_on=["success"]) as run:
        for arguments in [(1, wrong), (wrong, 10), (wrong, wrong, wrong)]:
            run._state.due_s = 0.0  # so that it is looked at each time
            run.progress(*arguments)
            percentage = now(run).percentage
            assert percentage is None or 0 <= percentage <= 100
        for _ in run.track([1, 2], total=wrong, message=wrong):
            run._state.due_s = 0.0
            run.progress(1)
    assert recorder.received[-1] == "success"
    assert "Traceback" not in log.text


@pytest.mark.parametrize("number", [Decimal("2.5"), Fraction(5, 2), "2.5", 2.5])
def test_numbers_of_other_kinds_count(number: Any) -> None:
    """Decimals, fractions and numbers in texts count as the numbers that they are."""
    with quiet("night") as run:
        run.progress(number, 10)
        assert (now(run).done, now(run).percentage) == (2.5, 25.0)


def test_progress_outside_of_the_block_does_no_harm() -> None:
    """Progress before the start or behind the end of a run does not raise."""
    run = quiet("night")
    run.progress(1, 2)
    with run:
        pass
    run.progress(2, 2)
    assert list(run.track([1])) == [1]


# track


def test_tracking_yields_the_items() -> None:
    """``run.track`` yields what it was given and counts the items that were finished, not the one at hand."""
    with quiet("night") as run:
        seen = [(item, run.position) for item in run.track(["a", "b", "c"], message="reading")]
    assert seen == [("a", (0, 3, "reading")), ("b", (1, 3, "reading")), ("c", (2, 3, "reading"))]
    assert (now(run).done, now(run).percentage) == (3, 100.0)


def unsized(n: int) -> Iterator[int]:
    """Yield so many items without telling how many there are."""
    yield from range(n)


class Hints:
    """Tells how many items are left, as iterators of the standard library do."""

    def __iter__(self) -> Iterator[int]:
        return unsized(3)

    def __length_hint__(self) -> int:
        return 3


class LiesOfItsLength:
    """Cannot be asked for its length."""

    def __iter__(self) -> Iterator[int]:
        return unsized(3)

    def __len__(self) -> int:
        raise RuntimeError("no length")


@pytest.mark.parametrize(
    ("iterable", "given", "total"),
    [
        ([1, 2, 3], None, 3),
        (range(3), None, 3),
        ({1: 1, 2: 2, 3: 3}, None, 3),
        (iter([1, 2, 3]), None, 3),
        (Hints(), None, 3),
        (unsized(3), None, None),
        (map(str, unsized(3)), None, None),
        (unsized(3), 3, 3),
        (unsized(3), 30, 30),
        (LiesOfItsLength(), None, None),
        ("abc", None, 3),
    ],
    ids=lambda each: type(each).__name__,
)
def test_the_total_is_asked_for_or_given(
    iterable: Any, given: float | None, total: float | None, log: pytest.LogCaptureFixture
) -> None:
    """The total is what the caller says, else what the iterable knows, else unknown."""
    with quiet("night") as run:
        items = run.track(iterable, given)
        next(items)
        assert run.position[1] == total
        assert len(list(items)) == 2
    assert now(run).done == 3


def test_an_empty_iterable_is_no_trouble() -> None:
    """Nothing to loop over makes no progress."""
    with quiet("night") as run:
        assert list(run.track([])) == []
        assert list(run.track(unsized(0))) == []
    assert now(run).done == 0


def test_inner_tracks_only_loop() -> None:
    """Inside of a track another one only loops: the outer counts, and takes up again after it."""
    with quiet("night") as run:
        positions: list[Any] = []
        for _ in run.track(range(2), message="outer"):
            positions += [run.position for _ in run.track(range(5), total=50, message="inner")]
        assert positions == [(0, 2, "outer")] * 5 + [(1, 2, "outer")] * 5
        assert list(run.track([1, 2, 3])) == [1, 2, 3]
        assert run.position == (3, 3, "outer")


def test_a_loop_that_is_left_counts_no_longer() -> None:
    """After ``break``, an exception or ``close()`` the next track counts anew."""
    with quiet("night") as run:
        for _ in run.track([1, 2, 3]):
            break
        assert list(run.track([1, 2])) == [1, 2]
        assert run.position[:2] == (2, 2)
        items = run.track([1, 2, 3])
        with pytest.raises(KeyError):
            for _ in items:
                raise KeyError("apn")
        del items
        for _ in run.track([1, 2, 3, 4]):
            pass
        assert run.position[:2] == (4, 4)


def test_the_exception_of_an_iterable_gets_through() -> None:
    """What the iterable raises leaves the loop, and the items before it are counted."""

    def breaks() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("apn")

    with pytest.raises(KeyError), quiet("night") as run:
        list(run.track(breaks()))
    assert now(run).done == 2


def test_what_cannot_be_looped_over_is_the_scripts_error() -> None:
    """``run.track(5)`` is the TypeError that ``for`` makes of it."""
    with quiet("night") as run, pytest.raises(TypeError, match="not iterable"):
        list(run.track(5))  # type: ignore[call-overload]  # on purpose


def test_the_loop_of_a_list_that_grows() -> None:
    """A list that grows under the loop is looped over as without us, and the percentage stays at most 100."""
    work = [3]
    with quiet("night") as run:
        for n in run.track(work):
            work.extend([n - 1] if n else [])
    assert work == [3, 2, 1, 0]
    assert (now(run).done, now(run).percentage) == (4, 100.0)


def test_async_iterables_are_tracked() -> None:
    """``async for`` over ``run.track`` counts as ``for`` does, and inner ones only loop."""

    async def items(n: int) -> AsyncIterator[int]:
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    async def work() -> list[Any]:
        async with quiet("night") as run:
            seen: list[Any] = []
            async for item in run.track(items(3), total=3, message="reading"):
                seen += [(item, run.position) async for _ in run.track(items(2), total=20)]
            assert run.position == (3, 3, "reading")
            async for _ in run.track(items(2)):
                break
        return seen

    assert asyncio.run(work()) == [(i, (i, 3, "reading")) for i in range(3) for _ in range(2)]


def test_tracks_of_two_threads_do_not_break_each_other() -> None:
    """Two threads that track at once each loop over all their items."""
    with quiet("night") as run:
        together = threading.Barrier(2)
        seen: dict[int, list[int]] = {}

        def work(n: int) -> None:
            together.wait(30)
            seen[n] = list(run.track(range(2000)))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen == {0: list(range(2000)), 1: list(range(2000))}


def test_progress_messages_come_at_their_pace(recorder: Recorder) -> None:
    """Handlers get progress messages when their time has come, with percentage and count, and not before."""
    with quiet("night", handlers=[recorder], progress_every_s=1e-6) as run:
        run.progress(1, 10, "loading")
        run._state.due_s = 0.0  # as if a second had passed
        run.progress(4)
        run.progress(5)
        run._state.due_s = 0.0
        run.progress(6)
    assert set(recorder.received) == {"progress"}
    assert ["(40 %)" in each or "(60 %)" in each for each in recorder.subjects[-2:]] == [True, True]
    assert "loading" in recorder.subjects[-1]
    assert len(recorder.messages) <= 3


def test_the_rate_of_a_run_that_has_ended_goes_by_its_end(recorder: Recorder) -> None:
    """What composing the message takes does not count as time of the run."""

    class SlowlyToldError(Exception):
        def __str__(self) -> str:
            time.sleep(0.05)
            return "bad row"

    with pytest.raises(SlowlyToldError), supervise("night", handlers=[recorder]) as run:
        run.progress(0, total=2)
        run.progress(1)
        raise SlowlyToldError
    report = recorder.messages[0].report
    assert report is not None
    assert report.progress is not None
    assert report.progress.rate_per_s is not None
    assert report.progress.rate_per_s >= 1 / report.duration_s


def test_no_progress_messages_by_default(recorder: Recorder) -> None:
    """Without ``progress_every_s`` handlers hear nothing of progress."""
    with quiet("night", handlers=[recorder]) as run:
        for i in range(3):
            run._state.due_s = 0.0
            run.progress(i, 3)
    assert recorder.messages == []


def test_long_loops_are_looked_at_once_a_second(tmp_path: Path) -> None:
    """A loop of two seconds and more is looked at a few times, and its progress messages say how far it is."""
    body = """
        import time
        with supervise("night", handlers=[recorder], progress_every_s=0.01) as run:
            until = time.monotonic() + 2.2
            for i in run.track(range(10**9)):
                if time.monotonic() > until: break
    """
    ended = run_script(tmp_path, body)
    assert (ended.code, ended.stderr) == (0, "")
    assert 1 <= len(ended.kinds) <= 4
    assert set(ended.kinds) == {"progress"}
    assert "of 1,000,000,000" in ended.messages[-1]["subject"]
    assert " left" in ended.messages[-1]["subject"]
