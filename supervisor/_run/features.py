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

    from supervisor._alerts.run_messages import Finding
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

    def keep_others_out(self, other: Callable[[], str]) -> None:
        """Take the lock on the run's name, if it asks for one; where another run holds it, set ``run.refusal``.

        Args:
            other: Returns in words which run is under way.
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
        """Tell whether an outer run of this name holds the lock."""
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

    def begin_log(self, redact: Callable[[str], str]) -> None:
        """Begin the run's own log, if it asks for one."""
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

    def watch_limits(self, on_finding: Callable[[Finding], bool | None], on_end: Callable[[float], None]) -> None:
        """Watch over the run's limits, if it has any.

        Args:
            on_finding: Is told what is found, in another thread; True has it found again later.
            on_end: Is told when a run that stalled goes on, and how long it had stalled.
        """
        settings = self._run.settings
        if settings.stall_after_s is not None or settings.max_duration_s is not None:
            from supervisor._run import watchdog

            watchdog.watch(self._run, on_finding, on_end)
            self._is_watched = True

    def leave_limits(self, error: BaseException | None) -> None:
        """Watch over the limits no more; an interrupt that comes too late stays here."""
        if self._is_watched:
            from supervisor._run import watchdog

            self._run.last_stall_s = watchdog.unwatch(self._run, error)

    def end(self) -> None:
        """End the log and free the lock, after the end of the run is kept."""
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
