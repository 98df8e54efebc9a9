"""The values that scripts and handlers meet, and ``Supervisor`` where 3.x had it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor._models.kinds import DeliveryState, Kind, Outcome
from supervisor._models.values import (
    Attachment,
    Delivery,
    ErrorDetails,
    MessageDetails,
    MessageHandler,
    Progress,
    RunReport,
)

if TYPE_CHECKING:
    from supervisor._run.decorators import Supervisor

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
    "Supervisor",
]


def __getattr__(name: str) -> Any:
    if name == "Supervisor":  # whoever only wants values need not load what runs scripts
        from supervisor._run.decorators import Supervisor

        return Supervisor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
