"""``supervisor run`` as a command among others: its help, and what is said of a wrong command line."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from scripts import PATHS
from waiting import PATIENCE_S

from supervisor._cli.exec import OPTIONS
from supervisor._cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def test_help_tells_of_every_option_and_exit_code() -> None:
    """What can be said on the command line stands in its help, and what comes out too."""
    result = CliRunner().invoke(main, ["run", "--help"])
    assert result.exit_code == 0
    for option in OPTIONS:
        assert option.flag in result.output
    for code in ("124", "126", "127", "128", "2 wrong usage"):
        assert code in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing argument"),
        (["--"], "Missing argument"),
        (["--nope", "--", "true"], "No such option"),
        (["--timeout", "soon", "--", "true"], "'soon' is no number of seconds above 0, like 90"),
        (["--overlap", "maybe", "--", "true"], "'maybe' is not one of allow, skip, fail"),
        (["--name", " ", "--", "true"], "it must not be blank"),
        (["--report-on", "all", "--", "true"], "'all' is not one of start, progress"),
        (["--schedule", "61 * * * *", "--", "true"], "61 * * * *"),
    ],
)
def test_a_wrong_command_line_starts_nothing(arguments: list[str], words: str) -> None:
    """It is reported by exit code 2, what is wrong and what is right."""
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


@pytest.mark.skipif(sys.platform == "win32", reason="it runs a POSIX program")
def test_both_ways_carry_it_out(tmp_path: Path, state: Path) -> None:
    """What click has read is run as well as what was read without it, with the exit code of the program."""
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(PATHS), "SUPERVISOR_STATE": str(state)}
    env["SUPERVISOR_CONFIG"] = "/dev/null"
    by_click = "import sys; sys.argv = ['supervisor', *sys.argv[1:]]; from supervisor._cli.main import main; main()"
    for start in (["-m", "supervisor"], ["-c", by_click]):
        command = [sys.executable, *start, "run", "--name", "x", "--", "sh", "-c", "echo out; exit 5"]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, check=False, timeout=PATIENCE_S)
        assert (done.returncode, done.stdout) == (5, b"out\n")
        assert done.stderr.startswith(b"x failed, and no handler gets its failures: ")
        assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="it runs a POSIX program")
def test_a_run_that_works_loads_neither_click_nor_what_messages_take(tmp_path: Path, state: Path) -> None:
    """``supervisor run`` stands before many short programs: it loads what it needs, and nothing more."""
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(PATHS), "SUPERVISOR_STATE": str(state)}
    env["SUPERVISOR_CONFIG"] = "/dev/null"
    command = [sys.executable, "-X", "importtime", "-m", "supervisor", "run", "--", "true"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, check=True, timeout=PATIENCE_S)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert "supervisor._cli.exec.supervise_command" in loaded
    unwanted = {
        "click", "argparse", "subprocess", "tempfile", "shutil", "psutil", "rich", "asyncio", "hashlib", "pathlib",
        "supervisor._cli.main", "supervisor._models.values",
    }  # fmt: skip
    assert not loaded & unwanted
