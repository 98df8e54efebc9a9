"""The journal's file: how it is created with its tables, brought up to date, and moved aside when it is corrupt.

A script may close all descriptors (``os.closerange``, a daemon) and then open files of its own, which get the same
numbers: SQLite would write pages of the journal into them. So this module also finds out which descriptors SQLite uses.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from supervisor._places import is_on_disk
from supervisor._store.essentials import JournalUnavailable
from supervisor._store.files import create_file, make_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

Identity: TypeAlias = tuple[int, int]
"""The device and the inode of a file."""
Descriptors: TypeAlias = tuple[tuple[int, Identity], ...]
"""Numbers, each with what distinguishes its file."""

LOCK_WAIT_S = 10.0
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# A commit writes each page that it touches, of which a run's row and its places in the indexes fill little.
_PAGE_BYTES = 1024

# The tables

VERSION = 25
"""How many migrations a file has seen that needs no other: ``user_version`` holds the number."""

# What all migrations together lead to; a test compares. Instants are seconds since 1970 (UTC). Keys grow with time.
# Wide columns stand last: SQLite reads a row only up to the last column it needs. Each start of a run reads the whole
# schema, so it is short, and its comments stand here.
#   run.outcome: NULL while it runs; ended_at: also of one that died; fingerprint: of its error; child_pid and
#       child_started: the process of the program that `supervisor run` has started, which outlives a `supervisor run`
#       that is killed; settings: those that have no column of their own, NULL where all have their defaults;
#       machine: its id, NULL in older rows; heartbeat_s: the longest that the run was without a sign of life, at least
#       how often it gives one, NULL where it gives none; heartbeat_at: the last one; memory: of its container, then;
#       presumed_dead: when it was reported as died though it may live, and to which handlers;
#       links: addresses of pages about it by their titles, NULL without any; script: the absolute path of the script or
#       program, NULL where it has none; boot: names the start of the machine, NULL where that is not known;
#       surroundings: the key of what was around it, NULL where that is not known; stamp: what of that was looked up for
#       a short run, NULL for others.
#   surroundings: what was around runs, once for all that have the same. stamp: what is known at once; facts: what took
#       longer to find out, NULL where it was not collected; noted_at: when it was written.
#   notified_failure: when people were last notified of equal failures of a name, and how many were held back since.
#   alert: what people were notified of once. run, run_id: NULL and "" where it is about no run; schedule: the one whose
#       time was missed; resolved_at: NULL while it lasts; times: how often it happened in the run; skipped: how often
#       since people were notified; awaiting_recovery: the handlers that are to be notified of its end. The unique index
#       lets only one of two processes open it.
#   seen_schedule: schedules in the configuration, since when checks have seen them, and when they no longer did.
#   past_check: when the last check looked, by the wall clock and by one that stands still while the machine sleeps; and
#       those before it that found that the machine had slept.
#   delivery: one message for one handler. state: pending, sent, failed, dropped, held or passed; lease_until: NULL when
#       nobody has claimed it; message_id: deliveries of one message share it; body: NULL once it is sent or
#       dropped; failed_at: when its first attempt failed; passed_over: how often others were accepted after that;
#       sending_at: since when the destination may have the message of the attempt that is under way, NULL before;
#       doubts: after how many attempts the answer is not known, since the process ended before it came; failing_s:
#       for how long its attempts have failed; run_name: of the run that wrote it, NULL for none; is_unreported: 1
#       if it was given up and no message has named it yet; held_until, held_for: until when and why it is held,
#       while its state is "held"; reason: what failures for one reason have in common, NULL for other messages;
#       passed_to: the handler that got it in the place of its own, while its state is "passed".
#   mute: names of runs of which nobody wants to hear. until_at: NULL for no set time; until_ok: 1 if the first success
#       ends it.
#   attachment_copy: copies of attachments of waiting messages. folder: where the copy is, NULL when there is none;
#       attachment: as it goes out, a copy's path relative to the journal's directory; delivery: the first that waited
#       for it, which gives its age.
#   file: one row. inode: of the file that this is; copied_at: when it was found to be a copy of another, NULL if never.
#   replica: what of the runs a fleet's database has. target: which database; high_key: it has the runs up to this key;
#       base: what is added to keys there, so that they grow though a new file begins; open: the keys of those that it
#       has unended, or presumed dead, with what it has of them; acked_at: when it last took runs;
#       lost: how many were deleted before it had them; fault: why it does not take them, once people were told, or "".
#   destination: only those that rest; since: the first failure; probe: the key of the last delivery that was tried;
#       suspected: how many of the failures the message that was tried may have caused; other_next: 1 when the next
#       attempt takes another message than the first.
_TABLES = (
    """CREATE TABLE run (
key INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, outcome TEXT, started_at REAL NOT NULL, ended_at REAL,
duration_s REAL, fingerprint TEXT, parent_id TEXT, host TEXT NOT NULL, pid INTEGER NOT NULL,
process_started TEXT NOT NULL, user TEXT NOT NULL, python TEXT NOT NULL, schedule TEXT, max_duration_s REAL,
stall_after_s REAL, log_path TEXT, exit_code INTEGER, cpu_s REAL, peak_memory_bytes INTEGER, progress_at REAL,
progress BLOB, argv BLOB, "values" BLOB, error BLOB, grace_s REAL, child_pid INTEGER, child_started TEXT,
settings BLOB, machine TEXT, heartbeat_s REAL, heartbeat_at REAL, memory BLOB, presumed_dead BLOB,
links BLOB, warnings BLOB, steps BLOB, retried BLOB, script TEXT,
boot TEXT, surroundings INTEGER, stamp BLOB)""",
    # An index on one column ends in the row's key: the newest run of a name is its last entry.
    "CREATE INDEX run_of_name ON run (name)",
    "CREATE INDEX run_unended ON run (name) WHERE outcome IS NULL",
    "CREATE INDEX run_surroundings ON run (surroundings) WHERE surroundings IS NOT NULL",
    """CREATE TABLE notified_failure (
name TEXT NOT NULL, fingerprint TEXT NOT NULL, notified_at REAL NOT NULL, held_back INTEGER NOT NULL DEFAULT 0,
PRIMARY KEY (name, fingerprint)) WITHOUT ROWID""",
    """CREATE TABLE alert (
key INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, run INTEGER, run_id TEXT NOT NULL, schedule TEXT,
since REAL NOT NULL, notified_at REAL NOT NULL, resolved_at REAL, times INTEGER NOT NULL DEFAULT 1,
skipped INTEGER NOT NULL DEFAULT 0, awaiting_recovery BLOB)""",
    "CREATE UNIQUE INDEX alert_open ON alert (kind, name, run_id) WHERE resolved_at IS NULL",
    """CREATE TABLE seen_schedule (
name TEXT PRIMARY KEY, schedule TEXT NOT NULL, since REAL NOT NULL, dropped_at REAL) WITHOUT ROWID""",
    "CREATE TABLE past_check (at REAL PRIMARY KEY, awake_s REAL NOT NULL, slept_s REAL NOT NULL) WITHOUT ROWID",
    """CREATE TABLE delivery (
key INTEGER PRIMARY KEY, handler TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, due_at REAL NOT NULL,
changed_at REAL NOT NULL, lease_until REAL, claimer_host TEXT, claimer_pid INTEGER, claimer_started TEXT,
last_error TEXT NOT NULL, message_id TEXT NOT NULL, kind TEXT NOT NULL, created_at REAL NOT NULL, subject TEXT NOT NULL,
body BLOB, failed_at REAL, passed_over INTEGER NOT NULL DEFAULT 0, sending_at REAL,
doubts INTEGER NOT NULL DEFAULT 0, failing_s REAL NOT NULL DEFAULT 0, run_name TEXT,
is_unreported INTEGER NOT NULL DEFAULT 0, held_until REAL, held_for TEXT, reason TEXT,
passed_to TEXT)""",
    "CREATE INDEX delivery_waiting ON delivery (handler) WHERE state = 'pending'",
    "CREATE INDEX delivery_failed ON delivery (handler) WHERE state = 'failed'",
    """CREATE INDEX delivery_urgent ON delivery (handler) WHERE state = 'pending'
AND kind IN ('failure', 'recovery', 'stalled', 'overdue', 'died', 'missed')""",
    "CREATE INDEX delivery_unreported ON delivery (key) WHERE is_unreported",
    "CREATE INDEX delivery_sending ON delivery (handler) WHERE sending_at IS NOT NULL",
    "CREATE INDEX delivery_held ON delivery (key) WHERE state = 'held'",
    """CREATE TABLE mute (
name TEXT PRIMARY KEY, since REAL NOT NULL, until_at REAL, until_ok INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE attachment_copy (
message_id TEXT NOT NULL, position INTEGER NOT NULL, delivery INTEGER NOT NULL, folder TEXT, bytes INTEGER NOT NULL,
is_log INTEGER NOT NULL, attachment BLOB NOT NULL, PRIMARY KEY (message_id, position)) WITHOUT ROWID""",
    """CREATE TABLE surroundings (
key INTEGER PRIMARY KEY AUTOINCREMENT, stamp BLOB NOT NULL UNIQUE, noted_at REAL NOT NULL, facts BLOB)""",
    "CREATE TABLE file (inode INTEGER NOT NULL, copied_at REAL)",
    """CREATE TABLE destination (
handler TEXT PRIMARY KEY, since REAL NOT NULL, failures INTEGER NOT NULL, next_at REAL NOT NULL,
changed_at REAL NOT NULL, probe INTEGER NOT NULL, last_error TEXT NOT NULL, failing_s REAL NOT NULL DEFAULT 0,
suspected INTEGER NOT NULL DEFAULT 0, other_next INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
    """CREATE TABLE replica (
target TEXT PRIMARY KEY, high_key INTEGER NOT NULL, base INTEGER NOT NULL, open BLOB NOT NULL, acked_at REAL NOT NULL,
lost INTEGER NOT NULL, fault TEXT NOT NULL) WITHOUT ROWID""",
)


def version_of(connection: sqlite3.Connection) -> int:
    """Return how many migrations a file has seen; 0 for a new one."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Create the tables of a new file, or run the migrations that an older one lacks.

    The caller holds the write lock and commits: of two processes that find an old file one migrates, and the other
    finds it done.
    """
    version = version_of(connection)  # read again under the lock: another process may have been first
    if not version:
        for each in _TABLES:
            connection.execute(each)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    elif version < VERSION:
        from supervisor._store.sqlite import migrations

        migrations.migrate(connection)


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Make a file that was just opened ready for writing.

    Raises:
        JournalUnavailable: It was written by a newer version, or its file system has no locks.
    """
    has_log = not _avoid_log_where_shared(connection, path)
    version = version_of(connection)
    if version > VERSION:
        raise newer_version(path, version)
    connection.execute("PRAGMA synchronous = FULL")  # some builds of SQLite come with less
    if version < VERSION:
        # Both settings stay in the file. Where SQLite refuses WAL, it keeps its own journal.
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # only a file without pages takes it
        if has_log:
            connection.execute("PRAGMA journal_mode = WAL")
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            bring_up_to_date(connection)
            _note_file(connection, path)
    elif connection.execute("SELECT inode FROM file").fetchall() != [(_inode(path),)]:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            _note_file(connection, path)


def _note_file(connection: sqlite3.Connection, path: str) -> None:
    """Note which file this is; of one that was copied, runs may have ended of which it does not know."""
    inode = _inode(path)
    before = connection.execute("SELECT inode FROM file").fetchall()
    if before != [(inode,)]:  # looked at again under the lock
        connection.execute("DELETE FROM file")
        connection.execute("INSERT INTO file VALUES (?, ?)", (inode, time.time() if before else None))


def _inode(path: str) -> int:
    return os.stat(path).st_ino & 0x7FFF_FFFF_FFFF_FFFF  # noqa: PTH116 - a text; SQLite has 63 bits and a sign


def _avoid_log_where_shared(connection: sqlite3.Connection, path: str) -> bool:
    """Let a file that machines share keep a rollback journal; return whether it is one.

    A write-ahead log needs memory that all who have it open share, which there is none of between machines
    (https://www.sqlite.org/wal.html, "Overview"). A file that has such a log loses it while nobody else has it open.

    Raises:
        JournalUnavailable: Nothing holds off several writers there.
    """
    directory = os.path.dirname(path)  # noqa: PTH120 - a text
    if is_on_disk(directory):
        return False
    from supervisor._places.resources import file_system_of

    found = file_system_of(directory)
    if not found.is_shared:
        return False
    if not found.has_locks:
        raise JournalUnavailable(
            path,
            f"its file system ({found.type or found.source}) has no locks, so that several processes would spoil it",
            "set SUPERVISOR_STATE to a disk, or to a network file system with locks (NFS 4, Filestore, EFS)",
        )
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # it needs no shared memory
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA locking_mode = NORMAL")
    return True


def newer_version(path: str, version: int) -> JournalUnavailable:
    """Return the error that a file was written by a newer version of supervisor."""
    return JournalUnavailable(
        path,
        f"it was written by a newer supervisor (its schema is {version}, this one knows {VERSION})",
        "upgrade agrc-supervisor here, or set SUPERVISOR_STATE to another directory",
    )


def is_corrupt(error: sqlite3.Error) -> bool:
    """Tell whether an error says that the file is no database, or a damaged one."""
    return is_one_of(error, _CORRUPT)


def is_one_of(error: sqlite3.Error, codes: Collection[int]) -> bool:
    """Return True for an error of one of these kinds; the low byte of an extended code is its kind."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF in codes


# The file


def identity(path: str) -> Identity | None:
    """Return what distinguishes a file from a later one of the same name; None when there is no file.

    Raises:
        OSError: The path cannot be looked at.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - on every write's path
    except FileNotFoundError:
        return None
    return (status.st_dev, status.st_ino)


def create(path: str) -> None:
    """Create the journal's empty file (mode 0600) and its directory (0700), where they are missing.

    Raises:
        OSError: They cannot be created.
    """
    make_directory(os.path.dirname(path))  # noqa: PTH120 - a text
    _private(path)


def _private(path: str) -> str:
    """Create a file that only its owner reads, unless it is there; SQLite gives its helper files the same mode."""
    # A file that is there must not be opened: closing it would drop the locks that SQLite holds on it in this
    # process (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    with suppress(FileExistsError):
        os.close(create_file(path))
    return path


def move_corrupt_file(path: str, is_still_corrupt: Callable[[], bool]) -> str | None:
    """Rename a corrupt journal and what belongs to it.

    Args:
        path: The journal's file.
        is_still_corrupt: Returns whether the file of that name is the one that was found corrupt.

    Returns:
        The new name; None when another process has moved it already.

    Raises:
        OSError: It cannot be renamed; on Windows also while another process has it open.
        sqlite3.Error: The lock cannot be had.
    """
    from datetime import UTC, datetime

    # SQLite itself serves as the portable lock: of two processes that find the corrupt file, the second
    # must not rename the fresh one of the first.
    with closing(sqlite3.connect(_private(f"{path}.lock"), timeout=LOCK_WAIT_S, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        if not is_still_corrupt():
            return None
        moved_to = f"{path}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        # The file itself goes last. If we are killed before, it is still found corrupt, and a write-ahead log
        # never stays behind for the fresh file.
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                os.replace(path + suffix, moved_to + suffix)  # noqa: PTH105 - these are texts
        return moved_to


# Its descriptors

_taken: set[Identity] = set()
"""Journals whose descriptors the script has closed. SQLite has one descriptor of the shared memory for all connections
of a process to a file, so that another connection would use the lost one again: the file is not opened any more here.
"""
_kept: list[Any] = []
_opening = threading.Lock()


@contextmanager
def noting_descriptors(path: str) -> Iterator[Callable[[], Descriptors]]:
    """Let one connection of the process open at a time: its descriptors are those that come meanwhile.

    A child that was forked while another thread held the lock goes on without it after a second.

    Args:
        path: The file that is opened in the block.

    Yields:
        What returns the descriptors that have come.
    """
    has_lock = _opening.acquire(timeout=1.0)
    try:
        before = open_now()
        yield lambda: of_database(open_now() - before, path)
    finally:
        if has_lock:
            _opening.release()


def open_now() -> frozenset[int]:
    """Return the numbers of all descriptors that are open; none where that is unknown, as on Windows."""
    if sys.platform == "win32":  # there SQLite uses no such numbers
        return frozenset()
    try:
        listed = [int(each) for each in os.listdir("/dev/fd")]  # noqa: PTH208 - pathlib takes 3 ms to load
    except (OSError, ValueError):
        return frozenset()
    # Among them is the one that listed them, which is closed by now.
    return frozenset(number for number in listed if _identity(os.fstat, number) is not None)


def of_database(numbers: Collection[int], path: str) -> Descriptors:
    """Return those of some descriptors that are open on a database's files, with what distinguishes these.

    Others are left out: another thread of the script may have opened them at the same moment, and may close them.

    Args:
        numbers: The descriptors.
        path: The database; its write-ahead log and shared memory stand beside it.
    """
    files = {_identity(os.stat, path + suffix) for suffix in ("", "-wal", "-shm")} - {None}
    found = ((number, _identity(os.fstat, number)) for number in sorted(numbers))
    return tuple((number, its) for number, its in found if its is not None and its in files)


def _identity(look: Callable[[Any], os.stat_result], where: object) -> Identity | None:
    try:
        status = look(where)
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def refuse_if_taken(path: str, found: Identity | None) -> None:
    """Raise an error for a file whose descriptors the script has closed in this process.

    Raises:
        JournalUnavailable: It is one.
    """
    if found in _taken:
        raise JournalUnavailable(
            path,
            "the script has closed its file descriptors (as os.closerange and some daemons do)",
            "close only descriptors that the script has opened; until this process ends, the ends of its runs are "
            "noted beside the journal",
        )


def abandon(connection: sqlite3.Connection, found: Identity | None) -> None:
    """Let nothing free a connection, not even the end of Python: that would close the descriptors of the script.

    Args:
        connection: Its descriptors are the script's by now.
        found: The file, which is not opened any more in this process.
    """
    if found is not None:
        _taken.add(found)
    _kept.append(connection)
    try:
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    except Exception:  # noqa: BLE001 - a Python without ctypes: a thread that never ends holds the connection instead
        threading.Thread(target=_hold, args=(connection,), daemon=True).start()


def _hold(connection: object) -> None:
    while True:
        time.sleep(3600.0)
