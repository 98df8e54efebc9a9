"""The outbox as a person tends it: what waits, what failed, try again, drop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._models.kinds import DeliveryState, Kind
from supervisor._store.processes import Process
from supervisor._store.sqlite.outbox import OutboxStore

if TYPE_CHECKING:
    from supervisor._store.records import WaitingDelivery
    from supervisor._store.sqlite.database import Row

# Each by its own index, which the sign in ORDER BY sees to: most of what is there was sent.
UNSENT_KEYS = (
    "SELECT key FROM delivery WHERE state = 'pending' UNION ALL SELECT key FROM delivery WHERE state = 'failed'"
)
_UNSENT = f"""
SELECT key, handler, state, subject, kind, message_id, created_at, attempts, last_error, due_at,
       lease_until, claimer_host, claimer_pid, claimer_started
FROM delivery WHERE key IN (SELECT key FROM ({UNSENT_KEYS}) ORDER BY +key LIMIT ?) ORDER BY key
"""  # noqa: S608 - only our own words
_RETRY = """
UPDATE delivery SET state = 'pending', due_at = ?, changed_at = ? WHERE key = ? AND state IN ('pending', 'failed')
"""
# The row stays for a while, so that its key is not given to another delivery that a person might then drop too.
_DROP = """
UPDATE delivery SET state = 'dropped', lease_until = NULL, body = NULL
WHERE key = ? AND state IN ('pending', 'failed')
"""


class OutboxAdmin(OutboxStore):
    """Let a person see and decide what becomes of deliveries."""

    def deliveries(self, *, limit: int = 1_000) -> list[WaitingDelivery]:
        """Return what is pending or failed, oldest first."""
        now = self._clock()
        return [_seen(row, is_claimed=self._is_claimed(row[10:], now)) for row in self._store.rows(_UNSENT, (limit,))]

    def _is_claimed(self, lease: Row, now: float) -> bool:
        until, *claimer = lease
        return until is not None and until > now and not self._gone(Process(*claimer))

    def waiting_by_handler(self) -> dict[str, int]:
        """Return how many deliveries are pending, by the names of the handlers."""
        rows = self._store.rows("SELECT handler, count(*) FROM delivery WHERE state = 'pending' GROUP BY handler")
        return dict(rows)

    def retry(self, key: int) -> bool:
        """Make a failed or waiting delivery due now."""
        now = self._clock()
        with self._store.write() as connection:
            return connection.execute(_RETRY, (now, now, key)).rowcount > 0

    def drop(self, key: int) -> bool:
        """Forget a failed or waiting delivery for good."""
        with self._store.write() as connection:
            if not connection.execute(_DROP, (key,)).rowcount:
                return False
            (message_id,) = connection.execute("SELECT message_id FROM delivery WHERE key = ?", (key,)).fetchone()
            folders = self._copies.forget(connection, message_id)
        self._copies.remove(folders)
        return True


def _seen(row: Row, *, is_claimed: bool) -> WaitingDelivery:
    """Return what a person may want to know of a delivery."""
    from datetime import UTC, datetime

    from supervisor._store.records import WaitingDelivery

    key, handler, state, subject, kind, message_id, created_at, attempts, last_error, due_at = row[:10]
    return WaitingDelivery(
        key=key,
        handler=handler,
        state=DeliveryState(state),
        subject=subject,
        kind=Kind(kind),
        message_id=message_id,
        created_at=datetime.fromtimestamp(created_at, UTC),
        attempts=attempts,
        last_error=last_error,
        due_at=datetime.fromtimestamp(due_at, UTC) if state == DeliveryState.PENDING else None,
        is_claimed=is_claimed,
    )
