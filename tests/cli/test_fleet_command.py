"""``supervisor fleet``: one line makes the tables, and prints what a machine needs to write to them and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from journalled import invoke

from supervisor._fleet import schema
from supervisor._fleet.connection import Connection, FleetUnavailable

if TYPE_CHECKING:
    from postgres import Postgres

HOST = {"id": "00000000-0000-0000-0000-000000000001", "name": "gis1", "kind": "machine"}


def test_the_tables_are_made_by_one_line(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice is no mistake, and migrate does the same with what is configured."""
    postgres.copy("made", "template0")
    newest = schema.sql_files()[-1][0]
    first, again = invoke("fleet", "init", postgres.url("made")), invoke("fleet", "init", postgres.url("made"))
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert f"tables of version {newest}\n" in first.output
    assert f"tables of version {newest} as before" in again.output
    assert "[fleet]" in first.output
    monkeypatch.setenv("SUPERVISOR_FLEET_URL", postgres.url("made"))
    assert "as before" in invoke("fleet", "migrate").output


def test_what_cannot_be_is_said(postgres: Postgres) -> None:
    """With the reason, and exit code 1; without a fleet, 2."""
    done = invoke("fleet", "init", postgres.url("elsewhere"))
    assert done.exit_code == 1
    assert "does not exist" in done.output
    done = invoke("fleet", "migrate")
    assert done.exit_code == 2
    assert "no fleet is configured" in done.output
    assert invoke("fleet", "grants", "--writer", 'a"; DROP').exit_code == 2


def test_a_writer_may_write_and_nothing_else(postgres: Postgres, database: str) -> None:
    """What grants prints is enough for a machine, and gives it no right to read, delete, or write for another role."""
    printed = invoke("fleet", "grants", "--writer", "one", "--writer", "two").output
    owner = Connection(postgres.url(database))
    owner.rows(printed)
    one, two = Connection(postgres.url(database, "one")), Connection(postgres.url(database, "two"))
    assert one.call("hello", HOST)["high_key"] == 0
    assert one.call("put", HOST, [])["moved"] == 0

    def refused(connection: Connection, what: Any, *arguments: Any) -> str:
        with pytest.raises(FleetUnavailable) as caught:
            what(*arguments)
        return str(caught.value.code)

    assert refused(two, two.call, "hello", HOST) == "42501"
    for sql in (
        "SELECT * FROM supervisor.host",
        "DELETE FROM supervisor.run",
        "SELECT supervisor.make_month('2020-01-01')",
        "SELECT supervisor.take_runs(1, '[]')",
    ):
        assert refused(one, one.rows, sql) == "42501"
    for each in (one, two):
        each.close()
    owner.rows('DROP OWNED BY "one"; DROP OWNED BY "two"; DROP ROLE "one"; DROP ROLE "two"')
    owner.close()
