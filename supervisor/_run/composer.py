"""What leaves a run: the composer of its messages, the mark on an exception that it was reported, and reserves.

What builds messages is loaded when there is one to build: a run that is only recorded does without.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from time import process_time
from typing import TYPE_CHECKING, Any

import attrs

from supervisor import _exceptions, _log
from supervisor._exceptions.plain import fit_line
from supervisor._run.recorder import finished_run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._alerts.rules import RunAlert
    from supervisor._alerts.run_alerts import RunAlerts
    from supervisor._delivery.dispatcher import RateLimiter
    from supervisor._models.kinds import Kind
    from supervisor._models.values import ErrorDetails, MessageDetails, Progress, RunReport
    from supervisor._redaction.run_redactor import RunRedactor
    from supervisor._run.progress import ProgressPace
    from supervisor._run.recorder import Recorder
    from supervisor._run.state import RunState
    from supervisor._store import EndedRun
    from supervisor._store.records import RunRecord

TEXT_LIMIT = 1_000_000
SUBJECT_LIMIT = 200
_NOTIFIED = "__supervisor_notified__"


@cache  # when run again, an import statement takes as long as making the message
def value_types() -> tuple[type[MessageDetails], type[RunReport]]:
    """Return the classes of messages and reports."""
    from supervisor._models.values import MessageDetails, RunReport

    return MessageDetails, RunReport


class Composer:
    """Makes the report of one run and the messages about it, without secrets.

    Args:
        run: The run.
        redact: Removes its secrets.
        recorder: Knows the runs before it.
        alerts: Its alerts; None for a run that can have none.

    Attributes:
        pace: The pace of its progress; None before its first progress.
        error: What went wrong; None when nothing did.
    """

    __slots__ = ("_alerts", "_recorder", "_redact", "_run", "error", "pace")

    def __init__(self, run: RunState, redact: RunRedactor, recorder: Recorder, alerts: RunAlerts | None) -> None:
        self._run = run
        self._redact = redact
        self._recorder = recorder
        self._alerts = alerts
        self.pace: ProgressPace | None = None
        self.error: ErrorDetails | None = None

    def report(self) -> RunReport:
        """Return what is known of the run at this moment."""
        run, has_started = self._run, self._run.started_s is not None
        facts = {
            "progress": self._progress(),
            "log_path": run.log_path,
            "log_tail": run.log.tail if run.log is not None else (),
            "log_counts": run.log.counts if run.log is not None else {},
            **_exceptions.process_facts(run.cpu_started_s if has_started else process_time()),
            **run.facts,
        }
        facts["argv"] = self._redact.arguments(facts["argv"])
        _, report = value_types()
        return report(
            id=run.id,
            name=run.name,
            outcome=run.outcome,
            started_at=datetime.fromtimestamp(run.started_at_s if has_started else run.runtime.clock(), UTC),
            ended_at=datetime.fromtimestamp(run.ended_at_s, UTC) if run.ended_at_s is not None else None,
            duration_s=run.duration_s,
            values=self._redact.values(run.values or {}),
            settings=self._redact.values(run.settings.kept),
            error=self.error,
            exit_code=run.exit_code,
            parent_id=run.parent_id,
            **facts,
        )

    def _progress(self) -> Progress | None:
        return self._run.facts.get("progress") if self.pace is None else self.pace.progress()

    def finished_run(self) -> EndedRun:
        """Return what the journal stores of the end of the run."""
        return finished_run(self._run, self._redact.values(self._run.values or {}), self._progress(), self.error)

    @property
    def logs(self) -> tuple[str | None, ...]:
        """Return the paths of the logs that go with a failure: the script's, and the run's own."""
        return (self._run.settings.log_path, *self._run.own_logs)

    def message(self, kind: Kind) -> MessageDetails:
        """Return the message of one kind about the run."""
        from supervisor._messages.builder import message_for

        return message_for(kind, self.report())

    def final_message(self, kind: Kind, attachments: Iterable[Any], note: str) -> MessageDetails:
        """Return the message about the end of the run, with what is known of its alerts and of earlier runs."""
        from supervisor._messages.builder import message_for

        past = self._recorder.earlier_runs(self._run.id)
        alerts = self._alerts.summary(self._run.last_stall_s) if self._alerts is not None else None
        return ready_to_store(message_for(kind, self.report(), attachments, note, past, alerts))

    def notice(self, details: MessageDetails) -> MessageDetails:
        """Return a notice of the script with a report of the run, unless it has one."""
        clean = self._redact.message(details)
        return clean if clean.report is not None else attrs.evolve(clean, report=self.report())

    def held_back(self, limiter: RateLimiter) -> MessageDetails:
        """Return the message that says how many notices were not sent."""
        from supervisor._messages.builder import held_back_message

        subjects = [fit_line(each, SUBJECT_LIMIT, self._redact()) for each in limiter.last_subjects]
        return held_back_message(self.report(), limiter.held_back, subjects)

    def alert(self, alert: RunAlert) -> MessageDetails:
        """Return the message that the run stalls or takes too long."""
        from supervisor._alerts.messages import late_run

        details = self._redact.message(late_run(alert, self.report()))
        return ready_to_store(attrs.evolve(details, attachments=self.logs))

    def death(self, record: RunRecord) -> MessageDetails:
        """Return the message that an earlier run died."""
        from supervisor._alerts.deaths import died

        return died(
            record,
            state=self._recorder.state_directory,
            redact=self._redact().text,
            past=self._recorder.earlier_runs(record.report.id),
            summary=self._recorder.alerts_of(record.report.id),
            shared_log=self._run.log_path,
        )


def message_of_script(subject: object, message: object, **fields: Any) -> MessageDetails:
    """Return a notice of the script as a message; an attachment that is no path is named in its text instead."""
    details, _ = value_types()
    subject, message = _exceptions.safe_text(subject), _exceptions.safe_text(message)
    try:
        return details(subject, message, **fields)
    except (TypeError, ValueError) as fault:
        return details(subject, f"{message}\n\nLeft out: {fault}")


def ready_to_store(details: MessageDetails) -> MessageDetails:
    """Return a message with a text of bounded length, and with the size or fault of each attachment as it is now."""
    if not details.attachments and len(details.own_text) <= TEXT_LIMIT:
        return details
    from supervisor._attachments import describe
    from supervisor._text import cut_middle

    attachments = tuple(describe(each) for each in details.attachments)
    return attrs.evolve(details, message=cut_middle(details.own_text, TEXT_LIMIT), attachments=attachments)


# Who was notified of an exception


def notified_of(error: BaseException | None) -> tuple[Any, ...]:
    """Return who was notified of an exception; of a group, who was notified of each exception in it."""
    try:
        notified = error.__dict__.get(_NOTIFIED, ()) if error is not None else ()
    except Exception:  # noqa: BLE001 - the run's boundary: an exception may break whatever is asked of it
        return ()
    if not isinstance(error, BaseExceptionGroup):
        return tuple(notified)
    first, *others = [notified_of(each) for each in error.exceptions]
    return (*notified, *(one for one in first if all(is_among(one, those) for those in others)))


def mark_notified(error: BaseException, notified: tuple[Any, ...]) -> None:
    """Note on an exception who was notified of it, for the runs around that it passes through."""
    try:
        error.__dict__[_NOTIFIED] = notified
    except Exception:  # noqa: BLE001 - the run's boundary: an exception may refuse new attributes
        _log.info("%s takes no mark: an outer run may report it again", type(error).__name__)


def is_among(one: object, others: Iterable[object]) -> bool:
    """Return whether this very object is there: handlers may compare equal, or not at all."""
    return any(one is other for other in others)


def log_failure(run: RunState, error: BaseException, redact: RunRedactor) -> None:
    """Write a traceback to the script's logger and flush it, so that the attached log has it.

    Args:
        run: The run that failed.
        error: What it failed with.
        redact: Removes the secrets of the run from what supervisor itself logs.
    """
    logger = run.settings.logger
    try:
        logger.error("%s failed", run.name, exc_info=(type(error), error, error.__traceback__))
        for handler in getattr(logger, "handlers", ()):
            handler.flush()
    except Exception:  # noqa: BLE001 - the run's boundary: a log that is full must not stop the message
        _log.warning("the logger of %r took no note of its failure\n%s", run.name, redact.fault())


# File descriptors, without which nothing leaves

_DESCRIPTORS = 8
_reserved: list[tuple[int, tuple[int, int]]] = []
"""Each descriptor with the device and the inode of what it is open on, which nothing else in the process is."""


def reserve_descriptors() -> None:
    """Keep a few file descriptors free for the failure message of a script that uses up all others.

    "Too many open files" is an ordinary end of a script. Reporting it takes files: modules that are loaded only then,
    a connection to the mail server. Where no descriptors are left, there are no reserves.
    """
    if not _reserved:
        with suppress(OSError):
            first, unused = os.pipe()
            os.close(unused)
            status = os.fstat(first)
            _reserved.append((first, (status.st_dev, status.st_ino)))
            while len(_reserved) < _DESCRIPTORS:
                _reserved.append((os.dup(first), _reserved[0][1]))


def release_descriptors() -> None:
    """Close the reserved descriptors, so that others can be opened instead.

    Where the script has closed them, their numbers may be those of its own files, which are left alone.
    """
    while _reserved:
        with suppress(OSError, IndexError):  # another thread, or a script that closes all descriptors, was first
            number, identity = _reserved.pop()
            status = os.fstat(number)
            if (status.st_dev, status.st_ino) == identity:
                os.close(number)
