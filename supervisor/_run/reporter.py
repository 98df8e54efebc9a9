"""Report what happens to a run: its start, notices, progress, alerts, failures and its end.

A run loads this when it first has something to report. The way is always the same: the state of the run becomes a
report, the report a message, the message a row in the outbox, and the dispatcher takes it to its handlers.
"""

from __future__ import annotations

import sys
from functools import wraps
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from supervisor import _exceptions
from supervisor._delivery import Audience, Dispatcher, RateLimiter, handler_name
from supervisor._delivery.pool import WorkerPool
from supervisor._models import SUCCEEDED, Kind, Outcome
from supervisor._redaction.run_redactor import RunRedactor
from supervisor._run.composer import (
    Composer,
    is_among,
    log_failure,
    mark_notified,
    message_of_script,
    notified_of,
    plain_failure,
    ready_to_store,
    release_descriptors,
    reserve_descriptors,
    value_types,
)
from supervisor._run.progress import ProgressPace
from supervisor._run.recorder import Recorder
from supervisor._settings import SENT
from supervisor._store.memory import MemoryOutbox
from supervisor._text import in_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from supervisor._alerts import RunAlert, RunAlerts
    from supervisor._delivery import AudienceRules
    from supervisor._delivery.pool import Job
    from supervisor._fleet.at_end import AtEnd
    from supervisor._models.parts import Notification
    from supervisor._models.values import ErrorDetails, MessageDetails, MessageHandler, RunReport
    from supervisor._redaction import Redactor
    from supervisor._run.state import RunState

_START, _WARNING, _FAILURE = Kind.START, Outcome.WARNING, Outcome.FAILURE  # looked up once, as in the life cycle
_TO_NOBODY = Dispatcher((), (), MemoryOutbox(), WorkerPool())
"""The dispatcher of all runs without handlers."""

_KIND_OF = {Outcome.SUCCESS: Kind.SUCCESS, Outcome.WARNING: Kind.WARNING}
_UNMUTED_FOR_S = 5.0  # a script may send many notices a second, and a person mutes it once

Outgoing: TypeAlias = "tuple[MessageDetails, tuple[Any, ...]]"
"""A message, and the handlers that do not get it because they were notified before."""


T = TypeVar("T")


def _in_its_zone(method: Callable[..., T]) -> Callable[..., T]:
    """Let the times in what a method composes be those of the run's time zone."""

    @wraps(method)
    def call(self: Reporter, *args: Any) -> T:
        if self._settings.timezone is None:
            return method(self, *args)
        with in_zone(self._settings.timezone):
            return method(self, *args)

    return call


class _RunAudienceRules:
    """Decides which handlers get a run's messages now, and which later; loads the rules where something may be held.

    Args:
        run: The run.
    """

    def __init__(self, run: RunState) -> None:
        self._run = run
        self._unmuted_until_s = 0.0
        self._has_quiet_times = any(getattr(each, "quiet", None) for each in run.settings.handlers)

    def audience_of(
        self, outbox: Any, details: MessageDetails, name: str, handlers: Mapping[str, MessageHandler], *, is_own: bool
    ) -> Audience:
        """Return which of the handlers that want a message get it now."""
        is_failure = details.kind in (Kind.FAILURE, Kind.DIED)
        if not self._has_quiet_times and not (is_failure and not is_own) and not self._is_muted(outbox, is_own=is_own):
            return Audience(tuple(handlers))
        try:
            rules = self._rules()
        except ImportError:  # the installation is gone: then all get it now
            return Audience(tuple(handlers))
        return rules.audience_of(outbox, details, name, handlers, is_own=is_own)

    def _is_muted(self, outbox: Any, *, is_own: bool) -> bool:
        """Return whether anything is muted; of what the script itself sends, as it was a few seconds ago."""
        now_s = monotonic()
        if is_own and now_s < self._unmuted_until_s:
            return False
        if outbox.mutes():
            return True
        self._unmuted_until_s = now_s + _UNMUTED_FOR_S
        return False

    def release(self, outbox: Any, handlers: Mapping[str, MessageHandler]) -> None:
        """Let what is held for some handlers be sent where its time has come."""
        if outbox.is_any_held():
            self._rules().release(outbox, handlers)

    def _rules(self) -> AudienceRules:
        from supervisor._alerts.audience import JournalAudienceRules

        return JournalAudienceRules(self._run.runtime.clock, self._run.settings.timezone)


class Reporter:
    """Reports for one run.

    Args:
        run: The run.

    Attributes:
        recorder: Writes the run into the journal.
    """

    __slots__ = (
        "_alerts",
        "_at_end",
        "_composer",
        "_dispatcher",
        "_rate_limiter",
        "_redact",
        "_run",
        "_settings",
        "recorder",
    )

    def __init__(self, run: RunState) -> None:
        self._run = run
        self._settings = run.settings
        self._redact = RunRedactor(run)
        self.recorder = Recorder(run, self._redact)
        self._dispatcher = self._make_dispatcher() if run.settings.handlers else _TO_NOBODY
        self._alerts = self._make_alerts()
        self._composer = Composer(run, self._redact, self.recorder, self._alerts)
        self._rate_limiter: RateLimiter | None = None
        self._at_end: AtEnd | None = None
        reserve_descriptors()

    def _make_dispatcher(self) -> Dispatcher:
        settings, workers = self._settings, self._run.runtime.workers
        journal = self._run.runtime.journal if settings.journal else None
        outbox = self.recorder.outbox
        return Dispatcher(
            settings.handlers,
            settings.report_on,
            outbox,
            workers,
            self._redact,
            journal=journal,
            exit_deadline_s=settings.delivery_deadline_s,
            audience_rules=_RunAudienceRules(self._run) if journal is not None else None,
            configured=self._run.runtime.configuration.with_names_resolved,
        )

    def _make_alerts(self) -> RunAlerts | None:
        """Return what is known of the run's alerts; None for a run that can have none, since it has no limits."""
        if self._settings.stall_after_s is None and self._settings.max_duration_s is None and self._run.joined is None:
            return None
        from supervisor._alerts import RunAlerts

        return RunAlerts(self._run, self.recorder)

    # What is known

    def report(self) -> RunReport:
        """Return what is known of the run at this moment, without secrets."""
        return self._composer.report()

    def plain(self, name: str, value: Any) -> Any:
        """Return a recorded value as something frozen, without secrets."""
        return _exceptions.plain_value(value, name=name, redactor=self._redact())

    def redactor(self) -> Redactor:
        """Return what removes the secrets of the run."""
        return self._redact()

    def redact(self, text: str) -> str:
        """Return a text without secrets."""
        return self._redact().text(text)

    # The start

    @_in_its_zone
    def report_start(self) -> None:
        """Record that the run has started, and send what is due at that moment."""
        if not self.recorder.start():
            self._dispatcher.stay_in_memory()
        if self.recorder.has_unfinished_runs and self._settings.send == SENT:
            self._report_deaths()
        self._dispatcher.fetch_waiting(self._run.name)
        if _START in self._run.needs.announced:
            self._send(self._composer.message(Kind.START))

    def _report_deaths(self) -> None:
        """Report the earlier runs of this name that were killed or went down with the machine."""
        stored: list[Job] = []
        for record in self.recorder.dead_runs():
            # Composed before the commit, since a disk may be slow to read what is left of a log.
            details = self._composer.death(record) if self._dispatcher is not _TO_NOBODY else None
            notified = self._dispatcher.names(Kind.DIED)
            self.recorder.mark_died(record, notified, lambda: self._store(details, stored))  # noqa: B023 - called at once
        self._dispatcher.submit(stored)

    def _store(self, details: MessageDetails | None, stored: list[Job]) -> None:
        if details is not None:
            stored.extend(self._dispatcher.store(details))

    # While the run lasts

    def notify(self, subject: str | MessageDetails, message: str, **fields: Any) -> None:
        """Send a notice of the script, unless it sends too many."""
        if self._rate_limiter is None:
            self._rate_limiter = RateLimiter()
        details, _ = value_types()
        is_failure = isinstance(subject, details) and subject.kind is Kind.FAILURE
        if not is_failure and not self._rate_limiter.allows(subject):
            return
        said = subject if isinstance(subject, details) else message_of_script(subject, message, **fields)
        self._send(self._composer.notice(said))

    def report_progress(self, now: float) -> float:
        """Show, log, record or send progress, each when it is due; return the monotonic time of the next look."""
        if self._composer.pace is None:
            self._composer.pace = ProgressPace(self._run, self._redact.progress)
        is_message_due = self._composer.pace.look(now, self._run.needs.progress_interval_s)
        progress = self._composer.pace.progress()
        if progress is not None:
            self.recorder.progress(progress)
        if is_message_due:
            self._send(self._composer.message(Kind.PROGRESS))
        return self._composer.pace.next_look(now)

    def record_links(self) -> None:
        """Record the links of the run, so that they go with the message about it if it is killed."""
        self.recorder.links(self._composer.links())

    def record_output(self) -> None:
        """Record the last line that the program printed as progress: a check takes it for a sign of life."""
        from supervisor._models.values import Progress

        done, total, message = self._run.position
        progress = self._redact.progress(Progress(done=done, total=total, message=message))
        if progress is not None:
            self.recorder.progress(progress)

    @_in_its_zone
    def report_background_error(self, error: BaseException, thread: str) -> None:
        """Report an exception in a thread or task of the run, while the run goes on."""
        self._composer.error = self._details_of(error, thread)
        for details, notified in self._failure(error):
            stored = self._dispatcher.store(details, without=notified)
            self.recorder.mark_reported(self._composer.error)
            self._dispatcher.submit(stored)

    def details_of_attempt(self, error: BaseException) -> ErrorDetails:
        """Return in a few words what an attempt failed with that is followed by another one."""
        return _exceptions.in_brief(_exceptions.error_details(error, redactor=self._redact()))

    def record_wait(self, text: str) -> None:
        """Record that the run waits on purpose, as a sign of life."""
        from supervisor._models.values import Progress

        self.recorder.progress(Progress(done=0, message=text))

    def forget_progress(self) -> None:
        """Begin anew with progress, after an attempt that failed."""
        if self._composer.pace is not None:
            self._composer.pace.end()
            self._composer.pace = None

    def _details_of(self, error: BaseException, thread: str = "") -> ErrorDetails:
        release_descriptors()  # from here on they are needed, whatever the script has used up
        details = self.step_error(error, thread)
        steps = self._run.steps
        if steps is not None:
            import attrs

            steps.settle(error)
            details = attrs.evolve(details, step=steps.step_of(error))
        return details

    def step_error(self, error: BaseException, thread: str = "") -> ErrorDetails:
        """Return the details of an error, without secrets."""
        show_locals, redactor = self._settings.show_locals, self._redact()
        return _exceptions.error_details(error, thread=thread, show_locals=show_locals, redactor=redactor)

    def brief_error(self, error: BaseException) -> ErrorDetails:
        """Return the type and the text of an error that is reported in full elsewhere."""
        from supervisor._models.values import ErrorDetails

        return ErrorDetails(type=type(error).__name__, message=self.redact(_exceptions.safe_text(error)[:500]))

    # Alerts

    @_in_its_zone
    def report_alert(self, alert: RunAlert) -> bool:
        """Report that the run stalls or takes too long, unless a check has done so; a stall not too often.

        Returns:
            True for a stall that is held back for now: it is to be reported later, if it lasts.
        """
        from supervisor._alerts.messages import with_stall_number

        alerts = self._alerts
        wanted_by = self._dispatcher.names(alert.kind)
        if alerts is None or not wanted_by:
            return alerts is not None and alerts.raised(alert, None)
        details = self._composer.alert(alert)
        stored: list[Job] = []

        def store(notification: Notification) -> Collection[str]:
            stored.extend(self._dispatcher.store(with_stall_number(details, notification)))
            return [each for each in self._dispatcher.names(Kind.RECOVERY) if each in wanted_by]

        is_held_back = alerts.raised(alert, store)
        self._dispatcher.submit(stored)
        return is_held_back

    @_in_its_zone
    def report_end_of_stall(self, lasted_s: float) -> None:
        """Report that the run makes progress again, to those who were notified of the stall."""
        stored: list[Job] = []

        def store(names: Collection[str]) -> None:
            from supervisor._alerts.messages import goes_on

            stored.extend(self._store_for(names, goes_on(self.report(), lasted_s)))

        ours = self._dispatcher.names(Kind.RECOVERY) if self.recorder.is_finished_by_command() else None
        if self._alerts is not None:
            self._alerts.goes_on(lasted_s, store, ours)
        self._dispatcher.submit(stored)

    # The end

    @_in_its_zone
    def report_end(self, error: BaseException | None) -> None:
        """Record how the run ended, and send the messages about it.

        Where that fails, since a module cannot be loaded any more or for another fault of supervision, the end is
        recorded all the same, and a failure is reported in a few plain words.
        """
        notified = notified_of(error)
        stored: list[Job] = []
        try:
            self._store_end(error, stored)
        except Exception:
            self.recorder.finish_after_fault()
            stored = self._store_plain_failure(error, notified)
            raise
        finally:
            if stored:
                release_descriptors()  # a connection takes one, whatever the script has used up
                self._dispatcher.submit_at_end(stored)
        self._send_to_fleet()
        if self._run.outcome is _FAILURE and self._settings.send == SENT:
            self._warn_without_handlers(stored)
        if self._run.parent is not None and not notified and self._is_unheard():
            from supervisor._run.run_warnings import hand_to_outer

            hand_to_outer(self._run, error or self._run.background_error, self._composer.error)
        if _exceptions.is_in_workflow() and self._run.parent is None and self._run.joined is None:
            from supervisor._messages.rendering import announce_in_workflow

            kind = _KIND_OF.get(self._run.outcome or _FAILURE, Kind.FAILURE)
            announce_in_workflow(self._composer.final_message(kind, (), ""))

    def _is_unheard(self) -> bool:
        """Return whether nobody is notified of how this inner run ended."""
        if self._run.outcome in SUCCEEDED:
            return self._run.outcome is _WARNING and not self._dispatcher.names(Kind.WARNING)
        return not self._dispatcher.names(Kind.FAILURE) and self._settings.logger is None

    def _warn_without_handlers(self, stored: Iterable[Job]) -> None:
        """Log that no handler gets this failure; for an inner run or a program that joined, the outer run logs it."""
        run = self._run
        if run.parent is not None or run.joined is not None:
            return
        is_stored = any(job.delivery.message.kind is Kind.FAILURE for job in stored)
        if not is_stored and not self._dispatcher.names(Kind.FAILURE):
            run.runtime.warn_once_without_handlers(run.name)

    def _store_plain_failure(self, error: BaseException | None, notified: tuple[Any, ...]) -> list[Job]:
        """Store a message about a failure that is made of what is at hand: nothing is loaded for it."""
        if error is None or self._dispatcher is _TO_NOBODY:
            return []
        details = plain_failure(self._run, error, self._redact)
        try:
            return list(self._dispatcher.store(details, without=notified))
        except Exception:  # noqa: BLE001 - the run's boundary: what writes it to the journal cannot be loaded
            self._dispatcher.stay_in_memory()
            return list(self._dispatcher.store(details, without=notified))

    def _store_end(self, error: BaseException | None, stored: list[Job]) -> None:
        if self._composer.pace is not None:
            self._composer.pace.end()
        succeeded = self._run.outcome in SUCCEEDED
        if error is not None and (not succeeded or self._run.outcome is _WARNING):
            self._composer.error = self._details_of(error)
        if self._run.terminated_s is not None:
            self._run.runtime.workers.alarms_first = True
        self._composer.presumed_dead = self.recorder.presumed_dead()
        if succeeded and self._dispatcher is _TO_NOBODY and self._composer.presumed_dead is None:
            self.recorder.finish_silently(self._composer.finished_run())
        else:
            self._record_end(error, stored, succeeded=succeeded)
        if self._run.joined is not None:
            self._hand_back(error, stored)

    def _send_to_fleet(self) -> None:
        """Begin to send the run to the fleet, where the configuration says so; inner runs come with the next check."""
        fleet, run = self._run.runtime.configuration.fleet, self._run
        if fleet is None or fleet.replicate != "end" or run.parent is not None or run.joined is not None:
            return
        journal = self.recorder.journal
        if journal is None:
            return
        from supervisor import _exceptions
        from supervisor._fleet.at_end import AtEnd

        self._at_end = AtEnd(fleet, journal, name=run.name, run_id=run.id, account=_exceptions.user())
        self._at_end.start()

    def _record_end(self, error: BaseException | None, stored: list[Job], *, succeeded: bool) -> None:
        """Record the end, and store the messages about it, in one commit."""
        # All that takes time is done before, since no other process can write to the journal during the commit.
        if self._run.outcome is Outcome.SKIPPED:
            about_end = self._nothing_to_do()
        else:
            about_end = iter(()) if succeeded else self._failure(error)
        composed = [*self._held_back(), *about_end]

        def store(failures_before: str) -> None:
            self._dispatcher.use(self.recorder.outbox)  # the end is in the commit: these messages go with it
            for details, notified in composed:
                by_program = self._run.notified.get(details.kind, ())
                stored.extend(self._dispatcher.store(details, without=(*notified, *by_program)))
                if details.kind is Kind.FAILURE and self._composer.error is not None:
                    self.recorder.mark_reported(self._composer.error)
            if succeeded:
                stored.extend(self._store_good_end(failures_before))

        self.recorder.finish(self._composer.finished_run(), store)

    def _nothing_to_do(self) -> Iterator[Outgoing]:
        """Yield the message that the run had nothing to do, where somebody asks for it."""
        if (presumed := self._composer.presumed_dead) is not None:
            details = self._good_end(Kind.RECOVERY, "")
            self.recorder.store_for(self._dispatcher.unknown_handlers(presumed.notified), details)
            yield details, ()
        elif self._dispatcher.names(Kind.SKIPPED):
            yield self._composer.final_message(Kind.SKIPPED, (*self._run.own_logs, *self._run.attachments), ""), ()

    def _held_back(self) -> Iterator[Outgoing]:
        """Yield the message that says how many notices were not sent, if any."""
        limiter = self._rate_limiter
        if limiter is not None and limiter.held_back:
            yield self._composer.held_back(limiter), ()

    def _hand_back(self, error: BaseException | None, stored: Iterable[Job]) -> None:
        """Let `supervisor run`, which ends the run, know the report and who was notified of what."""
        notified = [(job.delivery.message.kind, job.delivery.handler) for job in stored]
        of_errors = (*notified_of(error), *notified_of(self._run.background_error))
        notified += [(Kind.FAILURE, handler_name(each)) for each in of_errors if hasattr(each, "send_message")]
        assert self._run.joined is not None
        self._run.joined.hand_back(self.report(), self._run.attachments, notified)

    def _store_good_end(self, failures_before: str) -> Iterator[Job]:
        """Store one message about the good end for each handler that is to have one.

        It is the first of these that the handler wants and was not notified of by the program itself: that the runs
        before failed (recovery), that this one has warnings (warning), that it succeeded (success), that an alert of
        this run is over (recovery).
        """
        awaiting = self._alerts.awaiting_recovery() if self._alerts is not None else frozenset[str]()
        if self._composer.presumed_dead is not None:
            awaiting |= frozenset(self._composer.presumed_dead.notified)
            failures_before = failures_before or " "  # it is a recovery also without failures before it
        has_warnings = self._run.outcome is _WARNING
        if not (failures_before or awaiting or has_warnings or Kind.SUCCESS in self._run.needs.announced):
            return
        recovery, warning, success = self._wanting_good_end(failures_before, awaiting)
        unknown = self._dispatcher.unknown_handlers(awaiting)
        if self.recorder.is_finished_by_command():  # it notifies them
            awaiting, unknown = awaiting.difference(unknown), []
        if recovery or unknown:
            yield from self._store_for((*recovery, *unknown), self._good_end(Kind.RECOVERY, failures_before))
        if warning:
            yield from self._store_for(warning, self._good_end(Kind.WARNING, failures_before))
        if success:
            yield from self._store_for(success, self._good_end(Kind.SUCCESS, failures_before))
        if self._alerts is not None and awaiting:
            self._alerts.mark_recovery_notified(awaiting)

    def _wanting_good_end(
        self, failures_before: str, awaiting: Collection[str]
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Return the names of the handlers that get a recovery, of those that get a warning, and a success."""
        kinds = (Kind.RECOVERY, Kind.WARNING, Kind.SUCCESS)
        notified = [each for kind in kinds for each in self._run.notified.get(kind, ())]
        recovery, warning, success = (self._dispatcher.names(kind, without=notified) for kind in kinds)
        if self._run.outcome is not _WARNING:
            warning = ()
        success = tuple(each for each in success if each not in warning)
        if failures_before:
            recovery = self.recorder.reached_by_alarms(recovery)
            warning, success = (tuple(each for each in some if each not in recovery) for some in (warning, success))
            return recovery, warning, success
        others = (*warning, *success)
        return tuple(each for each in recovery if each in awaiting and each not in others), warning, success

    def _good_end(self, kind: Kind, failures_before: str) -> MessageDetails:
        return self._composer.final_message(kind, (*self._run.own_logs, *self._run.attachments), failures_before)

    def _store_for(self, names: Collection[str], details: MessageDetails) -> tuple[Job, ...]:
        """Store a message for these handlers: the run's own, which send it now, and others, for the next check."""
        self.recorder.store_for(self._dispatcher.unknown_handlers(names), details)
        return self._dispatcher.store(details, only=names)

    # Failures

    def _failure(self, error: BaseException | None) -> Iterator[Outgoing]:
        """Log a failure, and yield its message, for all who were not notified of this exception by an inner run."""
        notified = notified_of(error)
        everyone = (*self._settings.handlers, self._settings.logger)
        fresh = [each for each in everyone if each is not None and not is_among(each, notified)]
        presumed = self._composer.presumed_dead
        # Those whom a check has notified of the run's death learn that it did not die, though they are none of its own.
        unknown = self._dispatcher.unknown_handlers(presumed.notified) if presumed is not None else []
        if error is None or self._composer.error is None or not (fresh or unknown):
            return
        joined = self._run.joined
        if self._run.outcome is _FAILURE and joined is not None and joined.is_tried_again(self._run.exit_code):
            return  # `supervisor run` starts the program again, and reports the last attempt
        mark_notified(error, (*notified, *fresh))
        if is_among(self._settings.logger, fresh):
            log_failure(self._run, error, self._redact)
        if presumed is not None or not self.recorder.is_repeat(self._composer.error):
            repeats = self.recorder.describe_repeats(self._composer.error)
            attachments = (*self._composer.logs, *self._run.attachments)
            details = self._composer.final_message(Kind.FAILURE, attachments, repeats)
            self.recorder.store_for(unknown, details)
            yield details, notified

    def _send(self, details: MessageDetails) -> None:
        self._dispatcher.accept(ready_to_store(details))

    # The wait for deliveries

    def wait(self) -> None:
        """Wait until everything is delivered, at most ``delivery_deadline_s`` from the end on; log what is left."""
        left_s = self._settings.delivery_deadline_s - (monotonic() - self._run.ended_s)
        if self._run.terminated_s is not None:
            from supervisor._run.preparation import wait_limit_s

            left_s = min(left_s, wait_limit_s(self._run))
        self._dispatcher.wait(max(0.0, left_s), anew=True)
        if self._at_end is not None:
            self._at_end.wait()

    def flush(self, timeout_s: float | None, *, anew: bool = True) -> bool:
        """Wait for the messages so far, at most ``timeout_s``; return whether all of them were delivered.

        Args:
            timeout_s: The most seconds to wait; None for ``delivery_deadline_s``.
            anew: False does not wait for destinations for which a wait was in vain already.
        """
        timeout_s = self._settings.delivery_deadline_s if timeout_s is None else timeout_s
        return self._dispatcher.flush(timeout_s, anew=anew)

    async def wait_async(self) -> None:
        """Wait as :meth:`wait` does, without holding up asyncio's event loop."""
        asyncio = sys.modules.get("asyncio")
        if asyncio is None or (self._dispatcher.is_settled() and self._at_end is None):
            self.wait()
        else:
            await asyncio.to_thread(self.wait)

    def stop_waiting(self) -> None:
        """End a wait that is under way; what is not delivered stays in the outbox."""
        self._dispatcher.stop_waiting()
