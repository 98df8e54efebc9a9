"""Interrupt a run that takes too long, wherever it is at work.

Inside the script it is a ``KeyboardInterrupt`` (in asyncio: a cancellation), so that ``except Exception`` does not
catch it and ``finally`` cleans up. Where it leaves the run, it has become an
:class:`~supervisor.errors.OverdueError`, as ``asyncio.timeout()`` turns its cancellation into a ``TimeoutError``.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from supervisor import _log

if TYPE_CHECKING:
    from collections.abc import Callable

ON_ITS_WAY_S = 0.5
"""How long an interrupt takes, at most, from the watching thread to the one that is interrupted."""


class Target(Protocol):
    """The thread or the asyncio task of a run, which can be interrupted."""

    loop: Any

    def interrupt(self, still_due: Callable[[], bool]) -> None:
        """Interrupt it, if that is still due when its turn comes."""

    def stands_still(self) -> bool:
        """Return whether the interrupt has not arrived, so that another one may help."""

    def is_cancelled_by_others(self) -> bool:
        """Withdraw our cancellation, if it was one, and return whether others asked for a cancellation too."""


def target_here() -> Target:
    """Return what to interrupt when the run that starts now takes too long: the current task, or else the thread."""
    task = _current_task()
    if task is not None:
        return TaskTarget(task)
    return ThreadTarget(threading.get_ident())


class ThreadTarget:
    """A thread; the main one is reached by a real SIGINT, which also ends its waiting for a clock or a socket.

    Any other is reached only when it next runs Python code: what it waits for is waited for.

    Args:
        ident: The thread's number.
    """

    loop = None

    def __init__(self, ident: int) -> None:
        self._ident = ident
        self._stood_at: tuple[int, int] | None = None

    def interrupt(self, still_due: Callable[[], bool]) -> None:
        """Raise KeyboardInterrupt in the thread, if that is still due."""
        if not still_due():
            return
        handler = signal.getsignal(signal.SIGINT)
        # A signal that is ignored (as in a script started with "&") or ends the process at once is of no use.
        is_main = self._ident == threading.main_thread().ident
        if not is_main or handler in (signal.SIG_IGN, signal.SIG_DFL, None):
            _raise_in(self._ident)
        else:
            self._stood_at = self._place() if handler is signal.default_int_handler else None
            _send_to_main(self._ident)

    def stands_still(self) -> bool:
        """Return whether the thread is still in the same line: the signal came right before it began to wait there."""
        return self._stood_at is not None and self._stood_at == self._place()

    def is_cancelled_by_others(self) -> bool:
        """Return False: an interrupt of a thread leaves nothing to be taken back."""
        return False

    def _place(self) -> tuple[int, int] | None:
        frame = sys._current_frames().get(self._ident)  # noqa: SLF001 - documented, for looking at threads
        return None if frame is None else (id(frame), frame.f_lineno)


class TaskTarget:
    """An asyncio task. It is reached when its event loop is free: code that blocks the loop is waited for.

    Args:
        task: The task in which the run started.
    """

    def __init__(self, task: Any) -> None:
        self.loop = task.get_loop()
        self._task = task
        self._cancelling: int = task.cancelling()
        self._is_asked = False

    def interrupt(self, still_due: Callable[[], bool]) -> None:
        """Cancel the task, if that is still due when the loop comes to it."""

        def cancel() -> None:
            if still_due():
                self._is_asked = True
                self._task.cancel()

        try:
            self.loop.call_soon_threadsafe(cancel)
        except RuntimeError:
            _log.info("a run in an event loop that is closed cannot be interrupted")

    def stands_still(self) -> bool:
        """Return False: what is cancelled once need not be cancelled again."""
        return False

    def is_cancelled_by_others(self) -> bool:
        """Withdraw our own request, as asyncio.timeout() does, and return whether others asked too."""
        return self._is_asked and self._task.uncancel() > self._cancelling


def wait_for_late_one() -> None:
    """Let an interrupt arrive that is on its way to this thread.

    Raises:
        KeyboardInterrupt: It arrived.
    """
    until = time.monotonic() + ON_ITS_WAY_S
    while time.monotonic() < until:
        time.sleep(0.005)


def _send_to_main(ident: int) -> None:
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGINT)  # Python's handler also wakes a sleeping main thread
    else:
        signal.pthread_kill(ident, signal.SIGINT)


def _raise_in(ident: int) -> None:
    """Raise KeyboardInterrupt in a thread when it next runs Python code.

    https://docs.python.org/3/c-api/threads.html#c.PyThreadState_SetAsyncExc
    """
    try:
        from ctypes import c_ulong, py_object, pythonapi

        pythonapi.PyThreadState_SetAsyncExc(c_ulong(ident), py_object(KeyboardInterrupt))
    except (ImportError, AttributeError):
        _log.warning("this Python cannot interrupt a thread; the run goes on")


def _current_task() -> Any:
    """Return the asyncio task at hand, or None outside of one."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
