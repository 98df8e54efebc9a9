"""What is wrong in the fleet: the database finds it, and gives each finding to one of all checkers to tell.

A checker stores the message in its own journal first, and then tells the database that it did. One that is killed
between the two gets the finding again with its next check, and knows by the message's id that it has it.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MOST = 200
"""So many findings, at most, are told by one check."""

_NAMESPACE = UUID("5b1d3fb4-5f0b-5c35-9a36-0c5c5a0f7d3e")


@attrs.frozen(kw_only=True)
class Finding:
    """Something that is wrong in the fleet, or its end.

    Args:
        id: Tells it from all others.
        kind: "missed", "lost" (a container's run), "silent" (a machine) or "skewed" (its clock).
        is_over: Whether it has ended, and that is to be told.
        since: The start that was missed; the last sign of life; when the clock was measured.
        now: The moment, by the database's clock.
        name: The name of the script; "" where it is about a machine.
        host: What people call the machine or container; of a missed start the one where it ran last.
        run_id: Of which run; "" for none.
        known: What else the database says of it.
    """

    id: str
    kind: str
    is_over: bool
    since: datetime
    now: datetime
    name: str = ""
    host: str = ""
    run_id: str = ""
    known: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def message_id(self) -> str:
        """Return the id of its message, the same whoever tells it and however often; its end has another."""
        return str(uuid5(_NAMESPACE, f"{self.id} {'over' if self.is_over else 'new'}"))


def finding_of(document: Mapping[str, Any]) -> Finding:
    """Return a finding as the database describes it."""
    return Finding(
        id=document["id"],
        kind=document["kind"],
        is_over=document["is_over"],
        since=datetime.fromisoformat(document["since"]),
        now=datetime.fromisoformat(document["now"]),
        name=document.get("name", ""),
        host=document.get("host", ""),
        run_id=document.get("run_id", ""),
        known=document,
    )


class Watch:
    """Looks at the fleet as one checker.

    Args:
        call: Calls a function of the database, with documents for arguments, and returns its answer.
        checker: The id of this machine in the fleet.
        environment: Whose scripts it watches; it watches all machines.
    """

    def __init__(self, call: Callable[..., Any], checker: str, environment: str) -> None:
        self._call = call
        self._checker = checker
        self._environment = environment

    def look(self) -> tuple[Finding, ...]:
        """Return what this checker has to tell, oldest first; no other gets it within ten minutes.

        Raises:
            FleetUnavailable: The database does not answer, or its user may not watch.
        """
        return tuple(map(finding_of, self._call("watch", UUID(self._checker), self._environment, MOST)))

    def told(self, findings: Iterable[Finding]) -> None:
        """Note that the messages of findings are in this checker's outbox.

        Raises:
            FleetUnavailable: The database does not answer; it gives them to this checker again then.
        """
        told = [{"id": each.id, "is_over": each.is_over} for each in findings]
        if told:
            self._call("told", UUID(self._checker), told)
