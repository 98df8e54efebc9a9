"""What a fork waits for, since our threads do not exist in the child.

No connection to the journal crosses a fork. SQLite forbids it, and closing the parent's connection in the child is no
way out: the child would inherit SQLite's own record of locks that only the parent holds, and write to a log that the
parent may delete (https://www.sqlite.org/howtocorrupt.html, section 2.6). So each store is closed right before the
fork, once its transaction in another thread has ended, and opens again on both sides when it is next used.

And no thread of ours is in the middle of an import, as a courier is at its first message: Python holds a lock for each
module meanwhile, which nobody would ever release in the child, and whoever imports that module there would hang.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakValueDictionary

OUR_THREADS = "supervisor "
"""What the names of our threads begin with."""
IMPORT_LIMIT_S = 5.0
"""How long a fork waits for imports; one may wait for something that the forking thread is to do."""
_LOOK_S = 0.0005
_expects_imports = False


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
        self.is_ready = False


_waiting = _Waiting()


def watch_forks(which: ForkAware) -> None:
    """Tell an object of forks for as long as it lives."""
    _known[id(which)] = which


def expect_imports() -> None:
    """Have forks wait for what our threads import; whoever starts threads that import much calls this before.

    What is to be done before a fork is done in the reverse order of registration, and logging, once loaded, takes its
    lock then, for which a thread in the middle of an import may wait. So logging is loaded first, and we come before.
    """
    global _expects_imports  # noqa: PLW0603 - once is enough
    if _expects_imports or not hasattr(os, "register_at_fork"):
        return
    with suppress(ImportError, OSError, MemoryError):  # a script that has used up its files cannot load anything
        import logging  # noqa: F401

    _expects_imports = True
    _register()


def _before() -> None:
    if _waiting.is_ready:
        return  # registered twice
    _waiting.is_ready = True
    # valuerefs() is one atomic copy; iterating could meet another thread's change.
    for each in [reference() for reference in _known.valuerefs()]:
        if each is not None:
            _waiting.for_fork.append(each)
            each.before_fork()
    _let_imports_end()


def _let_imports_end() -> None:
    """Wait until none of our threads is importing anything."""
    ends_at_s = time.monotonic() + IMPORT_LIMIT_S
    quiet = 0
    # Between two looks another thread runs on: one that is just about to take a module's lock has it at the second.
    while quiet < 2 and _our_threads() and time.monotonic() < ends_at_s:  # noqa: PLR2004
        time.sleep(_LOOK_S)
        importing = _importing()
        quiet = 0 if importing & _our_threads() else quiet + 1  # one of ours may have started another meanwhile


def _our_threads() -> set[int | None]:
    """Return our threads, but for the one that forks."""
    ours = {each.ident for each in threading.enumerate() if each.name.startswith(OUR_THREADS)}
    return ours - {threading.get_ident()}


def _importing() -> set[int | None]:
    """Return which threads are importing something, which Python tells nobody in public."""
    locks: dict[str, Any] = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", {})
    return {getattr(reference(), "owner", None) for reference in list(locks.values())}


def _after(*, in_child: bool) -> None:
    _waiting.is_ready = False
    while _waiting.for_fork:
        _waiting.for_fork.pop().after_fork(in_child=in_child)


def _register() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before,
            after_in_parent=lambda: _after(in_child=False),
            after_in_child=lambda: _after(in_child=True),
        )


_register()
