"""The outbox, as one reads it: what waits, what failed, and where deliveries stand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from supervisor._models.kinds import DeliveryState, Kind
from supervisor._store.essentials import storable
from supervisor._store.processes import Process
from supervisor._store.sqlite.rows import JournalPart, instant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from supervisor._models.values import Delivery
    from supervisor._store.records import DeliveryStatus, WaitingDelivery
    from supervisor._store.sqlite.database import Row

# A key may come again in a fresh file: the message's id tells whether it is still the same delivery.
SAME_DELIVERY = "key = ? AND message_id = ?"
_STATE = f"SELECT state FROM delivery WHERE {SAME_DELIVERY}"  # noqa: S608 - only our own words, here and below
# A row whose last change lies in the future was changed before the clock was set back; it is due.
_DUE_TIMES = """
SELECT min(CASE WHEN changed_at > ? THEN 0 ELSE due_at END), lease_until, claimer_host, claimer_pid, claimer_started
FROM delivery WHERE handler = ? AND state = 'pending' GROUP BY lease_until, claimer_host, claimer_pid, claimer_started
"""
_WAITING = """
WITH asked (name) AS (VALUES {})
SELECT name FROM asked WHERE EXISTS (SELECT 1 FROM delivery WHERE handler = name AND state = 'pending')
"""
# Each by its own index, which the sign in ORDER BY sees to: most of what is there was sent.
_UNSENT_KEYS = (
    "SELECT key FROM delivery WHERE state = 'pending' UNION ALL SELECT key FROM delivery WHERE state = 'failed'"
)
_UNSENT = f"""
SELECT key, handler, state, subject, kind, message_id, created_at, attempts, last_error, due_at,
       lease_until, claimer_host, claimer_pid, claimer_started
FROM delivery WHERE key IN (SELECT key FROM ({_UNSENT_KEYS}) ORDER BY +key LIMIT ?) ORDER BY key
"""  # noqa: S608
_UNSENT_OF_RUN = f"SELECT key FROM delivery WHERE key IN ({_UNSENT_KEYS}) AND instr(body, ?)"  # noqa: S608
_BY_HANDLER = "SELECT handler, count(*) FROM delivery WHERE state = 'pending' GROUP BY handler"
_COUNTS = """
SELECT (SELECT count(*) FROM delivery WHERE state = 'pending'), (SELECT count(*) FROM delivery WHERE state = 'failed')
"""
_STATUSES = "SELECT key, state, attempts, last_error FROM delivery WHERE key IN ({})"
_KEYS_AT_ONCE = 500


class OutboxReader(JournalPart):
    """Tell what waits; see :class:`~supervisor._store.contract.Outbox`."""

    def state_of(self, delivery: Delivery) -> DeliveryState | None:
        """Return where a delivery stands; None when it is not here. One that was dropped counts as done: SENT."""
        rows = self._database.rows(_STATE, (delivery.key, storable(delivery.message.id)))
        if not rows:
            return None
        return DeliveryState.SENT if rows[0][0] == "dropped" else DeliveryState(rows[0][0])

    def next_due_s(self, handler: str) -> float | None:
        """Return the seconds until something of a handler can be claimed; None when nothing is waiting."""
        now = self._clock()
        free_at = [
            max(due_at, lease_until) if lease_until is not None and not self._gone(Process(*claimer)) else due_at
            for due_at, lease_until, *claimer in self._database.rows(_DUE_TIMES, (now, storable(handler)))
        ]
        return max(0.0, min(free_at) - now) if free_at else None

    def waiting(self, handlers: Sequence[str]) -> set[str]:
        """Return which of these handlers have pending deliveries."""
        if not handlers:
            return set()
        names = {storable(handler): handler for handler in handlers}
        rows = self._database.rows(_WAITING.format(", ".join("(?)" for _ in names)), tuple(names))
        return {names[name] for (name,) in rows}

    def waiting_by_handler(self) -> dict[str, int]:
        """Return how many deliveries are pending, by the names of the handlers."""
        return dict(self._database.rows(_BY_HANDLER))

    def waiting_counts(self) -> tuple[int, int]:
        """Return how many deliveries are pending, and how many have failed."""
        pending, failed = self._database.rows(_COUNTS)[0]
        return pending, failed

    def waiting_of(self, run_id: str) -> frozenset[int]:
        """Return the keys of the deliveries that are not settled whose message was written in a run."""
        # As it is serialized; the id of a run is in no column.
        written = f'"id":{json.dumps(run_id)}'.encode()
        return frozenset(key for (key,) in self._database.rows(_UNSENT_OF_RUN, (written,)))

    def delivery_statuses(self, keys: Collection[int]) -> dict[int, DeliveryStatus]:
        """Return where deliveries stand; those that the journal has forgotten are left out."""
        from supervisor._store.records import DeliveryStatus

        found: dict[int, DeliveryStatus] = {}
        for some in _in_parts(keys):
            rows = self._database.rows(_STATUSES.format(", ".join("?" * len(some))), some)
            found.update({key: DeliveryStatus(*facts) for key, *facts in rows})
        return found

    def deliveries(self, *, limit: int = 1_000) -> list[WaitingDelivery]:
        """Return what is pending or failed, oldest first."""
        now = self._clock()
        rows = self._database.rows(_UNSENT, (limit,))
        return [_waiting_delivery(row, is_claimed=self._is_claimed(row[10:], now)) for row in rows]

    def _is_claimed(self, lease: Row, now: float) -> bool:
        until, *claimer = lease
        return until is not None and until > now and not self._gone(Process(*claimer))


def _waiting_delivery(row: Row, *, is_claimed: bool) -> WaitingDelivery:
    """Return what a person may want to know of a delivery."""
    from supervisor._store.records import WaitingDelivery

    key, handler, state, subject, kind, message_id, created_at, attempts, last_error, due_at = row[:10]
    return WaitingDelivery(
        key=key,
        handler=handler,
        state=DeliveryState(state),
        subject=subject,
        kind=Kind(kind),
        message_id=message_id,
        created_at=instant(created_at),
        attempts=attempts,
        last_error=last_error,
        due_at=instant(due_at) if state == DeliveryState.PENDING else None,
        is_claimed=is_claimed,
    )


def _in_parts(keys: Iterable[int]) -> Iterable[list[int]]:
    every = list(keys)
    return (every[start : start + _KEYS_AT_ONCE] for start in range(0, len(every), _KEYS_AT_ONCE))
