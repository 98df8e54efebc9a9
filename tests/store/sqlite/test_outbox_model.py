"""Random sequences of what can happen to an outbox, on disk and in memory, against one simple model."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from journal_kit import Clock, notice

from supervisor._models import DeliveryState
from supervisor._store import LEASE_S, Journal, MemoryOutbox, StartedRun
from supervisor._store.processes import Process
from supervisor._store.sqlite import JournalReader

if TYPE_CHECKING:
    from supervisor.models import Delivery

IN_TURN_S = 10.0
SENT, FAILED, PENDING = DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.PENDING
HANDLERS = ("mail", "chat")
handlers = st.sampled_from(HANDLERS)
whose = st.integers(0, 1)


@attrs.define
class Row:
    """What the model knows of one delivery."""

    handler: str
    due: float
    state: DeliveryState = PENDING
    attempts: int = 0
    error: str = ""
    claimer: int | None = None
    lease_until: float = 0.0
    is_sending: bool = False
    doubts: int = 0


class OutboxMachine(RuleBasedStateMachine):
    """Two processes share an outbox. The model is a dict of rows in the order of acceptance."""

    processes = 2
    knows_doubts = True

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.rows: dict[int, Row] = {}
        self.claims: list[tuple[int, Delivery]] = []
        self.accepted = self.sent = self.dropped = 0
        self.alive: set[int] = set()
        self.numbers: list[int] = []
        self.outboxes: list[Any] = []

    @initialize()
    def begin(self) -> None:
        """Let the processes start."""
        for _ in range(self.processes):
            self.outboxes.append(None)
            self.numbers.append(0)
            self.start(len(self.outboxes) - 1)

    def start(self, which: int) -> None:
        """Start a process, with a number that was never there."""
        number = self.numbers[which] = max(self.numbers) + 1
        self.alive.add(number)
        self.outboxes[which] = self.make(number)

    def make(self, number: int) -> Any:
        """Return the outbox as a process sees it."""
        raise NotImplementedError

    def is_free(self, row: Row) -> bool:
        """Tell whether a row can be claimed."""
        is_leased = row.claimer in self.alive and row.lease_until > self.clock.now
        return row.state is PENDING and row.due <= self.clock.now and not is_leased

    def is_in_turn(self, which: int, handler: str, key: int) -> bool:
        """Tell whether another process has just claimed a row that is due, so that what comes later waits for it."""
        row = self.rows[key]
        is_due = row.handler == handler and row.state is PENDING and row.due <= self.clock.now
        has_claimed = row.claimer in self.alive and row.claimer != self.numbers[which]
        return is_due and has_claimed and self.clock.now - (row.lease_until - LEASE_S) < IN_TURN_S

    @rule(which=whose, names=st.lists(handlers, unique=True, max_size=2), claimed=st.booleans())
    def put(self, which: int, names: list[str], *, claimed: bool) -> None:
        """Accept a message."""
        which %= self.processes
        accepted = self.outboxes[which].put(notice(), names, claimed=claimed)
        assert [each.handler for each in accepted] == names
        for each in accepted:
            assert each.key > max(self.rows, default=0)
            self.accepted += 1
            self.rows[each.key] = Row(each.handler, self.clock.now)
            if claimed:
                self.lease(which, each)

    def lease(self, which: int, delivery: Delivery) -> None:
        """Note a claim in the model."""
        row = self.rows[delivery.key]
        row.claimer, row.lease_until = self.numbers[which], self.clock.now + LEASE_S
        self.claims.append((which, delivery))

    @rule(which=whose, handler=handlers, data=st.data())
    def claim(self, which: int, handler: str, data: st.DataObject) -> None:
        """Claim something."""
        which %= self.processes
        own = data.draw(st.lists(st.sampled_from(sorted(self.rows) or [1]), max_size=3))
        free = [key for key, row in self.rows.items() if row.handler == handler and self.is_free(row)]
        unheard = [key for key in free if self.rows[key].is_sending]
        order = sorted(self.rows, key=lambda key: (key not in own, key))
        expected = next((key for key in unheard or order if key in free or self.is_in_turn(which, handler, key)), None)
        expected = expected if expected in free else None
        delivery = self.outboxes[which].claim(handler, own=own)
        assert (delivery and delivery.key) == expected
        if delivery is not None:
            row = self.rows[delivery.key]
            assert (delivery.handler, delivery.attempts, delivery.last_error) == (handler, row.attempts, row.error)
            row.doubts += row.is_sending
            assert (delivery.is_in_doubt, delivery.doubts) == (row.is_sending, row.doubts)
            row.is_sending = False
            self.lease(which, delivery)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), state=st.sampled_from(DeliveryState), due_in_s=st.sampled_from([0.0, 60.0]))
    def settle(self, data: st.DataObject, state: DeliveryState, due_in_s: float) -> None:
        """Settle a claim, perhaps one that was lost or settled before."""
        which, delivery = data.draw(st.sampled_from(self.claims))
        self.outboxes[which].settle(delivery, state, error=str(state), due_in_s=due_in_s)
        row = self.rows.get(delivery.key)
        if row is None or row.state is SENT:
            return
        if state is SENT:
            self.sent += 1
            row.state = SENT
        elif self.is_still_claimed_by(which, delivery):
            row.state, row.error, row.due, row.claimer = state, str(state), self.clock.now + due_in_s, None
            row.attempts += 1
            row.is_sending = False

    def is_still_claimed_by(self, which: int, delivery: Delivery) -> bool:
        """Tell whether what a process says of an attempt still counts."""
        row = self.rows[delivery.key]
        if row.state is not PENDING or row.attempts != delivery.attempts:
            return False
        return row.claimer is None or row.claimer == self.numbers[which]

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), is_sent_now=st.booleans())
    def renew(self, data: st.DataObject, *, is_sent_now: bool) -> None:
        """Renew the lease of a claim, perhaps of one that was lost, and perhaps before the last byte goes out."""
        which, delivery = data.draw(st.sampled_from(self.claims))
        row = self.rows.get(delivery.key)
        is_mine = row is not None and row.claimer is not None and self.is_still_claimed_by(which, delivery)
        assert self.outboxes[which].renew(delivery, is_sent_now=is_sent_now) == is_mine
        if row is not None and is_mine:
            row.lease_until = self.clock.now + LEASE_S
            row.is_sending = row.is_sending or (is_sent_now and self.knows_doubts)

    @rule(seconds=st.sampled_from([1.0, 60.0, LEASE_S]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), which=whose)
    def retry(self, data: st.DataObject, which: int) -> None:
        """Let a person make something due."""
        key = data.draw(st.sampled_from(sorted(self.rows)))
        row = self.rows[key]
        assert self.outboxes[which % self.processes].retry(key) == (row.state is not SENT)
        if row.state is not SENT:
            row.state, row.due, row.doubts = PENDING, self.clock.now, 0

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), which=whose)
    def drop(self, data: st.DataObject, which: int) -> None:
        """Let a person drop something."""
        key = data.draw(st.sampled_from(sorted(self.rows)))
        is_there = self.rows[key].state is not SENT
        assert self.outboxes[which % self.processes].drop(key) == is_there
        if is_there:
            self.dropped += 1
            self.rows[key].state = SENT

    @rule(which=whose)
    def reopen(self, which: int) -> None:
        """Let a process close and go on."""
        self.outboxes[which % self.processes].close()

    @precondition(lambda self: self.processes > 1)
    @rule(which=whose)
    def kill(self, which: int) -> None:
        """Kill a process and start another in its stead."""
        self.outboxes[which].close()
        self.alive.discard(self.numbers[which])
        self.claims = [each for each in self.claims if each[0] != which]
        self.start(which)

    @invariant()
    def nothing_is_lost(self) -> None:
        """Check that accepted is sent plus waiting plus failed plus dropped, in each process's eyes."""
        unsent = {key: row for key, row in self.rows.items() if row.state is not SENT}
        assert self.accepted == self.sent + self.dropped + len(unsent)
        for eyes in self.eyes():
            seen = eyes.deliveries()
            assert [(each.key, each.handler, each.state, each.attempts, each.last_error) for each in seen] == [
                (key, row.handler, row.state, row.attempts, row.error) for key, row in unsent.items()
            ]

    def eyes(self) -> list[Any]:
        """Return those who look without changing anything."""
        return self.outboxes

    @rule(which=whose)
    def look(self, which: int) -> None:
        """Look at what is there, as a process does that makes deliveries of what was said."""
        seen = self.outboxes[which % self.processes].deliveries()
        assert [each.key for each in seen] == [key for key, row in self.rows.items() if row.state is not SENT]

    @rule(which=whose)
    def ask_when_something_is_due(self, which: int) -> None:
        """Check what an outbox says of the time until the next claim, and of who has something waiting."""
        outbox = self.outboxes[which % self.processes]
        waiting = {row.handler for row in self.rows.values() if row.state is PENDING}
        assert outbox.waiting(HANDLERS) == waiting
        for handler in HANDLERS:
            assert outbox.next_due_s(handler) == self.next_due_s(handler)

    def next_due_s(self, handler: str) -> float | None:
        """Return what the model says of the time until the next claim."""
        times = [
            max(row.due, row.lease_until) if row.claimer in self.alive else row.due
            for row in self.rows.values()
            if row.handler == handler and row.state is PENDING
        ]
        return max(0.0, min(times) - self.clock.now) if times else None

    def teardown(self) -> None:
        """Close what is open."""
        for outbox in self.outboxes:
            outbox.close()


class MemoryMachine(OutboxMachine):
    """In memory there is one process, and what waits ends with it."""

    processes = 1
    knows_doubts = False

    def make(self, number: int) -> MemoryOutbox:
        """Return an outbox in memory."""
        return MemoryOutbox(clock=self.clock)


class DiskMachine(OutboxMachine):
    """On disk two processes share one file."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.reader: JournalReader | None = None

    def make(self, number: int) -> Journal:
        """Return the journal as a process of this number."""
        journal = Journal(
            self.directory,
            clock=self.clock,
            this=lambda: Process("host", number, "start"),
            gone=lambda process: process.pid not in self.alive,
        )
        journal.start_run(StartedRun(id=f"run {number}", name="nightly", started_at_s=self.clock.now))
        return journal

    def eyes(self) -> list[JournalReader]:
        """Return one who may only read: what was said stays as it is."""
        reader = self.reader = self.reader or JournalReader(self.directory, clock=self.clock)
        return [reader]

    def teardown(self) -> None:
        """Remove the file."""
        super().teardown()
        if self.reader is not None:
            self.reader.close()
        shutil.rmtree(self.directory)


@pytest.mark.parametrize(("machine", "examples"), [(MemoryMachine, 60), (DiskMachine, 50)])
def test_nothing_is_lost_and_nothing_claimed_twice(machine: type[OutboxMachine], examples: int) -> None:
    """Whatever happens in whatever order, the outbox does what the model says, and loses nothing."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
