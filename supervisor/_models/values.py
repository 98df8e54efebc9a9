"""The immutable values that scripts and handlers see: messages, reports, errors, progress, attachments, deliveries.

A handler gets everything that it may need from a :class:`MessageDetails`.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import attrs

import supervisor._models as models
from supervisor._models import DeliveryState, Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from supervisor._models.parts import MessagePart, Table

__all__ = [
    "Attachment",
    "Delivery",
    "DeliveryState",
    "ErrorDetails",
    "Kind",
    "MessageDetails",
    "MessageHandler",
    "Outcome",
    "Progress",
    "RunReport",
    "RunStep",
    "RunWarning",
]

PathLike: TypeAlias = "str | os.PathLike[str]"
Attachable: TypeAlias = "PathLike | Attachment"


@attrs.frozen
class Attachment:
    """A file or directory that is sent with a message.

    Args:
        path: Where it is; of a message that a handler gets, the copy that was made when it was accepted.
        name: The name that the recipient sees; by default the last part of ``path``.
        size_bytes: Its size when the message was accepted; None if not known (a directory, a missing file).
        note: A remark for the recipient ("missing", "last 18 MB of 512 MB"); "" for none.
        is_inline: Whether a picture (PNG, JPEG, GIF, WebP) is shown in the text of mails; elsewhere it is a file.
    """

    path: Path = attrs.field(converter=Path)
    name: str = attrs.field(kw_only=True)
    size_bytes: int | None = attrs.field(default=None, kw_only=True)
    note: str = attrs.field(default="", kw_only=True)
    is_inline: bool = attrs.field(default=False, kw_only=True)

    @name.default
    def _name_of_path(self) -> str:
        return self.path.name or str(self.path)


@attrs.frozen(kw_only=True)
class Progress:
    """The progress of a run.

    Args:
        done: The number of items finished so far.
        total: The number of all items; None if not known.
        message: What the run is doing, as the script says it; "" for nothing.
        rate_per_s: Items per second so far; None while it is not known.
    """

    done: float
    total: float | None = None
    message: str = ""
    rate_per_s: float | None = None

    @property
    def percentage(self) -> float | None:
        """Return 0-100, or None if the total is not known or not positive; never more than 100."""
        if self.total is None or not self.total > 0:
            return None
        return max(0.0, min(100.0, 100.0 * self.done / self.total))

    @property
    def eta_s(self) -> float | None:
        """Return the remaining seconds at the rate so far, or None if they cannot be estimated."""
        if self.total is None or not self.rate_per_s or self.total < self.done:
            return None
        left_s = (self.total - self.done) / self.rate_per_s
        return left_s if isfinite(left_s) else None


@attrs.frozen(kw_only=True)
class ErrorDetails:
    """An error as text, which can be kept, stored and sent.

    Args:
        type: The exception's class, qualified unless it is a builtin ("KeyError", "sqlite3.OperationalError").
        message: Its message; "" if it has none, a replacement if its ``__str__`` raises.
        where: The innermost frame of the script ("parcels.py:41 in load"); "" if there is none.
        source: The source line at ``where``; "" if its file cannot be read.
        excerpt: A few source lines around ``where``, numbered, with the line itself marked; "" if the file cannot be
            read.
        notes: The notes that were added with ``add_note``.
        local_variables: Names and values of the local variables at ``where``; empty unless ``show_locals`` is set.
        traceback: The full traceback with its chain and groups, bounded in size.
        thread: The thread or task that raised it; "" for the run's own.
        fingerprint: Equal for errors of the same type at the same place.
        bases: The full names of its class and of those that it derives from, "object" left out; of a group, also those
            that all exceptions in it have in common.
        some_bases: Of a group, those names that only some of the exceptions in it have.
        step: The step of the run in which it was raised; "" for none.
    """

    type: str
    message: str = ""
    where: str = ""
    source: str = ""
    excerpt: str = ""
    notes: tuple[str, ...] = ()
    local_variables: tuple[tuple[str, str], ...] = ()
    traceback: str = ""
    thread: str = ""
    fingerprint: str = ""
    bases: tuple[str, ...] = ()
    some_bases: tuple[str, ...] = ()
    step: str = ""

    def __str__(self) -> str:
        between = ": " if " " in self.type and self.message else " "  # "exit code 3" is not the name of a class
        return f"{self.type}{between}{self.message}".rstrip()


def _frozen_mapping(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(values))


@attrs.frozen(kw_only=True)
class RunWarning:
    """Something that a run which went on was warned of.

    Args:
        text: What is wrong.
        values: What the script gave with it.
        step: The step, or the inner run, that it comes from; "" for the run itself.
        is_logged: Whether it is a record of the run's own log (``warn_on``); its text is then the line in that log.
    """

    text: str
    values: Mapping[str, Any] = attrs.field(factory=dict, converter=_frozen_mapping, hash=False)
    step: str = ""
    is_logged: bool = False

    def __str__(self) -> str:
        from supervisor._text import value_text

        values = ", ".join(f"{name}={value_text(each)}" for name, each in self.values.items())
        return f"{self.step}{': ' if self.step else ''}{self.text}{f' ({values})' if values else ''}"


@attrs.frozen(kw_only=True)
class RunStep:
    """A step of a run, or the sum of those that are not kept.

    Args:
        name: What it is called.
        outcome: How it ended; None while it is under way.
        started_at: When it began, as an aware UTC datetime.
        duration_s: How long it took, or has taken so far, in seconds.
        values: What the script recorded in it.
        error: The error that left it; None without one. The first three after which the script went on have their
            tracebacks.
        warning_count: How many warnings there were in it.
        progress: How far it is while it is under way; None if it said nothing.
        depth: How many steps it is nested in.
        count: How many steps this is the sum of; 1 for a step by itself.
    """

    name: str
    outcome: Outcome | None = None
    started_at: datetime
    duration_s: float = 0.0
    values: Mapping[str, Any] = attrs.field(factory=dict, converter=_frozen_mapping, hash=False)
    error: ErrorDetails | None = None
    warning_count: int = 0
    progress: Progress | None = None
    depth: int = 0
    count: int = 1


@attrs.frozen(kw_only=True)
class RunReport:
    """The state of a run at some moment.

    Args:
        id: The id of the run, unique among all runs.
        name: The name of the run.
        outcome: How it ended; None while it is running.
        started_at: When it started, as an aware UTC datetime.
        ended_at: When it ended; None while it is running.
        duration_s: Seconds so far, by a monotonic clock.
        values: What the script recorded with ``run.record()``, in that order.
        progress: The last progress; None if the run reported none.
        error: The error that it failed with; None without one.
        exit_code: The code that the script passed to ``sys.exit()``; None if it did not call it.
        parent_id: The id of the run that this one is nested in; None for an outermost run.
        host: Where it runs, as a person would look for it: a Cloud Run job, a pod, a workflow, or the machine's name.
        user: The user that ran it.
        pid: The id of the process.
        argv: The command line.
        python: The version of Python.
        cpu_s: Processor seconds that the process used during the run, by all threads together.
        peak_memory_bytes: The most memory that the process has used; None if the platform does not report it.
        log_path: The log given with ``log_path``, or the run's own (``capture_logs``); None without one.
        log_tail: The last lines of the run's own log, oldest first; empty without one.
        log_warnings: The first lines of the run's own log from WARNING up, the worst level first, at most ten.
        log_counts: How many records of each level the run's own log has ("ERROR": 2, "WARNING": 14), levels from
            WARNING up; empty without one.
        settings: The settings that the journal keeps with the run, by their names; those that have their default are
            left out.
        links: Addresses of pages about the run, by their titles.
        warnings: The first ten of what it was warned of: with ``run.warn()``, by its exit code, by its inner runs, and
            by records of its own log; those of the log come last.
        warning_count: How many warnings there were in all.
        tables: The tables that the script shows with ``run.table()``; the journal does not keep them.
        retried: The errors of the attempts before the last (``retries``), oldest first, without their tracebacks; empty
            for a run of one attempt.
        steps: Its steps in their order, at most 200, and the sum of all others.
    """

    id: str
    name: str
    outcome: Outcome | None = None
    started_at: datetime
    ended_at: datetime | None = None
    duration_s: float = 0.0
    values: Mapping[str, Any] = attrs.field(factory=dict, converter=_frozen_mapping, hash=False)
    progress: Progress | None = None
    error: ErrorDetails | None = None
    exit_code: int | None = None
    parent_id: str | None = None
    host: str = ""
    user: str = ""
    pid: int = 0
    argv: tuple[str, ...] = ()
    python: str = ""
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    log_path: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))
    log_tail: tuple[str, ...] = ()
    log_warnings: tuple[str, ...] = ()
    log_counts: Mapping[str, int] = attrs.field(factory=dict, converter=_frozen_mapping, hash=False)
    settings: Mapping[str, Any] = attrs.field(factory=dict, converter=_frozen_mapping, hash=False)
    links: Mapping[str, str] = attrs.field(factory=dict, converter=_frozen_mapping, hash=False)
    warnings: tuple[RunWarning, ...] = ()
    warning_count: int = 0
    retried: tuple[ErrorDetails, ...] = ()
    steps: tuple[RunStep, ...] = ()
    tables: tuple[Table, ...] = ()

    @property
    def attempts(self) -> int:
        """Return how many attempts there were, with the last one: 1 unless ``retries`` is set and one failed."""
        return len(self.retried) + 1


def attachments_of(value: Attachable | Iterable[Attachable | None] | None) -> tuple[Attachment, ...]:
    """Return one path or several as attachments; None and "" are ignored, as they were in 3.x.

    Raises:
        TypeError: One of the values is no path.
    """
    if value is None or isinstance(value, (str, os.PathLike, Attachment)):
        value = (value,)
    if not isinstance(value, Iterable):
        raise _not_a_path(value)
    return tuple(_attachment(each) for each in value if each is not None and each != "")


def _attachment(value: Attachable) -> Attachment:
    if isinstance(value, Attachment):
        return value
    if not isinstance(value, (str, os.PathLike)):
        raise _not_a_path(value)
    return Attachment(Path(value))


def _not_a_path(value: object) -> TypeError:
    return TypeError(
        f"MessageDetails: attachments takes a path or several (str, os.PathLike, Attachment), got {value!r}"
    )


def _blocks(value: Iterable[Any] | None) -> str | None:
    """Return Block Kit blocks as JSON text, since lists and dicts could be changed later."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps([each.to_dict() if hasattr(each, "to_dict") else each for each in value])


LEVELS = ("info", "warning", "error", "critical")
_STYLES = {"warning": Kind.WARNING, "error": Kind.FAILURE, "critical": Kind.FAILURE}


def _level(value: str) -> str:
    level = value.strip().lower() if isinstance(value, str) else value
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(map(repr, LEVELS))}, got {value!r}")
    return level


def _parts(value: Iterable[MessagePart]) -> tuple[MessagePart, ...]:
    return tuple(value)


def _new_id() -> str:
    return os.urandom(16).hex()


def _now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen
class MessageDetails:
    """One message, as every handler gets it.

    Args:
        subject: The headline. Handlers convert it into one line.
        message: The text, complete by itself; "" derives it from ``parts``.
        attachments: One path or several (files or directories); None and "" are ignored.
        kind: What the message is about; a notice is what the script itself sends.
        level: How serious a notice is: "info", "warning", "error" or "critical". It decides on colours, signs and
            severities; other kinds have theirs. Capital letters do not matter.
        html: The same text as HTML; None lets a handler create it from ``parts`` or ``message``.
        blocks: Slack Block Kit blocks (slack_sdk objects or dicts); None lets the Slack handler create them.
        report: The state of the run when the message was written; None outside of runs.
        parts: The contents of a message that supervisor composed (see :mod:`supervisor.plugins`); empty for a message
            that consists of a text only.
        id: The same however often the message is sent, so that a repetition can be recognized.
        created_at: When it was written, as an aware UTC datetime.

    Raises:
        TypeError: ``attachments`` contains something that is no path.
        ValueError: ``kind`` or ``level`` is none of those that there are.
    """

    subject: str
    own_text: str = attrs.field(default="", alias="message")
    attachments: tuple[Attachment, ...] = attrs.field(default=(), converter=attachments_of)
    kind: Kind = attrs.field(default=Kind.NOTICE, converter=Kind, kw_only=True)
    level: str = attrs.field(default="info", converter=_level, kw_only=True)
    html: str | None = attrs.field(default=None, kw_only=True, repr=False)
    blocks_json: str | None = attrs.field(default=None, converter=_blocks, kw_only=True, alias="blocks", repr=False)
    report: RunReport | None = attrs.field(default=None, kw_only=True, repr=False)
    parts: tuple[MessagePart, ...] = attrs.field(default=(), converter=_parts, kw_only=True, repr=False)
    id: str = attrs.field(factory=_new_id, kw_only=True)
    created_at: datetime = attrs.field(factory=_now, kw_only=True)

    @property
    def message(self) -> str:
        """Return the text that was given, or else the one derived from the parts, each time anew."""
        if self.own_text or not self.parts:
            return self.own_text
        return models.render_text(self)

    @property
    def style(self) -> Kind:
        """Return the kind whose colours and signs the message has: its own, or of a notice the one for its level."""
        return _STYLES.get(self.level, self.kind) if self.kind is Kind.NOTICE else self.kind

    @property
    def blocks(self) -> list[dict[str, Any]] | None:
        """Return a new copy of the Block Kit blocks, or None if the message has none."""
        if self.blocks_json is None:
            return None
        blocks: list[dict[str, Any]] = json.loads(self.blocks_json)
        return blocks


def _explained(init: Callable[..., None]) -> Callable[..., None]:
    """Let a message without a subject, as version 3 made it, say how it is written now."""

    @functools.wraps(init)
    def explained(self: MessageDetails, *arguments: Any, **fields: Any) -> None:
        if not arguments and "subject" not in fields:
            raise TypeError(
                "MessageDetails needs its subject and all else when it is made, since version 4: write "
                'MessageDetails("subject", "text", attachments=[...]), '
                "or from supervisor.compat import MessageDetails, or run `supervisor migrate`"
            )
        init(self, *arguments, **fields)

    return explained


MessageDetails.__init__ = _explained(MessageDetails.__init__)  # type: ignore[method-assign]  # it has the same parameters


@attrs.frozen(kw_only=True)
class Delivery:
    """One message to one handler.

    Args:
        message: The message.
        handler: The name of the handler.
        state: Pending until the destination accepts the message or rejects it permanently.
        attempts: How many times it was tried.
        last_error: Why the last attempt failed; "" before the first failure.
        key: Its key, unique within one outbox.
        failing_s: For how many seconds attempts have failed; what lies between two of them counts a day at most.
        passed_over: How often the destination accepted other messages after an attempt with this one had failed.
        doubts: After how many attempts the answer is not known, since the process ended before it came.
        is_in_doubt: Whether the answer to the last attempt is not known; that attempt is settled before the next one.
    """

    message: MessageDetails
    handler: str
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    last_error: str = ""
    key: int
    failing_s: float = 0.0
    passed_over: int = 0
    doubts: int = 0
    is_in_doubt: bool = False


_before_handover: ContextVar[Callable[[], None] | None] = ContextVar("supervisor_before_handover", default=None)


def note_handover() -> None:
    """Note in the outbox that from now on the destination may have the message that is being sent.

    A handler with ``notes_handover = True`` calls this just before the last byte of a message goes out. For all others
    the outbox notes it before ``send_message``. Outside of deliveries it does nothing.
    """
    note = _before_handover.get()
    if note is not None:
        note()


@contextmanager
def noting_handover(note: Callable[[], None]) -> Iterator[None]:
    """Let :func:`note_handover` call a function while the block lasts."""
    token = _before_handover.set(note)
    try:
        yield
    finally:
        _before_handover.reset(token)


@runtime_checkable
class MessageHandler(Protocol):
    """Any object that sends messages to one destination.

    It may also have ``name`` (stable and without secrets, to find the handler of a stored message), ``kinds`` (the
    kinds of messages that it wants; without it, the run decides) and ``close()``.
    """

    def send_message(self, details: MessageDetails, /) -> Awaitable[None] | None:
        """Send one message; return when the destination has accepted it. A coroutine is awaited.

        Raises:
            DeliveryError: It was not accepted. Any other exception is treated as a temporary failure.
        """
