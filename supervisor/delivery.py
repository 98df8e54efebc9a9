"""Take messages to their handlers: store, send, classify, retry, settle.

Each handler has a courier: one thread that sends one message at a time, started at the handler's first message
and gone when nothing is left to do. So a handler that fails, hangs or is slow holds up nobody else, and needs no
locks of its own. A message is in the outbox before it is first tried, and settled there after it.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
from collections import deque
from contextvars import Context
from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

import attrs

from supervisor.capture import safe_text
from supervisor.compose.messages import delayed
from supervisor.errors import DeliveryError
from supervisor.kinds import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisor.journal import Outbox
    from supervisor.models import Delivery, MessageDetails, MessageHandler

logger = logging.getLogger("supervisor")

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 300.0
GIVE_UP_AFTER = timedelta(days=7)
EXIT_DEADLINE_S = 30.0
_LOOK_AGAIN_S = 60.0

# Guards all that couriers and runs share, and wakes whoever waits: couriers for work, runs for their messages.
_changed = threading.Condition()
_couriers: dict[tuple[int, int], Courier] = {}
_unfinished: set[Deliveries] = set()
_this_thread = threading.local()


def handler_name(handler: MessageHandler) -> str:
    """Return the name that finds a handler again: its own, or that of its class."""
    name = getattr(handler, "name", None)
    if isinstance(name, str) and name:
        return name
    return f"{type(handler).__module__}.{type(handler).__qualname__}"


def retry_delay_s(
    attempts: int, retry_after_s: float | None = None, jitter: Callable[[], float] = random.random
) -> float:
    """Return how many seconds to wait after a temporary failure.

    It doubles from 1 s to 5 min, less up to half of it at random so that many senders do not come at once, and is
    never shorter than what the destination asked for.

    Args:
        attempts: How often the delivery was tried, from 1.
        retry_after_s: What the destination asked for; None when it did not.
        jitter: Returns a random number from 0 to 1.
    """
    longest = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts - 1, 30))
    return max(retry_after_s or 0.0, longest * (1 - jitter() / 2))


class Deliveries:
    """What one run hands to its handlers, and how the run waits for it.

    Args:
        handlers: Who gets the messages.
        outbox: Where messages are kept until they are settled.
    """

    def __init__(self, handlers: Sequence[MessageHandler], outbox: Outbox) -> None:
        self._handlers = tuple(zip(_distinct_names(handlers), handlers, strict=True))
        self._outbox = outbox
        self._couriers: dict[str, Courier] = {}
        self._told_to_stop = False
        self.parcels: set[_Parcel] = set()

    def accept(self, details: MessageDetails, *, without: Sequence[MessageHandler] = ()) -> None:
        """Store a message for every handler that wants its kind, and let the couriers take it from there.

        A handler that sends messages while it sends one would never come to an end: those are refused.

        Args:
            details: The message.
            without: Handlers that are left out.
        """
        if getattr(_this_thread, "is_courier", False):
            logger.warning("a handler spoke while it was sending; its message %r is left out", details.subject)
            return
        wanting = [
            (name, handler)
            for name, handler in self._handlers
            if _wants(handler, details) and not any(handler is each for each in without)
        ]
        if wanting:
            accepted = self._outbox.put(details, [name for name, _ in wanting])
            for (name, handler), delivery in zip(wanting, accepted, strict=True):
                self._courier(name, handler).take(_Parcel(delivery, self))

    def fetch_waiting(self) -> None:
        """Let the couriers deliver what earlier runs left in the outbox, after the messages of this one."""
        names = self._outbox.waiting([name for name, _ in self._handlers])
        for name, handler in self._handlers:
            if name in names:
                self._courier(name, handler).look_into_outbox()

    def wait(self, deadline_s: float) -> None:
        """Wait until everything is settled, or can no longer be within the deadline; log what is left.

        Args:
            deadline_s: The most seconds to wait.
        """
        until = monotonic() + deadline_s
        with _changed:
            while not self._told_to_stop and any(each.due_s < until for each in self.parcels):
                left_s = until - monotonic()
                if left_s <= 0:
                    break
                # In slices: a signal handler may say stop, and cannot take the lock to wake us.
                _changed.wait(min(left_s, 0.25))
        self._leave()

    def is_settled(self) -> bool:
        """Tell whether nothing of this run is on its way."""
        return not self.parcels

    def stop_waiting(self) -> None:
        """End a wait that is under way. A signal handler calls it, so it takes no lock."""
        self._told_to_stop = True

    def forget(self) -> None:
        """Begin anew in a forked child: what was on its way is the parent's to deliver."""
        self._couriers = {}
        self.parcels = set()

    def _courier(self, name: str, handler: MessageHandler) -> Courier:
        with _changed:
            _unfinished.add(self)
            courier = self._couriers.get(name)
            if courier is None:
                key = (id(handler), id(self._outbox))
                courier = _couriers.get(key) or _couriers.setdefault(key, Courier(name, handler, self._outbox, key))
                courier.users += 1
                self._couriers[name] = courier
            return courier

    def _leave(self) -> None:
        """Tell what is left, keep its attachments, and let the couriers go when they are done."""
        with _changed:
            left = tuple(self.parcels)
            for courier in self._couriers.values():
                courier.users -= 1
            self._couriers = {}
            _unfinished.discard(self)
            _changed.notify_all()
        for parcel in left:
            logger.warning("not delivered yet: %r to %s", parcel.delivery.message.subject, parcel.delivery.handler)


class _Parcel:
    """One delivery on its way, whose it is, and when it is to be tried next."""

    __slots__ = ("delivery", "due_s", "owner")

    def __init__(self, delivery: Delivery, owner: Deliveries | None) -> None:
        self.delivery = delivery
        self.owner = owner
        self.due_s = 0.0


class Courier:
    """Takes messages to one handler, one at a time, in a thread of its own."""

    def __init__(self, name: str, handler: MessageHandler, outbox: Outbox, key: tuple[int, int]) -> None:
        self.name = name
        self.users = 0
        self._handler = handler
        self._outbox = outbox
        self._key = key
        self._fresh: deque[_Parcel] = deque()
        self._again: list[_Parcel] = []
        self._outbox_due_s = inf
        self._thread: threading.Thread | None = None

    def take(self, parcel: _Parcel) -> None:
        """Take a delivery that was just accepted."""
        with _changed:
            self._fresh.append(parcel)
            if parcel.owner is not None:
                parcel.owner.parcels.add(parcel)
            self._wake()

    def look_into_outbox(self) -> None:
        """Deliver what is waiting in the outbox from earlier runs too."""
        with _changed:
            self._outbox_due_s = 0.0
            self._wake()

    def _wake(self) -> None:
        _changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=f"supervisor {self.name}", daemon=True)
            try:
                # In an empty context: whatever a handler does is not done in the run.
                Context().run(self._thread.start)
            except RuntimeError:  # no threads any more: the interpreter is shutting down
                self._thread = threading.current_thread()
                self._serve_here()

    def _serve(self) -> None:
        """Send what is due until nothing is left and nobody needs the courier any more."""
        _this_thread.is_courier = True
        while (parcel := self._next()) is not None:
            self._send(parcel)
        self._close()

    def _serve_here(self) -> None:
        """Send what is fresh, once, in the thread that brought it."""
        while self._fresh:
            self._send(self._fresh.popleft())
        self._thread = None

    def _next(self) -> _Parcel | None:
        """Wait for the next parcel that is due: fresh ones first, then own ones again, then what others left."""
        while True:
            with _changed:
                now = monotonic()
                if self._fresh:
                    return self._fresh.popleft()
                again = min(self._again, key=lambda each: each.due_s, default=None)
                if again is not None and again.due_s <= now:
                    self._again.remove(again)
                    return again
                look_into_outbox = self._outbox_due_s <= now
                if not look_into_outbox:
                    if not self.users and again is None:
                        self._thread = None
                        _couriers.pop(self._key, None)
                        return None
                    next_s = min(self._outbox_due_s, again.due_s if again is not None else inf)
                    _changed.wait(min(next_s - now, _LOOK_AGAIN_S))
                    continue
            left_by_others = self._claim()
            if left_by_others is not None:
                return left_by_others

    def _claim(self) -> _Parcel | None:
        """Return the oldest delivery that waits in the outbox, or None and note when to look again."""
        delivery = self._outbox.claim(self.name)
        if delivery is not None:
            return _Parcel(delivery, None)
        due_in_s = self._outbox.next_due_s(self.name)
        self._outbox_due_s = inf if due_in_s is None else monotonic() + max(due_in_s, 0.1)
        return None

    def _send(self, parcel: _Parcel) -> None:
        """Try one delivery and settle it."""
        try:
            self._handler.send_message(delayed(parcel.delivery.message, datetime.now(UTC)))
        except DeliveryError as error:
            self._failed(parcel, error)
        except BaseException as error:  # noqa: BLE001 - the handler's boundary: whatever it raises, the next one goes on
            self._failed(parcel, DeliveryError(f"{type(error).__name__}: {safe_text(error)}"))
        else:
            self._settle(parcel, DeliveryState.SENT)

    def _failed(self, parcel: _Parcel, error: DeliveryError) -> None:
        """Settle a delivery that failed for good, or put it back until it is due again."""
        message = parcel.delivery.message
        reason = str(error)
        if error.permanent or datetime.now(UTC) - message.created_at > GIVE_UP_AFTER:
            logger.error("%s refused %r: %s", self.name, message.subject, reason)
            self._settle(parcel, DeliveryState.FAILED, reason)
            return
        due_in_s = retry_delay_s(parcel.delivery.attempts + 1, error.retry_after_s)
        logger.warning("%s did not take %r, again in %.0f s: %s", self.name, message.subject, due_in_s, reason)
        self._settle(parcel, DeliveryState.PENDING, reason, due_in_s)

    def _settle(self, parcel: _Parcel, state: DeliveryState, error: str = "", due_in_s: float = 0.0) -> None:
        try:
            self._outbox.settle(parcel.delivery, state, error=error, due_in_s=due_in_s)
        except Exception:
            logger.warning("the outbox did not take note of a delivery to %s", self.name, exc_info=True)
        with _changed:
            if state is DeliveryState.PENDING:
                parcel.due_s = monotonic() + due_in_s
                parcel.delivery = attrs.evolve(parcel.delivery, attempts=parcel.delivery.attempts + 1, last_error=error)
                if parcel.owner is not None:
                    self._again.append(parcel)
                else:
                    # What others left waits for the same destination: no use in trying it row by row now.
                    self._outbox_due_s = parcel.due_s
            elif parcel.owner is not None:
                parcel.owner.parcels.discard(parcel)
            _changed.notify_all()

    def _close(self) -> None:
        close = getattr(self._handler, "close", None)
        if callable(close):
            try:
                close()
            except Exception:
                logger.debug("%s did not close", self.name, exc_info=True)


def _distinct_names(handlers: Sequence[MessageHandler]) -> list[str]:
    """Return the handlers' names, the second of a name with "#2" behind it, and so on."""
    seen: dict[str, int] = {}
    names = []
    for handler in handlers:
        name = handler_name(handler)
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


def _wants(handler: MessageHandler, details: MessageDetails) -> bool:
    kinds = getattr(handler, "kinds", None)
    return kinds is None or details.kind in kinds


def _finish() -> None:
    """Wait at the end of the process for messages that no run waits for."""
    until = monotonic() + EXIT_DEADLINE_S
    for deliveries in tuple(_unfinished):
        deliveries.wait(max(0.0, until - monotonic()))


def _begin_anew_in_child() -> None:
    """Leave the parent's couriers to the parent: their threads do not exist in a forked child."""
    global _changed  # noqa: PLW0603 - another thread of the parent may have held it
    _changed = threading.Condition()
    for deliveries in _unfinished:
        deliveries.forget()
    _unfinished.clear()
    _couriers.clear()


atexit.register(_finish)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)
