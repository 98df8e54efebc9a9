"""The outbox on disk: one row for each message and handler.

Every run with a journal loads this, so models and serialization are imported only when there is a message.
"""

from __future__ import annotations

import json
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING, Any

from supervisor._models import DeliveryState, Kind
from supervisor._store.essentials import JournalUnavailable
from supervisor._store.sqlite.outbox_reader import MUST_WAIT, NEXT_PROBE, SAME_DELIVERY, URGENT_SQL, OutboxReader
from supervisor._store.sqlite.passed_on import pass_row

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Generator, Iterable, Sequence

    from supervisor._models.values import Delivery, MessageDetails
    from supervisor._store.attachment_copies import AttachmentStore
    from supervisor._store.essentials import MessageChange, Pack
    from supervisor._store.sqlite.database import Database, Row

KEEP_SENT = 10_000
"""How many sent deliveries are remembered, without their texts."""
_PRUNE_ONE_IN = 256
_OWN_AT_ONCE = 100
_NO_KEY = 1 << 62
_IN_TURN_S = 10.0
"""How long what comes later waits for a delivery that another process has just claimed, so that order is kept."""

# A clock that was set forward adds a day at most to the time for which attempts fail, and one that was set back none.
_GAP_SQL = "max(0, min(? - changed_at, 86400))"
_PUT = """
INSERT INTO delivery (handler, state, attempts, due_at, changed_at, lease_until, claimer_host, claimer_pid,
                      claimer_started, last_error, message_id, kind, created_at, subject, body, run_name, reason)
VALUES (?, 'pending', 0, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?)
"""
_NOTE_UNSENT = """
INSERT INTO delivery (handler, state, attempts, due_at, changed_at, last_error, message_id, kind, created_at, subject,
                      run_name)
VALUES (?, 'dropped', 0, ?, ?, '', ?, ?, ?, ?, ?)
"""
# A row whose last change lies in the future was changed before the clock was set back; it is due.
_CLAIMABLE = """
SELECT key, attempts, last_error, lease_until, claimer_host, claimer_pid, claimer_started, sending_at, failing_s,
       passed_over, doubts
FROM delivery
"""
_DUE = f"{_CLAIMABLE} WHERE handler = ? AND state = 'pending' AND (due_at <= ? OR changed_at > ?) AND NOT {MUST_WAIT}"
_IS_WAITING = f"SELECT 1 FROM delivery WHERE key = ? AND {MUST_WAIT}"  # noqa: S608 - our own words
# Of the alarms between a recovery and the one before it: how many there are, how many were sent or wait, and who got
# those that were passed on.
_ALARMS_BEFORE = """
SELECT count(*), count(CASE WHEN state IN ('sent', 'pending') THEN 1 END), max(passed_to) FROM delivery
WHERE handler = ? AND run_name = ? AND kind IN ('failure', 'stalled', 'overdue', 'died', 'missed')
AND key < ? AND key > (SELECT coalesce(max(key), 0) FROM delivery
WHERE handler = ? AND run_name = ? AND kind = 'recovery' AND key < ?)
"""
_RECOVERIES_AFTER = """
SELECT key FROM delivery
WHERE handler = ? AND run_name = ? AND kind = 'recovery' AND state IN ('pending', 'held') AND key > ?
"""
_UNREPORTED = "SELECT key, handler, subject FROM delivery WHERE is_unreported ORDER BY key"
_DESTINATION_RESTS = "SELECT 1 FROM destination WHERE handler = ? AND next_at > ? AND changed_at <= ?"
_IS_ANY_DUE = f"SELECT EXISTS ({_DUE}) AND NOT EXISTS ({_DESTINATION_RESTS})"
_FIRST_PROBE = f"{_DUE} ORDER BY passed_over > 0, NOT {URGENT_SQL}, key"
_OTHER_PROBE = f"{_DUE} ORDER BY passed_over > 0, attempts, NOT {URGENT_SQL}, key"
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
_SEND = f"UPDATE delivery SET lease_until = ?, sending_at = ? WHERE {_LEASED_HERE} AND claimer_pid IS NOT NULL"  # noqa: S608 - our own words
_SENDING = (
    f"{_CLAIMABLE} INDEXED BY delivery_sending WHERE handler = ? AND sending_at IS NOT NULL AND state = 'pending'"
)
_LEASED_BODY = f"SELECT body FROM delivery WHERE {_LEASED_HERE}"  # noqa: S608 - our own words
# What has waited so long, while attempts with it, or with others to its destination, failed for so long.
_OVERDUE = f"""
SELECT key, attempts, last_error, body, lease_until, claimer_host, claimer_pid, claimer_started, sending_at
FROM delivery WHERE handler = ? AND state = 'pending' AND sending_at IS NULL AND created_at <= ? AND NOT {MUST_WAIT}
AND (failing_s >= ? OR (SELECT failing_s FROM destination WHERE handler = ?) >= ?) ORDER BY key LIMIT 1000
"""  # noqa: S608 - our own words
_UNHEARD = "UPDATE delivery SET doubts = doubts + 1, sending_at = NULL WHERE key = ?"
_SETTLE = """
UPDATE delivery SET state = ?, attempts = attempts + 1, last_error = ?, due_at = ?, changed_at = ?, lease_until = NULL,
                    claimer_host = NULL, claimer_pid = NULL, claimer_started = NULL, sending_at = NULL"""
_RELEASE = f"UPDATE delivery SET lease_until = NULL, claimer_pid = NULL WHERE {_LEASED_HERE}"  # noqa: S608 - the text is ours, and values are bound
_SETTLE_SENT = f"{_SETTLE}, body = NULL WHERE {SAME_DELIVERY} AND state IN ('pending', 'failed')"
_SETTLE_OTHER = f"""{_SETTLE}, failed_at = coalesce(failed_at, ?), is_unreported = ?,
failing_s = failing_s + CASE WHEN failed_at IS NULL THEN 0 ELSE {_GAP_SQL} END WHERE {_LEASED_HERE}"""
_GIVE_UP = "UPDATE delivery SET state = 'failed', last_error = ?, lease_until = NULL, claimer_pid = NULL WHERE key = ?"
_ADOPT = """
UPDATE delivery SET handler = ? WHERE handler = ? AND state IN ('pending', 'failed')
AND coalesce(lease_until, 0) <= ? AND instr(body, ?)
"""
_FORGET_REST = """
DELETE FROM destination
WHERE handler = ? AND NOT EXISTS (SELECT 1 FROM delivery WHERE handler = ? AND state = 'pending')
"""
_RETRY = """
UPDATE delivery SET state = 'pending', due_at = ?, changed_at = ?, doubts = 0, is_unreported = 0, held_until = NULL
WHERE key = ? AND state IN ('pending', 'failed', 'held')
"""
# The row stays for a while, so that no other delivery gets its key, which a person may still have at hand.
_DROP = """
UPDATE delivery SET state = 'dropped', lease_until = NULL, body = NULL
WHERE key = ? AND state IN ('pending', 'failed', 'held')
"""
_LEASES_OF = """
SELECT key, lease_until, claimer_host, claimer_pid, claimer_started, sending_at FROM delivery
WHERE message_id = ? AND lease_until IS NOT NULL
"""
_END_LEASE = "UPDATE delivery SET lease_until = NULL, claimer_pid = NULL WHERE key = ?"
_FORGET_SENT = """
DELETE FROM delivery WHERE state IN ('sent', 'dropped', 'passed') AND key <= (SELECT max(key) FROM delivery) - ?
"""
_LET_REST = """
INSERT INTO destination (handler, since, failures, next_at, changed_at, probe, last_error, suspected, other_next)
VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?)
ON CONFLICT (handler) DO UPDATE SET failures = failures + 1, changed_at = excluded.changed_at, probe = excluded.probe,
suspected = suspected + excluded.suspected, other_next = excluded.other_next,
last_error = excluded.last_error, failing_s = failing_s + max(0, min(excluded.changed_at - changed_at, 86400)),
next_at = CASE WHEN changed_at > excluded.changed_at THEN excluded.next_at ELSE max(next_at, excluded.next_at) END
"""
_GO_ON = "DELETE FROM destination WHERE handler = ?"
_SINCE = "SELECT since, suspected FROM destination WHERE handler = ?"
_PASSED = """
UPDATE delivery SET passed_over = passed_over + 1
WHERE handler = ? AND state = 'pending' AND key <> ? AND failed_at IS NOT NULL AND changed_at >= ?
"""
_WAKE = f"UPDATE destination SET next_at = ?, failing_s = failing_s + {_GAP_SQL}, changed_at = ? WHERE handler = ?"  # noqa: S608 - made of constants alone
_WAKE_OF = _WAKE.replace("handler = ?", "handler = (SELECT handler FROM delivery WHERE key = ?)")


class OutboxStore(OutboxReader):
    """Keep deliveries in the journal's file; see :class:`~supervisor._store.contract.Outbox`."""

    _database: Database
    _notes_path: str
    _copies_limit_bytes: int
    _lease_s: float
    _attachment_store: AttachmentStore | None = None

    @property  # not a cached one: up to 3.11 that has a lock, which a forked child would find taken
    def _copies(self) -> AttachmentStore:
        if self._attachment_store is None:
            from supervisor._store.attachment_copies import AttachmentStore

            self._attachment_store = AttachmentStore(
                self._database, limit_bytes=self._copies_limit_bytes, clock=self._clock
            )
        return self._attachment_store

    def put(
        self, message: MessageDetails, handlers: Sequence[str], *, claimed: bool = False, name: str = ""
    ) -> tuple[Delivery, ...]:
        """Accept one message for several handlers in one commit that survives power loss."""
        if not handlers:
            return ()
        _, delivery = _put_imports()
        # A claimer takes the attachments next: the commit of their copies makes both durable, with one fsync.
        durable = not (claimed and message.attachments)
        head = head_of(message, name)
        if message.kind is Kind.RECOVERY:
            handlers = self._awaiting_recovery(handlers, head[5])
        return tuple(
            delivery(message=message, handler=handler, key=key)
            for handler, key in zip(handlers, self._put(head, handlers, claimed=claimed, durable=durable), strict=True)
        )

    def reached_by_alarms(self, handlers: Sequence[str], name: str) -> list[str]:
        """Return the handlers without those that got none of the alarms which are over now."""
        return [each for each in handlers if self._awaiting_recovery((each,), name)]

    def note_unsent(self, message: MessageDetails, handlers: Sequence[str], name: str = "") -> None:
        """Note that some handlers do not get an alarm, nor the recovery from it."""
        now, (*head, _, run_name, _) = self._clock(), head_of(message, name)
        with self._database.write() as connection:
            connection.executemany(_NOTE_UNSENT, [(each, now, now, *head, run_name) for each in handlers])

    def note_waiting(self, message: MessageDetails, handler: str) -> None:
        """Note a message in a file beside the journal, which does not take it and is not waited for any more."""
        from supervisor._store.sqlite import end_notes

        now = self._clock()
        try:
            end_notes.add_delivery(self._notes_path, (handler, now, now, *head_of(message)[:6]))
        except OSError as error:
            raise JournalUnavailable(self._notes_path, error.strerror or str(error)) from error

    def _awaiting_recovery(self, handlers: Sequence[str], run_name: str | None) -> list[str]:
        """Return the handlers that could send alarms that are over now, and those that got them in their place."""
        found: dict[str, None] = {}
        for handler in handlers:
            facts = (handler, run_name, _NO_KEY)
            alarms, reached, passed_to = self._database.rows(_ALARMS_BEFORE, facts * 2)[0]
            if reached or not alarms:
                found[handler] = None
            if passed_to is not None:
                found[passed_to] = None
        return list(found)

    def _drop_groundless_recoveries(self, connection: sqlite3.Connection, delivery: Delivery) -> None:
        """Drop the recoveries behind an alarm that was not sent, unless another alarm before them was sent or waits.

        Where such an alarm was passed on to another handler, its recovery follows it.
        """
        (name,) = connection.execute("SELECT run_name FROM delivery WHERE key = ?", (delivery.key,)).fetchone()
        for (key,) in connection.execute(_RECOVERIES_AFTER, (delivery.handler, name, delivery.key)).fetchall():
            self._let_recovery_follow(connection, key, delivery.handler, name)

    def _let_follow(self, connection: sqlite3.Connection, key: int) -> None:
        """Let a delivery that was held, if it is a recovery, go where the alarms before it went meanwhile."""
        sql = "SELECT kind, handler, run_name FROM delivery WHERE key = ? AND state = 'pending'"
        for kind, handler, name in connection.execute(sql, (key,)).fetchall():
            if kind == "recovery":
                self._let_recovery_follow(connection, key, handler, name)

    def _let_recovery_follow(self, connection: sqlite3.Connection, key: int, handler: str, name: str | None) -> None:
        """Pass a recovery on as the alarms before it, or drop it where none of them was sent or waits."""
        facts = (handler, name, key)
        alarms, reached, passed_to = connection.execute(_ALARMS_BEFORE, facts * 2).fetchone()
        if passed_to is not None and not reached:
            note = f"passed on to {passed_to!r}, which got what is over now"
            pass_row(connection, key, passed_to, note, now=self._clock())
        elif alarms and not reached:
            connection.execute(_DROP, (key,))

    def must_wait(self, delivery: Delivery) -> bool:
        """Return whether a recovery must not go yet, since an alarm of its run's name waits for the same handler."""
        return delivery.message.kind is Kind.RECOVERY and bool(self._database.rows(_IS_WAITING, (delivery.key,)))

    def given_up_unreported(self) -> list[tuple[int, str, str]]:
        """Return the deliveries that were given up and that no message has named yet, oldest first."""
        return [(key, handler, subject) for key, handler, subject in self._database.rows(_UNREPORTED)]

    def mark_given_up_reported(self, keys: Collection[int]) -> None:
        """Note that an accepted message has named these deliveries as given up."""
        with self._database.write() as connection:
            connection.executemany("UPDATE delivery SET is_unreported = 0 WHERE key = ?", [(key,) for key in keys])

    def _put(self, head: Row, handlers: Sequence[str], *, claimed: bool, durable: bool) -> list[int]:
        """Write one row for each handler, and return their keys."""
        now = self._clock()
        lease = (now + self._lease_s, *self._this().claimer) if claimed else (None, None, None, None)
        with self._database.write(single=len(handlers) == 1, durable=durable) as connection:
            return [
                self._database.retry_while_busy(connection.execute, _PUT, (handler, now, now, *lease, *head)).lastrowid
                or 0
                for handler in handlers
            ]

    def claim(self, handler: str, *, own: Collection[int] = ()) -> Delivery | None:
        """Lease the next delivery of a handler that is due, those in ``own`` first."""
        from supervisor._models.values import Delivery

        now = self._clock()
        # The first query does without the lock for writing: most calls find nothing.
        while self._database.rows(_IS_ANY_DUE, (handler, now, now, handler, now, now))[0][0]:
            with self._database.write(durable=False) as connection:
                in_doubt = self._in_doubt(connection, handler, now)
                row = in_doubt or self._first_free(connection, handler, own, now)
                if row is None:
                    return None
                key, attempts, last_error = row[:3]
                connection.execute(_LEASE, (now + self._lease_s, *self._this().claimer, key))
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
                    failing_s=row[8],
                    passed_over=row[9],
                    doubts=row[10] + (in_doubt is not None),
                    is_in_doubt=in_doubt is not None,
                )
        return None

    def _in_doubt(self, connection: sqlite3.Connection, handler: str, now: float) -> Row | None:
        """Return and count an attempt whose process ended before the answer came; None when there is none."""
        with closing(_each(connection, _SENDING, (handler,))) as rows:
            row = next((each for each in rows if not self._leased_until(each[3:8], now)), None)
        if row is not None:
            connection.execute(_UNHEARD, (row[0],))
        return row

    def _first_free(self, connection: sqlite3.Connection, handler: str, own: Collection[int], now: float) -> Row | None:
        probe = connection.execute(NEXT_PROBE, (now, handler)).fetchall()
        if probe:
            return self._probe(connection, handler, probe, now)
        with closing(_due_rows(connection, handler, own, now)) as rows:
            return self._first_in_turn(rows, now)

    def _probe(self, connection: sqlite3.Connection, handler: str, probe: list[Row], now: float) -> Row | None:
        """Return what a destination that rests is tried with; None before its time, and while somebody tries it."""
        if self._rests_until(probe, now) > now:
            return None
        other_next = probe[0][6]
        with closing(_each(connection, _OTHER_PROBE if other_next else _FIRST_PROBE, (handler, now, now))) as rows:
            row = self._first_in_turn(rows, now)
        if row is not None:
            connection.execute(_PROBES, (row[0], handler))
        return row

    def _first_in_turn(self, rows: Iterable[Row], now: float) -> Row | None:
        """Return the first row that nobody has claimed; None while another process has just claimed one before it."""
        me = self._this().claimer
        for each in rows:
            if not self._leased_until(each[3:8], now):
                return each
            # It may have been claimed while this process waited for the lock, after ``now``.
            if tuple(each[4:7]) != me and abs(now - (each[3] - self._lease_s)) < _IN_TURN_S:
                return None
        return None

    def _read(self, key: int, body: bytes | None, copies: list[Row]) -> MessageDetails | None:
        """Return a claimed message; mark one that cannot be read as failed, so that it does not block the rest."""
        from supervisor._store.serialization import UnreadableError, load_message

        try:
            message = load_message(body)
        except UnreadableError as error:
            with self._database.write() as connection:
                connection.execute(_GIVE_UP, (str(error), key))
            return None
        return self._copies.put_in_place(message, copies)

    def renew(self, delivery: Delivery, *, is_sent_now: bool = False) -> bool:
        """Begin the lease of a claimed delivery anew; return False when it was lost or settled meanwhile."""
        now = self._clock()
        sql, times = (_SEND, (now + self._lease_s, now)) if is_sent_now else (_RENEW, (now + self._lease_s,))
        with self._database.write(durable=False) as connection:
            return connection.execute(sql, (*times, *self._lease_of(delivery))).rowcount > 0

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """End the leases of claimed deliveries without an attempt."""
        with self._database.write(durable=False) as connection:
            connection.executemany(_RELEASE, [self._lease_of(each) for each in deliveries])

    def settle(  # noqa: PLR0913 - all that one attempt says
        self,
        delivery: Delivery,
        state: DeliveryState,
        *,
        error: str = "",
        due_in_s: float = 0.0,
        rests: bool = False,
        is_suspected: bool = False,
        other_next: bool = False,
        given_up: bool = False,
    ) -> None:
        """Note how an attempt ended, count it, and end the lease."""
        now = self._clock()
        row = (str(state), error, now if rests else now + due_in_s, now)
        folders: list[str] = []
        # An attempt that is to be repeated needs no fsync: after power loss it is repeated anyway.
        with self._database.write(durable=state is not DeliveryState.PENDING) as connection:
            if state is not DeliveryState.SENT:
                is_settled = (
                    connection.execute(_SETTLE_OTHER, (*row, now, given_up, now, *self._lease_of(delivery))).rowcount
                    > 0
                )
            else:
                sent = connection.execute(_SETTLE_SENT, (*row, delivery.key, delivery.message.id))
                is_settled = sent.rowcount > 0
                if is_settled and delivery.message.attachments:
                    folders = self._copies.forget(connection, delivery.message.id)
            if is_settled:
                if state is DeliveryState.FAILED:
                    self._drop_groundless_recoveries(connection, delivery)
                if rests:
                    suspicion = (is_suspected, other_next)
                    _let_rest(connection, delivery, now, rests_s=due_in_s, error=error, suspicion=suspicion)
                else:
                    _go_on(connection, delivery)
        if folders:
            self._copies.remove(folders)
        if state is DeliveryState.SENT and delivery.key % _PRUNE_ONE_IN == 0:
            self.prune_sent()

    def pass_on(
        self, delivery: Delivery, handler: str, change: MessageChange, *, error: str, is_refused: bool
    ) -> tuple[Delivery, ...] | None:
        """Give a claimed delivery to another handler, and settle it, in one commit."""
        from supervisor._models.values import Delivery as NewDelivery
        from supervisor._store.serialization import UnreadableError, dump, load_message

        now, folders = self._clock(), []
        with self._database.write() as connection:
            row = connection.execute(_LEASED_BODY, self._lease_of(delivery)).fetchone()
            try:
                message = change(load_message(row[0])) if row is not None else None
            except UnreadableError:
                message = None
            if message is None:
                return None
            lease = (now + self._lease_s, *self._this().claimer)
            note = f"passed on to {handler!r}: {error}"
            key = pass_row(
                connection, delivery.key, handler, note, now=now, body=dump(message), lease=lease, tries=is_refused
            )
            if key is None:
                return None
            copies = self._copies.rows(connection, message.id)
            self._drop_groundless_recoveries(connection, delivery)
            if is_refused:
                _go_on(connection, delivery)
            if not key:
                folders = self._copies.forget(connection, message.id)
        self._copies.remove(folders)
        return (
            (NewDelivery(message=self._copies.put_in_place(message, copies), handler=handler, key=key),) if key else ()
        )

    def claim_overdue(self, handler: str, after_s: float) -> tuple[Delivery, ...]:
        """Lease what could not be sent for so long."""
        from supervisor._models.values import Delivery

        now, claimed = self._clock(), []
        facts = (handler, now - after_s, after_s, handler, after_s)
        with self._database.write(durable=False) as connection:
            for key, attempts, last_error, body, *lease in connection.execute(_OVERDUE, facts).fetchall():
                if not self._leased_until(lease, now):
                    connection.execute(_LEASE, (now + self._lease_s, *self._this().claimer, key))
                    claimed.append((key, attempts, last_error, body))
        found = [(key, attempts, why, self._read(key, body, [])) for key, attempts, why, body in claimed]
        return tuple(
            Delivery(message=message, handler=handler, key=key, attempts=attempts, last_error=why)
            for key, attempts, why, message in found
            if message is not None
        )

    def _lease_of(self, delivery: Delivery) -> Row:
        return (delivery.key, delivery.message.id, delivery.attempts, *self._this().claimer)

    def adopt(self, former: str, handler: str, run_name: str) -> bool:
        """Let what waits for a handler under the name that an earlier version gave it wait under today's."""
        # As it is serialized: a message of an earlier version has the name of its run in no column.
        written = f'"name":{json.dumps(run_name, ensure_ascii=False)}'.encode("utf-8", "surrogatepass")
        with self._database.write() as connection:
            is_any = connection.execute(_ADOPT, (handler, former, self._clock(), written)).rowcount > 0
            connection.execute(_FORGET_REST, (former, former))
        return is_any

    def wake(self, handler: str) -> None:
        """Let the next attempt at a destination that rests be made now."""
        now = self._clock()
        with self._database.write(durable=False) as connection:
            connection.execute(_WAKE, (now, now, now, handler))

    def retry(self, key: int) -> bool:
        """Make a failed or waiting delivery due now."""
        now = self._clock()
        with self._database.write() as connection:
            connection.execute(_WAKE_OF, (now, now, now, key))
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

    def pack_left(self, pack: Pack) -> None:
        """Pack the copies of messages whose sender has ended, hanging or killed, before it could do so."""
        for message_id in self._copies.taken():
            with self._database.write(durable=False) as connection:
                now = self._clock()
                for key, *lease in connection.execute(_LEASES_OF, (message_id,)).fetchall():
                    if not self._leased_until(lease, now):
                        connection.execute(_END_LEASE, (key,))
            self._copies.pack_taken(message_id, 0, pack)

    def prune_sent(self) -> None:
        """Forget all but the newest sent deliveries, and copies of attachments that belong to nothing."""
        with self._database.write(durable=False) as connection:
            connection.execute(_FORGET_SENT, (KEEP_SENT,))
        self._copies.sweep()


def _let_rest(  # noqa: PLR0913 - all that one attempt says
    connection: sqlite3.Connection,
    delivery: Delivery,
    now: float,
    *,
    rests_s: float,
    error: str,
    suspicion: tuple[bool, bool],
) -> None:
    """Note that a destination rests.

    Args:
        connection: In whose transaction.
        delivery: What was tried.
        now: The time.
        rests_s: For how many seconds it rests.
        error: Why it rests.
        suspicion: Whether the message may be the cause, and whether the next attempt takes another one.
    """
    connection.execute(
        _LET_REST,
        (delivery.handler, now, now + rests_s, now, delivery.key, error, *suspicion),
    )


def _go_on(connection: sqlite3.Connection, delivery: Delivery) -> None:
    """End the rest of a destination that has answered, and note which messages it had failed with."""
    rest = connection.execute(_SINCE, (delivery.handler,)).fetchone()
    if rest is not None:
        since, suspected = rest
        connection.execute(_GO_ON, (delivery.handler,))
        if suspected:
            connection.execute(_PASSED, (delivery.handler, delivery.key, since))


def head_of(message: MessageDetails, name: str = "") -> Row:
    """Return the columns of a message that are the same for all its handlers.

    Args:
        message: The message.
        name: The name of the runs that it is about, where it has no report that says so; "" for none.
    """
    dump, _ = _put_imports()
    body = dump(_with_absolute_paths(message))
    report = message.report
    run_name = report.name if report is not None else name or None
    reason = None
    if message.kind is Kind.FAILURE and report is not None and report.error is not None:
        from supervisor._store.records import reason_of

        reason = reason_of(report.error)
    return message.id, str(message.kind), message.created_at.timestamp(), str(message.subject), body, run_name, reason


@cache  # when run again, two import statements take as long as storing a row
def _put_imports() -> tuple[Callable[[Any], bytes], type[Delivery]]:
    import supervisor._store.attachment_copies  # noqa: F401 - the installation may be gone when the message is claimed
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
