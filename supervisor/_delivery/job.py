"""One delivery on its way: who waits for it, when it is tried again, and the copies of its attachments."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from supervisor._store.essentials import JournalUnavailable, warn_once

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from supervisor._models.values import Attachment, Delivery
    from supervisor._redaction import Redactor
    from supervisor._store import DestinationRest, Outbox

    Source: TypeAlias = tuple[Outbox, str]

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 300.0
GIVE_UP_AFTER = timedelta(days=7)
GIVE_UP_ATTEMPTS = 20


def is_given_up(delivery: Delivery, rest: DestinationRest | None, now: datetime) -> bool:
    """Tell whether a delivery that has failed just now is not tried again: after a week of attempts, 20 at least.

    Those of the destination count while the message waited for it: each attempt takes one message for all.

    Args:
        delivery: The delivery, as it was before this attempt.
        rest: How the destination rested before this attempt; None when it did not.
        now: The time.
    """
    own = (delivery.attempts, delivery.first_failed_at)
    of_all = (rest.failures, max(rest.since, delivery.message.created_at)) if rest is not None else own
    return any(
        attempts + 1 >= GIVE_UP_ATTEMPTS and since is not None and now - since >= GIVE_UP_AFTER
        for attempts, since in (own, of_all)
    )


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


def _identity(delivery: Delivery) -> tuple[int, str]:
    """Return what tells a delivery from others: in a journal that was begun anew, another one may have its key."""
    return delivery.key, delivery.message.id


class HeldJobs:
    """The jobs of one worker whose deliveries wait in an outbox, where another process may take them.

    Not safe for threads: only the worker's own thread uses it.
    """

    def __init__(self) -> None:
        self._jobs: dict[Source, dict[tuple[int, str], Job]] = {}

    def __bool__(self) -> bool:
        return any(self._jobs.values())

    def add(self, job: Job) -> None:
        """Hold a job until its delivery is claimed again, or settled by another process."""
        self._jobs.setdefault(job.source, {})[_identity(job.delivery)] = job

    def sources(self) -> tuple[Source, ...]:
        """Return where jobs wait, and under which names."""
        return tuple(source for source, jobs in self._jobs.items() if jobs)

    def of(self, source: Source) -> list[Job]:
        """Return what is held of a source, the oldest first."""
        jobs = self._jobs.get(source, {})
        return [jobs[key] for key in sorted(jobs)]

    def remove(self, job: Job) -> None:
        """Hold a job no longer."""
        self._jobs.get(job.source, {}).pop(_identity(job.delivery), None)

    def take(self, source: Source, claimed: Delivery) -> Job:
        """Return the job of a delivery that was claimed; a new one for what an earlier run left."""
        job = self._jobs.get(source, {}).pop(_identity(claimed), None)
        if job is None:
            return Job(claimed, source[0])
        job.claimed_again(claimed)
        return job


class Job:
    """One delivery, where it is stored, who waits for it, and when it is due.

    Args:
        delivery: A delivery that this process has claimed.
        outbox: Where it is stored.
        owner: Who waits for it; None for what an earlier run left.
    """

    __slots__ = ("claimed_s", "delivery", "due_s", "outbox", "owner")

    def __init__(self, delivery: Delivery, outbox: Outbox, owner: Owner | None = None) -> None:
        self.delivery = delivery
        self.outbox = outbox
        self.owner = owner
        self.due_s = 0.0
        self.claimed_s = monotonic()

    def claimed_again(self, delivery: Delivery) -> None:
        """Note that the delivery was claimed anew."""
        self.delivery, self.claimed_s = delivery, monotonic()

    @property
    def source(self) -> Source:
        """Where its delivery is, and under which handler's name."""
        return self.outbox, self.delivery.handler

    def renew(self) -> bool:
        """Extend the lease before a late attempt; return False when another process has the delivery by now."""
        try:
            return self.outbox.renew(self.delivery) or self.outbox.state_of(self.delivery) is None
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
            self.delivery = self.outbox.with_copies(self.delivery)
        except JournalUnavailable as error:
            warn_once(error)
        for each in links_among(self.delivery.message.attachments, *self.outbox.copies):
            replace_link(each)

    def keep_attachments(self) -> None:
        """Replace the copies of the attachments by packed ones, where the message goes on waiting."""
        try:
            self.outbox.keep_attachments(self.delivery, _pack_copy)
        except JournalUnavailable as error:
            warn_once(error)


def _pack_copy(attachment: Attachment, directory: Path, limit_bytes: int) -> Attachment | None:
    from supervisor._attachments import pack
    from supervisor._models.values import Attachment

    part = pack(attachment, directory, limit_bytes=limit_bytes).part
    return None if part is None else Attachment(part.path, name=part.name, size_bytes=part.size_bytes, note=part.note)
