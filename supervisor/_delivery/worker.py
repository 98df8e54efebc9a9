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
from supervisor._delivery.job import HeldJobs, Job, is_given_up, retry_delay_s
from supervisor._delivery.pool import mark_worker_thread
from supervisor._exceptions import safe_text
from supervisor._forks import THREAD_PREFIX, guard_forks
from supervisor._models.kinds import URGENT, DeliveryState
from supervisor._store.essentials import LEASE_S, JournalUnavailable, warn_once
from supervisor._text import duration
from supervisor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._delivery.job import Source
    from supervisor._delivery.pool import WorkerPool
    from supervisor._models.values import MessageHandler
    from supervisor._redaction import Redactor
    from supervisor._store import DestinationRest, Outbox

POLL_S = 60.0
POLL_TRIED_S = 0.5
POLL_HELD_S = 5.0
RESTS_ALONE_AFTER = 3
"""A message that failed so often while its destination accepted others no longer lets the destination rest."""
IN_ORDER = 10
"""So many new messages are sent in the order of acceptance, as they read best; of more, alarms go first."""
_LOOKED_AFTER = 500


class Worker:
    """Takes messages to one handler, one at a time, in a thread of its own.

    Args:
        name: What the handler is called in the outbox.
        handler: The handler.
        pool: The pool that it belongs to.

    Attributes:
        users: How many dispatchers need it.
        is_clearing: True while what earlier runs left is being delivered.
        rests_until_s: Until when the destination rests, as ``time.monotonic()`` has it; in the past when it does not.
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
        self.rests_until_s = 0.0
        self._new: deque[Job] = deque()
        self._new_urgent = 0
        self._held = HeldJobs()
        self._rest: DestinationRest | None = None
        self._failures = 0  # of the destination in a row, where the journal cannot tell
        self._is_queueing = False  # the destination rested, and what waits goes before what is new
        self._outbox_due_s = inf
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Take a delivery that was just accepted."""
        with self._pool.changed:
            if job.owner is not None:
                job.owner.jobs.add(job)
            self._new.append(job)
            self._new_urgent += _is_urgent(job)
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
        while (job := self._next_new()) is not None:
            self._send(job)
        self._thread = None

    def _close(self) -> None:
        try:
            self._call.close()
        except Exception:  # noqa: BLE001 - the handler's boundary: a connection that cannot be closed harms nobody
            _log.info("%s did not close", self.name)

    # What is sent next

    def _next(self) -> Job | None:
        """Wait for the next job that is due: new ones first, then what waits in the outbox.

        While the destination rests, and until what waited for it is sent, new ones wait behind that in the outbox.
        """
        while True:
            with self._pool.changed:
                now = monotonic()
                job = None if self._is_queueing else self._next_new()
                queued = self._all_new() if self._is_queueing else []
                if job is None and not queued and self._outbox_due_s > now:
                    if not self._held and not self.users:
                        self._thread = None
                        self._pool.discard(self._handler)
                        return None
                    self._pool.changed.wait(min(self._outbox_due_s - now, POLL_S))
                    continue
            if job is not None and self._rests(job):
                queued = [job]
            elif job is not None:
                return job
            if queued:
                self._queue(queued)
            elif (waiting := self._claim_waiting()) is not None:
                return waiting

    def _next_new(self) -> Job | None:
        """Return the next of what is new: where many wait an alarm, else in the order of acceptance."""
        if not self._new:
            return None
        if self._new_urgent and len(self._new) > IN_ORDER:
            job = next(filter(_is_urgent, self._new))
            self._new.remove(job)
        else:
            job = self._new.popleft()
        self._new_urgent -= _is_urgent(job)
        return job

    def _all_new(self) -> list[Job]:
        jobs = list(self._new)
        self._new.clear()
        self._new_urgent = 0
        return jobs

    def _rests(self, job: Job) -> bool:
        """Tell whether the destination rests, as this process or another found."""
        if self.rests_until_s > monotonic():
            return True
        self._rest = _rest_of(job.source)
        return self._rest is not None

    def _queue(self, jobs: list[Job]) -> None:
        """Let new messages wait in the outbox with the others, where alarms go first and any process may send them."""
        for job in jobs:
            self._held.add(job)
        for outbox in {job.outbox for job in jobs}:
            try:
                outbox.release([job.delivery for job in jobs if job.outbox is outbox])
            except JournalUnavailable as error:
                warn_once(error)
        with self._pool.changed:
            self._is_queueing = True
            self._outbox_due_s = min(self._outbox_due_s, self.rests_until_s)

    def _claim_waiting(self) -> Job | None:
        """Claim what is next in the outbox; when nothing is due, return None and note when to look again."""
        sources = dict.fromkeys(self._held.sources())
        if self._outbox is not None:
            sources[self._outbox, self.name] = None
        due_s, rests_until_s = inf, 0.0
        for source in sources:
            job, due_in_s, rests_s = self._claim_of(source)
            if job is not None:
                with self._pool.changed:
                    self.is_clearing = True
                return job
            due_s = min(due_s, monotonic() + due_in_s)
            rests_until_s = max(rests_until_s, monotonic() + rests_s if rests_s is not None else 0.0)
        with self._pool.changed:
            self._outbox_due_s, self.rests_until_s = due_s, rests_until_s
            self._is_queueing = self._rest is not None
            self.is_clearing = self._rest is not None and self._rest.is_tried
            self._pool.changed.notify_all()
        return None

    def _claim_of(self, source: Source) -> tuple[Job | None, float, float | None]:
        """Claim what is next of one source.

        Returns:
            The job; None when nothing is due. In how many seconds to look again, and for how many the destination
            rests, None when it does not.
        """
        outbox, handler = source
        try:
            self._rest = outbox.rest_of(handler)
            self._failures = self._rest.failures if self._rest is not None else 0
            claimed = outbox.claim(handler)
            if claimed is not None:
                return self._held.take(source, claimed), 0.0, None
            held = self._still_held(source)
            self._rest = outbox.rest_of(handler)  # again: another process may have begun to try it
            due_in_s = outbox.next_due_s(handler)
        except JournalUnavailable as error:
            warn_once(error)
            return self._without_journal(source)
        if held is not None:
            return held, 0.0, None
        if due_in_s is None:
            return None, inf, None
        if self._rest is not None and not self._rest.is_tried:
            return None, due_in_s, due_in_s
        # What others send, or try the destination with, tells soon how to go on.
        soon_s = POLL_TRIED_S if self._rest is not None else POLL_HELD_S if self._held.of(source) else inf
        return None, min(due_in_s, soon_s), None

    def _still_held(self, source: Source) -> Job | None:
        """Let go of what other processes settled; return what the outbox has lost, so that it is sent all the same."""
        outbox, _ = source
        for job in self._held.of(source)[:_LOOKED_AFTER]:
            state = outbox.state_of(job.delivery)
            if state is DeliveryState.PENDING:
                continue
            if state is not None:
                self._held.remove(job)
                self._finish(job)
            elif self.rests_until_s <= monotonic():
                self._held.remove(job)
                return job  # its journal was lost with the row: what we hold is all there is
        return None

    def _without_journal(self, source: Source) -> tuple[Job | None, float, float | None]:
        """Return the next of what is held, without a claim: better twice than never."""
        held = self._held.of(source)
        if not held:
            return None, POLL_S, None
        now = monotonic()
        due_s = max(self.rests_until_s, min(job.due_s for job in held))
        if due_s > now:
            return None, due_s - now, max(0.0, self.rests_until_s - now)
        job = min(held, key=lambda job: (job.due_s > now, not _is_urgent(job)))
        self._held.remove(job)
        return job, 0.0, None

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
        """Settle a delivery that failed for good, or let it, or the whole destination, rest for a while."""
        message = job.delivery.message
        reason = self._redacted(job, safe_text(error))
        rest = self._rest = _rest_of(job.source)
        if error.permanent or is_given_up(job.delivery, rest, datetime.now(UTC)):
            _log.error("%s refused %r: %s", self.name, message.subject, reason)
            self._settle(job, DeliveryState.FAILED, reason)
        elif error.scope == "message" or job.delivery.passed_over >= RESTS_ALONE_AFTER - 1:
            due_in_s = retry_delay_s(job.delivery.attempts + 1, error.retry_after_s)
            _log.warning("%s did not take %r, again in %.0f s: %s", self.name, message.subject, due_in_s, reason)
            self._settle(job, DeliveryState.PENDING, reason, due_in_s)
        else:
            self._failures = 1 + max(self._failures, rest.failures if rest is not None else 0)
            due_in_s = retry_delay_s(self._failures, error.retry_after_s)
            if self._failures == 1:
                _log.warning(
                    "%s did not take %r, all for it waits, again in %.0f s: %s",
                    self.name,
                    message.subject,
                    due_in_s,
                    reason,
                )
            self._settle(job, DeliveryState.PENDING, reason, due_in_s, rests=True)

    def _settle(
        self, job: Job, state: DeliveryState, error: str = "", due_in_s: float = 0.0, *, rests: bool = False
    ) -> None:
        """Note in the outbox how an attempt ended, and keep a job that is to be tried again."""
        try:
            job.outbox.settle(job.delivery, state, error=error, due_in_s=due_in_s, rests=rests)
        except JournalUnavailable as fault:
            warn_once(fault)
        if job.delivery.message.attachments:  # this handler may still wait for the message, or another one
            with redacting_with(self._redactor_of(job)):
                job.keep_attachments()
        if state is DeliveryState.PENDING:
            self._retry_later(job, due_in_s, rests=rests)
        else:
            if state is DeliveryState.FAILED and job.owner is not None:
                job.owner.has_failed = True
            self._finish(job)
        if not rests:
            self._go_on()

    def _go_on(self) -> None:
        """Say once that a destination that rested goes on."""
        if self._rest is not None:
            rested = duration(round((datetime.now(UTC) - self._rest.since).total_seconds()))
            _log.info("%s takes messages again, after %s", self.name, rested)
        elif self._failures:
            _log.info("%s takes messages again", self.name)
        self._rest, self._failures, self.rests_until_s = None, 0, 0.0

    def _retry_later(self, job: Job, due_in_s: float, *, rests: bool) -> None:
        if job.owner is not None:
            self._held.add(job)
        with self._pool.changed:
            due_s = monotonic() + due_in_s
            job.due_s = 0.0 if rests else due_s
            if rests:
                self.rests_until_s = self._outbox_due_s = due_s
                self._is_queueing, self.is_clearing = True, False
            else:
                self._outbox_due_s = min(self._outbox_due_s, due_s)
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


def _is_urgent(job: Job) -> bool:
    return job.delivery.message.kind in URGENT


def _rest_of(source: Source) -> DestinationRest | None:
    outbox, handler = source
    try:
        return outbox.rest_of(handler)
    except JournalUnavailable as error:
        warn_once(error)
        return None
