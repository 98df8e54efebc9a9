"""What keeps a machine from the fleet is said, with a remedy and without a password; and it never waits for long."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from supervisor._fleet.connection import BoundedCaller, Connection, FleetUnavailable, target_of

if TYPE_CHECKING:
    from postgres import Postgres


needs_psycopg = pytest.mark.skipif(find_spec("psycopg") is None, reason="the extra fleet is missing")


def test_without_psycopg_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(FleetUnavailable, match=r"pip install 'agrc-supervisor\[fleet\]'"):
        target_of("postgresql://gis1/fleet")


@needs_psycopg
@pytest.mark.parametrize(
    ("url", "tls", "ca_file", "expected"),
    [
        ("postgresql://gis1/fleet", "verify-full", None, {"sslmode": "verify-full", "sslrootcert": "system"}),
        ("postgresql://gis1/fleet", "verify-full", "/ca.pem", {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}),
        ("postgresql://gis1/fleet", "require", None, {"sslmode": "require"}),
        ("postgresql://gis1/fleet?sslmode=disable", "verify-full", None, {}),
        ("postgresql:///fleet?host=/cloudsql/a:b:c", "verify-full", None, {}),
    ],
)
def test_a_server_must_prove_who_it_is(url: str, tls: str, ca_file: str | None, expected: dict[str, str]) -> None:
    """Unless the URL says otherwise, or it is reached by a socket."""
    from psycopg.conninfo import conninfo_to_dict

    assert Connection(url, tls=tls, ca_file=ca_file)._proof(conninfo_to_dict(url)) == expected


@needs_psycopg
@pytest.mark.skipif(sys.platform == "win32", reason="there is no embedded PostgreSQL")
def test_a_server_without_tls_is_refused() -> None:
    """What libpq does by itself is to go on without it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as asked:
                asked.recv(8)  # SSLRequest
                asked.sendall(b"N")  # https://www.postgresql.org/docs/current/protocol-flow.html: no TLS here
                asked.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(FleetUnavailable, match="SSL"):
            Connection(f"postgresql://me:hunter2@localhost:{server.getsockname()[1]}/fleet").rows("SELECT 1")
        thread.join()


@needs_psycopg
def test_what_a_database_is_called_has_no_secrets() -> None:
    """The journal keeps it."""
    assert target_of("postgresql://me:hunter2@gis1:5433/fleet?sslmode=require") == "gis1:5433/fleet"
    assert target_of("postgresql://me@/fleet?host=/cloudsql/a:b:c") == "/cloudsql/a:b:c:5432/fleet"


@needs_psycopg
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://hunter2@gis1", "must be like postgresql://"),
        ("postgresql://me:hunter2@gis1:port/fleet?x=1&y", "no valid URL"),
        ("postgresql://me:hunter2@127.0.0.1:1/fleet", "refused"),
    ],
)
def test_a_wrong_url_is_named_without_its_password(url: str, reason: str) -> None:
    """It would stand in the log, and in a mail of cron's."""
    with pytest.raises(FleetUnavailable, match=reason) as caught:
        Connection(url, tls="disable").rows("SELECT 1")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.__cause__)


def test_without_the_tables_it_says_how_to_make_them(postgres: Postgres) -> None:
    """The remedy is a command."""
    connection = Connection(postgres.url("postgres"))
    with pytest.raises(FleetUnavailable, match="supervisor fleet init"):
        connection.call("hello", {})
    connection.close()


@needs_psycopg
@pytest.mark.skipif(sys.platform == "win32", reason="there is no embedded PostgreSQL")
def test_a_server_that_accepts_and_says_nothing_is_left() -> None:
    """Once; from then on nobody waits."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        caller = BoundedCaller(Connection(f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/fleet"), call_s=0.5)
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(FleetUnavailable, match="answer"):
                caller.call("hello", {})
        assert time.monotonic() - began < 2


def test_a_frozen_server_is_left(postgres: Postgres, database: str) -> None:
    """No timeout of libpq's or the server's bounds that; the process ends all the same."""
    if sys.platform == "win32":
        return  # the server is not there, either
    code = """
import sys, time
from supervisor._fleet.connection import BoundedCaller, Connection, FleetUnavailable
connection = Connection(sys.argv[1])
pid = connection.rows("SELECT pg_backend_pid() AS pid")[0]["pid"]
print(pid, flush=True)
sys.stdin.readline()
try:
    BoundedCaller(connection, call_s=0.5).call("hello", {})
except FleetUnavailable as error:
    print(error, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, postgres.url(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        backend = int(process.stdout.readline())
        os.kill(backend, signal.SIGSTOP)
        try:
            process.stdin.write("\n")
            process.stdin.close()
            began = time.monotonic()
            assert "no answer within 0.5 s" in process.stdout.read()
            process.wait()
            assert time.monotonic() - began < 10
        finally:
            os.kill(backend, signal.SIGCONT)
