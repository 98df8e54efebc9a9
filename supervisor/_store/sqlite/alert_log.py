"""What ``supervisor check`` asks of the journal, and what it and others have told: each finding once.

Every run with a journal loads this, so the records are imported where they are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor._models.kinds import Kind
from supervisor._store.json_text import dump_texts, load_texts, text
from supervisor._store.processes import Process
from supervisor._store.sqlite.run_history import _instant
from supervisor._store.sqlite.runs import DAY_S, KEEP_DAYS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from supervisor._models.alerts import Notification
    from supervisor._store.records import AlertRecord, LastCheck, RunGlance, RunRecord
    from supervisor._store.sqlite.database import Row, Store

SLEPT_AT_LEAST_S = 60.0
"""Clocks that drift apart by less than this between two checks do not mean that the machine slept."""

_GLANCE = """
run.key, run.id, run.name, outcome, host, started_at,
coalesce(ended_at, progress_at, started_at + coalesce(duration_s, 0)),
run.schedule, grace_s, max_duration_s, stall_after_s, pid, process_started
"""
# From one name to the next by the index on names, whose last entry of a name is its newest run: so it takes as long as
# there are names, however many runs each has.
_NEWEST_OF_EACH = f"""
WITH RECURSIVE names (name) AS (
    SELECT min(name) FROM run
    UNION ALL
    SELECT (SELECT min(run.name) FROM run WHERE run.name > names.name) FROM names WHERE names.name IS NOT NULL
)
SELECT {_GLANCE} FROM names
JOIN run ON run.key = (SELECT key FROM run WHERE run.name = names.name ORDER BY key DESC LIMIT 1)
"""  # noqa: S608 - only our own words
# Ordered as its partial index is: by the key, SQLite would read all runs instead.
_UNENDED = f"SELECT {_GLANCE} FROM run WHERE outcome IS NULL ORDER BY name, key"  # noqa: S608
_ALERT = f"""
SELECT alert.key, kind, alert.name, alert.run_id, alert.schedule, since, notified_at, times, skipped,
       awaiting_recovery, {_GLANCE}
FROM alert LEFT JOIN run ON run.key = alert.run AND run.id = alert.run_id
"""  # noqa: S608
_OPEN = f"{_ALERT} WHERE resolved_at IS NULL ORDER BY alert.key"
_OF_RUN = f"{_ALERT} WHERE alert.run_id = ? ORDER BY alert.key"
_STALLS = (
    "SELECT key, since, notified_at, times, skipped FROM alert WHERE kind = ? AND run_id = ? ORDER BY key DESC LIMIT 1"
)
_STALLS_AGAIN = "UPDATE alert SET since = ?, notified_at = ?, times = ?, skipped = ?, resolved_at = NULL WHERE key = ?"
_AWAITING = "SELECT key, times, awaiting_recovery FROM alert WHERE resolved_at IS NULL AND kind = ? AND run_id = ?"
_CHECKS = "SELECT at, awake_s, slept_s FROM past_check ORDER BY at"
_SINCE = {
    Kind.STALLED: "coalesce(progress_at, started_at)",
    Kind.OVERDUE: "started_at + coalesce(max_duration_s, 0)",
    Kind.DIED: "coalesce(progress_at, started_at)",
}
_NOTE = """
INSERT OR IGNORE INTO alert (kind, name, run, run_id, schedule, since, notified_at) VALUES (?, ?, ?, ?, ?, ?, ?)
"""


class AlertReader:
    """Read what alerts are found by, and what people were notified of.

    The attributes come from :class:`~supervisor._store.Journal`, or from a
    :class:`~supervisor._store.sqlite.reader.Reader`, which writes nothing.
    """

    _store: Store
    _clock: Callable[[], float]
    _gone: Callable[[Process], bool]

    def newest_runs(self) -> dict[str, RunGlance]:
        """Return the newest run of each name."""
        return {glance.name: glance for glance in map(self._glance, self._store.rows(_NEWEST_OF_EACH))}

    def unended_runs(self) -> tuple[RunGlance, ...]:
        """Return the runs that have not ended, of all names and machines, oldest first."""
        return tuple(sorted(map(self._glance, self._store.rows(_UNENDED))))  # by their keys

    def open_alerts(self) -> tuple[AlertRecord, ...]:
        """Return what was told and is not over yet, oldest first."""
        return tuple(map(self._alert, self._store.rows(_OPEN)))

    def alerts_of(self, run_id: str) -> tuple[AlertRecord, ...]:
        """Return what was told of a run, whether it is over or not; all stalls of a run are one finding."""
        return tuple(map(self._alert, self._store.rows(_OF_RUN, (text(run_id),))))

    def _alert(self, row: Row) -> AlertRecord:
        from supervisor._store.records import AlertRecord

        key, kind, name, run_id, schedule, since, notified_at, times, skipped, awaiting, *glance = row
        return AlertRecord(
            key, Kind(kind), name, run_id, schedule, _instant(since), _instant(notified_at), times, skipped,
            load_texts(awaiting), self._glance(glance) if glance[0] is not None else None,
        )  # fmt: skip

    def first_run_since(self, name: str, since: datetime) -> RunGlance | None:
        """Return the first run of a name that started at an instant or later; None when there is none yet."""
        sql = f"SELECT {_GLANCE} FROM run WHERE name = ? AND started_at >= ? ORDER BY key LIMIT 1"  # noqa: S608
        return next(map(self._glance, self._store.rows(sql, (text(name), since.timestamp()))), None)

    def run_of(self, glance: RunGlance) -> RunRecord | None:
        """Return all that is known of a run; None when it is kept no more."""
        from supervisor._store.sqlite.run_history import _COLUMNS, _record

        sql = f"SELECT {_COLUMNS} FROM run WHERE key = ? AND id = ?"  # noqa: S608 - our own words
        return next(map(_record, self._store.rows(sql, (glance.key, text(glance.id)))), None)

    def schedules(self, configured: Mapping[str, str]) -> dict[str, tuple[str, datetime, datetime | None]]:
        """Return which schedules the configuration has or had.

        Args:
            configured: Names and their schedules, as texts, as the configuration has them now.

        Returns:
            Of each name: its schedule, when a check first saw it, and when a check no longer saw it (None for those
            that are still configured). What no check has seen yet counts from now.
        """
        return {
            name: (schedule, _instant(since), _instant(dropped_at))
            for name, (schedule, since, dropped_at) in self._schedules(configured).items()
        }

    def _schedules(self, configured: Mapping[str, str]) -> dict[str, tuple[str, float, float | None]]:
        now = self._clock()
        wanted = {text(name): text(schedule) for name, schedule in configured.items()}
        seen = {row[0]: row[1:] for row in self._schedules_seen()}
        merged = {
            name: (schedule, since, now if dropped_at is None and name not in wanted else dropped_at)
            for name, (schedule, since, dropped_at) in seen.items()
        }
        for name, schedule in wanted.items():
            if name not in seen or seen[name][0] != schedule or seen[name][2] is not None:
                merged[name] = (schedule, now, None)
        return merged

    def _schedules_seen(self) -> list[Row]:
        return self._store.rows("SELECT name, schedule, since, dropped_at FROM seen_schedule")

    def last_check(self, awake_s: float) -> LastCheck:
        """Return when a check last looked, and when the machine slept, as far as checks and the clocks of now show it.

        Args:
            awake_s: As in :meth:`AlertLog.note_check`.
        """
        return _last_check(self._checks(), self._clock(), awake_s)

    def _checks(self) -> list[Row]:
        return self._store.rows(_CHECKS)

    def _glance(self, row: Any) -> RunGlance:
        from supervisor._store.records import RunGlance

        outcome, host, pid, process_started = row[3], row[4], row[11], row[12]
        is_gone = outcome is None and self._gone(Process(host, pid, process_started))
        return RunGlance._make((*row[:11], is_gone))


class AlertLog(AlertReader):
    """Keep what people were notified of: runs that stalled, took too long, died or did not start.

    Each method that returns whether something is so for the caller alone is to be used in
    :meth:`~supervisor._store.Journal.one_commit` with ``put``, so that a kill in between neither loses the message nor
    repeats it.
    """

    def open_alert(self, kind: Kind, run_id: str, *, is_new: bool = False) -> Notification | None:
        """Claim the telling that a run stalled, is overdue or died.

        A run that tells this of itself calls it too, so that no check tells it again. Stalls that are not to be told
        (see :mod:`~supervisor._models.alerts`) are counted.

        Args:
            kind: Stalled, overdue or died.
            run_id: A run that has not ended.
            is_new: True for a stall of its own though the run made no progress since the last one.

        Returns:
            What is to be told, for exactly one caller of all processes; None when it is told already, when it is a
            stall that is held back, and when the run has ended.
        """
        from supervisor._models.alerts import Notification

        with self._store.write() as connection:
            row = connection.execute(
                f"SELECT name, key, id, NULL, {_SINCE[kind]} FROM run WHERE outcome IS NULL AND id = ?",  # noqa: S608
                (text(run_id),),
            ).fetchone()
            if row is None:
                return None
            if kind is not Kind.STALLED:
                return Notification() if self._note(connection, kind, row) else None
            return self._note_stall(connection, row, is_new)

    def _note_stall(self, connection: sqlite3.Connection, row: Row, is_new: bool) -> Notification | None:
        from supervisor._models.alerts import StallHistory, next_stall

        found = connection.execute(_STALLS, (Kind.STALLED, row[2])).fetchone()
        changed = next_stall(
            StallHistory(*found[1:]) if found is not None else None, row[-1], self._clock(), is_new=is_new
        )
        if changed is None:
            return None
        stalls, noted = changed
        if found is None:
            connection.execute(_NOTE, (str(Kind.STALLED), *row, self._clock()))
        else:
            connection.execute(_STALLS_AGAIN, (*stalls, found[0]))
        return noted

    def await_recovery(self, kind: Kind, run_id: str, names: Iterable[str]) -> None:
        """Note who is to hear that a finding is over; to be used in the commit that stores its message.

        Args:
            kind: Stalled or overdue.
            run_id: The run.
            names: The names of handlers; those that were noted before stay.
        """
        with self._store.write() as connection:
            for key, _, awaiting in connection.execute(_AWAITING, (str(kind), text(run_id))).fetchall():
                self._set_awaiting(connection, key, tuple(dict.fromkeys((*load_texts(awaiting), *names))))

    @staticmethod
    def _set_awaiting(connection: sqlite3.Connection, key: int, names: Sequence[str]) -> None:
        connection.execute(
            "UPDATE alert SET awaiting_recovery = ? WHERE key = ?", (dump_texts(names) if names else None, key)
        )

    def open_missed_alert(self, name: str, schedule: str, since: datetime, newest: RunGlance | None) -> bool:
        """Claim the telling that a scheduled start was missed.

        Args:
            name: Of which runs.
            schedule: Their schedule, as text.
            since: When the first start was due that was missed.
            newest: The newest run that the caller knows of.

        Returns:
            True for exactly one caller of all processes; False also when there is a newer run meanwhile.
        """
        with self._store.write() as connection:
            (newest_key,) = connection.execute("SELECT max(key) FROM run WHERE name = ?", (text(name),)).fetchone()
            is_so = newest_key == (newest.key if newest is not None else None)
            row = (text(name), None, "", text(schedule), since.timestamp())
            return is_so and self._note(connection, Kind.MISSED, row)

    def _note(self, connection: sqlite3.Connection, kind: Kind, row: Row) -> bool:
        name, _, run_id, _, since = row
        is_known = connection.execute(
            "SELECT 1 FROM alert WHERE name = ? AND kind = ? AND run_id = ? AND since = ?",
            (name, str(kind), run_id, since),
        ).fetchone()
        if is_known is not None:  # by somebody who was faster; it may even be over again
            return False
        return connection.execute(_NOTE, (str(kind), *row, self._clock())).rowcount > 0

    def resolve_alert(self, key: int) -> bool:
        """Claim the telling that a finding is over; True for exactly one caller of all processes."""
        with self._store.write() as connection:
            return self._resolve(connection, key)

    def _resolve(self, connection: sqlite3.Connection, key: int) -> bool:
        now = self._clock()
        connection.execute("DELETE FROM alert WHERE resolved_at < ?", (now - KEEP_DAYS * DAY_S,))
        sql = "UPDATE alert SET resolved_at = ?, awaiting_recovery = NULL WHERE resolved_at IS NULL AND key = ?"
        return connection.execute(sql, (now, key)).rowcount > 0

    def resolve_stall(self, run_id: str, *, only: Collection[str] | None = None) -> tuple[str, ...] | None:
        """Claim the telling that a run makes progress again after it had stalled.

        Args:
            run_id: The run.
            only: Whom the caller can tell; None for all.

        Returns:
            Who is to hear of it, for exactly one caller of all processes. None when no stall is open, when there are
            others to tell, and when the run has stalled so often that it is not over before its end.
        """
        from supervisor._models.alerts import recovery_is_notified

        with self._store.write() as connection:
            row = connection.execute(_AWAITING, (str(Kind.STALLED), text(run_id))).fetchone()
            if row is None or not recovery_is_notified(row[1]):
                return None
            awaiting = load_texts(row[2])
            if only is not None and not set(awaiting) <= set(only):
                return None
            self._resolve(connection, row[0])
            return awaiting

    def mark_recovery_notified(self, key: int, names: Collection[str]) -> bool:
        """Claim the telling to some handlers that a finding is over. It is over when all have heard of it.

        Args:
            key: Which finding.
            names: The names of the handlers.

        Returns:
            True when one of them was to hear of it, or nobody was, for exactly one caller of all processes.
        """
        with self._store.write() as connection:
            row = connection.execute(
                "SELECT awaiting_recovery FROM alert WHERE resolved_at IS NULL AND key = ?", (key,)
            ).fetchone()
            if row is None:
                return False
            awaiting = load_texts(row[0])
            left = tuple(each for each in awaiting if each not in names)
            if not left:
                return self._resolve(connection, key)
            self._set_awaiting(connection, key, left)
            return left != awaiting

    def note_schedules(self, configured: Mapping[str, str]) -> dict[str, tuple[str, datetime, datetime | None]]:
        """Note which schedules the configuration has now, and return them as :meth:`schedules` does.

        Args:
            configured: Names and their schedules, as texts.
        """
        seen = {row[0]: row[1:] for row in self._schedules_seen()}
        changed = [(name, *row) for name, row in self._schedules(configured).items() if seen.get(name) != row]
        if changed:
            with self._store.write() as connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO seen_schedule (name, schedule, since, dropped_at) VALUES (?, ?, ?, ?)",
                    changed,
                )
        return self.schedules(configured)

    def note_check(self, awake_s: float) -> LastCheck:
        """Note that a check looks now, and return when the one before did.

        Args:
            awake_s: What a clock shows that stands still while the machine sleeps: ``time.monotonic()``
                (https://docs.python.org/3/library/time.html#time.monotonic), but on Windows, where it goes on.
        """
        now = self._clock()
        with self._store.write(durable=False) as connection:
            rows = connection.execute(_CHECKS).fetchall()
            slept_s = _slept_s(rows[-1], now, awake_s) if rows else 0.0
            connection.execute("DELETE FROM past_check WHERE slept_s = 0 OR at < ?", (now - KEEP_DAYS * DAY_S,))
            connection.execute("INSERT OR REPLACE INTO past_check VALUES (?, ?, ?)", (now, awake_s, slept_s))
        return _last_check(rows, now, awake_s)


def _last_check(rows: Sequence[Row], now: float, awake_s: float) -> LastCheck:
    from supervisor._store.records import LastCheck

    slept_s = _slept_s(rows[-1], now, awake_s) if rows else 0.0
    sleeps = [(at, each_s) for at, _, each_s in (*rows, (now, awake_s, slept_s)) if each_s]
    return LastCheck(_instant(rows[-1][0]) if rows else None, tuple(sleeps))


def _slept_s(before: Row, now: float, awake_s: float) -> float:
    """Return how long the machine slept since a check; 0 where the clocks do not say so, as after a reboot."""
    slept_s: float = (now - before[0]) - (awake_s - before[1])
    return slept_s if awake_s >= before[1] and slept_s >= SLEPT_AT_LEAST_S else 0.0
