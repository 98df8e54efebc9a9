"""The journal as a whole: the record of runs, and the outbox, in one file."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from supervisor._store.essentials import COPIES_LIMIT_BYTES, LEASE_S, NOTES_NAME
from supervisor._store.processes import Process, is_gone, this_process
from supervisor._store.sqlite.alert_log import AlertLog
from supervisor._store.sqlite.database import BUSY_S, Database
from supervisor._store.sqlite.outbox import OutboxStore
from supervisor._store.sqlite.runs import KEEP_DAYS, KEEP_RUNS, RunStore

if TYPE_CHECKING:
    from collections.abc import Callable


class Journal(RunStore, OutboxStore, AlertLog):
    """The record of runs, and the :class:`~supervisor._store.Outbox` of messages that are not settled yet.

    It can be used from any thread, and after a fork also in the child, where it opens the file anew.

    Args:
        directory: Where the file is; both are created when missing, readable only for their owner.
        keep_runs: How many runs of a name are kept.
        keep_days: For how many days a run is kept. The newest run of a name always is.
        lease_s: How long a claimed delivery belongs to its claimer.
        copies_limit_bytes: The most that copies of attachments may take.
        busy_s: How long to wait, at most, for other processes that write.
        clock: Returns seconds since 1970.
        this: Returns the process that asks.
        gone: Tells whether a process has surely ended.
    """

    def __init__(  # noqa: PLR0913 - settings and the seams for tests
        self,
        directory: str | os.PathLike[str],
        *,
        keep_runs: int = KEEP_RUNS,
        keep_days: float = KEEP_DAYS,
        lease_s: float = LEASE_S,
        copies_limit_bytes: int = COPIES_LIMIT_BYTES,
        busy_s: float = BUSY_S,
        clock: Callable[[], float] = time.time,
        this: Callable[[], Process] = this_process,
        gone: Callable[[Process], bool] = is_gone,
    ) -> None:
        database = Database(os.path.abspath(directory), busy_s=busy_s)  # noqa: PTH100 - a text, as SQLite wants it
        super().__init__(database, clock=clock, this=this, gone=gone)
        self._database = database
        self._notes_path = os.path.join(database.directory, NOTES_NAME)  # noqa: PTH118 - pathlib takes 3 ms to load
        self._keep_runs = keep_runs
        self._keep_days = keep_days
        self._under_way = {}
        self._lease_s = lease_s
        self._copies_limit_bytes = copies_limit_bytes

    def __repr__(self) -> str:
        return f"<Journal {self.path!r}>"

    @property
    def path(self) -> str:
        """Return the path of the file."""
        return self._database.path

    def open(self) -> None:
        """Make sure that the file can be opened.

        Raises:
            JournalUnavailable: It cannot, or it was written by a newer version.
        """
        self._database.open()
        self.merge_noted_ends()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._database.close()


def open_journal(
    directory: str | os.PathLike[str], *, clock: Callable[[], float] = time.time, **limits: float
) -> Journal:
    """Open the journal of a directory, and begin it where there is none.

    A corrupt file is renamed ("journal.sqlite3.corrupt-..."), a warning logged, and a fresh one begun.

    Args:
        directory: Where the file is; see :func:`~supervisor._store.state_directory`.
        clock: Returns seconds since 1970.
        limits: ``keep_runs``, ``keep_days``, ``copies_limit_bytes`` and ``busy_s`` of :class:`Journal`, where they are
            not to be what they are by default.

    Raises:
        JournalUnavailable: The directory cannot be used, or the file was written by a newer version; the file
            is left alone then.
    """
    journal = Journal(directory, clock=clock, **limits)  # type: ignore[arg-type]  # what is counted comes as whole numbers
    journal.open()
    return journal
