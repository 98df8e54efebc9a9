"""``supervisor run --retries``: a program that fails is started again, and all of its attempts are one run."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest
from command_kit import end
from waiting import wait_until

if TYPE_CHECKING:
    from command_kit import Jobs

if sys.platform == "win32":
    pytest.skip("the programs under test are those of POSIX systems", allow_module_level=True)

_FLAKY = """\
#!/bin/sh
echo x >> tries
if [ $(wc -l < tries) -lt $1 ]; then echo "server is busy" >&2; exit $2; fi
"""
AT_ONCE = ("--retry-wait", "0.01")


def test_a_program_is_started_again_until_it_succeeds(jobs: Jobs) -> None:
    """One run, one message, which says at which attempt it succeeded."""
    path = jobs.write("flaky.sh", _FLAKY)
    done = jobs.run("--retries", "3", *AT_ONCE, "--report-on", "success", "--", path, "3", "75")
    assert done.code == 0
    assert done.stdout == b""
    assert b"attempt 1 of 4 of 'flaky' failed (exit code 75: server is busy); the next one begins in" in done.stderr
    (message,) = jobs.messages()
    assert message["subject"].startswith("flaky succeeded at the 3rd attempt (exit code 75 twice) on ")
    (run,) = jobs.runs()
    assert run["outcome"] == "success"
    assert b"server is busy" in run["retried"]


@pytest.mark.parametrize("wait", ["0", "0s"])
def test_it_may_be_started_again_at_once(jobs: Jobs, wait: str) -> None:
    """A wait of 0 does not wait, as in the setting."""
    path = jobs.write("flaky.sh", _FLAKY)
    done = jobs.run("--retries", "1", "--retry-wait", wait, "--", path, "2", "75")
    assert done.code == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--retry-codes", "75"), b"--retry-codes needs --retries, or retries in the configuration"),
        (
            ("--retries", "1", "--retry-codes", "3,75", "--warn-codes", "3"),
            b"exit code 3 cannot be both in --retry-codes and a warning (--warn-codes): it is no failure then",
        ),
    ],
)
def test_codes_that_would_do_nothing_are_refused(jobs: Jobs, options: tuple[str, ...], said: bytes) -> None:
    """The program is not started at all: who wrote the line expects something else."""
    path = jobs.write("flaky.sh", _FLAKY)
    done = jobs.run(*options, "--", path, "9", "3")
    assert done.code == 2
    assert said in done.stderr
    assert not (jobs.folder / "tries").exists()


@pytest.mark.parametrize(
    ("codes", "code", "attempts"),
    [("75", 75, 2), ("75,111", 111, 2), ("75", 1, 1), ("", 1, 2), ("", 127, 1), ("127", 127, 2)],
)
def test_exit_codes_decide_whether_it_is_started_again(jobs: Jobs, codes: str, code: int, attempts: int) -> None:
    """Without ``--retry-codes`` those count with which it could not be started; the exit code stays its own."""
    path = jobs.write("flaky.sh", _FLAKY)
    options = ("--retry-codes", codes) if codes else ()
    done = jobs.run("--retries", "1", *AT_ONCE, *options, "--", path, "9", str(code))
    assert done.code == code
    assert len((jobs.folder / "tries").read_text().splitlines()) == attempts
    assert jobs.kinds() == ["failure"]


def test_retries_may_stand_in_the_configuration(jobs: Jobs) -> None:
    """A mistake in the file is no reason not to run the program: then it is started once."""
    path = jobs.write("flaky.sh", _FLAKY)
    for text, attempts in (("retries = 1\nretry_wait_s = 0", 2), ('retries = "x"', 1)):
        jobs.configure(f'[runs.flaky]\nhandlers = ["ops"]\n{text}\n')
        assert jobs.run("--retry-codes", "75", "--", path, "9", "75").code == 75
        tries = jobs.folder / "tries"
        assert len(tries.read_text().splitlines()) == attempts
        tries.unlink()


def test_a_signal_ends_the_wait(jobs: Jobs) -> None:
    """The command does not wait for the next attempt when it is asked to end, and says so."""
    path = jobs.write("flaky.sh", _FLAKY)
    process = jobs.start("--retries", "1", "--retry-wait", "10m", "--", path, "9", "75")
    stderr = process.stderr
    assert stderr is not None
    wait_until(lambda: b"the next one begins" in stderr.readline())
    process.send_signal(signal.SIGTERM)
    assert end(process).code == 143
    (run,) = jobs.runs()
    assert (run["outcome"], run["exit_code"]) == ("terminated", 143)
    (message,) = jobs.messages()
    assert "asked to end by SIGTERM, while it waited to try again" in message["message"]


def test_the_timeout_holds_for_all_attempts_together(jobs: Jobs) -> None:
    """No attempt begins after it."""
    path = jobs.write("flaky.sh", _FLAKY)
    done = jobs.run("--retries", "1", "--retry-wait", "10m", "--timeout", "0.5", "--", path, "9", "75")
    assert done.code == 124
    assert len((jobs.folder / "tries").read_text().splitlines()) == 1


def test_a_program_of_ours_reports_no_failure_that_is_tried_again(jobs: Jobs) -> None:
    """It leaves that to the command, and does not try again itself; what failed attempts recorded is dropped."""
    command = jobs.python("""
        from pathlib import Path
        tries = Path("tries")
        number = len(tries.read_text()) if tries.exists() else 0
        tries.write_text("x" * (number + 1))

        @supervised("job", handlers=recorder("dev"), retries=5, retry_wait_s=0)
        def main(run):
            run.record(**{f"of_{number}": number})
            if number < 2:
                raise TimeoutError("no answer")

        main()
        """)
    done = jobs.run("--retries", "3", *AT_ONCE, "--report-on", "success", "--", *command)
    assert (done.code, (jobs.folder / "tries").read_text()) == (0, "xxx")
    assert jobs.kinds("dev") == []
    (message,) = jobs.messages()
    assert message["subject"].startswith("job succeeded at the 3rd attempt (TimeoutError twice) on ")
    assert "of_2  2" in message["message"]
    assert "of_0" not in message["message"]


def test_a_program_of_ours_reports_the_last_failure(jobs: Jobs) -> None:
    """Its own handlers get the failure that is not tried again, and each handler gets it once."""
    command = jobs.python("""
        @supervised("job", handlers=recorder("dev"))
        def main():
            raise TimeoutError("no answer")

        main()
        """)
    assert jobs.run("--retries", "1", *AT_ONCE, "--", *command).code == 1
    assert jobs.kinds("dev") == ["failure"]
    (message,) = jobs.messages()
    assert message["subject"].startswith("job failed after 2 attempts on ")


def test_what_a_program_of_ours_sends_names_the_attempts_before(jobs: Jobs) -> None:
    """Its own handlers get the message of the end from it, and learn of the attempts as those of the command do."""
    command = jobs.python("""
        from pathlib import Path
        tries = Path("tries")
        number = len(tries.read_text()) if tries.exists() else 0
        tries.write_text("x" * (number + 1))

        @supervised("job", handlers=recorder("dev"))
        def main(run):
            if number != 2:
                raise TimeoutError("no answer")
            run.warn("half of it")

        main()
        """)
    assert jobs.run("--retries", "2", *AT_ONCE, "--", *command).code == 0
    assert jobs.run("--retries", "1", *AT_ONCE, "--", *command).code == 1
    warned, failed = jobs.messages("dev")
    assert warned["subject"].startswith("job succeeded with 1 warning at the 3rd attempt (TimeoutError twice) on ")
    assert "TimeoutError: no answer" in warned["message"]
    assert failed["subject"].startswith("job failed after 2 attempts on ")
