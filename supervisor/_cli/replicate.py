"""Bring the runs of the journal into the fleet, as ``supervisor check`` does where ``[fleet]`` is configured.

A fleet that is down costs a check a bounded time, is said once, and changes no exit code: the journal is the truth.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import attrs

from supervisor import __version__
from supervisor._cli import shared
from supervisor._exceptions import user
from supervisor._fleet.connection import BoundedCaller, Connection, FleetUnavailable, target_of
from supervisor._fleet.identity import host_document
from supervisor._fleet.replica import Replica, Synced, redactor_with
from supervisor._text import counted, one_line
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from supervisor._config.configuration import Configuration
    from supervisor._fleet.fleet_settings import FleetSettings
    from supervisor._runtime import Runtime
    from supervisor._store import Journal

CALL_S = 5.0
"""How long one call may take, connecting included, in seconds."""
TOTAL_S = 30.0
"""How long all calls of a check may take."""
SKEW_LIMIT_S = 60.0
"""From so many seconds on, that the clocks differ is said."""


@attrs.frozen(kw_only=True)
class Replication:
    """What came of bringing runs into the fleet.

    Args:
        target: Which database, without secrets.
        synced: What was sent; None where nothing could be.
        fault: Why not; "" when it could.
        is_news: Whether people have not been told of the fault.
    """

    target: str = ""
    synced: Synced | None = None
    fault: str = ""
    is_news: bool = False

    @property
    def line(self) -> str:
        """Return it in one line."""
        if self.synced is None:
            return f"fleet     {one_line(self.fault)}"
        found = self.synced
        text = f"{counted(found.moved, 'run')} sent to {self.target}" if found.sent else f"{self.target} has all runs"
        text += ", and more to send" if found.left else ""
        text += "; it had fewer than before, as after a restore" if found.is_restored else ""
        text += f"; {counted(found.lost, 'run')} missing there" if found.lost else ""
        if abs(found.skew_s) > SKEW_LIMIT_S:
            text += f"; the clock of this machine is {abs(found.skew_s):,.0f} s {_side(found.skew_s)}"
        return f"fleet     {text}"

    @property
    def refusals(self) -> str:
        """Return in one line which runs were refused, and why; "" for none."""
        refused = self.synced.refused if self.synced is not None else ()
        if not refused:
            return ""
        first = f"{refused[0].run_id}: {one_line(refused[0].why, 200)}"
        return f"the fleet refuses {counted(len(refused), 'run')}, and is not asked again ({first})"

    def warn(self) -> None:
        """Print to stderr what people have to know, once."""
        if self.is_news:
            shared.print_problem(f"{self.fault} (said once; the runs wait here)")
        if self.refusals:
            shared.print_problem(self.refusals)

    def document(self) -> dict[str, Any]:
        """Return it as a document for programs."""
        found = self.synced or Synced()
        return {
            "target": self.target,
            "fault": self.fault or None,
            "sent": found.sent,
            "moved": found.moved,
            "left": found.left,
            "lost": found.lost,
            "is_restored": found.is_restored,
            "skew_s": None if self.synced is None else found.skew_s,
            "round_trip_s": None if self.synced is None else found.round_trip_s,
            "refused": [attrs.asdict(each) for each in found.refused],
        }


def _side(skew_s: float) -> str:
    return "ahead of the fleet's" if skew_s > 0 else "behind the fleet's"


def replicate(runtime: Runtime, journal: Journal, configuration: Configuration) -> Replication | None:
    """Bring the runs of a journal into the fleet; None where there is none, or it is not to be.

    Raises:
        JournalUnavailable: The journal cannot be read or written.
    """
    settings = configuration.fleet
    if settings is None or settings.replicate == "off":
        journal.replication().forget()
        return None
    target = ""
    try:
        address = settings.address(os.environ)
        target = target_of(address)
        synced = _synced(runtime, journal, settings, address, target)
    except (FleetUnavailable, ConfigurationError) as error:
        fault = str(error)
        return Replication(target=target, fault=fault, is_news=journal.replication().note_fault(target, fault))
    journal.replication().note_fault(target, "")
    return Replication(target=target, synced=synced)


def _synced(runtime: Runtime, journal: Journal, settings: FleetSettings, address: str, target: str) -> Synced:
    connection = Connection(address, tls=settings.tls, ca_file=settings.ca_file, application_name="supervisor check")
    caller = BoundedCaller(connection, CALL_S, TOTAL_S)
    try:
        replica = Replica(
            journal.replication(),
            caller.call,
            host_of(journal.directory, settings),
            target=target,
            environment=settings.environment,
            send=settings.send,
            redactor=redactor_with(address, runtime.configuration.redactor()),
            clock=runtime.clock,
        )
        return replica.sync()
    finally:
        caller.close()


def host_of(state_directory: str, settings: FleetSettings) -> dict[str, Any]:
    """Return the document of this machine.

    Raises:
        JournalUnavailable: The file beside the journal cannot be read or written.
    """
    return host_document(
        state_directory,
        user(),
        version=__version__,
        name=settings.host,
        expect_every_s=settings.expect_every_s,
    )
