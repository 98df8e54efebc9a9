"""Uncaught exceptions of the whole process, for ``Supervisor(handle_errors=True)``."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


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
