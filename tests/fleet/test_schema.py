"""The tables of the fleet are made once, by whoever comes first."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from supervisor._fleet import schema
from supervisor._fleet.connection import Connection, FleetUnavailable

if TYPE_CHECKING:
    from postgres import Postgres


def test_migrating_twice_changes_nothing(postgres: Postgres, database: str) -> None:
    """It says which version there is."""
    connection = Connection(postgres.url(database))
    newest = schema.sql_files()[-1][0]
    assert schema.version_of(connection) == newest
    assert schema.migrate(connection) == newest
    connection.close()


def test_of_several_at_once_one_makes_the_tables(postgres: Postgres) -> None:
    """The others wait for it, and find them made."""
    postgres.copy("several", "template0")
    found: list[int] = []

    def work() -> None:
        connection = Connection(postgres.url("several"))
        found.append(schema.migrate(connection))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [schema.sql_files()[-1][0]] * 3


def test_a_file_that_fails_leaves_nothing(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is one transaction."""
    postgres.copy("broken", "template0")
    monkeypatch.setattr(schema, "sql_files", lambda: ((1, "CREATE TABLE a (b int); SELECT nothing"),))
    connection = Connection(postgres.url("broken"))
    with pytest.raises(FleetUnavailable):
        schema.migrate(connection)
    assert schema.version_of(connection) == 0
    assert connection.rows("SELECT to_regclass('supervisor.a') AS a") == [{"a": None}]
    connection.close()
