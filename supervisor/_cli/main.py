"""The command ``supervisor``.

Each subcommand but ``run`` and ``demo`` is the object ``command`` of a module of its own, or stands beside the one that
it is read with. It is loaded when it is called: most commands do not need what the others load.

A correct command line of ``supervisor run`` does not come here: ``supervisor.__main__`` reads it without click. Its
help, its completion, and the messages for a wrong one are here.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from supervisor import __version__

if TYPE_CHECKING:
    from supervisor._cli.exec import Option

COMMANDS = {
    "run": "Run any program as a supervised run.",
    "status": "Show what runs now.",
    "history": "Show what ran lately, and how it went.",
    "show": "Show all that is known of one run.",
    "diff": "Show what changed from one run to another.",
    "check": "Find runs that died, hang or never started, and deliver what waits.",
    "mute": "Let nobody hear of some scripts for a while.",
    "unmute": "End what `supervisor mute` began.",
    "outbox": "Show, retry or drop messages that were not delivered.",
    "flush": "Deliver what waits.",
    "test": "Send a test message through each configured handler.",
    "config": "Show what is configured and from where, or write a first file.",
    "schedule": "Print the lines that let a scheduler run `supervisor check`.",
    "digest": "Send one message with what failed, and how every script does.",
    "report": "Write a page with all runs.",
    "fleet": "Set up the database in which the runs of many machines stand.",
    "completion": "Print the shell code that completes the commands.",
    "migrate": "Show how scripts of version 3 are written for version 4.",
    "demo": "Show a supervised run that succeeds and one that fails.",
}

_STANDS_WITH = {"show": "history", "test": "flush", "unmute": "mute"}
"""The commands that stand under their own name in the module of another one."""


class _Commands(click.Group):
    """Loads a subcommand when it is called; listing them loads none."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        if cmd_name == "demo":
            return demo
        if cmd_name == "run":
            return run_command()
        module = import_module(f"supervisor._cli.{_STANDS_WITH.get(cmd_name, cmd_name)}_command")
        command: click.Command = getattr(module, cmd_name if cmd_name in _STANDS_WITH else "command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


if "_SUPERVISOR_COMPLETE" in os.environ:  # a shell asks for suggestions, which click gives by what this registers
    import supervisor._cli.completion_command  # noqa: F401 - it is only to be loaded


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="supervisor")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Watch over scheduled scripts: report failures, time runs, and never lose a message."""
    from supervisor._config import active
    from supervisor._text import show_times_in

    active().look_from(None)
    show_times_in(_configured_zone)
    ctx.call_on_close(lambda: show_times_in(None))


def _configured_zone() -> str | None:
    from supervisor._cli.configured import configuration

    zone: str | None = configuration().settings.get("timezone")
    return zone


@click.command("demo")
def demo() -> None:
    """Show a supervised run that succeeds and one that fails; needs no server and no configuration."""
    from supervisor.demo import main as show

    show(click.echo)


# ``supervisor run``, for click

_HELP = """\
Run any program as a supervised run.

Its output is passed through as it comes, its exit code is returned, and signals are forwarded to it and to all that it
starts. If it fails, is killed or takes too long, the handlers get a message with the last lines of its output. A Python
program that uses supervisor itself joins the run: there is one report, with its traceback, values and progress.

The run has the name of the program: /opt/jobs/backup.sh is "backup", and so are `python backup.py`, `sh backup.sh` and
`python -m jobs.backup`. The handlers are those that are configured for runs of that name.

The program sees pipes instead of a terminal; some programs then write their output only at the end (python needs -u).
"""
_EPILOG = """\
Exit code: the program's own; 128 plus the number of the signal that ended it; 124 after --timeout, 127 if the program
is not found, 126 if it cannot be run; 2 wrong usage or configuration; 1 with --overlap fail if an earlier run is
under way (0 with skip).
"""


class _Text(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # it has taken arguments since click 8.3 only
    """A value, read by the same function as without click."""

    def __init__(self, option: Option) -> None:
        self.name = option.metavar.lower()
        self._read = option.read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._read(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _click_option(option: Option) -> click.Option:
    from supervisor._cli.completion_command import files, handlers, run_names

    complete = {"name": run_names, "handlers": handlers}.get(option.key)
    names = [each for each in (option.flag, option.short, option.key) if each]
    if not option.metavar:
        return click.Option(names, is_flag=True, flag_value=option.sets, default=None, help=option.help)
    return click.Option(
        names,
        type=_Text(option),
        metavar=option.metavar,
        multiple=option.is_many,
        default=None,
        help=option.help,
        shell_complete=complete or (files if option.key.endswith("_path") else None),
    )


def _run(program: tuple[str, ...], **given: Any) -> None:
    """Run the command line that click has read."""
    from supervisor._cli.exec import command_line
    from supervisor._cli.exec.supervise_command import run

    wanted = command_line(program, {key: value for key, value in given.items() if value not in (None, ())})
    click.get_current_context().exit(run(wanted))


def run_command() -> click.Command:
    """Return ``supervisor run`` for click; its options are those of the table by which it is read without click."""
    from supervisor._cli.completion_command import files
    from supervisor._cli.exec import OPTIONS

    program = click.Argument(["program"], nargs=-1, required=True, metavar="-- COMMAND ...", shell_complete=files)
    return click.Command(
        "run",
        callback=_run,
        params=[*map(_click_option, OPTIONS), program],
        help=_HELP,
        epilog=_EPILOG,
        context_settings={"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]},
    )
