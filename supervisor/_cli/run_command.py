"""``supervisor run`` for click: help, completion, and the messages for a wrong command line.

A correct command line does not come here: ``supervisor.__main__`` reads it without click.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from supervisor._cli.exec.options import OPTIONS, command_line

if TYPE_CHECKING:
    from supervisor._cli.exec.options import Option

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
    names = [each for each in (option.flag, option.short, option.key) if each]
    if not option.metavar:
        return click.Option(names, is_flag=True, flag_value=option.sets, default=None, help=option.help)
    return click.Option(
        names, type=_Text(option), metavar=option.metavar, multiple=option.is_many, default=None, help=option.help
    )


def _run(program: tuple[str, ...], **given: Any) -> None:
    """Run the command line that click has read."""
    from supervisor._cli.exec.supervise_command import run

    wanted = command_line(program, {key: value for key, value in given.items() if value not in (None, ())})
    click.get_current_context().exit(run(wanted))


command = click.Command(
    "run",
    callback=_run,
    params=[
        *map(_click_option, OPTIONS),
        click.Argument(["program"], nargs=-1, required=True, metavar="-- COMMAND ..."),
    ],
    help=_HELP,
    epilog=_EPILOG,
    context_settings={"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]},
)
