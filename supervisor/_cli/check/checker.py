"""One check: look, tell, deliver.

A finding and its messages are one commit of the journal, so whoever kills a check, it was told or will be, and of two
checks at once one tells. Nothing is sent before that commit.

- What a check sees: the journal and the configuration at one moment.
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic, time
from typing import TYPE_CHECKING

import attrs

from supervisor._cli.check.finder import Finder
from supervisor._config.active import UnusableHandler
from supervisor._models.kinds import DeliveryState, Kind
from supervisor._store.essentials import storable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from supervisor._cli.check.finder import Finding
    from supervisor._config.configuration import Configuration
    from supervisor._delivery.dispatcher import Dispatcher
    from supervisor._delivery.job import Job
    from supervisor._models.values import MessageDetails, MessageHandler
    from supervisor._store import Journal, WaitingDelivery
    from supervisor._store.records import AlertRecord, LastCheck, RunRecord


@attrs.frozen(kw_only=True)
class Watched:
    """A schedule in the configuration, as checks have seen it.

    Args:
        schedule: The schedule, as text.
        since: When a check first saw it.
        dropped_at: When a check no longer saw it; None while it is there.
        grace_s: How late a start may be; None where the configuration does not say.
    """

    schedule: str
    since: datetime
    dropped_at: datetime | None = None
    grace_s: float | None = None


@attrs.frozen(kw_only=True)
class View:
    """What a check sees.

    Args:
        now: The moment.
        newest: The newest run of each name.
        unended: The runs that have not ended.
        open: What was told and is not over, as far as the journal knows.
        watched: The schedules that the configuration has or had, by the names of the runs.
        last_check: When the check before this one looked, and how long the machine slept.
    """

    now: datetime
    newest: Mapping[str, RunRecord]
    unended: tuple[RunRecord, ...]
    open: tuple[AlertRecord, ...]
    watched: Mapping[str, Watched]
    last_check: LastCheck

    @property
    def names(self) -> set[str]:
        """Return the names of all runs that there are or should be."""
        return {*self.newest, *(name for name, each in self.watched.items() if each.dropped_at is None)}

    def awake_s(self, since_s: float) -> float:
        """Return the seconds since an instant in which the machine was awake; at least 0.

        Args:
            since_s: The instant, in seconds since 1970.
        """
        passed_s = self.now.timestamp() - since_s
        slept_s = sum(slept_s for until_s, slept_s in self.last_check.sleeps if until_s > since_s)
        return max(0.0, passed_s - slept_s)


def take(journal: Journal, configuration: Configuration, now: datetime, awake_s: float) -> View:
    """Note that a check looks now, and return what it sees.

    Args:
        journal: The journal.
        configuration: What is configured.
        now: The moment, by the journal's clock.
        awake_s: What a clock shows that stands still while the machine sleeps.

    Raises:
        JournalUnavailable: The journal cannot be read or written.
    """
    last_check = journal.note_check(awake_s)
    return View(
        now=now,
        newest=journal.newest_runs(),
        unended=journal.unended_runs(),
        open=journal.open_alerts(),
        watched=_watched(journal, configuration),
        last_check=last_check,
    )


def _watched(journal: Journal, configuration: Configuration) -> dict[str, Watched]:
    settings = {name: configuration.for_run(name) for name in configuration.runs}
    schedules = {name: each["schedule"] for name, each in settings.items() if each.get("schedule")}
    graces = {storable(name): settings[name].get("grace_s") for name in schedules}
    return {
        name: Watched(schedule=schedule, since=since, dropped_at=dropped_at, grace_s=graces.get(name))
        for name, (schedule, since, dropped_at) in journal.note_schedules(schedules).items()
    }


@attrs.frozen(kw_only=True)
class Told:
    """A finding that this check was the first to tell.

    Args:
        finding: The finding.
        message: Its message.
        jobs: Its deliveries; none when no handler wants it.
    """

    finding: Finding
    message: MessageDetails
    jobs: tuple[Job, ...] = ()


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
    open: tuple[AlertRecord, ...]


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
        self._dispatchers: dict[tuple[int, ...], Dispatcher] = {}

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
        still = self._journal.open_alerts() if view.open else ()
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
        dispatcher = self._dispatcher_to(usable) if usable else None
        with self._journal.one_commit():
            noted = finding.claim([handler_name(each) for each in handlers])
            if noted is None:
                return None
            message = counted_in(message, noted.times, noted.skipped)
            self._journal.put(message, elsewhere)
            jobs = dispatcher.store(message) if dispatcher is not None else ()
            if finding.kind in {Kind.STALLED, Kind.OVERDUE}:
                self._journal.await_recovery(
                    finding.kind, finding.run_id, [*_owed_an_end(jobs, dispatcher), *elsewhere]
                )
        return Told(finding=finding, message=message, jobs=jobs)

    def _hearers_of(self, finding: Finding) -> tuple[MessageHandler, ...]:
        """Return who is to be told: of the end of something those who heard of it, where some of them are here."""
        from supervisor._delivery.dispatcher import handler_name

        handlers = tuple(self._handlers_of(finding.name))
        return tuple(each for each in handlers if handler_name(each) in finding.owed) or handlers

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
        ours = {job.delivery.key for each in told for job in each.jobs}
        others = {each.key for each in before if each.state is DeliveryState.FAILED or each.is_claimed} - ours
        if deadline_s is not None:
            self._send(told, handlers, monotonic() + deadline_s)
        return self._outcome(told, handlers, others)

    def _send(self, told: Sequence[Told], waiting: Mapping[str, MessageHandler], until: float) -> None:
        jobs = [job for each in told for job in each.jobs]
        for dispatcher in tuple(self._dispatchers.values()):
            dispatcher.submit(each for each in jobs if each.owner is dispatcher)
        usable = tuple(each for each in waiting.values() if not isinstance(each, UnusableHandler))
        if usable:
            self._dispatcher_to(usable).fetch_waiting()
        for dispatcher in self._dispatchers.values():
            dispatcher.wait(max(0.0, until - monotonic()))

    def _outcome(self, told: Sequence[Told], known: Iterable[str], others: set[int]) -> Delivered:
        """Return what became of the messages, but for what others send at this moment, or have seen fail before."""
        names = {*known, *(job.delivery.handler for each in told for job in each.jobs)}
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
        return any(self._journal.state_of(job.delivery) is DeliveryState.SENT for job in told.jobs)


def _owed_an_end(jobs: Iterable[Job], dispatcher: Dispatcher | None) -> list[str]:
    """Return the names of those who get a message and want to hear that what it tells of is over."""
    wanting = dispatcher.names(Kind.RECOVERY) if dispatcher is not None else ()
    return [each.delivery.handler for each in jobs if each.delivery.handler in wanting]


def _booted_at() -> datetime | None:
    import psutil

    try:
        return datetime.fromtimestamp(psutil.boot_time(), UTC)
    except (psutil.Error, OSError, RuntimeError):  # a container may hide it
        return None
