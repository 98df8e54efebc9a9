"""What of a journal's runs a fleet's database has, which it is to get next, and which must not be deleted before.

The fleet gets runs in the order of their keys, which grow with time, so one key says what it has. Of those that it has
and that had not ended, it gets the end later. Nothing of this is on a run's path; it is loaded by ``supervisor check``,
and by the one run in a hundred that deletes old ones, where there is a fleet.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from supervisor import _log
from supervisor._store.sqlite.run_queries import RunQueries

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

    from supervisor._store.records import RunRecord
    from supervisor._store.sqlite.database import Database

UNSENT_LIMIT = 100_000
"""So many runs that the fleet does not have are kept, whatever ``keep_runs`` says."""

_AT_ONCE = 500
_SELECT = "SELECT high_key, base, open, acked_at, lost FROM replica WHERE target = ?"
_BEGIN = "INSERT OR IGNORE INTO replica VALUES (?, 0, 0, '{}', ?, 0, '')"
_NOTE = "UPDATE replica SET high_key = ?, base = ?, open = ?, acked_at = ? WHERE target = ?"


class OpenRun(NamedTuple):
    """A run that the fleet has, and that may change yet.

    Args:
        key: Its key in the journal.
        revision: The revision that the fleet has of it.
    """

    key: int
    revision: int


class Replicated(NamedTuple):
    """What a fleet's database has of the runs of a journal.

    Args:
        high_key: It has all runs up to this key.
        base: What is added to the keys there: they grow, though a journal that was lost begins with 1 again.
        open: The runs that it has and that may change yet, by their ids.
        acked_at_s: When it last took runs, in seconds since 1970.
        lost: How many runs were deleted here before it had them.
    """

    high_key: int
    base: int
    open: Mapping[str, OpenRun]
    acked_at_s: float
    lost: int


class ReplicationLog(RunQueries):
    """Notes what of the runs each fleet has; made by :meth:`~supervisor._store.sqlite.Journal.replication`."""

    _database: Database

    def begin(self, target: str) -> Replicated:
        """Return what a database has; from now on no run is deleted before this one has it, and no other counts.

        Raises:
            JournalUnavailable: The journal cannot be written.
        """
        rows = self._database.rows("SELECT target FROM replica")
        if rows != [(target,)]:
            with self._database.write() as connection:
                connection.execute("DELETE FROM replica WHERE target != ?", (target,))
                connection.execute(_BEGIN, (target, self._clock()))
        return self.replicated(target) or Replicated(0, 0, {}, self._clock(), 0)

    def replicated(self, target: str) -> Replicated | None:
        """Return what a database has; None where nothing is replicated to it."""
        return next((_replicated(row) for row in self._database.rows(_SELECT, (target,))), None)

    def forget(self) -> None:
        """Let runs be deleted as without a fleet, since there is none any more."""
        if self._database.rows("SELECT 1 FROM replica LIMIT 1"):
            with self._database.write() as connection:
                connection.execute("DELETE FROM replica")

    def note(
        self, target: str, *, high_key: int, base: int, open_runs: Mapping[str, OpenRun], may_sink: bool = False
    ) -> None:
        """Note what a database has acknowledged.

        Of two processes that replicate at once the larger key counts.

        Args:
            target: Which database.
            high_key: It has all runs up to this key.
            base: What is added to keys there.
            open_runs: The runs that it has and that may change yet.
            may_sink: It has fewer than before, since it was restored from a backup.

        Raises:
            JournalUnavailable: The journal cannot be written.
        """
        with self._database.write() as connection:
            row = connection.execute(_SELECT, (target,)).fetchone()
            if row is None:
                return
            before = _replicated(row)
            # Another process may have noted more meanwhile, and did it with the same base unless it found it changed.
            if before.base == base and not may_sink and before.high_key > high_key:
                high_key, open_runs = before.high_key, {**before.open, **open_runs}
            connection.execute(_NOTE, (high_key, base, _stored(open_runs), self._clock(), target))

    def note_fault(self, target: str, fault: str) -> bool:
        """Note why a database does not take runs, "" when it does; return whether that is news.

        Args:
            target: Which database; "" where not even that is known: then whichever there was before.
            fault: Why; "" for nothing.

        Raises:
            JournalUnavailable: The journal cannot be written.
        """
        faults = self._database.rows("SELECT fault FROM replica WHERE ? IN (target, '')", (target,))
        if faults and bool(faults[0][0]) == bool(fault):
            return False
        with self._database.write() as connection:
            if not faults:
                connection.execute(_BEGIN, (target, self._clock()))
            connection.execute("UPDATE replica SET fault = ? WHERE ? IN (target, '')", (fault, target))
        return bool(fault)

    def runs_after(self, key: int, limit: int) -> tuple[RunRecord, ...]:
        """Return the runs that were started after one, oldest first."""
        return self._runs("WHERE key > ? ORDER BY key LIMIT ?", key, limit)

    def runs_of_keys(self, keys: Collection[int]) -> tuple[RunRecord, ...]:
        """Return runs by their keys, oldest first; those that are no longer kept are missing."""
        ordered = sorted(keys)
        found: list[RunRecord] = []
        for start in range(0, len(ordered), _AT_ONCE):
            some = ordered[start : start + _AT_ONCE]
            found += self._runs(f"WHERE key IN ({', '.join('?' * len(some))}) ORDER BY key", *some)
        return tuple(found)

    def keys_of_ids(self, run_ids: Collection[str], up_to: int) -> dict[str, int]:
        """Return the keys of runs, up to one key. It reads all runs: ids have no index."""
        wanted = set(run_ids)
        rows = self._database.rows("SELECT id, key FROM run WHERE key <= ?", (up_to,)) if wanted else ()
        return {run_id: key for run_id, key in rows if run_id in wanted}


def _replicated(row: tuple[int, int, bytes, float, int]) -> Replicated:
    high_key, base, stored, acked_at_s, lost = row
    return Replicated(high_key, base, {each: OpenRun(*of) for each, of in json.loads(stored).items()}, acked_at_s, lost)


def _stored(open_runs: Mapping[str, OpenRun]) -> str:
    return json.dumps(open_runs, separators=(",", ":"))


class Spared(NamedTuple):
    """Which runs must not be deleted, since the fleet does not have them as they will be.

    Args:
        up_to: Only runs up to this key may be deleted.
        keys: Nor these.
        unsent_from: The first key that the fleet does not have; None where none of those may be deleted.
    """

    up_to: int
    keys: tuple[int, ...]
    unsent_from: int | None = None


def spared_by(connection: sqlite3.Connection) -> Spared | None:
    """Return which runs must not be deleted; None where there is no fleet."""
    rows = connection.execute("SELECT high_key, base, open, acked_at, lost FROM replica").fetchall()
    if not rows:
        return None
    replicated = min(map(_replicated, rows), key=lambda each: each.high_key)
    keys = tuple(sorted(each.key for each in replicated.open.values()))
    beyond = connection.execute(
        "SELECT key FROM run WHERE key > ? ORDER BY key DESC LIMIT 1 OFFSET ?", (replicated.high_key, UNSENT_LIMIT)
    ).fetchone()
    if beyond is None:
        return Spared(replicated.high_key, keys)
    return Spared(beyond[0], keys, replicated.high_key + 1)


def count_unsent(connection: sqlite3.Connection, spared: Spared) -> int:
    """Return how many runs there are that the fleet does not have, of those that may be deleted all the same."""
    if spared.unsent_from is None:
        return 0
    sql = "SELECT count(*) FROM run WHERE key BETWEEN ? AND ?"
    count: int = connection.execute(sql, (spared.unsent_from, spared.up_to)).fetchone()[0]
    return count


def note_lost(connection: sqlite3.Connection, count: int) -> None:
    """Note that runs were deleted which the fleet does not have; of the first ones a warning is logged."""
    (before,) = connection.execute("SELECT max(lost) FROM replica").fetchone()
    connection.execute("UPDATE replica SET lost = lost + ?", (count,))
    if not before:
        _log.warning(
            "more than %s runs wait for the fleet, and the oldest are deleted now without ever being there: "
            "`supervisor check` sends them, and says why it cannot",
            f"{UNSENT_LIMIT:,}",
        )
