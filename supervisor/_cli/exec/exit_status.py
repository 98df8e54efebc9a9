"""What starting a program gives: an exit status, or why it could not be started."""

from __future__ import annotations

from typing import NamedTuple

NOT_FOUND = 127
NOT_EXECUTABLE = 126


class Ended(NamedTuple):
    """How a program ended.

    Args:
        code: Its exit code, or 128 and the number of the signal that ended it, as shells say it.
        signal: The number of that signal; 0 for none.
        cpu_s: The processor seconds that it used, and all that it started and waited for; None where not known.
        peak_memory_bytes: The most memory that one of them had; None where not known.
    """

    code: int
    signal: int = 0
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None


class CannotStartError(Exception):
    """Tell why a program could not be started.

    Args:
        code: The exit code that shells give for it: 127 when there is no such program, otherwise 126.
        reason: What to call it ("command not found").
        evidence: What was looked for, and where.
    """

    def __init__(self, code: int, reason: str, evidence: str) -> None:
        super().__init__(f"{reason}: {evidence}")
        self.code = code
        self.reason = reason
        self.evidence = evidence
