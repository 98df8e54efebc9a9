"""What the runs of a process share: the journal, the configuration, the threads that deliver, and the clock.

A run is made with one :class:`Runtime` and hands it down to whatever needs a part of it. A process has one runtime by
default, which ``import supervisor`` puts in place; tests and the demo put another one in its place for a while.
"""

from __future__ import annotations

import _thread
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from supervisor import _log
from supervisor._setting_values import NamesInUse
from supervisor._settings import settings_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from supervisor._delivery.pool import WorkerPool
    from supervisor._fleet.fleet_settings import FleetSettings
    from supervisor._redaction import Redactor
    from supervisor._settings import Settings
    from supervisor._store import Store


class RunConfiguration(Protocol):
    """What the runs of a process are configured with outside of the script."""

    @property
    def fleet(self) -> FleetSettings | None:
        """Return where the fleet's database is; None where there is none."""

    def settings_for(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Settings:
        """Return the settings of a run: what the script says, over what is configured for runs of its name.

        Raises:
            ConfigurationError: The script names a setting that does not exist, or gives one a wrong value.
        """

    def with_names_resolved(self, handlers: Any) -> Any:
        """Return handlers with each text among them replaced by the configured handler of that name."""

    def redactor(self) -> Redactor:
        """Return what removes secrets from the output of commands, which know of no single run."""


class NoConfiguration:
    """The configuration of a runtime that was given none: only what the script says counts."""

    fleet: FleetSettings | None = None

    def settings_for(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Settings:
        """Return the settings that the script gives."""
        return settings_from(arguments, options)

    def with_names_resolved(self, handlers: Any) -> Any:
        """Return the handlers unchanged."""
        return handlers

    def redactor(self) -> Redactor:
        """Return a redactor that knows the shapes of secrets alone."""
        from supervisor._redaction import Redactor

        return Redactor()


JOURNAL_WAIT_S = 2.0
"""How long a run waits, once, for another process that writes to the journal."""


class Runtime:
    """What the runs of a process share. The journal is opened, and the configuration read, when first asked for.

    Args:
        configuration: What is configured outside of scripts. None for nothing.
        state_directory: Where the journal, the locks and the logs of runs are kept. None for what the environment
            says, or else the platform's own place.
        clock: Returns seconds since 1970. It dates runs and what the journal holds; durations are measured by
            ``time.monotonic`` everywhere.

    Attributes:
        names: The names that handlers were given by hand.
    """

    def __init__(
        self,
        configuration: RunConfiguration | None = None,
        *,
        state_directory: str | os.PathLike[str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.configuration: RunConfiguration = configuration if configuration is not None else NoConfiguration()
        self._state_directory = state_directory
        self._journal: Store | None = None
        self._warned_without_handlers = False
        self.clock = clock
        self.names = NamesInUse()

    def state_path(self) -> str:
        """Return the absolute path of the state directory; nothing is created.

        Raises:
            JournalUnavailable: The user has no home directory, and no other place was chosen.
        """
        if self._state_directory is not None:
            return os.path.abspath(self._state_directory)  # noqa: PTH100 - each run asks, and pathlib costs 3 ms
        from supervisor._store.essentials import state_path

        return state_path()

    def state_directory(self) -> Path:
        """Return what :meth:`state_path` does as a ``Path``."""
        from pathlib import Path

        return Path(self.state_path())

    def journal(self) -> Store | None:
        """Return the journal, or None where it cannot be used; that is logged once, and tried again each time."""
        return self._journal or self._open_journal()

    def _open_journal(self) -> Store | None:
        from supervisor._store.essentials import JournalUnavailable, limits, warn_once
        from supervisor._store.sqlite import open_journal

        try:
            self._journal = open_journal(self.state_path(), clock=self.clock, busy_s=JOURNAL_WAIT_S, **limits())
        except JournalUnavailable as error:
            warn_once(error)
        return self._journal

    def warn_once_without_handlers(self, name: str) -> None:
        """Log that the failure of a run is sent to nobody, and what to do; for the first such run of the process."""
        if self._warned_without_handlers:
            return
        self._warned_without_handlers = True
        _log.warning(
            "%s failed, and no handler gets its failures: give it handlers=..., or name some in a configuration file "
            "(`supervisor config init` writes one)",
            name,
        )

    @property
    def workers(self) -> WorkerPool:
        """Return the threads that take messages to their handlers."""
        found: WorkerPool | None = vars(self).get("_workers")
        if found is None:
            from supervisor._delivery.pool import WorkerPool

            # setdefault() is atomic: two threads that come here at the same time get the same one.
            found = vars(self).setdefault("_workers", WorkerPool())
        return found

    def close(self) -> None:
        """Stop the workers, and close the journal. The next use opens it again, in what is the state directory then."""
        workers: WorkerPool | None = vars(self).pop("_workers", None)
        if workers is not None:
            workers.stop()
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()


PREPARE_AFTER_S = 1.0
"""How old a run is when the process is prepared for the report of its end."""


class _Lasting(Protocol):
    """A run."""

    started_s: float | None
    has_ended: bool


class Preparation:
    """Prepares the process once for the report of an end: in a thread, as soon as a run has lasted a second.

    What a report needs is loaded only when there is one, so that short runs stay cheap. But a run that lasts may see
    its installation go: a package is upgraded, a script clears ``sys.path`` or uses up its file descriptors. By then
    all is loaded.

    The thread is none of the module ``threading``, where scripts count theirs. It ends before each fork, of which
    Python warns beside other threads, and before the end of the process, which an import in another thread may crash.

    Attributes:
        is_done: Whether the process is prepared.
    """

    def __init__(self) -> None:
        self.is_done = False
        self._run: _Lasting | None = None
        self._prepare: Callable[[], None] | None = None
        self._stop = self._ended = _thread.allocate_lock()
        self._is_waiting = self._is_known = False

    def follow(self, run: _Lasting, prepare: Callable[[], None]) -> None:
        """Prepare the process when a run has lasted a second, unless that is done or another run is followed.

        Args:
            run: The run.
            prepare: Loads what is needed; it is called in the thread, and does not raise.
        """
        if self.is_done or (self._run is not None and not self._run.has_ended):
            return
        self._run, self._prepare = run, prepare
        if not self._is_waiting:
            self._start()

    def _start(self) -> None:
        from supervisor._forks import guard_forks, notify_of_forks
        from supervisor._hooks import at_exit

        if not self._is_known:
            self._is_known = True
            notify_of_forks(self)
            at_exit(self.before_fork)
        guard_forks()
        stop, ended = _thread.allocate_lock(), _thread.allocate_lock()
        stop.acquire()
        ended.acquire()
        self._stop, self._ended, self._is_waiting = stop, ended, True
        try:
            _thread.start_new_thread(self._wait, (stop, ended))
        except RuntimeError:  # the process may have no more threads
            self._is_waiting = False

    def _wait(self, stop: _thread.LockType, ended: _thread.LockType) -> None:
        """Prepare the process when the run that is followed is old enough; end when there is none."""
        try:
            left_s = PREPARE_AFTER_S  # at least so long also after a run that has ended already: others may follow
            while not stop.acquire(timeout=left_s):
                run, prepare = self._run, self._prepare
                if run is None or prepare is None or run.has_ended:
                    break
                left_s = (run.started_s or 0.0) + PREPARE_AFTER_S - time.monotonic()
                if left_s <= 0:
                    prepare()
                    self.is_done = True
                    break
            else:
                return
            self._is_waiting = False  # first, so that who follows another run from now on starts another thread
            if self._run is run:
                self._run = None
        finally:
            self._is_waiting = self._is_waiting and self._stop is not stop
            ended.release()

    def before_fork(self) -> None:
        """End the thread, and wait for its end if it is preparing just now."""
        if self._is_waiting:
            self._stop.release()
            self._ended.acquire(timeout=_PATIENCE_S)

    def after_fork(self, *, in_child: bool) -> None:
        """Go on in the parent; in the child nothing is followed."""
        from supervisor._forks import defer

        if in_child:
            self._run = self._prepare = None
            self._is_waiting = False
        elif self._run is not None and not self.is_done and not self._run.has_ended:
            defer(self._start)


_PATIENCE_S = 5.0
"""How long the end of the process, or a fork, waits for a preparation that is under way, at most."""


class _Process:
    """The runtime of this process, and what prepares it for reports."""

    runtime = Runtime()
    preparation = Preparation()


def preparation() -> Preparation:
    """Return what prepares this process for the report of an end."""
    return _Process.preparation


def default_runtime() -> Runtime:
    """Return the runtime of the runs that are made now."""
    return _Process.runtime


def set_default_runtime(runtime: Runtime) -> None:
    """Let the runs that are made from now on have this runtime."""
    _Process.runtime = runtime


@contextmanager
def using(runtime: Runtime) -> Iterator[Runtime]:
    """Let the runs that are made in the block, in any thread, have this runtime; close it at the end."""
    before = default_runtime()
    set_default_runtime(runtime)
    try:
        yield runtime
    finally:
        set_default_runtime(before)
        runtime.close()
