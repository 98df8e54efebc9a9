"""The threads that take messages to their handlers: one for each handler, one message at a time.

A thread starts with the first job and ends when nothing is left and no run needs it any more. So a handler that
fails, hangs or is slow delays no other handler, and needs no locks of its own.
"""

from __future__ import annotations

import threading
from collections import deque
from contextvars import Context
from datetime import UTC, datetime
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from supervisor import _log
from supervisor._attachments.names import redacting_with
from supervisor._delivery.handler_call import HandlerCall
from supervisor._delivery.job import GIVE_UP_AFTER, Job, retry_delay_s
from supervisor._delivery.pool import mark_worker_thread
from supervisor._exceptions import safe_text
from supervisor._forks import THREAD_PREFIX, guard_forks
from supervisor._models.kinds import DeliveryState
from supervisor._store.essentials import LEASE_S, JournalUnavailable, warn_once
from supervisor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._delivery.pool import WorkerPool
    from supervisor._models.values import MessageHandler
    from supervisor._redaction import Redactor
    from supervisor._store import Outbox

POLL_S = 60.0
POLL_SOON_S = 0.5


class Worker:
    """Takes messages to one handler, one at a time, in a thread of its own.

    Args:
        name: What the handler is called in the outbox.
        handler: The handler.
        pool: The pool that it belongs to.

    Attributes:
        users: How many dispatchers need it.
        is_clearing: True while what earlier runs left is being delivered.
    """

    def __init__(self, name: str, handler: MessageHandler, pool: WorkerPool) -> None:
        self.name = name
        self.users = 0
        self.is_clearing = False
        self._handler = handler
        self._call = HandlerCall(handler)
        self._pool = pool
        self._outbox: Outbox | None = None
        self._redactor_of_left: Callable[[], Redactor] | None = None
        self._new: deque[Job] = deque()
        self._retries: list[Job] = []
        self._outbox_due_s = inf
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Take a delivery that was just accepted."""
        with self._pool.changed:
            if job.owner is not None:
                job.owner.jobs.add(job)
            self._new.append(job)
            new_thread = self._wake()
        self._start(new_thread)

    def poll(self, outbox: Outbox, redactor: Callable[[], Redactor] | None = None) -> None:
        """Deliver what earlier runs left in an outbox too.

        Args:
            outbox: Where it is.
            redactor: Returns what redacts its attachments; None for what the handler's credentials need.
        """
        with self._pool.changed:
            self._outbox = outbox
            self._redactor_of_left = redactor
            self.is_clearing = True
            self._outbox_due_s = 0.0
            new_thread = self._wake()
        self._start(new_thread)

    # The thread

    def _wake(self) -> threading.Thread | None:
        """Wake the thread, or return a new one. The caller holds ``changed``, and starts the thread without it."""
        self._pool.changed.notify_all()
        if self._thread is not None:
            return None
        self._thread = threading.Thread(target=self._serve, name=f"{THREAD_PREFIX}{self.name}", daemon=True)
        return self._thread

    def _start(self, thread: threading.Thread | None) -> None:
        if thread is None:
            return
        guard_forks()
        try:
            # In an empty context: whatever a handler does is not done in the run.
            Context().run(thread.start)
        except RuntimeError:  # no threads any more: the interpreter is shutting down
            with self._pool.changed:
                self._thread = threading.current_thread()
                self._serve_here()

    def _serve(self) -> None:
        """Send what is due until nothing is left and nobody needs the worker any more."""
        mark_worker_thread()
        while (job := self._next()) is not None:
            self._send(job)
        self._close()

    def _serve_here(self) -> None:
        """Send what is new, once, in the thread that submitted it."""
        while self._new:
            self._send(self._new.popleft())
        self._thread = None

    def _close(self) -> None:
        try:
            self._call.close()
        except Exception:  # noqa: BLE001 - the handler's boundary: a connection that cannot be closed harms nobody
            _log.info("%s did not close", self.name)

    # What is sent next

    def _next(self) -> Job | None:
        """Wait for the next job that is due: new ones first, then retries, then what earlier runs left."""
        while True:
            with self._pool.changed:
                now = monotonic()
                if self._new:
                    return self._new.popleft()
                retry = min(self._retries, key=lambda each: each.due_s, default=None)
                if retry is not None and retry.due_s <= now:
                    self._retries.remove(retry)
                elif self._outbox_due_s > now:
                    if retry is None and not self.users:
                        self._thread = None
                        self._pool.discard(self._handler)
                        return None
                    due_s = min(self._outbox_due_s, retry.due_s if retry is not None else inf)
                    self._pool.changed.wait(min(due_s - now, POLL_S))
                    continue
                else:
                    retry = None
            job = self._claim_again(retry) if retry is not None else self._claim_left()
            if job is not None:
                return job

    def _claim_again(self, job: Job) -> Job | None:
        """Claim a delivery for another attempt, unless another process has settled it meanwhile."""
        try:
            state = job.outbox.state_of(job.delivery)
            if state is None:
                return job  # its journal was lost with the row: what we hold is all there is
            if state is not DeliveryState.PENDING:
                self._finish(job)
                return None
            claimed = job.outbox.claim(job.delivery.handler, own=(job.delivery.key,))
        except JournalUnavailable as error:
            warn_once(error)
            return job  # better twice than never
        if claimed is not None and claimed.key == job.delivery.key:
            job.claimed_again(claimed)
            return job
        with self._pool.changed:  # another process is sending it, or it is not due yet by the outbox's clock
            job.due_s = monotonic() + POLL_SOON_S
            self._retries.append(job)
        return Job(claimed, job.outbox) if claimed is not None else None

    def _claim_left(self) -> Job | None:
        """Claim what waits longest in the outbox; when nothing is due, return None and note when to poll again."""
        outbox = self._outbox
        if outbox is None:
            return None
        try:
            delivery = outbox.claim(self.name)
            due_in_s = outbox.next_due_s(self.name) if delivery is None else 0.0
        except JournalUnavailable as error:
            warn_once(error)
            delivery, due_in_s = None, POLL_S
        with self._pool.changed:
            self._outbox_due_s = inf if due_in_s is None else monotonic() + due_in_s
            self.is_clearing = delivery is not None
            self._pool.changed.notify_all()
        return Job(delivery, outbox) if delivery is not None else None

    # How it is sent, and settled

    def _send(self, job: Job) -> None:
        """Try one delivery and settle it."""
        if monotonic() - job.claimed_s > LEASE_S / 2 and not job.renew():
            self._finish(job)  # it waited its turn for so long that another process has taken it
            return
        job.find_attachments()
        try:
            with redacting_with(self._redactor_of(job)):
                from supervisor._messages.builder import with_delay_note

                self._call.send(with_delay_note(job.delivery.message, datetime.now(UTC)))
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

    def _settle(self, job: Job, state: DeliveryState, error: str = "", due_in_s: float = 0.0) -> None:
        """Note in the outbox how an attempt ended, and keep a job that is to be tried again."""
        try:
            job.outbox.settle(job.delivery, state, error=error, due_in_s=due_in_s)
        except JournalUnavailable as fault:
            warn_once(fault)
        if job.delivery.message.attachments:  # this handler may still wait for the message, or another one
            with redacting_with(self._redactor_of(job)):
                job.keep_attachments()
        if state is DeliveryState.PENDING:
            self._retry_later(job, due_in_s)
            return
        if state is DeliveryState.FAILED and job.owner is not None:
            job.owner.has_failed = True
        self._finish(job)

    def _retry_later(self, job: Job, due_in_s: float) -> None:
        with self._pool.changed:
            job.due_s = monotonic() + due_in_s
            if job.owner is not None:
                self._retries.append(job)
            else:
                # What earlier runs left waits for the same destination: no use in trying it one by one now.
                self._outbox_due_s = job.due_s
                self.is_clearing = False
            self._pool.changed.notify_all()

    def _finish(self, job: Job) -> None:
        with self._pool.changed:
            if job.owner is not None:
                job.owner.jobs.discard(job)
            self._pool.changed.notify_all()

    def _redactor_of(self, job: Job) -> Callable[[], Redactor]:
        """Return what redacts the attachments of a message: as its run says, or else as the run that polled says."""
        return job.owner.redactor if job.owner is not None else self._redactor_of_left or self._own_redactor

    def _own_redactor(self) -> Redactor:
        from supervisor._redaction import redactor_for

        return redactor_for((self._handler,))

    def _redacted(self, job: Job, reason: str) -> str:
        """Return why a message was not sent without secrets: clients quote URLs, and servers what they were sent."""
        try:
            return self._redactor_of(job)().text(reason)
        except Exception:  # noqa: BLE001 - the handler's boundary: its attributes may do anything
            return "the reason cannot be shown, since the handler's credentials in it cannot be recognized"
