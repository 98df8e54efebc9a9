"""What a run tells, and to whom: reports are taken, composed into messages, and handed to delivery.

A run loads this when it first has something to say. One road: run, report, compose, message, delivery.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from supervisor import capture
from supervisor.attachments import describe
from supervisor.compose.messages import message_for
from supervisor.delivery import Deliveries
from supervisor.journal.memory import MemoryOutbox
from supervisor.kinds import Kind, Outcome
from supervisor.models import ErrorDetails, MessageDetails, MessageHandler, RunReport
from supervisor.watch.pace import ProgressPace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.run import Run

logger = logging.getLogger("supervisor")

_TOLD = "__supervisor_told__"


class Teller:
    """Speaks for one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._settings = run.settings
        self._deliveries = Deliveries(run.settings.handlers, MemoryOutbox())
        self._error: ErrorDetails | None = None
        self._pace = ProgressPace(run)

    # What is known

    def report(self) -> RunReport:
        """Return what is known of the run at this moment."""
        run = self._run
        return RunReport(
            id=run.id,
            name=run.name,
            outcome=run.outcome,
            started_at=datetime.fromtimestamp(run.started_at_s, UTC),
            ended_at=datetime.fromtimestamp(run.ended_at_s, UTC) if run.ended_at_s is not None else None,
            duration_s=run.duration_s,
            values=run.values,
            progress=self._pace.progress(),
            error=self._error,
            exit_code=run.exit_code,
            parent_id=run.parent.id if run.parent is not None else None,
            log_path=self._settings.log_path,
            **capture.process_facts(run.cpu_started_s),
        )

    # What is told

    def start(self) -> None:
        """Tell that the run has started."""
        self._send(message_for(Kind.START, self.report()))

    def notice(self, subject: str | MessageDetails, message: str, **extras: Any) -> None:
        """Pass on what the script says."""
        details = subject if isinstance(subject, MessageDetails) else _notice(subject, message, **extras)
        if details.report is None:
            details = attrs.evolve(details, report=self.report())
        self._send(details)

    def progress(self, now: float) -> float:
        """Show, log or send progress, each when it is due; return the monotonic time of the next look."""
        if self._pace.look(now, self._settings.progress_interval_s):
            self._send(message_for(Kind.PROGRESS, self.report()))
        return self._pace.next_look(now)

    def aside(self, error: BaseException, thread: str) -> None:
        """Tell of an exception in a thread or task of the run, while the run goes on."""
        self._fail(error, thread)

    def end(self, error: BaseException | None) -> None:
        """Tell how the run ended."""
        self._pace.end()
        if error is not None and self._run.outcome is not Outcome.SUCCESS:
            self._fail(error)
        elif self._run.outcome is Outcome.SUCCESS and Kind.SUCCESS in self._settings.report_on:
            self._send(message_for(Kind.SUCCESS, self.report(), attachments=self._run.attachments))

    def _fail(self, error: BaseException, thread: str = "") -> None:
        """Log and send a failure to everybody who has not heard of this very exception from an inner run."""
        told = _told_of(error)
        log = self._settings.logger
        fresh = [each for each in (*self._settings.handlers, log) if each is not None and not _among(each, told)]
        self._error = capture.error_details(error, thread=thread)
        if not fresh:
            return
        _mark_told(error, (*told, *fresh))
        if log is not None and _among(log, fresh):
            self._log_failure(log, error)
        details = message_for(
            Kind.FAILURE, self.report(), attachments=(self._settings.log_path, *self._run.attachments)
        )
        self._send(details, without=told)

    def _log_failure(self, log: Any, error: BaseException) -> None:
        """Write the traceback to the script's logger and flush it, so that the attached log has it."""
        log.error("%s failed", self._run.name, exc_info=(type(error), error, error.__traceback__))
        for handler in getattr(log, "handlers", ()):
            handler.flush()

    def _send(self, details: MessageDetails, without: Iterable[MessageHandler] = ()) -> None:
        details = attrs.evolve(details, attachments=tuple(describe(each) for each in details.attachments))
        self._deliveries.accept(details, without=tuple(without))

    # How it is waited for

    def wait(self) -> None:
        """Wait until everything is delivered, at most ``delivery_deadline_s``; what is left is logged."""
        self._deliveries.wait(self._settings.delivery_deadline_s)

    async def wait_async(self) -> None:
        """Wait as :meth:`wait` does, without holding up asyncio's event loop."""
        asyncio = sys.modules.get("asyncio")
        if asyncio is None or self._deliveries.is_settled():
            self.wait()
        else:
            await asyncio.to_thread(self.wait)

    def stop_waiting(self) -> None:
        """End a wait that is under way; what is not delivered stays in the outbox."""
        self._deliveries.stop_waiting()


def _notice(subject: object, message: object, **extras: Any) -> MessageDetails:
    """Return what the script says as a message; what cannot be attached is named in it instead of losing it."""
    subject, message = capture.safe_text(subject), capture.safe_text(message)
    try:
        return MessageDetails(subject, message, **extras)
    except (TypeError, ValueError) as fault:
        return MessageDetails(subject, f"{message}\n\nLeft out: {fault}")


def _told_of(error: BaseException) -> tuple[Any, ...]:
    """Return who has heard of an exception; of a group, who has heard of each exception in it."""
    told: tuple[Any, ...] = getattr(error, _TOLD, ())
    if not isinstance(error, BaseExceptionGroup):
        return told
    each = [_told_of(one) for one in error.exceptions]
    return (*told, *(one for one in each[0] if all(_among(one, others) for others in each[1:])))


def _mark_told(error: BaseException, told: tuple[Any, ...]) -> None:
    try:
        setattr(error, _TOLD, told)
    except (AttributeError, TypeError):
        logger.debug("%s takes no mark: an outer run may tell of it again", type(error).__name__)


def _among(one: object, others: Iterable[object]) -> bool:
    """Tell whether this very object is there: handlers may compare equal, or not at all."""
    return any(one is other for other in others)
