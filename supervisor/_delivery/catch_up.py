"""Write into the journal what runs keep in memory because the journal did not take it, as soon as it does.

What waits in memory is lost with the process. So one thread of a pool tries again, shortly each time, until all of it
is in the journal, also after the run has ended; only the end of the process waits for it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from supervisor._attachments.originals import links_among, replace_in_thread, take
from supervisor._delivery.pool import EXIT_DEADLINE_S
from supervisor._forks import THREAD_PREFIX, guard_forks
from supervisor._models import DeliveryState
from supervisor._store.essentials import JournalUnavailable
from supervisor._store.memory import MemoryOutbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from supervisor._delivery.pool import Job, WorkerPool
    from supervisor._models.values import Delivery
    from supervisor._store import Outbox

    FindJournal: TypeAlias = Callable[[], Outbox | None]

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0


class Owner(Protocol):
    """Whose jobs wait in memory."""

    jobs: set[Job]

    def use(self, outbox: Outbox, /) -> None:
        """Store in this outbox what comes from now on."""


class CatchUp:
    """Takes jobs from memory into the journal, in a thread of its own.

    Args:
        pool: The pool of the workers that send them.
    """

    exit_deadline_s = EXIT_DEADLINE_S

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._journal_of: dict[Owner, FindJournal] = {}
        self._found: dict[Owner, Outbox | None] = {}
        self._begun: dict[Job, Delivery] = {}  # what the journal has, but not yet with its attachments
        self.thread: threading.Thread | None = None
        self._tries = 0
        self._is_held_up = False  # another process holds the journal
        self._until_s = 0.0

    def add(self, owner: Owner, journal: FindJournal) -> None:
        """Take over the jobs of an owner that wait in memory.

        Args:
            owner: Whose jobs; it has submitted them.
            journal: Returns the journal; None where there is still none.
        """
        with self._pool.changed:
            self._journal_of[owner] = journal
            if self.thread is not None or self._pool.is_stopped:
                return
            self._pool.unfinished.add(self)
            thread = self.thread = threading.Thread(target=self._serve, name=f"{THREAD_PREFIX}journal", daemon=True)
        guard_forks()
        try:
            thread.start()
        except RuntimeError:  # no threads any more: the interpreter is shutting down
            self._try()
            self.thread = None

    def wait_until(self, until_s: float) -> None:
        """Let the end of the process wait until this moment of ``time.monotonic()``, at most."""
        self._until_s = max(self._until_s, until_s)

    def wait(self, deadline_s: float) -> None:
        """Wait at the end of the process: for one more try, and longer while another process holds the journal."""
        until_s = min(monotonic() + deadline_s, max(self._until_s, monotonic() + 2 * FIRST_PAUSE_S))
        with self._pool.changed:
            tries = self._tries
            self._pool.changed.notify_all()
            while self.thread is not None and (self._is_held_up or self._tries == tries):
                left_s = until_s - monotonic()
                if left_s <= 0:
                    break
                self._pool.changed.wait(left_s)
        self._note_left()

    def _note_left(self) -> None:
        """Note beside the journal what it did not take."""
        for owner in tuple(self._journal_of):
            journal = self._found.get(owner)
            for job in self._in_memory(owner) if journal is not None else ():
                assert journal is not None
                with suppress(JournalUnavailable):  # there is no room either: it is logged that it is not delivered
                    journal.note_waiting(job.delivery.message, job.delivery.handler)

    def forget(self) -> None:
        """Drop all, in a forked child: it is the parent's to deliver."""
        self._journal_of, self._found, self._begun, self.thread = {}, {}, {}, None

    def _serve(self) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                self._try()
                with self._pool.changed:
                    if not self._journal_of or self._pool.is_stopped:
                        return
                    self._tries += 1
                    self._pool.changed.notify_all()
                    self._pool.changed.wait(FIRST_PAUSE_S if self._pool.is_process_ending else pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            self._end()

    def _end(self) -> None:
        if self._pool.is_stopped:
            self._note_left()
        with self._pool.changed:
            self.thread = None
            self._pool.unfinished.discard(self)
            self._pool.changed.notify_all()

    def _try(self) -> None:
        """Move what can be moved, and let go of owners who have nothing in memory any more."""
        for owner, journal_of in tuple(self._journal_of.items()):
            try:
                journal = self._found[owner] = journal_of() or self._found.get(owner)
                while journal is not None and (waiting := self._in_memory(owner)):
                    for job in waiting:
                        self._move(job, journal, owner)
            except JournalUnavailable as error:
                journal, self._is_held_up = None, error.is_busy
            if journal is not None:
                self._is_held_up = False
                owner.use(journal)
            with self._pool.changed:
                if not self._in_memory(owner):
                    self._journal_of.pop(owner, None)
                    self._found.pop(owner, None)

    def _in_memory(self, owner: Owner) -> list[Job]:
        with self._pool.changed:
            found = [each for each in owner.jobs if isinstance(each.outbox, MemoryOutbox)]
        return sorted(found, key=lambda each: each.delivery.key)

    def _move(self, job: Job, journal: Outbox, owner: Owner) -> None:
        """Write a delivery into the journal, also while it is being sent, and let its job go on there."""
        memory, waiting = job.outbox, job.outbox.with_copies(job.delivery)
        assert isinstance(memory, MemoryOutbox)
        stored = self._begun.get(job) or next(
            iter(journal.put(waiting.message, (waiting.handler,), claimed=True)), None
        )
        if stored is None:  # a recovery none of whose alarms was sent
            memory.take_out(waiting)
            with self._pool.changed:
                owner.jobs.discard(job)
            return
        if waiting.message.attachments:
            self._begun[job] = stored
            stored = journal.take_attachments(stored, take)
            replace_in_thread(links_among(stored.message.attachments, *journal.copies))
        self._begun.pop(job, None)
        with job.lock:
            left = memory.take_out(waiting)
            if left.state is DeliveryState.PENDING:
                job.outbox, job.delivery, job.claimed_s = journal, stored, monotonic()
        if left.state is not DeliveryState.PENDING:  # it was sent or refused meanwhile
            journal.settle(stored, left.state, error=left.last_error)
        elif not left.is_claimed:
            journal.release([stored])
