"""Report what happens to a run: its start, notices, progress, alerts, failures and its end.

A run loads this when it first has something to report. The way is always the same: the state of the run becomes a
report, the report a message, the message a row in the outbox, and the dispatcher takes it to its handlers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from supervisor import _exceptions
from supervisor._delivery.dispatcher import Dispatcher, RateLimiter, handler_name
from supervisor._delivery.pool import WorkerPool
from supervisor._models.kinds import Kind, Outcome
from supervisor._redaction.run_redactor import RunRedactor
from supervisor._run.composer import (
    Composer,
    is_among,
    log_failure,
    mark_notified,
    message_of_script,
    notified_of,
    ready_to_store,
    release_descriptors,
    reserve_descriptors,
    value_types,
)
from supervisor._run.progress import ProgressPace
from supervisor._run.recorder import Recorder
from supervisor._store.memory import MemoryOutbox

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from supervisor._alerts.rules import RunAlert
    from supervisor._alerts.run_alerts import RunAlerts
    from supervisor._delivery.job import Job
    from supervisor._models.alerts import Notification
    from supervisor._models.values import ErrorDetails, MessageDetails, RunReport
    from supervisor._run.state import RunState

_START, _SUCCESS = Kind.START, Outcome.SUCCESS  # looked up once, as in the life cycle
_TO_NOBODY = Dispatcher((), (), MemoryOutbox(), WorkerPool())
"""The dispatcher of all runs without handlers."""

Outgoing: TypeAlias = "tuple[MessageDetails, tuple[Any, ...]]"
"""A message, and the handlers that do not get it because they were notified before."""


class Reporter:
    """Reports for one run.

    Args:
        run: The run.

    Attributes:
        recorder: Writes the run into the journal.
    """

    __slots__ = (
        "_alerts",
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
        reserve_descriptors()

    def _make_dispatcher(self) -> Dispatcher:
        settings, workers = self._settings, self._run.runtime.workers
        return Dispatcher(settings.handlers, settings.report_on, self.recorder.outbox, workers, self._redact)

    def _make_alerts(self) -> RunAlerts | None:
        """Return what is known of the run's alerts; None for a run that can have none, since it has no limits."""
        if self._settings.stall_after_s is None and self._settings.max_duration_s is None and self._run.joined is None:
            return None
        from supervisor._alerts.run_alerts import RunAlerts

        return RunAlerts(self._run, self.recorder)

    # What is known

    def report(self) -> RunReport:
        """Return what is known of the run at this moment, without secrets."""
        return self._composer.report()

    def plain(self, name: str, value: Any) -> Any:
        """Return a recorded value as something frozen, without secrets."""
        return _exceptions.plain_value(value, name=name, redactor=self._redact())

    def redact(self, text: str) -> str:
        """Return a text without secrets."""
        return self._redact().text(text)

    # The start

    def report_start(self) -> None:
        """Record that the run has started, and send what is due at that moment."""
        if not self.recorder.start():
            self._dispatcher.stay_in_memory()
        if self.recorder.has_unfinished_runs:
            self._report_deaths()
        self._dispatcher.fetch_waiting()
        if _START in self._settings.announced:
            self._send(self._composer.message(Kind.START))

    def _report_deaths(self) -> None:
        """Report the earlier runs of this name that were killed or went down with the machine."""
        stored: list[Job] = []
        for record in self.recorder.dead_runs():
            # Composed before the commit, since a disk may be slow to read what is left of a log.
            details = self._composer.death(record) if self._dispatcher is not _TO_NOBODY else None
            self.recorder.mark_died(record.report.id, lambda: self._store(details, stored))  # noqa: B023 - called at once
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
        is_message_due = self._composer.pace.look(now, self._settings.progress_interval_s)
        progress = self._composer.pace.progress()
        if progress is not None:
            self.recorder.progress(progress)
        if is_message_due:
            self._send(self._composer.message(Kind.PROGRESS))
        return self._composer.pace.next_look(now)

    def record_output(self) -> None:
        """Record the last line that the program printed as progress: a check takes it for a sign of life."""
        from supervisor._models.values import Progress

        done, total, message = self._run.position
        progress = self._redact.progress(Progress(done=done, total=total, message=message))
        if progress is not None:
            self.recorder.progress(progress)

    def report_background_error(self, error: BaseException, thread: str) -> None:
        """Report an exception in a thread or task of the run, while the run goes on."""
        self._composer.error = self._details_of(error, thread)
        for details, notified in self._failure(error):
            stored = self._dispatcher.store(details, without=notified)
            self.recorder.mark_reported(self._composer.error)
            self._dispatcher.submit(stored)

    def _details_of(self, error: BaseException, thread: str = "") -> ErrorDetails:
        release_descriptors()  # from here on they are needed, whatever the script has used up
        show_locals, redactor = self._settings.show_locals, self._redact()
        return _exceptions.error_details(error, thread=thread, show_locals=show_locals, redactor=redactor)

    # Alerts

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

    def report_end(self, error: BaseException | None) -> None:
        """Record how the run ended, and send the messages about it.

        Where that fails, since a module cannot be loaded any more or for another fault of supervision, the end is
        recorded all the same.
        """
        try:
            self._report_end(error)
        except Exception:
            self.recorder.finish_after_fault()
            raise

    def _report_end(self, error: BaseException | None) -> None:
        if self._composer.pace is not None:
            self._composer.pace.end()
        succeeded = self._run.outcome is _SUCCESS
        if error is not None and not succeeded:
            self._composer.error = self._details_of(error)
        stored: list[Job] = []
        if succeeded and self._dispatcher is _TO_NOBODY:
            self.recorder.finish_silently(self._composer.finished_run())
        else:
            self._record_end(error, stored, succeeded=succeeded)
        if self._run.joined is not None:
            self._hand_back(error, stored)
        if stored:
            self._dispatcher.submit(stored)

    def _record_end(self, error: BaseException | None, stored: list[Job], *, succeeded: bool) -> None:
        """Record the end, and store the messages about it, in one commit."""
        # All that takes time is done before, since no other process can write to the journal during the commit.
        composed = [*self._held_back(), *(() if succeeded else self._failure(error))]

        def store(failures_before: str) -> None:
            for details, notified in composed:
                by_program = self._run.notified.get(details.kind, ())
                stored.extend(self._dispatcher.store(details, without=(*notified, *by_program)))
                if details.kind is Kind.FAILURE and self._composer.error is not None:
                    self.recorder.mark_reported(self._composer.error)
            if succeeded:
                stored.extend(self._store_good_end(failures_before))

        self.recorder.finish(self._composer.finished_run(), store)

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
        before failed (recovery), that this one succeeded (success), that an alert of this run is over (recovery).
        """
        awaiting = self._alerts.awaiting_recovery() if self._alerts is not None else frozenset[str]()
        if not failures_before and not awaiting and Kind.SUCCESS not in self._settings.announced:
            return
        recovery, success = self._wanting_good_end(failures_before, awaiting)
        unknown = self._dispatcher.unknown_handlers(awaiting)
        if self.recorder.is_finished_by_command():  # it notifies them
            awaiting, unknown = awaiting.difference(unknown), []
        if recovery or unknown:
            yield from self._store_for((*recovery, *unknown), self._good_end(Kind.RECOVERY, failures_before))
        if success:
            yield from self._store_for(success, self._good_end(Kind.SUCCESS, failures_before))
        if self._alerts is not None and awaiting:
            self._alerts.mark_recovery_notified(awaiting)

    def _wanting_good_end(
        self, failures_before: str, awaiting: Collection[str]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the handlers that get the message of a recovery, and of those that get a success."""
        notified = [each for kind in (Kind.RECOVERY, Kind.SUCCESS) for each in self._run.notified.get(kind, ())]
        recovery = self._dispatcher.names(Kind.RECOVERY, without=notified)
        success = self._dispatcher.names(Kind.SUCCESS, without=notified)
        if failures_before:
            return recovery, tuple(each for each in success if each not in recovery)
        return tuple(each for each in recovery if each in awaiting and each not in success), success

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
        if error is None or self._composer.error is None or not fresh:
            return
        mark_notified(error, (*notified, *fresh))
        if is_among(self._settings.logger, fresh):
            log_failure(self._run, error, self._redact)
        if not self.recorder.is_repeat(self._composer.error):
            attachments = (*self._composer.logs, *self._run.attachments)
            repeats = self.recorder.describe_repeats(self._composer.error)
            yield self._composer.final_message(Kind.FAILURE, attachments, repeats), notified

    def _send(self, details: MessageDetails) -> None:
        self._dispatcher.accept(ready_to_store(details))

    # The wait for deliveries

    def wait(self) -> None:
        """Wait until everything is delivered, at most ``delivery_deadline_s``; what is left is logged."""
        self._dispatcher.wait(self._settings.delivery_deadline_s)

    def flush(self, timeout_s: float | None) -> bool:
        """Wait for the messages so far, at most ``timeout_s``; return whether all of them were delivered.

        Args:
            timeout_s: The most seconds to wait; None for ``delivery_deadline_s``.
        """
        return self._dispatcher.flush(self._settings.delivery_deadline_s if timeout_s is None else timeout_s)

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
