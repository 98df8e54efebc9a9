"""An outbox that lives as long as the process: for ``journal=False``, and where no directory can be written."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

import attrs

from supervisor._models.kinds import DeliveryState
from supervisor._store.essentials import COPIES_LIMIT_BYTES, LEASE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from supervisor._models.values import Delivery, MessageDetails
    from supervisor._store.essentials import Pack
    from supervisor._store.memory_attachments import MemoryAttachments
    from supervisor._store.records import WaitingDelivery


class _Row:
    """One delivery, and when it may be claimed."""

    __slots__ = ("delivery", "due_s", "leased_until_s")

    def __init__(self, delivery: Delivery, due_s: float, leased_until_s: float | None) -> None:
        self.delivery = delivery
        self.due_s = due_s
        self.leased_until_s = leased_until_s

    def free_at_s(self) -> float:
        return self.due_s if self.leased_until_s is None else max(self.due_s, self.leased_until_s)


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
        self._last_key = 0
        self._copies: MemoryAttachments | None = None

    def _locked(self) -> threading.RLock:
        """Return the lock of this process."""
        if self._pid != os.getpid():
            self._begin()
        return self._lock

    def put(self, message: MessageDetails, handlers: Sequence[str], *, claimed: bool = False) -> tuple[Delivery, ...]:
        """Accept one message for several handlers."""
        with self._locked():
            return tuple(self._add(message, handler, claimed=claimed) for handler in handlers)

    def _add(self, message: MessageDetails, handler: str, *, claimed: bool) -> Delivery:
        from supervisor._models.values import Delivery

        self._last_key += 1
        delivery = Delivery(message=message, handler=handler, key=self._last_key)
        now = self._clock()
        row = _Row(delivery, now, now + self._lease_s if claimed else None)
        self._rows[delivery.key] = row
        self._waiting.setdefault(handler, {})[delivery.key] = row
        return delivery

    def claim(self, handler: str, *, own: Collection[int] = ()) -> Delivery | None:
        """Lease the next delivery of a handler that is due, those in ``own`` first."""
        with self._locked():
            now = self._clock()
            waiting = self._waiting.get(handler, {})
            for key in chain(sorted(own), waiting):
                row = waiting.get(key)
                if row is not None and row.free_at_s() <= now:
                    row.leased_until_s = now + self._lease_s
                    return row.delivery
            return None

    def renew(self, delivery: Delivery) -> bool:
        """Begin the lease of a claimed delivery anew; return False when it was settled meanwhile."""
        with self._locked():
            row = self._rows.get(delivery.key)
            is_mine = row is not None and row.leased_until_s is not None and _is_same_attempt(row.delivery, delivery)
            if row is not None and is_mine:
                row.leased_until_s = self._clock() + self._lease_s
            return is_mine

    def settle(self, delivery: Delivery, state: DeliveryState, *, error: str = "", due_in_s: float = 0.0) -> None:
        """Note how an attempt ended, count it, and end the lease."""
        with self._locked():
            row = self._rows.get(delivery.key)
            if row is None or row.delivery.message.id != delivery.message.id:
                return
            if state is DeliveryState.SENT:
                self._forget(row.delivery)
            elif _is_same_attempt(row.delivery, delivery):
                row.delivery = attrs.evolve(
                    row.delivery, state=state, attempts=row.delivery.attempts + 1, last_error=error
                )
                row.due_s, row.leased_until_s = self._clock() + due_in_s, None
                if state is DeliveryState.FAILED:
                    self._no_longer_waiting(row.delivery)

    def _forget(self, delivery: Delivery) -> None:
        del self._rows[delivery.key]
        self._no_longer_waiting(delivery)
        if self._copies is not None and not self._holds(delivery.message.id):
            self._copies.forget(delivery.message.id)

    def _holds(self, message_id: str) -> bool:
        return any(row.delivery.message.id == message_id for row in self._rows.values())

    def _no_longer_waiting(self, delivery: Delivery) -> None:
        waiting = self._waiting.get(delivery.handler, {})
        waiting.pop(delivery.key, None)
        if not waiting:
            self._waiting.pop(delivery.handler, None)

    def state_of(self, delivery: Delivery) -> DeliveryState | None:
        """Return where a delivery stands; what was sent is not kept."""
        with self._locked():
            row = self._rows.get(delivery.key)
            return DeliveryState.SENT if row is None else row.delivery.state

    def next_due_s(self, handler: str) -> float | None:
        """Return the seconds until something of a handler can be claimed; None when nothing is waiting."""
        with self._locked():
            free_at_s = min((row.free_at_s() for row in self._waiting.get(handler, {}).values()), default=None)
            return None if free_at_s is None else max(0.0, free_at_s - self._clock())

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
        from supervisor._store.memory_attachments import MemoryAttachments

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

    def deliveries(self, *, limit: int = 1_000) -> list[WaitingDelivery]:
        """Return what is pending or failed, oldest first."""
        with self._locked():
            now, today = self._clock(), datetime.now(UTC)
            return [_waiting_delivery(row, now, today) for row in list(self._rows.values())[:limit]]

    def retry(self, key: int) -> bool:
        """Make a failed or waiting delivery due now."""
        with self._locked():
            row = self._rows.get(key)
            if row is None:
                return False
            row.delivery = attrs.evolve(row.delivery, state=DeliveryState.PENDING)
            row.due_s = self._clock()
            waiting = self._waiting.setdefault(row.delivery.handler, {})
            waiting[key] = row
            self._waiting[row.delivery.handler] = dict(sorted(waiting.items()))
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


def _waiting_delivery(row: _Row, now: float, today: datetime) -> WaitingDelivery:
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
        due_at=today + timedelta(seconds=row.due_s - now) if is_pending else None,
        is_claimed=row.leased_until_s is not None and row.leased_until_s > now,
    )
