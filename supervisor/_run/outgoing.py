"""What leaves a run: its report, its messages, the mark on an exception that it was reported, and what that takes.

What builds messages is loaded when there is one to build: a run that is only recorded does without.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from time import process_time, time
from typing import TYPE_CHECKING, Any

import attrs

from supervisor import _exceptions, _log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._models.values import ErrorDetails, MessageDetails, Progress, RunReport
    from supervisor._redaction.run_redactor import RunRedactor
    from supervisor._run.state import RunState

TEXT_LIMIT = 1_000_000
_NOTIFIED = "__supervisor_notified__"


@cache  # when run again, an import statement takes as long as making the message
def value_types() -> tuple[type[MessageDetails], type[RunReport]]:
    """Return the classes of messages and reports."""
    from supervisor._models.values import MessageDetails, RunReport

    return MessageDetails, RunReport


def report_on(
    run: RunState, redact: RunRedactor, *, progress: Progress | None, error: ErrorDetails | None
) -> RunReport:
    """Return what is known of a run at this moment, without secrets.

    Args:
        run: The run.
        redact: Removes its secrets.
        progress: Its last progress, redacted.
        error: What went wrong, redacted; None when nothing did.
    """
    has_started = run.started_s is not None
    facts = {
        "progress": progress,
        "log_path": run.log_path,
        "log_tail": run.log.tail if run.log is not None else (),
        "log_counts": run.log.counts if run.log is not None else {},
        **_exceptions.process_facts(run.cpu_started_s if has_started else process_time()),
        **run.facts,
    }
    facts["argv"] = redact.arguments(facts["argv"])
    _, report = value_types()
    return report(
        id=run.id,
        name=run.name,
        outcome=run.outcome,
        started_at=datetime.fromtimestamp(run.started_at_s if has_started else time(), UTC),
        ended_at=datetime.fromtimestamp(run.ended_at_s, UTC) if run.ended_at_s is not None else None,
        duration_s=run.duration_s,
        values=redact.values(run.values or {}),
        error=error,
        exit_code=run.exit_code,
        parent_id=run.parent_id,
        **facts,
    )


# Messages


def message_of_script(subject: object, message: object, **extras: Any) -> MessageDetails:
    """Return a notice of the script as a message; an attachment that is no path is named in its text instead."""
    details, _ = value_types()
    subject, message = _exceptions.safe_text(subject), _exceptions.safe_text(message)
    try:
        return details(subject, message, **extras)
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


# File descriptors, without which nothing leaves

_DESCRIPTORS = 8
_reserved: list[int] = []


def reserve_descriptors() -> None:
    """Keep a few file descriptors free for the failure message of a script that uses up all others.

    "Too many open files" is an ordinary end of a script. Reporting it takes files: modules that are loaded only then,
    a connection to the mail server. Where no descriptors are left, there are no reserves.
    """
    if not _reserved:
        with suppress(OSError):
            _reserved.append(os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
            while len(_reserved) < _DESCRIPTORS:
                _reserved.append(os.dup(_reserved[0]))  # as good as opening it again, and a tenth of the time


def release_descriptors() -> None:
    """Close the reserved descriptors, so that others can be opened instead."""
    while _reserved:
        with suppress(OSError, IndexError):  # another thread, or a script that closes all descriptors, was first
            os.close(_reserved.pop())
