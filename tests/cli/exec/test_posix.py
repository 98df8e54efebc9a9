"""Signals that are forwarded, times that are up, and processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from command_kit import Jobs, end, is_running, kill, number_in, wait_for
from waiting import let_time_pass, wait_until

if sys.platform == "win32":
    pytest.skip("the programs under test are those of POSIX systems", allow_module_level=True)


SLEEPS = "#!/bin/sh\necho $$ > pid\necho ready\nexec sleep 1000\n"
STUBBORN = "#!/bin/sh\ntrap '' TERM\necho $$ > pid\necho ready\nwhile :; do sleep 0.1; done\n"
# Its own child, too, has to be reached.
WITH_CHILD = """#!/bin/sh
sh -c 'echo $$ > child; exec sleep 1000' &
echo $$ > pid
while ! test -s child; do :; done
echo ready
wait
"""


@pytest.mark.parametrize(
    ("number", "outcome"),
    [(signal.SIGTERM, "terminated"), (signal.SIGHUP, "terminated"), (signal.SIGINT, "interrupted")],
)
def test_a_signal_reaches_the_program_and_all_that_it_started(jobs: Jobs, number: signal.Signals, outcome: str) -> None:
    """A signal that asks to end is forwarded to the whole group; the exit code is 128 and its number."""
    body = WITH_CHILD.replace("#!/bin/sh\n", "#!/bin/sh\ntrap - INT\n")
    process = jobs.start("--", jobs.write("parent.sh", body))
    wait_for(b"ready", process)
    # A shell has what it runs in the background ignore Ctrl+C, so that one is ended by hand.
    child = number_in(jobs.folder / "child")
    process.send_signal(number)
    assert end(process).code == 128 + number
    if number != signal.SIGINT:
        wait_until(lambda: not is_running(child), "its child still runs")
    kill([child])
    assert [run["outcome"] for run in jobs.runs()] == [outcome]
    (message,) = jobs.messages()
    assert (message["exit_code"], message["error"]) == (128 + number, f"asked to end by {number.name}")


def test_a_program_that_tidies_up_after_sigterm_keeps_its_exit_code(jobs: Jobs) -> None:
    """What the program makes of the signal is its own affair; the run was terminated all the same."""
    path = jobs.write(
        "tidy.sh", "#!/bin/sh\ntrap 'echo tidied; exit 0' TERM\necho ready\nwhile :; do sleep 0.05; done\n"
    )
    process = jobs.start("--", path)
    wait_for(b"ready", process)
    process.terminate()
    done = end(process)
    assert (done.code, done.stdout) == (0, b"tidied\n")
    assert jobs.runs()[0]["outcome"] == "terminated"


def test_other_signals_are_forwarded_and_change_nothing(jobs: Jobs) -> None:
    """SIGUSR1 is for the program, and the run is a success when the program is."""
    path = jobs.write(
        "asks.sh", "#!/bin/sh\ntrap 'echo got it; exit 0' USR1\necho ready\nwhile :; do sleep 0.05; done\n"
    )
    process = jobs.start("--", path)
    wait_for(b"ready", process)
    process.send_signal(signal.SIGUSR1)
    done = end(process)
    assert (done.code, done.stdout) == (0, b"got it\n")
    assert jobs.runs()[0]["outcome"] == "success"


def test_an_ignored_signal_stays_ignored(jobs: Jobs) -> None:
    """Under ``nohup`` a hangup does nothing, to us and to the program."""
    path = jobs.write("waits.sh", "#!/bin/sh\necho ready\nread line\nexit 3\n")
    before = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    process = jobs.start("--", path, stdin=subprocess.PIPE, before=before)
    wait_for(b"ready", process)
    process.send_signal(signal.SIGHUP)
    let_time_pass(0.3, "it does not end")
    assert process.poll() is None
    assert end(process).code == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_program_that_is_killed_is_told_of(jobs: Jobs, number: signal.Signals) -> None:
    """A program that a signal ends has failed, by that signal, and its last output is shown."""
    path = jobs.write("dies.sh", f"#!/bin/sh\nulimit -c 0\necho last words\nkill -{int(number)} $$\n")
    done = jobs.run("--", path)
    assert done.code == 128 + number
    (message,) = jobs.messages()
    assert (message["outcome"], message["exit_code"], message["error"]) == (
        "failure",
        128 + number,
        f"killed by {number.name}",
    )
    assert "last words" in message["traceback"]


def test_a_timeout_asks_first(jobs: Jobs) -> None:
    """When the time is up the program may tidy up; the exit code is 124, whatever its own."""
    path = jobs.write(
        "slow.sh", "#!/bin/sh\ntrap 'echo tidied; exit 0' TERM\necho working\nwhile :; do sleep 0.05; done\n"
    )
    done = jobs.run("--timeout", "0.5", "--", path)
    assert (done.code, done.stdout) == (124, b"working\ntidied\n")
    assert b"slow timed out after 500 ms" in done.stderr
    (message,) = jobs.messages()
    assert (message["outcome"], message["exit_code"], message["error"]) == ("failure", 124, "timed out after 500 ms")
    assert {"working", "tidied"} <= set(message["traceback"].splitlines())


def test_a_timeout_kills_who_does_not_listen(jobs: Jobs) -> None:
    """A program that ignores the request is killed after the grace."""
    process = jobs.start("--timeout", "0.5", "--kill-after", "0.3", "--", jobs.write("stubborn.sh", STUBBORN))
    pid = number_in(jobs.folder / "pid")
    assert end(process).code == 124
    wait_until(lambda: not is_running(pid), "it still runs")
    assert [each["error"] for each in jobs.messages()] == ["timed out after 500 ms"]


def test_a_timeout_leaves_nothing_running(jobs: Jobs) -> None:
    """What the program started and what ignores the request is killed too, even if the program itself has ended."""
    body = "#!/bin/sh\n(trap '' TERM; while :; do sleep 0.1; done) & echo $! > child\nwait\n"
    process = jobs.start("--timeout", "0.5", "--kill-after", "0.5", "--", jobs.write("parent.sh", body))
    child = number_in(jobs.folder / "child")
    assert end(process).code == 124
    wait_until(lambda: not is_running(child), "its child still runs")


def test_a_timeout_that_is_not_reached_does_nothing(jobs: Jobs) -> None:
    """A program that is in time ends as ever."""
    assert jobs.run("--timeout", "1h", "--", "sh", "-c", "exit 5").code == 5
    assert [each["error"] for each in jobs.messages()] == ["exit code 5"]


def test_a_stopped_program_is_ended_by_its_timeout(jobs: Jobs) -> None:
    """A program that was stopped goes on for long enough to be ended."""
    process = jobs.start("--timeout", "1", "--", jobs.write("sleeps.sh", SLEEPS))
    os.kill(number_in(jobs.folder / "pid"), signal.SIGSTOP)
    assert end(process).code == 124


def test_the_next_run_tells_that_supervisor_was_killed(jobs: Jobs) -> None:
    """When we ourselves are killed nobody can tell then; the next run of the name does, once."""
    path = jobs.write("sleeps.sh", SLEEPS)
    process = jobs.start("--", path)
    pid = number_in(jobs.folder / "pid")
    wait_until(lambda: jobs.runs() and jobs.runs()[0]["child_pid"], "its process is not in the journal")
    process.kill()
    kill([pid])
    assert end(process).code == -signal.SIGKILL
    wait_until(lambda: not is_running(pid), "its program still runs")
    jobs.write("sleeps.sh", "#!/bin/sh\n")
    assert [jobs.run("--", path).code for _ in range(2)] == [0, 0]
    assert [run["outcome"] for run in jobs.runs()] == ["died", "success", "success"]
    assert jobs.kinds() == ["died", "recovery"]
    assert f"Its program, process {pid}, is gone too" in " ".join(jobs.messages()[0]["message"].split())


def test_a_program_that_outlives_supervisor_is_told_of(jobs: Jobs) -> None:
    """When we are killed the program lives on: the message about the death names its process and how to end it."""
    process = jobs.start("--name", "job", "--", jobs.write("sleeps.sh", SLEEPS))
    pid = number_in(jobs.folder / "pid")
    wait_until(lambda: jobs.runs() and jobs.runs()[0]["child_pid"], "its process is not in the journal")
    process.kill()
    process.wait()
    assert is_running(pid)
    assert jobs.run("--name", "job", "--", "true").code == 0
    kill([pid])
    end(process)
    (died, _) = jobs.messages()
    assert died["subject"].endswith("; its program still runs")
    text = " ".join(died["message"].split())
    assert f"Its program still runs as process {pid}" in text
    assert f"`kill -- -{pid}`" in text


def test_a_signal_before_the_program_is_started_starts_nothing(jobs: Jobs) -> None:
    """Whoever asks us to end while we prepare does not get a program all the same."""
    for delay_s in (0.02, 0.05, 0.08, 0.11):
        process = jobs.start("--", "sh", "-c", "echo $$; exec sleep 1000")
        let_time_pass(delay_s, "the command gets some way")
        process.terminate()
        done = end(process)
        assert done.code in (143, -signal.SIGTERM)
        if done.stdout:
            assert not is_running(int(done.stdout))
    assert {run["outcome"] for run in jobs.runs()} <= {"terminated", None}
