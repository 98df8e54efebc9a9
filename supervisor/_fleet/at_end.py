"""Send the row of a run that has just ended to the fleet (``replicate = "end"``), while its messages are delivered.

It is sent in a daemon thread, and waited for until ``deadline_s`` after the end, whatever the fleet does. What does not
arrive comes with the next ``supervisor check``, which sends it again in any case. Faults are logged at INFO only.
"""

from __future__ import annotations

import os
import sys
import threading
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Any

from supervisor import _log
from supervisor._forks import guard_forks

if TYPE_CHECKING:
    from supervisor._fleet.fleet_settings import FleetSettings
    from supervisor._store import Store


class AtEnd:
    """Sends one run.

    Args:
        settings: Where the fleet is.
        journal: The journal that has the run.
        name: The name of the run.
        run_id: Its id.
        account: The user.
    """

    def __init__(self, settings: FleetSettings, journal: Store, *, name: str, run_id: str, account: str) -> None:
        self._settings = settings
        self._journal = journal
        self._name = name
        self._run_id = run_id
        self._account = account
        self._until_s = monotonic() + settings.deadline_s
        self._thread = threading.Thread(target=self._work, name="supervisor sends a run to the fleet", daemon=True)

    def start(self) -> None:
        """Begin to send it; a process that may have no more threads leaves it to the next check."""
        guard_forks()
        try:
            Context().run(self._thread.start)
        except RuntimeError:
            self._until_s = 0.0

    def wait(self) -> None:
        """Wait until it is sent, or the deadline is over."""
        left_s = self._until_s - monotonic()
        if left_s > 0 and self._thread.is_alive():
            self._thread.join(left_s)
        if self._thread.is_alive():
            _log.info(
                "the fleet has not taken %r within %g s: the next check sends it", self._name, self._settings.deadline_s
            )

    def _work(self) -> None:
        try:
            self._send()
        except Exception as error:  # noqa: BLE001 - the thread's boundary: the run itself is over
            _log.info("%r was not sent to the fleet, the next check does that: %s", self._name, error)

    def _send(self) -> None:
        from supervisor._fleet.connection import Connection
        from supervisor._fleet.documents import document_of
        from supervisor._fleet.identity import host_document
        from supervisor._fleet.replica import redactor_with

        settings = self._settings
        run = next((each for each in self._journal.runs(self._name, limit=20) if each.id == self._run_id), None)
        if run is None:
            return
        address = settings.address(os.environ)
        document = document_of(
            run, environment=settings.environment, send=settings.send, redactor=redactor_with(address)
        )
        del document["key"]  # the check alone says what the database has, in order
        host = host_document(
            self._journal.directory,
            self._account,
            version=str(getattr(sys.modules.get("supervisor"), "__version__", "")),
            name=settings.host,
            expect_every_s=settings.expect_every_s,
        )
        connection: Any = Connection(
            address,
            tls=settings.tls,
            ca_file=settings.ca_file,
            statement_timeout_ms=max(1, int(settings.deadline_s * 1000)),
        )
        try:
            answer = connection.call("put", host, [document])
        finally:
            connection.close()
        for refused in answer["refused"]:
            _log.info("the fleet refuses %r: %s", self._name, refused["why"])
