"""The journal in one SQLite file: the record of runs, the alerts, and the outbox.

:class:`Journal` is for writing. :class:`JournalReader` is for reading only, as commands use it: no file is created,
written, migrated or moved away. There may be no journal yet, or one of an older version, which is then read from a copy
in memory that has today's tables. One that is corrupt, of a newer version or not readable raises an error that says so.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from typing import TYPE_CHECKING, Any

from supervisor._store.essentials import COPIES_LIMIT_BYTES, FILE_NAME, LEASE_S, NOTES_NAME, JournalUnavailable
from supervisor._store.processes import Process, is_gone, this_process
from supervisor._store.sqlite import end_notes, journal_file
from supervisor._store.sqlite.alert_log import AlertLog, AlertReader
from supervisor._store.sqlite.database import BUSY, BUSY_S, Connection, Database
from supervisor._store.sqlite.held import HeldReader, HeldStore
from supervisor._store.sqlite.run_queries import RunQueries
from supervisor._store.sqlite.runs import KEEP_DAYS, KEEP_RUNS, RunStore, merge_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisor._store.sqlite.database import Row
    from supervisor._store.sqlite.replication import ReplicationLog


class Journal(RunStore, HeldStore, AlertLog):
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

    @property
    def directory(self) -> str:
        """Return the directory of the file."""
        return self._database.directory

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

    def replication(self) -> ReplicationLog:
        """Return what notes which runs a fleet has."""
        from supervisor._store.sqlite.replication import ReplicationLog

        return ReplicationLog(self._database, clock=self._clock, this=self._this, gone=self._gone)


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


READER_BUSY_S = 5.0
"""How long a reader waits, at most, for a process that holds the file."""

_POLL_S = 1.0
_PAUSE_S = 0.01
_BARRED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class JournalReader(RunQueries, HeldReader, AlertReader):
    """The journal for reading only.

    Args:
        directory: Where its file is.
        busy_s: How long to wait, at most, for a process that holds the file.
        clock: Returns seconds since 1970.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        busy_s: float = READER_BUSY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = os.path.join(os.path.abspath(directory), FILE_NAME)  # noqa: PTH100, PTH118 - as SQLite wants it
        database = ReadOnlyDatabase(self.path, busy_s)
        super().__init__(database, clock=clock, this=this_process, gone=is_gone)
        self._database: ReadOnlyDatabase = database

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._database.close()


def open_reader(directory: str | os.PathLike[str], *, busy_s: float = READER_BUSY_S) -> JournalReader | None:
    """Return the journal of a directory for reading; None where none was begun yet.

    Args:
        directory: Where the file is; see :func:`~supervisor._store.state_directory`.
        busy_s: How long to wait, at most, for a process that holds the file.

    Raises:
        JournalUnavailable: The file cannot be read: it is corrupt, from a newer version, or barred. It is left alone.
    """
    reader = JournalReader(directory, busy_s=busy_s)
    try:
        mode = os.stat(reader.path).st_mode  # noqa: PTH116 - a text is a path too
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise JournalUnavailable(reader.path, getattr(error, "strerror", None) or str(error)) from error
    if not stat.S_ISREG(mode):
        raise JournalUnavailable(reader.path, f"{FILE_NAME} is no regular file")
    if not os.access(reader.path, os.R_OK):
        raise JournalUnavailable(
            reader.path, "this user may not read it", "ask its owner, or run as the user whose runs are in it"
        )
    try:
        reader.waiting_counts()  # it can be read, or this raises
    except JournalUnavailable:
        reader.close()
        raise
    return reader


class ReadOnlyDatabase:
    """Reads the journal's file, in the place of a :class:`~supervisor._store.sqlite.database.Database`.

    A file of an older version, and one beside which ends of runs are noted, is read by way of a copy in memory, which
    is made anew when either has changed.

    Args:
        path: The file.
        busy_s: How long to wait, at most, for a process that holds it.
    """

    def __init__(self, path: str, busy_s: float) -> None:
        self.path = path
        self.directory = os.path.dirname(path)  # noqa: PTH120 - a text
        self._notes_path = os.path.join(self.directory, NOTES_NAME)  # noqa: PTH118 - a text
        self._busy_s = busy_s
        self._connection: sqlite3.Connection | None = None
        self._version = 0
        self._copy: sqlite3.Connection | None = None
        self._copy_is_of: tuple[int, bytes] | None = None

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return what one query finds.

        Raises:
            JournalUnavailable: The file cannot be read.
        """
        until = time.monotonic() + self._busy_s
        while True:
            try:
                return self._current().execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                if not journal_file.is_one_of(error, BUSY) or time.monotonic() >= until:
                    raise _unavailable(self.path, error) from error
            time.sleep(_PAUSE_S)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        for each in (self._copy, self._connection):
            if each is not None:
                each.close()
        self._connection = self._copy = self._copy_is_of = None

    def _current(self) -> sqlite3.Connection:
        """Return what shows the journal as it is now."""
        notes = end_notes.written(self._notes_path)  # first: they are removed only after they are in the file
        connection = self._opened()
        if not notes and self._version == journal_file.VERSION:
            return connection
        state = (connection.execute("PRAGMA data_version").fetchone()[0], notes)
        if self._copy is None or state != self._copy_is_of:
            if self._copy is not None:
                self._copy.close()
            self._copy = _copy_with(connection, end_notes.parsed(notes))
            self._copy_is_of = state
        return self._copy

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            connection, self._version = self._connected()
            if self._version > journal_file.VERSION:
                connection.close()
                raise journal_file.newer_version(self.path, self._version)
            self._connection = connection
        return self._connection

    def _connected(self) -> tuple[sqlite3.Connection, int]:
        """Return a connection, and the version that the file is of."""
        try:
            return self._connected_by("mode=ro")
        except sqlite3.OperationalError as error:
            # In a directory that this user may not write to, SQLite cannot share what it needs with those who write:
            # it reads the file only where nobody has it open, and so no log is beside it.
            if not journal_file.is_one_of(error, _BARRED) or os.path.exists(f"{self.path}-wal"):  # noqa: PTH110 - a text
                raise
        return self._connected_by("immutable=1")

    def _connected_by(self, how: str) -> tuple[sqlite3.Connection, int]:
        connection = sqlite3.connect(
            f"{_as_address(self.path)}?{how}",
            uri=True,
            timeout=_POLL_S,
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
        )
        try:
            return connection, journal_file.version_of(connection)
        except sqlite3.Error:
            connection.close()
            raise


def _unavailable(path: str, error: sqlite3.Error) -> JournalUnavailable:
    """Return an error of SQLite as one that says what a person can do about it."""
    if journal_file.is_corrupt(error):
        return JournalUnavailable(
            path, f"it is corrupt ({error})", "it is left alone here; the next run sets it aside and begins a new one"
        )
    if journal_file.is_one_of(error, BUSY):
        return JournalUnavailable(path, str(error), "another process holds it: look who has it open, or try again")
    return JournalUnavailable(path, str(error) or type(error).__name__)


def _copy_with(connection: sqlite3.Connection, notes: end_notes.Notes) -> sqlite3.Connection:
    """Return a copy in memory with today's tables and what is noted beside the file.

    Older scripts use the file as it is until a newer one writes to it.
    """
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=Connection)
    try:
        connection.backup(copy)
        journal_file.bring_up_to_date(copy)
        merge_notes(copy, notes)
    except BaseException:
        copy.close()
        raise
    return copy


def _as_address(path: str) -> str:
    """Return a path as SQLite takes it in a URI (https://www.sqlite.org/uri.html)."""
    from urllib.parse import quote

    plain = quote(path.replace("\\", "/") if os.sep == "\\" else path)
    return f"file://{plain}" if plain.startswith("/") else f"file:///{plain.replace('%3A', ':', 1)}"
