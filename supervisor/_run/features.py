"""The optional features of a run: no two runs of its name at a time, a log of its own, and watched limits.

A run that asks for none of them never loads this.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from supervisor import _log
from supervisor._store.essentials import JournalUnavailable
from supervisor.errors import OverlapError, RunSkipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._alerts.rules import RunAlert
    from supervisor._run.overlap import NameLock
    from supervisor._run.state import RunState

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
        from supervisor._run.overlap import NameLock

        try:
            lock = NameLock(self._run.runtime.state_directory() / "locks", self._run.name)
            is_taken = lock.take()
        except (OSError, JournalUnavailable) as error:
            self._warn(f"overlapping runs of {self._run.name!r} cannot be told: {error}")
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
            self._run.refusal = RunSkipped(0)
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
