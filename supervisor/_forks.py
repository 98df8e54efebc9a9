"""Prepare the process for a fork: close stores, and wait for the threads of supervisor, which no child has.

No connection to the journal crosses a fork. SQLite forbids it, and closing the parent's connection in the child does
not help: the child would inherit SQLite's record of locks that only the parent holds, and write to a log that the
parent may delete (https://www.sqlite.org/howtocorrupt.html, section 2.6). So each store is closed right before the
fork, once its transaction in another thread has ended, and opens again on both sides when it is next used.

Nor may a thread of supervisor hold a lock of Python's at that moment: nobody would ever release it in the child. Such
locks are held during an import, as in a worker that sends its first message, and while something is written to the log
or the console. Waiting for them may take a while, and a signal may come meanwhile. What is registered with
``os.register_at_fork`` is too late for this: an exception that a signal handler raises there is lost, and other
packages have taken their own locks by then. So ``os.fork`` is wrapped. A fork by other code than Python's, or before
the first thread of supervisor, closes the stores and waits for nothing else.
"""

from __future__ import annotations

import importlib
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from supervisor._hooks import on_fork, wrap_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

THREAD_PREFIX = "supervisor "
"""What the names of all threads of supervisor begin with."""
LIMIT_S = 5.0
"""How long a fork waits for imports and writing, at most: they may in turn wait for the thread that forks."""
_POLL_S = 0.0005


class ForkAware(Protocol):
    """What has to be closed before a fork."""

    def before_fork(self) -> None:
        """Wait until no other thread uses it, and close what parent and child cannot share."""

    def after_fork(self, *, in_child: bool) -> None:
        """Allow use again; in the child, forget what belongs to the parent."""


_known: WeakValueDictionary[int, ForkAware] = WeakValueDictionary()


class _Fork(threading.local):
    """The fork that this thread prepares; two threads may fork at the same time.

    Attributes:
        held: What is closed for the fork; None while none is prepared.
        deferred: What signal handlers do after the fork; None while none is prepared.
    """

    def __init__(self) -> None:
        self.held: list[ForkAware] | None = None
        self.deferred: list[Callable[[], None]] | None = None


_fork = _Fork()
# The threads that write, one entry for each call. Without a lock, since a thread that writes may wait for another one.
_writing: list[int] = []


def notify_of_forks(aware: ForkAware) -> None:
    """Call the methods of an object around each fork, for as long as it lives."""
    _known[id(aware)] = aware


@contextmanager
def delaying_forks() -> Iterator[None]:
    """Let forks in other threads wait, while something is written to a stream that the script may use too."""
    thread = threading.get_ident()
    _writing.append(thread)
    try:
        yield
    finally:
        _writing.remove(thread)


def defer(action: Callable[[], None]) -> bool:
    """Call ``action`` in the parent after the fork that this thread prepares; return False when it prepares none.

    For signal handlers: an exception that is raised while Python prepares a fork is lost.
    """
    if _fork.deferred is None:
        return False
    _fork.deferred.append(action)
    return True


def guard_forks() -> None:
    """Let forks wait for the threads of supervisor; to be called before each start of one."""
    wrap_fork(_fork_when_quiet)


def _fork_when_quiet(plain: Callable[[], Any]) -> Any:
    _fork.deferred = []
    try:
        _hold_when_quiet()
        return plain()
    finally:
        _release(in_child=False)  # after a fork that was made this has been done already
        deferred, _fork.deferred = _fork.deferred or (), None
        for each in deferred:
            each()


def _hold_when_quiet() -> None:
    """Close all stores at a moment when no thread of supervisor imports, and no other thread writes."""
    ends_at_s = time.monotonic() + LIMIT_S
    while True:
        _wait_for_quiet(ends_at_s)
        _hold()
        if not _is_busy() or time.monotonic() >= ends_at_s:
            return
        _release(in_child=False)  # while this waited for a store, a thread has begun to import or to write


def _wait_for_quiet(until_s: float) -> None:
    # Twice in a row, since a thread that is about to take the lock of a module has it at the second look.
    quiet = 0
    while quiet < 2 and (_our_threads() or _writing) and time.monotonic() < until_s:  # noqa: PLR2004 - the comment above says why 2
        time.sleep(_POLL_S)
        quiet = 0 if _is_busy() else quiet + 1


def _is_busy() -> bool:
    """Tell whether a thread of supervisor imports, or any other thread writes."""
    # Python has no public way to ask which threads import.
    locks: dict[str, Any] = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", {})
    importing = {getattr(reference(), "owner", None) for reference in list(locks.values())}
    importing &= _our_threads()  # asked last: a thread may have started another one meanwhile
    return bool(importing.union(_writing) - {threading.get_ident()})


def _our_threads() -> set[int | None]:
    return {each.ident for each in threading.enumerate() if each.name.startswith(THREAD_PREFIX)}


def _hold() -> None:
    """Close all stores, unless that is done already."""
    if _fork.held is not None:
        return
    _fork.held = []
    # valuerefs() is one atomic copy; iterating could meet another thread's change.
    for each in [reference() for reference in _known.valuerefs()]:
        if each is not None:
            _fork.held.append(each)
            each.before_fork()


def _release(*, in_child: bool) -> None:
    held, _fork.held = _fork.held or [], None
    if in_child:
        _fork.deferred = None  # what the parent's signals asked for
        _writing[:] = [each for each in _writing if each == threading.get_ident()]
    while held:
        held.pop().after_fork(in_child=in_child)


on_fork(before=_hold, in_parent=lambda: _release(in_child=False), in_child=lambda: _release(in_child=True))
