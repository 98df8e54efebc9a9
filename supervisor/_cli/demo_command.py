"""``supervisor demo``."""

from __future__ import annotations

import click


@click.command("demo")
def command() -> None:
    """Show a supervised run that succeeds and one that fails; needs no server and no configuration."""
    from supervisor.demo import main

    main(click.echo)
