"""The threads that take messages to their handlers, one message at a time.

A worker's thread starts with the first job and ends when nothing is left and no run needs it any more. So a
handler that fails, hangs or is slow holds up nobody else, and needs no locks of its own.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextvars import Context
from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from supervisor import _log
from supervisor._attachments.names import redacting_with
from supervisor._exceptions import safe_text
from supervisor._hooks import OUR_THREADS, follow_forks
from supervisor._models.kinds import DeliveryState
from supervisor._store.contract import LEASE_S, JournalUnavailable, warn_once
from supervisor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from supervisor._delivery.dispatcher import Dispatcher
    from supervisor._models.values import Attachment, Delivery, MessageHandler
    from supervisor._redaction import Redactor
    from supervisor._store import Outbox

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 300.0
GIVE_UP_AFTER = timedelta(days=7)
LOOK_AGAIN_S = 60.0
LOOK_AGAIN_SOON_S = 0.5

# Guards all that workers and runs share, and wakes whoever waits: workers for work, runs for their messages.
changed = threading.Condition()
_workers: dict[int, Worker] = {}
_this_thread = threading.local()


def in_worker_thread() -> bool:
    """Tell whether the code at hand runs in a worker's thread: a handler is sending."""
    return getattr(_this_thread, "is_worker", False)


def worker_for(name: str, handler: MessageHandler) -> Worker:
    """Return the one worker of a handler in this process. The caller holds ``changed``."""
    return _workers.get(id(handler)) or _workers.setdefault(id(handler), Worker(name, handler))


def retry_delay_s(
    attempts: int, retry_after_s: float | None = None, jitter: Callable[[], float] | None = None
) -> float:
    """Return how many seconds to wait after a temporary failure.

    It doubles from 1 s to 5 min, less up to half of it at random so that many senders do not come at once, and is
    never shorter than what the destination asked for.

    Args:
        attempts: How often the delivery was tried, from 1.
        retry_after_s: What the destination asked for; None when it did not.
        jitter: Returns a random number from 0 to 1; None for Python's own.
    """
    if jitter is None:
        from random import random  # loaded by the dispatcher

        jitter = random
    longest = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts - 1, 30))
    return max(retry_after_s or 0.0, longest * (1 - jitter() / 2))


class Job:
    """One delivery on its way, where it is stored, whose it is, and when it is to be tried next."""

    __slots__ = ("claimed_s", "delivery", "due_s", "outbox", "owner")

    def __init__(self, delivery: Delivery, outbox: Outbox, owner: Dispatcher | None = None) -> None:
        self.delivery = delivery
        self.outbox = outbox
        self.owner = owner  # None for what an earlier run left
        self.due_s = 0.0
        self.claimed_s = monotonic()

    def claimed_again(self, delivery: Delivery) -> None:
        """Note that the delivery was claimed anew."""
        self.delivery, self.claimed_s = delivery, monotonic()


class Worker:
    """Takes messages to one handler, one at a time, in a thread of its own."""

    def __init__(self, name: str, handler: MessageHandler) -> None:
        self.name = name
        self.users = 0
        self._handler = handler
        self._outbox: Outbox | None = None
        self._redactor_of_left: Callable[[], Redactor] | None = None
        self._fresh: deque[Job] = deque()
        self._again: list[Job] = []
        self._outbox_due_s = inf
        self.is_clearing = False  # True while what earlier runs left is being delivered
        self._thread: threading.Thread | None = None

    def take(self, job: Job) -> None:
        """Take a delivery that was just accepted."""
        with changed:
            if job.owner is not None:
                job.owner.jobs.add(job)
            self._fresh.append(job)
            fresh_thread = self._wake()
        self._start(fresh_thread)

    def poll(self, outbox: Outbox, redactor: Callable[[], Redactor] | None = None) -> None:
        """Deliver what earlier runs left in an outbox too.

        Args:
            outbox: Where it is.
            redactor: Returns what redacts its attachments; None for what the handler's credentials need.
        """
        with changed:
            self._outbox = outbox
            self._redactor_of_left = redactor
            self.is_clearing = True
            self._outbox_due_s = 0.0
            fresh_thread = self._wake()
        self._start(fresh_thread)

    def _wake(self) -> threading.Thread | None:
        """Wake the thread, or return a new one to start. The caller holds ``changed``, and starts it without that."""
        changed.notify_all()
        if self._thread is not None:
            return None
        self._thread = threading.Thread(target=self._serve, name=f"{OUR_THREADS}{self.name}", daemon=True)
        return self._thread

    def _start(self, thread: threading.Thread | None) -> None:
        """Start a new thread. It would wait for ``changed`` at once, and the one that holds it for its start."""
        if thread is None:
            return
        follow_forks()
        try:
            # In an empty context: whatever a handler does is not done in the run.
            Context().run(thread.start)
        except RuntimeError:  # no threads any more: the interpreter is shutting down
            with changed:
                self._thread = threading.current_thread()
                self._serve_here()

    def _serve(self) -> None:
        """Send what is due until nothing is left and nobody needs the worker any more."""
        _this_thread.is_worker = True
        while (job := self._next()) is not None:
            self._send(job)
        self._close()

    def _serve_here(self) -> None:
        """Send what is fresh, once, in the thread that brought it."""
        while self._fresh:
            self._send(self._fresh.popleft())
        self._thread = None

    def _next(self) -> Job | None:
        """Wait for the next job that is due: fresh ones first, then own ones again, then what earlier runs left."""
        while True:
            with changed:
                now = monotonic()
                if self._fresh:
                    return self._fresh.popleft()
                again = min(self._again, key=lambda each: each.due_s, default=None)
                if again is not None and again.due_s <= now:
                    self._again.remove(again)
                elif self._outbox_due_s > now:
                    if again is None and not self.users:
                        self._thread = None
                        _workers.pop(id(self._handler), None)
                        return None
                    due_s = min(self._outbox_due_s, again.due_s if again is not None else inf)
                    changed.wait(min(due_s - now, LOOK_AGAIN_S))
                    continue
                else:
                    again = None
            job = self._claim_again(again) if again is not None else self._claim_left()
            if job is not None:
                return job

    def _claim_again(self, job: Job) -> Job | None:
        """Claim an own delivery for another attempt; what others have settled meanwhile is off our hands."""
        try:
            state = job.outbox.state_of(job.delivery)
            if state is None:
                return job  # its journal was lost with the row: what we hold is all there is
            if state is not DeliveryState.PENDING:
                self._let_go(job)
                return None
            claimed = job.outbox.claim(job.delivery.handler, own=(job.delivery.key,))
        except JournalUnavailable as error:
            warn_once(error)
            return job  # better twice than never
        if claimed is not None and claimed.key == job.delivery.key:
            job.claimed_again(claimed)
            return job
        with changed:  # another process is sending it, or the clock of the outbox says that it is not due yet
            job.due_s = monotonic() + LOOK_AGAIN_SOON_S
            self._again.append(job)
        return Job(claimed, job.outbox) if claimed is not None else None

    def _claim_left(self) -> Job | None:
        """Claim what waits longest in the outbox, or return None and note when to look again."""
        outbox = self._outbox
        if outbox is None:
            return None
        try:
            delivery = outbox.claim(self.name)
            due_in_s = outbox.next_due_s(self.name) if delivery is None else 0.0
        except JournalUnavailable as error:
            warn_once(error)
            delivery, due_in_s = None, LOOK_AGAIN_S
        with changed:
            self._outbox_due_s = inf if due_in_s is None else monotonic() + due_in_s
            self.is_clearing = delivery is not None
            changed.notify_all()
        return Job(delivery, outbox) if delivery is not None else None

    def _send(self, job: Job) -> None:
        """Try one delivery and settle it."""
        if monotonic() - job.claimed_s > LEASE_S / 2 and not _renew(job):
            self._let_go(job)  # it waited its turn for so long that another process has taken it
            return
        try:
            with redacting_with(self._redactor_of(job)):
                from supervisor._messages.builder import with_delay_note

                self._handler.send_message(with_delay_note(job.delivery.message, datetime.now(UTC)))
        except DeliveryError as error:
            self._failed(job, error)
        except BaseException as error:  # noqa: BLE001 - the handler's boundary: whatever it raises, the next one goes on
            self._failed(job, DeliveryError(f"{type(error).__name__}: {safe_text(error)}"))
        else:
            self._settle(job, DeliveryState.SENT)

    def _failed(self, job: Job, error: DeliveryError) -> None:
        """Settle a delivery that failed for good, or put it back until it is due again."""
        message = job.delivery.message
        reason = self._redacted(job, safe_text(error))
        if error.permanent or datetime.now(UTC) - message.created_at > GIVE_UP_AFTER:
            _log.error("%s refused %r: %s", self.name, message.subject, reason)
            self._settle(job, DeliveryState.FAILED, reason)
            return
        due_in_s = retry_delay_s(job.delivery.attempts + 1, error.retry_after_s)
        _log.warning("%s did not take %r, again in %.0f s: %s", self.name, message.subject, due_in_s, reason)
        self._settle(job, DeliveryState.PENDING, reason, due_in_s)

    def _redactor_of(self, job: Job) -> Callable[[], Redactor]:
        """Return what redacts the attachments of a message: as its run says, or else as the one that looked for it."""
        return job.owner.redactor if job.owner is not None else self._redactor_of_left or self._own_redactor

    def _own_redactor(self) -> Redactor:
        from supervisor._redaction import redactor_for

        return redactor_for((self._handler,))

    def _redacted(self, job: Job, reason: str) -> str:
        """Return why a message was not sent without secrets: clients quote URLs, and servers what they were sent."""
        try:
            return self._redactor_of(job)().text(reason)
        except Exception:  # noqa: BLE001 - the handler's boundary: its attributes may do anything
            return "the reason cannot be told, since the handler's credentials in it cannot be found"

    def _settle(self, job: Job, state: DeliveryState, error: str = "", due_in_s: float = 0.0) -> None:
        """Note in the outbox how an attempt ended, and keep in hand what is to be tried again."""
        try:
            job.outbox.settle(job.delivery, state, error=error, due_in_s=due_in_s)
        except JournalUnavailable as fault:
            warn_once(fault)
        if state is not DeliveryState.PENDING:
            self._let_go(job)
            return
        with redacting_with(self._redactor_of(job)):
            keep_attachments(job)
        with changed:
            job.due_s = monotonic() + due_in_s
            if job.owner is not None:
                self._again.append(job)
            else:
                # What earlier runs left waits for the same destination: no use in trying it one by one now.
                self._outbox_due_s = job.due_s
                self.is_clearing = False
            changed.notify_all()

    def _let_go(self, job: Job) -> None:
        with changed:
            if job.owner is not None:
                job.owner.jobs.discard(job)
            changed.notify_all()

    def _close(self) -> None:
        close = getattr(self._handler, "close", None)
        if callable(close):
            try:
                close()
            except Exception:  # noqa: BLE001 - still the handler's boundary
                _log.info("%s did not close", self.name)


def _renew(job: Job) -> bool:
    """Tell whether a delivery is still ours to send, and keep it so for the time that this takes."""
    try:
        return job.outbox.renew(job.delivery) or job.outbox.state_of(job.delivery) is None
    except JournalUnavailable as error:
        warn_once(error)
        return True  # better twice than never


def keep_attachments(job: Job) -> None:
    """Keep copies of what goes with a message that waits: the originals may be gone when it is sent."""
    try:
        job.outbox.keep_attachments(job.delivery, _pack_copy)
    except JournalUnavailable as error:
        warn_once(error)


def _pack_copy(attachment: Attachment, directory: Path) -> Attachment | None:
    from supervisor._attachments import pack
    from supervisor._models.values import Attachment

    result = pack(attachment, directory)
    if result.part is None:
        return None
    part = result.part
    return Attachment(part.path, name=part.name, size_bytes=part.size_bytes, note=part.note)


def _begin_anew_in_child() -> None:
    """Leave the parent's workers to the parent: their threads do not exist in a forked child."""
    global changed  # noqa: PLW0603 - another thread of the parent may have held it
    changed = threading.Condition()
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)
