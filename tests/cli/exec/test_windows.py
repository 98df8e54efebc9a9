"""``supervisor run`` on Windows: exit codes, Ctrl+Break, TerminateProcess; real programs (see tests/wine)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from command_kit import SUPERVISOR, Done, Jobs, end, send_ctrl_break, wait_for
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform != "win32":
    pytest.skip("programs are started otherwise elsewhere", allow_module_level=True)

import psutil


def start(jobs: Jobs, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start ``supervisor run`` in a group of its own, as a scheduler does, so that Ctrl+Break can be sent to it."""
    return subprocess.Popen(
        [*SUPERVISOR, "run", *arguments], cwd=jobs.folder, env=jobs.environment, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, creationflags=subprocess.CREATE_NEW_PROCESS_GROUP, **options,
    )  # fmt: skip


def run(jobs: Jobs, *arguments: str) -> Done:
    """Run ``supervisor run`` to its end."""
    return end(start(jobs, *arguments))


@pytest.fixture
def programs(jobs: Jobs) -> Iterator[Jobs]:
    """Return a folder for programs; what a test leaves running is ended."""
    yield jobs
    for each in psutil.process_iter():
        try:
            if str(jobs.folder) in " ".join(each.cmdline()):
                each.kill()
        except psutil.Error:
            continue


@pytest.mark.parametrize("code", [0, 1, 3, 255, 0xC0000005])
def test_the_exit_code_is_the_programs(programs: Jobs, code: int) -> None:
    """The program's exit code is ours, a crash's number too; what it printed comes through, and zero alone is good."""
    ends = f"os._exit({code if code < 2**31 else code - 2**32})"
    program = programs.python(f"print('out', flush=True)\nprint('err', file=sys.stderr, flush=True)\n{ends}")
    done = run(programs, "--", *program)
    assert (done.code & 0xFFFFFFFF, done.stdout.split(), done.stderr.split()) == (code, [b"out"], [b"err"])
    assert programs.kinds() == ([] if code == 0 else ["failure"])
    assert [each["outcome"] for each in programs.runs()] == ["success" if code == 0 else "failure"]


def test_a_program_that_is_terminated_by_others_has_failed(programs: Jobs) -> None:
    """TerminateProcess gives the code that its caller chose; the last lines of output are in the message."""
    done = run(programs, "--", *programs.python("print('last words', flush=True)\nos.kill(os.getpid(), 9)"))
    assert done.code == 9
    (message,) = programs.messages()
    assert (message["outcome"], message["exit_code"], message["error"]) == ("failure", 9, "exit code 9")
    assert "last words" in message["traceback"]


def test_a_missing_program_is_told(programs: Jobs) -> None:
    """What cannot be found ends with 127 and is told as a failure."""
    assert run(programs, "--", "no-such-program").code == 127
    assert [each["error"] for each in programs.messages()] == ["command not found"]


def test_a_batch_file_gets_its_arguments(programs: Jobs) -> None:
    """A batch file is found and run, with arguments that have blanks in them, and its exit code is ours."""
    path = programs.write("job.bat", "@echo off\r\necho got %1\r\nexit 7\r\n")
    done = run(programs, "--", path, "a b")
    assert (done.code, done.stdout.strip()) == (7, b'got "a b"')


@pytest.mark.parametrize("argument", ["c&echo executed", "%PATH%", 'say "no"', "x|more", "line\nline", "a^b"])
def test_no_argument_of_a_batch_file_is_executed(programs: Jobs, argument: str) -> None:
    """What cmd.exe would act upon is refused with what to do instead, and the batch file does not run."""
    path = programs.write("job.bat", "@echo off\r\necho got %1\r\n")
    done = run(programs, "--", path, "a b", argument)
    assert (done.code, done.stdout) == (126, b"")
    (message,) = programs.messages()
    assert "environment variable" in message["error_message"]


def test_ctrl_break_ends_program_and_run(programs: Jobs) -> None:
    """Ctrl+Break is forwarded to the program; the run was terminated, whatever the program made of it."""
    program = programs.python("""
        print("ready", flush=True)
        while True: time.sleep(0.05)  # a signal during a long sleep is heard when that ends
    """)
    process = start(programs, "--", *program)
    wait_for(b"ready", process)
    send_ctrl_break(process)
    assert end(process).code != 0
    assert [each["outcome"] for each in programs.messages()] == ["terminated"]
    assert [each["outcome"] for each in programs.runs()] == ["terminated"]


def test_a_program_may_end_as_it_likes_after_ctrl_break(programs: Jobs) -> None:
    """A program that cleans up when it gets Ctrl+Break does so, and its exit code stays its own."""
    program = programs.python("""
        def clean_up(*_): print("cleaned up", flush=True); os._exit(5)
        signal.signal(signal.SIGBREAK, clean_up)
        print("ready", flush=True)
        while True: time.sleep(0.05)
    """)
    process = start(programs, "--", *program)
    wait_for(b"ready", process)
    send_ctrl_break(process)
    done = end(process)
    assert (done.code, done.stdout.split()) == (5, [b"cleaned", b"up"])


def test_a_program_that_takes_too_long_is_ended_with_its_children(programs: Jobs) -> None:
    """``--timeout`` ends the program and what it has started, and the exit code is 124."""
    (programs.folder / "starts.py").write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])\n"
        "with open('child', 'w') as file: file.write(str(child.pid))\n"
        "while True: time.sleep(0.05)\n"
    )
    program = (sys.executable, "-S", str(programs.folder / "starts.py"))
    assert run(programs, "--timeout", "5", "--kill-after", "1", "--", *program).code == 124
    assert [each["error"] for each in programs.messages()] == ["timed out after 5 s"]
    pid = int((programs.folder / "child").read_text())
    try:
        psutil.Process().children()
    except OSError as error:
        psutil.Process(pid).kill()
        pytest.skip(f"processes cannot be listed here, as under Wine: {error}")
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_supervisor_run_that_is_terminated_is_told_by_the_next(programs: Jobs) -> None:
    """After TerminateProcess of ``supervisor run`` itself, the next run of that name tells that it died, once."""
    program = programs.python('print("ready", flush=True)\nsys.stdin.read()')
    process = start(programs, "--name", "job", "--", *program)
    wait_for(b"ready", process)
    process.kill()
    end(process)
    for _ in range(2):
        assert run(programs, "--name", "job", "--", sys.executable, "-c", "").code == 0
    assert programs.kinds()[:1] == ["died"]
    assert programs.kinds().count("died") == 1
    assert [each["outcome"] for each in programs.runs()] == ["died", "success", "success"]


def test_a_python_program_joins_the_run(programs: Jobs) -> None:
    """What a program records is in the run of ``supervisor run``, and its failure is told once, with its traceback."""
    program = programs.python("""
        with supervise("its own name") as run:
            run.record(rows=5)
            print(run.id, flush=True)
            raise KeyError("apn")
    """)
    done = run(programs, "--", *program)
    (told,) = programs.runs()
    assert (done.code, done.stdout.split()) == (1, [told["id"].encode()])
    assert (told["name"], told["outcome"]) == ("job", "failure")
    assert json.loads(told["values"]) == {"rows": 5}
    (message,) = programs.messages()
    assert (message["error"], message["where"]) == ("KeyError", message["where"])
    assert "raise KeyError" in message["traceback"]
    assert programs.leftovers() == []


def test_a_program_that_sleeps_is_ended_by_its_timeout(programs: Jobs) -> None:
    """A supervised program that sleeps does not hear Ctrl+Break: it is terminated, and told as too slow, once."""
    program = programs.python("""
        with supervise("its own name"):
            print("ready", flush=True)
            time.sleep(600)
    """)
    assert run(programs, "--timeout", "3", "--kill-after", "1", "--", *program).code == 124
    assert [each["error"] for each in programs.messages()] == ["timed out after 3 s"]
    assert len(programs.runs()) == 1
