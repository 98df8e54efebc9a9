"""The journal as a person looks at it: nothing is written, begun, migrated or set aside.

A file that is corrupt, newer or not to be read is told as such, and left as it is for those who keep their runs in it.

- The journal's file, opened so that nothing can be written to it, nor begun, migrated or set aside.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from supervisor._models.kinds import FAILED
from supervisor._store.contract import JournalUnavailable
from supervisor._store.json_text import text
from supervisor._store.processes import is_gone, this_process
from supervisor._store.sqlite import schema
from supervisor._store.sqlite.alert_log import AlertReader
from supervisor._store.sqlite.database import FILE_NAME
from supervisor._store.sqlite.outbox_admin import UNSENT_KEYS, OutboxAdmin
from supervisor._store.sqlite.run_history import _COLUMNS, RunHistory, _record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from supervisor._store.records import RunRecord
    from supervisor._store.sqlite.database import Row

_POLL_S = 1.0
_PAUSE_S = 0.01
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BARRED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class ReadOnlyDatabase:
    """Reads the journal's file, in the place of a :class:`~supervisor._store.sqlite.database.Store`.

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
                    raise _told(self.path, error) from error
            time.sleep(_PAUSE_S)

    def write(self, *, durable: bool = True) -> AbstractContextManager[sqlite3.Connection]:  # noqa: ARG002 - as a Store has it
        """Refuse to write.

        Raises:
            JournalUnavailable: Always.
        """
        raise JournalUnavailable(self.path, "it was opened for reading only", "open it by open_journal")

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
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


def _told(path: str, error: sqlite3.Error) -> JournalUnavailable:
    """Return an error of SQLite with what a person can do about it."""
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
    """Return a copy in memory with today's tables: the file is also that of older scripts until one of ours runs."""
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


BUSY_S = 5.0
"""How long somebody who looks waits, at most, for a process that holds the file."""

_SELECT = f"SELECT {_COLUMNS} FROM run"  # noqa: S608 - only our own words
# Steps from name to name by the index; GROUP BY would read all of it.
_EACH = """
WITH RECURSIVE each(name) AS (
    SELECT min(name) FROM run
    UNION ALL SELECT (SELECT min(name) FROM run WHERE run.name > each.name) FROM each WHERE each.name IS NOT NULL
)
"""
_NAMES = f"{_EACH} SELECT name FROM each WHERE name IS NOT NULL"  # noqa: S608 - only our own words
_NEWEST_KEYS = f"""
{_EACH} SELECT (SELECT max(key) FROM run WHERE run.name = each.name) AS newest
FROM each WHERE name IS NOT NULL ORDER BY newest DESC LIMIT ?
"""  # noqa: S608
_SUCCESSES = "SELECT id, duration_s FROM run WHERE name = ? AND outcome = 'success' ORDER BY key DESC LIMIT ?"
_STATES = "SELECT key, state, attempts, last_error FROM delivery WHERE key IN ({})"
_COUNTS = """
SELECT (SELECT count(*) FROM delivery WHERE state = 'pending'), (SELECT count(*) FROM delivery WHERE state = 'failed')
"""
_DELIVERIES_OF = f"SELECT key FROM delivery WHERE key IN ({UNSENT_KEYS}) AND instr(body, ?)"  # noqa: S608


class DeliveryStatus(NamedTuple):
    """Where one delivery stands.

    Args:
        state: "pending", "sent", "failed" or "dropped".
        attempts: How often it was tried.
        last_error: Why the last attempt failed; "" before the first failure.
    """

    state: str
    attempts: int
    last_error: str


class Reader(RunHistory, OutboxAdmin, AlertReader):
    """The journal for reading only; what writes raises JournalUnavailable.

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
        self._store: Any = ReadOnlyDatabase(self.path, busy_s)  # as far as reading goes, a Store
        self._clock = clock
        self._this = this_process
        self._gone = is_gone

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        self._store.close()

    def under_way(self) -> tuple[RunRecord, ...]:
        """Return the runs that have not ended, the oldest first; the processes of some may be gone."""
        # Ordered as the index of these is, or SQLite reads all runs.
        found = self._runs("WHERE outcome IS NULL ORDER BY name")
        return tuple(sorted(found, key=lambda each: each.report.started_at))

    def some_runs(
        self, name: str | None = None, *, failed: bool = False, since: datetime | None = None, limit: int = 20
    ) -> tuple[RunRecord, ...]:
        """Return the newest runs, newest first.

        Args:
            name: Of which name; None means of all.
            failed: Only those that failed, were terminated or died.
            since: Only those that started then or later.
            limit: How many at most.
        """
        conditions: list[str] = []
        facts: list[Any] = []
        if name is not None:
            conditions.append("name = ?")
            facts.append(text(name))
        if failed:
            conditions.append(f"outcome IN ({_marks(FAILED)})")
            facts += map(str, FAILED)
        if since is not None:
            conditions.append("started_at >= ?")
            facts.append(since.timestamp())
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        return self._runs(f"{where}ORDER BY key DESC LIMIT ?", *facts, limit)

    def newest_of_each(self, limit: int = 10) -> tuple[RunRecord, ...]:
        """Return the newest run of each name, of the names that ran last, newest first."""
        keys = [key for (key,) in self._store.rows(_NEWEST_KEYS, (limit,))]
        return self._runs(f"WHERE key IN ({_marks(keys)}) ORDER BY key DESC", *keys)

    def names(self) -> tuple[str, ...]:
        """Return the names of all runs, in the order of the alphabet."""
        return tuple(name for (name,) in self._store.rows(_NAMES))

    def with_id(self, beginning: str, *, limit: int = 10) -> tuple[RunRecord, ...]:
        """Return the runs whose ids begin so, newest first."""
        return self._runs(
            "WHERE substr(id, 1, ?) = ? ORDER BY key DESC LIMIT ?", len(beginning), text(beginning), limit
        )

    def nested_in(self, run_id: str, *, limit: int = 100) -> tuple[RunRecord, ...]:
        """Return the runs that were started within a run, oldest first."""
        # An inner run has a larger key: what is older need not be read.
        newer = "key > (SELECT max(key) FROM run WHERE id = ?)"
        return self._runs(f"WHERE {newer} AND parent_id = ? ORDER BY key LIMIT ?", text(run_id), text(run_id), limit)

    def successes(self, name: str, *, limit: int = 20) -> tuple[tuple[str, float], ...]:
        """Return the ids and the durations in seconds of the last successes of a name, newest first."""
        return tuple(
            (run_id, duration_s or 0.0) for run_id, duration_s in self._store.rows(_SUCCESSES, (text(name), limit))
        )

    def waiting_of(self, run_id: str) -> frozenset[int]:
        """Return the keys of the deliveries that are not settled whose message was written in a run."""
        # As the codec writes it; the id of a run is in no column.
        written = f'"id":{json.dumps(run_id)}'.encode()
        return frozenset(key for (key,) in self._store.rows(_DELIVERIES_OF, (written,)))

    def waiting_counts(self) -> tuple[int, int]:
        """Return how many deliveries are pending, and how many have failed."""
        pending, failed = self._store.rows(_COUNTS)[0]
        return pending, failed

    def delivery_statuses(self, keys: Collection[int]) -> dict[int, DeliveryStatus]:
        """Return where deliveries stand; what was forgotten since is left out."""
        found: dict[int, DeliveryStatus] = {}
        for some in _in_parts(keys):
            rows = self._store.rows(_STATES.format(_marks(some)), some)
            found.update({key: DeliveryStatus(*facts) for key, *facts in rows})
        return found

    def _runs(self, conditions: str, *facts: Any) -> tuple[RunRecord, ...]:
        return tuple(_record(row) for row in self._store.rows(f"{_SELECT} {conditions}", facts))


def look(directory: str | os.PathLike[str], *, busy_s: float = BUSY_S) -> Reader | None:
    """Return the journal of a directory for reading; None where none was begun yet.

    Args:
        directory: Where the file is; see :func:`~supervisor._store.state_directory`.
        busy_s: How long to wait, at most, for a process that holds the file.

    Raises:
        JournalUnavailable: The file cannot be read: it is corrupt, from a newer version, or barred. It is left alone.
    """
    reader = Reader(directory, busy_s=busy_s)
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


def _marks(values: Collection[Any]) -> str:
    return ", ".join("?" * len(values))


def _in_parts(keys: Iterable[int], count: int = 500) -> Iterable[list[int]]:
    every = list(keys)
    return (every[start : start + count] for start in range(0, len(every), count))
