"""Prepare for what the platform may take away: the installation, and the time until a process is killed.

The installation may be gone when a run ends, so what the report of an end needs is loaded before. For that, a sample
failure is composed and written as a message, and each handler prepares to send it. All that this imports is then loaded
for the real failure too. Nothing is stored or sent.

A function may have a deadline, and the kill may follow soon upon the request to end: neither may come before the
message.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from math import floor
from time import monotonic, process_time
from typing import TYPE_CHECKING, Any

import attrs

from supervisor import _exceptions, _log
from supervisor._places import PLACE_VARIABLES, is_watched, this_machine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from supervisor._models.values import MessageDetails
    from supervisor._run.state import RunState
    from supervisor._settings import Settings


def prepare(handlers: Sequence[Any], *, show_locals: bool = False) -> None:
    """Load all that the report of a failure to some handlers needs.

    Args:
        handlers: Those that get failures. One with a method ``prepare(details)`` loads there what sending needs.
        show_locals: Whether reports show local variables.
    """
    try:
        details = _sample_failure(show_locals=show_locals)
        _load_delivery(details)
    except Exception as error:  # noqa: BLE001 - the run's boundary: what cannot be loaded is loaded later, or not
        _log.info("the report of an end could not be prepared: %s: %s", type(error).__name__, error)
        return
    for handler in handlers:
        try:
            prepare_handler = getattr(handler, "prepare", None)
            if callable(prepare_handler):
                prepare_handler(details)
        except Exception as error:  # noqa: BLE001 - the handler's boundary: it may still send
            _log.info("%s could not prepare to send: %s", type(handler).__name__, type(error).__name__)


def _sample_failure(*, show_locals: bool) -> MessageDetails:
    """Return the message of a failure that did not happen."""
    from supervisor._messages import message_for, with_delay_note
    from supervisor._models import Kind, Outcome
    from supervisor._models.values import RunReport
    from supervisor._redaction import Redactor

    redactor, now = Redactor(), datetime.now(UTC)
    try:
        raise LookupError("password=rehearsal")
    except LookupError as error:
        facts = _exceptions.error_details(error, show_locals=show_locals, redactor=redactor)
    report = RunReport(
        id="0",
        name="rehearsal",
        outcome=Outcome.FAILURE,
        started_at=now,
        ended_at=now,
        error=facts,
        **_exceptions.process_facts(process_time()),
    )
    return with_delay_note(message_for(Kind.FAILURE, report), now)


def _load_delivery(details: MessageDetails) -> None:
    """Load what stores a message, packs its attachments, shows it and takes it to its handler."""
    from supervisor._messages import rendering
    from supervisor._store.serialization import dump, load_message

    for name in (*_NEEDED, *((_BAR,) if is_watched() else ())):
        import_module(name)
    load_message(dump(details))
    rendering.rendered(details)
    rendering.as_html(details)
    "localhost".encode("idna")  # as each connection does with its host


_BAR = "supervisor._run.progress_bar"
_NEEDED = (
    "supervisor._alerts.audience",
    "supervisor._alerts.deaths",
    "supervisor._alerts.messages",
    "supervisor._alerts",
    "supervisor._attachments.compression",
    "supervisor._attachments.originals",
    "supervisor._attachments.packing",
    "supervisor._attachments.sources",
    "supervisor._delivery.worker",
    "supervisor._messages.baseline",
    "supervisor._redaction.run_redactor",
    "supervisor._run.changes",
    "supervisor._run.features",
    "supervisor._run.progress",
    "supervisor._run.reporter",
    "supervisor._run.surroundings",
    "supervisor._store.attachment_copies",
    "supervisor._store.processes",
    "supervisor._store.records",
    "supervisor._store.sqlite",
    # What these load late.
    "encodings.utf_16_le",
    "hashlib",
    "logging",
    "tempfile",
    "traceback",
    "zipfile",
)


# The time between the request to end and the kill


GRACE_VARIABLE = "SUPERVISOR_KILL_GRACE_S"
CONTAINER_GRACE_S = 8.0
"""Docker, Kubernetes and Cloud Run kill ten seconds or more after SIGTERM."""
TOLD_BEFORE_S = 2.0
"""How long before its deadline a function says that it takes too long."""
_LEAST_S = 0.5


def wait_limit_s(run: RunState) -> float:
    """Return how many seconds the end of a run may wait for its messages.

    Args:
        run: The run; where it was asked to end, all of it has to be over before the process is killed.
    """
    limit_s = run.settings.delivery_deadline_s
    if run.terminated_s is None or (grace_s := _grace_s()) is None:
        return limit_s
    return max(0.0, min(limit_s, run.terminated_s + grace_s - monotonic()))


@lru_cache(maxsize=1)
def _grace_s() -> float | None:
    """Return the seconds between the request to end and the kill; None where there are enough, or nobody knows."""
    text = os.environ.get(GRACE_VARIABLE, "").strip()
    try:
        given = float(text) if text else None
    except ValueError:
        given = None
    if given is not None and given >= 0:
        return given
    if text:
        _log.warning("%s must be a number of seconds, 0 or more, got %r; the default holds", GRACE_VARIABLE, text)
    is_container = this_machine().pid_namespace or any(name in os.environ for name in PLACE_VARIABLES)
    return CONTAINER_GRACE_S if is_container else None


# Functions with a deadline


def limited(settings: Settings, arguments: Iterable[Any]) -> Settings:
    """Return the settings of one call, which says that it takes too long before the platform kills it.

    Args:
        settings: The settings of the function.
        arguments: What it is called with: one may be the context of an AWS Lambda
            (https://docs.aws.amazon.com/lambda/latest/dg/python-context.html).
    """
    left_s = _left_s(arguments)
    if left_s is None:
        return settings
    limit_s = max(_LEAST_S, floor(10 * (left_s - TOLD_BEFORE_S)) / 10)  # messages name it: 297.9, not 297.98341
    if settings.max_duration_s is not None and settings.max_duration_s <= limit_s:
        return settings
    return attrs.evolve(settings, max_duration_s=limit_s)


def _left_s(arguments: Iterable[Any]) -> float | None:
    for each in arguments:
        try:
            return float(each.get_remaining_time_in_millis()) / 1000
        except Exception:  # noqa: BLE001, S112 - the run's boundary: an argument of the script may be anything
            continue
    try:
        return float(os.environ.get("FUNCTION_TIMEOUT_SEC", "")) or None
    except ValueError:
        return None
