"""The command ``supervisor``: parse, call below, print, exit code."""

from __future__ import annotations

import click

from supervisor import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="supervisor")
def main() -> None:
    """Watch over scheduled scripts: report failures, time runs, and never lose a message."""


@main.command()
def demo() -> None:
    """Show a supervised run that succeeds and one that fails; needs no server and no configuration."""
    from supervisor.demo import main as show

    show(click.echo)
