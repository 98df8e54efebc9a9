"""What is wrong in the fleet is found once, by any number of checkers, told once, and its end once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from supervisor._fleet.connection import Connection, FleetUnavailable
from supervisor._fleet.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres import Postgres

    from supervisor._fleet.watch import Finding


class Fleet:
    """A database, with runs and machines as a test needs them."""

    def __init__(self, postgres: Postgres, name: str) -> None:
        self.postgres, self.name = postgres, name
        self.connection = Connection(postgres.url(name))

    def host(self, kind: str = "machine", **more: Any) -> dict[str, Any]:
        """Return the document of a new host."""
        return {"id": str(uuid4()), "name": "gis1", "kind": kind, **more}

    def run(self, host: dict[str, Any], name: str = "parcels", *, ago_s: float = 0.0, **more: Any) -> dict[str, Any]:
        """Put a run of a host that started so long ago; return its document."""
        at = time.time() - ago_s
        document = {
            "id": f"{round(at * 1000):011x}{uuid4().hex[:10]}",
            "environment": "prod",
            "name": name,
            "rev": 1000,
            "outcome": "success",
            "started_at": datetime.fromtimestamp(at, UTC).isoformat(),
            **more,
        }
        self.put(host, document)
        return document

    def put(self, host: dict[str, Any], document: dict[str, Any]) -> None:
        """Put one document."""
        assert self.connection.call("put", host, [document])["refused"] == []

    def due(self, **ago: float) -> str:
        """Return an instant so long ago, as documents have it."""
        return (datetime.now(UTC) - timedelta(**ago)).isoformat()

    def seen(self, host: dict[str, Any], **ago: float) -> None:
        """Let a host have been seen so long ago."""
        self.connection.rows(
            "UPDATE supervisor.host SET seen_at = %s WHERE id = %s::uuid", (self.due(**ago), host["id"])
        )

    def watch(self, environment: str = "prod", checker: str = "") -> Watch:
        """Return a checker of its own."""
        return Watch(self.connection.call, checker or str(uuid4()), environment)


@pytest.fixture
def fleet(postgres: Postgres, database: str) -> Iterator[Fleet]:
    """Return a fresh fleet."""
    made = Fleet(postgres, database)
    yield made
    made.connection.close()


def tell(watch: Watch) -> list[tuple[str, str, bool]]:
    """Look, tell all of it, and return what it was."""
    found = watch.look()
    watch.told(found)
    return [(each.kind, each.name or each.host, each.is_over) for each in found]


def test_a_missed_start_is_told_once_and_its_recovery_once(fleet: Fleet) -> None:
    """A start on another host fulfils the schedule; who asks again is told nothing."""
    fleet.run(fleet.host("job"), ago_s=7200, schedule="0 3 * * *", next_due_at=fleet.due(hours=1))
    assert tell(fleet.watch()) == [("missed", "parcels", False)]
    assert tell(fleet.watch()) == []
    fleet.run(fleet.host("job"), schedule="0 3 * * *", next_due_at=fleet.due(hours=-1))
    assert tell(fleet.watch()) == [("missed", "parcels", True)]
    assert tell(fleet.watch()) == []


def test_within_its_grace_nothing_is_missed(fleet: Fleet) -> None:
    """Ten minutes where nothing else is set."""
    fleet.run(fleet.host("job"), ago_s=7200, schedule="0 3 * * *", next_due_at=fleet.due(minutes=9))
    fleet.run(fleet.host("job"), "roads", ago_s=7200, schedule="5h", grace_s=7200, next_due_at=fleet.due(hours=1))
    assert tell(fleet.watch()) == []


def test_nobody_is_told_of_a_miss_before_the_machine_can_have_sent_the_start(fleet: Fleet) -> None:
    """Its runs come with its checks; from one that has not checked in since, the start may yet come."""
    machine = fleet.host(expect_every_s=3600)
    fleet.run(machine, ago_s=7200, schedule="0 3 * * *", next_due_at=fleet.due(minutes=20))
    fleet.seen(machine, minutes=15)
    assert tell(fleet.watch()) == []
    fleet.seen(machine, minutes=5)
    assert tell(fleet.watch()) == [("missed", "parcels", False)]


def test_a_silent_machine_is_one_finding_with_what_is_due_there(fleet: Fleet) -> None:
    """Three times its interval; its missed starts are no findings of their own, until it is back."""
    machine = fleet.host(expect_every_s=600)
    for name in ("parcels", "roads"):
        fleet.run(machine, name, ago_s=90_000, schedule="0 3 * * *", next_due_at=fleet.due(hours=3))
    fleet.seen(machine, minutes=29)
    assert [each for each in tell(fleet.watch()) if each[0] == "silent"] == []
    fleet.seen(machine, hours=4)
    found = fleet.watch().look()
    assert [each.kind for each in found] == ["silent"]
    assert {each["name"] for each in found[0].known["facts"]["due"]} == {"parcels", "roads"}


def test_a_silent_machine_that_is_back_is_told(fleet: Fleet) -> None:
    """And one that is retired is no longer missed."""
    machine = fleet.host(expect_every_s=600)
    fleet.connection.call("hello", machine)
    fleet.seen(machine, hours=1)
    assert tell(fleet.watch()) == [("silent", "gis1", False)]
    fleet.connection.call("hello", machine)
    assert tell(fleet.watch()) == [("silent", "gis1", True)]
    assert tell(fleet.watch()) == []


def test_a_lost_run_that_ends_is_a_success(fleet: Fleet) -> None:
    """Three beats and 30 s; the schedule of the script stays, and the sums of the day follow."""
    job = fleet.host("job")
    run = fleet.run(job, ago_s=600, rev=1, outcome=None, alive_every_s=60, schedule="0 3 * * *")
    assert tell(fleet.watch()) == []
    fleet.connection.rows("UPDATE supervisor.run SET alive_at = now() - interval '209 s'")
    assert tell(fleet.watch()) == []
    fleet.connection.rows("UPDATE supervisor.run SET alive_at = now() - interval '211 s'")
    assert tell(fleet.watch()) == [("lost", "parcels", False)]
    sums = "SELECT schedule, last_outcome, ok, bad FROM supervisor.script JOIN supervisor.run_day ON script = key"
    assert [tuple(each.values()) for each in fleet.connection.rows(sums)] == [("0 3 * * *", "died", 0, 1)]
    fleet.put(job, {**run, "rev": 1000, "outcome": "success"})
    (over,) = fleet.watch().look()
    assert (over.kind, over.is_over, over.known["run_outcome"]) == ("lost", True, "success")
    assert [tuple(each.values())[1:] for each in fleet.connection.rows(sums)] == [("success", 1, 0)]


def test_the_run_of_a_machine_is_not_presumed_lost(fleet: Fleet) -> None:
    """Its own check sees whether the process is there."""
    fleet.run(fleet.host(), ago_s=600, rev=1, outcome=None, alive_every_s=60)
    fleet.connection.rows("UPDATE supervisor.run SET alive_at = now() - interval '1 day'")
    assert tell(fleet.watch()) == []


def test_a_wrong_clock_is_told_once(fleet: Fleet) -> None:
    """From 60 s on, until it is right."""
    machine = fleet.host(skew_s=61.0)
    fleet.connection.call("hello", machine)
    assert tell(fleet.watch()) == [("skewed", "gis1", False)]
    fleet.connection.call("hello", {**machine, "skew_s": -59.0})
    assert tell(fleet.watch()) == [("skewed", "gis1", True)]


def test_each_environment_has_its_own_checkers(fleet: Fleet) -> None:
    """A script of the same name elsewhere is another script."""
    fleet.run(fleet.host("job"), ago_s=7200, schedule="1h", next_due_at=fleet.due(hours=1), environment="dev")
    assert tell(fleet.watch("prod")) == []
    assert tell(fleet.watch("dev")) == [("missed", "parcels", False)]


def test_a_checker_that_was_killed_gets_its_findings_again_and_no_other_does(fleet: Fleet) -> None:
    """The message has the same id, by which it knows; after ten minutes another one tells."""
    fleet.run(fleet.host("job"), ago_s=7200, schedule="1h", next_due_at=fleet.due(hours=1))
    checker = str(uuid4())
    (first,) = fleet.watch(checker=checker).look()
    assert fleet.watch().look() == ()
    (again,) = fleet.watch(checker=checker).look()
    assert again.message_id == first.message_id
    fleet.connection.rows("UPDATE supervisor.finding SET claimed_until = now() - interval '1 s'")
    (elsewhere,) = fleet.watch().look()
    assert elsewhere.message_id == first.message_id


def test_what_is_over_before_anybody_was_told_is_not_told(fleet: Fleet) -> None:
    """But where its message was stored meanwhile, the end is told too."""
    job, watch = fleet.host("job"), fleet.watch()
    for name in ("parcels", "roads"):
        fleet.run(job, name, ago_s=7200, schedule="1h", next_due_at=fleet.due(hours=1))
    found = watch.look()
    assert len(found) == 2
    for name in ("parcels", "roads"):
        fleet.run(job, name, schedule="1h", next_due_at=fleet.due(hours=-1))
    assert fleet.watch().look() == ()
    watch.told(found[:1])
    assert [(each.name, each.is_over) for each in fleet.watch().look()] == [(found[0].name, True)]


def test_eight_checkers_at_once_tell_each_finding_once(fleet: Fleet) -> None:
    """No leader, and none that waits for another."""
    job = fleet.host("job")
    fleet.connection.call(
        "put", job, [
            {
                "id": f"{round((time.time() - 7200) * 1000):011x}{number:010x}", "environment": "prod", "rev": 1000,
                "name": f"script {number}", "outcome": "success", "started_at": fleet.due(hours=2), "schedule": "1h",
                "next_due_at": fleet.due(hours=1),
            }
            for number in range(300)
        ],
    )  # fmt: skip

    def check(_: int) -> list[Finding]:
        connection = Connection(fleet.postgres.url(fleet.name))
        watch = Watch(connection.call, str(uuid4()), "prod")
        all_found: list[Finding] = []
        for _ in range(10):
            found = watch.look()
            watch.told(found)
            all_found += found
        connection.close()
        return all_found

    with ThreadPoolExecutor(8) as pool:
        told = [each.name for found in pool.map(check, range(8)) for each in found]
    assert sorted(told) == sorted({f"script {number}" for number in range(300)})


def test_a_writer_may_not_watch(fleet: Fleet) -> None:
    """Findings are for checkers."""
    fleet.connection.rows("DROP ROLE IF EXISTS only_writes")
    fleet.connection.rows("CREATE ROLE only_writes LOGIN")
    fleet.connection.rows("GRANT USAGE ON SCHEMA supervisor TO only_writes")
    writer = Connection(fleet.postgres.url(fleet.name, "only_writes"))
    with pytest.raises(FleetUnavailable, match="permission denied"):
        Watch(writer.call, str(uuid4()), "prod").look()
    writer.close()
    fleet.connection.rows("DROP OWNED BY only_writes; DROP ROLE only_writes")
