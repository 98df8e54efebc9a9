"""Which process did something, and whether it still lives."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from journal_kit import first_line_of, kill, output_of, python
from waiting import PATIENCE_S, wait_until

from supervisor._places import hostname
from supervisor._store import processes
from supervisor._store.processes import Process, is_gone, this_process

if TYPE_CHECKING:
    import subprocess

SHOW = (
    "import sys; from supervisor._store.processes import this_process as this; "
    "print(*this(), sep='|', flush=True); sys.stdin.readline()"
)


def _started() -> tuple[subprocess.Popen[str], Process]:
    process = python(SHOW)
    host, pid, start, machine = first_line_of(process).split("|")
    return process, Process(host, int(pid), start, None if machine == "None" else machine)


def test_this_process_lives() -> None:
    """The process that asks knows itself, and that it is not gone."""
    this = this_process()
    assert this == this_process()
    assert (this.host, this.pid) == (hostname(), os.getpid())
    assert this.started
    assert not is_gone(this)


def test_a_process_is_gone_when_it_has_ended() -> None:
    """Another process lives until it ends, by itself or killed."""
    process, identity = _started()
    assert identity.pid == process.pid
    assert not is_gone(identity)
    kill(process)
    assert is_gone(identity)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no zombies")
def test_a_zombie_is_gone() -> None:
    """A killed process whose parent has not noticed yet is gone: it will not do anything any more."""
    process, identity = _started()
    process.kill()
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    assert is_gone(identity)
    process.communicate(timeout=PATIENCE_S)


def test_another_process_with_the_number_is_not_the_one() -> None:
    """A number that was given to another process, or came again after a reboot, does not make a process live."""
    this = this_process()
    if ":" in this.started:
        boot, ticks, *namespace = this.started.split(":")
        others = [":".join((boot, str(int(ticks) - 1), *namespace))]
        if not namespace:  # what was in a container of an earlier start cannot be known
            others.append(f"another-boot:{ticks}")
    else:
        others = [f"{float(this.started) - 60:.3f}"]
    for started in others:
        process, identity = _started()
        assert is_gone(this._replace(pid=identity.pid, started=started))
        output_of(process)


def test_what_cannot_be_told_is_not_gone() -> None:
    """On another machine, in another PID namespace, or without a known start, a number counts as living."""
    process, identity = _started()
    kill(process)
    assert not is_gone(identity._replace(host="another machine", machine=None))
    if ":" in identity.started:
        assert not is_gone(identity._replace(started=f"{identity.started}:4026532179"))
        assert not is_gone(identity._replace(started="another-boot:1", machine="0" * 32))
    assert not is_gone(this_process()._replace(started=""))
    if sys.platform == "linux":  # where a start is not a time of day, it cannot be compared with one
        assert not is_gone(this_process()._replace(pid=os.getppid(), started="1700000000.000"))


def test_starts_as_times_of_day_may_differ_a_little() -> None:
    """Where the start is a time of day, two readings may differ by rounding."""
    assert not processes._differ("1700000000.123", "1700000001.000")
    assert processes._differ("1700000000.123", "1700000009.000")


def test_psutil_tells_the_same() -> None:
    """Where /proc is missing, psutil tells living processes from dead ones."""
    process, identity = _started()
    start = processes._started_by_psutil(identity.pid)
    assert start is not None
    assert abs(float(start) - psutil.Process(identity.pid).create_time()) < processes.ROUNDING_S
    kill(process)
    assert processes._started_by_psutil(identity.pid) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_another_process() -> None:
    """After a fork the child has an identity of its own."""
    code = (
        "import os; from supervisor._store.processes import this_process as this\n"
        "parent = this(); child = os.fork()\n"
        "if child == 0: os._exit(0 if this() != parent and this().pid == os.getpid() else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    output_of(python(code))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere psutil tells")
def test_linux_does_without_psutil() -> None:
    """On Linux neither a process's own identity nor another's costs the import of psutil."""
    code = (
        "import sys; from supervisor._store.processes import this_process, is_gone\n"
        "is_gone(this_process()._replace(pid=1)); raise SystemExit('psutil' in sys.modules)\n"
    )
    output_of(python(code))
