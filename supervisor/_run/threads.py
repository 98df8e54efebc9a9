"""Let a run be found in the threads that it starts, and let their uncaught exceptions reach it.

A plain ``threading.Thread`` starts with an empty context up to Python 3.13, and from 3.14 on too unless
``sys.flags.thread_inherit_context`` is set. So ``Thread.start`` is wrapped once for the process. Outside of runs
the wrapper does nothing; inside, the thread runs in a copy of the context in which it was started, and an
exception that nobody in the thread caught is told to the run before ``threading.excepthook`` has it.

- Uncaught exceptions of the whole process, for ``Supervisor(handle_errors=True)``.
"""

from __future__ import annotations

import functools
import sys
import threading
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from supervisor._run.state import current_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from supervisor._run.state import RunState


def follow_threads(report: Callable[[RunState, BaseException, str], None]) -> None:
    """Wrap ``Thread.start``, unless that is done already.

    Args:
        report: Is called with a run, an exception that nobody caught in a thread of it, and the thread's name.
    """
    plain_start = threading.Thread.start
    if getattr(plain_start, "_follows_runs", False):
        return

    @functools.wraps(plain_start)
    def start(thread: threading.Thread) -> None:
        run = current_state()
        if run is not None:
            _follow(thread, run, report)
        plain_start(thread)

    start._follows_runs = True  # type: ignore[attr-defined]  # noqa: SLF001 - our own mark on our own function
    threading.Thread.start = start  # type: ignore[assignment, method-assign]


def _follow(thread: threading.Thread, run: RunState, report: Callable[[RunState, BaseException, str], None]) -> None:
    """Make a thread that is about to start run in the context of ``run``."""
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


def _remember_interrupt() -> None:
    """Let Python end with the exit code of an interrupt (130), as it would without us.

    It notes an interrupt that leaves the code it runs from text, and forgets it when more code is run from text
    meanwhile, as each import of a named tuple does.
    """
    with suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")  # noqa: S102 - our own words; only code from text is noted


def on_uncaught(tell: Callable[[BaseException, str], None]) -> None:
    """Call ``tell(error, thread_name)`` for each uncaught exception, then the hook that was there before.

    ``thread_name`` is "" for the main thread. ``SystemExit`` never comes here: Python does not call its hooks for it.
    """
    found_in_main, found_in_threads = sys.excepthook, threading.excepthook

    def in_main(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        try:
            tell(error.with_traceback(trace), "")
        finally:
            found_in_main(kind, error, trace)
            if kind is KeyboardInterrupt:
                _remember_interrupt()

    def in_thread(uncaught: threading.ExceptHookArgs) -> None:
        try:
            if uncaught.exc_value is not None and not isinstance(uncaught.exc_value, SystemExit):
                tell(uncaught.exc_value, uncaught.thread.name if uncaught.thread else "a thread")
        finally:
            found_in_threads(uncaught)

    sys.excepthook = in_main
    threading.excepthook = in_thread
