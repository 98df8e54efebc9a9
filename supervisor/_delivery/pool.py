"""What the workers of a runtime and those who wait for them share, and what happens to it at exit and in a fork.

It stands apart from the workers, so that a run without messages need not load them.
"""

from __future__ import annotations

import sys
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar
from weakref import WeakSet

from supervisor._hooks import at_exit, on_fork

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._models.values import MessageHandler

W = TypeVar("W")

EXIT_DEADLINE_S = 30.0
"""How long the end of the process waits for messages that no run waits for, at most."""

_this_thread = threading.local()


def in_worker_thread() -> bool:
    """Tell whether the code at hand runs in a worker's thread: a handler is sending."""
    return getattr(_this_thread, "is_worker", False)


def mark_worker_thread() -> None:
    """Let the thread at hand count as a worker's."""
    _this_thread.is_worker = True


class Waiter(Protocol):
    """Who has submitted jobs and may still wait for them."""

    def wait(self, deadline_s: float, /) -> None:
        """Wait until they are settled, at most so many seconds."""

    def forget(self) -> None:
        """Drop them, in a forked child: they are the parent's to deliver."""


class WorkerPool:
    """The workers of a runtime.

    A handler that runs of two runtimes share has a worker in each, and so may be called by two threads at a time.

    Attributes:
        changed: Guards what workers and dispatchers share. It is notified when a worker has work, and when a job is
            settled.
        unfinished: Who has jobs that nobody has waited for yet; guarded by ``changed``.
        is_process_ending: True from the end of the main program on: what is submitted then has nobody to wait for it.
    """

    is_process_ending: ClassVar[bool] = False

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.unfinished: set[Waiter] = set()
        self._workers: dict[int, Any] = {}
        _pools.add(self)

    def acquire(self, handler: MessageHandler, make: Callable[[], W]) -> W:
        """Return the one worker of a handler. The caller holds ``changed``, and counts itself among its users.

        Args:
            handler: The handler.
            make: Makes its worker; called where there is none.
        """
        found: W = self._workers.get(id(handler)) or self._workers.setdefault(id(handler), make())
        return found

    def discard(self, handler: MessageHandler) -> None:
        """Forget the worker of a handler, whose thread ends. The caller holds ``changed``."""
        self._workers.pop(id(handler), None)

    def finish(self, deadline_s: float) -> None:
        """Wait for all that is unfinished, at most so many seconds."""
        until_s = monotonic() + deadline_s
        for waiter in tuple(self.unfinished):
            waiter.wait(max(0.0, until_s - monotonic()))

    def renew_in_child(self) -> None:
        """Start empty in a forked child: the threads do not exist there, and one may have held ``changed``."""
        self.changed = threading.Condition()
        self._workers.clear()
        for waiter in self.unfinished:
            waiter.forget()
        self.unfinished.clear()


_pools: WeakSet[WorkerPool] = WeakSet()


def _finish_all() -> None:
    """Wait at the end of the process for messages that no run waits for."""
    WorkerPool.is_process_ending = True
    until_s = monotonic() + EXIT_DEADLINE_S
    for pool in tuple(_pools):
        pool.finish(max(0.0, until_s - monotonic()))
    copies = sys.modules.get("supervisor._store.memory_attachments")
    if copies is not None:  # otherwise nothing was copied
        copies.remove_all()


def _renew_all_in_child() -> None:
    for pool in _pools:
        pool.renew_in_child()


at_exit(_finish_all)
on_fork(in_child=_renew_all_in_child)
