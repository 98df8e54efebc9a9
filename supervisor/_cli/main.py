"""The command ``supervisor``.

Each subcommand is a module of its own with the object ``command``, which is loaded when it is called: most commands do
not need what the others load.
"""

from __future__ import annotations

from importlib import import_module

import click

from supervisor import __version__

COMMANDS = {
    "run": "Run any program as a supervised run.",
    "status": "Show what runs now.",
    "history": "Show what ran lately, and how it went.",
    "show": "Show all that is known of one run.",
    "check": "Find runs that died, hang or never started, and deliver what waits.",
    "outbox": "Show, retry or drop messages that were not delivered.",
    "flush": "Deliver what waits.",
    "test": "Send a test message through each configured handler.",
    "config": "Show what is configured and from where, or write a first file.",
    "schedule": "Print the lines that let a scheduler run `supervisor check`.",
    "report": "Write a page with all runs.",
    "completion": "Print the shell code that completes the commands.",
    "demo": "Show a supervised run that succeeds and one that fails.",
}


class _Commands(click.Group):
    """Loads a subcommand when it is called; listing them loads none."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"supervisor._cli.{cmd_name}_command").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="supervisor")
def main() -> None:
    """Watch over scheduled scripts: report failures, time runs, and never lose a message."""
    from supervisor._config.active import active

    active().look_from(None)
