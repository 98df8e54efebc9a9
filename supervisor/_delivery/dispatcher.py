"""Give the messages of a run to its handlers: store them, submit them to the workers, and wait for them.

A message is in the outbox before it is first tried. From there each handler's worker takes it, in a thread of its
own, and settles it: sent, failed for good, or to be tried again. A run waits for its messages at its end, at most for
``delivery_deadline_s``; what is left stays in the outbox, for the workers of a later run.

A script that sends too many notices is held back here (:class:`RateLimiter`).
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from supervisor import _log
from supervisor._delivery.job import Job
from supervisor._delivery.pool import EXIT_DEADLINE_S, in_worker_thread
from supervisor._models.kinds import Kind
from supervisor._settings import kinds_of
from supervisor._store.essentials import JournalUnavailable, warn_once
from supervisor._store.memory import MemoryOutbox

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from supervisor._delivery.pool import WorkerPool
    from supervisor._delivery.worker import Worker
    from supervisor._models.values import Delivery, MessageDetails, MessageHandler
    from supervisor._redaction import Redactor
    from supervisor._store import Outbox


def handler_name(handler: MessageHandler) -> str:
    """Return the name that finds a handler again: its own, or that of its class."""
    with suppress(Exception):  # the handler's boundary: one that cannot tell its name still gets its messages
        name = getattr(handler, "name", None)
        if isinstance(name, str) and name:
            return name
    return f"{type(handler).__module__}.{type(handler).__qualname__}"


class Dispatcher:
    """Gives the messages of one run to its handlers, and waits for them.

    Args:
        handlers: Who gets the messages.
        report_on: The kinds that a handler gets that does not say which it wants; notices, and progress where there
            is any, it gets in any case.
        outbox: Where messages are kept until they are settled.
        workers: The threads that send.
        redactor: Returns what redacts the texts that are attached; None for what the handlers' credentials need.
    """

    def __init__(
        self,
        handlers: Sequence[MessageHandler],
        report_on: Collection[Kind],
        outbox: Outbox,
        workers: WorkerPool,
        redactor: Callable[[], Redactor] | None = None,
    ) -> None:
        self._handlers = dict(zip(_distinct_names(handlers), handlers, strict=True))
        self._report_on = frozenset(report_on) | {Kind.NOTICE, Kind.PROGRESS}
        self._outbox = outbox
        self._pool = workers
        self.redactor = redactor or self._redactor_of_handlers
        self._workers: dict[str, Worker] = {}
        self._is_stopped = False
        self.has_failed = False  # whether a destination refused a message for good
        self.jobs: set[Job] = set()

    def _redactor_of_handlers(self) -> Redactor:
        from supervisor._redaction import redactor_for

        return redactor_for(self._handlers.values())

    def accept(self, details: MessageDetails) -> None:
        """Store a message for every handler that wants its kind, and let the workers take it from there."""
        self.submit(self.store(details))

    def names(self, kind: Kind, *, without: Sequence[MessageHandler] = ()) -> tuple[str, ...]:
        """Return the names of the handlers that want messages of a kind.

        Args:
            kind: What the messages are about.
            without: Handlers that are left out.
        """
        return tuple(
            name
            for name, handler in self._handlers.items()
            if self._wants(handler, kind) and not any(handler is each for each in without)
        )

    def unknown_handlers(self, names: Iterable[str]) -> list[str]:
        """Return those of some names that no handler here has."""
        return [name for name in names if name not in self._handlers]

    def store(
        self, details: MessageDetails, *, without: Sequence[MessageHandler] = (), only: Collection[str] | None = None
    ) -> tuple[Job, ...]:
        """Store a message for every handler that wants its kind; nothing is sent before it is submitted.

        A handler that sends messages while it sends one would never come to an end: those are refused.

        Args:
            details: The message.
            without: Handlers that are left out.
            only: The names of those that may get it; None for all.
        """
        names = [each for each in self.names(details.kind, without=without) if only is None or each in only]
        if not names or _is_refused(details):
            return ()
        outbox, accepted = self._put(details, names)
        return tuple(Job(delivery, outbox, self) for delivery in accepted)

    def submit(self, jobs: Iterable[Job]) -> None:
        """Take the attachments of what was stored, after the commit that it was stored in, and let the workers send."""
        jobs = tuple(jobs)
        for job in {job.delivery.message.id: job for job in jobs if job.delivery.message.attachments}.values():
            job.take_attachments()
        for job in jobs:
            self._worker(job.delivery.handler).submit(job)
        if self._pool.is_process_ending:
            self.wait(EXIT_DEADLINE_S)  # nobody else will

    def _wants(self, handler: MessageHandler, kind: Kind) -> bool:
        kinds = kinds_of(handler)
        return kind in (self._report_on if kinds is None else kinds)

    def _put(self, details: MessageDetails, names: list[str]) -> tuple[Outbox, tuple[Delivery, ...]]:
        outbox = self._outbox
        try:
            return outbox, outbox.put(details, names, claimed=True)
        except JournalUnavailable as error:
            outbox = self._do_without(error)
            return outbox, outbox.put(details, names, claimed=True)

    def _do_without(self, error: JournalUnavailable) -> Outbox:
        """Return what stores messages where the journal cannot: memory does, which is better than nothing."""
        warn_once(error)
        self.stay_in_memory()
        return self._outbox

    def stay_in_memory(self) -> None:
        """Store what comes from now on in memory: the journal is out of use, and asking it again may take long."""
        if not isinstance(self._outbox, MemoryOutbox):
            self._outbox = MemoryOutbox()

    def fetch_waiting(self) -> None:
        """Let the workers deliver what earlier runs left in the outbox, after the messages of this one."""
        try:
            names = self._outbox.waiting(tuple(self._handlers)) if self._handlers else ()
        except JournalUnavailable as error:
            warn_once(error)
            return
        for name in names:
            self._worker(name).poll(self._outbox, self.redactor)

    def wait(self, deadline_s: float) -> None:
        """Wait until everything is settled, or can no longer be within the deadline; log what is left.

        What earlier runs left is waited for too, until the first of it fails again.

        Args:
            deadline_s: The most seconds to wait.
        """
        if not self.jobs and not self._workers:
            return
        try:
            self._wait_until(monotonic() + deadline_s)
        finally:
            self._leave()

    def flush(self, timeout_s: float) -> bool:
        """Wait as :meth:`wait` does, and keep the workers.

        Args:
            timeout_s: The most seconds to wait.

        Returns:
            Whether every message since the last flush was delivered.
        """
        self._wait_until(monotonic() + timeout_s)
        has_failed, self.has_failed = self.has_failed, False
        return not self.jobs and not has_failed

    def _wait_until(self, until: float) -> None:
        with self._pool.changed:
            while not self._is_stopped and self._can_be_settled_before(until):
                left_s = until - monotonic()
                if left_s <= 0:
                    break
                # In slices: a signal handler may say stop, and cannot take the lock to wake us.
                self._pool.changed.wait(min(left_s, 0.25))

    def _can_be_settled_before(self, until: float) -> bool:
        """Tell whether waiting helps: for what is due in time, and for what earlier runs left."""
        busy = {name for name, worker in self._workers.items() if worker.rests_until_s < until}
        return any(each.due_s < until and each.delivery.handler in busy for each in self.jobs) or any(
            each.is_clearing for each in self._workers.values()
        )

    def is_settled(self) -> bool:
        """Tell whether nothing of this run is on its way."""
        return not self.jobs and not any(each.is_clearing for each in self._workers.values())

    def stop_waiting(self) -> None:
        """End a wait that is under way. A signal handler calls it, so it takes no lock."""
        self._is_stopped = True

    def forget(self) -> None:
        """Drop all jobs, in a forked child: they are the parent's to deliver."""
        self._workers = {}
        self.jobs = set()

    def _worker(self, name: str) -> Worker:
        found = self._workers.get(name)
        return found if found is not None else self._new_worker(name)

    def _new_worker(self, name: str) -> Worker:
        # Loaded here and not in the worker's thread: in a child that is forked during an import, its lock stays held.
        from supervisor._delivery.worker import Worker
        from supervisor._messages import builder  # noqa: F401 - for the worker's thread

        with self._pool.changed:
            self._pool.unfinished.add(self)
            if name not in self._workers:
                handler = self._handlers[name]
                worker = self._workers[name] = self._pool.acquire(handler, lambda: Worker(name, handler, self._pool))
                worker.users += 1
            return self._workers[name]

    def _leave(self) -> None:
        """Release the workers, and log what is not delivered yet."""
        with self._pool.changed:
            left = sorted(self.jobs, key=lambda each: each.delivery.key)
            for each in self._workers.values():
                each.users -= 1
            self._workers = {}
            self._pool.unfinished.discard(self)
            self._pool.changed.notify_all()
        _log_left(left)


def _log_left(left: Sequence[Job]) -> None:
    """Log what is not delivered yet, in one line for each handler."""
    for name in dict.fromkeys(job.delivery.handler for job in left):
        subjects = [job.delivery.message.subject for job in left if job.delivery.handler == name]
        more = f" and {len(subjects) - 1:,} more" if len(subjects) > 1 else ""
        _log.warning("not delivered yet: %r%s to %s", subjects[0], more, name)


def _is_refused(details: MessageDetails) -> bool:
    """Tell whether a message comes from a handler that is sending one: that would never come to an end."""
    if not in_worker_thread():
        return False
    _log.warning("a handler called notify while it was sending; its message %r is left out", details.subject)
    return True


def _distinct_names(handlers: Sequence[MessageHandler]) -> list[str]:
    """Return the handlers' names, the second of a name with "#2" behind it, and so on."""
    seen: dict[str, int] = {}
    names = []
    for handler in handlers:
        name = handler_name(handler)
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


BURST = 500
PER_S = 1.0
_REMEMBERED = 5
_SUBJECT_LIMIT = 100_000  # more than is ever shown: a secret that is cut in two is not recognised and redacted


class RateLimiter:
    """Allows a burst of messages, then one a second, and counts the others.

    Args:
        burst: How many are allowed at once.
        per_s: How many a second are allowed after that.
        clock: Returns seconds from a clock that never goes back.
    """

    def __init__(self, burst: int = BURST, per_s: float = PER_S, clock: Callable[[], float] = monotonic) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._left: float = burst
        self._looked_s = clock()
        self.held_back = 0
        self.last_subjects: deque[str] = deque(maxlen=_REMEMBERED)

    def allows(self, subject: object) -> bool:
        """Tell whether a message may be sent; otherwise count it and remember its subject for a while."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._looked_s) * self._per_s)
        self._looked_s = now
        if self._left >= 1:
            self._left -= 1
            return True
        self.held_back += 1
        self.last_subjects.append(str(getattr(subject, "subject", subject))[:_SUBJECT_LIMIT])
        return False
