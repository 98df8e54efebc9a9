"""Progress: how often it is shown, logged and sent, and the loops of ``run.track`` that make it."""

from __future__ import annotations

import sys
from itertools import islice, repeat
from operator import length_hint
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from supervisor import _log, _places

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator

    from supervisor._models.values import Progress
    from supervisor._run.state import RunState

T = TypeVar("T")
PassOn: TypeAlias = "Callable[[RunState], None]"
TotalOf: TypeAlias = "Callable[[], float | None]"

LOOK_EVERY_S = 1.0
LOG_EVERY_S = 60.0
LOG_EVERY_PERCENT = 10.0


class ProgressPace:
    """Decides when the progress of one run is shown, logged and sent, however often the script calls ``progress``.

    A total that changes, or a count that goes back, begins a new phase: rate and time left are the phase's own.

    Args:
        run: The run that makes the progress.
        redact: Removes secrets from it, before it is logged or leaves the process.
    """

    def __init__(
        self, run: RunState, redact: Callable[[Progress | None], Progress | None] = lambda progress: progress
    ) -> None:
        self._run = run
        self._redact = redact
        self._is_on_terminal: bool | None = None
        self._began_s = self._logged_s = self._sent_s = 0.0
        self._base = self._last_done = 0.0
        self._total: float | None = None
        self._logged_percent = 0.0

    def next_look(self, now: float) -> float:
        """Return when, by the monotonic clock, the progress is to be looked at again."""
        return now + LOOK_EVERY_S

    def progress(self) -> Progress | None:
        """Return how far the run is now, or None before its first progress."""
        if self._is_on_terminal is None:
            return None
        from supervisor._models.values import Progress

        done, total, message = self._run.position
        elapsed_s = self._run.now_s - self._began_s
        rate = (done - self._base) / elapsed_s if elapsed_s > 0 and done > self._base else None
        return self._redact(Progress(done=done, total=total, message=message, rate_per_s=rate))

    def look(self, now: float, send_every_s: float | None) -> bool:
        """Show and log the progress when that is due; return whether a message about it is due.

        Args:
            now: The monotonic clock's time.
            send_every_s: Seconds between two messages to handlers; None for no messages.
        """
        if self._is_on_terminal is None:
            self._start(now)
        self._notice_new_phase(now)
        progress = self.progress()
        if progress is not None and not self._is_on_terminal:
            self._log(now, progress)
        if send_every_s is None or now - self._sent_s < send_every_s:
            return False
        self._sent_s = now
        return True

    def end(self) -> None:
        """Take the run off the terminal."""
        if self._is_on_terminal:
            from supervisor._run import progress_bar

            progress_bar.hide(self._run)

    def _start(self, now: float) -> None:
        self._began_s = self._logged_s = self._sent_s = now
        self._is_on_terminal = self._run.settings.progress_bar and _places.is_watched()
        if self._is_on_terminal:
            from supervisor._run import progress_bar  # rich takes its time to load

            progress_bar.show(self._run)

    def _notice_new_phase(self, now: float) -> None:
        done, total, _ = self._run.position
        if done < self._last_done or total != self._total:
            self._began_s, self._base, self._logged_percent = now, done, 0.0
        self._last_done, self._total = done, total

    def _log(self, now: float, progress: Progress) -> None:
        from supervisor._messages import progress_line

        percent = progress.percentage or 0.0
        if now - self._logged_s < LOG_EVERY_S and percent - self._logged_percent < LOG_EVERY_PERCENT:
            return
        self._logged_s, self._logged_percent = now, percent
        _log.info("%s: %s", self._run.name, progress_line(progress))


# The loops of ``run.track``

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


def track(state: RunState, iterable: Iterable[T], total: TotalOf, message: str | None, pass_on: PassOn) -> Iterator[T]:
    """Loop over something; see :meth:`supervisor.Run.track`.

    Args:
        state: The run.
        iterable: What to loop over.
        total: Returns how many items there are, or None where nobody knows; it must not raise.
        message: What the run is doing; None leaves it as it was.
        pass_on: Passes the progress of the run on; called when the time for it has come.
    """
    if state.is_tracking:
        yield from iterable
        return
    _begin(state, total, message)
    pass_on(state)
    count, blind, looked_s = Count(), 0, 0.0
    asked, most_blind = count.asked, 0 if _is_watched(state) else _MOST_BLIND
    try:
        iterator = iter(iterable)
        for _ in asked:
            state.done = count  # each time: the body of the loop may have called progress()
            now = monotonic()
            if now >= state.due_s:
                pass_on(state)
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
    state: RunState, iterable: AsyncIterable[T], total: TotalOf, message: str | None, pass_on: PassOn
) -> AsyncIterator[T]:
    """Do as :func:`track` does with something asynchronous."""
    outermost = not state.is_tracking
    if outermost:
        _begin(state, total, message)
        pass_on(state)
    done = 0
    try:
        async for item in iterable:
            yield item
            done += 1
            if outermost:
                state.done = done
                if monotonic() >= state.due_s:
                    pass_on(state)
    finally:
        state.is_tracking = state.is_tracking and not outermost


def _begin(state: RunState, total: TotalOf, message: str | None) -> None:
    """Begin to count from 0."""
    state.is_tracking = True
    state.done = 0
    state.total = total()
    if message is not None:
        state.message = message


def length_of(_: RunState, iterable: object) -> int | None:
    """Return how many items an iterable says that it has, or None; it may raise whatever the iterable raises."""
    return length_hint(iterable, 0) or None


def _is_watched(state: RunState) -> bool:
    """Return whether progress is sent to handlers, or a stall of this run or of one around it is to be found."""
    if state.needs.progress_interval_s is not None:
        return True
    around: RunState | None = state
    while around is not None and around.settings.stall_after_s is None and around.joined is None:
        around = around.parent
    return around is not None
