"""What dispatchers and workers share: the jobs, and the pool of the workers of a runtime.

It stands apart from the workers, so that a run without messages need not load them. A job is one delivery on its way:
who waits for it, when it is tried again, and the copies of its attachments. The pool knows what happens at the exit of
the process and in a fork.
"""

from __future__ import annotations

import os
import sys
import threading
from datetime import datetime, timedelta
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar
from weakref import WeakSet

from supervisor._hooks import at_exit, on_fork
from supervisor._models import Kind
from supervisor._store.essentials import JournalUnavailable, warn_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from supervisor._models import DeliveryState
    from supervisor._models.values import Attachment, Delivery, MessageHandler
    from supervisor._redaction import Redactor
    from supervisor._store import DestinationRest, Outbox
    from supervisor._store.essentials import MessageChange

    Source: TypeAlias = tuple[Outbox, str]

W = TypeVar("W")

EXIT_DEADLINE_S = 30.0
"""How long the end of the process waits for messages that no run waits for, at most."""
STOP_DEADLINE_S = 1.0
"""How long a runtime that is closed waits for the messages that are being sent just then."""

_this_thread = threading.local()


def in_worker_thread() -> bool:
    """Tell whether the code at hand runs in a worker's thread: a handler is sending."""
    return getattr(_this_thread, "is_worker", False)


def mark_worker_thread() -> None:
    """Let the thread at hand count as a worker's."""
    _this_thread.is_worker = True


class Waiter(Protocol):
    """Who has submitted jobs and may still wait for them.

    Attributes:
        exit_deadline_s: The most seconds that the end of the process waits for them.
    """

    exit_deadline_s: float

    def wait(self, deadline_s: float, /) -> None:
        """Wait until they are settled, at most so many seconds."""

    def forget(self) -> None:
        """Drop them, in a forked child: they are the parent's to deliver."""


class WorkerPool:
    """The workers of a runtime.

    A handler that runs of two runtimes share has a worker in each, and so may be called by two threads at a time.

    Attributes:
        changed: Guards what workers and dispatchers share. It is notified when a worker has work, and when a job is
            settled.
        unfinished: Who has jobs that nobody has waited for yet; guarded by ``changed``.
        is_stopped: True after :meth:`stop`; guarded by ``changed``.
        alarms_first: True where the process is about to be killed: new alarms are sent before other new messages.
        catch_up: What takes jobs from memory into the journal; None before that was needed.
        is_process_ending: True from the end of the main program on: what is submitted then has nobody to wait for it.
    """

    is_process_ending: ClassVar[bool] = False

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.unfinished: set[Waiter] = set()
        self.is_stopped = self.alarms_first = False
        self._workers: dict[int, Any] = {}
        self.catch_up: Any = None
        _pools.add(self)

    def acquire(self, handler: MessageHandler, make: Callable[[], W]) -> W:
        """Return the one worker of a handler. The caller holds ``changed``, and counts itself among its users.

        Args:
            handler: The handler.
            make: Makes its worker; called where there is none.
        """
        found: W = self._workers.get(id(handler)) or self._workers.setdefault(id(handler), make())
        return found

    def discard(self, handler: MessageHandler) -> None:
        """Forget the worker of a handler, whose thread ends. The caller holds ``changed``."""
        self._workers.pop(id(handler), None)

    def finish(self, deadline_s: float) -> None:
        """Wait for all that is unfinished, at most so many seconds."""
        started_s = monotonic()
        for waiter in tuple(self.unfinished):
            waiter.wait(max(0.0, started_s + min(deadline_s, waiter.exit_deadline_s) - monotonic()))

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> None:
        """Let each worker end with the message that it is sending; what waits stays in the outbox, for anybody.

        Args:
            deadline_s: The most seconds to wait for that. A handler that hangs keeps its thread.
        """
        with self.changed:
            self.is_stopped = True
            threads = [each.thread for each in (*self._workers.values(), self.catch_up) if each is not None]
            self.changed.notify_all()
        until_s = monotonic() + deadline_s
        for thread in threads:
            # One that is just being started ends by itself.
            if thread is not None and thread is not threading.current_thread() and thread.is_alive():
                thread.join(max(0.0, until_s - monotonic()))

    def renew_in_child(self) -> None:
        """Start empty in a forked child: the threads do not exist there, and one may have held ``changed``."""
        self.changed = threading.Condition()
        self._workers.clear()
        for waiter in self.unfinished:
            waiter.forget()
        self.unfinished.clear()


_pools: WeakSet[WorkerPool] = WeakSet()


def _finish_all() -> None:
    """Wait at the end of the process for messages that no run waits for."""
    WorkerPool.is_process_ending = True
    until_s = monotonic() + EXIT_DEADLINE_S
    for pool in tuple(_pools):
        pool.finish(max(0.0, until_s - monotonic()))
    copies = sys.modules.get("supervisor._store.attachment_copies")
    if copies is not None:  # otherwise nothing was copied
        copies.remove_all()


def _renew_all_in_child() -> None:
    for pool in _pools:
        pool.renew_in_child()


at_exit(_finish_all)
on_fork(in_child=_renew_all_in_child)


FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 300.0
OTHER_AFTER_S = 1.0
"""How soon after the first message another one is tried, to know which of them the destination fails with."""
TRIES_BEFORE_OTHER = 3
"""So often a destination has failed, perhaps because of the message, before another one is tried too."""
GIVE_UP_AFTER = timedelta(days=7)
GIVE_UP_ATTEMPTS = 20
DOUBTS_LIMIT = 4
"""After so many attempts whose process ended before the answer came, a message is refused: the first and three more."""


def is_given_up(delivery: Delivery, rest: DestinationRest | None, now: datetime) -> bool:
    """Tell whether a delivery that has failed just now is not tried again: after a week of attempts, 20 at least.

    Those of the destination count while the message waited for it: each attempt takes one message for all.

    Args:
        delivery: The delivery, as it was before this attempt.
        rest: How the destination rested before this attempt; None when it did not.
        now: The time.
    """
    own = (delivery.attempts, delivery.failing_s)
    waited_s = (now - delivery.message.created_at).total_seconds()
    of_all = (rest.failures, min(rest.failing_s, waited_s)) if rest is not None else own
    return any(
        attempts + 1 >= GIVE_UP_ATTEMPTS and failing_s >= GIVE_UP_AFTER.total_seconds()
        for attempts, failing_s in (own, of_all)
    )


def takes_other_next(rest: DestinationRest | None) -> bool:
    """Tell whether another message is tried next, after a failure that the message itself may have caused.

    The first is tried each time, so that all arrive in their order once the destination is back. After its third
    failure another one is tried right after it, so that one message does not block the rest.

    Args:
        rest: How the destination rested before this failure; None when it did not.
    """
    if rest is None or rest.other_next or rest.waiting < 2:  # noqa: PLR2004 - there must be another one
        return False
    return rest.suspected + 1 >= TRIES_BEFORE_OTHER


def chance() -> float:
    """Return a number from 0 to 1. The module ``random`` is left alone: a script may have seeded it for itself."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


def retry_delay_s(attempts: int, retry_after_s: float | None = None, jitter: Callable[[], float] = chance) -> float:
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


class Owner(Protocol):
    """Who submitted jobs and waits for them.

    Attributes:
        jobs: Its jobs that are not settled yet.
        redactor: Returns what redacts the texts that are attached.
        has_failed: Whether a destination refused one of its messages for good.
    """

    has_failed: bool
    jobs: set[Job]
    redactor: Callable[[], Redactor]

    def reserve_of(self, handler: MessageHandler, /) -> str | None:
        """Return the name of the handler that gets what this one cannot send; None where there is none."""

    def submit_passed_on(self, deliveries: Iterable[Delivery], outbox: Outbox, /) -> None:
        """Let what was passed on be sent by the other handler."""


class HeldJobs:
    """The jobs of one worker whose deliveries wait in an outbox, where another process may take them.

    Not safe for threads: only the worker's own thread uses it.
    """

    def __init__(self) -> None:
        # By the ids of their messages: a journal to which a delivery is moved from memory gives it another key.
        self._jobs: dict[str, list[Job]] = {}

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def _all(self) -> Iterator[Job]:
        return chain.from_iterable(self._jobs.values())

    def add(self, job: Job) -> None:
        """Hold a job until its delivery is claimed again, or settled by another process."""
        self._jobs.setdefault(job.delivery.message.id, []).append(job)

    def sources(self) -> tuple[Source, ...]:
        """Return where jobs wait, and under which names."""
        return tuple(dict.fromkeys(job.source for job in self._all()))

    def of(self, source: Source) -> list[Job]:
        """Return what is held of a source, the oldest first."""
        return sorted((job for job in self._all() if job.source == source), key=lambda job: job.delivery.key)

    def remove(self, job: Job) -> None:
        """Hold a job no longer."""
        message_id = job.delivery.message.id
        left = [each for each in self._jobs.pop(message_id, ()) if each is not job]
        if left:
            self._jobs[message_id] = left

    def take(self, source: Source, claimed: Delivery) -> Job:
        """Return the job of a delivery that was claimed; a new one for what an earlier run left."""
        outbox, handler = source
        same = [job for job in self._jobs.get(claimed.message.id, ()) if job.delivery.handler == handler]
        # In a journal that was begun anew, the same key may be another delivery's.
        job = next((each for each in same if each.outbox is not outbox or each.delivery.key == claimed.key), None)
        if job is None:
            return Job(claimed, outbox)
        self.remove(job)
        job.claimed_again(outbox, claimed)
        return job


class Job:
    """One delivery, where it is stored, who waits for it, and when it is due.

    Args:
        delivery: A delivery that this process has claimed.
        outbox: Where it is stored.
        owner: Who waits for it; None for what an earlier run left.
        is_held: True for what is not to be sent before its time: no worker gets it.

    Attributes:
        lock: Held while the outbox is asked, and while the delivery is moved to another one.
    """

    __slots__ = ("claimed_s", "delivery", "due_s", "is_held", "lock", "outbox", "owner")

    def __init__(
        self, delivery: Delivery, outbox: Outbox, owner: Owner | None = None, *, is_held: bool = False
    ) -> None:
        self.is_held = is_held
        self.delivery = delivery
        self.outbox = outbox
        self.owner = owner
        self.due_s = 0.0
        self.claimed_s = monotonic()
        self.lock = threading.Lock()

    def claimed_again(self, outbox: Outbox, delivery: Delivery) -> None:
        """Note that the delivery was claimed anew in an outbox; it may have been moved to another one meanwhile."""
        with self.lock:
            self.claimed_s = monotonic()
            if self.outbox is outbox:
                self.delivery = delivery

    def state(self) -> DeliveryState | None:
        """Return where the delivery stands; None when its outbox has lost it."""
        with self.lock:
            return self.outbox.state_of(self.delivery)

    def settle(self, state: DeliveryState, error: str, due_in_s: float, **more: bool) -> None:
        """Note in the outbox how an attempt ended; ``more`` is what its ``settle`` takes besides."""
        with self.lock:
            self.outbox.settle(self.delivery, state, error=error, due_in_s=due_in_s, **more)

    def pass_on(
        self, handler: str, change: MessageChange, error: str, *, is_refused: bool
    ) -> tuple[Delivery, ...] | None:
        """Give the delivery to another handler; None where that cannot be, and nothing was changed."""
        try:
            with self.lock:
                return self.outbox.pass_on(self.delivery, handler, change, error=error, is_refused=is_refused)
        except JournalUnavailable as fault:
            warn_once(fault)
            return None

    def rest(self) -> DestinationRest | None:
        """Return how its destination rests; None when it does not, or the journal cannot tell."""
        try:
            return self.outbox.rest_of(self.delivery.handler)
        except JournalUnavailable as error:
            warn_once(error)
            return None

    def must_wait(self) -> bool:
        """Return whether this is a recovery whose alarm has not gone yet."""
        if self.delivery.message.kind is not Kind.RECOVERY:
            return False
        try:
            with self.lock:
                return self.outbox.must_wait(self.delivery)
        except JournalUnavailable as error:
            warn_once(error)
            return False

    @property
    def source(self) -> Source:
        """Where its delivery is, and under which handler's name."""
        return self.outbox, self.delivery.handler

    def renew(self, *, is_sent_now: bool = False) -> bool:
        """Extend the lease; return False when another process has the delivery by now.

        Args:
            is_sent_now: Whether the destination may have the message from now on.
        """
        try:
            with self.lock:
                is_ours = self.outbox.renew(self.delivery, is_sent_now=is_sent_now)
                return is_ours or self.outbox.state_of(self.delivery) is None
        except JournalUnavailable as error:
            warn_once(error)
            return True  # better twice than never

    def take_attachments(self) -> None:
        """Copy the attachments, or link them, before the script goes on: it may delete or rewrite its files."""
        from supervisor._attachments.originals import links_among, replace_in_thread, take

        try:
            self.delivery = self.outbox.take_attachments(self.delivery, take)
        except JournalUnavailable as error:
            warn_once(error)
        else:
            replace_in_thread(links_among(self.delivery.message.attachments, *self.outbox.copies))

    def find_attachments(self) -> None:
        """Look up what there is of the attachments now, before they are sent."""
        if not self.delivery.message.attachments:
            return
        from supervisor._attachments.originals import links_among, replace_link

        try:
            with self.lock:
                self.delivery = self.outbox.with_copies(self.delivery)
        except JournalUnavailable as error:
            warn_once(error)
        for each in links_among(self.delivery.message.attachments, *self.outbox.copies):
            replace_link(each)

    def keep_attachments(self) -> None:
        """Replace the copies of the attachments by packed ones, where the message goes on waiting."""
        with self.lock:
            outbox, delivery = self.outbox, self.delivery
        try:
            outbox.keep_attachments(delivery, _pack_copy)
        except JournalUnavailable as error:
            warn_once(error)


def release(jobs: Sequence[Job]) -> None:
    """End the leases of jobs, so that anybody can claim them."""
    places = [(job, job.outbox, job.delivery) for job in jobs]
    for outbox in {outbox for _, outbox, _ in places}:
        _release(outbox, [delivery for _, its, delivery in places if its is outbox])
    for job, outbox, _ in places:
        if job.outbox is not outbox:  # it was moved meanwhile, with its lease
            _release(job.outbox, [job.delivery])


def _release(outbox: Outbox, deliveries: Sequence[Delivery]) -> None:
    try:
        outbox.release(deliveries)
    except JournalUnavailable as error:
        warn_once(error)


def pack_left(outbox: Outbox, redactor: Callable[[], Redactor]) -> None:
    """Compress and redact the copies that other processes left as they were, hanging or killed.

    Args:
        outbox: Where they are.
        redactor: Returns what redacts them.
    """
    from supervisor._attachments.names import redacting_with

    try:
        with redacting_with(redactor):
            outbox.pack_left(_pack_copy)
    except JournalUnavailable as error:
        warn_once(error)


def _pack_copy(attachment: Attachment, directory: Path, limit_bytes: int) -> Attachment | None:
    import attrs

    from supervisor._attachments import pack

    part = pack(attachment, directory, limit_bytes=limit_bytes).part
    if part is None:
        return None
    return attrs.evolve(attachment, path=part.path, name=part.name, size_bytes=part.size_bytes, note=part.note)
