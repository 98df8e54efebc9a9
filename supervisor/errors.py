"""The exceptions that supervisor raises.

::

    SupervisorError
    ├── ConfigurationError   a setting is missing, blank, misspelt or out of range
    ├── RunStateError        a run was used in a way its state does not allow
    ├── OverlapError         an earlier run is still under way, and overlap="fail"
    ├── OverdueError         a run took too long or stalled, and was interrupted: on_overdue="interrupt"
    └── DeliveryError        a handler could not hand its message to the destination

They reach the caller only where the caller's own input is wrong, while a script is being set up, and where a setting
asks for it: ``overlap`` and ``on_overdue``. Once a run has started, a fault of supervision is logged to the
``supervisor`` logger and never raised into the script.
"""

from __future__ import annotations

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
    """Tell that a setting is missing, blank, misspelt or out of range, and how to mend it."""


class RunStateError(SupervisorError):
    """Tell that a run was entered twice, or used in a way its state does not allow."""


class OverlapError(SupervisorError):
    """Tell that an earlier run of the same name is still under way on this machine."""


class OverdueError(SupervisorError, TimeoutError):
    """Tell that a run took too long or stood still, and was interrupted: ``on_overdue="interrupt"``.

    It is what leaves the run. Inside, the script sees a ``KeyboardInterrupt``, in asyncio a ``CancelledError``, so that
    an ``except Exception`` on the way does not swallow it.
    """


class RunSkipped(SystemExit):
    """End a script whose block cannot be skipped otherwise: ``overlap="skip"``, and an earlier run is under way.

    Uncaught, it ends the script with exit code 0.
    """


class DeliveryError(SupervisorError):
    """Tell that a message did not reach its destination, and whether trying again can help.

    Args:
        reason: What the destination answered or what went wrong on the way, without secrets.
        permanent: True when the same message would be refused again: it is recorded and not repeated.
        retry_after_s: Seconds the destination asked us to wait; None lets delivery choose.
    """

    def __init__(self, reason: str, *, permanent: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.retry_after_s = retry_after_s
