"""``supervisor check --fleet``: this machine's handlers tell what the database finds, once, whoever is killed."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from fleet_machine import Machine

from supervisor._fleet.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgres import Postgres

KILLED = """
import os, signal, sys
from supervisor._fleet.watch import Watch
Watch.told = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from supervisor._cli.main import main
main()
"""
if sys.platform == "win32":
    pytest.skip("PostgreSQL's wheel is none for Windows", allow_module_level=True)

BODY = "Ran last on"
HANDLER = """
[defaults]
handlers = ["file"]
[handlers.file]
type = "console"
"""


class Fleet:
    """A database in which the start of a script is missed."""

    def __init__(self, postgres: Postgres, database: str) -> None:
        self.connection = Connection(postgres.url(database))
        self.url = postgres.url(database)
        self.job = {"id": str(uuid4()), "name": "wmrc", "kind": "job"}

    def run(self, ago_s: int, due_in_s: int) -> None:
        """Put a run of the container that started so long ago, and after which a start is due."""
        at = time.time() - ago_s
        document = {
            "id": f"{round(at * 1000):011x}{uuid4().hex[:10]}", "environment": "prod", "name": "wmrc", "rev": 1000,
            "outcome": "success", "started_at": _text(at), "schedule": "0 3 * * *",
            "next_due_at": _text(time.time() + due_in_s),
        }  # fmt: skip
        assert self.connection.call("put", self.job, [document])["moved"] == 1


def _text(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


@pytest.fixture
def fleet(postgres: Postgres, database: str) -> Iterator[Fleet]:
    """Return a fleet with a missed start."""
    made = Fleet(postgres, database)
    made.run(7200, -3600)
    yield made
    made.connection.close()


def subjects(machine: Machine, code: int = 0, *options: str) -> list[str]:
    """Check the fleet, and return the subjects of what was new."""
    done = machine.run("-m", "supervisor", "check", "--fleet", "--json", *options, code=code)
    return [each["subject"] for each in json.loads(done.stdout)["new"]]


def test_a_missed_start_and_its_recovery_are_told_by_one_machine(fleet: Fleet, tmp_path: Path) -> None:
    """By the handlers that are configured there."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = Machine(tmp_path / "one", fleet.url, HANDLER), Machine(tmp_path / "two", fleet.url, HANDLER)
    done = one.run("-m", "supervisor", "check", "--fleet", code=1)
    assert "wmrc missed its start at" in done.stdout
    assert done.stdout.count(BODY) == 1  # by the console handler
    assert subjects(two) == subjects(one) == []
    fleet.run(0, 3600)
    assert subjects(two) == ["wmrc started again"]
    assert subjects(one) == subjects(two) == []


def test_a_check_that_is_killed_before_it_notes_that_it_told_tells_once(fleet: Fleet, tmp_path: Path) -> None:
    """Its message is in the outbox; the next check delivers it, and stores no second one."""
    machine = Machine(tmp_path, fleet.url, HANDLER)
    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    machine.run(script, "check", "--fleet", code=-9)
    done = machine.run("-m", "supervisor", "check", "--fleet")
    assert done.stdout.count(BODY) == 1
    assert BODY not in machine.run("-m", "supervisor", "check", "--fleet").stdout
    (found,) = fleet.connection.rows("SELECT state FROM supervisor.finding")
    assert found["state"] == "told"


def test_a_fleet_that_cannot_be_watched_is_a_fault(postgres: Postgres, tmp_path: Path) -> None:
    """Whoever waits for the check's ping must learn it."""
    machine = Machine(tmp_path, postgres.url("nowhere"))
    done = machine.run("-m", "supervisor", "check", "--fleet", code=2)
    assert "the fleet cannot be used" in done.stderr


def test_without_a_fleet_the_option_is_a_mistake(tmp_path: Path) -> None:
    """It says what is missing."""
    machine = Machine(tmp_path, "postgresql://nobody@/nowhere")
    machine.file.write_text("", encoding="utf-8")
    assert "[fleet]" in machine.run("-m", "supervisor", "check", "--fleet", code=2).stderr
