"""The outbox on disk: one row for each message and handler.

Every run with a journal loads this, so models and serialization are imported only when there is a message.

:class:`OutboxReader` only reads: what waits, what failed, and where deliveries stand.
"""

from __future__ import annotations

import json
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING, Any

from supervisor._models.kinds import DeliveryState, Kind
from supervisor._store.essentials import PROBES_IN_ORDER, storable
from supervisor._store.processes import Process
from supervisor._store.sqlite.destinations import (
    NEXT_PROBE,
    WAKE_OF,
    DestinationReader,
    DestinationStore,
    note_answer,
)
from supervisor._store.sqlite.rows import instant

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Generator, Iterable, Sequence

    from supervisor._models.values import Delivery, MessageDetails
    from supervisor._store.essentials import Pack
    from supervisor._store.records import DeliveryStatus, WaitingDelivery
    from supervisor._store.sqlite.attachment_store import AttachmentStore
    from supervisor._store.sqlite.database import Database, Row

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
SELECT key, handler, state, subject, kind, message_id, created_at, attempts, last_error,
       max(due_at, coalesce((SELECT next_at FROM destination WHERE destination.handler = delivery.handler), 0)),
       lease_until, claimer_host, claimer_pid, claimer_started
FROM delivery WHERE key IN (SELECT key FROM ({_UNSENT_KEYS}) ORDER BY +key LIMIT ?) ORDER BY key
"""  # noqa: S608 - made of constants alone
_UNSENT_OF_RUN = f"SELECT key FROM delivery WHERE key IN ({_UNSENT_KEYS}) AND instr(body, ?)"  # noqa: S608 - made of constants alone
_BY_HANDLER = "SELECT handler, count(*) FROM delivery WHERE state = 'pending' GROUP BY handler"
_COUNTS = """
SELECT (SELECT count(*) FROM delivery WHERE state = 'pending'), (SELECT count(*) FROM delivery WHERE state = 'failed')
"""
_STATUSES = "SELECT key, state, attempts, last_error FROM delivery WHERE key IN ({})"
_KEYS_AT_ONCE = 500


class OutboxReader(DestinationReader):
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
        rests_until = self._rests_until(self._database.rows(NEXT_PROBE, (now, storable(handler))), now)
        free_at = [
            max(due_at, lease_until) if lease_until is not None and not self._gone(Process(*claimer)) else due_at
            for due_at, lease_until, *claimer in self._database.rows(_DUE_TIMES, (now, storable(handler)))
        ]
        return max(0.0, min(free_at) - now, rests_until - now) if free_at else None

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


KEEP_SENT = 10_000
"""How many sent deliveries are remembered, without their texts."""
_PRUNE_ONE_IN = 256
_OWN_AT_ONCE = 100

_PUT = """
INSERT INTO delivery (handler, state, attempts, due_at, changed_at, lease_until, claimer_host, claimer_pid,
                      claimer_started, last_error, message_id, kind, created_at, subject, body)
VALUES (?, 'pending', 0, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?)
"""
# A row whose last change lies in the future was changed before the clock was set back; it is due.
_DUE = """
SELECT key, attempts, last_error, lease_until, claimer_host, claimer_pid, claimer_started, failed_at, passed_over
FROM delivery
WHERE handler = ? AND state = 'pending' AND (due_at <= ? OR changed_at > ?)
"""
_DESTINATION_RESTS = "SELECT 1 FROM destination WHERE handler = ? AND next_at > ? AND changed_at <= ?"
_IS_ANY_DUE = f"SELECT EXISTS ({_DUE}) AND NOT EXISTS ({_DESTINATION_RESTS})"
# As the index has it; a test compares it with what the models say.
URGENT_SQL = "kind IN ('failure', 'recovery', 'stalled', 'overdue', 'died', 'missed')"
_FIRST_PROBE = f"{_DUE} ORDER BY passed_over > 0, NOT {URGENT_SQL}, key"
_OTHER_PROBE = f"{_DUE} ORDER BY passed_over > 0, attempts, key"
_PROBES = "UPDATE destination SET probe = ? WHERE handler = ?"
_MESSAGE = "SELECT message_id, body FROM delivery WHERE key = ?"
_LEASE = """
UPDATE delivery SET lease_until = ?, claimer_host = ?, claimer_pid = ?, claimer_started = ? WHERE key = ?
"""
# Only the process that holds the lease may change a delivery.
_LEASED_HERE = f"""{SAME_DELIVERY} AND state = 'pending' AND attempts = ?
AND (claimer_pid IS NULL OR (claimer_host = ? AND claimer_pid = ? AND claimer_started = ?))
"""
_RENEW = f"UPDATE delivery SET lease_until = ? WHERE {_LEASED_HERE} AND claimer_pid IS NOT NULL"  # noqa: S608 - our own words
_SETTLE = """
UPDATE delivery SET state = ?, attempts = attempts + 1, last_error = ?, due_at = ?, changed_at = ?, lease_until = NULL,
                    claimer_host = NULL, claimer_pid = NULL, claimer_started = NULL"""
_RELEASE = f"UPDATE delivery SET lease_until = NULL, claimer_pid = NULL WHERE {_LEASED_HERE}"  # noqa: S608 - the text is ours, and values are bound
_SETTLE_SENT = f"{_SETTLE}, body = NULL WHERE {SAME_DELIVERY} AND state IN ('pending', 'failed')"
_SETTLE_OTHER = f"{_SETTLE}, failed_at = coalesce(failed_at, ?) WHERE {_LEASED_HERE}"
_GIVE_UP = "UPDATE delivery SET state = 'failed', last_error = ?, lease_until = NULL, claimer_pid = NULL WHERE key = ?"
_RETRY = """
UPDATE delivery SET state = 'pending', due_at = ?, changed_at = ? WHERE key = ? AND state IN ('pending', 'failed')
"""
# The row stays for a while, so that no other delivery gets its key, which a person may still have at hand.
_DROP = """
UPDATE delivery SET state = 'dropped', lease_until = NULL, body = NULL
WHERE key = ? AND state IN ('pending', 'failed')
"""
_FORGET_SENT = """
DELETE FROM delivery WHERE state IN ('sent', 'dropped') AND key <= (SELECT max(key) FROM delivery) - ?
"""


class OutboxStore(OutboxReader, DestinationStore):
    """Keep deliveries in the journal's file; see :class:`~supervisor._store.contract.Outbox`."""

    _database: Database
    _copies_limit_bytes: int
    _lease_s: float
    _attachment_store: AttachmentStore | None = None

    @property  # not a cached one: up to 3.11 that has a lock, which a forked child would find taken
    def _copies(self) -> AttachmentStore:
        if self._attachment_store is None:
            from supervisor._store.sqlite.attachment_store import AttachmentStore

            self._attachment_store = AttachmentStore(
                self._database, limit_bytes=self._copies_limit_bytes, clock=self._clock
            )
        return self._attachment_store

    def put(self, message: MessageDetails, handlers: Sequence[str], *, claimed: bool = False) -> tuple[Delivery, ...]:
        """Accept one message for several handlers in one commit that survives power loss."""
        if not handlers:
            return ()
        dump, delivery = _put_imports()
        body = dump(_with_absolute_paths(message))
        subject = storable(str(message.subject))
        # A claimer takes the attachments next: the commit of their copies makes both durable, with one fsync.
        durable = not (claimed and message.attachments)
        head = (storable(message.id), str(message.kind), message.created_at.timestamp(), subject, body)
        return tuple(
            delivery(message=message, handler=handler, key=key)
            for handler, key in zip(handlers, self._put(head, handlers, claimed=claimed, durable=durable), strict=True)
        )

    def _put(self, head: Row, handlers: Sequence[str], *, claimed: bool, durable: bool) -> list[int]:
        """Write one row for each handler, and return their keys."""
        now = self._clock()
        lease = (now + self._lease_s, *self._this()) if claimed else (None, None, None, None)
        with self._database.write(single=len(handlers) == 1, durable=durable) as connection:
            return [
                self._database.retry_while_busy(
                    connection.execute, _PUT, (storable(handler), now, now, *lease, *head)
                ).lastrowid
                or 0
                for handler in handlers
            ]

    def claim(self, handler: str, *, own: Collection[int] = ()) -> Delivery | None:
        """Lease the next delivery of a handler that is due, those in ``own`` first."""
        from supervisor._models.values import Delivery

        now, name = self._clock(), storable(handler)
        # The first query does without the lock for writing: most calls find nothing.
        while self._database.rows(_IS_ANY_DUE, (name, now, now, name, now, now))[0][0]:
            with self._database.write(durable=False) as connection:
                row = self._first_free(connection, name, own, now)
                if row is None:
                    return None
                key, attempts, last_error = row[:3]
                connection.execute(_LEASE, (now + self._lease_s, *self._this(), key))
                message_id, body = connection.execute(_MESSAGE, (key,)).fetchone()
                copies = self._copies.rows(connection, message_id)
            message = self._read(key, body, copies)
            if message is not None:
                return Delivery(
                    message=message,
                    handler=handler,
                    attempts=attempts,
                    last_error=last_error,
                    key=key,
                    first_failed_at=instant(row[7]),
                    passed_over=row[8],
                )
        return None

    def _first_free(self, connection: sqlite3.Connection, handler: str, own: Collection[int], now: float) -> Row | None:
        probe = connection.execute(NEXT_PROBE, (now, handler)).fetchall()
        if probe:
            return self._probe(connection, handler, probe, now)
        with closing(_due_rows(connection, handler, own, now)) as rows:
            return self._first_unleased(rows, now)

    def _probe(self, connection: sqlite3.Connection, handler: str, probe: list[Row], now: float) -> Row | None:
        """Return what a destination that rests is tried with; None before its time, and while somebody tries it."""
        if self._rests_until(probe, now) > now:
            return None
        failures = probe[0][5]
        takes_another = failures >= PROBES_IN_ORDER and failures % 2
        with closing(_each(connection, _OTHER_PROBE if takes_another else _FIRST_PROBE, (handler, now, now))) as rows:
            row = self._first_unleased(rows, now)
        if row is not None:
            connection.execute(_PROBES, (row[0], handler))
        return row

    def _first_unleased(self, rows: Iterable[Row], now: float) -> Row | None:
        free = (each for each in rows if each[3] is None or each[3] <= now or self._gone(Process(*each[4:7])))
        return next(free, None)

    def _read(self, key: int, body: bytes | None, copies: list[Row]) -> MessageDetails | None:
        """Return a claimed message; mark one that cannot be read as failed, so that it does not block the rest."""
        from supervisor._store.serialization import UnreadableError, load_message

        try:
            message = load_message(body)
        except UnreadableError as error:
            with self._database.write() as connection:
                connection.execute(_GIVE_UP, (storable(str(error)), key))
            return None
        return self._copies.put_in_place(message, copies)

    def renew(self, delivery: Delivery) -> bool:
        """Begin the lease of a claimed delivery anew; return False when it was lost or settled meanwhile."""
        with self._database.write(durable=False) as connection:
            until = self._clock() + self._lease_s
            return connection.execute(_RENEW, (until, *self._lease_of(delivery))).rowcount > 0

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """End the leases of claimed deliveries without an attempt."""
        with self._database.write(durable=False) as connection:
            connection.executemany(_RELEASE, [self._lease_of(each) for each in deliveries])

    def settle(
        self,
        delivery: Delivery,
        state: DeliveryState,
        *,
        error: str = "",
        due_in_s: float = 0.0,
        rests: bool = False,
    ) -> None:
        """Note how an attempt ended, count it, and end the lease."""
        now = self._clock()
        row = (str(state), storable(error), now if rests else now + due_in_s, now)
        folders: list[str] = []
        # An attempt that is to be repeated needs no fsync: after power loss it is repeated anyway.
        with self._database.write(durable=state is not DeliveryState.PENDING) as connection:
            if state is not DeliveryState.SENT:
                is_settled = connection.execute(_SETTLE_OTHER, (*row, now, *self._lease_of(delivery))).rowcount > 0
            elif is_settled := (
                connection.execute(_SETTLE_SENT, (*row, delivery.key, storable(delivery.message.id))).rowcount > 0
            ):
                folders = self._copies.forget(connection, storable(delivery.message.id))
            if is_settled:
                note_answer(connection, delivery, now, rests_s=due_in_s if rests else None, error=error)
        if folders:
            self._copies.remove(folders)
        if state is DeliveryState.SENT and delivery.key % _PRUNE_ONE_IN == 0:
            self.prune_sent()

    def _lease_of(self, delivery: Delivery) -> Row:
        return (delivery.key, storable(delivery.message.id), delivery.attempts, *self._this())

    def retry(self, key: int) -> bool:
        """Make a failed or waiting delivery due now."""
        now = self._clock()
        with self._database.write() as connection:
            connection.execute(WAKE_OF, (now, now, key))
            return connection.execute(_RETRY, (now, now, key)).rowcount > 0

    def drop(self, key: int) -> bool:
        """Forget a failed or waiting delivery for good."""
        with self._database.write() as connection:
            if not connection.execute(_DROP, (key,)).rowcount:
                return False
            (message_id,) = connection.execute("SELECT message_id FROM delivery WHERE key = ?", (key,)).fetchone()
            folders = self._copies.forget(connection, message_id)
        self._copies.remove(folders)
        return True

    @property
    def copies(self) -> tuple[str, int]:
        """Return the directory of the copies of attachments, and how many bytes they may have in all."""
        return str(self._copies.root), self._copies_limit_bytes

    def take_attachments(self, delivery: Delivery, take: Pack) -> Delivery:
        """Take the attachments of a delivery that was just accepted."""
        return self._copies.take(delivery, take)

    def with_copies(self, delivery: Delivery) -> Delivery:
        """Return a delivery with the copies that there are now in the place of the originals."""
        return self._copies.in_place(delivery) if delivery.message.attachments else delivery

    def keep_attachments(self, delivery: Delivery, pack: Pack) -> Delivery:
        """Pack the attachments of a delivery that goes on waiting."""
        return self._copies.keep(delivery, pack)

    def prune_sent(self) -> None:
        """Forget all but the newest sent deliveries, and copies of attachments that belong to nothing."""
        with self._database.write(durable=False) as connection:
            connection.execute(_FORGET_SENT, (KEEP_SENT,))
        self._copies.sweep()


@cache  # when run again, two import statements take as long as storing a row
def _put_imports() -> tuple[Callable[[Any], bytes], type[Delivery]]:
    from supervisor._models.values import Delivery
    from supervisor._store.serialization import dump

    return dump, Delivery


def _due_rows(
    connection: sqlite3.Connection, handler: str, own: Collection[int], now: float
) -> Generator[Row, None, None]:
    """Yield what is due: own deliveries first, then alarms and their ends, then all, the oldest first."""
    keys = sorted(own)
    for start in range(0, len(keys), _OWN_AT_ONCE):
        some = keys[start : start + _OWN_AT_ONCE]
        marks = ", ".join("?" * len(some))
        yield from _each(connection, f"{_DUE} AND key IN ({marks}) ORDER BY key", (handler, now, now, *some))
    yield from _each(connection, f"{_DUE} AND {URGENT_SQL} ORDER BY key", (handler, now, now))
    yield from _each(connection, f"{_DUE} ORDER BY key", (handler, now, now))


def _each(connection: sqlite3.Connection, sql: str, parameters: Row) -> Generator[Row, None, None]:
    # A query that is not read to its end would keep its snapshot of the file, and no commit could follow it.
    with closing(connection.execute(sql, parameters)) as rows:
        yield from rows


def _with_absolute_paths(message: MessageDetails) -> MessageDetails:
    """Make relative paths absolute: the process that sends the message may have another working directory."""
    if all(each.path.is_absolute() for each in message.attachments):
        return message
    import attrs

    return attrs.evolve(
        message, attachments=tuple(attrs.evolve(each, path=each.path.absolute()) for each in message.attachments)
    )
