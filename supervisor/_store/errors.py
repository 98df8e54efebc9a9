"""The one way in which the journal fails."""

from __future__ import annotations

from supervisor import _log
from supervisor.errors import SupervisorError


class JournalUnavailable(SupervisorError):  # noqa: N818 - it tells a state of the machine, not a mistake of the caller
    """Tell that the journal cannot be read or written, and why.

    What was committed before stays as it is; the operation that raised left nothing behind. Whoever catches
    it goes on with a :class:`~supervisor._store.MemoryOutbox`.

    Args:
        path: The journal's file, or the directory where it should be.
        reason: What was found there ("disk I/O error", "Permission denied").
        remedy: What a person can do about it.
    """

    def __init__(self, path: str, reason: str, remedy: str = "") -> None:
        remedy = remedy or "make room and check its permissions, or set SUPERVISOR_STATE to another directory"
        super().__init__(f"journal {path!r}: {reason}; {remedy}")
        self.path = path
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[JournalUnavailable], tuple[str, str, str]]:
        return (type(self), (self.path, self.reason, self.remedy))


_warned: set[tuple[str, str]] = set()


def warn_once(error: JournalUnavailable) -> None:
    """Log that the journal is out of use, once in a process for each file and reason."""
    if (error.path, error.reason) not in _warned:
        _warned.add((error.path, error.reason))
        _log.warning("%s; runs and messages are kept in memory meanwhile", error)
