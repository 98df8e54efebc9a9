"""The words for what a message is about, how a run ended and where a delivery stands.

They stand apart from the models because every run needs them, and the models only when there is something to tell.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a message is about."""

    START = "start"
    PROGRESS = "progress"
    NOTICE = "notice"
    SUCCESS = "success"
    FAILURE = "failure"
    RECOVERY = "recovery"
    STALLED = "stalled"
    OVERDUE = "overdue"
    DIED = "died"
    MISSED = "missed"


class Outcome(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    CANCELLED = "cancelled"
    DIED = "died"
    SKIPPED = "skipped"


FAILED = (Outcome.FAILURE, Outcome.TERMINATED, Outcome.DIED)
"""The outcomes that make a row of failures longer; only a success ends it, and the others do neither."""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
