"""Let exceptions that no one fetched from an asyncio task reach the run.

asyncio tells of them in one place, whatever the event loop: its logger, when the task is thrown away. A filter
on that logger sees them and lets everything pass. It needs no patch, and works before asyncio is imported too.
A loop with an exception handler of the script's own keeps them to itself: they count as caught.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from supervisor._run.state import current_state

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from supervisor._run.state import RunState

# The two texts that asyncio gives to an exception that was never retrieved, and the one of asyncio.run().
_UNCAUGHT = ("Task exception was never", "Future exception was never", "unhandled exception during asyncio.run()")

_runs_by_loop: dict[int, list[RunState]] = {}
_reports: list[Callable[[RunState, BaseException, str], None]] = []


def follow_tasks(report: Callable[[RunState, BaseException, str], None]) -> None:
    """Listen to asyncio's logger; where that would load ``logging`` for nothing, only when asyncio is imported.

    Args:
        report: Is called with a run, an exception that nobody fetched from a task of it, and words for the task.
    """
    _reports[:] = [report]
    if "logging" in sys.modules:
        _listen()
    elif _WhenImported not in sys.meta_path:
        sys.meta_path.insert(0, _WhenImported)


class _WhenImported:
    """Stands first among the finders of modules; it finds none, but sees when asyncio is looked for."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Listen to asyncio, which loads ``logging`` anyway, before it says anything."""
        if name == "asyncio":
            _listen()


def _listen() -> None:
    import logging

    logging.getLogger("asyncio").addFilter(_tell_run)  # which does nothing when it is there


def _tell_run(record: logging.LogRecord) -> bool:
    """Let every record pass, and tell the run of those that speak of an uncaught exception."""
    if record.exc_info and isinstance(record.exc_info[1], Exception) and record.getMessage().startswith(_UNCAUGHT):
        run = current_state() or _run_of_this_loop()
        if run is not None:
            for report in _reports:
                report(run, record.exc_info[1], "an asyncio task")
    return True


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
