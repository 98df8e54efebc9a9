"""The record of runs, as one reads it: the last ones, those that died, failures in a row, what was told."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, overload

from supervisor._models.kinds import FAILED, Outcome
from supervisor._store.json_text import load_texts, text
from supervisor._store.processes import Process

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime

    from supervisor._store.records import Repeats, RunRecord, Streak
    from supervisor._store.sqlite.database import Row, Store

_COLUMNS = """
id, name, outcome, started_at, ended_at, duration_s, parent_id, host, pid, process_started, user, python, schedule,
max_duration_s, stall_after_s, log_path, exit_code, cpu_s, peak_memory_bytes, progress_at, progress, argv, "values",
error, grace_s, child_pid, child_started
"""
_PROCESS = slice(7, 10)  # host, pid, process_started
_NEWEST_OF = f"SELECT {_COLUMNS} FROM run WHERE name = ? ORDER BY key DESC LIMIT ?"  # noqa: S608 - only our own words
_NEWEST = f"SELECT {_COLUMNS} FROM run ORDER BY key DESC LIMIT ?"  # noqa: S608
_NEWEST_FAILED = f"SELECT {_COLUMNS} FROM run WHERE name = ? AND fingerprint = ? ORDER BY key DESC LIMIT 1"  # noqa: S608
_UNENDED = f"SELECT {_COLUMNS} FROM run WHERE outcome IS NULL AND name = ? AND host = ? ORDER BY key"  # noqa: S608


class RunHistory:
    """Answer questions about runs. The attributes come from :class:`~supervisor._store.sqlite.runs.RunStore`."""

    _store: Store
    _clock: Callable[[], float]
    _this: Callable[[], Process]
    _gone: Callable[[Process], bool]

    def last_run(self, name: str) -> RunRecord | None:
        """Return the newest run of a name, ended or not; None when there is none."""
        return next(iter(self.runs(name, limit=1)), None)

    def runs(self, name: str | None = None, *, limit: int = 100) -> tuple[RunRecord, ...]:
        """Return the newest runs, newest first.

        Args:
            name: Of which name; None means of all.
            limit: How many at most.
        """
        if name is None:
            rows = self._store.rows(_NEWEST, (limit,))
        else:
            rows = self._store.rows(_NEWEST_OF, (text(name), limit))
        return tuple(_record(row) for row in rows)

    def last_failure(self, name: str, fingerprint: str) -> RunRecord | None:
        """Return the newest run of a name that ended with an equal failure; None when there is none."""
        rows = self._store.rows(_NEWEST_FAILED, (text(name), text(fingerprint)))
        return _record(rows[0]) if rows else None

    def died_runs(self, name: str) -> tuple[RunRecord, ...]:
        """Return the runs of a name on this machine that never ended and whose process is gone, oldest first."""
        rows = self._store.rows(_UNENDED, (text(name), self._this().host))
        # Asked before the whole row is read: mostly it is the very run that asks.
        return tuple(_record(row) for row in rows if self._gone(Process(*row[_PROCESS])))

    def mark_died(self, run_id: str) -> bool:
        """Claim the telling of a run that died.

        Use it with :meth:`~supervisor._store.Journal.one_commit` and ``put``, so that a kill in between loses
        neither the claim nor the message.

        Returns:
            True for exactly one caller of all processes; False when the run has ended or another was first.
        """
        with self._store.write() as connection:
            row = connection.execute(
                "SELECT key, started_at, progress_at FROM run WHERE outcome IS NULL AND id = ?", (text(run_id),)
            ).fetchone()
            if row is None:
                return False
            key, started_at, progress_at = row
            seen_s = max(0.0, progress_at - started_at) if progress_at is not None else 0.0
            connection.execute("UPDATE run SET outcome = ?, duration_s = ? WHERE key = ?", ("died", seen_s, key))
            return True

    def failures_since_success(self, name: str, *, before: str = "") -> Streak:
        """Return how many runs of a name failed in a row, and since when.

        Runs under way do not count.

        Args:
            name: Of which name.
            before: The id of a run that has ended and does not count either; "" for none.
        """
        from supervisor._store.records import Streak

        count, since = 0, None
        for outcome, started_at, run_id in self._outcomes_from_newest(name):
            if run_id == before:
                continue
            if outcome == Outcome.SUCCESS:
                break
            if outcome in FAILED:
                count, since = count + 1, started_at
        return Streak(count, _instant(since))

    def _outcomes_from_newest(self, name: str) -> Iterator[tuple[str | None, float, str]]:
        """Read in growing steps: mostly the newest run decides, but a streak may be long."""
        below = 1 << 62
        for limit in chain((2, 20), iter(lambda: 500, None)):
            rows = self._store.rows(
                "SELECT outcome, started_at, id, key FROM run WHERE name = ? AND key < ? ORDER BY key DESC LIMIT ?",
                (text(name), below, limit),
            )
            for outcome, started_at, run_id, below in rows:  # noqa: B007 - the last key is where the next step begins
                yield outcome, started_at, run_id
            if len(rows) < limit:
                return

    def repeats(self, name: str, fingerprint: str) -> Repeats:
        """Return when an equal failure was last told, and how many were held back since."""
        from supervisor._store.records import Repeats

        rows = self._store.rows(
            "SELECT notified_at, held_back FROM notified_failure WHERE name = ? AND fingerprint = ?",
            (text(name), text(fingerprint)),
        )
        notified_at, held_back = rows[0] if rows else (None, 0)
        return Repeats(_instant(notified_at), held_back)

    def mark_notified(self, name: str, fingerprint: str) -> None:
        """Note that a failure was told just now, and begin to count anew."""
        with self._store.write() as connection:
            connection.execute(
                "INSERT INTO notified_failure (name, fingerprint, notified_at) VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET notified_at = excluded.notified_at, held_back = 0",
                (text(name), text(fingerprint), self._clock()),
            )

    def mark_held_back(self, name: str, fingerprint: str) -> None:
        """Note that a failure was held back because an equal one was told; without such a one, do nothing."""
        with self._store.write() as connection:
            connection.execute(
                "UPDATE notified_failure SET held_back = held_back + 1 WHERE name = ? AND fingerprint = ?",
                (text(name), text(fingerprint)),
            )

    def one_commit(self) -> AbstractContextManager[sqlite3.Connection]:
        """Make what this thread writes in the block one commit: all of it or, after an exception, nothing.

        Do nothing slow in the block: no other process can write meanwhile.

        Raises:
            JournalUnavailable: The file cannot be written; nothing was.
        """
        return self._store.write()


@overload
def _instant(seconds: float) -> datetime: ...
@overload
def _instant(seconds: float | None) -> datetime | None: ...
def _instant(seconds: float | None) -> datetime | None:
    from datetime import UTC, datetime

    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _record(row: Row) -> RunRecord:
    """Return a row of the table as a value."""
    from supervisor._store.records import RunRecord

    facts = dict(zip(_COLUMNS.replace('"', "").replace(",", " ").split(), row, strict=True))
    return RunRecord(
        report=_report(facts),
        process_started=facts["process_started"],
        progress_at=_instant(facts["progress_at"]),
        schedule=facts["schedule"],
        max_duration_s=facts["max_duration_s"],
        stall_after_s=facts["stall_after_s"],
        grace_s=facts["grace_s"],
        program=_program(facts),
    )


def _program(facts: dict[str, Any]) -> Process | None:
    pid = facts["child_pid"]
    return None if pid is None else Process(facts["host"], pid, facts["child_started"])


def _report(facts: dict[str, Any]) -> Any:
    from pathlib import Path

    from supervisor._models.values import RunReport

    same = ("id", "name", "parent_id", "host", "user", "pid", "python", "exit_code", "cpu_s", "peak_memory_bytes")
    return RunReport(
        **{name: facts[name] for name in same},
        outcome=Outcome(facts["outcome"]) if facts["outcome"] is not None else None,
        started_at=_instant(facts["started_at"]),
        ended_at=_instant(facts["ended_at"]),
        duration_s=facts["duration_s"] or 0.0,
        values=_stored(facts["values"]) or {},
        progress=_stored(facts["progress"]),
        error=_stored(facts["error"]),
        argv=load_texts(facts["argv"]),
        log_path=Path(facts["log_path"]) if facts["log_path"] is not None else None,
    )


def _stored(data: bytes | None) -> Any:
    """Return what was stored; what this version cannot read is as if it were not there."""
    from supervisor._store.serialization import UnreadableError, load

    try:
        return None if data is None else load(data)
    except UnreadableError:
        return None
