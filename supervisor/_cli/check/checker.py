"""One check: read the journal, notify people of what is new, deliver.

An alert and its messages are one commit of the journal: whenever a check is killed, people were notified of the
alert or will be, and of two checks at once one notifies. Nothing is sent before that commit.
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic, time
from typing import TYPE_CHECKING

import attrs

from supervisor._alerts.evaluation import view_of_check
from supervisor._cli.check.finder import Finder
from supervisor._cli.snapshot import configured_schedules
from supervisor._config.active import UnusableHandler
from supervisor._models.kinds import DeliveryState, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from supervisor._cli.check.finder import PendingAlert
    from supervisor._config.configuration import Configuration
    from supervisor._delivery.dispatcher import Dispatcher
    from supervisor._delivery.job import Job
    from supervisor._models.values import MessageDetails, MessageHandler
    from supervisor._store import DestinationRest, Store, WaitingDelivery
    from supervisor._store.records import AlertRecord


@attrs.frozen(kw_only=True)
class NewAlert:
    """An alert, or its end, that this check was the first to notify people of.

    Args:
        alert: What it is.
        message: Its message.
        jobs: Its deliveries; none when no handler wants it.
    """

    alert: PendingAlert
    message: MessageDetails
    jobs: tuple[Job, ...] = ()


@attrs.frozen(kw_only=True)
class Checked:
    """What a check found.

    Args:
        at: When the check was made.
        names: How many names of runs there are, or should be.
        new: What is new: alerts first, then what is over.
        open: What people were notified of before and is still so.
    """

    at: datetime
    names: int
    new: tuple[NewAlert, ...]
    open: tuple[AlertRecord, ...]


@attrs.frozen(kw_only=True)
class Delivered:
    """What became of the messages.

    Args:
        unnotified: What is new and no handler has taken: none wants it, or none could be reached.
        failed: Deliveries that failed for good during this check.
        waiting: Deliveries of known handlers that could not be made yet.
        others: How many deliveries wait for handlers that only their scripts know.
        rests: The destinations of known handlers that accept nothing.
        failed_before: How many deliveries had failed for good before this check, and still nobody has them.
    """

    unnotified: tuple[NewAlert, ...] = ()
    failed: tuple[WaitingDelivery, ...] = ()
    waiting: tuple[WaitingDelivery, ...] = ()
    others: int = 0
    rests: tuple[DestinationRest, ...] = ()
    failed_before: int = 0


class Check:
    """Checks once.

    Args:
        journal: The journal.
        configuration: What is configured.
        handlers_of: Returns the handlers that are notified of the runs of a name.
        clock: Returns seconds since 1970, as the journal's clock does.
        awake: Returns seconds by a clock that stands still while the machine sleeps.
        booted_at: Returns when the machine was started, None where that is not known.
    """

    def __init__(  # noqa: PLR0913 - the seams for tests
        self,
        journal: Store,
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
        self._dispatchers: dict[tuple[int, ...], Dispatcher] = {}

    def raise_alerts(self) -> Checked:
        """Find what is wrong, and store what is new for the handlers; nothing is sent yet.

        Raises:
            JournalUnavailable: The journal cannot be read or written. What was stored before stays.
        """
        now = datetime.fromtimestamp(self._clock(), UTC)
        view = view_of_check(self._journal, configured_schedules(self._configuration), now, self._awake())
        before = self._journal.open_alerts()
        finder = Finder(self._journal, view, before, self._booted_at)
        found = [*finder.alerts(), *finder.recoveries()]
        new = tuple(each for each in map(self._notify, found) if each is not None)
        # Read again only where something was open: mostly there is nothing.
        still = {each.key: each for each in self._journal.open_alerts()} if before else {}
        still_open = tuple(still[each.key] for each in before if each.key in still)
        return Checked(at=view.now, names=len(view.names), new=new, open=still_open)

    def _notify(self, alert: PendingAlert) -> NewAlert | None:
        """Claim an alert and store its message, in one commit; None when somebody else was first."""
        from supervisor._alerts.messages import with_stall_number
        from supervisor._delivery.dispatcher import handler_name

        message = alert.compose()
        if message is None:
            return None
        handlers = self._handlers_for(alert)
        usable = tuple(each for each in handlers if not isinstance(each, UnusableHandler))
        # What cannot be built here, since a secret is not in cron's environment, say, may be built elsewhere.
        elsewhere = [each.name for each in handlers if isinstance(each, UnusableHandler)]
        dispatcher = self._dispatcher_to(usable) if usable else None
        with self._journal.one_commit():
            notification = alert.claim([handler_name(each) for each in handlers])
            if notification is None:
                return None
            message = with_stall_number(message, notification)
            self._journal.put(message, elsewhere)
            jobs = dispatcher.store(message) if dispatcher is not None else ()
            if alert.kind in {Kind.STALLED, Kind.OVERDUE}:
                self._journal.await_recovery(
                    alert.kind, alert.run_id, [*_awaiting_recovery(jobs, dispatcher), *elsewhere]
                )
        return NewAlert(alert=alert, message=message, jobs=jobs)

    def _handlers_for(self, alert: PendingAlert) -> tuple[MessageHandler, ...]:
        """Return the handlers to notify: of a recovery those that await it, where some of them are configured here."""
        from supervisor._delivery.dispatcher import handler_name

        handlers = tuple(self._handlers_of(alert.name))
        return tuple(each for each in handlers if handler_name(each) in alert.awaiting) or handlers

    def _dispatcher_to(self, handlers: tuple[MessageHandler, ...]) -> Dispatcher:
        from supervisor._config.active import active
        from supervisor._delivery.dispatcher import Dispatcher
        from supervisor._runtime import default_runtime
        from supervisor._settings import ALWAYS_REPORTED

        who = tuple(map(id, handlers))
        if who not in self._dispatchers:
            workers = default_runtime().workers
            self._dispatchers[who] = Dispatcher(handlers, ALWAYS_REPORTED, self._journal, workers, active().redactor)
        return self._dispatchers[who]

    def deliver(
        self, new: Sequence[NewAlert], find: Callable[[str], MessageHandler | None], deadline_s: float | None
    ) -> Delivered:
        """Send what is new and what waits, and return what became of it.

        Args:
            new: What :meth:`raise_alerts` stored.
            find: Returns the handler of a name in the outbox; None when it is not known here.
            deadline_s: The most seconds to wait; None sends nothing, and what is new waits for the next who delivers.

        Raises:
            JournalUnavailable: The journal cannot be read any more.
        """
        waiting = self._journal.waiting_by_handler()
        handlers = {name: handler for name in waiting if (handler := find(name)) is not None}
        before = self._unsent()
        if not new and not handlers:
            return Delivered(others=sum(waiting.values()), failed_before=_failed(before))
        ours = {job.delivery.key for each in new for job in each.jobs}
        others = {each.key for each in before if each.state is DeliveryState.FAILED or each.is_claimed} - ours
        if deadline_s is not None:
            self._send(new, handlers, monotonic() + deadline_s)
        return attrs.evolve(self._outcome(new, handlers, others), failed_before=_failed(before))

    def _send(self, new: Sequence[NewAlert], waiting: Mapping[str, MessageHandler], until: float) -> None:
        jobs = [job for each in new for job in each.jobs]
        for dispatcher in tuple(self._dispatchers.values()):
            dispatcher.submit(each for each in jobs if each.owner is dispatcher)
        usable = tuple(each for each in waiting.values() if not isinstance(each, UnusableHandler))
        if usable:
            self._dispatcher_to(usable).fetch_waiting()
        for dispatcher in self._dispatchers.values():
            dispatcher.wait(max(0.0, until - monotonic()))

    def _outcome(self, new: Sequence[NewAlert], known: Iterable[str], others: set[int]) -> Delivered:
        """Return what became of the messages, but for what others send at this moment, or have seen fail before."""
        names = {*known, *(job.delivery.handler for each in new for job in each.jobs)}
        unsent = [each for each in self._unsent() if each.key not in others]
        pending = [each for each in unsent if each.state is DeliveryState.PENDING]
        return Delivered(
            unnotified=tuple(each for each in new if not self._is_delivered(each)),
            failed=tuple(each for each in unsent if each.state is DeliveryState.FAILED),
            waiting=tuple(each for each in pending if each.handler in names),
            others=sum(each.handler not in names for each in pending),
            rests=tuple(each for each in self._journal.rests() if each.handler in names),
        )

    def _unsent(self) -> list[WaitingDelivery]:
        return self._journal.deliveries(limit=10_000)

    def _is_delivered(self, new: NewAlert) -> bool:
        return any(self._journal.state_of(job.delivery) is DeliveryState.SENT for job in new.jobs)


def _failed(deliveries: Iterable[WaitingDelivery]) -> int:
    return sum(each.state is DeliveryState.FAILED for each in deliveries)


def _awaiting_recovery(jobs: Iterable[Job], dispatcher: Dispatcher | None) -> list[str]:
    """Return the names of the handlers that get a message and want to be notified of the recovery too."""
    wanting = dispatcher.names(Kind.RECOVERY) if dispatcher is not None else ()
    return [each.delivery.handler for each in jobs if each.delivery.handler in wanting]


def _booted_at() -> datetime | None:
    import psutil

    try:
        return datetime.fromtimestamp(psutil.boot_time(), UTC)
    except (psutil.Error, OSError, RuntimeError):  # a container may hide it
        return None
