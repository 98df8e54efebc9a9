"""The tables of the journal, and how an older file becomes a newer one.

``user_version`` holds the number of migrations that a file has seen. Each runs once, in order, in one transaction
under the write lock, so that of two processes that find an old file one migrates and the other finds it done.
A published migration is never changed; a new one goes to the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

Migration: TypeAlias = "tuple[str | Callable[[sqlite3.Connection], None], ...]"
"""SQL statements, and functions where SQL alone does not do."""

# Instants are seconds since 1970 (UTC). Keys grow with time. Wide columns stand last: SQLite reads a row only up
# to the last column it needs.
_FIRST = (
    """
    CREATE TABLE run (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        outcome TEXT,              -- NULL while it runs
        started_at REAL NOT NULL,
        ended_at REAL,             -- NULL while it runs, and for good when it died
        duration_s REAL,
        fingerprint TEXT,          -- of its error; NULL without one
        parent_id TEXT,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        process_started TEXT NOT NULL,
        user TEXT NOT NULL,
        python TEXT NOT NULL,
        schedule TEXT,
        max_duration_s REAL,
        stall_after_s REAL,
        log_path TEXT,
        exit_code INTEGER,
        cpu_s REAL,
        peak_memory_bytes INTEGER,
        progress_at REAL,
        progress BLOB,
        argv BLOB,
        "values" BLOB,
        error BLOB
    )
    """,
    # An index on one column ends in the row's key: the newest run of a name is its last entry.
    "CREATE INDEX run_of_name ON run (name)",
    "CREATE INDEX run_unended ON run (name) WHERE outcome IS NULL",
    "CREATE INDEX run_failed ON run (name, fingerprint) WHERE fingerprint IS NOT NULL",
    """
    CREATE TABLE told (
        name TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        told_at REAL NOT NULL,
        held_back INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (name, fingerprint)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE message (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        created_at REAL NOT NULL,
        subject TEXT NOT NULL,
        body BLOB                  -- NULL once every handler has sent it
    )
    """,
    """
    CREATE TABLE delivery (
        key INTEGER PRIMARY KEY,
        message INTEGER NOT NULL,
        handler TEXT NOT NULL,
        state TEXT NOT NULL,       -- pending, sent, failed or dropped
        attempts INTEGER NOT NULL,
        due_at REAL NOT NULL,
        changed_at REAL NOT NULL,
        lease_until REAL,          -- NULL when nobody has claimed it
        claimer_host TEXT,
        claimer_pid INTEGER,
        claimer_started TEXT,
        last_error TEXT NOT NULL
    )
    """,
    "CREATE INDEX delivery_waiting ON delivery (handler) WHERE state = 'pending'",
    "CREATE INDEX delivery_of_message ON delivery (message)",
    """
    CREATE TABLE kept (
        message INTEGER NOT NULL,
        position INTEGER NOT NULL,
        folder TEXT,               -- where the copy is; NULL when there is none
        bytes INTEGER NOT NULL,
        is_log INTEGER NOT NULL,
        attachment BLOB NOT NULL,  -- as it goes out; a copy's path is relative to the journal's directory
        PRIMARY KEY (message, position)
    ) WITHOUT ROWID
    """,
)

# For `supervisor check`. Each start of a run reads the whole schema, so it is short, and its comments stand here.
#   finding: alerts, each notified once. run, run_id: NULL and "" where it is about no run; schedule: the one whose
#       time was missed; resolved_at: NULL while it lasts. The unique index lets only one of two processes open it.
#   watched: schedules in the configuration, since when checks have seen them, and when they no longer did.
#   checked: when the last check ran, by the wall clock and by one that stands still while the machine sleeps; and
#       those before it that found that the machine had slept.
_CHECKS = (
    "ALTER TABLE run ADD COLUMN grace_s REAL",
    """CREATE TABLE finding (
key INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, run INTEGER, run_id TEXT NOT NULL, schedule TEXT,
since REAL NOT NULL, told_at REAL NOT NULL, resolved_at REAL)""",
    "CREATE UNIQUE INDEX finding_open ON finding (kind, name, run_id) WHERE resolved_at IS NULL",
    """CREATE TABLE watched (
name TEXT PRIMARY KEY, schedule TEXT NOT NULL, since REAL NOT NULL, dropped_at REAL) WITHOUT ROWID""",
    "CREATE TABLE checked (at REAL PRIMARY KEY, awake_s REAL NOT NULL, slept_s REAL NOT NULL) WITHOUT ROWID",
)

# The process of the program that `supervisor run` has started, which outlives a `supervisor run` that is killed.
_PROGRAM = (
    "ALTER TABLE run ADD COLUMN program_pid INTEGER",
    "ALTER TABLE run ADD COLUMN program_started TEXT",
)

# Of an alert: how often it happened in the run, how often since people were notified, and whom to notify of its end.
_SLOW = (
    "ALTER TABLE finding ADD COLUMN times INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE finding ADD COLUMN untold INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE finding ADD COLUMN owed BLOB",
)

# A delivery has its message with it: one row, and so one page to write, where most messages go to one handler. Its
# comments stand here, as above.
#   delivery.state: pending, sent, failed or dropped; lease_until: NULL when nobody has claimed it.
#   delivery.message: the id, which deliveries of one message share; body: NULL once it is sent or dropped.
#   kept.folder: where the copy is, NULL when there is none; kept.attachment: as it goes out, a copy's path relative to
#       the journal's directory; kept.delivery: the first that waited for it, which gives its age.
#   said: plain notices that no process has made deliveries of yet; the key is that of the later delivery.
_ONE_ROW = (
    "ALTER TABLE delivery RENAME TO delivery_apart",
    "ALTER TABLE kept RENAME TO kept_apart",
    """CREATE TABLE delivery (
key INTEGER PRIMARY KEY, handler TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, due_at REAL NOT NULL,
changed_at REAL NOT NULL, lease_until REAL, claimer_host TEXT, claimer_pid INTEGER, claimer_started TEXT,
last_error TEXT NOT NULL, message TEXT NOT NULL, kind TEXT NOT NULL, created_at REAL NOT NULL, subject TEXT NOT NULL,
body BLOB)""",
    """CREATE TABLE kept (
message TEXT NOT NULL, position INTEGER NOT NULL, delivery INTEGER NOT NULL, folder TEXT, bytes INTEGER NOT NULL,
is_log INTEGER NOT NULL, attachment BLOB NOT NULL, PRIMARY KEY (message, position)) WITHOUT ROWID""",
    """INSERT INTO delivery SELECT old.key, handler, state, attempts, due_at, changed_at, lease_until, claimer_host,
claimer_pid, claimer_started, last_error, id, kind, created_at, subject,
CASE WHEN state IN ('pending', 'failed') THEN body END
FROM delivery_apart old JOIN message ON message.key = message""",
    """INSERT OR IGNORE INTO kept
SELECT id, position, (SELECT min(key) FROM delivery WHERE delivery.message = id), folder, bytes, is_log, attachment
FROM kept_apart old JOIN message ON message.key = message
WHERE EXISTS (SELECT 1 FROM delivery WHERE delivery.message = id)""",
    "DROP TABLE delivery_apart",
    "DROP TABLE kept_apart",
    "DROP TABLE message",
    "CREATE INDEX delivery_waiting ON delivery (handler) WHERE state = 'pending'",
    "CREATE INDEX delivery_failed ON delivery (handler) WHERE state = 'failed'",
    """CREATE TABLE said (
key INTEGER PRIMARY KEY, handler TEXT NOT NULL, run INTEGER NOT NULL, run_id TEXT NOT NULL, id TEXT NOT NULL,
said_at REAL NOT NULL, duration_s REAL NOT NULL, cpu_s REAL NOT NULL, peak_memory_bytes INTEGER, subject BLOB NOT NULL,
body BLOB NOT NULL, more BLOB NOT NULL)""",
)


def _deliver_notices(connection: sqlite3.Connection) -> None:
    if connection.execute("SELECT EXISTS (SELECT 1 FROM said)").fetchone()[0]:
        from supervisor._store.sqlite.upgrades import notices_to_deliveries

        notices_to_deliveries(connection)


# A plain notice is stored as every other message.
_NO_SAID = (_deliver_notices, "DROP TABLE said")

# The names that the code has for these today. From here on:
#   notified_failure: when people were last notified of equal failures of a name, and how many were held back since.
#   alert: what people were notified of once. awaiting_recovery: the handlers that are to be notified of its end.
#   seen_schedule: schedules in the configuration, since when checks have seen them, and when they no longer did.
#   past_check: when the last check looked, and those before it that found that the machine had slept.
#   attachment_copy: copies of attachments of waiting messages.
_NAMES = (
    "ALTER TABLE told RENAME TO notified_failure",
    "ALTER TABLE notified_failure RENAME COLUMN told_at TO notified_at",
    "DROP INDEX finding_open",
    "ALTER TABLE finding RENAME TO alert",
    "ALTER TABLE alert RENAME COLUMN told_at TO notified_at",
    "ALTER TABLE alert RENAME COLUMN untold TO skipped",
    "ALTER TABLE alert RENAME COLUMN owed TO awaiting_recovery",
    "CREATE UNIQUE INDEX alert_open ON alert (kind, name, run_id) WHERE resolved_at IS NULL",
    "ALTER TABLE watched RENAME TO seen_schedule",
    "ALTER TABLE checked RENAME TO past_check",
    "ALTER TABLE delivery RENAME COLUMN message TO message_id",
    "ALTER TABLE kept RENAME TO attachment_copy",
    "ALTER TABLE attachment_copy RENAME COLUMN message TO message_id",
    "ALTER TABLE run RENAME COLUMN program_pid TO child_pid",
    "ALTER TABLE run RENAME COLUMN program_started TO child_started",
)

# Settings of a run that have no column of their own, by their names; NULL where all have their defaults.
_SETTINGS = ("ALTER TABLE run ADD COLUMN settings BLOB",)

# A destination that accepts nothing rests as a whole.
#   delivery.failed_at: when its first attempt failed; passed_over: how often others were accepted after that.
#   destination: only those that rest; since: the first failure; probe: the key of the last delivery that was tried.
_DESTINATIONS = (
    "ALTER TABLE delivery ADD COLUMN failed_at REAL",
    "ALTER TABLE delivery ADD COLUMN passed_over INTEGER NOT NULL DEFAULT 0",
    """CREATE INDEX delivery_urgent ON delivery (handler) WHERE state = 'pending'
AND kind IN ('failure', 'recovery', 'stalled', 'overdue', 'died', 'missed')""",
    """CREATE TABLE destination (
handler TEXT PRIMARY KEY, since REAL NOT NULL, failures INTEGER NOT NULL, next_at REAL NOT NULL,
changed_at REAL NOT NULL, probe INTEGER NOT NULL, last_error TEXT NOT NULL) WITHOUT ROWID""",
)

MIGRATIONS: tuple[Migration, ...] = (
    _FIRST,
    _CHECKS,
    _PROGRAM,
    _SLOW,
    _ONE_ROW,
    _NO_SAID,
    _NAMES,
    _SETTINGS,
    _DESTINATIONS,
)
VERSION = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """Return how many migrations a file has seen; 0 for a new one."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Run the migrations that a file lacks. The caller holds the write lock and commits."""
    # Read again under the lock: another process may have been first.
    for migration in migrations[version_of(connection) :]:
        for step in migration:
            if isinstance(step, str):
                connection.execute(step)
            else:
                step(connection)
    connection.execute(f"PRAGMA user_version = {max(len(migrations), version_of(connection))}")
