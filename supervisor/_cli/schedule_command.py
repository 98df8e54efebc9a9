"""``supervisor schedule``: the lines that let a scheduler run ``supervisor check``."""

from __future__ import annotations

import click

from supervisor._cli import shared
from supervisor.errors import ConfigurationError


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
@click.option("--cron", "chosen", flag_value="cron", help="A line for crontab.")
@click.option("--systemd", "chosen", flag_value="systemd", help="A service and a timer for your own systemd.")
@click.option("--task-scheduler", "chosen", flag_value="task-scheduler", help="A command for Windows.")
@click.option("--launchd", "chosen", flag_value="launchd", help="An agent for macOS.")
def command(every_min: int, chosen: str | None) -> None:
    """Print the lines that let a scheduler run `supervisor check`, filled in and ready to paste.

    Nothing is changed. Without an option it prints what fits this platform. The lines have the path of this very
    installation, and the variables SUPERVISOR_STATE, SUPERVISOR_CONFIG and SUPERVISOR_PROFILE where they are set.
    Let it run as the user whose scripts it is to watch.
    """
    from supervisor._cli.check.schedulers import SCHEDULERS, as_text, fitting
    from supervisor._cli.check.schedulers import command as check_command

    scheduler = chosen or fitting()
    others = [] if chosen else [each for each in SCHEDULERS if each != scheduler]
    try:
        text = as_text(SCHEDULERS[scheduler](check_command(every_min)), others)
    except ConfigurationError as error:
        shared.fail(str(error), shared.WRONG_USE)
    shared.say(text)
