"""One check: read the journal, notify people of what is new, deliver; and what it came to.

An alert and its messages are one commit of the journal: whenever a check is killed, people were notified of the
alert or will be, and of two checks at once one notifies. Nothing is sent before that commit.
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._alerts import OF_A_CHECK
from supervisor._alerts.audience import JournalAudienceRules
from supervisor._alerts.evaluation import view_of, view_of_check
from supervisor._cli.configured import configured_schedules
from supervisor._cli.finder import Finder
from supervisor._cli.shared import FINE, FOUND, WRONG_USE
from supervisor._config import UnusableHandler
from supervisor._messages import run_label
from supervisor._models import DeliveryState, Kind
from supervisor._settings import SENT
from supervisor._text import counted, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from supervisor._alerts.evaluation import View
    from supervisor._cli.finder import PendingAlert
    from supervisor._cli.replicate import Replication
    from supervisor._config.configuration import Configuration
    from supervisor._delivery import Dispatcher
    from supervisor._delivery.pool import Job
    from supervisor._models.values import MessageDetails, MessageHandler
    from supervisor._redaction import Redactor
    from supervisor._runtime import Runtime
    from supervisor._store import DestinationRest, Store, WaitingDelivery
    from supervisor._store.records import AlertRecord
    from supervisor.message_handlers import HealthchecksHandler

_PING_TIMEOUT_S = 10.0


@attrs.frozen(kw_only=True)
class NewAlert:
    """An alert, or its end, that this check was the first to notify people of.

    Args:
        alert: What it is.
        message: Its message.
        jobs: Its deliveries; none when no handler wants it.
        is_kept_back: True where handlers want such messages, and a setting keeps this one from all of them.
    """

    alert: PendingAlert
    message: MessageDetails
    jobs: tuple[Job, ...] = ()
    is_kept_back: bool = False

    @property
    def is_held(self) -> bool:
        """Return whether it is sent to nobody now, since people or settings want it so."""
        return self.is_kept_back or (bool(self.jobs) and all(each.is_held for each in self.jobs))


@attrs.frozen(kw_only=True)
class Checked:
    """What a check found.

    Args:
        at: When the check was made.
        names: How many names of runs there are, or should be.
        new: What is new: alerts first, then what is over.
        open: What people were notified of before and is still so.
        labels: What messages and lists call the runs of what is open, by its keys.
        without_handlers: The names of runs for which no handler is configured: what is found of them is only printed.
        shared_names: The names that several scripts have, and their paths: they recover each other.
    """

    at: datetime
    names: int
    new: tuple[NewAlert, ...]
    open: tuple[AlertRecord, ...]
    labels: Mapping[int, str]
    without_handlers: tuple[str, ...] = ()
    shared_names: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)


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
        refused_by: The handlers of those.
    """

    unnotified: tuple[NewAlert, ...] = ()
    failed: tuple[WaitingDelivery, ...] = ()
    waiting: tuple[WaitingDelivery, ...] = ()
    others: int = 0
    rests: tuple[DestinationRest, ...] = ()
    failed_before: int = 0
    refused_by: tuple[str, ...] = ()


class Check:
    """Checks once.

    Args:
        journal: The journal.
        configuration: What is configured.
        handlers_of: Returns the handlers that are notified of the runs of a name.
        runtime: Has the workers that send, and the configuration that says which secrets to take out.
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
        runtime: Runtime,
        clock: Callable[[], float] = time,
        awake: Callable[[], float] = monotonic,
        booted_at: Callable[[], datetime | None] | None = None,
    ) -> None:
        self._journal = journal
        self._configuration = configuration
        self._handlers_of = handlers_of
        self._runtime = runtime
        self._clock = clock
        self._awake = awake
        self._booted_at = booted_at or _booted_at
        self._audience_rules = JournalAudienceRules(clock, configuration.settings.get("timezone"))
        self._dispatchers: dict[tuple[int, ...], Dispatcher] = {}

    def raise_alerts(self) -> Checked:
        """Find what is wrong, and store what is new for the handlers; nothing is sent yet.

        Raises:
            JournalUnavailable: The journal cannot be read or written. What was stored before stays.
        """
        now = datetime.fromtimestamp(self._clock(), UTC)
        view = view_of_check(self._journal, configured_schedules(self._configuration), now, self._awake())
        before = self._journal.open_alerts()
        finder = Finder(self._journal, view, before, self._booted_at, self._redactor)
        found = [*finder.alerts(), *finder.recoveries(), *finder.reminders(self._remind_every)]
        new = tuple(each for each in map(self._notify, found) if each is not None)
        return self._checked(view, before, new)

    def look(self) -> Checked:
        """Find what is wrong and new, as if nobody had to be notified; nothing is written to the journal.

        Raises:
            JournalUnavailable: The journal cannot be read.
        """
        now = datetime.fromtimestamp(self._clock(), UTC)
        view = view_of(self._journal, configured_schedules(self._configuration), now, self._awake(), OF_A_CHECK)
        before = self._journal.open_alerts()
        finder = Finder(self._journal, view, before, self._booted_at, self._redactor)
        found = ((each, each.compose()) for each in finder.alerts())
        new = tuple(NewAlert(alert=each, message=message) for each, message in found if message is not None)
        return self._checked(view, before, new)

    def _checked(self, view: View, before: Sequence[AlertRecord], new: tuple[NewAlert, ...]) -> Checked:
        # Read again only where something was open: mostly there is nothing.
        still = {each.key: each for each in self._journal.open_alerts()} if before else {}
        still_open = tuple(still[each.key] for each in before if each.key in still)
        without_handlers = tuple(sorted(name for name in view.names if not self._handlers_of(name)))
        labels = {each.key: _label(each, view) for each in still_open}
        return Checked(
            at=view.now,
            names=len(view.names),
            new=new,
            open=still_open,
            labels=labels,
            without_handlers=without_handlers,
            shared_names=self._journal.shared_names(),
        )

    def _notify(self, alert: PendingAlert) -> NewAlert | None:
        """Claim an alert and store its message, in one commit; None when somebody else was first."""
        from supervisor._alerts.messages import with_stall_number
        from supervisor._delivery import handler_name

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
            self._journal.put(message, elsewhere, name=alert.name)
            jobs: tuple[Job, ...] = ()
            if dispatcher is not None:
                jobs = dispatcher.store(message, name=alert.name, is_own=alert.is_reminder)
            if alert.kind in {Kind.STALLED, Kind.OVERDUE}:
                self._journal.await_recovery(
                    alert.kind, alert.run_id, [*_awaiting_recovery(jobs, dispatcher), *elsewhere]
                )
        is_wanted = dispatcher is not None and bool(dispatcher.names(message.kind))
        return NewAlert(alert=alert, message=message, jobs=jobs, is_kept_back=is_wanted and not jobs)

    def _remind_every(self, name: str) -> str | None:
        every: str | None = self._configuration.for_run(name).get("remind_every")
        return every

    def _handlers_for(self, alert: PendingAlert) -> tuple[MessageHandler, ...]:
        """Return the handlers to notify. Of a recovery only those that await it, if any of them is configured here."""
        from supervisor._delivery import handler_name

        handlers = tuple(self._handlers_of(alert.name))
        return tuple(each for each in handlers if handler_name(each) in alert.awaiting) or handlers

    def _dispatcher_to(self, handlers: tuple[MessageHandler, ...]) -> Dispatcher:
        from supervisor._delivery import Dispatcher
        from supervisor._setting_values import ALWAYS_REPORTED

        who = tuple(map(id, handlers))
        if who not in self._dispatchers:
            workers = self._runtime.workers
            self._dispatchers[who] = Dispatcher(
                handlers,
                ALWAYS_REPORTED,
                self._journal,
                workers,
                self._redactor,
                audience_rules=self._audience_rules,
                configured=self._runtime.configuration.with_names_resolved,
            )
        return self._dispatchers[who]

    def pack_left(self) -> None:
        """Compress and redact the attachments that killed and hanging processes left as they were."""
        from supervisor._delivery.pool import pack_left

        pack_left(self._journal, self._redactor)

    def _redactor(self) -> Redactor:
        return self._runtime.configuration.redactor()

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
        self._release_held(find)
        waiting = self._journal.waiting_by_handler()
        handlers = {name: handler for name in waiting if (handler := find(name)) is not None}
        before = self._unsent()
        if not new and not handlers:
            return Delivered(others=sum(waiting.values()), **_failed(before))
        ours = {job.delivery.key for each in new for job in each.jobs}
        others = {each.key for each in before if each.state is DeliveryState.FAILED or each.is_claimed} - ours
        if deadline_s is not None:
            self._send(new, handlers, monotonic() + deadline_s)
        return attrs.evolve(self._outcome(new, handlers, others), **_failed(before))

    def _release_held(self, find: Callable[[str], MessageHandler | None]) -> None:
        """Let what is held for known handlers be sent where its time has come and it is still so."""
        found = {each: find(each) for each in {held.handler for held in self._journal.held()}}
        known = {
            name: handler
            for name, handler in found.items()
            if handler is not None and not isinstance(handler, UnusableHandler)
        }
        if known:
            self._audience_rules.release(self._journal, known)

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
        if new.is_held:
            return True
        return any(self._journal.state_of(job.delivery) is DeliveryState.SENT for job in new.jobs)


def _failed(deliveries: Iterable[WaitingDelivery]) -> dict[str, Any]:
    failed = [each.handler for each in deliveries if each.state is DeliveryState.FAILED]
    return {"failed_before": len(failed), "refused_by": tuple(dict.fromkeys(failed))}


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


@attrs.frozen(kw_only=True)
class Result:
    """What a check came to.

    Args:
        checked: What it found; None when there was no journal, or it could not be read.
        delivered: What became of the messages.
        faults: Why the check could not do its work, or not all of it.
        ping_error: Why the ping was not taken; "" when it was, None without a ping.
        note: What there is to say instead, when there is no journal yet.
        send: The setting ``send``: with any value but "handlers" nothing was sent, and nothing written to the journal.
        fleet: What came of bringing runs into the fleet; None where there is none.
    """

    checked: Checked | None = None
    delivered: Delivered = attrs.field(factory=Delivered)
    faults: tuple[str, ...] = ()
    ping_error: str | None = None
    note: str = ""
    send: str = SENT
    fleet: Replication | None = None

    @property
    def open(self) -> tuple[AlertRecord, ...]:
        """Return the alerts that people were notified of before this check and that are still open."""
        return self.checked.open if self.checked is not None else ()

    @property
    def labels(self) -> Mapping[int, str]:
        """Return what messages and lists call the runs of the open alerts, by the keys of the alerts."""
        return self.checked.labels if self.checked is not None else {}

    @property
    def new(self) -> tuple[NewAlert, ...]:
        """Return the alerts, and ends of alerts, that this check was the first to notify people of."""
        return self.checked.new if self.checked is not None else ()

    @property
    def code(self) -> int:
        """Return the exit code."""
        if self.faults:
            return WRONG_USE
        is_found = any(each.alert.kind is not Kind.RECOVERY for each in self.new)
        is_left = self.delivered.failed or self.delivered.waiting or self.ping_error
        return FOUND if is_found or is_left else FINE

    @property
    def headline(self) -> str:
        """Return the result of the check in one line."""
        if self.checked is None:
            return self.note or "the check could not be made"
        scripts = counted(self.checked.names, "script")
        found = sum(each.alert.kind is not Kind.RECOVERY for each in self.new)
        before, refused_by = self.delivered.failed_before, ", ".join(map(one_line, self.delivered.refused_by))
        again = f"refused before by {refused_by} (`supervisor flush --failed` sends again)"
        parts = (
            (len(self.faults), f"{counted(len(self.faults), 'mistake')} in the configuration"),
            (found, f"{counted(found, 'new alert')}"),
            (len(self.open), f"{len(self.open)} known before and still so"),
            (len(self.delivered.failed), f"{counted(len(self.delivered.failed), 'message')} refused"),
            (
                before,
                f"{counted(before, 'message')} {again}",
            ),
            (len(self.delivered.waiting), f"{counted(len(self.delivered.waiting), 'message')} not delivered yet"),
        )
        said = ", ".join(text for count, text in parts if count)
        others = self.delivered.others
        waiting = "nothing waits"
        if others:
            verb = "waits" if others == 1 else "wait"
            waiting = f"{counted(others, 'message')} {verb} for handlers that only the scripts know"
        well = "no alert" if self.checked.without_handlers else "all is well"  # of what nobody hears, nobody knows
        headline = f"{scripts}: {said}" if said else f"{well}: {scripts}, {waiting}"
        return headline if self.send == SENT else f'{headline}; send = "{self.send}": nothing was sent or noted'

    def document(self) -> dict[str, Any]:
        """Return the result as a document for programs."""
        checked, delivered = self.checked, self.delivered
        return {
            "checked_at": checked.at if checked is not None else None,
            "scripts": checked.names if checked is not None else 0,
            "without_handlers": list(checked.without_handlers) if checked is not None else [],
            "shared_names": {
                name: list(paths) for name, paths in (checked.shared_names if checked is not None else {}).items()
            },
            "new": [_new_document(each, delivered) for each in self.new],
            "open": [_open_document(each) for each in self.open],
            "refused": [_delivery_document(each) for each in delivered.failed],
            "refused_before": delivered.failed_before,
            "waiting": [_delivery_document(each) for each in delivered.waiting],
            "waiting_for_others": delivered.others,
            "pinged": None if self.ping_error is None else not self.ping_error,
            "faults": list(self.faults),
            "send": self.send,
            "fleet": self.fleet.document() if self.fleet is not None else None,
        }


def _label(record: AlertRecord, view: View) -> str:
    """Return what messages and lists call the runs of an open alert; their name where none of them is known."""
    run = record.run or view.newest.get(record.name)
    return run_label(run) if run is not None else record.name


def _new_document(new: NewAlert, delivered: Delivered) -> dict[str, Any]:
    alert = new.alert
    return {
        "kind": str(alert.kind),
        "name": alert.name,
        "run_id": alert.run_id or None,
        "since": alert.since,
        "subject": new.message.subject,
        "text": new.message.message,
        "message_id": new.message.id,
        "handlers": [each.delivery.handler for each in new.jobs],
        "notified": not any(new is each for each in delivered.unnotified),
    }


def _open_document(record: AlertRecord) -> dict[str, Any]:
    return {
        "kind": str(record.kind),
        "name": record.name,
        "run_id": record.run_id or None,
        "since": record.since,
        "notified_at": record.notified_at,
    }


def _delivery_document(each: WaitingDelivery) -> dict[str, Any]:
    return {
        "key": each.key,
        "handler": each.handler,
        "subject": each.subject,
        "kind": str(each.kind),
        "attempts": each.attempts,
        "last_error": each.last_error,
        "due_at": each.due_at,
    }


def pinger(url: str) -> HealthchecksHandler:
    """Return what pings a URL as Healthchecks takes it (https://healthchecks.io/docs/http_api/).

    Raises:
        ConfigurationError: It is no URL that can be pinged; the text does not quote it, since it is a secret.
    """
    from supervisor.message_handlers import HealthchecksHandler

    return HealthchecksHandler(ping_url=url, timeout_s=_PING_TIMEOUT_S)


def ping(handler: HealthchecksHandler, subject: str, text: str, *, works: bool) -> None:
    """Report that a check was made: success whatever it found, since people are notified of alerts by messages.

    Args:
        handler: What :func:`pinger` returned.
        subject: What the check came to.
        text: What it found.
        works: False when the check itself could not do its work: the URL with ``/fail`` is pinged then.

    Raises:
        DeliveryError: The ping was not taken.
    """
    from supervisor._models.values import MessageDetails

    try:
        handler.send_message(MessageDetails(subject, text, kind=Kind.SUCCESS if works else Kind.FAILURE))
    finally:
        handler.close()
