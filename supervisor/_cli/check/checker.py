"""One check: look, tell, deliver.

A finding and its messages are one commit of the journal, so whoever kills a check, it was told or will be, and of two
checks at once one tells. Nothing is sent before that commit.
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic, time
from typing import TYPE_CHECKING

import attrs

from supervisor._cli.check.finder import Finder
from supervisor._cli.check.view import take
from supervisor._config.active import UnusableHandler
from supervisor._models.kinds import DeliveryState, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from supervisor._cli.check.finder import Finding
    from supervisor._config import Configuration
    from supervisor._delivery.dispatcher import Deliveries
    from supervisor._delivery.worker import Parcel
    from supervisor._models.values import MessageDetails, MessageHandler
    from supervisor._store import Journal, WaitingDelivery
    from supervisor._store.records import FindingRecord


@attrs.frozen(kw_only=True)
class Told:
    """A finding that this check was the first to tell.

    Args:
        finding: The finding.
        message: Its message.
        parcels: Its deliveries; none when no handler wants it.
    """

    finding: Finding
    message: MessageDetails
    parcels: tuple[Parcel, ...] = ()


@attrs.frozen(kw_only=True)
class Looked:
    """What a check saw.

    Args:
        at: When it looked.
        names: How many names of runs there are, or should be.
        told: What is new: findings first, then what is over.
        open: What was told before and is still so.
    """

    at: datetime
    names: int
    told: tuple[Told, ...]
    open: tuple[FindingRecord, ...]


@attrs.frozen(kw_only=True)
class Delivered:
    """What became of the messages.

    Args:
        unheard: What is new and no handler has taken: none wants it, or none could be reached.
        failed: Deliveries that failed for good during this check.
        waiting: Deliveries of known handlers that could not be made yet.
        others: How many deliveries wait for handlers that only their scripts know.
    """

    unheard: tuple[Told, ...] = ()
    failed: tuple[WaitingDelivery, ...] = ()
    waiting: tuple[WaitingDelivery, ...] = ()
    others: int = 0


class Check:
    """Looks once.

    Args:
        journal: The journal.
        configuration: What is configured.
        handlers_of: Returns who hears of the runs of a name.
        clock: Returns seconds since 1970, as the journal's clock does.
        awake: Returns seconds by a clock that stands still while the machine sleeps.
        booted_at: Returns when the machine was started, None where it does not tell.
    """

    def __init__(  # noqa: PLR0913 - the seams for tests
        self,
        journal: Journal,
        configuration: Configuration,
        handlers_of: Callable[[str], Sequence[MessageHandler]],
        *,
        clock: Callable[[], float] = time,
        awake: Callable[[], float] = monotonic,
        booted_at: Callable[[], datetime | None] | None = None,
    ) -> None:
        self._journal = journal
        self._configuration = configuration
        self._handlers_of = handlers_of
        self._clock = clock
        self._awake = awake
        self._booted_at = booted_at or _booted_at
        self._deliveries: dict[tuple[int, ...], Deliveries] = {}

    def look(self) -> Looked:
        """Look, and store what is new for the handlers; nothing is sent yet.

        Raises:
            JournalUnavailable: The journal cannot be read or written. What was stored before stays.
        """
        view = take(self._journal, self._configuration, datetime.fromtimestamp(self._clock(), UTC), self._awake())
        finder = Finder(self._journal, view, self._booted_at)
        found = [*finder.findings(), *finder.recoveries()]
        told = tuple(each for each in map(self._tell, found) if each is not None)
        # Looked at again only where something was: mostly there is nothing.
        still = self._journal.open_findings() if view.open else ()
        known = {each.key for each in view.open}
        return Looked(
            at=view.now, names=len(view.names), told=told, open=tuple(each for each in still if each.key in known)
        )

    def _tell(self, finding: Finding) -> Told | None:
        """Claim a finding and store its message, in one commit; None when somebody else was first."""
        from supervisor._alerts.slow_text import counted_in
        from supervisor._delivery.dispatcher import handler_name

        message = finding.compose()
        if message is None:
            return None
        handlers = self._hearers_of(finding)
        usable = tuple(each for each in handlers if not isinstance(each, UnusableHandler))
        # What cannot be built here, since a secret is not in cron's environment, say, may be built elsewhere.
        elsewhere = [each.name for each in handlers if isinstance(each, UnusableHandler)]
        deliveries = self._deliveries_to(usable) if usable else None
        with self._journal.one_commit():
            noted = finding.claim([handler_name(each) for each in handlers])
            if noted is None:
                return None
            message = counted_in(message, noted.times, noted.untold)
            self._journal.put(message, elsewhere)
            parcels = deliveries.store(message) if deliveries is not None else ()
            if finding.kind in {Kind.STALLED, Kind.OVERDUE}:
                self._journal.owe_end(finding.kind, finding.run_id, [*_owed_an_end(parcels, deliveries), *elsewhere])
        return Told(finding=finding, message=message, parcels=parcels)

    def _hearers_of(self, finding: Finding) -> tuple[MessageHandler, ...]:
        """Return who is to be told: of the end of something those who heard of it, where some of them are here."""
        from supervisor._delivery.dispatcher import handler_name

        handlers = tuple(self._handlers_of(finding.name))
        return tuple(each for each in handlers if handler_name(each) in finding.owed) or handlers

    def _deliveries_to(self, handlers: tuple[MessageHandler, ...]) -> Deliveries:
        from supervisor._config.active import redactor
        from supervisor._delivery.dispatcher import Deliveries
        from supervisor.settings import ALWAYS_REPORTED

        who = tuple(map(id, handlers))
        if who not in self._deliveries:
            self._deliveries[who] = Deliveries(handlers, ALWAYS_REPORTED, self._journal, redactor)
        return self._deliveries[who]

    def deliver(
        self, told: Sequence[Told], find: Callable[[str], MessageHandler | None], deadline_s: float | None
    ) -> Delivered:
        """Send what is new and what waits, and return what became of it.

        Args:
            told: What :meth:`look` stored.
            find: Returns the handler of a name in the outbox; None when it is not known here.
            deadline_s: The most seconds to wait; None sends nothing, and what is new waits for the next who delivers.

        Raises:
            JournalUnavailable: The journal cannot be read any more.
        """
        waiting = self._journal.waiting_by_handler()
        handlers = {name: handler for name in waiting if (handler := find(name)) is not None}
        if not told and not handlers:
            return Delivered(others=sum(waiting.values()))
        before = self._unsent()
        ours = {parcel.delivery.key for each in told for parcel in each.parcels}
        others = {each.key for each in before if each.state is DeliveryState.FAILED or each.is_claimed} - ours
        if deadline_s is not None:
            self._send(told, handlers, monotonic() + deadline_s)
        return self._outcome(told, handlers, others)

    def _send(self, told: Sequence[Told], waiting: Mapping[str, MessageHandler], until: float) -> None:
        parcels = [parcel for each in told for parcel in each.parcels]
        for deliveries in tuple(self._deliveries.values()):
            deliveries.hand_over(each for each in parcels if each.owner is deliveries)
        usable = tuple(each for each in waiting.values() if not isinstance(each, UnusableHandler))
        if usable:
            self._deliveries_to(usable).fetch_waiting()
        for deliveries in self._deliveries.values():
            deliveries.wait(max(0.0, until - monotonic()))

    def _outcome(self, told: Sequence[Told], known: Iterable[str], others: set[int]) -> Delivered:
        """Return what became of the messages, but for what others send at this moment, or have seen fail before."""
        names = {*known, *(parcel.delivery.handler for each in told for parcel in each.parcels)}
        unsent = [each for each in self._unsent() if each.key not in others]
        pending = [each for each in unsent if each.state is DeliveryState.PENDING]
        return Delivered(
            unheard=tuple(each for each in told if not self._is_heard(each)),
            failed=tuple(each for each in unsent if each.state is DeliveryState.FAILED),
            waiting=tuple(each for each in pending if each.handler in names),
            others=sum(each.handler not in names for each in pending),
        )

    def _unsent(self) -> list[WaitingDelivery]:
        return self._journal.deliveries(limit=10_000)

    def _is_heard(self, told: Told) -> bool:
        return any(self._journal.state_of(parcel.delivery) is DeliveryState.SENT for parcel in told.parcels)


def _owed_an_end(parcels: Iterable[Parcel], deliveries: Deliveries | None) -> list[str]:
    """Return the names of those who get a message and want to hear that what it tells of is over."""
    wanting = deliveries.names(Kind.RECOVERY) if deliveries is not None else ()
    return [each.delivery.handler for each in parcels if each.delivery.handler in wanting]


def _booted_at() -> datetime | None:
    import psutil

    try:
        return datetime.fromtimestamp(psutil.boot_time(), UTC)
    except (psutil.Error, OSError, RuntimeError):  # a container may hide it
        return None
