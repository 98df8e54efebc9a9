"""``supervisor schedule``: lines that can be pasted."""

from __future__ import annotations

import json
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
    assert str(state) in text.replace("\\\\", "\\")


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


@pytest.mark.skipif(sys.platform == "win32", reason="cron and sh")
@pytest.mark.parametrize("several", [False, True])
def test_the_line_of_cron_has_the_configuration_in_force(tmp_path: Path, state: Path, several: bool) -> None:
    """What a project's file configures holds for the check in cron too, and so do the variables of settings."""
    project, home = tmp_path / "my 100% project", tmp_path / "home"
    for file in [
        project / "supervisor.toml",
        *([home / ".config" / "supervisor" / "supervisor.toml"] if several else []),
    ]:
        file.parent.mkdir(parents=True)
        file.write_text(
            '[runs.night]\nschedule = "0 2 * * *"\n[handlers.hook]\ntype = "webhook"\nurl = { env = "HOOK_URL" }\n'
        )
        file.chmod(0o600)
    home.mkdir(exist_ok=True)
    env = bare_environment(PYTHONPATH=str(PACKAGE.parent), HOME=str(home), SUPERVISOR_HANDLERS="hook")
    env["SUPERVISOR_SEND"] = "off"  # a developer's: cron is to send
    env.pop("SUPERVISOR_CONFIG", None)
    command = [sys.executable, "-m", "supervisor", "schedule", "--cron"]
    printed = subprocess.run(command, env=env, cwd=project, capture_output=True, text=True, check=True).stdout
    assert "take secrets from HOOK_URL" in printed
    (line,) = [each for each in printed.splitlines() if each.startswith("*")]
    assert ("cd " in line, "SUPERVISOR_CONFIG=" in line) == (several, not several)
    assert "SUPERVISOR_SEND" not in line
    shell = line.removeprefix("*/5 * * * * ").replace("\\%", "%").replace("check --quiet", "config --json")
    cron = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(PACKAGE.parent),
        "HOME": str(home),
        "HOOK_URL": "http://127.0.0.1:1/",
    }
    done = subprocess.run(["/bin/sh", "-c", shell], env=cron, capture_output=True, text=True, check=False, cwd=home)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["files"][-1] == str(project / "supervisor.toml")
    assert len(shown["files"]) == 1 + several
    assert {"runs.night.schedule", "defaults.handlers"} <= {each["key"] for each in shown["entries"]}


@pytest.mark.parametrize("scheduler", ["cron", "systemd", "task-scheduler", "launchd"])
def test_the_lines_of_a_digest(scheduler: str) -> None:
    """Once a day, at that time, as a unit or a task of its own; a wrong time is refused."""
    _, text = schedule("--digest", "7:05", "--handler", "ops", f"--{scheduler}")
    if scheduler == "launchd":
        assert "<string>agrc.supervisor.digest</string>" in text
        assert "<key>Hour</key>\n\t\t<integer>7</integer>" in text
    else:
        assert "digest --quiet --handler ops" in text
        when = {"cron": "\n5 7 * * * ", "systemd": "OnCalendar=*-*-* 07:05:00", "task-scheduler": "/SC DAILY /ST 07:05"}
        assert when[scheduler] in text
    assert "check --quiet" not in text
    assert "<string>check</string>" not in text
    for wrong in ("7", "24:00", "7:60"):
        assert schedule("--digest", wrong)[0] == 2
    assert schedule("--handler", "ops")[0] == 2
