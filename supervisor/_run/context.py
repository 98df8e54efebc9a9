"""Which run the code at hand belongs to.

- What the ending of a script stands for: an outcome, and the exit code that it asked for.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING

from supervisor._models.kinds import Outcome
from supervisor._run.signals import Terminated
from supervisor.errors import CommandError

if TYPE_CHECKING:
    from supervisor._run.run import Run

active_run: ContextVar[Run | None] = ContextVar("supervisor_run", default=None)


def current_run() -> Run | None:
    """Return the innermost run that is under way here, or None outside of runs.

    It is found in everything that the run calls, in the asyncio tasks made there, and in the threads started there.
    """
    run = active_run.get()
    # A context can outlive its run (a thread pool's threads, a generator): what has ended is not under way.
    while run is not None and run.has_ended:
        run = run.parent
    return run


# Looked up once: an enum's member costs as much as a clock.
_SUCCESS = Outcome.SUCCESS, None


def ending_of(  # noqa: PLR0911 - one for each kind of ending
    error: BaseException | None, signum: int
) -> tuple[Outcome, int | None]:
    """Return the outcome that an ending stands for, and the exit code that the script asked for."""
    if error is None or isinstance(error, GeneratorExit):
        return _SUCCESS
    if isinstance(error, CommandError):
        return error.outcome, error.exit_code
    if isinstance(error, Terminated):
        return Outcome.TERMINATED, error.code  # type: ignore[return-value]  # it is a number there
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code if isinstance(error.code, int) else 1
        return (Outcome.FAILURE if code else Outcome.SUCCESS), int(code)
    if isinstance(error, KeyboardInterrupt):
        return Outcome.INTERRUPTED, None
    if _is_cancellation(error):
        # SIGTERM under asyncio.run() reaches the coroutine as a cancellation.
        return (Outcome.TERMINATED, 128 + signum) if signum else (Outcome.CANCELLED, None)
    return Outcome.FAILURE, None


def _is_cancellation(error: BaseException) -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def is_interrupt(error: BaseException) -> bool:
    """Tell whether this is how a run is interrupted, by a person or for taking too long."""
    return isinstance(error, KeyboardInterrupt) or _is_cancellation(error)
