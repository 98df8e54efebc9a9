"""The lines that let each platform's scheduler run ``supervisor check``, ready to paste."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "supervisor-check"
LABEL = "agrc.supervisor.check"
HANDED_ON = ("SUPERVISOR_STATE", "SUPERVISOR_CONFIG", "SUPERVISOR_PROFILE")
"""Variables that decide what a check sees, and that no scheduler would hand on by itself."""

_HOUR, _DAY = 60, 1440
_LONGEST_TASK = 261


@attrs.frozen(kw_only=True)
class Lines:
    """What makes one scheduler run the check.

    Args:
        scheduler: Its name, for people.
        steps: Pairs: where the lines go, as a sentence, and the lines.
        note: What else there is to know; "" for nothing.
    """

    scheduler: str
    steps: tuple[tuple[str, str], ...]
    note: str = ""


@attrs.frozen(kw_only=True)
class Command:
    """How a scheduler is to call the check.

    Args:
        argv: Program and arguments.
        every_min: Minutes from one check to the next.
        environment: Variables that it needs.
    """

    argv: tuple[str, ...]
    every_min: int
    environment: Mapping[str, str] = attrs.field(factory=dict, hash=False)

    def __attrs_post_init__(self) -> None:
        for text in (*self.argv, *self.environment.values()):
            if any(c in text for c in "\0\r\n"):
                raise ConfigurationError(f"a path with a line break cannot stand in a scheduler's line: {text!r}")


def command(
    every_min: int, environ: Mapping[str, str] = os.environ, *, started_as: str = sys.argv[0], python: str = ""
) -> Command:
    """Return the check as this installation runs it, with the variables that are set now.

    Args:
        every_min: Minutes from one check to the next.
        environ: The environment.
        started_as: How this program was started: the path of ``supervisor``, where it was started by that.
        python: The interpreter; "" for the one that runs.
    """
    environment = {name: environ[name] for name in HANDED_ON if environ.get(name, "").strip()}
    for name in HANDED_ON[:2]:
        if name in environment and environment[name] != os.devnull:
            environment[name] = str(Path(environment[name]).expanduser().absolute())
    argv = (*_program(started_as, python or sys.executable), "check", "--quiet")
    return Command(argv=argv, every_min=every_min, environment=environment)


def _program(started_as: str, python: str) -> tuple[str, ...]:
    """Return the path of the program ``supervisor``; where it was started by ``python -m``, that."""
    beside = Path(python).with_name("pythonw.exe")
    if sys.platform == "win32" and beside.exists():
        return (str(beside), "-m", "supervisor")  # a console would open and close every few minutes
    script = Path(started_as)
    if script.stem == "supervisor" and script.is_file():
        return (str(script.absolute()),)
    installed = Path(python).with_name("supervisor")
    return (str(installed),) if installed.is_file() else (python, "-m", "supervisor")


def for_cron(check: Command) -> Lines:
    r"""Return the line of a crontab.

    ``%`` ends the command there unless it is escaped, even in quotes
    (https://man7.org/linux/man-pages/man5/crontab.5.html).

    Raises:
        ConfigurationError: Cron cannot do that so often.
    """
    from shlex import quote

    words = [f"{name}={quote(value)}" for name, value in check.environment.items()]
    shell = " ".join((*words, *map(quote, check.argv)))
    line = f"{_cron_fields(check.every_min)} {shell.replace('%', chr(92) + '%')}"
    return Lines(
        scheduler="cron",
        steps=(("Add this line with `crontab -e`:", line),),
        note="Cron mails what a check prints: what no handler has taken. MAILTO=you@example.com above it says to whom.",
    )


def _cron_fields(every_min: int) -> str:
    if every_min < _HOUR and _HOUR % every_min == 0:
        return "* * * * *" if every_min == 1 else f"*/{every_min} * * * *"
    hours, rest = divmod(every_min, _HOUR)
    if rest == 0 and _DAY % every_min == 0:
        return f"0 {'*' if hours == 1 else f'*/{hours}'} * * *"
    raise ConfigurationError(
        f"cron cannot run something every {every_min} minutes evenly; say a number that divides an hour or a day "
        "(5, 10, 15, 30, 60, 120), or take systemd"
    )


def for_systemd(check: Command) -> Lines:
    """Return the units of a user's systemd (https://www.freedesktop.org/software/systemd/man/latest/systemd.timer.html).

    That something was found is an exit code of 1, and no failure of the unit.
    """
    program, *arguments = check.argv
    words = [_unit_word(program), *(_unit_word(each).replace("$", "$$") for each in arguments)]
    service = [
        "[Unit]",
        "Description=Find scheduled scripts that died, hang or never started",
        "",
        "[Service]",
        "Type=oneshot",
        *(f"Environment={_unit_word(f'{name}={value}')}" for name, value in check.environment.items()),
        f"ExecStart={' '.join(words)}",
        "SuccessExitStatus=1",
    ]
    timer = [
        "[Unit]",
        f"Description=Run supervisor check every {check.every_min} min",
        "",
        "[Timer]",
        "OnActiveSec=1min",
        f"OnUnitActiveSec={check.every_min}min",
        "AccuracySec=30s",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    enable = [
        "systemctl --user daemon-reload",
        f"systemctl --user enable --now {NAME}.timer",
        "loginctl enable-linger  # so that it goes on when you are not logged in",
    ]
    folder = "~/.config/systemd/user"
    return Lines(
        scheduler="systemd",
        steps=(
            (f"Write this to {folder}/{NAME}.service:", "\n".join(service)),
            (f"Write this to {folder}/{NAME}.timer:", "\n".join(timer)),
            ("Then run:", "\n".join(enable)),
        ),
        note=f"`journalctl --user -u {NAME}` shows what checks print.",
    )


def _unit_word(text: str) -> str:
    """Return a word as a unit file takes it: quoted, and ``%`` doubled, which begins a specifier otherwise."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if not escaped or set(escaped) & set(" \t\"'\\;#") else escaped


def for_task_scheduler(check: Command) -> Lines:
    """Return the commands for Windows (https://learn.microsoft.com/windows-server/administration/windows-commands/schtasks-create).

    Raises:
        ConfigurationError: The task's command is longer than schtasks takes.
    """
    task = " ".join(f'\\"{each}\\"' if set(each) & set(" \t&^()") else each for each in check.argv)
    if len(task.replace('\\"', '"')) > _LONGEST_TASK:
        raise ConfigurationError(f"Task Scheduler takes commands of up to {_LONGEST_TASK} characters: {task}")
    create = f'schtasks /Create /F /TN "{NAME}" /SC MINUTE /MO {check.every_min} /TR "{task}"'
    variables = [f'setx {name} "{value}"' for name, value in check.environment.items()]
    steps = [("Run this in a command prompt (cmd):", create)]
    if variables:
        steps.insert(0, ("A task gets the variables of its user. Set these for good first:", "\n".join(variables)))
    return Lines(
        scheduler="Task Scheduler",
        steps=tuple(steps),
        note="It runs while you are logged on. Add `/RU NAME /RP *`, which asks for the password, and it always runs.",
    )


def for_launchd(check: Command) -> Lines:
    """Return the agent for macOS (``man launchd.plist``)."""
    import plistlib

    agent = {
        "Label": LABEL,
        "ProgramArguments": list(check.argv),
        "StartInterval": check.every_min * 60,
        "RunAtLoad": True,
    }
    if check.environment:
        agent["EnvironmentVariables"] = dict(check.environment)
    path = f"~/Library/LaunchAgents/{LABEL}.plist"
    return Lines(
        scheduler="launchd",
        steps=(
            (f"Write this to {path}:", plistlib.dumps(agent, sort_keys=False).decode().rstrip()),
            ("Then run:", f"launchctl bootstrap gui/$(id -u) {path}"),
        ),
    )


SCHEDULERS = {
    "cron": for_cron,
    "systemd": for_systemd,
    "task-scheduler": for_task_scheduler,
    "launchd": for_launchd,
}


def fitting(platform: str = sys.platform, path: str | None = None) -> str:
    """Return which of :data:`SCHEDULERS` fits a platform.

    Args:
        platform: As ``sys.platform`` has it.
        path: Where programs are looked for; None for ``PATH``.
    """
    from shutil import which

    if platform == "win32":
        return "task-scheduler"
    if platform == "darwin":
        return "launchd"
    return "systemd" if which("crontab", path=path) is None and which("systemctl", path=path) is not None else "cron"


def as_text(lines: Lines, others: Sequence[str] = ()) -> str:
    """Return the lines with where they go, as a text of which all but the lines themselves begins with ``#``."""
    parts = [f"# {where}\n{text}" for where, text in lines.steps]
    if lines.note:
        parts.append(f"# {lines.note}")
    if others:
        parts.append(f"# For other schedulers: supervisor schedule {', '.join(f'--{each}' for each in others)}")
    return "\n\n".join(parts)
