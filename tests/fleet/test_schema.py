"""The tables of the fleet are made once, by whoever comes first."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_month_without_a_partition_stops_nothing(postgres: Postgres, database: str) -> None:
    """The first call makes it; where runs came before that, they and later ones are in the default partition."""
    connection = Connection(postgres.url(database))
    month = "to_char(now() AT TIME ZONE 'UTC', '_YYYYMM')"
    connection.rows(f"DO $$ BEGIN EXECUTE 'DROP TABLE supervisor.run' || {month}; END $$")
    connection.rows(f"DO $$ BEGIN EXECUTE 'DROP TABLE supervisor.run_text' || {month}; END $$")
    assert connection.call("put", HOST, [document(0)])["moved"] == 1
    connection.call("hello", HOST)
    assert connection.call("put", HOST, [document(1)])["moved"] == 1
    assert len(connection.rows("SELECT * FROM supervisor.run_rest")) == 2
    connection.rows("DELETE FROM supervisor.run_rest")
    connection.call("hello", HOST)
    assert connection.call("put", HOST, [document(2)])["moved"] == 1
    assert connection.rows("SELECT * FROM supervisor.run_rest") == []
    connection.close()


HOST = {"id": "00000000-0000-0000-0000-000000000001", "name": "gis1", "kind": "machine"}


def document(number: int, **fields: Any) -> dict[str, Any]:
    """Return the document of a run that has just started."""
    known = {"id": f"{int(time.time() * 1000):011x}{number:010x}", "environment": "prod", "name": "nightly", "rev": 1}
    return {**known, "started_at": datetime.now(UTC).isoformat(), **fields}


FIELDS = (
    "id", "environment", "name", "rev", "outcome", "started_at", "ended_at", "duration_s", "alive_every_s", "instance",
    "schedule", "grace_s", "next_due_at", "fingerprint", "exit_code", "cpu_s", "peak_memory_bytes", "parent_id", "more",
    "text", "each_host", "key",
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
    | st.sampled_from(["infinity", "1e400", "99999-01-01", "x" * 70_000, "success", -1, 1 << 70]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["traceback", "a"]), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(wrong=st.lists(JSON | st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1, max_size=3), max_size=4))
def test_whatever_a_writer_sends_the_good_runs_move(postgres: Postgres, wrong: list[Any]) -> None:
    """A document of any shape is taken or refused with a reason, and none holds up the others."""
    connection = _fuzzed(postgres)
    given_runs = [document(7, **each) if isinstance(each, dict) else each for each in wrong]
    good = {**document(0), "id": f"{int(time.time() * 1000):011x}{os.urandom(5).hex()}"}
    answer = connection.call("put", HOST, [*given_runs, good])
    assert all(each["why"] for each in answer["refused"])
    found = connection.rows("SELECT rev FROM supervisor.run WHERE id = %s", (good["id"],))
    assert found == [{"rev": 1}]


@cache
def _fuzzed(postgres: Postgres) -> Connection:
    postgres.copy("fuzzed", "fleet_template")
    return Connection(postgres.url("fuzzed"))
