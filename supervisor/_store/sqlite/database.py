"""One SQLite file, shared by threads and processes.

All threads of a process share one connection behind a lock. Measured with 4 and 8 threads that commit at once, this
beats a connection per thread in both throughput and the longest wait, because SQLite lets one writer in at a time
anyway and makes the others poll.

A corrupt file is moved away, so that a new one can begin. Nothing is ever deleted.
"""

# ruff: noqa: SLF001 - _Transaction is a part of Database
from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar
from weakref import WeakSet

from supervisor import _log
from supervisor._forks import notify_of_forks
from supervisor._hooks import at_exit
from supervisor._store.essentials import FILE_NAME, JournalUnavailable, storable
from supervisor._store.sqlite import journal_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType


P = ParamSpec("P")
T = TypeVar("T")
Row: TypeAlias = "tuple[Any, ...]"

BUSY_S = 10.0
_POLL_S = 1.0  # SQLite's own wait cannot be interrupted by a signal, so it is kept short and repeated
_PAUSE_S = 0.01
_LOOK_S = 0.05
"""How long each further write waits after one has waited in vain, until one succeeds."""

BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


class Connection(sqlite3.Connection):
    """A connection that takes any text of Python: one that SQLite refuses is stored as :func:`storable` returns it."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement."""
        try:
            return super().execute(sql, parameters)
        except UnicodeEncodeError:  # a parameter has lone surrogates; the statement has not begun
            return super().execute(sql, _storable(parameters))

    def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
        """Run a statement for each row."""
        return super().executemany(sql, map(_storable, rows))


def _storable(row: Sequence[Any]) -> Row:
    return tuple(storable(each) if isinstance(each, str) else each for each in row)


_abandoned: list[sqlite3.Connection] = []
"""Connections of a parent process, never closed here: closing one would act on the parent's file."""
_databases: WeakSet[Database] = WeakSet()


def _close_all() -> None:
    for each in list(_databases):
        each.close_at_exit()


at_exit(_close_all)


class Database:
    """The journal's file: opened when first used, and again after a fork or after :meth:`close`.

    Args:
        directory: Where the file is; created when missing.
        busy_s: How long to wait, at most, for other processes that write. After one wait in vain the next ones are
            short, until a write succeeds: a script must not be held up again and again.
    """

    def __init__(self, directory: str, *, busy_s: float = BUSY_S) -> None:
        self.directory = directory
        self.path = os.path.join(directory, FILE_NAME)  # noqa: PTH118 - a text, as SQLite wants it
        self._busy_s = busy_s
        self._has_waited_in_vain = False
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._is_open = False
        self._identity: journal_file.Identity | None = None
        self._descriptors: journal_file.Descriptors = ()
        self._durable = True
        self._corrupt: sqlite3.Error | None = None
        self._warnings: list[str] = []
        self._single = _Transaction(self, writes=True, single=True)
        notify_of_forks(self)
        _databases.add(self)

    def open(self) -> None:
        """Make sure that the file can be opened.

        Raises:
            JournalUnavailable: It cannot, or it was written by a newer version.
        """
        with _Transaction(self):
            pass

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._forget_parent()
        with self._lock:
            self._close()

    @property
    def is_writing(self) -> bool:
        """Return whether a transaction is under way: what is written now becomes a part of it."""
        return self._connection is not None and self._connection.in_transaction

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return what one query finds.

        Raises:
            JournalUnavailable: The file cannot be read.
        """
        with _Transaction(self) as connection:
            return self.retry_while_busy(_fetched, connection, sql, parameters)

    def write(self, *, durable: bool = True, single: bool = False) -> AbstractContextManager[sqlite3.Connection]:
        """Do several things in one commit: all of them or, after an exception, none.

        Inside another ``write`` of the same thread this one becomes part of the outer commit.

        Args:
            durable: Survive power loss (``synchronous=FULL``, one fsync). False survives only the end of the
                process; that is enough for what a dead process makes worthless anyway.
            single: Only one statement writes, called by :meth:`retry_while_busy`. It then is a commit by
                itself, which saves every run two statements.

        Raises:
            JournalUnavailable: The file cannot be written; nothing was.
        """
        if single and durable:
            return self._single  # shared: its state is set under the lock, which one thread holds
        return _Transaction(self, writes=True, durable=durable, single=single)

    def before_fork(self) -> None:
        """Wait for other threads and close, since a connection must not be used on both sides of a fork."""
        self._forget_parent()
        self._lock.acquire()
        if self._connection is not None and not self._connection.in_transaction:
            self._close()

    def after_fork(self, *, in_child: bool) -> None:
        """Continue; a child opens a connection of its own when it needs one."""
        if in_child:
            self._forget_parent()
        else:
            self._lock.release()

    def _forget_parent(self) -> None:
        """In a forked child, forget the parent's lock and connection without touching them."""
        if self._pid == os.getpid():
            return
        if self._connection is not None:
            _abandoned.append(self._connection)
        self._lock, self._connection, self._pid = threading.RLock(), None, os.getpid()

    def _unavailable(self, error: sqlite3.Error) -> JournalUnavailable:
        if journal_file.is_corrupt(error):
            self._corrupt = error
        unavailable = JournalUnavailable(self.path, str(error) or type(error).__name__)
        unavailable.is_busy = journal_file.is_one_of(error, BUSY)
        return unavailable

    def _clean_up(self) -> None:
        """After the outermost operation, roll back what was not committed, and move a corrupt file away."""
        if self._connection is not None and self._connection.in_transaction:
            with suppress(sqlite3.Error):  # a full disk may have ended the transaction already
                self._connection.rollback()
        if self._corrupt is not None:
            error, self._corrupt = self._corrupt, None
            try:
                self._recover_from(error)
            except (sqlite3.Error, OSError) as another:
                self._warnings.append(f"journal {self.path!r} is corrupt ({error}) and cannot be set aside: {another}")

    def _current_connection(self) -> sqlite3.Connection:
        connection = self._connection
        if connection is not None and connection.in_transaction:
            return connection
        try:
            if connection is None or not self._is_current():
                self._close()
                connection = self.retry_while_busy(self._open)
        except OSError as error:
            raise JournalUnavailable(self.path, error.strerror or str(error)) from error
        return connection

    def _is_current(self) -> bool:
        """Tell whether what is open is still the journal, and by its own descriptors."""
        if not are_unchanged(self._descriptors):
            return False
        # Another process may have moved the file away: what is written to it from now on would be lost.
        try:
            status = os.stat(self.path)  # noqa: PTH116 - on every write's path
        except FileNotFoundError:
            return False
        except PermissionError:  # the process is another user's since: what is open can still be written, nothing else
            return bool(self._descriptors)
        return (status.st_dev, status.st_ino) == self._identity

    def _open(self) -> sqlite3.Connection:
        try:
            return self._open_once()
        except sqlite3.DatabaseError as error:
            if not journal_file.is_corrupt(error):
                raise
            self._recover_from(error)
            return self._open_once()
        finally:
            if not self._is_open:
                self._close()

    def _open_once(self) -> sqlite3.Connection:
        self._is_open = False
        self._identity = journal_file.identity(self.path)
        if self._identity is None:
            journal_file.create(self.path)
            self._identity = journal_file.identity(self.path)
        journal_file.refuse_if_taken(self.path, self._identity)
        with journal_file.noting_descriptors(self.path) as descriptors:
            connection = self._connection = sqlite3.connect(
                self.path,
                timeout=self._poll_s(),
                isolation_level=None,
                check_same_thread=False,
                factory=Connection,
            )
            journal_file.prepare(connection, self.path)
            self._descriptors = descriptors()
        self._durable = self._is_open = True
        return connection

    def _begin(self, connection: sqlite3.Connection, durable: bool, single: bool) -> None:
        if durable is not self._durable:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        if not single:
            # A transaction that begins by reading could not wait for its turn to write.
            connection.execute("BEGIN IMMEDIATE")

    def retry_while_busy(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something, and again while other processes hold the file, for as long as a write may wait."""
        deadline = 0.0
        while True:
            try:
                return action(*args, **kwargs)
            except sqlite3.OperationalError as error:
                if not journal_file.is_one_of(error, BUSY):
                    raise
                deadline = deadline or time.monotonic() + self._wait_s() - self._poll_s()
                if time.monotonic() >= deadline:
                    self._set_waited_in_vain(waited=True)
                    raise
            time.sleep(_PAUSE_S)

    def _wait_s(self) -> float:
        """Return how long a write may wait now."""
        return min(_LOOK_S, self._busy_s) if self._has_waited_in_vain else self._busy_s

    def _poll_s(self) -> float:
        """Return how long SQLite itself waits each time."""
        return min(_POLL_S, self._wait_s())

    def _set_waited_in_vain(self, *, waited: bool) -> None:
        """Let the next writes wait shortly, or again for as long as the first one."""
        if waited is not self._has_waited_in_vain:
            self._has_waited_in_vain = waited
            if self._connection is not None:
                self._connection.execute(f"PRAGMA busy_timeout = {self._poll_s() * 1000:.0f}")

    def _recover_from(self, error: sqlite3.Error) -> None:
        """Rename the corrupt file; the next use begins a fresh one."""
        # Closing would write the write-ahead log into the corrupt file and delete it; SQLite leaves a renamed one
        # alone. Windows does not rename a file that is open.
        if sys.platform == "win32":
            self._close()
        found = self._identity
        moved_to = journal_file.move_corrupt_file(
            self.path, lambda: found is not None and journal_file.identity(self.path) == found
        )
        self._close()
        if moved_to is not None:
            self._warnings.append(
                f"journal {self.path!r} is corrupt ({error}): set aside as {moved_to!r}, a new one begins"
            )

    def _release(self) -> None:
        self._lock.release()
        while self._warnings:  # logged outside the lock: a log handler may do anything, even use the journal
            _log.warning("%s", self._warnings.pop(0))

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if are_unchanged(self._descriptors):
            connection.close()
        else:
            journal_file.abandon(connection, self._identity)
        self._descriptors = ()

    def __del__(self) -> None:
        """Close the file when nobody has it any more: a worker may have opened it again after the others were done."""
        if getattr(self, "_connection", None) is not None:
            with suppress(Exception):  # the interpreter may be ending
                self.close_at_exit()

    def close_at_exit(self) -> None:
        """Close the file at the end of the process; Python would close it without looking at its descriptors."""
        if self._pid == os.getpid() and self._lock.acquire(blocking=False):
            try:
                if not self.is_writing:
                    self._close()
            finally:
                self._lock.release()


def are_unchanged(descriptors: journal_file.Descriptors) -> bool:
    """Return whether each of these is open, and of the same file as before."""
    try:
        for number, identity in descriptors:
            status = os.fstat(number)
            if (status.st_dev, status.st_ino) != identity:
                return False
    except OSError:
        return False
    return True


class _Transaction:
    """Hold the lock and perhaps a transaction; turn errors of SQLite into JournalUnavailable.

    A class, since every run uses it, and a generator takes three times as long.
    """

    __slots__ = ("_database", "_durable", "_is_inner", "_single", "_writes")

    def __init__(self, database: Database, *, writes: bool = False, durable: bool = True, single: bool = False) -> None:
        self._database = database
        self._writes = writes
        self._durable = durable
        self._single = single
        self._is_inner = False

    def __enter__(self) -> sqlite3.Connection:
        database = self._database
        if database._pid != os.getpid():
            database._forget_parent()
        database._lock.acquire()
        try:
            self._is_inner = False  # it may be left from the last use of the shared instance
            connection = database._current_connection()
            self._is_inner = connection.in_transaction
            if self._writes and not (self._is_inner or (self._single and self._durable is database._durable)):
                database.retry_while_busy(database._begin, connection, self._durable, self._single)
        except BaseException as error:
            self._fail(error)
            raise
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        database = self._database
        if error is not None:
            self._fail(error)
            return
        if self._writes and not self._is_inner:
            try:
                assert database._connection is not None
                if not self._single:
                    database.retry_while_busy(database._connection.commit)
                if database._has_waited_in_vain:
                    database._set_waited_in_vain(waited=False)
            except BaseException as fault:
                self._fail(fault)
                raise
        database._release()

    def _fail(self, error: BaseException) -> None:
        """Roll back, release the lock, and raise an error of SQLite as JournalUnavailable."""
        database = self._database
        try:
            unavailable = database._unavailable(error) if isinstance(error, sqlite3.Error) else None
            if not self._is_inner:
                database._clean_up()
        finally:
            database._release()
        if unavailable is not None:
            raise unavailable from error


def _fetched(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> list[Row]:
    return connection.execute(sql, parameters).fetchall()
