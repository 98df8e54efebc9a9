"""Call a supervised function again after an exception: when, after what wait, and what is kept of the failed attempts.

One run holds all attempts. What the script recorded in a failed one is dropped, its error is kept in a few words. The
waits follow the rules of stamina (https://stamina.hynek.me/en/stable/motivation.html): exponential, with a random part
and an upper limit. Loaded by runs with ``retries`` only.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from supervisor import _log
from supervisor._models import Outcome
from supervisor._run.lifecycle import reporter_of, safely
from supervisor._run.process_events import Terminated, ending_of
from supervisor._text import duration
from supervisor.errors import OverdueError, OverlapError

if TYPE_CHECKING:
    from supervisor._models.values import ErrorDetails
    from supervisor._run.state import RunState
    from supervisor._settings import Settings

LONGEST_WAIT_S = 3600.0
"""The longest wait, unless ``retry_wait_s`` itself is longer."""

_JITTER = 0.25  # the random part, of retry_wait_s
_SLICE_S = 1.0  # a thread that is asked to end notices it within this time, and the run is known to be alive
_NOTE_EVERY_S = 10.0


def call(state: RunState, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function until an attempt succeeds, or fails for good; return its result, or raise its last exception."""
    while True:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not is_tried_again(state, error):
                raise
            left_s = _prepare_next(state, error)
        # Outside of the handler, so that the next exception does not have this one as its context.
        for slice_s in _slices(state, left_s):
            time.sleep(slice_s)
        forget_attempt(state)


async def call_async(state: RunState, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do as :func:`call` does with a coroutine function, and let the event loop go on meanwhile."""
    import asyncio

    while True:
        try:
            return await function(*args, **kwargs)
        except Exception as error:
            if not is_tried_again(state, error):
                raise
            left_s = _prepare_next(state, error)
        for slice_s in _slices(state, left_s):
            await asyncio.sleep(slice_s)
        forget_attempt(state)


def wait_s(settings: Settings, attempt: int) -> float:
    """Return how many seconds to wait after a failed attempt.

    That is ``min(longest, retry_wait_s * 2 ** (attempt - 1) + random(0, retry_wait_s / 4))``, with an hour as the
    longest wait, or ``retry_wait_s`` where that is longer.

    Args:
        settings: The settings of the run.
        attempt: The number of the attempt that failed, from 1 on.
    """
    first_s = settings.retry_wait_s
    jitter_s = random.uniform(0.0, _JITTER * first_s)  # noqa: S311 - to spread the waits, not to keep a secret
    return min(max(LONGEST_WAIT_S, first_s), first_s * 2.0 ** (attempt - 1) + jitter_s)


def has_attempts_left(state: RunState) -> bool:
    """Return whether another attempt is allowed: none once the run was asked to end, or took too long."""
    asked_to_end = state.signum or state.overdue is not None
    return not asked_to_end and len(state.retried) < state.settings.retries


def is_tried_again(state: RunState, error: Exception) -> bool:
    """Return whether the function is called again after an exception."""
    return bool(has_attempts_left(state) and safely(state, _is_failed_attempt, error))


def _is_failed_attempt(state: RunState, error: Exception) -> bool:
    if isinstance(error, (OverdueError, OverlapError)) or ending_of(error, 0) != (Outcome.FAILURE, None):
        return False  # its limits ended it, or it ended on purpose: with an exit code, or for the library that calls it
    return _is_one_of(error, state.settings.retry_on)


def _is_one_of(error: BaseException, wanted: tuple[type[Exception] | str, ...]) -> bool:
    """Return whether an exception is of the wanted types; of a group, whether all of its exceptions are."""
    names = {each for each in wanted if isinstance(each, str)}
    if isinstance(error, tuple(each for each in wanted if isinstance(each, type))):
        return True
    if any({kind.__qualname__, f"{kind.__module__}.{kind.__qualname__}"} & names for kind in type(error).__mro__):
        return True
    return isinstance(error, BaseExceptionGroup) and all(_is_one_of(each, wanted) for each in error.exceptions)


def _prepare_next(state: RunState, error: Exception) -> float:
    """Note a failed attempt, and return how many seconds to wait before the next one."""
    details = safely(state, _details, error)
    if details is None:  # a fault of supervision, which is logged
        from supervisor._models.values import ErrorDetails

        details = ErrorDetails(type=type(error).__name__)
    return note_failed_attempt(state, details)


def _details(state: RunState, error: Exception) -> ErrorDetails:
    details: ErrorDetails = reporter_of(state).details_of_attempt(error)
    return details


def note_failed_attempt(state: RunState, details: ErrorDetails, *, is_quiet: bool = False) -> float:
    """Keep the error of a failed attempt, log it, and return how many seconds to wait before the next one.

    Args:
        state: The run.
        details: The error, in a few words.
        is_quiet: Whether it is logged at INFO; else at WARNING, so that the one who waits knows for what.
    """
    state.retried = (*state.retried, details)
    failed, left_s = len(state.retried), wait_s(state.settings, len(state.retried))
    whole = state.settings.retries + 1
    text = "attempt %d of %d of %r failed (%s); the next one begins in %s"
    (_log.info if is_quiet else _log.warning)(text, failed, whole, state.name, details, duration(left_s))
    return left_s


def _slices(state: RunState, left_s: float) -> Any:
    """Yield the seconds to sleep until the next attempt, in pieces, and let the run be known to be alive meanwhile."""
    _raise_if_asked_to_end(state)
    ends_s, noted_s = time.monotonic() + left_s, 0.0
    while (left_s := ends_s - time.monotonic()) > 0:
        state.mark_alive()
        if time.monotonic() - noted_s >= _NOTE_EVERY_S:
            noted_s = time.monotonic()
            note_wait(state)
        yield min(left_s, _SLICE_S)


def _raise_if_asked_to_end(state: RunState) -> None:
    """End the run if it was asked to while the failed attempt was described: what does that lets nothing through.

    Raises:
        Terminated: The process was asked to end.
        KeyboardInterrupt: The run took too long; it ends with its OverdueError.
    """
    if state.signum:
        raise Terminated(state.signum)
    if state.overdue is not None:
        raise KeyboardInterrupt


def note_wait(state: RunState) -> None:
    """Record that the run waits, where a check would take it for stalled otherwise."""
    if state.settings.stall_after_s is not None:
        safely(state, _record_wait)


def _record_wait(state: RunState) -> None:
    reporter_of(state).record_wait(f"waiting for attempt {len(state.retried) + 1} of {state.settings.retries + 1}")


def forget_attempt(state: RunState) -> None:
    """Drop what the script recorded, attached, warned of and did in steps in the attempt that failed."""
    state.values, state.attachments, state.warnings, state.steps, state.unheard = None, (), None, None, ()
    state.tables = ()
    state.done = state.total = state.message = None
    state.is_tracking, state.due_s = False, 0.0
    state.mark_alive()
    safely(state, lambda _: reporter_of(state).forget_progress())
