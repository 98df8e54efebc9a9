"""The optional features of a run: no two runs of its name at a time, a log of its own, and watched limits.

A run that asks for none of them never loads this.

The lock on a name (``overlap="skip"`` and ``overlap="fail"``) is the operating system's own, on a file in the state
directory, so a run that is killed frees it. A run that is nested in one of the same name belongs to it and is let
through, in the same thread and in threads that the run started; any other run of that name overlaps, in another thread
as in another process. A process that the run forks has no part in the lock: it is free when the run ends or is killed,
though the child lives on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from supervisor import _log
from supervisor._hooks import on_fork
from supervisor._run.state import skip_of
from supervisor._store.essentials import JournalUnavailable
from supervisor._store.files import create_file, make_directory, safe_name
from supervisor._text import localized
from supervisor.errors import OverlapError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from supervisor._alerts import RunAlert
    from supervisor._models.values import RunReport
    from supervisor._run.state import RunState
    from supervisor._store import Store

_warned: set[str] = set()


class Features:
    """The optional features of one run.

    Args:
        run: The run.
    """

    def __init__(self, run: RunState) -> None:
        self._run = run
        self._lock: NameLock | None = None
        self._is_watched = False

    def lock_name(self, other: Callable[[], str]) -> None:
        """Lock the run's name, if its settings ask for that; set ``run.refusal`` when another run holds the lock.

        Args:
            other: Returns in words which other run is under way.
        """
        if self._run.settings.overlap == "allow" or self._is_nested():
            return

        try:
            lock = NameLock(self._run.runtime.state_directory() / "locks", self._run.name)
            is_taken = lock.take()
        except (OSError, JournalUnavailable) as error:
            self._warn(f"whether runs of {self._run.name!r} overlap cannot be known: {error}")
            return
        if is_taken:
            self._lock = lock
        else:
            self._refuse(other())

    def _is_nested(self) -> bool:
        """Return whether an outer run of this name holds the lock."""
        if self._run.joined is not None and self._run.joined.has_lock:
            return True  # `supervisor run` holds it
        outer = self._run.parent
        while outer is not None:
            features: Features | None = outer.features
            is_alike = outer.name == self._run.name and outer.runtime is self._run.runtime
            if is_alike and features is not None and features._lock is not None:  # noqa: SLF001 - of the same class
                return True
            outer = outer.parent
        return False

    def _refuse(self, other: str) -> None:
        if self._run.settings.overlap == "skip":
            _log.info("run %r is skipped: %s", self._run.name, other)
            self._run.refusal = skip_of(self._run, other)
        else:
            self._run.refusal = OverlapError(other)

    def open_log_file(self, redact: Callable[[str], str]) -> None:
        """Open the run's own log, if its settings ask for one."""
        names = self._run.settings.capture_logs
        if names is None:
            return
        from supervisor._run.log_capture import open_log

        try:
            directory: str | None = os.fspath(self._run.runtime.state_directory() / "logs")
        except JournalUnavailable as error:
            self._warn(f"the log of {self._run.name!r} is not kept: {error}")
            directory = None
        self._run.log = open_log(self._run, names, directory, redact)

    def watch_limits(self, on_alert: Callable[[RunAlert], bool | None], on_end: Callable[[float], None]) -> None:
        """Watch over the run's limits, if it has any.

        Args:
            on_alert: Called in another thread with what is found; True has a stall found again later.
            on_end: Called when a run that stalled makes progress again, with the seconds that the stall lasted.
        """
        settings = self._run.settings
        if settings.stall_after_s is not None or settings.max_duration_s is not None:
            from supervisor._run import watchdog

            watchdog.watch(self._run, on_alert, on_end)
            self._is_watched = True

    def unwatch_limits(self, error: BaseException | None) -> None:
        """Stop watching the limits; an interrupt that comes too late does not reach the code after the run."""
        if self._is_watched:
            from supervisor._run import watchdog

            self._run.last_stall_s = watchdog.unwatch(self._run, error)

    def close(self) -> None:
        """Close the log and release the lock, after the end of the run is recorded."""
        try:
            if self._run.log is not None:
                self._run.log.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    def _warn(self, text: str) -> None:
        if text not in _warned:
            _warned.add(text)
            _log.warning("%s; the run goes on without", text)


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

        make_directory(str(self.path.parent))
        with suppress(FileExistsError):
            os.close(create_file(str(self.path)))
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
    from supervisor._store.processes import can_be_seen

    living = [
        each.report
        for each in journal.runs(name, limit=_MOST_LOOKED_AT)
        if each.outcome is None and not each.is_gone and can_be_seen(each.process)
    ]
    return living[-1] if living else None


def in_words(report: RunReport | None, now: datetime | None = None) -> str:
    """Return which run is under way ("another run, started 02:00, process 4711, is still under way").

    Args:
        report: What is known of it; None when nothing is.
        now: The moment, in the zone that people are shown; None for now.
    """
    if report is None:
        return "another run of this name is still under way"
    now = now or localized(datetime.now(UTC))
    started = report.started_at.astimezone(now.tzinfo)
    when = f"{started:%H:%M}" if started.date() == now.date() else f"{started:%Y-%m-%d %H:%M}"
    return f"another run, started {when}, process {report.pid}, is still under way"


def _forget_in_child() -> None:
    for each in list(_held):
        each.forget()
    _held.clear()


on_fork(in_child=_forget_in_child)
