"""``supervisor check`` with [fleet]: runs arrive in a real database; one that is down is said once and costs little."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from scripts import PACKAGE, bare_environment

from supervisor._fleet.connection import Connection

if TYPE_CHECKING:
    from pathlib import Path

    from postgres import Postgres

if sys.platform == "win32":
    pytest.skip("PostgreSQL's wheel is none for Windows", allow_module_level=True)

JOB = """
import sys, supervisor
with supervisor.supervise("nightly parcels") as run:
    run.record(rows=812)
assert "psycopg" not in sys.modules and "supervisor._fleet.connection" not in sys.modules
"""


class Machine:
    """A machine with a configuration and a journal of its own."""

    def __init__(self, folder: Path, url: str, more: str = "") -> None:
        self.folder = folder
        self.state = folder / "state"
        self.file = folder / "supervisor.toml"
        self.file.write_text(f'[fleet]\nurl = "{url}"\nenvironment = "prod"\n{more}\n', encoding="utf-8")
        self.file.chmod(0o600)
        self.environment = {
            **bare_environment(), "PYTHONPATH": str(PACKAGE.parent), "SUPERVISOR_STATE": str(self.state),
            "SUPERVISOR_CONFIG": str(self.file),
        }  # fmt: skip

    def run(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run Python, and expect an exit code."""
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], check=False, capture_output=True, text=True, env=self.environment,
            cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def job(self, text: str = JOB) -> subprocess.CompletedProcess[str]:
        """Run a script."""
        script = self.folder / "job.py"
        script.write_text(text, encoding="utf-8")
        return self.run(script)

    def check(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a check, which finds nothing."""
        return self.run("-m", "supervisor", "check", *options)


def rows(postgres: Postgres, database: str, sql: str) -> list[dict[str, Any]]:
    """Return what a query finds."""
    return postgres.sql(sql, database)


def test_runs_arrive_and_no_job_loads_psycopg(postgres: Postgres, database: str, tmp_path: Path) -> None:
    """The check brings them; a job with the same configuration does nothing of the kind."""
    machine = Machine(tmp_path, postgres.url(database), "expect_every_s = 600")
    machine.job()
    machine.job()
    assert f"2 runs sent to {postgres.folder}" in machine.check().stdout
    document = json.loads(machine.check("--json").stdout)["fleet"]
    assert (document["sent"], document["moved"], document["fault"], document["left"]) == (0, 0, None, False)
    (script,) = rows(postgres, database, "SELECT * FROM supervisor.script")
    assert (script["environment"], script["name"], script["last_outcome"]) == ("prod", "nightly parcels", "success")
    assert (script["failed_in_a_row"], len(script["durations"])) == (0, 2)
    (host,) = rows(postgres, database, "SELECT * FROM supervisor.host")
    assert (host["kind"], host["expect_every_s"], host["missing"]) == ("machine", 600, 0)
    assert abs(host["skew_s"]) < 5
    found = rows(postgres, database, "SELECT more -> 'values' ->> 'rows' AS rows FROM supervisor.run")
    assert [each["rows"] for each in found] == ["812", "812"]


def test_a_fleet_that_is_down_is_said_once_and_changes_no_exit_code(
    postgres: Postgres, database: str, tmp_path: Path
) -> None:
    """The runs wait, and come when it answers again."""
    machine = Machine(tmp_path, postgres.url("nothing"))
    machine.job()
    began = time.monotonic()
    first, second = machine.check("--quiet"), machine.check("--quiet")
    assert time.monotonic() - began < 20
    assert (first.stderr.count("does not exist"), second.stderr) == (1, "")
    assert "does not exist" in machine.check().stdout
    assert "does not exist" in json.loads(machine.check("--json").stdout)["fleet"]["fault"]
    postgres.copy("nothing", database)
    assert "1 run sent" in machine.check().stdout
    postgres.sql("DROP DATABASE nothing WITH (FORCE)")
    assert "does not exist" in machine.check("--quiet").stderr  # it is another outage


ENDING = """
import sys, time, supervisor
began = time.monotonic()
with supervisor.supervise("nightly parcels") as run:
    run.record(rows=812)
    with supervisor.supervise("inner"):
        pass
print(time.monotonic() - began)
"""


def test_the_end_of_a_run_is_there_at_once_where_that_is_wanted(
    postgres: Postgres, database: str, tmp_path: Path
) -> None:
    """The outermost run is sent when it ends; the check that follows brings the others, and nothing twice."""
    machine = Machine(tmp_path, postgres.url(database), 'replicate = "end"')
    machine.job(ENDING)
    assert rows(postgres, database, "SELECT outcome FROM supervisor.run") == [{"outcome": "success"}]
    assert json.loads(machine.check("--json").stdout)["fleet"]["moved"] == 1
    assert rows(postgres, database, "SELECT sum(ok) AS ok FROM supervisor.run_day") == [{"ok": 2}]


@pytest.mark.skipif(find_spec("psycopg") is None, reason="the extra fleet is missing")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no embedded PostgreSQL")
def test_a_fleet_that_says_nothing_holds_up_a_job_for_its_deadline_alone(tmp_path: Path) -> None:
    """Once, at the end; and the exit code is the script's own."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/fleet"
        machine = Machine(tmp_path, url, 'replicate = "end"\ndeadline_s = 0.5\ntls = "disable"')
        took_s = float(machine.job(ENDING).stdout)
    assert 0.5 <= took_s < 3


def test_a_wrong_secret_is_said(tmp_path: Path) -> None:
    """What [fleet] refers to may be missing where cron runs."""
    machine = Machine(tmp_path, "x")
    machine.file.write_text('[fleet]\nurl = { env = "FLEET_URL" }\n', encoding="utf-8")
    machine.job()
    assert "FLEET_URL is not set" in machine.check("--quiet").stderr


def test_nothing_is_sent_where_nothing_may_be(postgres: Postgres, database: str, tmp_path: Path) -> None:
    """With send = "console" a check only looks; with replicate = "off" nothing leaves."""
    machine = Machine(tmp_path, postgres.url(database), 'replicate = "off"')
    machine.job()
    assert json.loads(machine.check("--json").stdout)["fleet"] is None
    other = tmp_path / "other"
    other.mkdir()
    looking = Machine(other, postgres.url(database), '[defaults]\nsend = "console"\njournal = true')
    looking.job()
    looking.check()
    assert rows(postgres, database, "SELECT * FROM supervisor.host") == []


KILLED = """
import os, signal, sys
from supervisor._fleet import connection
call, left = connection.Connection.call, [int(os.environ["CALLS"])]
def dying(self, function, *arguments):
    answer = call(self, function, *arguments)  # it is committed there
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
connection.Connection.call = dying
sys.argv[:] = ["supervisor", "check"]
from supervisor._cli.main import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no embedded PostgreSQL")
def test_a_check_that_is_killed_between_commit_and_answer(postgres: Postgres, database: str, tmp_path: Path) -> None:
    """At each call: the next check goes on, nothing is lost, nothing is there twice."""
    machine = Machine(tmp_path, postgres.url(database))
    many = JOB.replace("with super", "for _ in range(300):\n  with super").replace("    run.record", "    run.record")
    machine.job(many)
    machine.job(many)
    for calls in (1, 2, 3, 2):
        machine.environment["CALLS"] = str(calls)
        machine.run("-c", KILLED, code=-signal.SIGKILL)
    machine.check()
    assert rows(postgres, database, "SELECT count(*) AS runs FROM supervisor.run") == [{"runs": 600}]
    assert rows(postgres, database, "SELECT sum(ok) AS ok, sum(bad) AS bad FROM supervisor.run_day") == [
        {"ok": 600, "bad": 0}
    ]
    assert "all runs" in machine.check().stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there is no embedded PostgreSQL")
def test_a_server_that_is_killed_meanwhile(postgres: Postgres, database: str, tmp_path: Path) -> None:
    """What was committed is there; the rest comes with the next check."""
    machine = Machine(tmp_path, postgres.url(database))
    machine.job()
    machine.check()
    machine.job()
    pids = rows(postgres, database, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    os.kill(pids[0]["pid"], signal.SIGKILL)  # which lets the server restart with recovery
    connection = Connection(postgres.url(database))
    machine.check()
    until = time.monotonic() + 30
    while "sent" not in machine.check().stdout and time.monotonic() < until:
        if rows(postgres, database, "SELECT count(*) AS runs FROM supervisor.run") == [{"runs": 2}]:
            break
    connection.close()
    assert rows(postgres, database, "SELECT count(*) AS runs FROM supervisor.run") == [{"runs": 2}]
