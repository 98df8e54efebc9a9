"""The kinds of messages, the outcomes of runs and the states of deliveries.

Every run needs these; the other models are imported only when there is a message.
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


URGENT = (Kind.FAILURE, Kind.RECOVERY, Kind.STALLED, Kind.OVERDUE, Kind.DIED, Kind.MISSED)
"""The kinds of alarms, and of their ends, which are sent before all others."""


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
"""The outcomes that count as a failure. Of all others, only a success ends a series of consecutive failures."""


class DeliveryState(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
