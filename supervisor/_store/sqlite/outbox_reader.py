"""What the outbox on disk tells: what waits, what failed, where deliveries stand, and which destinations rest.

A destination that accepts nothing rests for all processes; it has a row until it answers. When its time has come, one
process tries it with one delivery (the probe), and nobody else meanwhile.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from supervisor._models import DeliveryState, Kind
from supervisor._store.essentials import LEASE_S
from supervisor._store.processes import Process, lives
from supervisor._store.sqlite.run_queries import JournalPart, instant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from supervisor._models.values import Delivery
    from supervisor._store.records import DeliveryStatus, DestinationRest, WaitingDelivery
    from supervisor._store.sqlite.database import Row

# A key may come again in a fresh file: the message's id tells whether it is still the same delivery.
SAME_DELIVERY = "key = ? AND message_id = ?"
_STATE = f"SELECT state FROM delivery WHERE {SAME_DELIVERY}"  # noqa: S608 - only our own words, here and below
# As the index has it; a test compares it with what the models say.
URGENT_SQL = "kind IN ('failure', 'recovery', 'stalled', 'overdue', 'died', 'missed')"
# A recovery does not arrive before what it says is over.
MUST_WAIT = f"""(kind = 'recovery' AND EXISTS (
SELECT 1 FROM delivery AS alarm WHERE alarm.handler = delivery.handler AND alarm.state = 'pending'
AND alarm.{URGENT_SQL} AND alarm.kind <> 'recovery' AND alarm.run_name = delivery.run_name
AND alarm.key < delivery.key))"""  # noqa: S608 - our own words
# A row whose last change lies in the future was changed before the clock was set back; it is due.
_DUE_TIMES = f"""
SELECT min(CASE WHEN changed_at > ? THEN 0 ELSE due_at END), lease_until, claimer_host, claimer_pid, claimer_started,
       sending_at
FROM delivery WHERE handler = ? AND state = 'pending' AND NOT {MUST_WAIT}
GROUP BY lease_until, claimer_host, claimer_pid, claimer_started, sending_at
"""  # noqa: S608 - made of constants alone
_WAITING = """
WITH asked (place, name) AS (VALUES {})
SELECT place FROM asked WHERE EXISTS (SELECT 1 FROM delivery WHERE handler = name AND state = 'pending')
"""
# Each by its own index, which the sign in ORDER BY sees to: most of what is there was sent.
_UNSENT_KEYS = (
    "SELECT key FROM delivery WHERE state = 'pending' UNION ALL SELECT key FROM delivery WHERE state = 'failed'"
)
_UNSENT = f"""
SELECT key, handler, state, subject, kind, message_id, created_at, attempts, last_error,
       max(due_at, coalesce((SELECT next_at FROM destination WHERE destination.handler = delivery.handler), 0)),
       lease_until, claimer_host, claimer_pid, claimer_started, sending_at
FROM delivery WHERE key IN (SELECT key FROM ({_UNSENT_KEYS}) ORDER BY +key LIMIT ?) ORDER BY key
"""  # noqa: S608 - made of constants alone
_UNSENT_OF_RUN = f"SELECT key FROM delivery WHERE key IN ({_UNSENT_KEYS}) AND instr(body, ?)"  # noqa: S608 - made of constants alone
_BY_HANDLER = "SELECT handler, count(*) FROM delivery WHERE state = 'pending' GROUP BY handler"
_COUNTS = """
SELECT (SELECT count(*) FROM delivery WHERE state = 'pending'), (SELECT count(*) FROM delivery WHERE state = 'failed')
"""
_STATUSES = "SELECT key, state, attempts, last_error FROM delivery WHERE key IN ({})"
_KEYS_AT_ONCE = 500
# When the clock was set back, the next attempt is due at once; below, when the lease of the one under way ends.
_RESTS = """
SELECT handler, since, failures, CASE WHEN changed_at > ? THEN 0 ELSE next_at END, last_error, failing_s,
       (SELECT count(*) FROM delivery WHERE delivery.handler = destination.handler AND state = 'pending'),
       suspected, other_next
FROM destination
"""
_REST = f"{_RESTS} WHERE handler = ?"
_ALL_RESTS = f"{_RESTS} ORDER BY handler"
NEXT_PROBE = """
SELECT CASE WHEN destination.changed_at > ? THEN 0 ELSE next_at END, lease_until, claimer_host, claimer_pid,
       claimer_started, sending_at, other_next
FROM destination LEFT JOIN delivery ON key = probe AND state = 'pending' AND delivery.handler = destination.handler
WHERE destination.handler = ?
"""


class OutboxReader(JournalPart):
    """Tell what waits, and which destinations rest; see :class:`~supervisor._store.contract.Outbox`."""

    def _rests_until(self, probe: list[Row], now: float) -> float:
        """Return until when a destination rests: also while somebody tries it; 0 when it does not rest."""
        if not probe:
            return 0.0
        next_at: float = probe[0][0]
        return max(next_at, self._leased_until(probe[0][1:6], now))

    def rest_of(self, handler: str) -> DestinationRest | None:
        """Return how the destination of a handler rests; None when it does not."""
        now = self._clock()
        rows = self._database.rows(_REST, (now, handler))
        return self._rest(rows[0], now) if rows else None

    def rests(self) -> list[DestinationRest]:
        """Return the destinations that rest, in the order of their handlers' names."""
        now = self._clock()
        return [self._rest(row, now) for row in self._database.rows(_ALL_RESTS, (now,))]

    def _rest(self, row: Row, now: float) -> DestinationRest:
        from supervisor._store.records import DestinationRest

        probe = self._database.rows(NEXT_PROBE, (now, row[0]))
        handler, since, failures, next_at, last_error, failing_s, waiting, suspected, other_next = row
        return DestinationRest(
            handler=handler,
            since=instant(since),
            failures=failures,
            next_in_s=max(0.0, next_at - now),
            last_error=last_error,
            waiting=waiting,
            failing_s=failing_s,
            suspected=suspected,
            other_next=bool(other_next),
            is_tried=bool(probe) and self._leased_until(probe[0][1:6], now) > now,
        )

    def _leased_until(self, lease: Sequence[Any], now: float) -> float:
        """Return until when a delivery belongs to its claimer; 0 when anybody may claim it.

        Who is sending renews the lease by being alive, however long the answer of the destination takes.
        """
        until, host, pid, started, sending_at = lease
        if until is None or self._gone(Process(host, pid, started)):
            return 0.0
        if until <= now and sending_at is not None and lives(Process(host, pid, started)):
            return now + LEASE_S
        return float(until) if until > now else 0.0

    def state_of(self, delivery: Delivery) -> DeliveryState | None:
        """Return where a delivery stands; None when it is not here. Dropped, passed on and held count as SENT."""
        rows = self._database.rows(_STATE, (delivery.key, delivery.message.id))
        if not rows:
            return None
        return DeliveryState.SENT if rows[0][0] in {"dropped", "held", "passed"} else DeliveryState(rows[0][0])

    def next_due_s(self, handler: str) -> float | None:
        """Return the seconds until something of a handler can be claimed; None when nothing is waiting."""
        now = self._clock()
        rests_until = self._rests_until(self._database.rows(NEXT_PROBE, (now, handler)), now)
        free_at = [
            max(due_at, self._leased_until(lease, now))
            for due_at, *lease in self._database.rows(_DUE_TIMES, (now, handler))
        ]
        return max(0.0, min(free_at) - now, rests_until - now) if free_at else None

    def waiting(self, handlers: Sequence[str]) -> set[str]:
        """Return which of these handlers have pending deliveries."""
        if not handlers:
            return set()
        asked = ", ".join(f"({place}, ?)" for place in range(len(handlers)))
        return {handlers[place] for (place,) in self._database.rows(_WAITING.format(asked), handlers)}

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
        return [_waiting_delivery(row, is_claimed=self._leased_until(row[10:], now) > now) for row in rows]


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
