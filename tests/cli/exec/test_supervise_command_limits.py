"""Overlapping runs, runs that stall and runs that take too long: what holds for a command as for any run."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from command_kit import Jobs, end, wait_for

if sys.platform == "win32":
    pytest.skip("the programs under test are those of POSIX systems", allow_module_level=True)


WAITS = "#!/bin/sh\necho ready\nread line\n"


def test_an_overlapping_run_is_skipped(jobs: Jobs) -> None:
    """With ``--overlap skip`` the program is not started while an earlier run is under way; the exit code is 0."""
    path = jobs.write("job.sh", WAITS)
    first = jobs.start("--overlap", "skip", "--", path, stdin=subprocess.PIPE)
    wait_for(b"ready", first)
    second = jobs.run("--overlap", "skip", "--", path)
    assert (second.code, second.stdout) == (0, b"")
    assert b"job is skipped" in second.stderr
    end(first)
    assert [run["outcome"] for run in jobs.runs()][1] == "skipped"
    assert "skipped" not in [each["outcome"] for each in jobs.messages()]


def test_an_overlapping_run_fails(jobs: Jobs) -> None:
    """With ``--overlap fail`` the program is not started, the exit code is 1, and the failure is reported."""
    path = jobs.write("job.sh", WAITS)
    first = jobs.start("--overlap", "fail", "--", path, stdin=subprocess.PIPE)
    wait_for(b"ready", first)
    second = jobs.run("--overlap", "fail", "--", path)
    assert (second.code, second.stdout) == (1, b"")
    assert b"under way" in second.stderr
    assert [each["error"] for each in jobs.messages()] == ["OverlapError"]
    end(first)
    assert jobs.run("--overlap", "fail", "--", path).code == 1  # read finds no line
    assert jobs.messages()[-1]["error"] == "exit code 1"


def test_a_program_that_joins_does_not_overlap_with_its_command(jobs: Jobs) -> None:
    """Both may ask for ``overlap``: the run is one."""
    program = jobs.python("""
        with supervise("job", overlap="fail"): print("ran")
    """)
    done = jobs.run("--overlap", "fail", "--", *program)
    assert (done.code, done.stdout) == (0, b"ran\n")
    assert [run["outcome"] for run in jobs.runs()] == ["success"]


def test_a_silent_program_stalls_and_one_that_speaks_does_not(jobs: Jobs) -> None:
    """Output counts as a sign of life."""
    silent = jobs.start("--name", "silent", "--stall-after", "1", "--", "sleep", "4")
    speaking = jobs.write("speaks.sh", "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.5; done\n")
    assert jobs.run("--stall-after", "3", "--", speaking).code == 0
    assert end(silent).code == 0
    assert [(each["kind"], each["run"]) for each in jobs.messages()] == [
        ("stalled", "silent"), ("recovery", "silent"),
    ]  # fmt: skip


def test_progress_of_a_program_that_has_joined_is_a_sign_of_life(jobs: Jobs) -> None:
    """A program that makes progress does not stall, though it says nothing, also where its loop turns slow."""
    program = jobs.python("""
        with supervise() as run:
            for number in run.track(range(1008)):
                if number >= 1000: time.sleep(0.5)
    """)
    assert jobs.run("--stall-after", "3", "--", *program).code == 0
    assert jobs.kinds() == []


def test_a_program_that_takes_too_long_is_told_of_and_goes_on(jobs: Jobs) -> None:
    """``--max-duration`` only reports."""
    assert jobs.run("--max-duration", "0.3", "--", "sleep", "1").code == 0
    assert jobs.kinds() == ["overdue", "recovery"]
    assert jobs.runs()[0]["outcome"] == "success"


def test_a_program_that_takes_too_long_is_interrupted_where_that_is_configured(jobs: Jobs) -> None:
    """With ``on_overdue = "interrupt"`` the program gets SIGINT, and the run has failed because it took too long."""
    jobs.configure('[defaults]\nhandlers = ["ops"]\n[runs.job]\nmax_duration_s = 0.5\non_overdue = "interrupt"\n')
    path = jobs.write("job.sh", "#!/bin/sh\ntrap - INT\nexec sleep 1000\n")
    done = jobs.run("--", path)
    assert done.code == 128 + signal.SIGINT
    assert jobs.kinds() == ["overdue", "failure"]
    assert "interrupted: " in jobs.messages()[1]["error"]
    assert jobs.runs()[0]["outcome"] == "failure"
