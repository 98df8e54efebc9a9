"""The values that scripts and handlers use, and ``Supervisor``, which 3.x had here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor._models import DeliveryState, Kind, Outcome
from supervisor._models.values import (
    Attachment,
    Delivery,
    ErrorDetails,
    MessageDetails,
    MessageHandler,
    Progress,
    RunReport,
    RunStep,
    RunWarning,
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
    "RunStep",
    "RunWarning",
    "Supervisor",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name == "Supervisor":  # imported when used: a handler that only needs the values does not load what runs scripts
        from supervisor._run.decorators import Supervisor

        return Supervisor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
