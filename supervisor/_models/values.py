"""The frozen values that travel through supervisor, and the words for their kinds and outcomes.

A handler reads everything it may want from a :class:`MessageDetails`; nothing on it can be changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import attrs

import supervisor._models as models
from supervisor._models.kinds import DeliveryState, Kind, Outcome

if TYPE_CHECKING:
    from supervisor._models.parts import MessagePart

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
]

PathLike: TypeAlias = "str | os.PathLike[str]"
Attachable: TypeAlias = "PathLike | Attachment"


@attrs.frozen
class Attachment:
    """A file or directory that goes with a message.

    Args:
        path: Where it is. Nothing is read before a handler sends it.
        name: What the receiver sees; None means the last part of ``path``.
        size_bytes: Its size when it was accepted; None where that is not known (a directory, a missing file).
        note: What the receiver should know of it ("missing", "last 18 MB of 512 MB"); empty when all is well.
    """

    path: Path = attrs.field(converter=Path)
    name: str = attrs.field(kw_only=True)
    size_bytes: int | None = attrs.field(default=None, kw_only=True)
    note: str = attrs.field(default="", kw_only=True)

    @name.default
    def _name_of_path(self) -> str:
        return self.path.name or str(self.path)


@attrs.frozen(kw_only=True)
class Progress:
    """How far a run has come.

    Args:
        done: Items finished so far.
        total: Items in all; None when that is not known.
        message: What the run is doing, in the script's own words; empty when it did not say.
        rate_per_s: Items per second so far; None before anything can be said.
    """

    done: float
    total: float | None = None
    message: str = ""
    rate_per_s: float | None = None

    @property
    def percentage(self) -> float | None:
        """Return 0-100, or None when the total is not known or not positive. A wrong total never passes 100."""
        if self.total is None or not self.total > 0:
            return None
        return max(0.0, min(100.0, 100.0 * self.done / self.total))

    @property
    def eta_s(self) -> float | None:
        """Return the seconds that are left at the rate so far, or None when nothing can be said."""
        if self.total is None or not self.rate_per_s or self.total < self.done:
            return None
        left_s = (self.total - self.done) / self.rate_per_s
        return left_s if isfinite(left_s) else None


@attrs.frozen(kw_only=True)
class ErrorDetails:
    """What went wrong, as text: safe to keep, to store and to send.

    Args:
        type: The exception's class, qualified unless it is a builtin ("KeyError", "sqlite3.OperationalError").
        message: Its text; "" when it has none, a stand-in when its ``__str__`` raises.
        where: The script's own innermost frame ("parcels.py:41 in load"); "" when there is none.
        source: The line of code at ``where``; "" when its file cannot be read.
        excerpt: A few lines of code around ``where``, numbered, the line itself marked; "" when its file cannot be
            read.
        notes: What was added with ``add_note``.
        local_variables: Names and texts of the local variables at ``where``; empty unless ``show_locals`` is set.
        traceback: The full traceback with its chain and groups, bounded in size.
        thread: The thread or task that it came from; "" for the run's own.
        fingerprint: Equal for failures of the same kind at the same place.
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

    def __str__(self) -> str:
        between = ": " if " " in self.type and self.message else " "  # "exit code 3" is no class
        return f"{self.type}{between}{self.message}".rstrip()


def _frozen_mapping(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(values))


@attrs.frozen(kw_only=True)
class RunReport:
    """What is known of a run at some moment.

    Args:
        id: The run's own id, unique among all runs.
        name: The name it was given.
        outcome: How it ended; None while it is running.
        started_at: When it started, as an aware UTC datetime.
        ended_at: When it ended; None while it is running.
        duration_s: Seconds so far, by a clock that cannot be set.
        values: What the script recorded with ``run.record()``, in that order.
        progress: The last progress; None when the run made none.
        error: What went wrong; None when nothing did.
        exit_code: The code that the script asked for with ``sys.exit()``; None when it did not.
        parent_id: The id of the run that this one is nested in; None for an outermost run.
        host: The machine's name.
        user: Who ran it.
        pid: The process.
        argv: The command line.
        python: The version of Python.
        cpu_s: Processor seconds that the process used during the run, all threads together.
        peak_memory_bytes: The most memory that the process ever had; None where the platform does not tell.
        log_path: The log that the run was told of, or its own (``capture_logs``); None without one.
        log_tail: The last lines of the run's own log, oldest first; empty without one.
        log_counts: How many records of each level the run's own log has ("ERROR": 2, "WARNING": 14), levels from
            WARNING up; empty without one.
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
    log_counts: Mapping[str, int] = attrs.field(factory=dict, converter=_frozen_mapping, hash=False)


def attachments_of(value: Attachable | Iterable[Attachable | None] | None) -> tuple[Attachment, ...]:
    """Return one path or many as attachments; None and "" count as nothing, as they did in 3.x.

    Raises:
        TypeError: Something in it is no path.
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
    """Return Block Kit blocks as JSON text, which nobody can change behind the message's back."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps([each.to_dict() if hasattr(each, "to_dict") else each for each in value])


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
        subject: The headline. Handlers make it fit one line.
        message: The text, complete by itself; "" makes it of ``parts``.
        attachments: One path or many (files or directories); None and "" count as nothing.
        kind: What the message is about; notices are what a script says by itself.
        html: The same text as HTML; None lets a handler make its own, of ``parts`` or of ``message``.
        blocks: Slack Block Kit blocks (slack_sdk objects or dicts); None lets the Slack handler make its own.
        report: What was known of the run when the message was written; None outside of runs.
        parts: What the message is made of, where supervisor composed it (:mod:`supervisor._models.parts`); empty for
            one that has a text and nothing else.
        id: Stays the same however often the message is sent, so that a repeat can be recognised.
        created_at: When it was written, as an aware UTC datetime.

    Raises:
        TypeError: ``attachments`` holds something that is no path.
    """

    subject: str
    own_text: str = attrs.field(default="", alias="message")
    attachments: tuple[Attachment, ...] = attrs.field(default=(), converter=attachments_of)
    kind: Kind = attrs.field(default=Kind.NOTICE, converter=Kind, kw_only=True)
    html: str | None = attrs.field(default=None, kw_only=True, repr=False)
    blocks_json: str | None = attrs.field(default=None, converter=_blocks, kw_only=True, alias="blocks", repr=False)
    report: RunReport | None = attrs.field(default=None, kw_only=True, repr=False)
    parts: tuple[MessagePart, ...] = attrs.field(default=(), converter=_parts, kw_only=True, repr=False)
    id: str = attrs.field(factory=_new_id, kw_only=True)
    created_at: datetime = attrs.field(factory=_now, kw_only=True)

    @property
    def message(self) -> str:
        """Return the text: the one it was given, or the one that its parts make, which is composed when asked for."""
        if self.own_text or not self.parts:
            return self.own_text
        return models.render_text(self)

    @property
    def blocks(self) -> list[dict[str, Any]] | None:
        """Return a fresh copy of the Block Kit blocks, or None when the message has none."""
        if self.blocks_json is None:
            return None
        blocks: list[dict[str, Any]] = json.loads(self.blocks_json)
        return blocks


@attrs.frozen(kw_only=True)
class Delivery:
    """One message to one handler.

    Args:
        message: What is to be sent.
        handler: The name of the handler.
        state: Pending until the destination accepts the message or refuses it for good.
        attempts: How often it was tried.
        last_error: Why the last attempt failed; "" before the first failure.
        key: How the outbox finds it again; unique within one outbox.
    """

    message: MessageDetails
    handler: str
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    last_error: str = ""
    key: int


@runtime_checkable
class MessageHandler(Protocol):
    """Whatever takes a message to one destination.

    It may also have ``name`` (stable and without secrets: finds the handler again for a stored message),
    ``kinds`` (the kinds it wants; all without it) and ``close()``.
    """

    def send_message(self, details: MessageDetails, /) -> None:
        """Send one message and return when the destination has accepted it.

        Raises:
            DeliveryError: It was not accepted; any other exception counts as temporary.
        """
