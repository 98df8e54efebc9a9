"""What a fork waits for, since our threads do not exist in the child.

No connection to the journal crosses a fork. SQLite forbids it, and closing the parent's connection in the child is no
way out: the child would inherit SQLite's own record of locks that only the parent holds, and write to a log that the
parent may delete (https://www.sqlite.org/howtocorrupt.html, section 2.6). So each store is closed right before the
fork, once its transaction in another thread has ended, and opens again on both sides when it is next used.

And no thread of ours is in the middle of what Python locks meanwhile. In the child nobody would ever release that, and
it would hang: an import, as a courier has at its first message, or a line that is written to the log or the console.
That may take a while, in which a signal may come. What is registered with ``os.register_at_fork`` loses the exception
that a signal raises, and comes when others have taken their locks. So ``os.fork`` is wrapped once for the process;
forks by other code than Python's, or before a thread of ours starts, wait for the stores alone.
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
"""What the names of our threads begin with."""
LIMIT_S = 5.0
"""How long a fork waits for imports and lines; they may wait for something that the forking thread is to do."""
_LOOK_S = 0.0005


class ForkAware(Protocol):
    """What wants to know of forks."""

    def before_fork(self) -> None:
        """Wait until no other thread is at work, and let go of what cannot be shared."""

    def after_fork(self, *, in_child: bool) -> None:
        """Go on; in the child nothing of the parent's is left."""


_known: WeakValueDictionary[int, ForkAware] = WeakValueDictionary()


class _Fork(threading.local):
    """What the fork of this thread holds up; two threads may fork at the same time."""

    def __init__(self) -> None:
        # None while no fork is prepared.
        self.held: list[ForkAware] | None = None
        self.deferred: list[Callable[[], None]] | None = None


_fork = _Fork()
_writing: list[int] = []  # threads, each as often as it writes: no lock, for who writes may wait for any other


def notify_of_forks(which: ForkAware) -> None:
    """Tell an object of forks for as long as it lives."""
    _known[id(which)] = which


@contextmanager
def delaying_forks() -> Iterator[None]:
    """Hold up the forks of other threads while something is written to where the script may write as well."""
    thread = threading.get_ident()
    _writing.append(thread)
    try:
        yield
    finally:
        _writing.remove(thread)


def defer(action: Callable[[], None]) -> bool:
    """Do what a signal asks for when the fork of this thread is done, in the parent; return False when there is none.

    An exception that is raised where Python prepares a fork is lost.
    """
    if _fork.deferred is None:
        return False
    _fork.deferred.append(action)
    return True


def guard_forks() -> None:
    """Have forks wait for our threads; whoever starts one calls this before."""
    wrap_fork(_fork_when_quiet)


def _fork_when_quiet(plain: Callable[[], Any]) -> Any:
    _fork.deferred = []
    try:
        _hold_when_quiet()
        return plain()
    finally:
        _let_go(in_child=False)  # done already, unless it did not come to the fork
        deferred, _fork.deferred = _fork.deferred or (), None
        for each in deferred:
            each()


def _hold_when_quiet() -> None:
    """Hold all stores when none of our threads is importing, and no other thread writing."""
    ends_at_s = time.monotonic() + LIMIT_S
    while True:
        _wait_for_quiet(ends_at_s)
        _hold()
        if not _is_busy() or time.monotonic() >= ends_at_s:
            return
        _let_go(in_child=False)  # while we waited for a store, its thread went on


def _wait_for_quiet(until_s: float) -> None:
    # Between two looks another thread runs on: one that is about to take a module's lock has it at the second.
    quiet = 0
    while quiet < 2 and (_our_threads() or _writing) and time.monotonic() < until_s:  # noqa: PLR2004
        time.sleep(_LOOK_S)
        quiet = 0 if _is_busy() else quiet + 1


def _is_busy() -> bool:
    """Tell whether one of our threads is importing, or another thread writing."""
    # Which threads import, Python tells nobody in public.
    locks: dict[str, Any] = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", {})
    importing = {getattr(reference(), "owner", None) for reference in list(locks.values())}
    importing &= _our_threads()  # asked after that, since one of ours may have started another meanwhile
    return bool(importing.union(_writing) - {threading.get_ident()})


def _our_threads() -> set[int | None]:
    return {each.ident for each in threading.enumerate() if each.name.startswith(THREAD_PREFIX)}


def _hold() -> None:
    """Hold all stores, unless that is done already."""
    if _fork.held is not None:
        return
    _fork.held = []
    # valuerefs() is one atomic copy; iterating could meet another thread's change.
    for each in [reference() for reference in _known.valuerefs()]:
        if each is not None:
            _fork.held.append(each)
            each.before_fork()


def _let_go(*, in_child: bool) -> None:
    held, _fork.held = _fork.held or [], None
    if in_child:
        _fork.deferred = None  # the signals were the parent's
        _writing[:] = [each for each in _writing if each == threading.get_ident()]
    while held:
        held.pop().after_fork(in_child=in_child)


on_fork(before=_hold, in_parent=lambda: _let_go(in_child=False), in_child=lambda: _let_go(in_child=True))
