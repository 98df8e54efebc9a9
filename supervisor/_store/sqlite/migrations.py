"""How a journal of an earlier version becomes one of today. Loaded when such a file is found.

``user_version`` holds the number of migrations that a file has seen. Each runs once, in order, in one transaction.
A published migration is never changed; a new one goes to the end, and into the tables of a new file
(``journal_file``). Nothing here depends on how the rest of the store reads and writes today: tables, columns and
stored JSON are those of the file's own version.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

Migration: TypeAlias = "tuple[str | Callable[[sqlite3.Connection], None], ...]"
"""SQL statements, and functions where SQL alone does not do."""

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

# For `supervisor check`.
#   finding: alerts, each notified once. run, run_id: NULL and "" where it is about no run; schedule: the one whose
#       time was missed; resolved_at: NULL while it lasts.
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

# A delivery has its message with it: one row, and so one page to write, where most messages go to one handler.
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
        notices_to_deliveries(connection)


# A plain notice is stored as every other message.
_NO_SAID = (_deliver_notices, "DROP TABLE said")

# The names that the code has for these today.
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

_SETTINGS = ("ALTER TABLE run ADD COLUMN settings BLOB",)

# A destination that accepts nothing rests as a whole.
_DESTINATIONS = (
    "ALTER TABLE delivery ADD COLUMN failed_at REAL",
    "ALTER TABLE delivery ADD COLUMN passed_over INTEGER NOT NULL DEFAULT 0",
    """CREATE INDEX delivery_urgent ON delivery (handler) WHERE state = 'pending'
AND kind IN ('failure', 'recovery', 'stalled', 'overdue', 'died', 'missed')""",
    """CREATE TABLE destination (
handler TEXT PRIMARY KEY, since REAL NOT NULL, failures INTEGER NOT NULL, next_at REAL NOT NULL,
changed_at REAL NOT NULL, probe INTEGER NOT NULL, last_error TEXT NOT NULL) WITHOUT ROWID""",
)

# Nothing looks runs up by the fingerprint of their error.
_UNUSED_INDEX = ("DROP INDEX run_failed",)

# An attempt whose answer is not known, since its process ended before it came.
#   delivery.sending_at: since when the destination may have the message of the attempt that is under way; NULL before.
#   delivery.doubts: how many attempts ended so.
_DOUBTS = (
    "ALTER TABLE delivery ADD COLUMN sending_at REAL",
    "ALTER TABLE delivery ADD COLUMN doubts INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX delivery_sending ON delivery (handler) WHERE sending_at IS NOT NULL",
)

# Where a later process may not be able to look up the process of a run, the run gives signs of life.
_HEARTBEATS = (
    "ALTER TABLE run ADD COLUMN machine TEXT",
    "ALTER TABLE run ADD COLUMN heartbeat_s REAL",
    "ALTER TABLE run ADD COLUMN heartbeat_at REAL",
    "ALTER TABLE run ADD COLUMN memory BLOB",
    "ALTER TABLE run ADD COLUMN presumed_dead BLOB",
)

# For how long attempts went on to fail, whatever the clock did between them: a gap counts a day at most.
_FAILING = (
    "ALTER TABLE delivery ADD COLUMN failing_s REAL NOT NULL DEFAULT 0",
    "UPDATE delivery SET failing_s = max(0, changed_at - failed_at) WHERE failed_at IS NOT NULL",
    "ALTER TABLE destination ADD COLUMN failing_s REAL NOT NULL DEFAULT 0",
    "UPDATE destination SET failing_s = max(0, changed_at - since)",
)

# Whose messages belong together, and which deliveries were given up without a message that says so.
_GIVEN_UP = (
    "ALTER TABLE delivery ADD COLUMN run_name TEXT",
    "ALTER TABLE delivery ADD COLUMN is_unreported INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX delivery_unreported ON delivery (key) WHERE is_unreported",
)

# Addresses of pages about a run, by their titles; NULL without any.
_LINKS = ("ALTER TABLE run ADD COLUMN links BLOB",)

# Which file it is, to know one that was restored from a copy.
_COPIES = ("CREATE TABLE file (inode INTEGER NOT NULL, copied_at REAL)",)


# Whether the message that a resting destination was tried with may be the cause, and whether another one is next.
_SUSPECTED = (
    "ALTER TABLE destination ADD COLUMN suspected INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE destination ADD COLUMN other_next INTEGER NOT NULL DEFAULT 0",
)

# What a run was warned of, and its steps; NULL without any.
_WARNINGS_AND_STEPS = (
    "ALTER TABLE run ADD COLUMN warnings BLOB",
    "ALTER TABLE run ADD COLUMN steps BLOB",
)

# What is accepted and not to be sent before its time, and of which runs nobody wants to hear for a while.
#   delivery.held_until, held_for: until when and why it is held, while its state is "held"; reason: what failures for
#       one reason have in common, NULL for other messages.
#   mute: until_at: NULL for no set time; until_ok: 1 if the first success ends it.
_HELD = (
    "ALTER TABLE delivery ADD COLUMN held_until REAL",
    "ALTER TABLE delivery ADD COLUMN held_for TEXT",
    "ALTER TABLE delivery ADD COLUMN reason TEXT",
    "CREATE INDEX delivery_held ON delivery (key) WHERE state = 'held'",
    """CREATE TABLE mute (
name TEXT PRIMARY KEY, since REAL NOT NULL, until_at REAL, until_ok INTEGER NOT NULL) WITHOUT ROWID""",
)

# The errors of the attempts before the last; NULL for a run of one attempt.
_ATTEMPTS = ("ALTER TABLE run ADD COLUMN retried BLOB",)

# The absolute path of the script or program, NULL where it has none: two scripts may have one name.
_SCRIPTS = ("ALTER TABLE run ADD COLUMN script TEXT",)

# Which other handler got a delivery in the place of its own, while its state is "passed".
_PASSED_ON = ("ALTER TABLE delivery ADD COLUMN passed_to TEXT",)

# What of the runs a fleet's database has.
_REPLICA = (
    """CREATE TABLE replica (
target TEXT PRIMARY KEY, high_key INTEGER NOT NULL, base INTEGER NOT NULL, open BLOB NOT NULL, acked_at REAL NOT NULL,
lost INTEGER NOT NULL, fault TEXT NOT NULL) WITHOUT ROWID""",
)

# What was around a run; runs with equal surroundings share a row.
_SURROUNDINGS = (
    "ALTER TABLE run ADD COLUMN boot TEXT",
    "ALTER TABLE run ADD COLUMN surroundings INTEGER",
    "ALTER TABLE run ADD COLUMN stamp BLOB",
    """CREATE TABLE surroundings (
key INTEGER PRIMARY KEY AUTOINCREMENT, stamp BLOB NOT NULL UNIQUE, noted_at REAL NOT NULL, facts BLOB)""",
)

# What no run has any more is found without reading the runs.
_SURROUNDINGS_IN_USE = ("CREATE INDEX run_surroundings ON run (surroundings) WHERE surroundings IS NOT NULL",)

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
    _UNUSED_INDEX,
    _DOUBTS,
    _HEARTBEATS,
    _FAILING,
    _GIVEN_UP,
    _LINKS,
    _COPIES,
    _SUSPECTED,
    _WARNINGS_AND_STEPS,
    _HELD,
    _ATTEMPTS,
    _SCRIPTS,
    _PASSED_ON,
    _REPLICA,
    _SURROUNDINGS,
    _SURROUNDINGS_IN_USE,
)


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Run the migrations that a file lacks. The caller holds the write lock and commits."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for migration in migrations[version:]:
        for step in migration:
            if isinstance(step, str):
                connection.execute(step)
            else:
                step(connection)
    connection.execute(f"PRAGMA user_version = {max(len(migrations), version)}")


_LEASE_S = 300.0
_NOTICES = """
SELECT said.key, said.handler, said.id, said.said_at, said.duration_s, said.cpu_s, said.peak_memory_bytes, said.subject,
       said.body, said.more, run.id, run.name, run.started_at, run.parent_id, run.host, run.pid, run.process_started,
       run.user, run.python, run.log_path, run.argv
FROM said LEFT JOIN run ON run.key = said.run AND run.id = said.run_id ORDER BY said.key
"""
_INSERT = """
INSERT INTO delivery (key, handler, state, attempts, due_at, changed_at, lease_until, claimer_host, claimer_pid,
                      claimer_started, last_error, message, kind, created_at, subject, body)
VALUES (?, ?, 'pending', 0, ?, ?, ?, ?, ?, ?, '', ?, 'notice', ?, ?, ?)
"""


def notices_to_deliveries(connection: sqlite3.Connection) -> None:
    """Turn the rows of the table ``said`` of version 5 into deliveries with the same keys and message ids.

    Version 5 wrote a script's plain notices there, without the facts of their run, and made deliveries of them
    later. As there, each is leased to the process of its run, which may be sending it at this moment.
    """
    for row in connection.execute(_NOTICES).fetchall():
        key, handler, message_id, written_at, *_ = row
        subject, body = row[7:9]
        host, pid, process_started = row[14:17]
        lease_until = None if pid is None else written_at + _LEASE_S
        lease = (lease_until, host, pid, process_started)
        title = _text(subject).encode("utf-8", "backslashreplace").decode("utf-8")
        message = _message(subject, body, message_id, written_at, _report(row))
        connection.execute(
            _INSERT, (key, handler, written_at, written_at, *lease, message_id, written_at, title, _dump(message))
        )


def _message(subject: bytes, body: bytes, message_id: str, written_at: float, report: Any) -> dict[str, Any]:
    fields = {"subject": _text(subject), "own_text": _text(body), "report": report}
    return _tag("MessageDetails", {**fields, "id": message_id, "created_at": _instant(written_at)})


def _report(row: Sequence[Any]) -> dict[str, Any] | None:
    """Return what the message says of its run; None where the run is no longer in the file."""
    duration_s, cpu_s, peak_memory_bytes, _, _, more = row[4:10]
    run_id, name, started_at, parent_id, host, pid, _, user, python, log_path, argv = row[10:]
    if run_id is None:
        return None
    fields = {
        "id": run_id,
        "name": name,
        "started_at": _instant(started_at),
        "duration_s": duration_s,
        "parent_id": parent_id,
        "host": host,
        "user": user,
        "pid": pid,
        "argv": _tag("tuple", [] if argv is None else _load(argv)),
        "python": python,
        "cpu_s": cpu_s,
        "peak_memory_bytes": peak_memory_bytes,
        "log_path": None if log_path is None else _tag("Path", log_path),
    }
    # Recorded values and progress, as members of a JSON object with a comma before each.
    return _tag("RunReport", fields | (_load(b"{%s}" % more[1:]) if more else {}))


def _tag(tag: str, value: Any) -> dict[str, Any]:
    return {"$": tag, "v": value}


def _instant(seconds: float) -> dict[str, Any]:
    return _tag("datetime", datetime.fromtimestamp(seconds, UTC).isoformat())


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


def _load(stored: bytes) -> Any:
    return json.loads(_text(stored))


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
