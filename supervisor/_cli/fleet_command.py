"""``supervisor fleet``: make the tables of the fleet, bring them up to date, and print who needs which rights."""

from __future__ import annotations

import os
import re

import click

from supervisor._cli import shared
from supervisor._cli.configured import configuration
from supervisor._fleet import schema
from supervisor._fleet.connection import Connection, FleetUnavailable, target_of
from supervisor._fleet.fleet_settings import TLS
from supervisor.errors import ConfigurationError

_CODES = shared.exit_codes(one="the database cannot be used, or may not be changed by this user")
_WRITES = ("hello(jsonb)", "put(jsonb, jsonb)")
"""The functions by which machines write; they may nothing else."""
_ROLE = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")


@click.group("fleet")
def command() -> None:
    """Set up the database in which the runs of many machines stand."""


@command.command("init", epilog=_CODES)
@click.argument("url")
@click.option("--tls", type=click.Choice(TLS), default=TLS[0], help="How the server must prove who it is.")
@click.option("--ca-file", metavar="FILE", help="The certificates that count; by default the system's.")
def init(url: str, tls: str, ca_file: str | None) -> None:
    """Make the tables in a database of PostgreSQL 13 or newer, as the user in URL, who then owns them.

    URL is like postgresql://owner@host/fleet; a database that has the tables is brought up to date. It prints what the
    machines need then.
    """
    _migrate(url, tls, ca_file)
    shared.say("machines write by a role of their own: supervisor fleet grants --writer NAME prints what it needs")
    shared.say("then, in supervisor.toml of each machine:")
    shared.say('[fleet]\nurl = { env = "FLEET_URL" }   # postgresql://NAME:PASSWORD@host/fleet')


@command.command("migrate", epilog=_CODES)
def migrate() -> None:
    """Bring the tables up to date, as the user in SUPERVISOR_FLEET_URL or the url of [fleet]: their owner."""
    settings = configuration().fleet
    if settings is None:
        shared.fail("no fleet is configured: [fleet] url = ..., or SUPERVISOR_FLEET_URL", shared.WRONG_USE)
    try:
        address = settings.address(os.environ)
    except ConfigurationError as error:
        shared.fail(f"[fleet] url is missing: {error}", shared.WRONG_USE)
    _migrate(address, settings.tls, settings.ca_file)


def _migrate(url: str, tls: str, ca_file: str | None) -> None:
    try:
        target = target_of(url)
        connection = Connection(url, tls=tls, ca_file=ca_file, application_name="supervisor fleet")
        before, now = schema.version_of(connection), schema.migrate(connection)
        connection.close()
    except FleetUnavailable as error:
        shared.fail(str(error), shared.FOUND)
    shared.say(f"{target} has the tables of version {now}" + (" as before" if now == before else ""))


@command.command("grants")
@click.option("--writer", "writers", multiple=True, required=True, metavar="NAME", help="May be repeated.")
def grants(writers: tuple[str, ...]) -> None:
    """Print the SQL that lets roles write to the fleet, for its owner to run; nothing is run here.

    A writer may call the functions by which machines write, and nothing else: it cannot read, change or delete what
    others have written.
    """
    for name in writers:
        if not _ROLE.fullmatch(name):
            raise click.UsageError(f"a role has a name like parcels_writer, got {name!r}")
        shared.say(f'CREATE ROLE "{name}" LOGIN CONNECTION LIMIT 20;  -- \\password {name} sets its password')
        shared.say(f'GRANT USAGE ON SCHEMA supervisor TO "{name}";')
        for function in _WRITES:
            shared.say(f'GRANT EXECUTE ON FUNCTION supervisor.{function} TO "{name}";')
