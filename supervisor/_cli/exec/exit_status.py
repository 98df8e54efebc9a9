"""What comes of starting a program: an exit status, or the reason why it could not be started.

It stands apart from :mod:`.failure_text`, which only a program that fails needs.
"""

from __future__ import annotations

from typing import NamedTuple

NOT_FOUND = 127
NOT_EXECUTABLE = 126


class ExitStatus(NamedTuple):
    """How a program ended.

    Args:
        code: Its exit code, or 128 plus the number of the signal that ended it, as in a shell.
        signal: The number of that signal; 0 if there was none.
        cpu_s: Processor seconds used by it and by the processes that it waited for; None if unknown.
        peak_memory_bytes: The highest memory use of one of these processes; None if unknown.
    """

    code: int
    signal: int = 0
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None


class CannotStartError(Exception):
    """A program could not be started.

    Args:
        code: The exit code of shells for it: 127 if the program does not exist, otherwise 126.
        reason: A short name for it ("command not found").
        evidence: What was looked for, and where.
    """

    def __init__(self, code: int, reason: str, evidence: str) -> None:
        super().__init__(f"{reason}: {evidence}")
        self.code = code
        self.reason = reason
        self.evidence = evidence
