"""Give signs of life of runs that a later process may not be able to look up.

On an ordinary machine whoever starts later can see if the process of a run is gone, and nothing here is loaded. In a
container, or with a journal that several machines share, it cannot: so the run notes every minute that it lives. One
thread of the process sleeps meanwhile. It ends before a fork, and exists again after it.
"""

from __future__ import annotations

import threading
import time
from contextvars import Context
from typing import TYPE_CHECKING

import attrs

from supervisor import _log
from supervisor._forks import THREAD_PREFIX, guard_forks
from supervisor._hooks import on_fork
from supervisor._places.resources import memory_use
from supervisor._store.essentials import JournalUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._places.resources import MemoryUse

IDLE_S = 60.0
"""How long the thread waits for another run before it ends: a script may start one run after the other."""
_STOP_S = 5.0
"""How long a fork waits, at most, for a sign of life that is being written."""


@attrs.define(eq=False)
class _Beating:
    """One run that gives signs of life.

    Args:
        every_s: How often.
        write: Notes one, with the longest silence so far in seconds.
        last_s: When the last one was given, by the monotonic clock.
        longest_s: The longest silence so far.
    """

    every_s: float
    write: Callable[[float, MemoryUse | None], None]
    last_s: float
    longest_s: float

    @property
    def due_s(self) -> float:
        return self.last_s + self.every_s

    def beat(self, now: float) -> None:
        """Give a sign of life. What held up this thread, such as C code that keeps the GIL, may do so again."""
        self.longest_s = max(self.longest_s, now - self.last_s)
        self.last_s = now
        try:
            self.write(self.longest_s, memory_use())
        except JournalUnavailable as error:
            _log.info("a sign of life could not be noted: %s", error)


class Heart:
    """Gives the signs of life of all runs of a process.

    Args:
        clock: Returns seconds from a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin_empty()

    def _begin_empty(self) -> None:
        self._beating: dict[str, _Beating] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wakes_s = 0.0
        self._is_stopping = False

    def add(self, run_id: str, every_s: float, write: Callable[[float, MemoryUse | None], None]) -> None:
        """Give signs of life of a run from now on, the first one after ``every_s`` seconds."""
        with self._changed:
            now = self._clock()
            self._beating[run_id] = _Beating(every_s, write, now, every_s)
            self._ensure_thread()
            if now + every_s < self._wakes_s:  # most runs begin and end while the thread sleeps
                self._changed.notify_all()

    def remove(self, run_id: str) -> None:
        """Give no more signs of life of a run."""
        with self._changed:
            self._beating.pop(run_id, None)

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            guard_forks()
            self._thread = threading.Thread(target=self._serve, name=f"{THREAD_PREFIX}heartbeat", daemon=True)
            Context().run(self._thread.start)  # it belongs to no run

    def _serve(self) -> None:
        while True:
            with self._changed:
                due = self._wait()
                if due is None:
                    self._thread = None
                    return
            due.beat(self._clock())

    def _wait(self) -> _Beating | None:
        """Wait until a sign of life is due; None when the thread is to end."""
        idle_until_s = self._clock() + IDLE_S
        while not self._is_stopping:
            first = min(self._beating.values(), key=lambda each: each.due_s, default=None)
            now = self._clock()
            if first is not None and first.due_s <= now:
                return first
            if first is None and now >= idle_until_s:
                return None
            self._wakes_s = idle_until_s if first is None else first.due_s
            self._changed.wait(self._wakes_s - now)
        return None

    def stop(self) -> None:
        """End the thread for a fork, which is safe only without it."""
        thread = self._thread
        if thread is None:
            return
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if thread is not threading.current_thread():
            thread.join(_STOP_S)

    def go_on(self) -> None:
        """Start the thread again after a fork, where runs need it."""
        if self._is_stopping:
            with self._changed:
                self._is_stopping = False
                if self._beating:
                    self._ensure_thread()

    def forget(self) -> None:
        """Leave the runs to the parent of a forked child."""
        self._begin_empty()


heart = Heart()

on_fork(before=heart.stop, in_parent=heart.go_on, in_child=heart.forget)
