"""Any program as a supervised run: its exit code, its output, and what is reported it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from command_kit import SUPERVISOR, Jobs, end, is_running, kill, number_in
from containers import memory_group
from waiting import PATIENCE_S, let_time_pass, wait_until

if sys.platform == "win32":
    pytest.skip("the programs under test are those of POSIX systems", allow_module_level=True)


@pytest.mark.parametrize("code", [0, 1, 2, 255])
def test_the_exit_code_is_the_programs(jobs: Jobs, code: int) -> None:
    """Whatever the program's exit code is, it is ours, and a failure exactly when it is not 0."""
    done = jobs.run("--", "sh", "-c", f"exit {code}")
    assert done.code == code
    (run,) = jobs.runs()
    assert run["outcome"] == ("failure" if code else "success")
    assert run["exit_code"] == (code or None)
    assert jobs.kinds() == (["failure"] if code else [])


@pytest.mark.parametrize("shell", [False, True])
def test_a_program_that_the_kernel_killed_for_want_of_memory(jobs: Jobs, shell: bool) -> None:
    """The subject says so, with the limit of the control group; a shell around it shows 137."""
    greedy = "x = []\nwhile True: x.append(b'x' * (8 << 20))"
    with memory_group(96 << 20) as group:
        path = jobs.write("greedy.py", greedy)
        command = ("sh", "-c", f"{sys.executable} {path}; exit $?") if shell else (sys.executable, path)
        done = jobs.run("--", *command, before=f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')")
    assert done.code == 137
    (message,) = jobs.messages()
    how = "exit code 137" if shell else "killed by SIGKILL"
    assert f": {how} for want of memory, of which there may be 96 MB" in message["subject"]


def test_a_dry_run_prints_what_would_be_sent(jobs: Jobs) -> None:
    """The program runs; its messages are printed with whom they are for, its exit code is ours, and nothing is kept."""
    done = jobs.run("--dry-run", "--report-on", "start", "--", "sh", "-c", "echo copying; exit 3", "backup")
    assert done.code == 3
    printed = done.stdout.decode()
    assert "copying\n" in printed
    assert printed.index("  START  sh started") < printed.index("  FAILURE  sh failed on")
    assert printed.count("    not sent to ops\n") == 2
    end = "supervisor: dry run of sh (failure): nothing was sent, and nothing is kept; its failures go to ops\n"
    assert done.stderr.decode().endswith(end)
    assert (jobs.messages(), jobs.runs()) == ([], [])


def test_in_a_dry_run_a_program_of_ours_sends_and_keeps_nothing(jobs: Jobs) -> None:
    """The handlers of a Python program that joins are not used either, whatever it says of the journal."""
    command = jobs.python("""
        with supervise("job", handlers=recorder("dev"), journal=True) as run:
            with supervise("inner", journal=True):
                run.notify("half way")
            raise KeyError("apn")
        """)
    done = jobs.run("--dry-run", "--", *command)
    assert done.code == 1
    printed = done.stdout.decode()
    assert "NOTICE  half way\n    not sent to dev\n" in printed
    assert [line for line in printed.splitlines() if "not sent to" in line] == [
        "    not sent to dev",
        "    not sent to dev",
        "    not sent to ops",
    ]
    assert (jobs.messages(), jobs.messages("dev"), jobs.runs()) == ([], [], [])


def test_a_failure_shows_exit_code_command_and_the_last_of_the_output(jobs: Jobs) -> None:
    """The message says the exit code and what went to stderr last, and shows command line and output."""
    path = jobs.write("backup.sh", "#!/bin/sh\necho copying\necho 'no space left' >&2\nexit 3\n")
    done = jobs.run("--", path, "--full")
    assert (done.stdout, done.stderr) == (b"copying\n", b"no space left\n")
    (message,) = jobs.messages()
    assert message["subject"].startswith("backup failed on ")
    assert message["subject"].endswith(": exit code 3: no space left")
    assert (message["error"], message["error_message"], message["exit_code"]) == ("exit code 3", "no space left", 3)
    # Two pipes: which of the lines is read first is up to the machine.
    assert {"copying", "no space left"} <= set(message["traceback"].splitlines())
    assert "--full" in message["message"]
    assert "supervising.py" not in message["message"]
    assert json.loads(jobs.runs()[0]["argv"]) == [path, "--full"]


@pytest.mark.parametrize(
    ("errors", "line"),
    [
        (
            "pg_dump: error: query failed: ERROR: denied\npg_dump: detail: Query was: LOCK",
            "ERROR: denied",
        ),
        ("KeyError: 'apn'\n-----------------------", "KeyError: 'apn'"),
        ("psql: error: no such host\nHINT: look at the name\n", "psql: error: no such host"),
        ("Note: nothing else was said", "Note: nothing else was said"),
        ("=====\n", "exit code 1"),
    ],
)
def test_the_subject_has_the_line_that_says_what_went_wrong(jobs: Jobs, errors: str, line: str) -> None:
    """Of the last lines on stderr it is the last but remarks on the one before, and rulers."""
    jobs.run("--", "sh", "-c", 'printf "%s" "$0" >&2; exit 1', errors)
    (message,) = jobs.messages()
    assert message["subject"].endswith(line)


def test_a_success_tells_of_the_recovery(jobs: Jobs) -> None:
    """A program that works again is reported once."""
    path = jobs.write("job.sh", "#!/bin/sh\ntest -e mended\n")
    jobs.run("--", path)
    (jobs.folder / "mended").touch()
    assert [jobs.run("--", path).code for _ in range(2)] == [0, 0]
    assert jobs.kinds() == ["failure", "recovery"]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["no-such-program"], 127, "command not found: 'no-such-program' is not in PATH"),
        (["./missing.sh"], 127, "command not found: './missing.sh' is no such file"),
        (["./plain.txt"], 126, "permission denied; make it executable (chmod +x), or name its interpreter"),
        (["."], 126, "it is a directory"),
        (["./stray.sh"], 127, "the interpreter that './stray.sh' names is missing"),
        (["./binary"], 126, "command cannot be run: './binary': Exec format error"),
        ([""], 127, "command not found"),
    ],
)
def test_a_program_that_cannot_be_started_is_told_of(jobs: Jobs, command: list[str], code: int, words: str) -> None:
    """The exit code is what a shell gives, and both stderr and the message say what is wrong."""
    jobs.write("plain.txt", "text", mode=0o644)
    jobs.write("stray.sh", "#!/no/such/interpreter\n")
    (jobs.folder / "binary").write_bytes(b"\x7fNOT\0\0")
    (jobs.folder / "binary").chmod(0o755)
    done = jobs.run("--name", "job", "--", *command)
    assert done.code == code
    assert words in done.stderr.decode()
    assert jobs.runs()[0]["exit_code"] == code
    (message,) = jobs.messages()
    assert message["error"] in ("command not found", "command cannot be run")
    assert jobs.leftovers() == []


def test_a_script_without_an_interpreter_line_is_run_by_the_shell(jobs: Jobs) -> None:
    """As under a shell, such a script is one for the shell."""
    jobs.write("old", 'echo "$0" "$1"; exit 5\n')
    done = jobs.run("--", "./old", "a b")
    assert (done.code, done.stdout) == (5, b"./old a b\n")


def test_output_passes_through_byte_by_byte(jobs: Jobs) -> None:
    """What no encoding has, NUL and incomplete lines among it, comes out as it went in, each stream on its own."""
    program = jobs.python("""
        sys.stdout.buffer.write(bytes(range(256)) * 300 + b"\\xff\\r")
        sys.stderr.buffer.write(b"\\x00\\xfe" * 50_000)
    """)
    done = jobs.run("--", *program)
    assert done.stdout == bytes(range(256)) * 300 + b"\xff\r"
    assert done.stderr == b"\x00\xfe" * 50_000


def test_the_order_is_kept_where_both_streams_go_to_one_place(jobs: Jobs) -> None:
    """With ``2>&1`` the lines come in the order in which they were written."""
    program = jobs.write("both.sh", "#!/bin/sh\nfor i in $(seq 200); do echo out $i; echo err $i >&2; done\n")
    done = end(jobs.start("--", program, stderr=subprocess.STDOUT))
    assert done.stdout.split() == [word for i in range(1, 201) for word in f"out {i} err {i}".encode().split()]


def test_output_comes_while_the_program_runs(jobs: Jobs) -> None:
    """A line can be read before the program ends."""
    process = jobs.start("--", "sh", "-c", "echo first; read line; exit 4", stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    assert process.poll() is None
    assert end(process).code == 4


def test_much_output_takes_little_memory(jobs: Jobs) -> None:
    """100 MB pass through whole; of a failure the last lines are kept, and memory stays bounded."""
    program = jobs.python("""
        line = b"x" * 99 + b"\\n"
        for _ in range(1_000): sys.stdout.buffer.write(line * 1_000)
        print("the end"); sys.stdout.flush()
        status = open(f"/proc/{os.getppid()}/status").read()
        print([each for each in status.splitlines() if each.startswith("VmHWM")][0].split()[1], file=sys.stderr)
        sys.exit(1)
    """)
    process = jobs.start("--", *program)
    received = 0
    assert process.stdout is not None
    while piece := process.stdout.read(1 << 20):
        received += len(piece)
    done = end(process)
    assert received == 100_000_000 + len("the end\n")
    assert int(done.stderr) < 100_000  # kB
    (message,) = jobs.messages()
    assert "the end" in message["traceback"]
    assert len(message["traceback"]) < 70_000


def test_a_long_output_is_told_by_its_last_lines(jobs: Jobs) -> None:
    """Of many lines the last 200 are shown, and of one long line its end."""
    program = jobs.write("many.sh", "#!/bin/sh\nseq 5000\nexit 1\n")
    jobs.run("--", program)
    lines = jobs.messages()[0]["traceback"].splitlines()
    assert lines[0] == "The last of its output:"
    assert lines[1:] == [str(number) for number in range(4801, 5001)]


def test_quiet_says_nothing_of_a_success(jobs: Jobs) -> None:
    """``--quiet`` keeps the output of a program that works to itself."""
    done = jobs.run("--quiet", "--", "sh", "-c", "echo out; echo err >&2")
    assert (done.code, done.stdout, done.stderr) == (0, b"", b"")


def test_quiet_shows_all_of_a_failure(jobs: Jobs) -> None:
    """``--quiet`` shows both streams of a program that fails, whole."""
    program = jobs.python("""
        for number in range(10_000):
            print(number, "x" * 60)
            if number % 1_000 == 0: print("err", number, file=sys.stderr, flush=True)
        sys.exit(9)
    """)
    done = jobs.run("-q", "--", *program)
    assert done.code == 9
    assert done.stdout.split(b"\n") == [*(b"%d " % number + b"x" * 60 for number in range(10_000)), b""]
    assert done.stderr.splitlines() == [b"err %d" % number for number in range(0, 10_000, 1_000)]


@pytest.mark.parametrize("journal", [True, False])
def test_quiet_hands_cron_at_most_a_megabyte(jobs: Jobs, state: Path, journal: bool) -> None:
    """Of a long output the beginning and the end are shown, and where the whole is, unless nothing is to be kept."""
    options = [] if journal else ["--no-journal"]
    done = jobs.run("-q", *options, "--", *jobs.python("for number in range(400_000): print(number)\nsys.exit(9)"))
    whole = "".join(f"{number}\n" for number in range(400_000)).encode()
    head, _, note = done.stderr.decode().strip().partition("[... 1.56 MB of output left out")
    assert (done.code, head) == (9, "")
    assert len(done.stdout) <= 1024 * 1024
    assert whole.startswith(done.stdout[:900_000])
    assert whole.endswith(done.stdout[-60_000:])
    if not journal:
        assert note == " ...]"
        return
    path = Path(note.removeprefix("; the whole is in ").removesuffix(" ...]"))
    assert path.read_bytes() == whole
    assert path.is_relative_to(state / "logs")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_for_a_shell_is_sent_to_one(jobs: Jobs) -> None:
    """A whole shell line in quotes is no program: what to say instead stands in the answer, and no PATH."""
    done = jobs.run("--", "du -s x | sort")
    assert done.code == 127
    assert b"supervisor run -- sh -c 'du -s x | sort'" in done.stderr
    assert b"PATH" not in done.stderr


def test_a_reader_that_goes_away_does_not_stop_the_program(jobs: Jobs) -> None:
    """When nobody reads our output any more, the program goes on to its own end."""
    program = jobs.write("long.sh", "#!/bin/sh\nseq 200000\necho done > finished\nexit 6\n")
    process = jobs.start("--", program)
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    process.stdout = None
    assert end(process).code == 6
    assert (jobs.folder / "finished").exists()
    assert jobs.kinds() == ["failure"]


def test_closed_standard_streams_do_no_harm(jobs: Jobs) -> None:
    """Without stdin, stdout and stderr the program runs, and its exit code is ours."""
    program = jobs.write("job.sh", "#!/bin/sh\necho out; echo err >&2; echo went on > finished; exit 7\n")
    shell = f'"{sys.executable}" -m supervisor run -- {program} <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", shell], cwd=jobs.folder, env=jobs.environment, check=False, timeout=PATIENCE_S)
    assert done.returncode == 7
    assert (jobs.folder / "finished").exists()
    assert "out\nerr" in jobs.messages()[0]["traceback"]


def test_what_is_left_running_does_not_keep_us(jobs: Jobs) -> None:
    """A program that leaves something running with its output open is not waited for longer than a moment."""
    program = jobs.write("leaves.sh", "#!/bin/sh\necho before\nsleep 1000 &\necho $! > pid\nexit 8\n")
    began = time.monotonic()
    process = jobs.start("--", program)
    stdout = process.stdout
    assert stdout is not None
    left = number_in(jobs.folder / "pid")
    try:
        assert process.wait(PATIENCE_S) == 8
        assert time.monotonic() - began < 30
        assert is_running(left)
        assert stdout.read() == b"before\n"
    finally:
        kill([left])
        end(process)
    assert jobs.kinds() == ["failure"]


def test_a_slow_reader_gets_all_of_the_output(jobs: Jobs) -> None:
    """What the program wrote before its end is not cut off because somebody reads slowly."""
    process = jobs.start("--", "sh", "-c", "seq 100000")
    assert process.stdout is not None
    received = []
    while piece := os.read(process.stdout.fileno(), 30_000):
        received.append(piece)
        let_time_pass(0.02, "the reader is slow")
    assert b"".join(received).split() == [b"%d" % number for number in range(1, 100_001)]
    assert end(process).code == 0


def test_stdin_is_the_programs(jobs: Jobs) -> None:
    """What is piped into us, the program reads."""
    process = jobs.start("--", "cat", stdin=subprocess.PIPE)
    stdout, _ = process.communicate(b"\x00piped\xff", timeout=PATIENCE_S)
    assert stdout == b"\x00piped\xff"


def test_it_works_with_a_bare_environment(jobs: Jobs) -> None:
    """Without HOME, without any variable but the path of its own packages, the program runs and is reported."""
    env = {name: jobs.environment[name] for name in ("PYTHONPATH", "SUPERVISOR_STATE", "SUPERVISOR_CONFIG")}
    plain: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [*SUPERVISOR, "run", "--", "/bin/sh", "-c", "exit 1"]
    done = end(subprocess.Popen(command, cwd="/", env=env, **plain))
    assert (done.code, done.stderr) == (1, b"")
    assert [(run["name"], run["outcome"]) for run in jobs.runs()] == [("sh", "failure")]
    assert jobs.kinds() == ["failure"]


def test_the_environment_and_signals_of_the_program_are_as_ever(jobs: Jobs) -> None:
    """The program has our environment and one variable more, and no signal ignored that Python ignores for itself."""
    program = jobs.python("""
        print(sorted(name for name in os.environ if name not in ("LC_CTYPE", "PWD", "SHLVL", "_")))
    """)
    direct = subprocess.run(program, env=jobs.environment, capture_output=True, check=True, timeout=PATIENCE_S)
    assert jobs.run("--", *program).stdout == direct.stdout
    status = jobs.run("--", "cat", "/proc/self/status").stdout
    ignored = int(status.partition(b"SigIgn:")[2].split()[0], 16)
    assert not ignored & 1 << signal.SIGPIPE - 1
    assert not ignored & 1 << signal.SIGXFSZ - 1


def test_no_journal_keeps_nothing_and_still_tells(jobs: Jobs) -> None:
    """With ``--no-journal`` a failure is reported, and nothing is written down."""
    assert jobs.run("--no-journal", "--", "false").code == 1
    assert jobs.kinds() == ["failure"]
    assert jobs.runs() == []


def test_options_win_over_the_configuration(jobs: Jobs) -> None:
    """What is configured for a run's name holds, and what the command line says holds above it."""
    jobs.configure('[defaults]\nhandlers = ["ops"]\n[runs."night job"]\nhandlers = ["dev"]\nreport_on = ["success"]\n')
    assert jobs.run("--name", "night job", "--", "true").code == 0
    assert (jobs.kinds("dev"), jobs.kinds("ops")) == (["success"], [])
    assert jobs.run("--name", "night job", "--handler", "ops", "--report-on", "start", "--", "true").code == 0
    assert jobs.kinds("ops") == ["start"]


def test_settings_that_are_wrong_together_start_nothing(jobs: Jobs) -> None:
    """A configuration that no run can have is reported by exit code 2, and the program is not started."""
    jobs.configure('[defaults]\nhandlers = ["ops"]\n')
    done = jobs.run("--schedule", "61 * * * *", "--", "touch", "started")
    assert done.code == 2
    assert b"61 * * * *" in done.stderr
    assert not (jobs.folder / "started").exists()


def test_an_unknown_handler_does_not_keep_the_program_from_running(jobs: Jobs) -> None:
    """The job goes before its supervision: a misspelt handler is warned of, and the program runs."""
    done = jobs.run("--handler", "opps", "--", "sh", "-c", "echo ran; exit 3")
    assert (done.code, done.stdout) == (3, b"ran\n")
    assert b"opps" in done.stderr


def test_a_journal_that_cannot_be_used_does_not_keep_the_program_from_running(jobs: Jobs) -> None:
    """Without a directory for the journal the program runs, and its failure is reported."""
    blocked = jobs.folder / "blocked"
    blocked.write_text("no directory")
    done = jobs.run("--", "sh", "-c", "exit 3", env={"SUPERVISOR_STATE": str(blocked / "state")})
    assert done.code == 3
    assert jobs.kinds() == ["failure"]


def test_the_log_goes_with_the_failure(jobs: Jobs) -> None:
    """``--log`` names the program's log in the journal and the message."""
    (jobs.folder / "job.log").write_text("what happened\n")
    jobs.run("--log", "job.log", "--", "false")
    assert jobs.runs()[0]["log_path"] == str(jobs.folder / "job.log")
    assert "job.log" in jobs.messages()[0]["message"]


def test_limits_are_noted_for_the_check(jobs: Jobs) -> None:
    """Schedule and limits stand in the journal, where ``supervisor check`` looks for them."""
    jobs.run("--schedule", "every 15 min", "--max-duration", "2h", "--stall-after", "10m", "--", "true")
    (run,) = jobs.runs()
    assert (run["schedule"], run["max_duration_s"], run["stall_after_s"]) == ("every 15 min", 7200.0, 600.0)


def test_output_is_a_sign_of_life(jobs: Jobs) -> None:
    """With ``--stall-after`` the journal knows when the program last said something, and what."""
    process = jobs.start("--stall-after", "60", "--", "sh", "-c", "echo copying one; read line", stdin=subprocess.PIPE)
    wait_until(lambda: [run for run in jobs.runs() if run["progress"]])
    assert b"copying one" in jobs.runs()[0]["progress"]
    end(process)


def test_the_run_has_the_programs_processor_time_and_memory(jobs: Jobs) -> None:
    """What a run used is what its program used, not what we did."""
    jobs.run("--", *jobs.python("""
        until = time.process_time() + 0.5
        while time.process_time() < until: pass
        held = bytearray(120_000_000)
    """))  # fmt: skip
    (run,) = jobs.runs()
    assert run["cpu_s"] >= 0.4
    # The system counts what a process had before it became another program: here, that of the tests.
    assert run["peak_memory_bytes"] is None or run["peak_memory_bytes"] > 120_000_000


def test_on_a_terminal_the_program_reads_from_it_and_ctrl_c_comes_once(jobs: Jobs) -> None:
    """A program may ask on the terminal; it stays in the terminal's own group, where Ctrl+C reaches it by itself."""
    program = jobs.python("""
        same = os.tcgetpgrp(0) == os.getpgrp()
        print("same group" if same else "another group", os.isatty(0), os.isatty(1))
    """)
    code, seen = on_terminal(jobs, program, b"", b"")
    assert (code, b"same group True False" in seen) == (0, True), seen


def test_ctrl_c_on_a_terminal_interrupts_program_and_run_once(jobs: Jobs) -> None:
    """The terminal's Ctrl+C reaches the program once, and the run is interrupted."""
    program = jobs.python("""
        count = 0
        def count_it(*_):
            global count; count += 1
        signal.signal(signal.SIGINT, count_it)
        print("ready", flush=True)
        until = time.monotonic() + 60
        while not count and time.monotonic() < until: time.sleep(0.01)
        time.sleep(0.5)
        print("interrupts:", count, flush=True)
        sys.exit(130)
    """)
    code, seen = on_terminal(jobs, program, b"ready", b"\x03")
    assert b"interrupts: 1" in seen, seen
    assert code == 130
    assert jobs.runs()[0]["outcome"] == "interrupted"


def on_terminal(jobs: Jobs, program: tuple[str, ...], when: bytes, keys: bytes) -> tuple[int, bytes]:
    """Run a program under ``supervisor run`` on a terminal of its own, press keys when it has said something.

    Args:
        jobs: Where it runs.
        program: The command.
        when: What is waited for before the keys are pressed.
        keys: Which.

    Returns:
        The exit code, and all that came to the terminal.
    """
    import pty

    ours, theirs = pty.openpty()
    # The first terminal that the leader of a session opens is its own; this one is open already.
    before = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    process = jobs.start(
        "--", *program, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, before=before
    )
    os.close(theirs)
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    seen = b""
    try:
        while piece := os.read(ours, 1000):
            seen += piece
            if keys and when in seen:
                os.write(ours, keys)
                keys = b""
    except OSError:  # what Linux says when nobody has the terminal open any more
        pass
    code = process.wait()
    watchdog.cancel()
    os.close(ours)
    return code, seen


def test_an_exit_code_can_be_a_warning(jobs: Jobs) -> None:
    """Those in --warn-codes are no failure, though the command ends with them; the end of the output is told."""
    script = "exec >&2; echo ok; echo vanished; exit 24"
    done = jobs.run("--warn-codes", "23,24", "--warn-codes=25", "--", "sh", "-c", script)
    assert done.code == 24
    assert (jobs.runs()[0]["outcome"], jobs.runs()[0]["exit_code"]) == ("warning", 24)
    (message,) = jobs.messages()
    assert message["kind"] == "warning"
    assert " succeeded with 1 warning on " in message["subject"]
    assert message["subject"].endswith(": exit code 24: vanished")
    assert "The last of its output:\nok\nvanished" in message["message"]
    assert jobs.run("--warn-codes", "24", "--", "sh", "-c", "exit 3").code == 3
    assert jobs.messages()[-1]["kind"] == "failure"


def test_warnings_come_over_from_a_supervised_script(jobs: Jobs) -> None:
    """A program that joined the run has warned of something: the run of the command succeeds with its warnings."""
    body = """
from supervisor import supervise
with supervise(handlers=[]) as run:
    run.record(rows=12)
    for number in range(12):
        run.warn("airstrips: timeout", number=number)
    sys.exit(int(sys.argv[1]))
"""
    assert jobs.run("--warn-codes", "3", "--", *jobs.python(body), "0").code == 0
    assert jobs.run("--warn-codes", "3", "--", *jobs.python(body), "3").code == 3
    assert [each["outcome"] for each in jobs.runs()] == ["warning", "warning"]
    first, second = jobs.messages()
    assert " succeeded with 12 warnings on " in first["subject"]
    assert "airstrips: timeout (number=9)" in first["message"]
    assert "2 more" in first["message"]
    assert " succeeded with 13 warnings on " in second["subject"]


@pytest.mark.parametrize("codes", ["", "0", "256", "x", "3,", "-1"])
def test_what_is_no_exit_code_is_wrong_use(jobs: Jobs, codes: str) -> None:
    """The mistake is named, and nothing runs."""
    done = jobs.run("--warn-codes", codes, "--", "sh", "-c", "exit 0")
    assert done.code == 2
    assert b"exit code" in done.stderr
    assert jobs.runs() == []
