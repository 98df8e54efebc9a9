"""Make the tables of the fleet, and bring them up to date: numbered files of SQL, each applied once, in their order."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor._fleet.connection import Connection

MIN_CLIENT = "4.0.0"
"""Older versions of supervisor cannot write to tables of today's version."""

_LOCK = 0x5355_5045  # of whoever changes the tables; held until the end of the transaction, as pgbouncer needs it
_META = """
CREATE SCHEMA IF NOT EXISTS supervisor;
CREATE TABLE IF NOT EXISTS supervisor.meta (
    version int NOT NULL, min_client text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
"""


def sql_files() -> tuple[tuple[int, str], ...]:
    """Return the numbers and the texts of the files, in their order."""
    found = [each for each in files("supervisor._fleet").joinpath("sql").iterdir() if each.name.endswith(".sql")]
    return tuple((int(each.name[:2]), each.read_text("utf-8")) for each in sorted(found, key=lambda each: each.name))


def version_of(connection: Connection) -> int:
    """Return the number of the last file that was applied; 0 for none.

    Raises:
        FleetUnavailable: The database cannot be asked.
    """
    (there,) = connection.rows("SELECT to_regclass('supervisor.meta') IS NOT NULL AS answer")
    rows = connection.rows("SELECT version FROM supervisor.meta") if there["answer"] else []
    return int(rows[0]["version"]) if rows else 0


def migrate(connection: Connection) -> int:
    """Apply the files that a database lacks, in one transaction; return the number of the last one.

    Raises:
        FleetUnavailable: The user may not, or the database cannot be used; nothing was changed then.
    """
    connection.open()
    try:
        connection.rows("BEGIN")
        connection.rows("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.rows(_META)
        version = version_of(connection)
        connection.rows("SET LOCAL search_path = supervisor, pg_temp")
        connection.rows("SET LOCAL statement_timeout = 0")
        for number, text in sql_files():
            if number > version:
                connection.rows(text)
                version = number
        connection.rows("DELETE FROM meta")
        connection.rows("INSERT INTO meta (version, min_client) VALUES (%s, %s)", (version, MIN_CLIENT))
        connection.rows("COMMIT")
    except BaseException:
        connection.close()  # which rolls back
        raise
    return version
