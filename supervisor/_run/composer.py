"""Compose the messages of a run, mark exceptions as reported, and keep what a report needs in an emergency.

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
from supervisor._exceptions.facts import fit_line
from supervisor._models import Kind
from supervisor._run.recorder import finished_run, links_of
from supervisor._setting_values import is_same_destination
from supervisor._settings import kept_of
from supervisor._text import cut_clean, cut_middle, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from supervisor._alerts import RunAlert, RunAlerts
    from supervisor._delivery import RateLimiter
    from supervisor._models.values import ErrorDetails, MessageDetails, Progress, RunReport, RunWarning
    from supervisor._redaction.run_redactor import RunRedactor
    from supervisor._run.progress import ProgressPace
    from supervisor._run.recorder import Recorder
    from supervisor._run.state import RunState
    from supervisor._store import EndedRun
    from supervisor._store.records import PresumedDead, RunRecord

TEXT_LIMIT = 1_000_000
SUBJECT_LIMIT = 200
_LONG_SUBJECT, _LONG_HTML = 10_000, 4 * TEXT_LIMIT
_MAY_HAVE_CAUSE = (Kind.FAILURE, Kind.SUCCESS, Kind.WARNING, Kind.RECOVERY)
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
        presumed_dead: When the run was reported as died, found at its end; None when it was not.
    """

    __slots__ = ("_alerts", "_recorder", "_redact", "_run", "error", "pace", "presumed_dead")

    def __init__(self, run: RunState, redact: RunRedactor, recorder: Recorder, alerts: RunAlerts | None) -> None:
        self._run = run
        self._redact = redact
        self._recorder = recorder
        self._alerts = alerts
        self.pace: ProgressPace | None = None
        self.error: ErrorDetails | None = None
        self.presumed_dead: PresumedDead | None = None

    def report(self) -> RunReport:
        """Return what is known of the run at this moment."""
        run, has_started = self._run, self._run.started_s is not None
        kept = kept_of(run.settings)
        facts = {
            "progress": self._progress(),
            "log_path": run.log_path,
            "log_tail": run.log.tail if run.log is not None else (),
            "log_warnings": run.log.warnings if run.log is not None else (),
            "log_counts": run.log.counts if run.log is not None else {},
            **_exceptions.process_facts(run.cpu_started_s if has_started else process_time()),
            **run.facts,
        }
        if run.settings.host is not None:
            facts["host"] = run.settings.host
        facts["argv"] = self._redact.arguments(facts["argv"])
        facts["values"] = self._redact.values(run.values or {})
        facts["settings"] = self._redact.values(kept)
        if run.warnings is not None or run.log is not None:
            facts["warnings"], facts["warning_count"] = self._warnings()
        if run.steps is not None:
            facts["steps"] = run.steps.report()
        _, report = value_types()
        return report(
            id=run.id,
            name=run.name,
            parent_id=run.parent_id,
            outcome=run.outcome,
            started_at=datetime.fromtimestamp(run.started_at_s if has_started else run.runtime.clock(), UTC),
            ended_at=datetime.fromtimestamp(run.ended_at_s, UTC) if run.ended_at_s is not None else None,
            duration_s=run.duration_s,
            error=self.error,
            exit_code=run.exit_code,
            links=links_of(run, self._redact),
            retried=run.retried,
            **{"tables": run.tables, **facts},
        )

    def links(self) -> Mapping[str, str]:
        """Return the addresses of pages about the run, without secrets."""
        return links_of(self._run, self._redact)

    def _progress(self) -> Progress | None:
        return self._run.facts.get("progress") if self.pace is None else self.pace.progress()

    def finished_run(self) -> EndedRun:
        """Return what the journal stores of the end of the run."""
        end = finished_run(self._run, self._redact.values(self._run.values or {}), self._progress(), self.error)
        if self._run.steps is not None:
            end = end._replace(steps=self._run.steps.report())
        elif "steps" in self._run.facts:  # of a program that joined the run
            end = end._replace(steps=self._run.facts["steps"])
        if self._run.warnings is None and self._run.log is None:
            return end
        first, count = self._warnings()
        return end._replace(warnings=first, warning_count=count)

    def _warnings(self) -> tuple[tuple[RunWarning, ...], int]:
        from supervisor._run.run_warnings import all_of

        return all_of(self._run)

    @property
    def logs(self) -> tuple[str | None, ...]:
        """Return the paths of the logs that go with a failure: the script's, and the run's own."""
        return (self._run.settings.log_path, *self._run.own_logs)

    def message(self, kind: Kind) -> MessageDetails:
        """Return the message of one kind about the run."""
        from supervisor._messages import message_for

        return message_for(kind, self.report())

    def final_message(self, kind: Kind, attachments: Iterable[Any], note: str) -> MessageDetails:
        """Return the message about the end of the run, with what is known of its alerts and of earlier runs."""
        from supervisor._messages import message_for

        past = self._recorder.earlier_runs(self._run.id)
        alerts = self._alerts.summary(self._run.last_stall_s) if self._alerts is not None else None
        alive = self.presumed_dead.sentence if self.presumed_dead is not None else ""
        note = " ".join(filter(None, (alive, note, self._faults())))
        details = message_for(kind, self.report(), attachments, note, past, alerts)
        if self._run.settings.subject is not None:
            details = self._with_own_subject(details)
        if self.presumed_dead is not None and kind is Kind.RECOVERY:
            details = attrs.evolve(details, subject=f"{details.subject}: it was alive after all")
        if kind is Kind.FAILURE and self._run.settings.alert_after is not None:
            from supervisor._alerts.messages import with_failures_before

            details = with_failures_before(details, self._recorder.failures_before())
        return ready_to_store(self._with_changes(details))

    def _with_changes(self, details: MessageDetails) -> MessageDetails:
        """Return a message with what changed since the run last went well, where that may be the cause."""
        if details.kind not in _MAY_HAVE_CAUSE:
            return details
        try:
            from supervisor._run.changes import may_explain, with_changes

            changes = self._recorder.changes() if may_explain(details) else None
            return with_changes(details, changes, self._redact().text) if changes is not None else details
        except Exception as error:  # noqa: BLE001 - the run's boundary: a message goes without them
            _log.info("what changed before %r is not known: %s: %s", self._run.name, type(error).__name__, error)
            return details

    def _with_own_subject(self, details: MessageDetails) -> MessageDetails:
        """Return the message with the subject that the script wants; with the usual one where that cannot be made."""
        from supervisor._messages import own_subject

        template, report = self._run.settings.subject, details.report
        if details.kind not in own_subject.KINDS or template is None or report is None:
            return details
        try:
            subject = self._redact().text(own_subject.filled_in(template, details.kind, report))
        except Exception as error:  # noqa: BLE001 - the run's boundary: a subject of the script's own never stops a message
            _log.warning("the subject %r of %r cannot be made: %s", template, self._run.name, type(error).__name__)
            return details
        return attrs.evolve(details, subject=subject) if subject else details

    def _faults(self) -> str:
        """Return what of supervision failed during the run, as a sentence; "" for nothing."""
        lines = [one_line(each, SUBJECT_LIMIT) for each in self._run.faults]
        return f"Supervision went on without a step, as its log says: {'; '.join(lines)}." if lines else ""

    def notice(self, details: MessageDetails) -> MessageDetails:
        """Return a notice of the script with a report of the run, unless it has one."""
        clean = self._redact.message(self._bounded(details))
        return clean if clean.report is not None else attrs.evolve(clean, report=self.report())

    def _bounded(self, details: MessageDetails) -> MessageDetails:
        """Return a message whose texts can be searched for secrets at once, however long the script's are."""
        if len(details.subject) + len(details.own_text) + len(details.html or "") <= TEXT_LIMIT:
            return details
        return attrs.evolve(
            details,
            subject=fit_line(details.subject, _LONG_SUBJECT, self._redact()),
            message=cut_clean(details.own_text, TEXT_LIMIT, self._redact().text),
            html=details.html if len(details.html or "") <= _LONG_HTML else None,
        )

    def held_back(self, limiter: RateLimiter) -> MessageDetails:
        """Return the message that says how many notices were not sent."""
        from supervisor._messages import held_back_message

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


def plain_failure(run: RunState, error: BaseException, redact: RunRedactor) -> MessageDetails:
    """Return a message about a failure in a few words, where the whole one cannot be made; it loads nothing."""
    details, _ = value_types()
    name = type(error).__name__
    try:
        said = redact().text(str(error))
    except Exception:  # noqa: BLE001 - the run's boundary: without what finds secrets, no text leaves
        said = "(its text is left out: what removes secrets from it cannot be loaded)"
    lines, trace = [f"{name}: {said}", "", "Its traceback, the outermost call first:"], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}')
        trace = trace.tb_next
    lines += ["", "The whole report of this failure could not be made; the log of the script says why."]
    return details(f"{run.name} failed: {name}", "\n".join(lines), kind=Kind.FAILURE)


def message_of_script(subject: object, message: object, **fields: Any) -> MessageDetails:
    """Return a notice of the script as a message; what cannot be sent is named in its text instead."""
    details, _ = value_types()
    subject, message = _exceptions.safe_text(subject), _exceptions.safe_text(message)
    good: dict[str, Any] = {}
    for name, value in fields.items():
        try:
            if not _is_default(name, value):
                good[name] = _as_field(name, value)
        except Exception as fault:  # noqa: BLE001 - the run's boundary: an object of the script may raise anything
            reason = _exceptions.safe_text(fault) or type(fault).__name__
            message += f"\n\nLeft out: {reason}"
            if name == "level":
                _log.warning("a notice is sent without its level: %s", reason)
    return details(subject, message, **good)


def _is_default(name: str, value: object) -> bool:
    """Return whether a script gave a field its default, which needs no check."""
    if name == "level" and type(value) is str:
        return value == "info"
    return value is None or (name == "attachments" and type(value) is tuple and not value)


def _as_field(name: str, value: Any) -> Any:
    """Return what a script gave for a field of a message as the message holds it.

    Raises:
        Exception: It is nothing that a message can hold.
    """
    details, _ = value_types()
    if isinstance(value, str):
        value = _exceptions.safe_text(value)  # a text of the script's own type may raise when it is used
    if name == "html":
        if not isinstance(value, str):
            raise TypeError(f"MessageDetails: html takes a text, got {value!r}")
        return value
    made = details("", **{name: value})
    if name == "level":
        return made.level
    return made.attachments if name == "attachments" else made.blocks_json


def ready_to_store(details: MessageDetails) -> MessageDetails:
    """Return a message with a text of bounded length, and with the size or fault of each attachment as it is now."""
    if not details.attachments and len(details.own_text) <= TEXT_LIMIT:
        return details
    from supervisor._attachments import describe

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
    """Return whether this destination is there; of what is no handler, this very object."""
    return any(is_same_destination(one, other) for other in others)


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
