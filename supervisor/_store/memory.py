"""An outbox that lives as long as the process: for ``journal=False``, and where no directory can be written."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import attrs

from supervisor._models import URGENT, DeliveryState
from supervisor._store.essentials import COPIES_LIMIT_BYTES, LEASE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from supervisor._models.values import Delivery, MessageDetails
    from supervisor._store.attachment_copies import MemoryAttachments
    from supervisor._store.essentials import MessageChange, Pack
    from supervisor._store.records import DestinationRest, WaitingDelivery

_REMEMBERED = 1_000
"""Of how many of the newest messages it is known who got them."""


class _Row:
    """One delivery, and when it may be claimed."""

    __slots__ = ("delivery", "due_s", "failed_s", "leased_until_s")

    def __init__(self, delivery: Delivery, due_s: float, leased_until_s: float | None) -> None:
        self.delivery = delivery
        self.due_s = due_s
        self.leased_until_s = leased_until_s
        self.failed_s: float | None = None

    def free_at_s(self) -> float:
        return self.due_s if self.leased_until_s is None else max(self.due_s, self.leased_until_s)


class WaitingRow(NamedTuple):
    """Where a delivery stood when it was taken out.

    Args:
        state: Pending, sent or failed.
        last_error: Why the last attempt failed; "" before the first failure.
        is_claimed: Whether it was being sent.
    """

    state: DeliveryState
    last_error: str
    is_claimed: bool


class _Rest:
    """How the destination of a handler rests."""

    __slots__ = ("began_s", "failures", "last_error", "next_s", "other_next", "probe", "since", "suspected")

    def __init__(self, since: datetime, began_s: float) -> None:
        self.since = since
        self.began_s = began_s
        self.failures = self.suspected = 0
        self.other_next = False
        self.next_s = 0.0
        self.probe: _Row | None = None
        self.last_error = ""

    def until_s(self, now: float) -> float:
        lease_s = self.probe.leased_until_s if self.probe is not None else None
        return max(self.next_s, lease_s) if lease_s is not None and lease_s > now else self.next_s


class MemoryOutbox:
    """Keep deliveries in memory; see :class:`~supervisor._store.Outbox` for what each method does.

    A forked child begins with an empty one: what waits is the parent's to deliver.

    Args:
        lease_s: How long a claimed delivery is invisible to other claims.
        clock: Returns seconds from a clock that never goes back.
    """

    def __init__(self, *, lease_s: float = LEASE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_s = lease_s
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a signal handler may send a message while its thread holds it
        self._rows: dict[int, _Row] = {}  # in the order of acceptance
        self._waiting: dict[str, dict[int, _Row]] = {}
        self._urgent: dict[str, dict[int, _Row]] = {}
        self._rests: dict[str, _Rest] = {}
        self._given: dict[str, set[str]] = {}  # of the newest messages, who got them
        self._last_key = 0
        self._copies: MemoryAttachments | None = None

    def _locked(self) -> threading.RLock:
        """Return the lock of this process."""
        if self._pid != os.getpid():
            self._begin()
        return self._lock

    def put(
        self,
        message: MessageDetails,
        handlers: Sequence[str],
        *,
        claimed: bool = False,
        name: str = "",  # noqa: ARG002 - the contract's parameter
    ) -> tuple[Delivery, ...]:
        """Accept one message for several handlers."""
        with self._locked():
            return tuple(self._add(message, handler, claimed=claimed) for handler in handlers)

    def note_unsent(self, message: MessageDetails, handlers: Sequence[str], name: str = "") -> None:
        """Do nothing: without a journal no recovery is known."""

    def reached_by_alarms(self, handlers: Sequence[str], name: str) -> list[str]:  # noqa: ARG002 - the contract's parameter
        """Return all of them: without a journal no alarms are known."""
        return list(handlers)

    def _add(self, message: MessageDetails, handler: str, *, claimed: bool) -> Delivery:
        from supervisor._models.values import Delivery

        self._last_key += 1
        delivery = Delivery(message=message, handler=handler, key=self._last_key)
        now = self._clock()
        row = _Row(delivery, now, now + self._lease_s if claimed else None)
        self._rows[delivery.key] = row
        self._wait(row)
        self._given.setdefault(message.id, set()).add(handler)
        if len(self._given) > _REMEMBERED:
            del self._given[next(iter(self._given))]
        return delivery

    def _wait(self, row: _Row) -> None:
        delivery = row.delivery
        self._waiting.setdefault(delivery.handler, {})[delivery.key] = row
        if delivery.message.kind in URGENT:
            self._urgent.setdefault(delivery.handler, {})[delivery.key] = row

    def claim(self, handler: str, *, own: Collection[int] = ()) -> Delivery | None:
        """Lease the next delivery of a handler that is due, those in ``own`` first."""
        with self._locked():
            now = self._clock()
            waiting = self._waiting.get(handler, {})
            rest = self._rests.get(handler)
            if rest is not None and rest.until_s(now) > now:
                return None
            keys = self._probes(handler, rest) if rest is not None else self._in_order(handler, own)
            row = next((row for key in keys if (row := waiting.get(key)) is not None and row.free_at_s() <= now), None)
            if row is None:
                return None
            row.leased_until_s = now + self._lease_s
            if rest is not None:
                rest.probe = row
            return row.delivery

    def _in_order(self, handler: str, own: Collection[int] = ()) -> Iterable[int]:
        return chain(sorted(own), self._urgent.get(handler, ()), self._waiting.get(handler, ()))

    def _probes(self, handler: str, rest: _Rest) -> Iterable[int]:
        """Return the keys of what a destination that rests may be tried with, the best first."""
        waiting = self._waiting.get(handler, {})
        passed = [key for key in self._in_order(handler) if not waiting[key].delivery.passed_over]
        if rest.other_next:
            passed.sort(key=lambda key: waiting[key].delivery.attempts)
        return chain(passed, waiting)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """End the leases of claimed deliveries without an attempt."""
        with self._locked():
            for delivery in deliveries:
                row = self._rows.get(delivery.key)
                if row is not None and _is_same_attempt(row.delivery, delivery):
                    row.leased_until_s = None

    def rest_of(self, handler: str) -> DestinationRest | None:
        """Return how the destination of a handler rests; None when it does not."""
        with self._locked():
            return next((each for each in self.rests() if each.handler == handler), None) if self._rests else None

    def rests(self) -> list[DestinationRest]:
        """Return the destinations that rest, in the order of their handlers' names."""
        from supervisor._store.records import DestinationRest

        with self._locked():
            now = self._clock()
            return [
                DestinationRest(
                    handler=handler,
                    since=rest.since,
                    failures=rest.failures,
                    next_in_s=max(0.0, rest.next_s - now),
                    last_error=rest.last_error,
                    waiting=len(self._waiting.get(handler, ())),
                    is_tried=rest.until_s(now) > max(rest.next_s, now),
                    failing_s=now - rest.began_s,
                    suspected=rest.suspected,
                    other_next=rest.other_next,
                )
                for handler, rest in sorted(self._rests.items())
            ]

    def wake(self, handler: str) -> None:
        """Let the next attempt at a destination that rests be made now."""
        with self._locked():
            if handler in self._rests:
                self._rests[handler].next_s = self._clock()

    def renew(self, delivery: Delivery, *, is_sent_now: bool = False) -> bool:  # noqa: ARG002 - what waits here ends with its process, and so does every doubt
        """Begin the lease of a claimed delivery anew; return False when it was settled meanwhile."""
        with self._locked():
            row = self._rows.get(delivery.key)
            is_mine = row is not None and row.leased_until_s is not None and _is_same_attempt(row.delivery, delivery)
            if row is not None and is_mine:
                row.leased_until_s = self._clock() + self._lease_s
            return is_mine

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
        given_up: bool = False,  # noqa: ARG002 - deliveries that are given up here are not kept
    ) -> None:
        """Note how an attempt ended, count it, and end the lease."""
        with self._locked():
            row = self._rows.get(delivery.key)
            if row is None or row.delivery.message.id != delivery.message.id:
                return
            if state is DeliveryState.SENT:
                self._forget(row.delivery)
                self._go_on(row.delivery)
            elif _is_same_attempt(row.delivery, delivery):
                row.failed_s = row.failed_s if row.failed_s is not None else self._clock()
                row.delivery = attrs.evolve(
                    row.delivery,
                    state=state,
                    attempts=row.delivery.attempts + 1,
                    last_error=error,
                    failing_s=self._clock() - row.failed_s,
                )
                row.due_s, row.leased_until_s = self._clock() + (0.0 if rests else due_in_s), None
                if state is DeliveryState.FAILED:
                    self._no_longer_waiting(row.delivery)
                if rests:
                    rest = self._let_rest(row, error, due_in_s)
                    rest.suspected += is_suspected
                    rest.other_next = other_next
                else:
                    self._go_on(row.delivery)

    def pass_on(
        self,
        delivery: Delivery,
        handler: str,
        change: MessageChange,
        *,
        error: str,  # noqa: ARG002 - what is settled here is not kept
        is_refused: bool,
    ) -> tuple[Delivery, ...] | None:
        """Give a claimed delivery to another handler, and settle it."""
        with self._locked():
            row = self._rows.get(delivery.key)
            if row is None or not _is_same_attempt(row.delivery, delivery):
                return None
            others = self._given.get(delivery.message.id, ())
            new = () if handler in others else (self._add(change(row.delivery.message), handler, claimed=True),)
            self._forget(row.delivery)
            if is_refused:
                self._go_on(row.delivery)
            return new

    def claim_overdue(self, handler: str, after_s: float) -> tuple[Delivery, ...]:
        """Lease what could not be sent for so long."""
        with self._locked():
            now, today = self._clock(), datetime.now(UTC)
            rest = self._rests.get(handler)
            found = []
            for row in self._waiting.get(handler, {}).values():
                began_s = min(now if row.failed_s is None else row.failed_s, now if rest is None else rest.began_s)
                waited_s = (today - row.delivery.message.created_at).total_seconds()
                is_free = row.leased_until_s is None or row.leased_until_s <= now
                if is_free and min(now - began_s, waited_s) >= after_s:
                    row.leased_until_s = now + self._lease_s
                    found.append(row.delivery)
            return tuple(found)

    def _let_rest(self, row: _Row, error: str, due_in_s: float) -> _Rest:
        rest = self._rests.setdefault(row.delivery.handler, _Rest(datetime.now(UTC), self._clock()))
        rest.failures += 1
        rest.next_s = max(rest.next_s, self._clock() + due_in_s)
        rest.probe, rest.last_error = row, error
        return rest

    def _go_on(self, delivery: Delivery) -> None:
        """End the rest of a destination that has answered, and note which messages it had failed with."""
        rest = self._rests.pop(delivery.handler, None)
        for row in self._waiting.get(delivery.handler, {}).values() if rest is not None and rest.suspected else ():
            if row.delivery.attempts and row.delivery.key != delivery.key:
                row.delivery = attrs.evolve(row.delivery, passed_over=row.delivery.passed_over + 1)

    def _forget(self, delivery: Delivery) -> None:
        del self._rows[delivery.key]
        self._no_longer_waiting(delivery)
        if self._copies is not None and not self._holds(delivery.message.id):
            self._copies.forget(delivery.message.id)

    def _holds(self, message_id: str) -> bool:
        return any(row.delivery.message.id == message_id for row in self._rows.values())

    def _no_longer_waiting(self, delivery: Delivery) -> None:
        for rows in (self._waiting, self._urgent):
            waiting = rows.get(delivery.handler, {})
            waiting.pop(delivery.key, None)
            if not waiting:
                rows.pop(delivery.handler, None)

    def take_out(self, delivery: Delivery) -> WaitingRow:
        """Forget a delivery that the journal has now, if it waits still; the copies of its attachments stay."""
        with self._locked():
            row = self._rows.get(delivery.key)
            if row is None or row.delivery.message.id != delivery.message.id:
                return WaitingRow(DeliveryState.SENT, "", is_claimed=False)
            is_claimed = row.leased_until_s is not None and row.leased_until_s > self._clock()
            if row.delivery.state is DeliveryState.PENDING:
                del self._rows[delivery.key]
                self._no_longer_waiting(row.delivery)
            return WaitingRow(row.delivery.state, row.delivery.last_error, is_claimed=is_claimed)

    def state_of(self, delivery: Delivery) -> DeliveryState | None:
        """Return where a delivery stands; what was sent is not kept."""
        with self._locked():
            row = self._rows.get(delivery.key)
            return DeliveryState.SENT if row is None else row.delivery.state

    def next_due_s(self, handler: str) -> float | None:
        """Return the seconds until something of a handler can be claimed; None when nothing is waiting."""
        with self._locked():
            free_at_s = min((row.free_at_s() for row in self._waiting.get(handler, {}).values()), default=None)
            if free_at_s is None:
                return None
            now, rest = self._clock(), self._rests.get(handler)
            return max(0.0, free_at_s - now, rest.until_s(now) - now if rest is not None else 0.0)

    def waiting(self, handlers: Sequence[str]) -> set[str]:
        """Return which of these handlers have pending deliveries."""
        with self._locked():
            return set(handlers) & self._waiting.keys()

    @property
    def copies(self) -> tuple[str, int]:
        """Return the directory of the copies of attachments, and how many bytes each of them may have."""
        return self._copies.root if self._copies is not None else "", COPIES_LIMIT_BYTES

    def take_attachments(self, delivery: Delivery, take: Pack) -> Delivery:
        """Take the attachments into a private temporary directory; they are removed once the message is settled."""
        if not delivery.message.attachments:
            return delivery
        from supervisor._store.attachment_copies import MemoryAttachments

        with self._locked():
            copies = self._copies = self._copies or MemoryAttachments(COPIES_LIMIT_BYTES)
        copies.take(delivery.message, take)
        with self._locked():
            if not self._holds(delivery.message.id):
                copies.forget(delivery.message.id)
        return self.with_copies(delivery)

    def with_copies(self, delivery: Delivery) -> Delivery:
        """Return a delivery with the copies in the place of the originals."""
        return delivery if self._copies is None else self._copies.in_place(delivery)

    def keep_attachments(self, delivery: Delivery, pack: Pack) -> Delivery:  # noqa: ARG002 - the contract's parameter
        """Return the delivery as it is: what waits here is as it was taken, for as long as the process lives."""
        return delivery

    def pack_left(self, pack: Pack) -> None:
        """Do nothing: what waits here ends with its process."""

    def deliveries(self, *, limit: int = 1_000) -> list[WaitingDelivery]:
        """Return what is pending or failed, oldest first."""
        with self._locked():
            now, today = self._clock(), datetime.now(UTC)
            rests = {handler: rest.next_s for handler, rest in self._rests.items()}
            return [
                _waiting_delivery(row, max(row.due_s, rests.get(row.delivery.handler, 0.0)) - now, now, today)
                for row in list(self._rows.values())[:limit]
            ]

    def must_wait(self, delivery: Delivery) -> bool:  # noqa: ARG002 - the contract's parameter
        """Return False: what waits here is of one run, and goes in its order."""
        return False

    def given_up_unreported(self) -> list[tuple[int, str, str]]:
        """Return nothing: what is given up in memory is not kept."""
        return []

    def mark_given_up_reported(self, keys: Collection[int]) -> None:
        """Do nothing: deliveries that are given up here are not kept."""

    def note_waiting(self, message: MessageDetails, handler: str) -> None:
        """Do nothing: there is no file beside it."""

    def adopt(self, former: str, handler: str, run_name: str) -> bool:  # noqa: ARG002 - the contract's parameters
        """Do nothing: no earlier version has left anything here."""
        return False

    def retry(self, key: int) -> bool:
        """Make a failed or waiting delivery due now."""
        with self._locked():
            row = self._rows.get(key)
            if row is None:
                return False
            row.delivery = attrs.evolve(row.delivery, state=DeliveryState.PENDING)
            row.due_s = self._clock()
            self._wait(row)
            for rows in (self._waiting, self._urgent):
                if row.delivery.handler in rows:
                    rows[row.delivery.handler] = dict(sorted(rows[row.delivery.handler].items()))
            self.wake(row.delivery.handler)
            return True

    def drop(self, key: int) -> bool:
        """Forget a failed or waiting delivery for good."""
        with self._locked():
            row = self._rows.get(key)
            if row is not None:
                self._forget(row.delivery)
            return row is not None

    def close(self) -> None:
        """Do nothing: what waits stays until the process ends."""


def _is_same_attempt(stored: Delivery, claimed: Delivery) -> bool:
    """Return True while what was claimed is still what is stored."""
    return (
        stored.state is DeliveryState.PENDING
        and stored.attempts == claimed.attempts
        and stored.message.id == claimed.message.id
    )


def _waiting_delivery(row: _Row, due_in_s: float, now: float, today: datetime) -> WaitingDelivery:
    """Return what a person may want to know of a delivery."""
    from supervisor._store.records import WaitingDelivery

    delivery, message = row.delivery, row.delivery.message
    is_pending = delivery.state is DeliveryState.PENDING
    return WaitingDelivery(
        key=delivery.key,
        handler=delivery.handler,
        state=delivery.state,
        subject=message.subject,
        kind=message.kind,
        message_id=message.id,
        created_at=message.created_at,
        attempts=delivery.attempts,
        last_error=delivery.last_error,
        due_at=today + timedelta(seconds=due_in_s) if is_pending else None,
        is_claimed=row.leased_until_s is not None and row.leased_until_s > now,
    )
