"""``supervisor check --fleet``: tell what the fleet's database has found, through this machine's own handlers."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import attrs

from supervisor._cli.finder import PendingAlert
from supervisor._cli.replicate import CALL_S, TOTAL_S, host_of
from supervisor._fleet.connection import BoundedCaller, Connection, FleetUnavailable
from supervisor._fleet.watch import Watch
from supervisor._messages import message_from_parts
from supervisor._models import Kind
from supervisor._models.parts import Facts, Notification, Row, Text
from supervisor._text import counted, duration, local_time, one_line
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from supervisor._cli.checker import Check, NewAlert
    from supervisor._config.configuration import Configuration
    from supervisor._fleet.watch import Finding
    from supervisor._models.values import MessageDetails
    from supervisor._store import Journal

_MOST_NAMES = 20


def watch(check: Check, journal: Journal, configuration: Configuration) -> tuple[tuple[NewAlert, ...], str]:
    """Look at the fleet, and store the messages of what this machine is to tell.

    Returns:
        What is new, and why the fleet could not be watched, or not to the end; "" where it was.

    Raises:
        JournalUnavailable: The journal cannot be read or written.
    """
    settings = configuration.fleet
    assert settings is not None
    new: list[NewAlert] = []
    try:
        address = settings.address(os.environ)
        connection = Connection(
            address, tls=settings.tls, ca_file=settings.ca_file, application_name="supervisor check"
        )
        caller = BoundedCaller(connection, CALL_S, TOTAL_S)
        try:
            watcher = Watch(caller.call, host_of(journal.directory, settings)["id"], settings.environment)
            found = watcher.look()
            for each in found:
                new.extend(check.tell((_pending(each, journal),)))
            watcher.told(found)
        finally:
            caller.close()
    except (FleetUnavailable, ConfigurationError) as error:
        return tuple(new), str(error)
    return tuple(new), ""


def _pending(finding: Finding, journal: Journal) -> PendingAlert:
    """Return a finding as an alert of this check; its message in the outbox is the note that it was told."""

    def claim(_: Collection[str]) -> Notification | None:
        return None if journal.replication().has_message(finding.message_id) else Notification()

    return PendingAlert(
        kind=kind_of(finding),
        name=finding.name or finding.host,
        run_id=finding.run_id,
        since=finding.since,
        compose=partial(message_of, finding),
        claim=claim,
        is_reminder=True,  # quiet times of this machine's own alerts do not count
    )


def kind_of(finding: Finding) -> Kind:
    """Return the kind of a finding's message."""
    if not finding.is_over:
        return Kind.DIED if finding.kind == "lost" else Kind.MISSED
    return Kind.FAILURE if finding.kind == "lost" and not _ended_well(finding) else Kind.RECOVERY


def _ended_well(finding: Finding) -> bool:
    return finding.known.get("run_outcome") in {"success", "warning", "skipped"}


def message_of(finding: Finding) -> MessageDetails:
    """Return the message of a finding, or of its end."""
    headline, *sentences = (_over if finding.is_over else _new)(finding)
    parts = (Text(" ".join((f"{headline}.", *sentences))), Facts("", tuple(_rows(finding)), "machine"))
    message = message_from_parts(kind_of(finding), headline, parts)
    return attrs.evolve(message, id=finding.message_id, created_at=finding.now)


def _new(finding: Finding) -> Iterator[str]:
    """Yield the headline of what is wrong, and then sentences."""
    name, host, since = _label(finding), one_line(finding.host), local_time(finding.since)
    lasted = duration((finding.now - finding.since).total_seconds())
    facts = finding.known["facts"]
    if finding.kind == "missed":
        yield f"{name} missed its start at {since}"
        yield "It has not started on any machine since. Look whether its scheduler still has it."
    elif finding.kind == "lost":
        yield f"{name} is presumed dead on {host}: no sign of life since {since}"
        yield f"That is {lasted} ago. The container was probably killed. If it ends after all, that will be told."
    elif finding.kind == "silent":
        due, under_way = facts.get("due", []), facts.get("under_way", [])
        yield f"{host} has not checked in since {since}"
        yield f"It should every {duration(finding.known.get('expect_every_s', 0.0))}; that was {lasted} ago."
        if due:
            yield f"Due there since: {_names(due)}."
        if under_way:
            yield f"Under way there: {_names(under_way)}."
        yield "Look whether the machine is on, reaches the database, and its scheduler still starts `supervisor check`."
    else:
        skew_s = float(facts.get("skew_s", 0.0))
        yield f"the clock of {host} is {duration(abs(skew_s))} {'ahead' if skew_s > 0 else 'behind'}"
        yield "Its schedules are kept by that clock, and its times are shown as they came. Let it follow a time server."


def _over(finding: Finding) -> Iterator[str]:
    name, host, since = _label(finding), one_line(finding.host), local_time(finding.since)
    if finding.kind == "missed":
        yield f"{name} started again"
        yield f"It had missed its start at {since}."
    elif finding.kind == "lost":
        yield f"{name} was alive after all on {host}: {finding.known.get('run_outcome', 'ended')}"
        yield f"It was presumed dead, without a sign of life since {since}; it ended itself."
    elif finding.kind == "silent":
        yield f"{host} checks in again"
        yield f"It had not since {since}."
    else:
        yield f"the clock of {host} is right again"


def _rows(finding: Finding) -> Iterator[Row]:
    known = finding.known
    if "schedule" in known and finding.kind == "missed":
        yield Row("Schedule", f"{known['schedule']}, at most {duration(known.get('grace_s', 600.0))} late")
    if finding.name:
        yield Row("Environment", known.get("environment", ""))
    if finding.run_id:
        yield Row("Run", finding.run_id)
    if finding.host:
        yield Row("Host" if finding.kind != "missed" else "Ran last on", finding.host)


def _label(finding: Finding) -> str:
    return one_line(str(finding.known.get("title") or finding.name))


def _names(found: list[dict[str, str]]) -> str:
    more = f" and {counted(len(found) - _MOST_NAMES, 'other')}" if len(found) > _MOST_NAMES else ""
    return ", ".join(one_line(each["name"]) for each in found[:_MOST_NAMES]) + more
