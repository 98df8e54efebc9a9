"""One run of a name at a time on this machine: ``overlap="skip"`` and ``overlap="fail"``.

The lock is the operating system's own, on a file in the state directory, so a run that is killed frees it. Only runs
that ask for it take it. A run that is nested in one of the same name belongs to it and is let through, in the same
thread and in threads that the run started; any other run of that name overlaps, in another thread as in another
process.

A process that the run forks has no part in the lock: it is free when the run ends or is killed, though the child
lives on.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from supervisor._hooks import on_fork
from supervisor._store.log_files import safe_name

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor._models.values import RunReport
    from supervisor._store import Store

_MOST_LOOKED_AT = 50
_held: WeakSet[NameLock] = WeakSet()


class NameLock:
    """The lock on a name.

    Args:
        directory: Where the files of locks are; created when missing.
        name: The name of the runs.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.path = directory / f"{safe_name(name)}.lock"
        self._lock: Any = None

    def take(self) -> bool:
        """Take the lock without waiting; return False when another run holds it.

        Raises:
            OSError: The file cannot be created or locked.
        """
        from filelock import FileLock, Timeout

        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(self.path, mode=0o600, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except NotImplementedError as error:
            raise OSError(str(error)) from error
        if type(lock) is not FileLock:
            # Where the file system knows no locks, some versions of filelock make do with a file that is there or
            # not: it would outlive a run that is killed, and keep all later ones from starting.
            lock.release(force=True)
            raise OSError("its file system knows no locks")
        self._lock = lock
        _held.add(self)
        return True

    def release(self) -> None:
        """Free the lock, if it is held by this process."""
        lock, self._lock = self._lock, None
        _held.discard(self)
        if lock is not None:
            lock.release(force=True)

    def forget(self) -> None:
        """Part with the lock in a forked child, without freeing it: it is its parent's."""
        lock, self._lock = self._lock, None
        # Newer versions of filelock have done this by now; an older one would free its parent's lock.
        context = getattr(lock, "_context", None)
        descriptor = getattr(context, "lock_file_fd", None)
        if context is not None and descriptor is not None:
            os.close(descriptor)
            context.lock_file_fd = None


def under_way(journal: Store, name: str) -> RunReport | None:
    """Return what the journal knows of the run of a name that is under way here, the oldest of several; None if none.

    Raises:
        JournalUnavailable: The journal cannot be read.
    """
    from supervisor._store.processes import Process, hostname, is_gone

    here = hostname()
    living = [
        each.report
        for each in journal.runs(name, limit=_MOST_LOOKED_AT)
        if each.report.outcome is None
        and each.report.host == here
        and not is_gone(Process(here, each.report.pid, each.process_started))
    ]
    return living[-1] if living else None


def in_words(report: RunReport | None, now: datetime | None = None) -> str:
    """Return which run is under way ("another run, started 02:00, process 4711, is still under way").

    Args:
        report: What is known of it; None when nothing is.
        now: The local time; None for the clock's.
    """
    if report is None:
        return "another run of this name is still under way"
    now = (now or datetime.now().astimezone()).astimezone()
    started = report.started_at.astimezone(now.tzinfo)
    when = f"{started:%H:%M}" if started.date() == now.date() else f"{started:%Y-%m-%d %H:%M}"
    return f"another run, started {when}, process {report.pid}, is still under way"


def _forget_in_child() -> None:
    for each in list(_held):
        each.forget()
    _held.clear()


on_fork(in_child=_forget_in_child)
