"""For scripts that fork: how a child ended, without waiting for one that hangs."""

from __future__ import annotations

import os
import signal
import sys
import time

assert sys.platform != "win32", "there are no forks"


def how_it_ends(pid: int, patience_s: float = 15.0) -> int | str:
    """Return a child's exit code, negative for the signal that ended it, or "hangs"; such a child is killed."""
    ends_at_s = time.monotonic() + patience_s
    while time.monotonic() < ends_at_s:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hangs"
