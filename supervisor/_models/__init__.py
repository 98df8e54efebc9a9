"""The values that travel through supervisor, all immutable: messages, reports of runs, and their parts.

Every run needs the kinds of messages, the outcomes of runs and the states of deliveries, which are here. The other
models (:mod:`.values`, :mod:`.parts`) are imported only when there is a message.

The models know nothing of what stands above them. What converts the parts of a message into text is handed in: it is
``render_text``, which the package ``supervisor`` sets when it is imported.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

render_text: Callable[[Any], str]
"""Returns the text of a message that consists of parts."""


class Kind(StrEnum):
    """What a message is about."""

    START = "start"
    PROGRESS = "progress"
    NOTICE = "notice"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    RECOVERY = "recovery"
    STALLED = "stalled"
    OVERDUE = "overdue"
    DIED = "died"
    MISSED = "missed"
    SKIPPED = "skipped"


URGENT = (Kind.FAILURE, Kind.RECOVERY, Kind.STALLED, Kind.OVERDUE, Kind.DIED, Kind.MISSED)
"""The kinds of alarms, and of their ends, which are sent before all others."""


class Outcome(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    CANCELLED = "cancelled"
    DIED = "died"
    SKIPPED = "skipped"


SUCCEEDED = (Outcome.SUCCESS, Outcome.WARNING)
"""The outcomes that count as a success: they alone end a series of consecutive failures."""

FAILED = (Outcome.FAILURE, Outcome.TERMINATED, Outcome.DIED)
"""The outcomes that count as a failure. All others but successes neither count nor end a series."""


class DeliveryState(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
