"""What a run tells, and to whom: reports are taken, composed into messages, and handed to delivery.

A run loads this when it first has something to say. One road: run, report, compose, message, delivery. What composes
is loaded when there is something to tell people: a run that only the journal hears of does without.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from supervisor import _exceptions, _log
from supervisor._delivery.dispatcher import Dispatcher, handler_name
from supervisor._delivery.rate_limiter import FloodGate
from supervisor._delivery.worker import WorkerPool
from supervisor._exceptions.plain import fit_line
from supervisor._models.kinds import Kind, Outcome
from supervisor._redaction.run_redactor import RunRedactor
from supervisor._run import reserved_descriptors
from supervisor._run.pace import ProgressPace
from supervisor._run.recorder import Keeper, end_of
from supervisor._store.memory import MemoryOutbox

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from supervisor._alerts.run_messages import Finding
    from supervisor._alerts.state import Slowness
    from supervisor._delivery.job import Job
    from supervisor._models.alerts import AlertSummary, Notification
    from supervisor._models.summary import Past
    from supervisor._models.values import ErrorDetails, MessageDetails, Progress, RunReport
    from supervisor._run.state import RunState
    from supervisor._store import EndedRun
    from supervisor._store.records import RunRecord
    from supervisor.settings import Settings

TEXT_LIMIT = 1_000_000
SUBJECT_LIMIT = 200
_TOLD = "__supervisor_told__"
_START, _SUCCESS = Kind.START, Outcome.SUCCESS  # looked up once, as in the run
# What a run without handlers tells: it is taken by nobody, so one does for all of them.
_TO_NOBODY = Dispatcher((), (), MemoryOutbox(), WorkerPool())

Outgoing: TypeAlias = "tuple[MessageDetails, tuple[Any, ...]]"
"""A message, and the handlers that have heard it already."""


class Reporter:
    """Speaks for one run."""

    __slots__ = (
        "_dispatcher",
        "_error",
        "_flood",
        "_keeper",
        "_pace",
        "_redact",
        "_run",
        "_settings",
        "_slowness",
    )

    def __init__(self, run: RunState) -> None:
        self._run = run
        self._settings = run.settings
        self._redact = RunRedactor(run)
        self._keeper = Keeper(run, self._redact)
        self._dispatcher = self._dispatcher_of(run.settings) if run.settings.handlers else _TO_NOBODY
        self._pace: ProgressPace | None = None
        self._flood: FloodGate | None = None
        self._error: ErrorDetails | None = None
        self._slowness = self._slowness_of(run)
        reserved_descriptors.keep()

    def _slowness_of(self, run: RunState) -> Slowness | None:
        """Return what is known of the run's being slow; None for one that cannot be, since it has no limits."""
        if run.settings.stall_after_s is None and run.settings.max_duration_s is None and run.joined is None:
            return None
        from supervisor._alerts.state import Slowness

        return Slowness(run, self._keeper)

    def _dispatcher_of(self, settings: Settings) -> Dispatcher:
        outbox, workers = self._keeper.outbox, self._run.runtime.workers
        return Dispatcher(settings.handlers, settings.report_on, outbox, workers, self._redact)

    # What is known

    def report(self) -> RunReport:
        """Return what is known of the run at this moment, without secrets."""
        _, report = _models()
        run = self._run
        facts = {
            "progress": self._progress(),
            "log_path": run.log_path,
            "log_tail": run.log.tail if run.log is not None else (),
            "log_counts": run.log.counts if run.log is not None else {},
            **_exceptions.process_facts(run.cpu_started_s),
            **run.facts,
        }
        facts["argv"] = self._redact.arguments(facts["argv"])
        return report(
            id=run.id,
            name=run.name,
            outcome=run.outcome,
            started_at=datetime.fromtimestamp(run.started_at_s, UTC),
            ended_at=datetime.fromtimestamp(run.ended_at_s, UTC) if run.ended_at_s is not None else None,
            duration_s=run.duration_s,
            values=self._redact.values(run.values or {}),
            error=self._error,
            exit_code=run.exit_code,
            parent_id=run.parent_id,
            **facts,
        )

    def _progress(self) -> Progress | None:
        return self._run.facts.get("progress") if self._pace is None else self._pace.progress()

    def plain(self, name: str, value: Any) -> Any:
        """Return a recorded value as something frozen, without secrets."""
        return _exceptions.plain_value(value, name=name, redactor=self._redact())

    def _details_of(self, error: BaseException, thread: str = "") -> ErrorDetails:
        reserved_descriptors.release()  # from here on, whatever the script has used up
        return _exceptions.error_details(
            error, thread=thread, show_locals=self._settings.show_locals, redactor=self._redact()
        )

    # What is told

    def begin(self) -> None:
        """Note that the run has started, and tell what is due at that moment."""
        if not self._keeper.begin():
            self._dispatcher.stay_in_memory()
        if self._keeper.some_are_unended:
            self._tell_died()
        self._dispatcher.fetch_waiting()
        if _START in self._settings.announced:
            self._send(_message(Kind.START, self.report()))

    def _tell_died(self) -> None:
        stored: list[Job] = []
        for record in self._keeper.died():
            # Composed before the commit, since a disk may be slow to say what is left of a log.
            details = self._message_of_death(record) if self._dispatcher is not _TO_NOBODY else None
            self._keeper.mark_died(record.report.id, lambda: stored.extend(self._stored(details)))  # noqa: B023 - called at once
        self._dispatcher.submit(stored)

    def _message_of_death(self, record: RunRecord) -> MessageDetails:
        from supervisor._alerts.deaths import message_of

        return message_of(
            record,
            state=self._keeper.state,
            redact=self._redact().text,
            past=self._keeper.past(record.report.id),
            slow=self._keeper.slow_before(record.report.id),
            shared_log=self._run.log_path,
        )

    def _stored(self, details: MessageDetails | None) -> tuple[Job, ...]:
        return self._dispatcher.store(details) if details is not None else ()

    def program(self, pid: int) -> None:
        """Note the process of the program that the run stands for."""
        self._keeper.program(pid)

    def notice(self, subject: str | MessageDetails, message: str, **extras: Any) -> None:
        """Pass on what the script says, as long as it does not say too much."""
        if self._flood is None:
            self._flood = FloodGate()
        given, _ = _models()
        is_failure = isinstance(subject, given) and subject.kind is Kind.FAILURE
        if not is_failure and not self._flood.passes(subject):
            return
        said = subject if isinstance(subject, given) else _notice(subject, message, **extras)
        details = self._redact.message(said)
        self._send(details if details.report is not None else attrs.evolve(details, report=self.report()))

    def progress(self, now: float) -> float:
        """Show, log, keep or send progress, each when it is due; return the monotonic time of the next look."""
        if self._pace is None:
            self._pace = ProgressPace(self._run, self._redact.progress)
        to_be_sent = self._pace.look(now, self._settings.progress_interval_s)
        progress = self._pace.progress()
        if progress is not None:
            self._keeper.progress(progress)
        if to_be_sent:
            self._send(_message(Kind.PROGRESS, self.report()))
        return self._pace.next_look(now)

    def keep_sign(self) -> None:
        """Keep what the program said last, for who looks whether it stalls; nobody is shown or sent anything."""
        from supervisor._models.values import Progress

        done, total, message = self._run.position
        progress = self._redact.progress(Progress(done=done, total=total, message=message))
        if progress is not None:
            self._keeper.progress(progress)

    def aside(self, error: BaseException, thread: str) -> None:
        """Tell of an exception in a thread or task of the run, while the run goes on."""
        self._error = self._details_of(error, thread)
        for details, told in self._failure(error):
            stored = self._dispatcher.store(details, without=told)
            self._keeper.mark_told(self._error)
            self._dispatcher.submit(stored)

    def end(self, error: BaseException | None) -> None:
        """Tell and note how the run ended."""
        if self._pace is not None:
            self._pace.end()
        succeeded = self._run.outcome is _SUCCESS
        if error is not None and not succeeded:
            self._error = self._details_of(error)
        stored: list[Job] = []
        if succeeded and self._dispatcher is _TO_NOBODY:
            self._keeper.note_end(self._end())
        else:
            self._tell_end(error, stored, succeeded=succeeded)
        if self._run.joined is not None:
            told = [(job.delivery.message.kind, job.delivery.handler) for job in stored]
            heard = (*_told_of(error), *_told_of(self._run.background_error))
            told += [(Kind.FAILURE, handler_name(each)) for each in heard if hasattr(each, "send_message")]
            self._run.joined.hand_back(self.report(), self._run.attachments, told)
        if stored:
            self._dispatcher.submit(stored)

    def _end(self) -> EndedRun:
        return end_of(self._run, self._redact.values(self._run.values or {}), self._progress(), self._error)

    def _tell_end(self, error: BaseException | None, stored: list[Job], *, succeeded: bool) -> None:
        """Note the end, and store the messages that tell of it, in one commit."""
        # All that takes time is done before, since no other process can write to the journal during the commit.
        last_words = [*self._held_back(), *(() if succeeded else self._failure(error))]

        def tell(failures_before: str) -> None:
            for details, told in last_words:
                told_by_itself = self._run.notified.get(details.kind, ())
                stored.extend(self._dispatcher.store(details, without=(*told, *told_by_itself)))
                if details.kind is Kind.FAILURE and self._error is not None:
                    self._keeper.mark_told(self._error)
            if succeeded:
                stored.extend(self._good_end(failures_before))

        self._keeper.end(self._end(), tell)

    def found(self, finding: Finding) -> bool:
        """Tell that the run stalls or takes too long, unless a check has told it already; a stall not too often.

        Returns:
            True for a stall that is held back for now: it is to be told later, if it lasts.
        """
        from supervisor._alerts.run_messages import message_of
        from supervisor._alerts.slow_text import counted_in

        slowness = self._slowness
        wanted_by = self._dispatcher.names(finding.kind)
        if slowness is None or not wanted_by:
            return slowness is not None and slowness.found(finding, None)
        details = self._redact.message(message_of(finding, self.report()))
        details = _described(attrs.evolve(details, attachments=(self._settings.log_path, *self._run.own_logs)))
        stored: list[Job] = []

        def tell(noted: Notification) -> Collection[str]:
            stored.extend(self._dispatcher.store(counted_in(details, noted.times, noted.skipped)))
            return [each for each in self._dispatcher.names(Kind.RECOVERY) if each in wanted_by]

        is_held_back = slowness.found(finding, tell)
        self._dispatcher.submit(stored)
        return is_held_back

    def goes_on(self, lasted_s: float) -> None:
        """Tell that the run goes on after it stalled, whoever heard of that."""
        stored: list[Job] = []

        def tell(names: Collection[str]) -> None:
            from supervisor._alerts.slow_text import goes_on

            stored.extend(self._store_for(names, goes_on(self.report(), lasted_s)))

        ours = self._dispatcher.names(Kind.RECOVERY) if self._keeper.is_ended_by_another() else None
        if self._slowness is not None:
            self._slowness.goes_on(lasted_s, tell, ours)
        self._dispatcher.submit(stored)

    def _slow(self) -> AlertSummary | None:
        if self._slowness is None:
            return None
        return self._slowness.so_far(self._run.last_stall_s)

    def other_run(self) -> str:
        """Return in words which run of this name is under way."""
        return self._keeper.other_run()

    def skip(self) -> None:
        """Note that the run was skipped."""
        self._keeper.skip(end_of(self._run, {}, None, None))

    def redact(self, text: str) -> str:
        """Return a text without secrets."""
        return self._redact().text(text)

    def _held_back(self) -> Iterator[Outgoing]:
        if self._flood is not None and self._flood.held_back:
            from supervisor._messages.builder import held_back_message

            subjects = [fit_line(each, SUBJECT_LIMIT, self._redact()) for each in self._flood.last_subjects]
            yield held_back_message(self.report(), self._flood.held_back, subjects), ()

    def _good_end(self, failures_before: str) -> Iterator[Job]:
        """Store the one message for each handler that tells of a good end, and of all that is over with it.

        The first of these that a handler wants and has not heard from the program itself: that the runs before failed
        (recovery), that this one succeeded (success), that what it heard of this run is over (recovery).
        """
        slowness = self._slowness
        owed = slowness.owed() if slowness is not None else frozenset[str]()
        if not failures_before and not owed and Kind.SUCCESS not in self._settings.announced:
            return
        heard = [each for kind in (Kind.RECOVERY, Kind.SUCCESS) for each in self._run.notified.get(kind, ())]
        recovery = self._dispatcher.names(Kind.RECOVERY, without=heard)
        success = self._dispatcher.names(Kind.SUCCESS, without=heard)
        if failures_before:
            success = tuple(each for each in success if each not in recovery)
        else:
            recovery = tuple(each for each in recovery if each in owed and each not in success)
        others = self._dispatcher.unknown_handlers(owed)
        if self._keeper.is_ended_by_another():  # who sees to them
            owed, others = owed.difference(others), []
        if recovery or others:
            yield from self._store_for((*recovery, *others), self._ended_well(Kind.RECOVERY, failures_before))
        if success:
            yield from self._store_for(success, self._ended_well(Kind.SUCCESS, failures_before))
        if slowness is not None and owed:
            slowness.mark_recovery_notified(owed)

    def _ended_well(self, kind: Kind, failures_before: str) -> MessageDetails:
        attachments = (*self._run.own_logs, *self._run.attachments)
        return _described(_message(kind, self.report(), attachments, failures_before, self._past(), self._slow()))

    def _store_for(self, names: Collection[str], details: MessageDetails) -> tuple[Job, ...]:
        """Store a message for these handlers: ours, which send it now, and others, which the next check lets do so."""
        self._keeper.put_for(self._dispatcher.unknown_handlers(names), details)
        return self._dispatcher.store(details, only=names)

    def _failure(self, error: BaseException | None) -> Iterator[Outgoing]:
        """Log a failure, and yield its message, for all who have not heard of this very exception in an inner run."""
        told = _told_of(error)
        fresh = [
            each
            for each in (*self._settings.handlers, self._settings.logger)
            if each is not None and not _among(each, told)
        ]
        if error is None or self._error is None or not fresh:
            return
        _mark_told(error, (*told, *fresh))
        if _among(self._settings.logger, fresh):
            self._log_failure(error)
        if not self._keeper.is_repeat(self._error):
            note = self._keeper.repeats_before(self._error)
            attachments = (self._settings.log_path, *self._run.own_logs, *self._run.attachments)
            message = _message(Kind.FAILURE, self.report(), attachments, note, self._past(), self._slow())
            yield _described(message), told

    def _past(self) -> Past | None:
        return self._keeper.past(self._run.id)

    def _log_failure(self, error: BaseException) -> None:
        """Write the traceback to the script's logger and flush it, so that the attached log has it."""
        logger = self._settings.logger
        try:
            logger.error("%s failed", self._run.name, exc_info=(type(error), error, error.__traceback__))
            for handler in getattr(logger, "handlers", ()):
                handler.flush()
        except Exception:  # noqa: BLE001 - still the run's boundary: a log that is full must not stop the message
            _log.warning("the logger of %r took no note of its failure\n%s", self._run.name, self._redact.fault())

    def _send(self, details: MessageDetails) -> None:
        self._dispatcher.accept(_described(details))

    # How it is waited for

    def wait(self) -> None:
        """Wait until everything is delivered, at most ``delivery_deadline_s``; what is left is logged."""
        self._dispatcher.wait(self._settings.delivery_deadline_s)

    async def wait_async(self) -> None:
        """Wait as :meth:`wait` does, without holding up asyncio's event loop."""
        asyncio = sys.modules.get("asyncio")
        if asyncio is None or self._dispatcher.is_settled():
            self.wait()
        else:
            await asyncio.to_thread(self.wait)

    def stop_waiting(self) -> None:
        """End a wait that is under way; what is not delivered stays in the outbox."""
        self._dispatcher.stop_waiting()


@cache  # when run again, an import statement takes as long as making the message
def _models() -> tuple[type[MessageDetails], type[RunReport]]:
    from supervisor._models.values import MessageDetails, RunReport

    return MessageDetails, RunReport


def _message(  # noqa: PLR0913, PLR0917 - as there
    kind: Kind,
    report: RunReport,
    attachments: Iterable[Any] = (),
    note: str = "",
    past: Past | None = None,
    slow: AlertSummary | None = None,
) -> MessageDetails:
    from supervisor._messages.builder import message_for

    return message_for(kind, report, attachments, note, past, slow)


def _described(details: MessageDetails) -> MessageDetails:
    """Return a message of bounded length that says of each attachment what there is to say now."""
    if not details.attachments and len(details.own_text) <= TEXT_LIMIT:
        return details
    from supervisor._attachments import describe
    from supervisor._text import cut_middle

    attachments = tuple(describe(each) for each in details.attachments)
    return attrs.evolve(details, message=cut_middle(details.own_text, TEXT_LIMIT), attachments=attachments)


def _notice(subject: object, message: object, **extras: Any) -> MessageDetails:
    """Return what the script says as a message; what cannot be attached is named in it instead of losing it."""
    from supervisor._models.values import MessageDetails

    subject, message = _exceptions.safe_text(subject), _exceptions.safe_text(message)
    try:
        return MessageDetails(subject, message, **extras)
    except (TypeError, ValueError) as fault:
        return MessageDetails(subject, f"{message}\n\nLeft out: {fault}")


def _told_of(error: BaseException | None) -> tuple[Any, ...]:
    """Return who has heard of an exception; of a group, who has heard of each exception in it."""
    try:
        told = error.__dict__.get(_TOLD, ()) if error is not None else ()
    except Exception:  # noqa: BLE001 - the run's boundary: an exception may break whatever is asked of it
        return ()
    if not isinstance(error, BaseExceptionGroup):
        return tuple(told)
    first, *others = [_told_of(each) for each in error.exceptions]
    return (*told, *(one for one in first if all(_among(one, those) for those in others)))


def _mark_told(error: BaseException, told: tuple[Any, ...]) -> None:
    try:
        error.__dict__[_TOLD] = told
    except Exception:  # noqa: BLE001 - the run's boundary, as above
        _log.info("%s takes no mark: an outer run may tell of it again", type(error).__name__)


def _among(one: object, others: Iterable[object]) -> bool:
    """Tell whether this very object is there: handlers may compare equal, or not at all."""
    return any(one is other for other in others)
