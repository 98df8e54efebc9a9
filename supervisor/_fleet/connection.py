"""A connection to the fleet's database, by psycopg, which is loaded here alone and only when one is opened.

Nothing of that bounds a server that freezes while it is asked: no timeout of libpq's or PostgreSQL's does. Whoever must
not wait calls in a daemon thread (:class:`BoundedCaller`).
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONNECT_TIMEOUT_S = 2
STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 1_000
_VERIFYING = ("verify-full", "verify-ca")
_REMEDIES = {
    "28": "check the user and the password in [fleet] url",
    "3D": "check the name of the database in [fleet] url",
    "3F": "make the tables: supervisor fleet init URL",
    "42501": "let an administrator run: supervisor fleet grants",
    "42883": "bring the tables up to date: supervisor fleet migrate",
    "25006": "the server is read-only: connect to the primary",
    "53": "the server has no room, or no connection left: ask its administrator",
}


class FleetUnavailable(SupervisorError):  # noqa: N818 - as JournalUnavailable
    """Tell that the fleet's database cannot be used; a password is never shown.

    Args:
        reason: What is wrong, in one line.
        remedy: What to do; "" for nothing that is known.
        code: PostgreSQL's code of the error (https://www.postgresql.org/docs/current/errcodes-appendix.html); "" where
            the server said nothing.
    """

    def __init__(self, reason: str, remedy: str = "", code: str = "") -> None:
        super().__init__(f"the fleet cannot be used: {reason}" + (f"; {remedy}" if remedy else ""))
        self.reason = reason
        self.remedy = remedy
        self.code = code


def target_of(url: str) -> str:
    """Return what tells a database from others, without secrets: where it is, and its name.

    Raises:
        FleetUnavailable: It is no such URL, or psycopg is not installed.
    """
    known = _parameters(url)
    host = known.get("host") or known.get("hostaddr") or known.get("service") or "local"
    return f"{host}:{known.get('port') or 5432}/{known.get('dbname') or known.get('user') or ''}"


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise FleetUnavailable("it needs psycopg", "pip install 'agrc-supervisor[fleet]'") from error
    return psycopg


def _parameters(url: str) -> dict[str, Any]:
    psycopg = _psycopg()
    from psycopg.conninfo import conninfo_to_dict

    if not url.startswith(("postgresql://", "postgres://")):
        raise FleetUnavailable("[fleet] url must be like postgresql://user@host/database")
    try:
        return conninfo_to_dict(url)
    except psycopg.Error:  # its text quotes the URL, and so the password
        raise FleetUnavailable("[fleet] url is no valid URL of PostgreSQL") from None


class Connection:
    """One connection, opened by the first call.

    Args:
        url: Where the database is.
        tls: How the server must prove who it is; what the URL says itself is stronger. A socket needs nothing.
        ca_file: The certificates that count. None for the system's.
        statement_timeout_ms: After so many milliseconds the server gives a call up.
        application_name: What the server's lists show.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: str = "verify-full",
        ca_file: str | None = None,
        statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
        application_name: str = "supervisor",
    ) -> None:
        self._url = url
        self._tls = tls
        self._ca_file = ca_file
        self._statement_timeout_ms = statement_timeout_ms
        self._application_name = application_name
        self._connection: Any = None

    def __repr__(self) -> str:
        return "<Connection of the fleet>"  # the URL has the password

    def open(self) -> None:
        """Connect, unless that is done.

        Raises:
            FleetUnavailable: The server cannot be reached, does not prove who it is, or refuses the user.
        """
        if self._connection is not None:
            return
        psycopg = _psycopg()
        timeouts = f"-c statement_timeout={self._statement_timeout_ms} -c lock_timeout={LOCK_TIMEOUT_MS}"
        known = _parameters(self._url)
        settings = {
            **self._proof(known),
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": self._application_name,
            "options": " ".join(filter(None, (known.get("options"), timeouts))),
        }
        try:
            self._connection = psycopg.connect(self._url, autocommit=True, prepare_threshold=None, **settings)
        except psycopg.Error as error:
            raise _unavailable(error) from None

    def _proof(self, known: dict[str, Any]) -> dict[str, str]:
        """Return what libpq is told of TLS (https://www.postgresql.org/docs/current/libpq-ssl.html)."""
        host = known.get("host") or ""
        if "sslmode" in known or host.startswith(("/", "@")):
            return {}
        proof = {"sslmode": self._tls}
        if self._tls in _VERIFYING and "sslrootcert" not in known:
            if self._ca_file is not None:
                proof["sslrootcert"] = self._ca_file
            elif self._tls == "verify-full":
                proof["sslrootcert"] = "system"
        return proof

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the schema, and return its answer.

        Args:
            function: Its name.
            arguments: Its arguments; mappings and lists go as ``jsonb``.

        Raises:
            FleetUnavailable: It could not be called, or failed; whether it was done is not known after a broken
                connection.
        """
        marks = ", ".join(["%s"] * len(arguments))
        rows = self.rows(f"SELECT supervisor.{function}({marks}) AS answer", arguments)
        return rows[0]["answer"]

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return what a query finds.

        Raises:
            FleetUnavailable: It could not be asked.
        """
        psycopg = _psycopg()
        from psycopg.rows import dict_row
        from psycopg.types.json import Jsonb

        self.open()
        given = [Jsonb(each) if isinstance(each, (dict, list)) else each for each in parameters]
        try:
            with self._connection.cursor(row_factory=dict_row) as cursor:
                cursor.execute(sql, given or None)  # several statements only without parameters
                return cursor.fetchall() if cursor.description is not None else []
        except psycopg.Error as error:
            if self._connection.closed:
                self._connection = None
            raise _unavailable(error) from None

    def close(self) -> None:
        """Close it; the next call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _unavailable(error: Any) -> FleetUnavailable:
    """Return an error of psycopg in one line, with what to do about it."""
    code = error.sqlstate or ""
    text = " ".join(str(error.diag.message_primary or error).split())
    remedy = next((each for begin, each in _REMEDIES.items() if code.startswith(begin)), "")
    if not code and "certificate" in text:
        remedy = "name the authority that has signed it: [fleet] ca_file = ..."
    return FleetUnavailable(text, remedy, code)


class BoundedCaller:
    """Calls in a daemon thread, so that a server that freezes holds up nobody for longer than was allowed.

    Args:
        connection: Used in that thread alone.
        call_s: How long to wait for one answer, at most, in seconds; the first call connects too.
        total_s: How long to wait for all answers together. None for no such limit.
    """

    def __init__(self, connection: Connection, call_s: float, total_s: float | None = None) -> None:
        self._connection = connection
        self._call_s = call_s
        self._left_s = float("inf") if total_s is None else total_s
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_lost = False
        self._thread: threading.Thread | None = None

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the database as :meth:`Connection.call` does.

        Raises:
            FleetUnavailable: As there; or no answer came in time, and from then on at once.
        """
        if self._is_lost:
            raise FleetUnavailable("it has not answered before")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="supervisor calls the fleet", daemon=True)
            self._thread.start()
        done = threading.Event()
        answer: list[Any] = []
        fault: list[BaseException] = []

        def ask() -> None:
            try:
                answer.append(self._connection.call(function, *arguments))
            except BaseException as error:  # noqa: BLE001 - it is raised where it was asked
                fault.append(error)
            done.set()

        self._asked.put(ask)
        wait_s, began_s = min(self._call_s, max(0.0, self._left_s)), time.monotonic()
        if not done.wait(wait_s):
            self._is_lost = True
            raise FleetUnavailable(f"no answer within {wait_s:.3g} s")
        self._left_s -= time.monotonic() - began_s
        if fault:
            raise fault[0]
        return answer[0]

    def _work(self) -> None:
        while (ask := self._asked.get()) is not None:
            ask()
        self._connection.close()

    def close(self) -> None:
        """Close the connection, without waiting for that."""
        if self._thread is not None:
            self._asked.put(None)
