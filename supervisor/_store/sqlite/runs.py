"""The record of runs, as runs and checks write it: start, progress, end, and what people were notified of."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._models import SUCCEEDED, Outcome
from supervisor._store.essentials import LEASE_S, JournalUnavailable
from supervisor._store.sqlite.run_queries import DAY_S, IN_STATE, RunQueries, dump_texts

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    from supervisor._models.values import ErrorDetails, Progress, RunStep
    from supervisor._store.essentials import EndedRun, StartedRun, Surroundings
    from supervisor._store.processes import Process
    from supervisor._store.records import PresumedDead, RunRecord
    from supervisor._store.sqlite.database import Database
    from supervisor._store.sqlite.end_notes import Notes
    from supervisor._store.sqlite.replication import Spared

KEEP_RUNS = 1_000
KEEP_DAYS = 400.0

_TRACEBACK_LIMIT = 16_000
_PRUNE_ONE_IN = 100
_PRUNE_AT_ONCE = 500
_UNDER_WAY_DAYS = 2  # a run that has noted what is around it has that only when it ends
_NO_LIMIT = (1 << 63) - 1


_INSERT = """
INSERT INTO run (id, name, started_at, parent_id, host, pid, process_started, user, python, schedule,
                 max_duration_s, stall_after_s, log_path, argv, grace_s, settings, machine, heartbeat_s, links,
                 script)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_END = """
UPDATE run SET outcome = ?, ended_at = ?, duration_s = ?, fingerprint = ?, exit_code = ?, cpu_s = ?,
               peak_memory_bytes = ?, progress_at = coalesce(?, progress_at), progress = coalesce(?, progress),
               "values" = ?, error = ?, warnings = ?, retried = ?, steps = ?, boot = ?, stamp = ?,
               surroundings = ?
WHERE key = ? AND id = ?
"""

# Not one that was written before the process ended after all.
_INSERT_NOTED = """
INSERT INTO delivery (handler, due_at, changed_at, message_id, kind, created_at, subject, body, run_name,
                      state, attempts, last_error)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', 0, ''
WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE message_id = ? AND handler = ?)
"""
_LAST_OUTCOME = "SELECT outcome FROM run WHERE name = ? AND key < ? AND outcome IS NOT NULL ORDER BY key DESC LIMIT 1"
_IS_ANY_UNENDED = "SELECT 1 FROM run WHERE outcome IS NULL AND name = ? LIMIT 1"
_RENEW_SENDING = """
UPDATE delivery SET lease_until = ? WHERE sending_at IS NOT NULL AND state = 'pending'
AND claimer_host = ? AND claimer_pid = ? AND claimer_started = ?
"""
_UNENDED = "SELECT key, started_at, progress_at, heartbeat_at FROM run WHERE outcome IS NULL AND id = ?"
_DIED = "UPDATE run SET outcome = ?, duration_s = ?, presumed_dead = ? WHERE key = ?"
_PRESUMED = "SELECT presumed_dead FROM run WHERE key = ? AND id = ?"
_KEY_AND_OUTCOME = "SELECT key, outcome FROM run WHERE id = ? ORDER BY key DESC LIMIT 1"
_DROPPABLE = (15, 13, 12, 10, 9, 11, 8)
"""Which columns of the end are left out of a note where all do not fit: stamp, steps, attempts, error, values,
warnings, progress."""
_NOTIFIED = """
INSERT INTO notified_failure (name, fingerprint, notified_at) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET notified_at = excluded.notified_at, held_back = 0
"""
_SURROUNDINGS = "SELECT key, facts FROM surroundings WHERE stamp = ?"
_KEEP_SURROUNDINGS = """
INSERT INTO surroundings (stamp, noted_at, facts) VALUES (?, ?, ?)
ON CONFLICT (stamp) DO UPDATE SET facts = coalesce(surroundings.facts, excluded.facts)
"""
_UNUSED_SURROUNDINGS = """
DELETE FROM surroundings
WHERE noted_at < ? AND NOT EXISTS (SELECT 1 FROM run WHERE run.surroundings = surroundings.key)
"""
_HELD_BACK = "UPDATE notified_failure SET held_back = held_back + 1 WHERE name = ? AND fingerprint = ?"
# The oldest beyond so many of this name.
_DELETE_TOO_MANY = """
DELETE FROM run WHERE key IN (
    SELECT key FROM run
    WHERE name = ? AND key <= (SELECT key FROM run WHERE name = ? ORDER BY key DESC LIMIT 1 OFFSET ?) AND key <= ?{}
    ORDER BY key LIMIT ?)
"""
# Of the oldest so many, whatever their name, those that started too long ago and are not the newest of their name.
_DELETE_TOO_OLD = """
DELETE FROM run WHERE key IN (
    SELECT key FROM (SELECT key, name, started_at FROM run ORDER BY key LIMIT ?) AS old
    WHERE started_at < ? AND key < (SELECT max(key) FROM run WHERE run.name = old.name) AND key <= ?{})
"""


class RunStore(RunQueries):
    """Write down what runs do; see :class:`~supervisor._store.contract.Runs`."""

    _database: Database
    _notes_path: str
    _keep_runs: int
    _keep_days: float
    _under_way: dict[str, tuple[int, StartedRun]]

    def start_run(self, run: StartedRun) -> bool:
        """Note that a run has started; return True when other runs of its name have not ended."""
        with self._database.write(single=True) as connection:
            # Under the lock that the insert needs anyway, this takes a tenth of the time. It comes first, since an
            # error after the commit would leave a run that nobody ends.
            others = connection.execute(_IS_ANY_UNENDED, (run.name,)).fetchall()
            self._insert(connection, run)
        return bool(others)

    def join_run(self, run: StartedRun) -> None:
        """Go on with a run that another process has started."""
        rows = self._database.rows("SELECT key FROM run WHERE id = ? ORDER BY key DESC LIMIT 1", (run.id,))
        if rows:
            self._under_way[run.id] = (rows[0][0], run)

    def _insert(self, connection: sqlite3.Connection, run: StartedRun) -> int:
        key = self._database.retry_while_busy(connection.execute, _INSERT, self._started_row(run)).lastrowid or 0
        self._under_way[run.id] = (key, run)
        return key

    def _started_row(self, run: StartedRun) -> tuple[Any, ...]:
        """Return the columns that are known when a run starts."""
        process = self._this()
        return (
            run.id,
            run.name,
            run.started_at_s,
            run.parent_id,
            run.host or process.host,
            process.pid,
            process.started,
            run.user,
            run.python,
            run.schedule,
            run.max_duration_s,
            run.stall_after_s,
            None if run.log_path is None else self._stored_path(str(run.log_path)),
            dump_texts(run.argv),
            None if run.schedule is None else run.grace_s,
            _dump(dict(run.settings)) if run.settings else None,
            process.machine,
            run.heartbeat_s,
            _dump(dict(run.links)) if run.links else None,
            run.script,
        )

    def _stored_path(self, path: str) -> str:
        """Return the path of a log as it is stored: relative to the journal's directory, if it is in that."""
        top = os.path.join(self._database.directory, "")  # noqa: PTH118 - a text
        return f"{IN_STATE}{path[len(top) :]}" if path.startswith(top) else path

    def progress(self, run_id: str, progress: Progress) -> None:
        """Note how far a run has come; it survives the end of the process, but perhaps not power loss."""
        self._change(run_id, "progress_at = ?, progress = ?", self._clock(), _dump(progress))

    def heartbeat(self, run_id: str, longest_s: float, memory: Sequence[int | None] | None = None) -> None:
        """Note that a run lives, and so does what this process is sending; power loss may take it back."""
        stored, now = _dump(list(memory)) if memory is not None else None, self._clock()
        with self._database.write(durable=False) as connection:
            self._change(run_id, "heartbeat_at = ?, heartbeat_s = ?, memory = ?", now, longest_s, stored)
            # Others than this machine cannot look whether the sender lives, however long the answer takes.
            lease_until = now + max(LEASE_S, 3 * longest_s)
            connection.execute(_RENEW_SENDING, (lease_until, *self._this().claimer))

    def set_links(self, run_id: str, links: Mapping[str, str]) -> None:
        """Note the addresses of pages about a run; it may not survive power loss."""
        self._change(run_id, "links = ?", _dump(dict(links)) if links else None)

    def set_steps(self, run_id: str, under_way: Sequence[RunStep]) -> None:
        """Note which steps of a run are under way; it may not survive power loss."""
        self._change(run_id, "steps = ?", _dump(list(under_way)) if under_way else None)

    def set_child_process(self, run_id: str, child: Process) -> None:
        """Note the process of the program that a run has started; it may not survive power loss."""
        self._change(run_id, "child_pid = ?, child_started = ?", child.pid, child.started)

    def _change(self, run_id: str, columns: str, *values: Any) -> None:
        """Change some columns of a run that was started here; power loss may take it back."""
        key, _ = self._under_way.get(run_id, (None, None))
        if key is not None:
            with self._database.write(durable=False) as connection:
                sql = f"UPDATE run SET {columns} WHERE key = ? AND id = ?"  # noqa: S608 - our own words
                connection.execute(sql, (*values, key, run_id))

    def end_run(self, run_id: str, end: EndedRun, *, asks: bool = True) -> bool:
        """Note how a run has ended; one run in a hundred deletes old ones."""
        key, run = self._under_way.get(run_id, (0, None))
        if run is None:
            return False
        is_recovery = False
        row = (*_end_row(end), end.surroundings.key if end.surroundings is not None else None)
        with self._database.write(single=not asks) as connection:
            if asks and end.outcome in SUCCEEDED:
                is_recovery = _last_outcome(connection, run.name, key) not in SUCCEEDED
            if not self._database.retry_while_busy(connection.execute, _END, (*row, key, run_id)).rowcount:
                # It is another file than the run started in: that one was moved away or removed meanwhile.
                with self._database.write():
                    key = self._insert(connection, run)
                    connection.execute(_END, (*row[:-1], None, key, run_id))
        self._under_way.pop(run_id, None)
        if _is_one_in(_PRUNE_ONE_IN, key):
            with suppress(JournalUnavailable):  # the next one in a hundred tries again
                self.prune_runs(run.name)
        return is_recovery

    def keep_surroundings(self, found: Surroundings) -> Surroundings:
        """Keep what is around a run, once for all runs with the same stamp; it may not survive power loss."""
        rows = self._database.rows(_SURROUNDINGS, (found.stamp,))
        if not rows or (rows[0][1] is None and found.facts is not None):
            with self._database.write(durable=False) as connection:
                connection.execute(_KEEP_SURROUNDINGS, (found.stamp, self._clock(), found.facts))
                rows = connection.execute(_SURROUNDINGS, (found.stamp,)).fetchall()
        key, facts = rows[0]
        return found._replace(key=key, facts=facts)

    def note_end(self, started: StartedRun, end: EndedRun) -> None:
        """Note in a file beside the journal how a run has ended, since the journal does not take it now."""
        from supervisor._store.sqlite import end_notes

        try:
            end_notes.add(self._notes_path, self._started_row(started), _end_row(end), _DROPPABLE)
        except OSError as error:
            raise JournalUnavailable(self._notes_path, error.strerror or str(error)) from error
        finally:
            self._under_way.pop(started.id, None)

    def merge_noted_ends(self) -> None:
        """Write the ends into the journal that were noted beside it; what it does not take now stays there."""
        if self._database.is_writing or not self._has_notes():
            return
        from supervisor._store.sqlite import end_notes

        with (
            suppress(OSError, JournalUnavailable),
            end_notes.taken(self._notes_path) as notes,
            self._database.write() as connection,  # it is left, and committed, before what was noted is removed
        ):
            merge_notes(connection, notes)

    def _has_notes(self) -> bool:
        """Return whether an end is noted; reserve room for such notes where there is none."""
        try:
            with open(self._notes_path, "rb", buffering=0) as file:  # noqa: PTH123 - on every run's path
                return file.read(1) not in (b"", b"\0")
        except FileNotFoundError:
            from supervisor._store.sqlite import end_notes

            with suppress(OSError):  # without room the next one tries again
                end_notes.reserve(self._notes_path)
        except OSError:
            pass  # too many open files: the next one looks again
        return False

    def _is_noted(self, run_id: str) -> bool:
        if not self._has_notes():
            return False
        from supervisor._store.sqlite import end_notes

        return any(started[0] == run_id for started, _ in end_notes.read(self._notes_path).ends)

    def died_runs(self, name: str) -> tuple[RunRecord, ...]:
        """Return the runs of a name that never ended and whose process is gone or lost, oldest first."""
        found = super().died_runs(name)
        if not found or not self._has_notes():
            return found
        self.merge_noted_ends()  # after the first look: a process notes its end before it is gone
        return tuple(each for each in super().died_runs(name) if not self._is_noted(each.id))

    def unended_runs(self) -> tuple[RunRecord, ...]:
        """Return the runs that have not ended, of all names and machines, oldest first."""
        found = super().unended_runs()
        if not found or not self._has_notes():
            return found
        self.merge_noted_ends()
        return tuple(each for each in super().unended_runs() if not self._is_noted(each.id))

    def mark_died(self, run_id: str, *, lost: RunRecord | None = None, notified: Collection[str] = ()) -> bool:
        """Mark a run as died; return True for exactly one caller of all processes."""
        if self._is_noted(run_id):
            return False
        with self._database.write() as connection:
            row = connection.execute(_UNENDED, (run_id,)).fetchone()
            if row is None or (lost is not None and row[2:] != (lost.progress_at_s, lost.heartbeat_at_s)):
                return False
            key, started_at, *signs = row
            seen_s = max(0.0, max((each for each in signs if each is not None), default=started_at) - started_at)
            presumed = _dump({"at": self._clock(), "notified": list(notified)}) if lost is not None else None
            connection.execute(_DIED, (str(Outcome.DIED), seen_s, presumed, key))
            return True

    def presumed_dead(self, run_id: str) -> PresumedDead | None:
        """Return when a run that lives was reported as died, and to whom; None when it was not."""
        from supervisor._store.records import presumed_dead_from

        key, _ = self._under_way.get(run_id, (None, None))
        rows = self._database.rows(_PRESUMED, (key, run_id)) if key is not None else ()
        return presumed_dead_from(rows[0][0]) if rows else None

    def mark_notified(self, name: str, fingerprint: str) -> None:
        """Note that people are notified of a failure just now, and begin to count anew."""
        with self._database.write() as connection:
            connection.execute(_NOTIFIED, (name, fingerprint, self._clock()))

    def mark_held_back(self, name: str, fingerprint: str) -> None:
        """Note that a failure was held back; without an equal one that people were notified of, do nothing."""
        with self._database.write() as connection:
            connection.execute(_HELD_BACK, (name, fingerprint))

    def one_commit(self) -> AbstractContextManager[sqlite3.Connection]:
        """Make what this thread writes in the block one commit: all of it or, after an exception, nothing."""
        return self._database.write()

    def _key_of(self, name: str, run_id: str) -> int:
        """Return the key of a run, without asking the file for one that was started here."""
        key, _ = self._under_way.get(run_id, (None, None))
        return super()._key_of(name, run_id) if key is None else key

    def prune_runs(self, name: str) -> int:
        """Delete old runs, a few hundred at a time, and return how many.

        Those go that are older than ``keep_days``, and of this name all but the newest ``keep_runs``; so each
        name holds at most about ``keep_runs`` and 100 more. Those that a fleet does not have yet stay, up to 100,000.

        Raises:
            JournalUnavailable: The file cannot be written.
        """
        before = self._clock() - self._keep_days * DAY_S
        with self._database.write(durable=False) as connection:
            spared = _spared(connection)
            if spared is not None and spared.unsent_from is not None:
                deleted = self._prune_counting(connection, name, before, spared)
            else:
                deleted = self._prune(connection, name, before, spared)
            connection.execute("DELETE FROM notified_failure WHERE notified_at < ?", (before,))
            connection.execute(_UNUSED_SURROUNDINGS, (self._clock() - _UNDER_WAY_DAYS * DAY_S,))
        return deleted

    def _prune_counting(self, connection: sqlite3.Connection, name: str, before: float, spared: Spared) -> int:
        """Delete old runs, also some that the fleet does not have, and note how many of those."""
        from supervisor._store.sqlite.replication import count_unsent, note_lost

        unsent = count_unsent(connection, spared)
        deleted = self._prune(connection, name, before, spared)
        lost = unsent - count_unsent(connection, spared)
        if lost:
            note_lost(connection, lost)
        return deleted

    def _prune(self, connection: sqlite3.Connection, name: str, before: float, spared: Spared | None) -> int:
        up_to = _NO_LIMIT if spared is None else spared.up_to
        # Those under way, and so a few; they are keys.
        others = f" AND key NOT IN ({', '.join(map(str, spared.keys))})" if spared is not None and spared.keys else ""
        too_many = connection.execute(
            _DELETE_TOO_MANY.format(others), (name, name, self._keep_runs, up_to, _PRUNE_AT_ONCE)
        )
        too_old = connection.execute(_DELETE_TOO_OLD.format(others), (_PRUNE_AT_ONCE, before, up_to))
        return too_many.rowcount + too_old.rowcount


def _spared(connection: sqlite3.Connection) -> Spared | None:
    """Return which runs must not be deleted, since a fleet does not have them yet; None where there is none."""
    if connection.execute("SELECT 1 FROM replica LIMIT 1").fetchone() is None:
        return None
    from supervisor._store.sqlite.replication import spared_by

    return spared_by(connection)


def merge_notes(connection: sqlite3.Connection, notes: Notes) -> None:
    """Write noted messages and ends, and the runs themselves where their starts are not there either."""
    for delivery in notes.deliveries:
        handler, message_id = delivery[0], delivery[3]
        connection.execute(_INSERT_NOTED, (*delivery, message_id, handler))
    for started, ended in notes.ends:
        run_id = started[0]
        row = connection.execute(_KEY_AND_OUTCOME, (run_id,)).fetchone()
        columns = (*started, *(None,) * (_INSERT.count("?") - len(started)))  # an older version knew fewer
        key, outcome = row if row is not None else (connection.execute(_INSERT, columns).lastrowid, None)
        if outcome in (None, str(Outcome.DIED)):
            end = (*ended, *(None,) * (_END.count("?") - 2 - len(ended)))
            connection.execute(_END, (*end, key, run_id))


def _last_outcome(connection: sqlite3.Connection, name: str, below: int) -> str:
    """Return how the last run of a name ended that started before one; without any, as if it had ended well."""
    row = connection.execute(_LAST_OUTCOME, (name, below)).fetchone()
    return row[0] if row is not None else Outcome.SUCCESS


def _end_row(end: EndedRun) -> tuple[Any, ...]:
    return (
        str(end.outcome),
        end.ended_at_s,
        end.duration_s,
        end.error.fingerprint if end.error is not None else None,
        end.exit_code,
        end.cpu_s,
        end.peak_memory_bytes,
        end.ended_at_s if end.progress is not None else None,
        _dump(end.progress) if end.progress is not None else None,
        _dump(dict(end.values)) if end.values else None,
        _error(end.error) if end.error is not None else None,
        _dump({"count": end.warning_count, "first": list(end.warnings)}) if end.warning_count else None,
        _dump(end.retried) if end.retried else None,
        _dump(list(end.steps)) if end.steps else None,
        *_around(end.surroundings),
    )


def _around(found: Surroundings | None) -> tuple[str | None, bytes | None]:
    """Return what is kept with the run itself: the start of the machine, and a stamp that is kept nowhere else."""
    if found is None:
        return None, None
    return found.boot or None, found.stamp if found.key is None else None


def _is_one_in(count: int, key: int) -> bool:
    """Return True for one key in ``count`` on average; keys of scripts that take turns are spread too, as by chance."""
    return (key * 2_654_435_761 & 0xFFFF_FFFF) * count >> 32 == 0  # Fibonacci hashing


def _dump(value: Any) -> bytes:
    from supervisor._store.serialization import dump  # an empty run does without

    return dump(value)


def _error(error: ErrorDetails) -> bytes:
    """Return an error as it is stored: with a traceback that does not fill the journal."""
    from supervisor._text import cut_middle

    return _dump(attrs.evolve(error, traceback=cut_middle(error.traceback, _TRACEBACK_LIMIT)))
