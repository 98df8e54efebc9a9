"""``run.track`` counts each item, though it looks at the clock only now and then while items are fast."""

from __future__ import annotations

import functools
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import let_time_pass, wait_until

from supervisor import _run as running
from supervisor import supervise
from supervisor._run import lifecycle, state
from supervisor._run import progress as tracking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recorders import Recorder

    from supervisor import Run

quiet = functools.partial(supervise, journal=False)
FAST_S, SLOW_S = 1e-6, 10.0


class Clock:
    """A clock that goes on when it is told to, and counts how often the test's own thread looks at it."""

    def __init__(self) -> None:
        self.now, self.looks = 1000.0, 0
        self._thread = threading.get_ident()

    def __call__(self) -> float:
        """Return the time."""
        self.looks += threading.get_ident() == self._thread  # the watchdog looks when it likes
        return self.now


class Once:
    """Yields so many items, and must not be asked again behind the last."""

    def __init__(self, number: int, error: type[Exception] = StopIteration) -> None:
        self.left, self.error = number, error

    def __iter__(self) -> Once:
        return self

    def __next__(self) -> int:
        assert self.left >= 0, "asked again"
        self.left -= 1
        if self.left < 0:
            raise self.error
        return self.left


def done(run: Run) -> float:
    """Return what a report and a message of this moment say to be done."""
    progress = run.report().progress
    assert progress is not None
    assert progress.done == run.position[0]
    return progress.done


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let runs look at a clock of the test's own."""
    clock = Clock()
    for module in (lifecycle, running, state, tracking):
        monkeypatch.setattr(module, "monotonic", clock)
    return clock


def looked_at(run: Run, clock: Clock, durations: list[float]) -> list[bool]:
    """Return of each item of a loop whether the clock was looked at between it and the next."""
    looks = []
    for item_s in run.track(durations):
        looks.append(clock.looks)
        clock.now += item_s
    looks.append(clock.looks)
    return [after > before for before, after in pairwise(looks)]


# The count


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 100])
def test_each_item_counts(number: int) -> None:
    """However many there are, each item comes once, is counted when it is finished, and nothing is asked for twice."""
    with quiet("night") as run:
        positions = [(item, run.position[0]) for item in run.track(Once(number))]
        assert positions == [(number - 1 - n, n) for n in range(number)]
        assert done(run) == number
        assert isinstance(run.position[0], int)


@pytest.mark.parametrize("last", range(40))
def test_the_count_of_a_loop_that_is_left(last: int) -> None:
    """After ``break`` and after an exception the items before are counted, whoever still holds the iterator."""
    with quiet("night") as run:
        for item in run.track(range(50)):
            if item == last:
                break
        assert done(run) == last
        with pytest.raises(KeyError):
            for item in run.track(range(50)):
                if item == last:
                    raise KeyError(item)
        assert done(run) == last
        held = run.track(range(50))
        for item in held:
            if item == last:
                break
        assert done(run) == last
        assert list(held) == list(range(last + 1, 50))
        assert done(run) == 50


@pytest.mark.parametrize("number", [0, 1, 5, 20, 40])
def test_the_count_where_the_iterable_breaks(number: int) -> None:
    """What the iterable raises leaves the loop with all items counted before it, and the next track counts anew."""
    with quiet("night") as run:
        items = run.track(Once(number, KeyError))
        with pytest.raises(KeyError):
            list(items)
        assert done(run) == number
        assert list(run.track([1, 2])) == [1, 2]
        assert done(run) == 2


def test_what_the_iterable_sees() -> None:
    """An iterable that looks at the run when it is asked for the next item finds those before it finished."""

    def source() -> Iterator[int]:
        for number in range(100):
            assert done(run) == number
            yield number

    with quiet("night") as run:
        assert list(run.track(source())) == list(range(100))


def test_what_another_thread_sees() -> None:
    """Another thread sees each item counted as soon as it is finished, with the loop in the middle of fast ones."""
    seen: list[float] = []
    with quiet("night") as run:
        for item in run.track(range(1001)):
            if item % 100 == 99:
                thread = threading.Thread(target=lambda: seen.append(run.position[0]))
                thread.start()
                thread.join()
    assert seen == list(range(99, 1001, 100))


def test_messages_from_within_fast_items_tell_the_count(recorder: Recorder) -> None:
    """A message that is sent now and then from a fast loop says exactly how far the loop is."""
    with quiet("night", handlers=[recorder]) as run:
        for item in run.track(range(2000)):
            if item % 501 == 500:
                run.notify("so far")
    reports = [message.report for message in recorder.messages]
    assert [each.progress.done for each in reports if each and each.progress] == [500, 1001, 1502]


def test_what_is_said_within_a_loop_holds_until_the_next_look(clock: Clock) -> None:
    """``run.progress`` within a tracked loop says something else, until the loop counts again."""
    with quiet("night") as run:
        for item in run.track(range(3)):
            clock.now += SLOW_S
            assert run.position[0] == item
            run.progress(70)
            assert run.position[0] == 70
        assert run.position[0] == 3


def test_more_items_than_can_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where more items come than an iterator can count they come all the same."""
    monkeypatch.setattr(tracking, "_MOST_COUNTED", 40)
    with quiet("night") as run:
        assert list(run.track(range(100))) == list(range(100))
        assert list(run.track(range(3))) == [0, 1, 2]
        assert done(run) == 3


# The clock


def test_slow_items_are_each_looked_at(clock: Clock) -> None:
    """A loop of slow items looks at the clock after each."""
    with quiet("night") as run:
        assert all(looked_at(run, clock, [SLOW_S] * 50))


def test_fast_items_are_looked_at_now_and_then(clock: Clock) -> None:
    """A loop of fast items looks at the clock at every sixteenth, after fewer in its beginning."""
    with quiet("night") as run:
        looked = looked_at(run, clock, [FAST_S] * 1615)
    assert [n for n, each in enumerate(looked) if each][:6] == [0, 2, 6, 14, 30, 46]
    assert sum(looked) == pytest.approx(1615 / 16, abs=5)


@given(st.lists(st.tuples(st.sampled_from([FAST_S, SLOW_S]), st.integers(1, 60)), max_size=8))
def test_a_loop_that_turns_slow_is_noticed_soon(phases: list[tuple[float, int]]) -> None:
    """Never are more than 15 items without a look, nor more than were fast one after the other just before."""
    durations = [item_s for item_s, number in phases for _ in range(number)]
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch, quiet("night") as run:
        for module in (lifecycle, running, state, tracking):
            patch.setattr(module, "monotonic", clock)
        looked = looked_at(run, clock, durations)
    fast = blind = allowed = 0
    for item_s, is_looked in zip(durations, looked, strict=True):
        fast = fast + 1 if item_s == FAST_S else 0
        blind = 0 if is_looked else blind + 1
        allowed = min(15, fast) if is_looked else allowed
        assert blind <= allowed


def test_a_look_that_is_due_moves_on(clock: Clock) -> None:
    """Progress goes on once a second, whoever looks: what ``run.progress`` passes on the loop does not again."""
    with quiet("night") as run:
        for item in run.track(range(10)):
            clock.now += 0.4
            before = run._state.due_s
            run.progress(item)
            if clock.now >= before:
                assert run._state.due_s == clock.now + 1.0
            else:
                assert run._state.due_s == before


# Signs of life


def ages_of_signs(outer: Callable[[], Run]) -> list[float]:
    """Return how old the outer run's last sign is after each item of an inner one, whose last forty are slow."""
    clock, ages = Clock(), []
    with pytest.MonkeyPatch.context() as patch:
        for module in (lifecycle, running, state, tracking):
            patch.setattr(module, "monotonic", clock)
        with outer() as run, quiet("inner") as inner:
            for item in inner.track(range(1040)):
                clock.now += FAST_S if item < 1000 else SLOW_S
                ages.append(clock.now - run._state.last_alive_s(clock.now))
    return ages


def test_a_run_that_is_watched_gives_a_sign_with_each_slow_item() -> None:
    """Where a stall would be told of, the last sign is never older than the item at hand, also of the run around."""
    watched = functools.partial(quiet, "outer", stall_after_s=600)
    assert max(ages_of_signs(watched)) <= SLOW_S + FAST_S * 1000
    assert max(ages_of_signs(functools.partial(quiet, "outer"))) > SLOW_S * 2  # where nobody watches it may


def test_progress_that_handlers_hear_of_is_not_late(clock: Clock) -> None:
    """With progress messages each slow item is looked at, also right after fast ones."""
    late = []
    with quiet("night", progress_every_s=600) as run:
        for item in run.track(range(1040)):
            clock.now += FAST_S if item < 1000 else SLOW_S
            late.append(clock.now - run._state.due_s)
    assert max(late) <= SLOW_S + FAST_S


def test_slow_items_after_fast_ones_are_no_stall(recorder: Recorder) -> None:
    """A loop that turns slow is not told as stalled while each item takes less than ``stall_after_s``."""
    with quiet("night", handlers=[recorder], stall_after_s=0.5) as run:
        for item in run.track(range(1006)):
            if item > 990:  # the first of a round, as long as all before were fast
                let_time_pass(0.15, "a slow item")
    assert recorder.received == []


def test_a_slow_item_after_fast_ones_is_a_stall(recorder: Recorder) -> None:
    """An item that takes too long is told as a stall, however fast those before it were."""
    with quiet("night", handlers=[recorder], stall_after_s=0.2) as run:
        for item in run.track(range(1001)):
            wait_until(functools.partial(lambda item: item != 1000 or recorder.messages, item))
    assert recorder.received == ["stalled", "recovery"]


@pytest.mark.parametrize("inner", [0, 1, 40])
def test_a_loop_within_a_fast_loop_is_not_counted(inner: Any) -> None:
    """The inner of two tracks only loops, wherever in a fast round the outer one is."""
    with quiet("night") as run:
        for item in run.track(range(60)):
            assert list(run.track(range(inner), total=99)) == list(range(inner))
            assert run.position[:2] == (item, 60)
        assert run.position[:2] == (60, 60)
