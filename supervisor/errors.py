"""The exceptions that supervisor raises.

::

    SupervisorError
    ├── ConfigurationError   a setting is missing, blank, misspelt or out of range
    ├── RunStateError        a run was used in a way its state does not allow
    ├── OverlapError         an earlier run is still under way, and overlap="fail"
    ├── OverdueError         a run took too long or stalled, and was interrupted: on_overdue="interrupt"
    └── DeliveryError        the destination of a handler did not accept a message

They are raised to the caller only if its own input is wrong, while a script is being set up, or if a setting asks for
it: ``overlap`` and ``on_overdue``. Once a run has started, a fault of supervision is logged to the ``supervisor``
logger and never raised into the script.
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "ConfigurationError",
    "DeliveryError",
    "OverdueError",
    "OverlapError",
    "RunSkipped",
    "RunStateError",
    "SupervisorError",
]


class SupervisorError(Exception):
    """Base of all errors that supervisor raises."""


class ConfigurationError(SupervisorError):
    """A setting is missing, blank, misspelt or out of range; the text says how to correct it."""


class RunStateError(SupervisorError):
    """A run was entered twice, or used in a way that its state does not allow."""


class OverlapError(SupervisorError):
    """An earlier run of the same name is still under way on this machine."""


class OverdueError(SupervisorError, TimeoutError):
    """A run took too long or made no progress, and was interrupted: ``on_overdue="interrupt"``.

    It is raised at the end of the run. The script itself sees a ``KeyboardInterrupt``, or in asyncio a
    ``CancelledError``, so that its own ``except Exception`` does not catch it.
    """


class RunSkipped(SystemExit):
    """Raised to skip a block, since an earlier run is under way: ``overlap="skip"``.

    Uncaught, it ends the script with exit code 0.
    """


class DeliveryError(SupervisorError):
    """A destination did not accept a message.

    Args:
        reason: The answer of the destination or the error on the way, without secrets.
        permanent: True if the same message would be rejected again: the failure is recorded, and there is no retry.
        retry_after_s: The seconds to wait that the destination asked for; None uses the usual delay.
        scope: What waits before the next attempt. "destination": all messages to it, since it would accept none of
            them now. "message": this one alone, since the destination accepts others. Of no effect with ``permanent``.
    """

    def __init__(
        self,
        reason: str,
        *,
        permanent: bool = False,
        retry_after_s: float | None = None,
        scope: Literal["destination", "message"] = "destination",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.retry_after_s = retry_after_s
        self.scope = scope
