"""The loops of ``run.track``. They belong to the run, and stand here since most runs have none."""

from __future__ import annotations

import sys
from itertools import islice, repeat
from operator import length_hint
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from supervisor._run.lifecycle import pass_on_progress, safely

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

    from supervisor._run.state import RunState

T = TypeVar("T")

# A look at the clock costs more than all else that `track` does. So each round of items that was fast lets the next one
# be twice as long, with one look; when one was slow, each item is looked at again. A loop that turns slow is noticed
# late by so many items at most, and by no more than were fast just before.
_MOST_BLIND = 0b1111
_FAST_S = 100e-6  # all items of a round together
_MOST_COUNTED = sys.maxsize


class Count:
    """Counts the items that a loop has finished, and works the number out only when somebody looks.

    The loop takes one from ``asked`` each time before it asks for an item: all but the last asked for are finished.
    """

    __slots__ = ("asked",)

    def __init__(self) -> None:
        self.asked = repeat(None, _MOST_COUNTED)

    @property
    def finished(self) -> int:
        """Return how many items are finished, once the loop has asked for the first."""
        return _MOST_COUNTED - length_hint(self.asked) - 1


def track(state: RunState, iterable: Iterable[T], total: float | None, message: str | None) -> Iterator[T]:
    """Loop over something; see :meth:`supervisor.Run.track`."""
    if state.is_tracking:
        yield from iterable
        return
    _begin(state, iterable, total, message)
    count, blind, looked_s = Count(), 0, 0.0
    asked, most_blind = count.asked, 0 if _is_watched(state) else _MOST_BLIND
    try:
        iterator = iter(iterable)
        for _ in asked:
            state.done = count  # each time: the body of the loop may have said something else
            now = monotonic()
            if now >= state.due_s:
                pass_on_progress(state)
            if most_blind:
                blind = (2 * blind + 1) & most_blind if now - looked_s < _FAST_S else 0  # 1, 3, 7, 15, 15
                looked_s = now
            yield next(iterator)
            if blind:
                for _ in islice(asked, blind):
                    yield next(iterator)
        yield from iterator  # uncounted: a 32-bit Python comes here, after 2**31 items
    except StopIteration:
        pass
    finally:
        state.is_tracking = False


async def track_async(
    state: RunState, iterable: AsyncIterable[T], total: float | None, message: str | None
) -> AsyncIterator[T]:
    """Loop over something asynchronous; see :meth:`supervisor.Run.track`."""
    outermost = not state.is_tracking
    if outermost:
        _begin(state, iterable, total, message)
    done = 0
    try:
        async for item in iterable:
            yield item
            done += 1
            if outermost:
                state.done = done
                if monotonic() >= state.due_s:
                    pass_on_progress(state)
    finally:
        state.is_tracking = state.is_tracking and not outermost


def _begin(state: RunState, iterable: object, total: float | None, message: str | None) -> None:
    """Begin to count anew."""
    state.is_tracking = True
    state.done = 0
    state.total = total if total is not None else safely(state, _length, iterable)
    if message is not None:
        state.message = message
    pass_on_progress(state)


def _length(_: RunState, iterable: object) -> int | None:
    return length_hint(iterable, 0) or None


def _is_watched(state: RunState) -> bool:
    """Tell whether handlers hear of progress, or the run, or one around it, may be taken for stalled."""
    if state.settings.progress_interval_s is not None:
        return True
    around: RunState | None = state
    while around is not None and around.settings.stall_after_s is None and around.joined is None:
        around = around.parent
    return around is not None
