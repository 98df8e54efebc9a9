"""The record of runs, as they write it: start, progress, end."""

from __future__ import annotations

import time
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from supervisor._models.kinds import Outcome
from supervisor._store.contract import JournalUnavailable
from supervisor._store.json_text import dump_texts, text
from supervisor._store.processes import Process, is_gone, this_process

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from supervisor._models.values import ErrorDetails, Progress
    from supervisor._store.sqlite.database import Store

KEEP_RUNS = 1_000
KEEP_DAYS = 400.0
DAY_S = 86_400.0

_TRACEBACK_LIMIT = 16_000
_PRUNE_ONE_IN = 100
_PRUNE_AT_ONCE = 500


class StartedRun(NamedTuple):
    """What the journal keeps of a run when it starts; the process and the machine it finds out by itself.

    Args:
        id: The run's own id, unique among all runs.
        name: The name it was given.
        started_at_s: When it started, in seconds since 1970 (UTC).
        parent_id: The id of the run that this one is nested in; None for an outermost one.
        user: Who runs it.
        argv: The command line.
        python: The version of Python.
        log_path: The log that the run was told of; None without one.
        schedule: When it should run, as text; None without a schedule.
        max_duration_s: The longest it should take; None without a limit.
        stall_after_s: The longest it should be without progress; None without a limit.
        grace_s: How late a start may be by the schedule; without one it is not kept.
    """

    id: str
    name: str
    started_at_s: float
    parent_id: str | None = None
    user: str = ""
    argv: Sequence[str] = ()
    python: str = ""
    log_path: str | None = None
    schedule: str | None = None
    max_duration_s: float | None = None
    stall_after_s: float | None = None
    grace_s: float | None = None


class EndedRun(NamedTuple):
    """What the journal keeps of a run when it ends.

    Args:
        outcome: How it ended.
        ended_at_s: When it ended, in seconds since 1970 (UTC).
        duration_s: How long it took, by a clock that cannot be set.
        values: What the script recorded.
        progress: Its last progress; None keeps what was noted before.
        error: What went wrong; None when nothing did. A traceback is cut to 16,000 characters.
        exit_code: The code that the script asked for; None when it did not.
        cpu_s: Processor seconds that the process used during the run.
        peak_memory_bytes: The most memory that the process ever had.
    """

    outcome: Outcome
    ended_at_s: float
    duration_s: float
    values: Mapping[str, Any] = MappingProxyType({})
    progress: Progress | None = None
    error: ErrorDetails | None = None
    exit_code: int | None = None
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None


_INSERT = """
INSERT INTO run (id, name, started_at, parent_id, host, pid, process_started, user, python, schedule,
                 max_duration_s, stall_after_s, log_path, argv, grace_s)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_END = """
UPDATE run SET outcome = ?, ended_at = ?, duration_s = ?, fingerprint = ?, exit_code = ?, cpu_s = ?,
               peak_memory_bytes = ?, progress_at = coalesce(?, progress_at), progress = coalesce(?, progress),
               "values" = ?, error = ?
WHERE key = ? AND id = ?
"""

_LAST_OUTCOME = "SELECT outcome FROM run WHERE name = ? AND outcome IS NOT NULL ORDER BY key DESC LIMIT 1"
_IS_ANY_UNENDED = "SELECT 1 FROM run WHERE outcome IS NULL AND name = ? LIMIT 1"
# The oldest beyond so many of this name.
_DELETE_TOO_MANY = """
DELETE FROM run WHERE key IN (
    SELECT key FROM run
    WHERE name = ? AND key <= (SELECT key FROM run WHERE name = ? ORDER BY key DESC LIMIT 1 OFFSET ?)
    ORDER BY key LIMIT ?)
"""
# Of the oldest so many, whatever their name, those that started too long ago and are not the newest of their name.
_DELETE_TOO_OLD = """
DELETE FROM run WHERE key IN (
    SELECT key FROM (SELECT key, name, started_at FROM run ORDER BY key LIMIT ?) AS old
    WHERE started_at < ? AND key < (SELECT max(key) FROM run WHERE run.name = old.name))
"""


class RunStore:
    """Write down what runs do.

    Args:
        store: The journal's file.
        keep_runs: How many runs of a name are kept.
        keep_days: For how many days a run is kept. The newest run of a name always is.
        clock: Returns seconds since 1970.
        this: Returns the process that asks.
        gone: Tells whether a process has surely ended.
    """

    def __init__(  # noqa: PLR0913 - the seams for tests
        self,
        store: Store,
        *,
        keep_runs: int = KEEP_RUNS,
        keep_days: float = KEEP_DAYS,
        clock: Callable[[], float] = time.time,
        this: Callable[[], Process] = this_process,
        gone: Callable[[Process], bool] = is_gone,
    ) -> None:
        self._store = store
        self._keep_runs = keep_runs
        self._keep_days = keep_days
        self._clock = clock
        self._this = this
        self._gone = gone
        self._under_way: dict[str, tuple[int, StartedRun]] = {}

    def start_run(self, run: StartedRun) -> bool:
        """Note that a run has started: one commit that survives power loss.

        Returns:
            True when there are other runs of its name that have not ended: they are under way, or died.

        Raises:
            JournalUnavailable: It could not be written.
        """
        with self._store.write(alone=True) as connection:
            # Asked here it costs a tenth of what it costs with a lock of its own; and first, since what fails after
            # the commit would leave a run behind that nobody ends.
            others = connection.execute(_IS_ANY_UNENDED, (text(run.name),)).fetchall()
            self._insert(connection, run)
        return bool(others)

    def join_run(self, run: StartedRun) -> None:
        """Go on with a run that another process has started: its progress and end are noted where its start was.

        Raises:
            JournalUnavailable: The file cannot be read.
        """
        rows = self._store.rows("SELECT key FROM run WHERE id = ? ORDER BY key DESC LIMIT 1", (text(run.id),))
        if rows:
            self._under_way[run.id] = (rows[0][0], run)

    def _insert(self, connection: sqlite3.Connection, run: StartedRun) -> int:
        process = self._this()
        row = (
            text(run.id),
            text(run.name),
            run.started_at_s,
            None if run.parent_id is None else text(run.parent_id),
            process.host,
            process.pid,
            process.started,
            text(run.user),
            text(run.python),
            None if run.schedule is None else text(run.schedule),
            run.max_duration_s,
            run.stall_after_s,
            None if run.log_path is None else text(str(run.log_path)),
            dump_texts(run.argv),
            None if run.schedule is None else run.grace_s,
        )
        key = self._store.patiently(connection.execute, _INSERT, row).lastrowid or 0
        self._under_way[run.id] = (key, run)
        return key

    def progress(self, run_id: str, progress: Progress) -> None:
        """Note how far a run has come; it survives the end of the process, but perhaps not power loss.

        Call it at most once a second. A run that was not started here is ignored.

        Raises:
            JournalUnavailable: It could not be written.
        """
        self._change(run_id, "progress_at = ?, progress = ?", self._clock(), _dump(progress))

    def note_program(self, run_id: str, program: Process) -> None:
        """Note the program that a run has started and stands for; the note may not survive power loss.

        A run that was not started here is ignored.

        Raises:
            JournalUnavailable: It could not be written.
        """
        self._change(run_id, "child_pid = ?, child_started = ?", program.pid, program.started)

    def _change(self, run_id: str, columns: str, *values: Any) -> None:
        """Change some columns of a run that was started here, but perhaps not for what comes after power loss."""
        key, _ = self._under_way.get(run_id, (None, None))
        if key is not None:
            with self._store.write(durable=False) as connection:
                sql = f"UPDATE run SET {columns} WHERE key = ? AND id = ?"  # noqa: S608 - our own words
                connection.execute(sql, (*values, key, text(run_id)))

    def end_run(self, run_id: str, end: EndedRun, *, asks: bool = True) -> bool:
        """Note how a run has ended: one commit that survives power loss. One run in a hundred prunes old ones.

        Args:
            run_id: A run that was started here; any other is ignored.
            end: How it ended.
            asks: Whether the answer matters: what came before is looked up for it.

        Returns:
            True for a success when the newest run of its name that ended before it was none; False if not asked.

        Raises:
            JournalUnavailable: It could not be written.
        """
        key, run = self._under_way.get(run_id, (0, None))
        if run is None:
            return False
        is_recovery = False
        row = _end_row(end)
        with self._store.write(alone=not asks) as connection:
            if asks and end.outcome is Outcome.SUCCESS:
                is_recovery = _last_outcome(connection, run.name) != Outcome.SUCCESS
            if not self._store.patiently(connection.execute, _END, (*row, key, text(run_id))).rowcount:
                # The file is not the one that the run started in: it was set aside or removed meanwhile.
                with self._store.write():
                    key = self._insert(connection, run)
                    connection.execute(_END, (*row, key, text(run_id)))
        self._under_way.pop(run_id, None)
        if _is_one_in(_PRUNE_ONE_IN, key):
            with suppress(JournalUnavailable):  # the next one in a hundred tries again
                self.prune_runs(run.name)
        return is_recovery

    def prune_runs(self, name: str) -> int:
        """Delete old runs, a few hundred at a time, and return how many.

        Those go that are older than ``keep_days``, and of this name all but the newest ``keep_runs``; so each
        name holds at most about ``keep_runs`` and 100 more.

        Raises:
            JournalUnavailable: The file cannot be written.
        """
        name, before = text(name), self._clock() - self._keep_days * DAY_S
        with self._store.write(durable=False) as connection:
            too_many = connection.execute(_DELETE_TOO_MANY, (name, name, self._keep_runs, _PRUNE_AT_ONCE)).rowcount
            too_old = connection.execute(_DELETE_TOO_OLD, (_PRUNE_AT_ONCE, before)).rowcount
            connection.execute("DELETE FROM notified_failure WHERE notified_at < ?", (before,))
        return too_many + too_old


def _last_outcome(connection: sqlite3.Connection, name: str) -> str:
    """Return how the newest run of a name ended that has ended; without one, as if it had ended well."""
    row = connection.execute(_LAST_OUTCOME, (text(name),)).fetchone()
    return row[0] if row is not None else Outcome.SUCCESS


def _end_row(end: EndedRun) -> tuple[Any, ...]:
    return (
        str(end.outcome),
        end.ended_at_s,
        end.duration_s,
        text(end.error.fingerprint) if end.error is not None else None,
        end.exit_code,
        end.cpu_s,
        end.peak_memory_bytes,
        end.ended_at_s if end.progress is not None else None,
        _dump(end.progress) if end.progress is not None else None,
        _dump(dict(end.values)) if end.values else None,
        _error(end.error) if end.error is not None else None,
    )


def _is_one_in(count: int, key: int) -> bool:
    """Return True for one key in so many, but in no rhythm that scripts taking turns could fall into."""
    return (key * 2_654_435_761 & 0xFFFF_FFFF) * count >> 32 == 0  # Fibonacci hashing


def _dump(value: Any) -> bytes:
    from supervisor._store.serialization import dump  # an empty run does without

    return dump(value)


def _error(error: ErrorDetails) -> bytes:
    """Return an error as it is stored: with a traceback that does not fill the journal."""
    from supervisor._text import cut_middle

    return _dump(attrs.evolve(error, traceback=cut_middle(error.traceback, _TRACEBACK_LIMIT)))
