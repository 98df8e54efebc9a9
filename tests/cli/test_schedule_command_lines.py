"""The lines for schedulers: each says what its scheduler understands, whatever the paths look like."""

from __future__ import annotations

import configparser
import os
import plistlib
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from supervisor._cli import schedule_command
from supervisor._cli.schedule_command import (
    Command,
    as_text,
    check_to_schedule,
    fitting,
    for_cron,
    for_launchd,
    for_systemd,
    for_task_scheduler,
)
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

ODD = '/opt/my env\'s/100% "sure" $HOME\\x;/supervisor'
STATE = "/var/lib/state of 100%/it's"


def check(every_min: int = 5, *, program: str = ODD) -> Command:
    """Return a check with awkward paths."""
    return Command(argv=(program, "check", "--quiet"), every_min=every_min, environment={"SUPERVISOR_STATE": STATE})


@pytest.mark.skipif(sys.platform == "win32", reason="cron has a POSIX shell")
def test_cron_runs_what_was_meant(tmp_path: Path) -> None:
    """The shell that cron starts, once cron has taken its own escapes out, runs the very program with its variables."""
    folder = tmp_path / 'my env\'s 100% "sure" $HOME'
    folder.mkdir()
    program = folder / "supervisor"
    program.write_text('#!/bin/sh\necho "$SUPERVISOR_STATE|$@"\n')
    program.chmod(0o755)
    ((_, line),) = for_cron(check(program=str(program))).steps
    fields, shell = line[:11], line[12:]
    assert fields == "*/5 * * * *"
    assert "%" not in shell.replace("\\%", "")
    # Cron takes the backslash before % out, and gives the rest to sh.
    done = subprocess.run(["/bin/sh", "-c", shell.replace("\\%", "%")], capture_output=True, text=True, check=True)
    assert done.stdout == f"{STATE}|check --quiet\n"


def cron_gives(line: str, *, pairs: bool) -> str:
    """Return what cron hands to the shell of a command: all up to the first ``%`` that has no backslash.

    Args:
        line: The command as it stands in the crontab.
        pairs: Whether this cron takes a backslash before a backslash out too, as Debian's does.
    """
    out, escaped = "", False
    for character in line:
        if escaped and (character == "%" or (pairs and character == "\\")):
            out = out[:-1] + character
        elif character == "%" and not escaped:
            return out
        else:
            out += character
        escaped = character == "\\" and not escaped
    return out


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize(
    "path",
    ["/a\\%b/x", "/a\\\\%b", "/a%%b", "/%a", "/a\\", "/a\\\\b", "/it's\\%", "/a\\%\\%", "/$(x)\\%`y`", "/a b\\\\\\%c"],
)
def test_backslashes_before_a_percent_sign_survive_every_cron(path: str, pairs: bool) -> None:
    """Whether a cron takes pairs of backslashes out or leaves them, the program that runs is the one that was meant."""
    ((_, line),) = for_cron(check(program=path)).steps
    words = shlex.split(cron_gives(line.removeprefix("*/5 * * * * "), pairs=pairs))
    assert words == [f"SUPERVISOR_STATE={STATE}", path, "check", "--quiet"]


@pytest.mark.parametrize(
    ("every_min", "fields"),
    [(1, "* * * * *"), (5, "*/5 * * * *"), (30, "*/30 * * * *"), (60, "0 * * * *"), (120, "0 */2 * * *")],
)
def test_how_often_cron_runs_it(every_min: int, fields: str) -> None:
    """Minutes that divide an hour or a day become fields of a crontab."""
    ((_, line),) = for_cron(check(every_min)).steps
    assert line.startswith(f"{fields} ")


@pytest.mark.parametrize("every_min", [7, 45, 90, 300])
def test_what_cron_cannot_do_evenly(every_min: int) -> None:
    """An interval that cron would cut at the full hour or day is refused, with what to take instead."""
    with pytest.raises(
        ConfigurationError, match=f"every {every_min} minutes evenly; say a number that divides an hour"
    ):
        for_cron(check(every_min))


def test_systemd_units() -> None:
    """The service and the timer are unit files, with specifiers and quotes escaped as systemd.syntax(7) has it."""
    (where, service), (timer_where, timer), (_, enable) = for_systemd(check(7)).steps
    assert "~/.config/systemd/user/supervisor-check.service" in where
    assert "~/.config/systemd/user/supervisor-check.timer" in timer_where
    units = []
    for text in (service, timer):
        unit = configparser.RawConfigParser()
        unit.optionxform = str  # type: ignore[assignment, method-assign]  # systemd cares for case
        unit.read_string(text)
        units.append(unit)
    assert units[0]["Service"]["Type"] == "oneshot"
    assert units[0]["Service"]["ExecStart"] == (
        r'"/opt/my env' r"'" r's/100%% \"sure\" $HOME\\x;/supervisor" check --quiet'
    )
    assert units[0]["Service"]["Environment"] == f'"SUPERVISOR_STATE={STATE.replace("%", "%%")}"'
    assert units[1]["Timer"]["OnUnitActiveSec"] == "7min"
    assert "systemctl --user enable --now supervisor-check.timer" in enable


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """Systemd itself finds nothing wrong with the units, and would run the very program."""
    program = tmp_path / "my env 100%" / "supervisor"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = [tmp_path / "supervisor-check.service", tmp_path / "supervisor-check.timer"]
    for path, (_, text) in zip(units, for_systemd(check(program=str(program))).steps, strict=False):
        path.write_text(f"{text}\n")
    assert verified(units, tmp_path) == ""
    program.unlink()
    assert f"Command {program} is not executable" in verified(units, tmp_path), "it read the path as it was meant"


def verified(units: list[Path], folder: Path) -> str:
    """Return what systemd has to say against units."""
    return subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", *map(str, units)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    ).stderr


def test_task_scheduler() -> None:
    """The command quotes the program within the task, and sets the variables of the user first."""
    windows = Command(
        argv=(r"C:\Program Files\env\pythonw.exe", "-m", "supervisor", "check", "--quiet"),
        every_min=5,
        environment={"SUPERVISOR_STATE": r"D:\my state"},
    )
    (_, variables), (_, create) = for_task_scheduler(windows).steps
    assert variables == r'setx SUPERVISOR_STATE "D:\my state"'
    assert create == (
        'schtasks /Create /F /TN "supervisor-check" /SC MINUTE /MO 5 '
        r'/TR "\"C:\Program Files\env\pythonw.exe\" -m supervisor check --quiet"'
    )


def test_task_scheduler_takes_no_long_commands() -> None:
    """What schtasks would cut off is refused."""
    with pytest.raises(ConfigurationError, match="up to 261 characters"):
        for_task_scheduler(check(program="C:\\" + "x" * 300))


def test_launchd() -> None:
    """The agent is a property list with the program's own path, unquoted."""
    (where, text), (_, start) = for_launchd(check(10)).steps
    agent = plistlib.loads(text.encode())
    assert agent["ProgramArguments"] == [ODD, "check", "--quiet"]
    assert agent["StartInterval"] == 600
    assert agent["EnvironmentVariables"] == {"SUPERVISOR_STATE": STATE}
    assert f"~/Library/LaunchAgents/{agent['Label']}.plist" in where
    assert "launchctl bootstrap" in start


def test_a_line_break_is_refused() -> None:
    """A path that would end the line of a crontab in its middle is refused."""
    with pytest.raises(ConfigurationError, match="line break"):
        check(program="/opt/a\n* * * * * rm -rf /")


@pytest.mark.parametrize("path", ["/opt/a\udcff/x", "/opt/a\x1b[2J", "/opt/\x7f"])
def test_what_cannot_be_printed_is_refused(path: str) -> None:
    """A path that is no UTF-8, or has control characters, is refused for all schedulers, and not printed wrong."""
    with pytest.raises(ConfigurationError, match=r"no UTF-8|control character"):
        check(program=path)


def test_what_fits_a_platform(tmp_path: Path) -> None:
    """Windows has its Task Scheduler, macOS launchd, and others cron, or systemd where there is no cron."""
    assert fitting("win32") == "task-scheduler"
    assert fitting("darwin") == "launchd"
    if sys.platform == "win32":
        return
    for name, expected in (("nothing", "cron"), ("systemctl", "systemd"), ("crontab", "cron")):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        assert fitting("linux", str(tmp_path)) == expected


def test_the_program_is_the_one_that_runs(tmp_path: Path) -> None:
    """It is the program that was started, else the one beside the interpreter, else the interpreter with -m."""
    program = tmp_path / "supervisor"
    python = str(tmp_path / "python")
    assert check_to_schedule(5, {}, started_as="x.py", python=python).argv == (
        python, "-m", "supervisor", "check", "--quiet",
    )  # fmt: skip
    program.touch()
    for started_as in (str(program), "x.py"):
        found = check_to_schedule(5, {}, started_as=started_as, python=python)
        assert found.argv == (str(program), "check", "--quiet")


def test_variables_that_decide_what_a_check_sees_are_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in them are made absolute, since a scheduler starts in another directory."""
    monkeypatch.chdir(tmp_path)
    environ = {"SUPERVISOR_STATE": "state", "SUPERVISOR_PROFILE": "production", "HOME": "/x", "SUPERVISOR_CONFIG": " "}
    found = check_to_schedule(5, environ).environment
    assert found == {"SUPERVISOR_STATE": str(tmp_path / "state"), "SUPERVISOR_PROFILE": "production"}


def test_the_text_says_where_things_go() -> None:
    """Everything that is not to be pasted begins with a number sign, and the other schedulers are named."""
    text = as_text(for_cron(check()), ["systemd", "launchd"])
    plain = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(plain) == 1
    assert shlex.split(plain[0].replace("\\%", "%"))[-2:] == ["check", "--quiet"]
    assert "--systemd, --launchd" in text
    assert set(schedule_command.SCHEDULERS) == {"cron", "systemd", "task-scheduler", "launchd"}


def test_a_check_that_needs_a_working_directory_has_it() -> None:
    """Each scheduler that can starts it there, with the folder's own signs escaped; Task Scheduler cannot."""
    there = Command(argv=("/supervisor", "check"), every_min=5, folder="/srv/100% my jobs")
    ((_, line),) = for_cron(there).steps
    assert cron_gives(line.removeprefix("*/5 * * * * "), pairs=True) == "cd '/srv/100% my jobs' && /supervisor check"
    ((_, service), *_) = for_systemd(there).steps
    assert "WorkingDirectory=/srv/100%% my jobs" in service
    ((_, agent), _) = for_launchd(there).steps
    assert plistlib.loads(agent.encode())["WorkingDirectory"] == "/srv/100% my jobs"
    with pytest.raises(ConfigurationError, match="SUPERVISOR_CONFIG"):
        for_task_scheduler(there)
