"""Deliver accepted messages to their handlers; what cannot be delivered stays in the outbox, with the reason.

A message is in the outbox before it is first tried. From there each handler's worker takes it, in a thread of its
own, and settles it: sent, failed for good, or to be tried again (:mod:`.worker`). What a run needs of this is here: its
dispatcher stores its messages and submits them to the workers. A run waits for them at its end, at most for
``delivery_deadline_s``; what is left stays in the outbox, for the workers of a later run.

A script that sends too many notices is held back here (:class:`RateLimiter`).
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from contextvars import Context
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from supervisor import _log
from supervisor._delivery.pool import EXIT_DEADLINE_S, Job, in_worker_thread, release
from supervisor._forks import THREAD_PREFIX, guard_forks
from supervisor._models import Kind
from supervisor._setting_values import fallback_of, gets_error, is_same_destination, kinds_of
from supervisor._store.essentials import JournalUnavailable, warn_once
from supervisor._store.memory import MemoryOutbox
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from supervisor._delivery.catch_up import CatchUp
    from supervisor._delivery.pool import WorkerPool
    from supervisor._delivery.worker import Worker
    from supervisor._models.values import Delivery, ErrorDetails, MessageDetails, MessageHandler
    from supervisor._redaction import Redactor
    from supervisor._store import Outbox


class Audience(NamedTuple):
    """Which handlers get a message, and when.

    Args:
        now: The names of those that get it now.
        held: Until when it is held for others, in seconds since 1970, and why.
        unsent: Those that do not get this alarm, nor the recovery from it.
    """

    now: tuple[str, ...]
    held: Mapping[str, tuple[float, str]] = MappingProxyType({})
    unsent: tuple[str, ...] = ()


class AudienceRules(Protocol):
    """Decides which handlers get a message now, and which later."""

    def audience_of(
        self,
        outbox: Outbox,
        details: MessageDetails,
        name: str,
        handlers: Mapping[str, MessageHandler],
        *,
        is_own: bool,
    ) -> Audience:
        """Return which of the handlers that want a message get it now."""

    def release(self, outbox: Outbox, handlers: Mapping[str, MessageHandler]) -> None:
        """Let what is held for some handlers be sent where its time has come."""


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
        journal: Returns the journal, which takes over what is kept in memory because it did not take it before; None
            while there is none. By default it is the outbox, where that is not in memory.
        exit_deadline_s: The most seconds that the end of the process waits for messages that nobody has waited for.
        configured: Returns handlers for names in the configuration, where a handler's reserve may be; None without one.
        audience_rules: Decide who gets a message later, since a person or a setting wants it so; None sends all at
            once.
    """

    def __init__(  # noqa: PLR0913 - what a run sets, and what it shares with others
        self,
        handlers: Sequence[MessageHandler],
        report_on: Collection[Kind],
        outbox: Outbox,
        workers: WorkerPool,
        redactor: Callable[[], Redactor] | None = None,
        *,
        journal: Callable[[], Outbox | None] | None = None,
        exit_deadline_s: float = EXIT_DEADLINE_S,
        audience_rules: AudienceRules | None = None,
        configured: Callable[[tuple[str, ...]], Any] | None = None,
    ) -> None:
        self._audience_rules = audience_rules
        self._configured = configured
        self._reserves: dict[str, MessageHandler] | None = None
        self._handlers = dict(zip(_distinct_names(handlers), handlers, strict=True))
        self._report_on = frozenset(report_on) | {Kind.NOTICE, Kind.PROGRESS}
        self._outbox = outbox
        self._journal = journal if isinstance(outbox, MemoryOutbox) else journal or (lambda: outbox)
        self._pool = workers
        self.exit_deadline_s = exit_deadline_s
        self.redactor = redactor or self._redactor_of_handlers
        self._workers: dict[str, Worker] = {}
        self._is_stopped = False
        self.has_failed = False  # whether a destination refused a message for good
        self._in_vain: dict[str, int] = {}  # for whom a wait ended in vain, and how much they had taken by then
        self.jobs: set[Job] = set()

    def _redactor_of_handlers(self) -> Redactor:
        from supervisor._redaction import redactor_for

        return redactor_for(self._handlers.values())

    def accept(self, details: MessageDetails) -> None:
        """Store a message for every handler that wants its kind, and let the workers take it from there."""
        self.submit(self.store(details, is_own=True))

    def names(self, kind: Kind, *, without: Sequence[MessageHandler] = ()) -> tuple[str, ...]:
        """Return the names of the handlers that want messages of a kind.

        Args:
            kind: What the messages are about.
            without: Handlers that are left out.
        """
        return tuple(
            name
            for name, handler in self._handlers.items()
            if self._wants(handler, kind) and not any(is_same_destination(handler, each) for each in without)
        )

    def unknown_handlers(self, names: Iterable[str]) -> list[str]:
        """Return those of some names that no handler here has."""
        return [name for name in names if name not in self._handlers]

    def store(
        self,
        details: MessageDetails,
        *,
        without: Sequence[MessageHandler] = (),
        only: Collection[str] | None = None,
        name: str = "",
        is_own: bool = False,
    ) -> tuple[Job, ...]:
        """Store a message for every handler that wants its kind; nothing is sent before it is submitted.

        A handler that sends messages while it sends one would never come to an end: those are refused.

        Args:
            details: The message.
            without: Handlers that are left out.
            only: The names of those that may get it; None for all.
            name: The name of the runs that it is about, where it has no report that says so; "" for none.
            is_own: True for what the script itself sends, and for reminders: their time is now.
        """
        names = [each for each in self.names(details.kind, without=without) if only is None or each in only]
        if not names or _is_refused(details):
            return ()
        if details.kind is Kind.FAILURE and details.report is not None and not is_own:
            names = self._getting(details, details.report.error, names)
        name = details.report.name if details.report is not None else name
        audience = self._audience_of(details, name, names, is_own=is_own)
        held = self._hold(details, name, audience) if audience.held or audience.unsent else ()
        outbox, accepted = self._put(details, audience.now, name)
        # A recovery goes to who got the alarm in the place of one of these, which may be nobody that is known here.
        unknown = [
            each for each in accepted if each.handler not in self._handlers and not self._is_reserve(each.handler)
        ]
        if unknown:
            release([Job(each, outbox) for each in unknown])
        return (*(Job(delivery, outbox, self) for delivery in accepted if delivery not in unknown), *held)

    def _audience_of(self, details: MessageDetails, name: str, names: Sequence[str], *, is_own: bool) -> Audience:
        if self._audience_rules is not None and names and not isinstance(self._outbox, MemoryOutbox):
            handlers = {each: self._handlers[each] for each in names}
            try:
                return self._audience_rules.audience_of(self._outbox, details, name, handlers, is_own=is_own)
            except JournalUnavailable as error:
                warn_once(error)
        return Audience(tuple(names))

    def _hold(self, details: MessageDetails, name: str, audience: Audience) -> tuple[Job, ...]:
        """Store a message for later, and note who does not get it."""
        journal: Any = self._outbox  # an outbox in memory holds nothing
        if audience.unsent:
            journal.note_unsent(details, audience.unsent, name)
        held: tuple[Delivery, ...] = journal.hold(details, audience.held, name) if audience.held else ()
        return tuple(Job(each, journal, self, is_held=True) for each in held)

    def _getting(self, details: MessageDetails, error: ErrorDetails | None, names: list[str]) -> list[str]:
        """Return the handlers that get failures with this error, and note that the others do not get it."""
        getting = [each for each in names if gets_error(self._handlers[each], error)]
        others = [each for each in names if each not in getting]
        if others:
            try:
                self._outbox.note_unsent(details, others)
            except JournalUnavailable as fault:
                warn_once(fault)
        return getting

    def submit_at_end(self, jobs: Iterable[Job]) -> None:
        """Do as :meth:`submit` does, but take attachments in a thread: the end of a run has a deadline for all."""
        jobs = self._without_held(jobs)
        if self._pool.is_process_ending or not any(job.delivery.message.attachments for job in jobs):
            self.submit(jobs)
            return
        workers = [self._worker(job.delivery.handler) for job in jobs]
        with self._pool.changed:
            self.jobs.update(jobs)
            for worker in workers:
                worker.users += 1  # it stays while nothing is submitted to it yet
        guard_forks()
        thread = threading.Thread(
            target=self._take_and_submit, args=(jobs, workers), name=f"{THREAD_PREFIX}copies attachments", daemon=True
        )
        try:
            Context().run(thread.start)
        except RuntimeError:  # the process may have no more threads
            self._take_and_submit(jobs, workers)
        self._catch_up_with(jobs)

    def _take_and_submit(self, jobs: Sequence[Job], workers: Sequence[Worker]) -> None:
        try:
            _take_attachments(jobs)
        finally:
            for job, worker in zip(jobs, workers, strict=True):
                worker.submit(job)
            with self._pool.changed:
                for worker in workers:
                    worker.users -= 1
                self._pool.changed.notify_all()

    def submit(self, jobs: Iterable[Job]) -> None:
        """Take the attachments of what was stored, after the commit that it was stored in, and let the workers send."""
        jobs = self._without_held(jobs)
        _take_attachments(jobs)
        for job in jobs:
            self._worker(job.delivery.handler).submit(job)
        self._catch_up_with(jobs)
        if self._pool.is_process_ending:
            self.wait(min(EXIT_DEADLINE_S, self.exit_deadline_s))  # nobody else will

    @staticmethod
    def _without_held(jobs: Iterable[Job]) -> tuple[Job, ...]:
        """Return the jobs that are sent now, after the attachments of the others were taken."""
        jobs = tuple(jobs)
        _take_attachments(each for each in jobs if each.is_held)
        return tuple(each for each in jobs if not each.is_held)

    def _wants(self, handler: MessageHandler, kind: Kind) -> bool:
        kinds = kinds_of(handler)
        return kind in (self._report_on if kinds is None else kinds)

    def _put(self, details: MessageDetails, names: Sequence[str], name: str) -> tuple[Outbox, tuple[Delivery, ...]]:
        outbox = self._outbox
        try:
            return outbox, outbox.put(details, names, claimed=True, name=name)
        except JournalUnavailable as error:
            outbox = self._do_without(error)
            return outbox, outbox.put(details, names, claimed=True, name=name)

    def _do_without(self, error: JournalUnavailable) -> Outbox:
        """Return what stores messages where the journal cannot: memory does, which is better than nothing."""
        warn_once(error)
        self.stay_in_memory()
        return self._outbox

    def stay_in_memory(self) -> None:
        """Store what comes from now on in memory: the journal is out of use, and asking it again may take long."""
        if not isinstance(self._outbox, MemoryOutbox):
            self._outbox = MemoryOutbox()

    def use(self, outbox: Outbox) -> None:
        """Store in this outbox what comes from now on; one in memory is not taken."""
        if self._handlers and not isinstance(outbox, MemoryOutbox):
            self._outbox = outbox

    def _catch_up_with(self, jobs: Sequence[Job]) -> None:
        """Let what went to memory be written to the journal as soon as that takes it."""
        if jobs and self._journal is not None and isinstance(jobs[0].outbox, MemoryOutbox):
            self._catch_up().add(self, self._journal)

    def _catch_up(self) -> CatchUp:
        from supervisor._delivery.catch_up import CatchUp

        found: CatchUp = self._pool.catch_up or CatchUp(self._pool)
        self._pool.catch_up = found
        return found

    def fetch_waiting(self, run_name: str = "") -> None:
        """Let the workers deliver what earlier runs left in the outbox, after the messages of this one.

        Args:
            run_name: The name of the run: what its earlier runs left under former names of its handlers is delivered
                too; "" for none.
        """
        if not self._handlers:
            return
        former = self._former_names() if run_name else {}
        try:
            if self._audience_rules is not None and not isinstance(self._outbox, MemoryOutbox):
                self._audience_rules.release(self._outbox, self._handlers)
            reserves = self._all_reserves()
            names = self._outbox.waiting((*self._handlers, *reserves, *former))
            for each in names & former.keys():
                names |= self._adopt(each, former[each], run_name)
        except JournalUnavailable as error:
            warn_once(error)
            return
        for name in names & {*self._handlers, *reserves}:
            self._worker(name).poll(self._outbox, self.redactor if name in self._handlers else None)

    def _former_names(self) -> dict[str, list[str]]:
        """Return the names that earlier versions gave the handlers, and which handlers can have had each of them."""
        found: dict[str, list[str]] = {}
        for name, handler in self._handlers.items():
            former = None
            with suppress(Exception):  # the handler's boundary, as above
                former = getattr(handler, "_former_name", None)
            if isinstance(former, str) and former not in self._handlers:
                found.setdefault(former, []).append(name)
        return found

    # Reserves

    def reserve_of(self, handler: MessageHandler) -> str | None:
        """Return the name of the handler that gets what this one cannot send; None where there is none, or unknown."""
        found = self._find_reserve(handler)
        if found is None:
            return None
        self._all_reserves()
        name, reserve = found
        if name not in self._handlers:
            self._reserves = {**(self._reserves or {}), name: reserve}
        return name

    def _find_reserve(self, handler: MessageHandler) -> tuple[str, MessageHandler] | None:
        given = fallback_of(handler)
        if isinstance(given, str) and given in self._handlers:
            return given, self._handlers[given]
        if isinstance(given, str) and self._configured is not None:
            with suppress(ConfigurationError):
                (given,) = self._configured((given,))
        if given is None or isinstance(given, str) or not getattr(given, "is_usable", True):
            if given is not None:
                warn_once_of_reserve(handler_name(handler), given)
            return None
        same = (name for name, each in self._handlers.items() if is_same_destination(each, given))
        name = next(same, handler_name(given))
        return name, self._handlers.get(name, given)

    def _all_reserves(self) -> Mapping[str, MessageHandler]:
        """Return the reserves that are no handlers of the run, those of reserves too, by their names."""
        if self._reserves is None:
            self._reserves = {}
            for handler in self._handlers.values() if self._has_reserves() else ():
                for each in self._chain_of(handler):
                    self.reserve_of(each)
        return self._reserves

    def _chain_of(self, handler: MessageHandler) -> list[MessageHandler]:
        """Return a handler and its reserve, whose reserve is the last that there may be."""
        found = self._find_reserve(handler)
        return [handler] if found is None else [handler, found[1]]

    def _has_reserves(self) -> bool:
        return any(fallback_of(each) is not None for each in self._handlers.values())

    def _is_reserve(self, name: str) -> bool:
        return name in self._all_reserves()

    def submit_passed_on(self, deliveries: Iterable[Delivery], outbox: Outbox) -> None:
        """Let what was passed on be sent by the other handler, and be waited for as what was stored here."""
        for each in deliveries:
            worker = self._worker(each.handler)
            worker.submit(Job(each, outbox, self))
            if not isinstance(outbox, MemoryOutbox):  # a recovery that waited may have followed its alarm
                worker.poll(outbox, self.redactor if each.handler in self._handlers else None)

    def _adopt(self, former: str, names: list[str], run_name: str) -> set[str]:
        """Take over what waits under a former name, if one handler alone can have had it; return that one's name."""
        if len(names) == 1:
            return set(names) if self._outbox.adopt(former, names[0], run_name) else set()
        _log.warning(
            "messages wait for %r, the former name of %s: give the one of them that is to send them this name, or "
            "`supervisor outbox drop` them",
            former,
            " and ".join(map(repr, names)),
        )
        return set()

    def wait(self, deadline_s: float, *, anew: bool = False) -> None:
        """Wait until everything is settled, or can no longer be within the deadline; log what is left.

        What earlier runs left is waited for too, until the first of it fails again.

        Args:
            deadline_s: The most seconds to wait.
            anew: True waits also for destinations for which a wait was in vain already.
        """
        if not self.jobs and not self._workers:
            return
        until_s = monotonic() + deadline_s
        if anew:
            self._in_vain.clear()
        try:
            self._wait_until(until_s)
        finally:
            if any(isinstance(each.outbox, MemoryOutbox) for each in self.jobs):
                self._catch_up().wait_until(until_s)
            self._leave()

    def flush(self, timeout_s: float, *, anew: bool = True) -> bool:
        """Wait as :meth:`wait` does, and keep the workers.

        A destination that has not taken all of it by ``exit_deadline_s`` is not waited for a second time before it
        takes something.

        Args:
            timeout_s: The most seconds to wait.
            anew: As for :meth:`wait`.

        Returns:
            Whether every message since the last flush was delivered.
        """
        if anew:
            self._in_vain.clear()
        self._wait_until(monotonic() + timeout_s)
        if timeout_s >= self.exit_deadline_s:
            self._note_in_vain()
        has_failed, self.has_failed = self.has_failed, False
        return not self.jobs and not has_failed

    def _note_in_vain(self) -> None:
        """Note for which destinations the wait was in vain."""
        with self._pool.changed:
            names = {job.delivery.handler for job in self.jobs} & self._workers.keys()
            self._in_vain = {name: self._workers[name].taken for name in names}

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
        if self._pool.is_stopped:
            return False
        busy = {
            name: worker
            for name, worker in self._workers.items()
            if worker.rests_until_s < until and self._in_vain.get(name) != worker.taken
        }
        return any(each.due_s < until and each.delivery.handler in busy for each in self.jobs) or any(
            each.is_clearing for each in busy.values()
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
        from supervisor import _messages  # noqa: F401 - for the worker's thread
        from supervisor._delivery.worker import Worker

        with self._pool.changed:
            self._pool.unfinished.add(self)
            if name not in self._workers:
                reserve = None if name in self._handlers else self._all_reserves()[name]
                handler = self._handlers[name] if reserve is None else reserve
                worker = self._workers[name] = self._pool.acquire(
                    handler, lambda: Worker(name, handler, self._pool, self)
                )
                worker.users += 1
                worker.owner = self
                worker.is_reserve = worker.is_reserve or reserve is not None
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


def _take_attachments(jobs: Iterable[Job]) -> None:
    """Take the attachments of messages, once for all of their handlers."""
    for job in {job.delivery.message.id: job for job in jobs if job.delivery.message.attachments}.values():
        job.take_attachments()


def _log_left(left: Sequence[Job]) -> None:
    """Log what is not delivered yet, in one line for each handler."""
    for name in dict.fromkeys(job.delivery.handler for job in left):
        subjects = [job.delivery.message.subject for job in left if job.delivery.handler == name]
        more = f" and {len(subjects) - 1:,} more" if len(subjects) > 1 else ""
        _log.warning("not delivered yet: %r%s to %s", subjects[0], more, name)


_warned_of: set[tuple[str, str]] = set()


def warn_once_of_reserve(handler: str, reserve: object) -> None:
    """Log once that the reserve of a handler is not known here, or cannot be used."""
    name = reserve if isinstance(reserve, str) else handler_name(reserve)  # type: ignore[arg-type]  # it is a handler
    if (handler, name) not in _warned_of:
        _warned_of.add((handler, name))
        _log.warning("%r, the fallback of %s, is not known here or cannot be used; nothing is passed on", name, handler)


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
