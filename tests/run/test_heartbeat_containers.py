"""Deaths that are reported and those that are not, between containers that share a state directory."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from containers import containers, memory_group
from journal_kit import Clock, started
from journalled import invoke
from recorders import Recorder, read
from waiting import wait_until

from supervisor import supervise
from supervisor._runtime import Runtime, using
from supervisor._store import Journal
from supervisor._store.processes import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LATER_S = 600.0
RUN = """
import sys
from recorders import FileRecorder
from supervisor import supervise
with supervise("nightly", handlers=[FileRecorder({messages!r})], heartbeat_s={heartbeat_s}) as run:
    run.progress(52, total=80)
    print("under way", flush=True)
    if sys.stdin.readline().strip() == "fail":
        raise ValueError("no rows")
"""

KILLED_BEFORE = """
import subprocess, sys
run = {run!r}
first = subprocess.Popen([sys.executable, "-c", run], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
first.stdout.readline()
first.kill()
first.communicate()
exec(run)
"""
RECOVERED = "nightly recovered on localhost"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return what starts a run of "nightly" in a container of its own, and waits until it is under way."""
    with containers() as start_container:

        def start_run(*, heartbeat_s: float | None = None, **options: Any) -> Any:
            facts = {"messages": str(tmp_path / "messages"), "heartbeat_s": heartbeat_s}
            container = start_container(RUN.format(**facts), **options)
            assert container.line() == "under way"
            return container

        yield start_run


def run_later(state: Path, later_s: float = LATER_S) -> Recorder:
    """Let a run of the name start and end some minutes later, in another namespace; return what it reported."""
    recorder = Recorder()
    with (
        using(Runtime(state_directory=state, clock=lambda: time.time() + later_s)),
        supervise("nightly", handlers=recorder),
    ):
        pass
    return recorder


def test_no_death_of_a_run_that_another_container_does_not_see(start: Callable[..., Any], tmp_path: Path) -> None:
    """Two containers with one host name and one state directory: the second reports nothing of the first."""
    first, second = start(hostname="localhost"), start(hostname="localhost")
    second.end()
    first.end()
    assert read(tmp_path / "messages") == []


def test_a_killed_run_is_reported_once_under_another_host_name(start: Callable[..., Any], state: Path) -> None:
    """A pod is killed; the next run, in another namespace and with another host name, reports it, once."""
    start(hostname="parcels-28471-abcde").kill()
    recorder = run_later(state)
    assert recorder.received[0] == "died"
    died = recorder.messages[0]
    assert died.subject.startswith("nightly is presumed dead on parcels-28471-abcde: no sign of life since ")
    assert died.subject.endswith(", at 52 of 80 (65 %)")
    assert "cannot be seen from here" in died.message
    assert "died" not in run_later(state).received


def test_a_killed_run_is_not_lost_before_its_time(start: Callable[..., Any], state: Path) -> None:
    """Until three signs of life are missing, and 30 s more have passed, nobody says anything."""
    start().kill()
    assert "died" not in run_later(state, 3 * 60 + 30 - 20).received
    assert "died" in run_later(state, 3 * 60 + 30 + 20).received


def test_what_was_reported_of_a_living_run_is_taken_back(
    start: Callable[..., Any], state: Path, tmp_path: Path
) -> None:
    """A run that was silent for long, but lives, says at its end that it was alive after all."""
    silent = start()
    assert run_later(state).received[0] == "died"
    silent.end()
    (message,) = read(tmp_path / "messages")
    assert message["kind"] == "recovery"
    assert message["subject"].startswith("nightly recovered on localhost: it was alive after all")
    assert "It was reported as presumably dead at" in " ".join(message["message"].split())
    assert [each.outcome for each in Journal(state).runs("nightly")] == ["success", "success"]


def test_a_failure_takes_it_back_too(start: Callable[..., Any], state: Path, tmp_path: Path) -> None:
    """The message of the failure says that the run was alive."""
    silent = start()
    assert run_later(state).received[0] == "died"
    silent.end("fail")
    (message,) = read(tmp_path / "messages")
    assert message["kind"] == "failure"
    assert "it was alive after all" in " ".join(message["message"].split())


def test_signs_of_life_keep_a_run_from_being_lost(start: Callable[..., Any], state: Path) -> None:
    """A run that makes no progress, but lives, is noted as living; its longest silence is noted with it."""
    start(heartbeat_s=0.05)
    journal = Journal(state)
    wait_until(lambda: journal.runs("nightly")[0].heartbeat_at_s)
    first = journal.runs("nightly")[0].heartbeat_at_s
    assert first
    wait_until(lambda: (journal.runs("nightly")[0].heartbeat_at_s or 0) > first)
    assert (journal.runs("nightly")[0].heartbeat_s or 0) >= 0.05
    journal.close()


def test_who_shares_the_namespace_sees_a_death_at_once(state: Path, tmp_path: Path) -> None:
    """Where a process can be looked up, nobody waits for its signs of life."""
    run = RUN.format(messages=str(tmp_path / "messages"), heartbeat_s=None)
    with containers() as start_container:
        both = start_container(KILLED_BEFORE.format(run=run))
        assert both.line() == "under way"
        both.end()
    assert [each["subject"] for each in read(tmp_path / "messages")] == ["nightly died on localhost", RECOVERED]


GREEDY = """
import sys
from supervisor import supervise
with supervise("nightly", heartbeat_s=0.1):
    print("under way", flush=True)
    sys.stdin.readline()
    held = [bytearray(1 << 20) for _ in range(1000)]
"""


def test_a_run_that_the_kernel_killed_for_want_of_memory(state: Path) -> None:
    """The message of its death has the memory of its container, as its last sign of life noted it."""
    with memory_group(96 * 1024 * 1024) as group, containers() as start_container:
        container = start_container(GREEDY, hostname="pod-7", group=group)
        assert container.line() == "under way"
        journal = Journal(state)
        wait_until(lambda: journal.runs("nightly")[0].memory)
        _, errors = container.end()
        if container.process.returncode == 0 or "Traceback" in errors:
            pytest.skip("the kernel did not kill: there is swap")
    memory = journal.runs("nightly")[0].memory
    assert memory is not None
    assert memory.limit_bytes == 96 * 1024 * 1024
    journal.close()
    died = run_later(state).messages[0]
    assert died.kind == "died"
    assert re.search(
        r", at .*; memory was [\d.]+ MB of 96 MB$|life since [\d:]+; memory was [\d.]+ MB of 96 MB$", died.subject
    )
    assert " of 96 MB at that moment" in " ".join(died.message.split())


AGAIN = """
import subprocess, sys
greedy = subprocess.run([sys.executable, "-c", {greedy!r}], input=b"\\n", stdout=subprocess.PIPE)
print("killed" if greedy.returncode == -9 else "swap", flush=True)
exec({run!r})
"""


def test_the_next_run_in_the_container_knows_that_the_kernel_killed(state: Path, tmp_path: Path) -> None:
    """Also of a run that was too short for a sign of life: the count is that of the container."""
    run = RUN.format(messages=str(tmp_path / "messages"), heartbeat_s=None)
    with memory_group(96 * 1024 * 1024) as group, containers() as start_container:
        both = start_container(AGAIN.format(greedy=GREEDY.replace("0.1", "None"), run=run), group=group)
        if both.line() != "killed":
            pytest.skip("the kernel did not kill: there is swap")
        both.end()
    died = read(tmp_path / "messages")[0]
    assert died["kind"] == "died"
    text = " ".join(died["message"].split())
    assert "The kernel has killed 1 process of this container for want of memory: it may have 96 MB." in text


def test_a_check_from_any_host_reports_a_lost_run_once(state: Path) -> None:
    """The journal says all that is known of it: since when it is silent, and what its container had."""
    now = time.time()
    pod = Journal(state, clock=Clock(now - 700), this=lambda: Process("pod-7", 1, "another-boot:1:99", ""))
    pod.start_run(started("r1", started_at_s=now - 1000, heartbeat_s=60.0))
    pod.heartbeat("r1", 60.0, (3 << 30, 3_113_851_289, 3 << 30, 2))
    pod.close()
    first = invoke("check")
    assert first.exit_code == 1
    assert "nightly" in first.stdout
    died = run_later(state, 0.0).messages[0]
    text = " ".join(died.message.split())
    assert "Memory was 2.9 GB of 3 GB at that moment, at its peak 3 GB." in text
    assert "The kernel had killed 2 processes there for want of memory." in text
    assert "died" not in invoke("check").stdout.lower()
