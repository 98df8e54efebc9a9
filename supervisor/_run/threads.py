"""Let a run be found in the threads that it starts, and hear of exceptions that nobody caught there or in its tasks.

A plain ``threading.Thread`` starts with an empty context up to Python 3.13, and from 3.14 on too unless
``sys.flags.thread_inherit_context`` is set. Inside of runs, a thread runs in a copy of the context in which it was
started, and an exception that nobody in the thread caught is reported to the run before ``threading.excepthook`` gets
it.

asyncio reports exceptions that nobody retrieved in one place, whatever the event loop: its logger, when the task is
thrown away. That needs no patch, and works before asyncio is imported too. A loop with an exception handler of the
script's own keeps them to itself: they count as caught.
"""

from __future__ import annotations

import sys
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from supervisor import _hooks
from supervisor._run.state import current_state

if TYPE_CHECKING:
    import logging
    import threading
    from collections.abc import Callable

    from supervisor._run.state import RunState

    Report = Callable[[RunState, BaseException, str], None]

# The two texts that asyncio gives to an exception that was never retrieved, and the one of asyncio.run().
_UNCAUGHT = ("Task exception was never", "Future exception was never", "unhandled exception during asyncio.run()")

_runs_by_loop: dict[int, list[RunState]] = {}


def follow_threads_and_tasks(report: Report) -> None:
    """Follow the threads and the asyncio tasks of all runs of the process, unless that is done already.

    Args:
        report: Is called with a run, an exception that nobody caught in a thread or task of it, and that one's name.
    """
    _hooks.on_thread_start(partial(_follow, report))
    _hooks.on_asyncio_record(partial(_report_uncaught, report))


def _follow(report: Report, thread: threading.Thread) -> None:
    """Make a thread that is about to start inside of a run do its work in the context of that run."""
    run = current_state()
    if run is None:
        return
    target: Callable[[], Any] = thread.run
    context = copy_context()

    def follow() -> None:
        try:
            context.run(target)
        except Exception as error:
            report(run, error, thread.name)
            raise
        finally:
            # The thread object may live on; what it holds of the run must not.
            vars(thread).pop("run", None)

    thread.run = follow  # type: ignore[method-assign]


def _report_uncaught(report: Report, record: logging.LogRecord) -> None:
    """Report the exception that a record of asyncio speaks of to its run."""
    if record.exc_info and isinstance(record.exc_info[1], Exception) and record.getMessage().startswith(_UNCAUGHT):
        run = current_state() or _run_of_this_loop()
        if run is not None:
            report(run, record.exc_info[1], "an asyncio task")


def enter_loop(run: RunState) -> None:
    """Remember that ``run`` is under way in the event loop that is running here."""
    loop = _running_loop()
    if loop is not None:
        _runs_by_loop.setdefault(id(loop), []).append(run)


def leave_loop(run: RunState) -> None:
    """Forget what :func:`enter_loop` remembered."""
    for key, runs in list(_runs_by_loop.items()):
        if run in runs:
            runs.remove(run)
            if not runs:
                _runs_by_loop.pop(key, None)


def _run_of_this_loop() -> RunState | None:
    """Return the outermost run in this loop: a task is thrown away outside of any context of its own."""
    loop = _running_loop()
    runs = _runs_by_loop.get(id(loop), ()) if loop is not None else ()
    return next((run for run in runs if not run.has_ended), None)


def _running_loop() -> Any:
    """Return asyncio's running loop, or None under another library or none."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
