"""What the runs of a process share: the journal, the configuration, the threads that deliver, and the clock.

A run is made with one :class:`Runtime` and hands it down to whatever needs a part of it. A process has one runtime by
default, which ``import supervisor`` puts in place; tests and the demo put another one in its place for a while.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from supervisor._settings import settings_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from supervisor._delivery.pool import WorkerPool
    from supervisor._redaction import Redactor
    from supervisor._settings import Settings
    from supervisor._store import Store


class Configuration(Protocol):
    """What the runs of a process are configured with outside of the script."""

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
    """

    def __init__(
        self,
        configuration: Configuration | None = None,
        *,
        state_directory: str | os.PathLike[str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.configuration: Configuration = configuration if configuration is not None else NoConfiguration()
        self._state_directory = state_directory
        self._journal: Store | None = None
        self.clock = clock

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
        from supervisor._store.sqlite.journal import open_journal

        try:
            self._journal = open_journal(self.state_path(), clock=self.clock, busy_s=JOURNAL_WAIT_S, **limits())
        except JournalUnavailable as error:
            warn_once(error)
        return self._journal

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
        """Close the journal. The next use opens it again, in what is the state directory then."""
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()


class _Process:
    """The runtime of this process."""

    runtime = Runtime()


def default_runtime() -> Runtime:
    """Return the runtime of the runs that are made now."""
    return _Process.runtime


def set_default_runtime(runtime: Runtime) -> None:
    """Let the runs that are made from now on have this runtime."""
    _Process.runtime = runtime


@contextmanager
def using(runtime: Runtime) -> Iterator[Runtime]:
    """Let the runs that are made in the block, in any thread, have this runtime; close its journal at the end."""
    before = default_runtime()
    set_default_runtime(runtime)
    try:
        yield runtime
    finally:
        set_default_runtime(before)
        runtime.close()
