"""Which run the code at hand belongs to."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

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
