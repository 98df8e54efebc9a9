"""Which process did something, and whether it still lives.

A process number alone does not identify a process: numbers are used again, all of them after a reboot, and each
container has its own. So the start of the process is stored with it, in a form that does not depend on the clock. On
Linux that is the boot's id, the clock ticks since then, and the PID namespace where it is not the machine's own.
psutil cannot give it: its ``create_time()`` moves with the clock
(https://github.com/giampaolo/psutil/issues/2526), and a machine that corrects its clock would take every living
run for dead. Reading a few lines of ``/proc`` also saves each script the import of psutil.

Where a process cannot be looked up from here, only its own signs of life tell: see :func:`is_lost`.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import NamedTuple

from supervisor._places import hostname, this_machine

ROUNDING_S = 2.0
"""How far two readings of one process's start may differ where it is a time of day."""

HEARTBEATS_MISSED = 3
"""So many signs of life in a row have to be missing before a process that cannot be looked up counts as lost."""
LOST_MARGIN_S = 30.0
"""How many seconds more have to pass."""


class Process(NamedTuple):
    """One process of one machine.

    Args:
        host: The machine's name, which tells it apart only from machines that have another id.
        pid: The process's number, in its PID namespace.
        started: When it started: "boot id:ticks" on Linux, with ":namespace" in a PID namespace other than the
            machine's own; elsewhere seconds since 1970 as text; "" when unknown.
        machine: The machine's id; "" where it has none, None where it was not noted, and the name must do.
    """

    host: str
    pid: int
    started: str
    machine: str | None = None

    @property
    def claimer(self) -> tuple[str, int, str]:
        """Return what is kept of a process that has claimed a delivery."""
        return self[:3]


def this_process() -> Process:
    """Return the process that asks; a forked child gets its own."""
    return _this_with(os.getpid())


@lru_cache(maxsize=1)
def _this_with(pid: int) -> Process:
    return process_of(pid)


def process_of(pid: int) -> Process:
    """Return the process of this machine that has a number now."""
    return Process(hostname(), pid, _started(pid) or "", this_machine().id)


def can_be_seen(process: Process) -> bool:
    """Return whether this process can tell if another one has ended: it is, or was, of this machine and namespace."""
    here = this_machine()
    boot, _, rest = process.started.partition(":")
    if not rest:  # it does not say of which boot and namespace it is
        return not here.pid_namespace and _is_of_this_machine(process)
    _, _, namespace = rest.partition(":")
    if boot == here.boot:
        is_visible = namespace == here.pid_namespace and here.shows_processes
        return is_visible and (process.machine is not None or process.host == hostname())
    # It ended with an earlier start of this machine; the number of a namespace says nothing of another start.
    return not namespace and not here.pid_namespace and _is_of_this_machine(process)


def _is_of_this_machine(process: Process) -> bool:
    return process.host == hostname() if process.machine is None else process.machine == this_machine().id != ""


def is_gone(process: Process) -> bool:
    """Return True when a process has certainly ended; False where that is unknown, as on another machine."""
    if not can_be_seen(process):
        return False
    if process.pid == os.getpid() and process.started == this_process().started:
        return False
    boot, colon, _ = process.started.partition(":")
    here = this_machine().boot
    if colon and here and boot != here:
        return True
    started = _started(process.pid)
    return started is None or _differ(started, process.started)


def is_lost(process: Process, silent_s: float, heartbeat_s: float | None) -> bool:
    """Return whether a process that cannot be looked up from here has been without a sign of life for too long.

    Args:
        process: The process.
        silent_s: Seconds since its last sign of life.
        heartbeat_s: How many seconds it may be without one: what was set, or its own longest silence so far where that
            was longer. None for a process that gives no signs of life.
    """
    if heartbeat_s is None or silent_s < HEARTBEATS_MISSED * heartbeat_s + LOST_MARGIN_S:
        return False
    return not can_be_seen(process)


def lives(process: Process) -> bool | None:
    """Return whether a process lives; None where that is unknown, as on another machine."""
    if is_gone(process):
        return False
    return True if process.started and can_be_seen(process) and _started(process.pid) else None


def is_of_this_boot(process: Process) -> bool | None:
    """Return whether the machine has not been restarted since a process started; None where that is unknown."""
    boot, colon, _ = process.started.partition(":")
    here = this_machine().boot
    if not colon or not here:
        return None
    return True if boot == here else False if _is_of_this_machine(process) else None


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
        here = this_machine()
        if here.shows_processes:
            return _started_on_linux(pid, here.boot, f":{here.pid_namespace}" if here.pid_namespace else "")
        if here.pid_namespace:
            return ""
    return _started_by_psutil(pid)


def _started_on_linux(pid: int, boot: str, namespace: str) -> str | None:
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
    return None if state in (b"Z", b"X") else f"{boot}:{int(ticks)}{namespace}"


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
