"""What a machine has recorded arrives in the fleet, once, whatever happens on the way."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from journal_kit import NOON, Clock, ended, started

from supervisor._fleet.connection import Connection
from supervisor._fleet.fleet_settings import DEFAULT_SEND
from supervisor._fleet.replica import Replica, Synced
from supervisor._models import Outcome
from supervisor._store import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postgres import Postgres

TARGET = "the fleet"


class Fleet:
    """A database of the fleet that can be copied, and restored from the copy."""

    def __init__(self, postgres: Postgres, name: str) -> None:
        self.postgres, self.name, self.copy = postgres, name, f"{name}_copy"
        self.connection = Connection(postgres.url(name))

    def back_up(self) -> None:
        """Keep a copy of it as it is now."""
        self.connection.close()
        self.postgres.copy(self.copy, self.name)

    def restore(self) -> None:
        """Put the copy in its place."""
        self.connection.close()
        self.postgres.copy(self.name, self.copy)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        return [tuple(each.values()) for each in self.connection.rows(sql)]

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the database."""
        return self.connection.call(function, *arguments)

    def runs(self) -> dict[str, str | None]:
        """Return the outcome of each run, by its id."""
        return dict(self.rows("SELECT id, outcome FROM supervisor.run"))

    def days(self) -> dict[str, tuple[int, int]]:
        """Return how many runs of each name ended well and otherwise."""
        sql = """
        SELECT name, sum(ok) AS ok, sum(bad) AS bad
        FROM supervisor.run_day JOIN supervisor.script ON script.key = script
        GROUP BY name HAVING sum(ok) + sum(bad) > 0"""
        return {name: (int(ok), int(bad)) for name, ok, bad in self.rows(sql)}


@pytest.fixture
def fleet(postgres: Postgres, database: str) -> Iterator[Fleet]:
    """Return an empty database of the fleet."""
    made = Fleet(postgres, database)
    yield made
    made.connection.close()


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    """Return an empty journal."""
    made = Journal(state, keep_runs=100_000)
    yield made
    made.close()


def host(number: int = 0) -> dict[str, Any]:
    """Return the document of a machine."""
    return {"id": f"00000000-0000-0000-0000-{number:012}", "name": f"gis{number}", "account": "gis", "kind": "machine",
            "version": "4.0.0", "boot": "b", "facts": {}, "expect_every_s": 600}  # fmt: skip


def run_id(number: int, at_s: float = NOON) -> str:
    """Return an id as runs have them."""
    return f"{int(at_s * 1000):011x}{number:010x}"


def replica(journal: Journal, call: Callable[..., Any], number: int = 0, **options: Any) -> Replica:
    """Return what brings the runs of a journal into a database."""
    known = {"target": TARGET, "environment": "prod", "send": DEFAULT_SEND, **options}
    return Replica(journal.replication(), call, host(number), **known)


def record(journal: Journal, first: int, count: int, name: str = "nightly", **fields: Any) -> None:
    """Let runs start and end well, in one commit."""
    with journal.one_commit():
        for number in range(first, first + count):
            journal.start_run(started(run_id(number), name))
            journal.end_run(run_id(number), ended(**fields), asks=False)


# The protocol


def test_all_runs_arrive_and_with_nothing_new_two_calls_are_made(fleet: Fleet, journal: Journal) -> None:
    """What is new, what has ended since, and then nothing but where the database stands and that this host lives."""
    record(journal, 0, 3)
    journal.start_run(started(run_id(3)))
    assert attrs.evolve(replica(journal, fleet.call).sync(), skew_s=0, round_trip_s=0) == Synced(sent=4, moved=4)
    assert Counter(fleet.runs().values()) == {"success": 3, None: 1}
    journal.end_run(run_id(3), ended(Outcome.FAILURE))
    assert replica(journal, fleet.call).sync().moved == 1
    assert fleet.runs()[run_id(3)] == "failure"
    assert fleet.days() == {"nightly": (3, 1)}
    calls: list[str] = []

    def call(function: str, *arguments: Any) -> Any:
        calls.append(function)
        return fleet.call(function, *arguments)

    assert replica(journal, call).sync().sent == 0
    assert calls == ["hello", "put"]


def test_an_old_journal_comes_little_by_little(fleet: Fleet, journal: Journal) -> None:
    """At most so many runs a check, oldest first, in batches that the database takes."""
    record(journal, 0, 1_200)
    sizes: list[int] = []

    def call(function: str, *arguments: Any) -> Any:
        sizes.extend(len(each) for each in arguments[1:])
        return fleet.call(function, *arguments)

    first = replica(journal, call).sync(limit=1_100)
    assert (first.moved, first.left) == (1_100, True)
    assert sizes == [500, 500, 100]
    assert set(fleet.runs()) == {run_id(number) for number in range(1_100)}
    second = replica(journal, call).sync(limit=1_100)
    assert (second.moved, second.left) == (100, False)


def test_batches_are_bounded_by_their_bytes_too(fleet: Fleet, journal: Journal) -> None:
    """Runs with long errors go fewer at a time."""
    record(journal, 0, 60, values={"text": "x" * 40_000})
    sizes: list[int] = []

    def call(function: str, *arguments: Any) -> Any:
        sizes.extend(len(json.dumps(each)) for each in arguments[1:])
        return fleet.call(function, *arguments)

    assert replica(journal, call).sync().moved == 60
    assert len(sizes) == 3
    assert max(sizes) < 1_100_000


def test_a_refused_run_does_not_hold_up_the_others(fleet: Fleet, journal: Journal) -> None:
    """It is named once, with the reason, and not sent again."""
    record(journal, 0, 2)
    record(journal, 2, 1, name="bad", outcome=Outcome.FAILURE, exit_code=1 << 40)
    record(journal, 3, 2)
    first = replica(journal, fleet.call).sync()
    assert (first.sent, first.moved) == (5, 4)
    assert [each.run_id for each in first.refused] == [run_id(2)]
    second = replica(journal, fleet.call).sync()
    assert (second.sent, second.refused) == (0, ())


def test_a_run_that_was_reported_as_died_may_end(fleet: Fleet, journal: Journal) -> None:
    """A success that comes later beats the presumption, and the day's sums follow."""
    journal.start_run(started(run_id(0)))
    replica(journal, fleet.call).sync()
    journal.mark_died(run_id(0))
    replica(journal, fleet.call).sync()
    assert (fleet.runs(), fleet.days()) == ({run_id(0): "died"}, {"nightly": (0, 1)})
    journal.end_run(run_id(0), ended())
    replica(journal, fleet.call).sync()
    assert (fleet.runs(), fleet.days()) == ({run_id(0): "success"}, {"nightly": (1, 0)})


def test_a_restored_database_gets_what_it_lacks(fleet: Fleet, journal: Journal) -> None:
    """Also the end of a run that it has as under way, though it had acknowledged that end."""
    journal.start_run(started(run_id(0)))
    record(journal, 1, 5)
    replica(journal, fleet.call).sync()
    fleet.back_up()
    journal.end_run(run_id(0), ended())
    record(journal, 6, 5)
    replica(journal, fleet.call).sync()
    fleet.restore()
    assert len(fleet.runs()) == 6
    found = replica(journal, fleet.call).sync()
    assert found.is_restored
    assert fleet.runs() == {run_id(number): "success" for number in range(11)}
    assert not replica(journal, fleet.call).sync().is_restored


def test_a_new_journal_of_the_same_host_is_replicated_safely(fleet: Fleet, journal: Journal, tmp_path: Path) -> None:
    """A journal that was lost begins with key 1 again; a restore of the database loses nothing of the new one."""
    record(journal, 0, 20)
    replica(journal, fleet.call).sync()
    fleet.back_up()
    new = Journal(tmp_path / "new")
    record(new, 100, 10)
    replica(new, fleet.call).sync()
    fleet.restore()
    replica(new, fleet.call).sync()
    assert len(fleet.runs()) == 30
    new.close()


def test_two_checks_at_once(fleet: Fleet, journal: Journal) -> None:
    """Both send the same; nothing is there twice, and a backup of any moment is made up for."""
    record(journal, 0, 10)

    def call(function: str, *arguments: Any) -> Any:
        if function == "put" and arguments[1] and inner:
            inner.pop().sync()
            fleet.back_up()
        return fleet.call(function, *arguments)

    inner = [replica(journal, fleet.call)]
    replica(journal, call).sync()
    record(journal, 10, 10)
    inner = [replica(journal, fleet.call)]
    replica(journal, call).sync()
    fleet.restore()
    replica(journal, fleet.call).sync()
    assert fleet.runs() == {run_id(number): "success" for number in range(20)}
    assert fleet.days() == {"nightly": (20, 0)}


@pytest.mark.parametrize("ahead_s", [-7200.0, 0.0, 7200.0])
def test_the_clocks_are_compared(fleet: Fleet, journal: Journal, ahead_s: float) -> None:
    """How far this machine's clock is ahead of the database's is told to it; nothing is corrected."""
    clock = Clock(float(fleet.rows("SELECT extract(epoch FROM clock_timestamp())")[0][0]) + ahead_s)
    found = replica(journal, fleet.call, clock=clock).sync()
    assert found.skew_s == pytest.approx(ahead_s, abs=30)
    ((skew_s,),) = fleet.rows("SELECT skew_s FROM supervisor.host")
    assert skew_s == pytest.approx(found.skew_s, abs=0.01)


# Whatever happens on the way


class _LostError(Exception):
    """The connection broke."""


class _Wire:
    """The way to the database: calls are lost, done without an answer, done twice, and done again much later."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.faults: list[str] = []
        self.late: list[tuple[str, tuple[Any, ...]]] = []

    def call(self, function: str, *arguments: Any) -> Any:
        fault = self.faults.pop(0) if self.faults else ""
        arguments = tuple(json.loads(json.dumps(each)) for each in arguments)
        if fault == "lost":
            raise _LostError
        if fault == "late":
            self.late.append((function, arguments))
            raise _LostError
        answer = self.fleet.call(function, *arguments)
        if fault == "twice":
            answer = self.fleet.call(function, *arguments)
        if fault == "copied":
            self.late.append((function, arguments))
        if fault == "unanswered":
            raise _LostError
        return answer

    def deliver_late(self, last_first: bool) -> None:
        """Let all arrive that is still on its way."""
        for function, arguments in reversed(self.late) if last_first else self.late:
            self.fleet.call(function, *arguments)
        self.late.clear()


JOURNALS = 3
journals = st.integers(0, JOURNALS - 1)
faults = st.lists(st.sampled_from(["", "lost", "unanswered", "twice", "late", "copied"]), max_size=5)
steps = st.one_of(
    st.tuples(st.just("run"), journals, st.integers(1, 4)),
    st.tuples(st.just("start"), journals, st.just(0)),
    st.tuples(st.just("end"), journals, st.sampled_from([Outcome.SUCCESS, Outcome.FAILURE, Outcome.DIED])),
    st.tuples(st.just("sync"), journals, st.tuples(st.integers(1, 6), faults)),
    st.tuples(st.just("late"), st.just(0), st.booleans()),
    st.tuples(st.just("back up"), st.just(0), st.just(0)),
    st.tuples(st.just("restore"), st.just(0), st.just(0)),
)


class _World:
    """Several machines, each with a journal, and one database."""

    def __init__(self, folder: Path, fleet: Fleet) -> None:
        self.fleet, self.wire = fleet, _Wire(fleet)
        self.journals = [Journal(folder / str(number)) for number in range(JOURNALS)]
        self.expected: dict[str, str | None] = {}
        self.open: list[list[str]] = [[] for _ in range(JOURNALS)]
        self.died: list[list[str]] = [[] for _ in range(JOURNALS)]

    def start(self, which: int) -> str:
        new = run_id(len(self.expected))
        self.journals[which].start_run(started(new, f"script {which}"))
        self.expected[new] = None
        self.open[which].append(new)
        return new

    def end(self, which: int, outcome: Outcome) -> None:
        if outcome is Outcome.DIED and self.open[which]:
            run = self.open[which].pop(0)
            self.journals[which].mark_died(run)
            self.died[which].append(run)
        elif outcome is not Outcome.DIED and (self.open[which] or self.died[which]):
            run = (self.died[which] or self.open[which]).pop(0)
            self.journals[which].join_run(started(run, f"script {which}"))
            self.journals[which].end_run(run, ended(outcome))
        else:
            return
        self.expected[run] = str(outcome)

    def sync(self, which: int, limit: int, wanted: list[str]) -> None:
        self.wire.faults = list(wanted)
        with_faults = replica(self.journals[which], self.wire.call, which)
        with contextlib.suppress(_LostError):
            with_faults.sync(limit)

    def do(self, step: tuple[str, int, Any]) -> None:
        what, which, how = step
        if what == "run":
            for _ in range(how):
                run = self.start(which)
                self.open[which].remove(run)
                self.journals[which].end_run(run, ended())
                self.expected[run] = "success"
        elif what == "start":
            self.start(which)
        elif what == "end":
            self.end(which, how)
        elif what == "sync":
            self.sync(which, *how)
        elif what == "late":
            self.wire.deliver_late(how)
        elif what == "back up":
            self.fleet.back_up()
        else:
            self.fleet.restore()

    def settle(self) -> None:
        """Let all arrive, and each machine check as often as it needs to."""
        self.wire.deliver_late(last_first=True)
        for which, journal in enumerate(self.journals):
            while replica(journal, self.fleet.call, which).sync(limit=7).left:
                pass
        for journal in self.journals:
            journal.close()

    def days(self) -> dict[str, tuple[int, int]]:
        """Return how many of the runs in the database ended well, and otherwise."""
        rows = self.fleet.rows("""
            SELECT name, outcome FROM supervisor.run JOIN supervisor.script ON script.key = script
            WHERE outcome IS NOT NULL""")
        names = {name for name, _ in rows}
        return {
            name: (
                sum(each == (name, "success") for each in rows),
                sum(each[0] == name and each[1] != "success" for each in rows),
            )
            for name in names
        }


@settings(max_examples=40)
@given(history=st.lists(steps, max_size=25))
@example(  # what arrives late after a restore must not look as if all before it were there
    history=[
        ("back up", 0, 0), ("run", 0, 4), ("sync", 0, (2, [])), ("sync", 0, (2, ["", "copied"])), ("restore", 0, 0),
        ("late", 0, False),
    ],
)  # fmt: skip
@example(history=[("start", 0, 0), ("sync", 0, (5, [])), ("back up", 0, 0), ("end", 0, Outcome.SUCCESS),
                  ("sync", 0, (5, [])), ("restore", 0, 0)])  # fmt: skip
def test_whatever_happens_the_fleet_has_the_union_of_the_journals(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, int, Any]]
) -> None:
    """Calls are lost, doubled, late and in another order, of several machines, and the database is restored between."""
    postgres.copy("world", "fleet_template")
    fleet = Fleet(postgres, "world")
    fleet.back_up()
    world = _World(tmp_path_factory.mktemp("world"), fleet)
    for step in history:
        world.do(step)
    world.settle()
    assert fleet.runs() == world.expected
    assert fleet.days() == world.days()
    fleet.connection.close()
