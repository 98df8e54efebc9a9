"""Which process did something, and whether it still lives.

A process number alone does not identify a process: numbers are used again, all of them after a reboot. So the start
of the process is stored with it, in a form that does not depend on the clock. On Linux that is the boot's id and the
clock ticks since then, which psutil cannot give: its ``create_time()`` moves with the clock
(https://github.com/giampaolo/psutil/issues/2526), and a machine that corrects its clock would take every living
run for dead. Reading two lines of ``/proc`` also saves each script the import of psutil.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import NamedTuple

ROUNDING_S = 2.0
"""How far two readings of one process's start may differ where it is a time of day."""


class Process(NamedTuple):
    """One process of one machine.

    Args:
        host: The machine's name.
        pid: The process's number.
        started: When it started: "boot id:ticks" on Linux, elsewhere seconds since 1970 as text; "" when unknown.
    """

    host: str
    pid: int
    started: str


def this_process() -> Process:
    """Return the process that asks; a forked child gets its own."""
    return _this_with(os.getpid())


@lru_cache(maxsize=1)
def _this_with(pid: int) -> Process:
    return process_of(pid)


def process_of(pid: int) -> Process:
    """Return the process of this machine that has a number now."""
    return Process(hostname(), pid, _started(pid) or "")


def hostname() -> str:
    """Return the machine's name; "" when it has none."""
    if sys.platform == "win32":
        name = os.environ.get("COMPUTERNAME", "")
    else:
        name = os.uname().nodename
    return name.encode("utf-8", "backslashreplace").decode()


def is_gone(process: Process) -> bool:
    """Return True when a process has certainly ended; False where that is unknown, as on another machine."""
    if process.host != hostname():
        return False
    if process.pid == os.getpid() and process.started == this_process().started:
        return False
    started = _started(process.pid)
    return started is None or _differ(started, process.started)


def lives(process: Process) -> bool | None:
    """Return whether a process lives; None where that is unknown, as on another machine."""
    if is_gone(process):
        return False
    return True if process.started and process.host == hostname() and _started(process.pid) else None


def is_of_this_boot(process: Process) -> bool | None:
    """Return whether the machine has not been restarted since a process started; None where that is unknown."""
    boot, colon, _ = process.started.partition(":")
    ours = _boot_id() if colon and process.host == hostname() else ""
    return boot == ours if ours else None


def _differ(one: str, other: str) -> bool:
    """Return True when two starts cannot be those of one process."""
    if not one or not other or (":" in one) != (":" in other):
        return False
    if ":" in one:
        return one != other
    return abs(float(one) - float(other)) > ROUNDING_S


def _started(pid: int) -> str | None:
    """Return when a process started, "" when that is unknown, None when there is no such process."""
    if sys.platform == "linux":
        boot = _boot_id()
        if boot:
            return _started_on_linux(pid, boot)
    return _started_by_psutil(pid)


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - on every run's path
            return file.read().strip()
    except OSError:
        return ""


def _started_on_linux(pid: int, boot: str) -> str | None:
    """Read field 22 of ``/proc/<pid>/stat`` (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - on every run's path
            # The name in parentheses may hold anything, so count from its end.
            fields = file.read().rpartition(b")")[2].split()
    except FileNotFoundError:
        return "" if _answers(pid) else None
    except ProcessLookupError:
        return None
    except OSError:
        return ""
    state, ticks = fields[0], fields[19]
    return None if state in (b"Z", b"X") else f"{boot}:{int(ticks)}"


def _answers(pid: int) -> bool:
    """Return True when a process exists that ``/proc`` hides from this user (mount option ``hidepid``)."""
    if sys.platform == "win32":  # there, signal 0 would end it
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _started_by_psutil(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{process.create_time():.3f}"
    except psutil.NoSuchProcess:  # ZombieProcess is one of these
        return None
    except psutil.Error:
        return ""
