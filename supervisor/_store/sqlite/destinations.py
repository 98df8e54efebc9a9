"""How destinations rest that accept nothing, on disk: one row for each, which goes when the destination answers.

A destination rests for all processes. When its time has come, one of them tries it with one delivery (the probe), and
nobody else meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor._store.essentials import storable
from supervisor._store.processes import Process
from supervisor._store.sqlite.rows import JournalPart, instant

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from supervisor._models.values import Delivery
    from supervisor._store.records import DestinationRest
    from supervisor._store.sqlite.database import Database, Row

# When the clock was set back, the next attempt is due at once; below, when the lease of the one under way ends.
_RESTS = """
SELECT handler, since, failures, CASE WHEN changed_at > ? THEN 0 ELSE next_at END, last_error,
       (SELECT count(*) FROM delivery WHERE delivery.handler = destination.handler AND state = 'pending')
FROM destination
"""
_REST = f"{_RESTS} WHERE handler = ?"
_ALL_RESTS = f"{_RESTS} ORDER BY handler"
NEXT_PROBE = """
SELECT CASE WHEN destination.changed_at > ? THEN 0 ELSE next_at END, lease_until, claimer_host, claimer_pid,
       claimer_started, failures, since
FROM destination LEFT JOIN delivery ON key = probe AND state = 'pending' AND delivery.handler = destination.handler
WHERE destination.handler = ?
"""
_LET_REST = """
INSERT INTO destination (handler, since, failures, next_at, changed_at, probe, last_error) VALUES (?, ?, 1, ?, ?, ?, ?)
ON CONFLICT (handler) DO UPDATE SET failures = failures + 1, changed_at = excluded.changed_at, probe = excluded.probe,
last_error = excluded.last_error,
next_at = CASE WHEN changed_at > excluded.changed_at THEN excluded.next_at ELSE max(next_at, excluded.next_at) END
"""
_GO_ON = "DELETE FROM destination WHERE handler = ?"
_SINCE = "SELECT since FROM destination WHERE handler = ?"
_PASSED = """
UPDATE delivery SET passed_over = passed_over + 1
WHERE handler = ? AND state = 'pending' AND key <> ? AND failed_at IS NOT NULL AND changed_at >= ?
"""
_WAKE = "UPDATE destination SET next_at = ?, changed_at = ? WHERE handler = ?"
WAKE_OF = (
    "UPDATE destination SET next_at = ?, changed_at = ? WHERE handler = (SELECT handler FROM delivery WHERE key = ?)"
)


class DestinationReader(JournalPart):
    """Tell which destinations rest; see :class:`~supervisor._store.contract.Outbox`."""

    def _rests_until(self, probe: list[Row], now: float) -> float:
        """Return until when a destination rests: also while somebody tries it; 0 when it does not rest."""
        if not probe:
            return 0.0
        next_at: float = probe[0][0]
        lease = probe[0][1:5]
        return max(next_at, lease[0]) if self._is_claimed(lease, now) else next_at

    def rest_of(self, handler: str) -> DestinationRest | None:
        """Return how the destination of a handler rests; None when it does not."""
        now = self._clock()
        rows = self._database.rows(_REST, (now, storable(handler)))
        return self._rest(rows[0], now) if rows else None

    def rests(self) -> list[DestinationRest]:
        """Return the destinations that rest, in the order of their handlers' names."""
        now = self._clock()
        return [self._rest(row, now) for row in self._database.rows(_ALL_RESTS, (now,))]

    def _rest(self, row: Row, now: float) -> DestinationRest:
        from supervisor._store.records import DestinationRest

        probe = self._database.rows(NEXT_PROBE, (now, row[0]))
        handler, since, failures, next_at, last_error, waiting = row
        return DestinationRest(
            handler=handler,
            since=instant(since),
            failures=failures,
            next_in_s=max(0.0, next_at - now),
            last_error=last_error,
            waiting=waiting,
            is_tried=self._is_claimed(probe[0][1:5], now) if probe else False,
        )

    def _is_claimed(self, lease: Sequence[Any], now: float) -> bool:
        until, *claimer = lease
        return until is not None and until > now and not self._gone(Process(*claimer))


class DestinationStore(DestinationReader):
    """Let a person say that a destination is to be tried now."""

    _database: Database

    def wake(self, handler: str) -> None:
        """Let the next attempt at a destination that rests be made now."""
        now = self._clock()
        with self._database.write(durable=False) as connection:
            connection.execute(_WAKE, (now, now, storable(handler)))


def note_answer(
    connection: sqlite3.Connection, delivery: Delivery, now: float, *, rests_s: float | None, error: str
) -> None:
    """Note what an attempt says of the destination.

    Args:
        connection: In whose transaction.
        delivery: What was tried.
        now: The time.
        rests_s: For how many seconds the destination rests; None when it has answered, so that it goes on.
        error: Why it rests.
    """
    if rests_s is None:
        _go_on(connection, delivery)
        return
    handler = storable(delivery.handler)
    connection.execute(_LET_REST, (handler, now, now + rests_s, now, delivery.key, storable(error)))


def _go_on(connection: sqlite3.Connection, delivery: Delivery) -> None:
    """End the rest of a destination that has answered, and note which messages it had failed with."""
    handler = storable(delivery.handler)
    rest = connection.execute(_SINCE, (handler,)).fetchone()
    if rest is not None:
        connection.execute(_GO_ON, (handler,))
        connection.execute(_PASSED, (handler, delivery.key, rest[0]))
