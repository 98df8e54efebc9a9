"""The journal for reading only, as commands use it: no file is created, written, migrated or moved away.

There may be no journal yet, or one of an older version, which is then read from a copy in memory that has today's
tables. One that is corrupt, of a newer version or not readable raises an error that says so.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from supervisor._store.essentials import FILE_NAME, JournalUnavailable
from supervisor._store.processes import is_gone, this_process
from supervisor._store.sqlite import schema
from supervisor._store.sqlite.alert_log import AlertReader
from supervisor._store.sqlite.outbox import OutboxReader
from supervisor._store.sqlite.run_queries import RunQueries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from supervisor._store.sqlite.database import Row

BUSY_S = 5.0
"""How long a reader waits, at most, for a process that holds the file."""

_POLL_S = 1.0
_PAUSE_S = 0.01
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BARRED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class JournalReader(RunQueries, OutboxReader, AlertReader):
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
        busy_s: float = BUSY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = os.path.join(os.path.abspath(directory), FILE_NAME)  # noqa: PTH100, PTH118 - as SQLite wants it
        database = ReadOnlyDatabase(self.path, busy_s)
        super().__init__(database, clock=clock, this=this_process, gone=is_gone)
        self._database: ReadOnlyDatabase = database

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._database.close()


def open_reader(directory: str | os.PathLike[str], *, busy_s: float = BUSY_S) -> JournalReader | None:
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

    Args:
        path: The file.
        busy_s: How long to wait, at most, for a process that holds it.
    """

    def __init__(self, path: str, busy_s: float) -> None:
        self.path = path
        self._busy_s = busy_s
        self._connection: sqlite3.Connection | None = None

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return what one query finds.

        Raises:
            JournalUnavailable: The file cannot be read.
        """
        until = time.monotonic() + self._busy_s
        while True:
            try:
                return self._opened().execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                if not _is(error, _BUSY) or time.monotonic() >= until:
                    raise _unavailable(self.path, error) from error
            time.sleep(_PAUSE_S)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            connection, version = self._connected()
            if version > schema.VERSION:
                connection.close()
                raise _newer(self.path, version)
            self._connection = _migrated_copy(connection) if version < schema.VERSION else connection
        return self._connection

    def _connected(self) -> tuple[sqlite3.Connection, int]:
        """Return a connection, and the version that the file is of."""
        try:
            return self._connected_by("mode=ro")
        except sqlite3.OperationalError as error:
            # In a directory that this user may not write to, SQLite cannot share what it needs with those who write:
            # it reads the file only where nobody has it open, and so no log is beside it.
            if not _is(error, _BARRED) or os.path.exists(f"{self.path}-wal"):  # noqa: PTH110 - a text
                raise
        return self._connected_by("immutable=1")

    def _connected_by(self, how: str) -> tuple[sqlite3.Connection, int]:
        connection = sqlite3.connect(
            f"{_as_address(self.path)}?{how}", uri=True, timeout=_POLL_S, isolation_level=None, check_same_thread=False
        )
        try:
            return connection, schema.version_of(connection)
        except sqlite3.Error:
            connection.close()
            raise


def _unavailable(path: str, error: sqlite3.Error) -> JournalUnavailable:
    """Return an error of SQLite as one that says what a person can do about it."""
    if _is(error, _CORRUPT):
        return JournalUnavailable(
            path, f"it is corrupt ({error})", "it is left alone here; the next run sets it aside and begins a new one"
        )
    if _is(error, _BUSY):
        return JournalUnavailable(path, str(error), "another process holds it: look who has it open, or try again")
    return JournalUnavailable(path, str(error) or type(error).__name__)


def _newer(path: str, version: int) -> JournalUnavailable:
    return JournalUnavailable(
        path,
        f"it was written by a newer supervisor (its schema is {version}, this one knows {schema.VERSION})",
        "upgrade agrc-supervisor here, or set SUPERVISOR_STATE to another directory",
    )


def _is(error: sqlite3.Error, codes: Collection[int]) -> bool:
    """Return True for an error of one of these kinds; the low byte of an extended code is its kind."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF in codes


def _migrated_copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy in memory with today's tables: older scripts use the file until a newer one writes to it."""
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        connection.backup(copy)
        schema.migrate(copy)
    except BaseException:
        copy.close()
        raise
    finally:
        connection.close()
    return copy


def _as_address(path: str) -> str:
    """Return a path as SQLite takes it in a URI (https://www.sqlite.org/uri.html)."""
    plain = quote(path.replace("\\", "/") if os.sep == "\\" else path)
    return f"file://{plain}" if plain.startswith("/") else f"file:///{plain.replace('%3A', ':', 1)}"
