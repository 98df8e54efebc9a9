"""``supervisor schedule``: the lines that let each platform's scheduler run ``supervisor check`` or ``digest``."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from supervisor._cli import shared
from supervisor._cli.completion_command import handlers as handler_names
from supervisor._config import active, load
from supervisor._config.configuration import Configuration
from supervisor._runtime import default_runtime
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


HANDED_ON = ("SUPERVISOR_STATE", "SUPERVISOR_CONFIG", "SUPERVISOR_PROFILE")
"""Variables that decide what a check sees, and that no scheduler would hand on by itself; so do those of settings."""

_PLACES = ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS")

_HOUR, _DAY = 60, 1440
_LONGEST_TASK = 261


def _time(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Return the hour and the minute of a time of the day."""
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", value.strip()) if value is not None else None
    if value is not None and found is None:
        raise click.BadParameter(f"{value!r} is no time of the day like 07:00")
    return (int(found[1]), int(found[2])) if found is not None else None


@click.command("schedule", epilog=shared.exit_codes(two="wrong usage, or the scheduler cannot do that"))
@click.option(
    "--every",
    "every_min",
    type=click.IntRange(1, 1439),
    default=5,
    show_default=True,
    metavar="MINUTES",
    help="Minutes from one check to the next.",
)
@click.option(
    "--digest", "digest_at", metavar="HH:MM", callback=_time, help="Run `supervisor digest` at this time daily."
)
@click.option(
    "--handler",
    "handlers",
    multiple=True,
    metavar="NAME",
    shell_complete=handler_names,
    help="With --digest: the handler that gets it; may be repeated. By default those for all runs.",
)
@click.option("--cron", "chosen", flag_value="cron", help="A line for crontab.")
@click.option("--systemd", "chosen", flag_value="systemd", help="A service and a timer for your own systemd.")
@click.option("--task-scheduler", "chosen", flag_value="task-scheduler", help="A command for Windows.")
@click.option("--launchd", "chosen", flag_value="launchd", help="An agent for macOS.")
def command(every_min: int, digest_at: tuple[int, int] | None, handlers: tuple[str, ...], chosen: str | None) -> None:
    """Print the lines that let a scheduler run `supervisor check`, filled in and ready to paste.

    With --digest they let it run `supervisor digest` once a day, at that time of the machine.

    Nothing is changed. Without an option it prints what fits this platform. The lines have the path of this very
    installation, SUPERVISOR_STATE and the variables of settings where they are set, and the configuration that is in
    force here. Let it run as the user whose scripts it is to watch.
    """
    if handlers and digest_at is None:
        raise click.UsageError("--handler goes with --digest")
    scheduler = chosen or fitting()
    others = [] if chosen else [each for each in SCHEDULERS if each != scheduler]
    try:
        check = check_to_schedule(every_min, known=active().loaded)
        if digest_at is not None:
            check = digest_of(check, digest_at, handlers)
        text = as_text(SCHEDULERS[scheduler](check), others, check.missing)
    except ConfigurationError as error:
        shared.fail(str(error), shared.WRONG_USE)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        shared.fail("this terminal cannot show the paths in these lines; call it with PYTHONIOENCODING=utf-8")
    shared.say(text)


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
        folder: The working directory in which it finds its configuration; "" for any.
        missing: Variables with secrets that the configured handlers need, and that no scheduler has by itself.
        at: The hour and the minute at which it is called once a day, instead of every few minutes; None for a check.
    """

    argv: tuple[str, ...]
    every_min: int
    environment: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    folder: str = ""
    missing: tuple[str, ...] = ()
    at: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Return what units and tasks are called."""
        return "supervisor-check" if self.at is None else "supervisor-digest"

    @property
    def label(self) -> str:
        """Return what an agent of macOS is called."""
        return f"agrc.{self.name.replace('-', '.')}"

    def __attrs_post_init__(self) -> None:
        for text in (*self.argv, *self.environment.values(), self.folder):
            if any(c != "\t" and unicodedata.category(c) == "Cc" for c in text):
                what = "a path with a line break" if set(text) & set("\r\n") else "a path with a control character"
                raise ConfigurationError(f"{what} cannot stand in a scheduler's line: {text!r}")
            if any("\ud800" <= c <= "\udfff" for c in text):
                raise ConfigurationError(f"a path that is no UTF-8 cannot be printed: {text!r}; use another path")


def check_to_schedule(
    every_min: int,
    environ: Mapping[str, str] = os.environ,
    *,
    known: Configuration | None = None,
    started_as: str = sys.argv[0],
    python: str = "",
) -> Command:
    """Return the check as this installation runs it, with what is in force now.

    Args:
        every_min: Minutes from one check to the next.
        environ: The environment.
        known: The configuration that is in force; None for nothing.
        started_as: How this program was started: the path of ``supervisor``, where it was started by that.
        python: The interpreter; "" for the one that runs.
    """
    known = known or Configuration()
    variables = dict.fromkeys([*HANDED_ON, *(each.variable for each in known.origins.values() if each.variable)])
    variables.pop("SUPERVISOR_SEND", None)  # set in a developer's shell, it would silence the check
    environment = {name: environ[name] for name in variables if environ.get(name, "").strip()}
    if "SUPERVISOR_STATE" not in environment and environ.get("XDG_STATE_HOME", "").strip():
        environment["SUPERVISOR_STATE"] = default_runtime().state_path()
    for name in HANDED_ON[:2]:
        if name in environment and environment[name] != os.devnull:
            environment[name] = str(Path(environment[name]).expanduser().absolute())
    argv = (*_program(started_as, python or sys.executable), "check", "--quiet")
    files, folder = _place_of(known, environ) if "SUPERVISOR_CONFIG" not in environment else ({}, "")
    return Command(
        argv=argv,
        every_min=every_min,
        environment={**environment, **files},
        folder=folder,
        missing=tuple(sorted(_secret_variables(known))),
    )


def digest_of(check: Command, at: tuple[int, int], handlers: Sequence[str] = ()) -> Command:
    """Return the digest as a scheduler is to call it, with what is in force for the check.

    Args:
        check: How the check is called.
        at: The hour and the minute.
        handlers: The handlers that get it; none for those of all runs.
    """
    program = check.argv[: check.argv.index("check")]
    given = [each for name in handlers for each in ("--handler", name)]
    return attrs.evolve(check, argv=(*program, "digest", "--quiet", *given), at=at)


def _place_of(known: Configuration, environ: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Return the variables and the working directory by which a check finds the files that are in force here.

    A scheduler starts it in another directory, and without the variables of a session.
    """
    plain = {
        name: each for name, each in environ.items() if name == "HOME" or not name.startswith(("SUPERVISOR_", "XDG_"))
    }
    if load(os.sep, plain).files == known.files:
        return {}, ""
    if len(known.files) == 1:
        return {"SUPERVISOR_CONFIG": known.files[0]}, ""
    return {name: environ[name] for name in _PLACES if environ.get(name, "").strip()}, os.getcwd()  # noqa: PTH109 - a text


def _secret_variables(known: Configuration) -> Iterator[str]:
    """Yield the environment variables from which the configured handlers take secrets."""
    waiting: list[Any] = [each for spec in known.handlers.values() for each in spec.options.values()]
    while waiting:
        value = waiting.pop()
        if getattr(value, "way", "") == "env":
            yield value.what
        elif isinstance(value, (dict, list)):
            waiting += value.values() if isinstance(value, dict) else value


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

    ``%`` ends the command there unless a backslash is before it, even in quotes
    (https://man7.org/linux/man-pages/man5/crontab.5.html). Some crons take a backslash for the escape of another one
    too, so none of a path's own stands before ``%`` or a backslash: the quotes are closed and opened between them.

    Raises:
        ConfigurationError: Cron cannot do that so often.
    """
    from shlex import quote

    words = [f"{name}={quote(value)}" for name, value in check.environment.items()]
    shell = " ".join((*words, *map(quote, check.argv)))
    shell = f"cd {quote(check.folder)} && {shell}" if check.folder else shell
    apart = re.sub(r"\\(?=[\\%])", r"\\''", shell)
    fields = _cron_fields(check.every_min) if check.at is None else f"{check.at[1]} {check.at[0]} * * *"
    line = f"{fields} {apart.replace('%', chr(92) + '%')}"
    return Lines(
        scheduler="cron",
        steps=(("Add this line with `crontab -e`:", line),),
        note=_CRON_CHECK if check.at is None else _CRON_DIGEST,
    )


_CRON_CHECK = "Cron mails what a check prints: what no handler has taken. MAILTO=you@example.com above it says to whom."
_CRON_DIGEST = "It is the time of the machine. Cron mails what the digest prints: that it could not be delivered."


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
        f"Description={_UNIT_CHECK if check.at is None else _UNIT_DIGEST}",
        "",
        "[Service]",
        "Type=oneshot",
        *([f"WorkingDirectory={check.folder.replace('%', '%%')}"] if check.folder else []),
        *(f"Environment={_unit_word(f'{name}={value}')}" for name, value in check.environment.items()),
        f"ExecStart={' '.join(words)}",
        *(["SuccessExitStatus=1"] if check.at is None else []),
    ]
    what, *when = (
        (
            f"check every {check.every_min} min",
            "OnActiveSec=1min",
            f"OnUnitActiveSec={check.every_min}min",
            "AccuracySec=30s",
        )
        if check.at is None
        else (f"digest daily at {_clock(check.at)}", f"OnCalendar=*-*-* {_clock(check.at)}:00", "Persistent=true")
    )
    timer = [
        "[Unit]",
        f"Description=Run supervisor {what}",
        "",
        "[Timer]",
        *when,
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    enable = [
        "systemctl --user daemon-reload",
        f"systemctl --user enable --now {check.name}.timer",
        "loginctl enable-linger  # so that it goes on when you are not logged in",
    ]
    folder = "~/.config/systemd/user"
    return Lines(
        scheduler="systemd",
        steps=(
            (f"Write this to {folder}/{check.name}.service:", "\n".join(service)),
            (f"Write this to {folder}/{check.name}.timer:", "\n".join(timer)),
            ("Then run:", "\n".join(enable)),
        ),
        note=f"`journalctl --user -u {check.name}` shows what {'checks print' if check.at is None else 'it prints'}.",
    )


_UNIT_CHECK = "Find scheduled scripts that died, hang or never started"
_UNIT_DIGEST = "Send a message with what failed, and how every script does"


def _clock(at: tuple[int, int]) -> str:
    return f"{at[0]:02}:{at[1]:02}"


def _unit_word(text: str) -> str:
    """Return a word as a unit file takes it: quoted, and ``%`` doubled, which begins a specifier otherwise."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if not escaped or set(escaped) & set(" \t\"'\\;#") else escaped


def for_task_scheduler(check: Command) -> Lines:
    """Return the commands for Windows (https://learn.microsoft.com/windows-server/administration/windows-commands/schtasks-create).

    Raises:
        ConfigurationError: The task's command is longer than schtasks takes, or it needs a working directory.
    """
    if check.folder:
        raise ConfigurationError(
            "several configuration files are in force here, and Task Scheduler starts a check in another directory: "
            "put what it needs into one of them, and name that by SUPERVISOR_CONFIG"
        )
    task = " ".join(f'\\"{each}\\"' if set(each) & set(" \t&^()") else each for each in check.argv)
    if len(task.replace('\\"', '"')) > _LONGEST_TASK:
        raise ConfigurationError(f"Task Scheduler takes commands of up to {_LONGEST_TASK} characters: {task}")
    when = f"MINUTE /MO {check.every_min}" if check.at is None else f"DAILY /ST {_clock(check.at)}"
    create = f'schtasks /Create /F /TN "{check.name}" /SC {when} /TR "{task}"'
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

    agent: dict[str, Any] = {"Label": check.label, "ProgramArguments": list(check.argv)}
    if check.at is None:
        agent |= {"StartInterval": check.every_min * 60, "RunAtLoad": True}
    else:
        agent["StartCalendarInterval"] = {"Hour": check.at[0], "Minute": check.at[1]}
    if check.folder:
        agent["WorkingDirectory"] = check.folder
    if check.environment:
        agent["EnvironmentVariables"] = dict(check.environment)
    path = f"~/Library/LaunchAgents/{check.label}.plist"
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


def as_text(lines: Lines, others: Sequence[str] = (), missing: Sequence[str] = ()) -> str:
    """Return the lines with where they go, as a text of which all but the lines themselves begins with ``#``."""
    parts = [f"# {where}\n{text}" for where, text in lines.steps]
    if lines.note:
        parts.append(f"# {lines.note}")
    if missing:
        names = ", ".join(missing)
        parts.append(
            f"# The configured handlers take secrets from {names}: let the scheduler have them too, or keep them in\n"
            '# files ({ file = "PATH" }). Without them a check notifies nobody through these handlers.'
        )
    if others:
        parts.append(f"# For other schedulers: supervisor schedule {', '.join(f'--{each}' for each in others)}")
    return "\n\n".join(parts)
