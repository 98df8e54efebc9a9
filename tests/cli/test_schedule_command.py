"""``supervisor schedule``: lines that can be pasted."""

from __future__ import annotations

import os
import plistlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from scripts import PACKAGE, bare_environment

from supervisor._cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def schedule(*arguments: str) -> tuple[int, str]:
    """Return the exit code and what was printed."""
    result = CliRunner().invoke(main, ["schedule", *arguments])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("--cron", "*/5 * * * * "),
        ("--systemd", "OnUnitActiveSec=5min"),
        ("--task-scheduler", "/SC MINUTE /MO 5 "),
        ("--launchd", "<integer>300</integer>"),
    ],
)
def test_each_scheduler(option: str, wanted: str, state: Path) -> None:
    """Each scheduler has its lines, every five minutes unless told otherwise, with the variables that are set."""
    code, text = schedule(option)
    assert code == 0
    assert wanted in text
    assert "check" in text
    assert "--quiet" in text or "<string>--quiet</string>" in text
    assert str(state) in text


def test_what_fits_is_printed_and_the_others_named() -> None:
    """Without an option it prints what fits this platform, and how to get the others."""
    code, text = schedule()
    assert code == 0
    assert text.splitlines()[-1].startswith("# For other schedulers: supervisor schedule --")
    assert text.splitlines()[-1].count("--") == 3


def test_every() -> None:
    """The minutes are what is asked for; what cron cannot do evenly is refused with 2 and a remedy."""
    assert "*/15 * * * * " in schedule("--cron", "--every", "15")[1]
    code, text = schedule("--cron", "--every", "7")
    assert code == 2
    assert "take systemd" in text
    assert schedule("--every", "0")[0] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="cron and sh")
def test_the_line_of_cron_runs(tmp_path: Path, state: Path) -> None:
    """What is printed, run by the shell that cron has and in its environment, is a check of this very journal."""
    env = bare_environment(PYTHONPATH=str(PACKAGE.parent), SUPERVISOR_CONFIG=os.devnull)
    command = [sys.executable, "-m", "supervisor", "schedule"]
    printed = subprocess.run([*command, "--cron"], env=env, capture_output=True, text=True, check=True).stdout
    (line,) = [each for each in printed.splitlines() if each.startswith("*")]
    shell = line.removeprefix("*/5 * * * * ").replace("\\%", "%").replace("--quiet", "--json")
    cron = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PACKAGE.parent), "HOME": str(tmp_path)}
    done = subprocess.run(["/bin/sh", "-c", shell], env=cron, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"scripts": 0' in done.stdout
    agent = subprocess.run([*command, "--launchd"], env=env, capture_output=True, text=True, check=True).stdout
    plist = plistlib.loads(agent[agent.index("<?xml") : agent.index("</plist>") + 8].encode())
    assert plist["EnvironmentVariables"]["SUPERVISOR_STATE"] == str(state)
