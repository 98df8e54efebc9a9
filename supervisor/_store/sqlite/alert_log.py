"""The alerts that people were notified of, each once, and what ``supervisor check`` notes to find them.

Every run with a journal loads this, so the records are imported where they are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._models import Kind
from supervisor._store.essentials import storable
from supervisor._store.sqlite.run_queries import (
    DAY_S,
    RUN_COLUMNS,
    JournalPart,
    dump_texts,
    instant,
    load_texts,
)
from supervisor._store.sqlite.runs import KEEP_DAYS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from supervisor._models.parts import Notification
    from supervisor._store.records import AlertRecord, LastCheck, RunRecord
    from supervisor._store.sqlite.database import Database, Row

SLEPT_AT_LEAST_S = 60.0
"""Clocks that drift apart by less than this between two checks do not mean that the machine slept."""

_ALERT = f"""
SELECT alert.key, kind, alert.name, alert.run_id, alert.schedule, since, notified_at, times, skipped,
       awaiting_recovery, {RUN_COLUMNS}
FROM alert LEFT JOIN run ON run.key = alert.run AND run.id = alert.run_id
"""  # noqa: S608 - made of constants alone
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
    Kind.DIED: "max(coalesce(progress_at, started_at), coalesce(heartbeat_at, 0))",
}
_NOTE = """
INSERT OR IGNORE INTO alert (kind, name, run, run_id, schedule, since, notified_at) VALUES (?, ?, ?, ?, ?, ?, ?)
"""


class AlertReader(JournalPart):
    """Read alerts, schedules and checks; see :class:`~supervisor._store.contract.Alerts`."""

    def open_alerts(self) -> tuple[AlertRecord, ...]:
        """Return the alerts that are not resolved, oldest first."""
        return tuple(map(self._alert, self._database.rows(_OPEN)))

    def alerts_of(self, run_id: str) -> tuple[AlertRecord, ...]:
        """Return the alerts of a run, resolved or not; all stalls of a run are one alert."""
        return tuple(map(self._alert, self._database.rows(_OF_RUN, (run_id,))))

    def alerts_since(self, since: datetime) -> tuple[AlertRecord, ...]:
        """Return the alerts that people were notified of since an instant, resolved or not, oldest first."""
        rows = self._database.rows(f"{_ALERT} WHERE notified_at >= ? ORDER BY alert.key", (since.timestamp(),))
        return tuple(map(self._alert, rows))

    def _alert(self, row: Row) -> AlertRecord:
        from supervisor._store.records import AlertRecord

        key, kind, name, run_id, schedule, since, notified_at, times, skipped, awaiting, *run = row
        return AlertRecord(
            key, Kind(kind), name, run_id, schedule, instant(since), instant(notified_at), times, skipped,
            load_texts(awaiting), self._run_records([run])[0] if run[0] is not None else None,
        )  # fmt: skip

    def schedules(self, configured: Mapping[str, str]) -> dict[str, tuple[str, datetime, datetime | None]]:
        """Return which schedules the configuration has or had, and since when."""
        return {
            name: (schedule, instant(since), instant(dropped_at))
            for name, (schedule, since, dropped_at) in self._schedules(configured).items()
        }

    def _schedules(self, configured: Mapping[str, str]) -> dict[str, tuple[str, float, float | None]]:
        now = self._clock()
        wanted = {storable(name): storable(schedule) for name, schedule in configured.items()}
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
        return self._database.rows("SELECT name, schedule, since, dropped_at FROM seen_schedule")

    def last_check(self, awake_s: float) -> LastCheck:
        """Return when a check last ran, and when the machine slept, as far as checks and clocks show it."""
        return _last_check(self._checks(), self._clock(), awake_s)

    def _checks(self) -> list[Row]:
        return self._database.rows(_CHECKS)


class AlertLog(AlertReader):
    """Note which alerts people are notified of; see :class:`~supervisor._store.contract.Alerts`."""

    _database: Database

    def open_alert(self, kind: Kind, run_id: str, *, is_new: bool = False) -> Notification | None:
        """Atomically open the alert that a run stalled, is overdue or died, for exactly one caller."""
        from supervisor._models.parts import Notification

        with self._database.write() as connection:
            row = connection.execute(
                f"SELECT name, key, id, NULL, {_SINCE[kind]} FROM run WHERE outcome IS NULL AND id = ?",  # noqa: S608 - our own words
                (run_id,),
            ).fetchone()
            if row is None:
                return None
            if kind is not Kind.STALLED:
                return Notification() if self._open(connection, kind, row) else None
            return self._open_stall(connection, row, is_new)

    def _open_stall(self, connection: sqlite3.Connection, row: Row, is_new: bool) -> Notification | None:
        from supervisor._models.parts import StallHistory, next_stall

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
        """Add handlers to those that are to be notified of the recovery."""
        with self._database.write() as connection:
            for key, _, awaiting in connection.execute(_AWAITING, (str(kind), run_id)).fetchall():
                self._set_awaiting(connection, key, tuple(dict.fromkeys((*load_texts(awaiting), *names))))

    @staticmethod
    def _set_awaiting(connection: sqlite3.Connection, key: int, names: Sequence[str]) -> None:
        connection.execute(
            "UPDATE alert SET awaiting_recovery = ? WHERE key = ?", (dump_texts(names) if names else None, key)
        )

    def open_missed_alert(self, name: str, schedule: str, since: datetime, newest: RunRecord | None) -> bool:
        """Atomically open the alert that a scheduled start was missed, for exactly one caller."""
        with self._database.write() as connection:
            (newest_key,) = connection.execute("SELECT max(key) FROM run WHERE name = ?", (name,)).fetchone()
            is_so = newest_key == (newest.key if newest is not None else None)
            row = (name, None, "", schedule, since.timestamp())
            return is_so and self._open(connection, Kind.MISSED, row)

    def _open(self, connection: sqlite3.Connection, kind: Kind, row: Row) -> bool:
        name, _, run_id, _, since = row
        is_known = connection.execute(
            "SELECT 1 FROM alert WHERE name = ? AND kind = ? AND run_id = ? AND since = ?",
            (name, str(kind), run_id, since),
        ).fetchone()
        if is_known is not None:  # opened by another process meanwhile, and perhaps resolved again
            return False
        return connection.execute(_NOTE, (str(kind), *row, self._clock())).rowcount > 0

    def resolve_alert(self, key: int) -> bool:
        """Resolve an alert; True for exactly one caller of all processes."""
        with self._database.write() as connection:
            return self._resolve(connection, key)

    def _resolve(self, connection: sqlite3.Connection, key: int) -> bool:
        now = self._clock()
        connection.execute("DELETE FROM alert WHERE resolved_at < ?", (now - KEEP_DAYS * DAY_S,))
        sql = "UPDATE alert SET resolved_at = ?, awaiting_recovery = NULL WHERE resolved_at IS NULL AND key = ?"
        return connection.execute(sql, (now, key)).rowcount > 0

    def resolve_stall(self, run_id: str, *, only: Collection[str] | None = None) -> tuple[str, ...] | None:
        """Resolve the stall of a run that makes progress again; return whom to notify, for exactly one caller."""
        from supervisor._models.parts import recovery_is_notified

        with self._database.write() as connection:
            row = connection.execute(_AWAITING, (str(Kind.STALLED), run_id)).fetchone()
            if row is None or not recovery_is_notified(row[1]):
                return None
            awaiting = load_texts(row[2])
            if only is not None and not set(awaiting) <= set(only):
                return None
            self._resolve(connection, row[0])
            return awaiting

    def mark_recovery_notified(self, key: int, names: Collection[str]) -> bool:
        """Atomically mark these handlers as notified of the recovery; the alert is resolved when all are."""
        with self._database.write() as connection:
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
        """Note which schedules the configuration has now, and return them as :meth:`schedules` does."""
        seen = {row[0]: row[1:] for row in self._schedules_seen()}
        changed = [(name, *row) for name, row in self._schedules(configured).items() if seen.get(name) != row]
        if changed:
            with self._database.write() as connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO seen_schedule (name, schedule, since, dropped_at) VALUES (?, ?, ?, ?)",
                    changed,
                )
        return self.schedules(configured)

    def note_check(self, awake_s: float) -> LastCheck:
        """Note that a check runs now, and return when the one before did."""
        now = self._clock()
        with self._database.write(durable=False) as connection:
            rows = connection.execute(_CHECKS).fetchall()
            slept_s = _slept_s(rows[-1], now, awake_s) if rows else 0.0
            connection.execute("DELETE FROM past_check WHERE slept_s = 0 OR at < ?", (now - KEEP_DAYS * DAY_S,))
            connection.execute("INSERT OR REPLACE INTO past_check VALUES (?, ?, ?)", (now, awake_s, slept_s))
        return _last_check(rows, now, awake_s)


def _last_check(rows: Sequence[Row], now: float, awake_s: float) -> LastCheck:
    from supervisor._store.records import LastCheck

    slept_s = _slept_s(rows[-1], now, awake_s) if rows else 0.0
    sleeps = [(at, each_s) for at, _, each_s in (*rows, (now, awake_s, slept_s)) if each_s]
    return LastCheck(instant(rows[-1][0]) if rows else None, tuple(sleeps))


def _slept_s(before: Row, now: float, awake_s: float) -> float:
    """Return how long the machine slept since a check; 0 where the clocks do not show it, as after a reboot."""
    slept_s: float = (now - before[0]) - (awake_s - before[1])
    return slept_s if awake_s >= before[1] and slept_s >= SLEPT_AT_LEAST_S else 0.0
