"""No connection to the journal crosses a fork.

SQLite forbids it, and closing the parent's connection in the child is no way out: the child would inherit
SQLite's own record of locks that only the parent holds, and write to a log that the parent may delete
(https://www.sqlite.org/howtocorrupt.html, section 2.6). So each store is closed right before the fork, once its
transaction in another thread has ended, and opens again on both sides when it is next used.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakValueDictionary


class ForkAware(Protocol):
    """What wants to know of forks."""

    def before_fork(self) -> None:
        """Wait until no other thread is at work, and let go of what cannot be shared."""

    def after_fork(self, *, in_child: bool) -> None:
        """Go on; in the child nothing of the parent's is left."""


_known: WeakValueDictionary[int, ForkAware] = WeakValueDictionary()


class _Waiting(threading.local):
    """What the fork of this thread holds up; two threads may fork at the same time."""

    def __init__(self) -> None:
        self.for_fork: list[ForkAware] = []


_waiting = _Waiting()


def watch_forks(which: ForkAware) -> None:
    """Tell an object of forks for as long as it lives."""
    _known[id(which)] = which


def _before() -> None:
    # valuerefs() is one atomic copy; iterating could meet another thread's change.
    for each in [reference() for reference in _known.valuerefs()]:
        if each is not None:
            _waiting.for_fork.append(each)
            each.before_fork()


def _after(*, in_child: bool) -> None:
    while _waiting.for_fork:
        _waiting.for_fork.pop().after_fork(in_child=in_child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=lambda: _after(in_child=False),
        after_in_child=lambda: _after(in_child=True),
    )
