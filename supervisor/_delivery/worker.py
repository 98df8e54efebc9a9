"""The threads that take messages to their handlers: one for each handler, one message at a time.

A thread starts with the first job and ends when nothing is left and no run needs it any more. So a handler that
fails, hangs or is slow delays no other handler, and needs no locks of its own.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from contextvars import Context
from datetime import UTC, datetime
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from supervisor import _log
from supervisor._attachments.names import redacting_with
from supervisor._delivery.handler_call import Sender
from supervisor._delivery.pool import (
    DOUBTS_LIMIT,
    OTHER_AFTER_S,
    HeldJobs,
    Job,
    is_given_up,
    mark_worker_thread,
    release,
    retry_delay_s,
    takes_other_next,
)
from supervisor._exceptions import safe_text
from supervisor._forks import THREAD_PREFIX, guard_forks
from supervisor._models import URGENT, DeliveryState, Kind
from supervisor._setting_values import fallback_after_s, fallback_of
from supervisor._store.essentials import LEASE_S, JournalUnavailable, warn_once
from supervisor._text import duration, local_time
from supervisor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._delivery.pool import Owner, Source, WorkerPool
    from supervisor._models.values import Delivery, MessageHandler
    from supervisor._redaction import Redactor
    from supervisor._store import DestinationRest, Outbox

POLL_S = 60.0
POLL_TRIED_S = 0.5
POLL_HELD_S = 5.0
POLL_TURN_S = 0.1
"""How soon to look again where another process sends what comes before."""
RESTS_ALONE_AFTER = 3
"""A message that failed so often while its destination accepted others no longer lets the destination rest."""
IN_ORDER = 10
IN_ORDER_S = 5.0
"""So many new messages, none older than this, are sent in the order of acceptance, as they read best, while the
destination takes what it gets. Otherwise alarms go first."""
_LOOKED_AFTER = 500
_NOT_REACHED = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}


class _Found(NamedTuple):
    """What is next of one source.

    Args:
        job: What was claimed; None when nothing is due.
        due_in_s: In how many seconds to look again.
        rests_s: For how many seconds the destination rests; None when it does not.
        is_in_turn: Whether something is due that another process is about to send, or has to send first.
    """

    job: Job | None
    due_in_s: float = 0.0
    rests_s: float | None = None
    is_in_turn: bool = False


class Worker:
    """Takes messages to one handler, one at a time, in a thread of its own.

    Args:
        name: What the handler is called in the outbox.
        handler: The handler.
        pool: The pool that it belongs to.
        owner: Who knows the reserve of the handler, and waits for what goes there, for what earlier runs left.

    Attributes:
        users: How many dispatchers need it.
        is_reserve: Whether it sends what others could not, so that the runs may not know its credentials.
        is_clearing: True while what earlier runs left is being delivered.
        taken: How many messages the destination has taken.
        thread: Its thread; None while it has none.
        rests_until_s: Until when the destination rests, as ``time.monotonic()`` has it; in the past when it does not.
    """

    def __init__(self, name: str, handler: MessageHandler, pool: WorkerPool, owner: Owner) -> None:
        self.name = name
        self.is_reserve = False
        self.owner = owner
        self.users = self.taken = 0
        self.is_clearing = False
        self._handler = handler
        self._sender = Sender(handler)
        self._pool = pool
        self._outbox: Outbox | None = None
        self._redactor_of_left: Callable[[], Redactor] | None = None
        self.rests_until_s = 0.0
        self._new: deque[Job] = deque()
        self._new_urgent = 0
        self._held = HeldJobs()
        self._rest: DestinationRest | None = None
        self._failures = 0  # of the destination in a row, where the journal cannot tell
        self._has_taken_last = True  # whether the last attempt succeeded
        self._is_queueing = False  # the destination rested, and what waits goes before what is new
        self._outbox_due_s = inf
        self.thread: threading.Thread | None = None

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
        if self.thread is not None:
            return None
        self.thread = threading.Thread(target=self._serve, name=f"{THREAD_PREFIX}{self.name}", daemon=True)
        return self.thread

    def _start(self, thread: threading.Thread | None) -> None:
        if thread is None:
            return
        guard_forks()
        try:
            # In an empty context: whatever a handler does is not done in the run.
            Context().run(thread.start)
        except RuntimeError:  # no threads any more: the interpreter is shutting down
            with self._pool.changed:
                self.thread = threading.current_thread()
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
        self.thread = None

    def _close(self) -> None:
        try:
            self._sender.close()
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
                is_stopped = self._pool.is_stopped
                job = None if self._is_queueing or is_stopped else self._next_new()
                queued = self._all_new() if self._is_queueing or is_stopped else []
                if job is None and not queued and (is_stopped or self._outbox_due_s > now):
                    if is_stopped or not (self._held or self.users):
                        self.thread = None
                        self._pool.discard(self._handler)
                        return None
                    self._pool.changed.wait(min(self._outbox_due_s - now, POLL_S))
                    continue
            if job is not None and (self._rests(job) or job.must_wait()):
                queued = [job]
            elif job is not None:
                return job
            if queued:
                self._queue(queued)
            elif (waiting := self._claim_waiting()) is not None:
                return waiting

    def _next_new(self) -> Job | None:
        """Return the next of what is new: an alarm, or at a destination that takes what it gets the oldest."""
        if not self._new:
            return None
        if self._new_urgent and not self._keeps_order():
            job = next(filter(_is_urgent, self._new))
            self._new.remove(job)
        else:
            job = self._new.popleft()
        self._new_urgent -= _is_urgent(job)
        return job

    def _keeps_order(self) -> bool:
        """Tell whether new messages go in the order of acceptance: few, not old, and nothing keeps them waiting."""
        if self._pool.alarms_first or len(self._new) > IN_ORDER:
            return False
        is_healthy = self._has_taken_last and not self._held and self._outbox_due_s == inf
        return is_healthy and monotonic() - self._new[0].claimed_s < IN_ORDER_S

    def _all_new(self) -> list[Job]:
        jobs = list(self._new)
        self._new.clear()
        self._new_urgent = 0
        return jobs

    def _rests(self, job: Job) -> bool:
        """Tell whether the destination rests, as this process or another found."""
        if self.rests_until_s > monotonic():
            return True
        self._rest = job.rest()
        return self._rest is not None

    def _queue(self, jobs: list[Job]) -> None:
        """Let new messages wait in the outbox with the others, where alarms go first and any process may send them."""
        jobs = [job for job in jobs if not self._went_with_alarm(job)]
        for job in jobs:
            self._held.add(job)
        release(jobs)
        with self._pool.changed:
            self._is_queueing = True
            self._outbox_due_s = min(self._outbox_due_s, self.rests_until_s)

    def _claim_waiting(self) -> Job | None:
        """Claim what is next in the outbox; when nothing is due, return None and note when to look again."""
        sources = dict.fromkeys(self._held.sources())
        if self._outbox is not None:
            sources[self._outbox, self.name] = None
        due_s, rests_until_s, is_in_turn = inf, 0.0, False
        for source in sources:
            found = self._claim_of(source)
            if found.job is not None:
                with self._pool.changed:
                    self.is_clearing = True
                return found.job
            now = monotonic()
            due_s = min(due_s, now + found.due_in_s)
            rests_until_s = max(rests_until_s, now + found.rests_s if found.rests_s is not None else 0.0)
            is_in_turn = is_in_turn or found.is_in_turn
        with self._pool.changed:
            self._outbox_due_s, self.rests_until_s = due_s, rests_until_s
            # What others have of ours goes before what is new.
            self._is_queueing = self._rest is not None or (is_in_turn and bool(self._held))
            self.is_clearing = is_in_turn or (self._rest is not None and self._rest.is_tried)
            self._pool.changed.notify_all()
        return None

    def _claim_of(self, source: Source) -> _Found:
        """Claim what is next of one source."""
        outbox, handler = source
        try:
            self._rest = outbox.rest_of(handler)
            self._failures = self._rest.failures if self._rest is not None else 0
            claimed = outbox.claim(handler)
            if claimed is not None:
                return _Found(self._held.take(source, claimed))
            held = self._still_held(source)
            self._rest = outbox.rest_of(handler)  # again: another process may have begun to try it
            due_in_s = outbox.next_due_s(handler)
        except JournalUnavailable as error:
            warn_once(error)
            return self._without_journal(source)
        if held is not None or due_in_s is None:
            return _Found(held, inf)
        if due_in_s <= 0:
            return _Found(None, POLL_TURN_S, is_in_turn=True)
        if self._rest is not None and not self._rest.is_tried:
            return _Found(None, due_in_s, due_in_s)
        # What others send, or try the destination with, tells soon how to go on.
        others = self._held.of(source)
        is_in_turn = self._rest is None and any(job.due_s <= monotonic() for job in others)
        soon_s = POLL_TRIED_S if is_in_turn or self._rest is not None else POLL_HELD_S if others else inf
        return _Found(None, min(due_in_s, soon_s), is_in_turn=is_in_turn)

    def _still_held(self, source: Source) -> Job | None:
        """Let go of what other processes settled; return what the outbox has lost, so that it is sent all the same."""
        for job in self._held.of(source)[:_LOOKED_AFTER]:
            state = job.state()
            if state is DeliveryState.PENDING:
                continue
            if state is not None:
                self._held.remove(job)
                self._finish(job)
            elif self.rests_until_s <= monotonic():
                self._held.remove(job)
                return job  # its journal was lost with the row: what we hold is all there is
        return None

    def _without_journal(self, source: Source) -> _Found:
        """Return the next of what is held, without a claim: better twice than never."""
        held = self._held.of(source)
        if not held:
            return _Found(None, POLL_S)
        now = monotonic()
        due_s = max(self.rests_until_s, min(job.due_s for job in held))
        if due_s > now:
            return _Found(None, due_s - now, max(0.0, self.rests_until_s - now))
        job = min(held, key=lambda job: (job.due_s > now, not _is_urgent(job)))
        self._held.remove(job)
        return _Found(job)

    # How it is sent, and settled

    def _send(self, job: Job) -> None:
        """Try one delivery and settle it."""
        if self._went_with_alarm(job):
            return
        if job.delivery.is_in_doubt:
            # Even a message that ends each process that sends it blocks no others for ever: its doubts are counted.
            self._failed(job, _error_in_doubt(job.delivery), is_suspected=False)
            return
        if monotonic() - job.claimed_s > LEASE_S / 2 and not job.renew():
            self._finish(job)  # it waited its turn for so long that another process has taken it
            return
        job.find_attachments()
        try:
            self._sender.send(job, self._redactor_of(job))
        except DeliveryError as error:
            is_suspected = self._sender.was_handed_over and error.retry_after_s is None
            self._failed(job, error, is_suspected=is_suspected)
        except BaseException as error:  # noqa: BLE001 - the handler's boundary: whatever it raises, the next one goes on
            text = safe_text(error)
            error_text = f"{type(error).__name__}: {text}"
            is_suspected = not (isinstance(error, OSError) and _has_not_reached(error))
            self._failed(job, DeliveryError(error_text, permanent=_cannot_load(error, text)), is_suspected=is_suspected)
        else:
            self._settle(job, DeliveryState.SENT)
            self._sender.mark_given_up_reported(job.outbox)

    def _failed(self, job: Job, error: DeliveryError, *, is_suspected: bool) -> None:
        """Settle a delivery that failed for good, or let it, or the whole destination, rest for a while.

        Args:
            job: The delivery.
            error: What was raised.
            is_suspected: Whether the message may be the cause, and not the destination: that may have had it.
        """
        message = job.delivery.message
        reason = self._redacted(job, safe_text(error))
        rest = self._rest = job.rest()
        is_final_doubt = error.permanent and job.delivery.is_in_doubt
        given_up = is_final_doubt or is_given_up(job.delivery, rest, datetime.now(UTC))
        is_final = error.permanent or given_up
        if is_final and self._is_passed_on(job, f"{self.name} refused this: {reason}", reason):
            self._has_taken_last = False
            self._go_on()
            return
        if is_final:
            _log.error("%s refused %r: %s", self.name, message.subject, reason)
            self._settle(job, DeliveryState.FAILED, reason, given_up=given_up)
        elif error.scope == "message" or (is_suspected and job.delivery.passed_over >= RESTS_ALONE_AFTER - 1):
            due_in_s = retry_delay_s(job.delivery.attempts + 1, error.retry_after_s)
            _log.warning("%s did not take %r, again in %.0f s: %s", self.name, message.subject, due_in_s, reason)
            self._settle(job, DeliveryState.PENDING, reason, due_in_s)
        else:
            self._failures = 1 + max(self._failures, rest.failures if rest is not None else 0)
            other_next = is_suspected and takes_other_next(rest)
            due_in_s = OTHER_AFTER_S if other_next else retry_delay_s(self._failures, error.retry_after_s)
            if self._failures == 1:
                _log.warning(
                    "%s did not take %r, all for it waits, again in %.0f s: %s",
                    self.name,
                    message.subject,
                    due_in_s,
                    reason,
                )
            suspicion = {"is_suspected": is_suspected, "other_next": other_next}
            self._settle(job, DeliveryState.PENDING, reason, due_in_s, rests=True, **suspicion)

    def _is_passed_on(self, job: Job, why: str, reason: str, *, is_refused: bool = True) -> bool:
        """Pass a delivery on to the handler's reserve, and settle its job; False where that cannot be."""
        owner = job.owner or self.owner
        reserve = owner.reserve_of(self._handler)
        if reserve is None:
            return False
        from supervisor._messages import with_reserve_note

        note = f"{why}; this came by {reserve} instead."
        passed = job.pass_on(reserve, lambda message: with_reserve_note(message, note), reason, is_refused=is_refused)
        if passed is None:
            return False
        _log.warning("%s, passed on to %s: %r", why, reserve, job.delivery.message.subject)
        owner.submit_passed_on(passed, job.outbox)
        self._finish(job)
        return True

    def _pass_on_overdue(self, job: Job, reason: str) -> bool:
        """Pass on what could not be sent for too long, to the handler's reserve; tell whether this job is among it.

        It is done before the failed attempt is reported to those who wait, so that they go on to wait for the reserve.
        """
        if fallback_of(self._handler) is None or (job.owner or self.owner).reserve_of(self._handler) is None:
            return False
        rest = job.rest()
        since = rest.since if rest is not None else datetime.now(UTC)
        why = f"{self.name} could not be reached since {local_time(since)}: {reason}"
        known = {each.delivery.key: each for each in (*self._held.of(job.source), job)}
        is_among = False
        for delivery in self._claim_overdue(job):
            its_job = known.get(delivery.key) or Job(delivery, job.outbox)
            its_job.claimed_again(job.outbox, delivery)
            if not self._is_passed_on(its_job, why, reason, is_refused=False):
                release([its_job])
            elif its_job is job:
                is_among = True
            else:
                self._held.remove(its_job)
        if is_among:
            self._finish_settled(job.source)
        return is_among

    def _finish_settled(self, source: Source) -> None:
        """Let go of recoveries that went with their alarms."""
        for each in self._held.of(source)[:_LOOKED_AFTER]:
            if self._went_with_alarm(each):
                self._held.remove(each)

    def _went_with_alarm(self, job: Job) -> bool:
        """Finish a recovery that was settled with its alarm, which another handler got or nobody; tell whether so."""
        if job.delivery.message.kind is not Kind.RECOVERY:
            return False
        try:
            is_settled = job.state() is DeliveryState.SENT
        except JournalUnavailable as error:
            warn_once(error)
            return False
        if is_settled:
            self._finish(job)
        return is_settled

    def _claim_overdue(self, job: Job) -> tuple[Delivery, ...]:
        try:
            return job.outbox.claim_overdue(job.delivery.handler, fallback_after_s(self._handler))
        except JournalUnavailable as error:
            warn_once(error)
            return ()

    def _settle(
        self,
        job: Job,
        state: DeliveryState,
        error: str = "",
        due_in_s: float = 0.0,
        *,
        rests: bool = False,
        **more: bool,
    ) -> None:
        """Note in the outbox how an attempt ended, and keep a job that is to be tried again."""
        self._has_taken_last = state is DeliveryState.SENT
        self.taken += self._has_taken_last
        try:
            job.settle(state, error, due_in_s, rests=rests, **more)
        except JournalUnavailable as fault:
            warn_once(fault)
        if job.delivery.message.attachments:  # this handler may still wait for the message, or another one
            with redacting_with(self._redactor_of(job)):
                job.keep_attachments()
        if state is DeliveryState.PENDING:
            is_passed_on = self._pass_on_overdue(job, error)
            self._retry_later(job, due_in_s, rests=rests, is_held=job.owner is not None and not is_passed_on)
        else:
            if state is DeliveryState.FAILED and job.owner is not None:
                job.owner.has_failed = True
            self._finish(job)
        if not (rests or job.delivery.is_in_doubt):
            self._go_on()

    def _go_on(self) -> None:
        """Say once that a destination that rested goes on."""
        if self._rest is not None:
            rested = duration(round((datetime.now(UTC) - self._rest.since).total_seconds()))
            _log.info("%s takes messages again, after %s", self.name, rested)
        elif self._failures:
            _log.info("%s takes messages again", self.name)
        self._rest, self._failures, self.rests_until_s = None, 0, 0.0

    def _retry_later(self, job: Job, due_in_s: float, *, rests: bool, is_held: bool) -> None:
        if is_held:
            self._held.add(job)
        with self._pool.changed:
            due_s = monotonic() + due_in_s
            job.due_s = 0.0 if rests else due_s
            if rests:
                self.rests_until_s = self._outbox_due_s = due_s
                # What another process left in the middle has not failed here: its repeat is waited for.
                self._is_queueing, self.is_clearing = True, job.delivery.is_in_doubt
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
            text = self._redactor_of(job)().text(reason)
            return self._own_redactor().text(text) if self.is_reserve else text
        except Exception:  # noqa: BLE001 - the handler's boundary: its attributes may do anything
            return "the reason cannot be shown, since the handler's credentials in it cannot be recognized"


def _error_in_doubt(delivery: Delivery) -> DeliveryError:
    """Return the error of an attempt whose process ended before the answer came; it is repeated, but not for ever."""
    if delivery.doubts < DOUBTS_LIMIT:
        return DeliveryError("the process ended before the answer came; the message may have arrived")
    reason = f"{delivery.doubts} processes ended before the answer to it came; the message may have arrived"
    return DeliveryError(reason, permanent=True)


def _is_urgent(job: Job) -> bool:
    return job.delivery.message.kind in URGENT


def _has_not_reached(error: OSError) -> bool:
    """Tell whether the destination was not reached at all, so that no message can be the cause."""
    is_refused = isinstance(error, ConnectionRefusedError)
    return is_refused or error.errno in _NOT_REACHED or type(error).__name__ == "gaierror"


def _cannot_load(error: BaseException, text: str) -> bool:
    """Tell whether Windows cannot load a library that a handler needs: no repetition mends that, a person must."""
    return isinstance(error, ImportError) and text.startswith("DLL load failed")
