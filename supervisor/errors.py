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

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from supervisor._models.values import ErrorDetails

__all__ = [
    "ConfigurationError",
    "DeliveryError",
    "OverdueError",
    "OverlapError",
    "RunSkipped",
    "RunStateError",
    "SupervisorError",
]


def __dir__() -> list[str]:
    return sorted(__all__)


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
    """Ends a run that has nothing to do: ``run.skip()`` raises it, and a script may.

    The run is then recorded as skipped, and the block or function ends as if it had returned None. No ``except
    Exception`` catches it on the way. Outside of runs it ends the script with exit code 0. With ``overlap="skip"`` a
    block raises it that cannot start, since an earlier run is under way; it then leaves the block.

    Args:
        reason: Why there is nothing to do.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(0)
        self.reason = reason
        self._run: object = None  # the run that it ends; None for the innermost one

    def __str__(self) -> str:
        return self.reason

    def __supervisor_error_details__(self) -> ErrorDetails:
        """Return what reports have of it: the reason, and no traceback."""
        from supervisor._models.values import ErrorDetails

        return ErrorDetails(type="nothing to do", message=self.reason)


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
