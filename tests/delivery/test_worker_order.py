"""In which order waiting messages arrive: that of their acceptance, alarms first; and one message blocks no others."""

from __future__ import annotations

import tempfile
import threading
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_kit import Clock, notice
from recorders import Recorder
from waiting import PATIENCE_S, wait_until

from supervisor import DeliveryError, supervise
from supervisor._delivery import worker
from supervisor._delivery.pool import OTHER_AFTER_S, retry_delay_s, takes_other_next
from supervisor._models import DeliveryState, Kind
from supervisor._places import hostname
from supervisor._store import Journal, MemoryOutbox
from supervisor._store.processes import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor._store import Outbox
    from supervisor.models import Delivery

SENT, PENDING = DeliveryState.SENT, DeliveryState.PENDING
KINDS = (Kind.NOTICE, Kind.NOTICE, Kind.NOTICE, Kind.FAILURE)


def process(number: int) -> Callable[[], Process]:
    """Return what tells a journal which process has opened it."""
    return lambda: Process(hostname(), number, "start")


class Peer:
    """A destination that is sometimes down, and processes that send to it.

    Args:
        outboxes: The outbox, as each process sees it.
        clock: What time it is.
        is_down: Tells whether the destination is down at some time.
        is_suspected: Whether an attempt fails so that the message may be the cause.
        poison: The subject of a message with which the destination always fails.
    """

    def __init__(
        self,
        outboxes: list[Outbox],
        clock: Clock,
        is_down: Callable[[float], bool],
        *,
        is_suspected: bool = False,
        poison: str = "",
    ) -> None:
        self.outboxes, self.clock, self.is_down = outboxes, clock, is_down
        self.is_suspected, self.poison = is_suspected, poison
        self.arrived: list[str] = []
        self.tried_s: list[float] = []

    def step(self) -> bool:
        """Let each process send what it may; return whether something was tried."""
        claimed = [(each, each.claim("mail")) for each in self.outboxes]
        for outbox, delivery in claimed:
            if delivery is not None:
                self.attempt(outbox, delivery)
        return any(delivery is not None for _, delivery in claimed)

    def attempt(self, outbox: Outbox, delivery: Delivery) -> None:
        """Send a message, and settle it as a worker does."""
        self.tried_s.append(self.clock.now)
        subject = delivery.message.subject
        if not self.is_down(self.clock.now) and subject != self.poison:
            self.arrived.append(subject)
            outbox.settle(delivery, SENT)
            return
        rest = outbox.rest_of("mail")
        is_suspected = self.is_suspected or subject == self.poison
        if is_suspected and delivery.passed_over >= worker.RESTS_ALONE_AFTER - 1:
            outbox.settle(delivery, PENDING, error="down", due_in_s=600)
            return
        other_next = is_suspected and takes_other_next(rest)
        delay_s = retry_delay_s(rest.failures + 1 if rest is not None else 1, None, lambda: 0.5)
        outbox.settle(
            delivery,
            PENDING,
            error="down",
            due_in_s=OTHER_AFTER_S if other_next else delay_s,
            rests=True,
            is_suspected=is_suspected,
            other_next=other_next,
        )

    def run(self, until_s: float, most: int = 1_000) -> None:
        """Send until some time, until so many have arrived, or until nothing waits."""
        while self.clock.now < until_s and len(self.arrived) < most and self.outboxes[0].waiting(["mail"]):
            if not self.step():
                self.clock.now += max(0.01, min(each.next_due_s("mail") or 0.0 for each in self.outboxes))


def outboxes_of(where: str, clock: Clock, folder: str, processes: int) -> list[Outbox]:
    """Return an outbox as several processes see it."""
    if where == "memory":
        return [MemoryOutbox(clock=clock)]
    numbers = range(1, processes + 1)
    return [Journal(Path(folder), clock=clock, this=process(n), gone=lambda _: False) for n in numbers]


def due_order(kinds: list[Kind]) -> list[str]:
    """Return the subjects in the order in which they are to arrive."""
    return [str(i) for i, _ in sorted(enumerate(kinds), key=lambda each: (each[1] is Kind.NOTICE, each[0]))]


@pytest.mark.parametrize(("where", "examples"), [("memory", 100), ("disk", 15)])
def test_all_arrive_in_order_after_faults_of_the_destination(where: str, examples: int) -> None:
    """However often it dies and comes back, and whoever tries it: alarms first, then the order of acceptance."""

    @settings(deadline=None, max_examples=examples, database=None)
    @given(
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=12),
        phases=st.lists(st.floats(0.1, 3000), max_size=6),
        processes=st.integers(1, 3),
    )
    def check(kinds: list[Kind], phases: list[float], processes: int) -> None:
        clock = Clock()
        changes = [clock.now + sum(phases[: i + 1]) for i in range(len(phases))]
        # Down at first, then by turns; at the end it is there.
        ups = changes[len(changes) % 2 == 0 :: 2] or [clock.now]

        def is_down(now: float) -> bool:
            return sum(change <= now for change in changes) % 2 == 0 and now < ups[-1] and bool(changes)

        with tempfile.TemporaryDirectory() as folder:
            outboxes = outboxes_of(where, clock, folder, processes)
            for i, kind in enumerate(kinds):
                outboxes[0].put(notice(str(i), kind=kind), ["mail"])
            peer = Peer(outboxes, clock, is_down)
            peer.run(clock.now + 86_400)
            for each in outboxes:
                each.close()
        assert peer.arrived == due_order(kinds)

    check()


@pytest.mark.parametrize(("where", "examples"), [("memory", 60), ("disk", 8)])
def test_one_message_overtakes_at_most_where_messages_may_be_the_cause(where: str, examples: int) -> None:
    """Where nobody knows whose fault it is, another message is tried too: that one may arrive first, no other."""

    @settings(deadline=None, max_examples=examples, database=None)
    @given(count=st.integers(2, 12), down_s=st.floats(0.1, 5000))
    def check(count: int, down_s: float) -> None:
        clock = Clock()
        back_s = clock.now + down_s
        with tempfile.TemporaryDirectory() as folder:
            outboxes = outboxes_of(where, clock, folder, 1)
            for i in range(count):
                outboxes[0].put(notice(str(i)), ["mail"])
            peer = Peer(outboxes, clock, lambda now: now < back_s, is_suspected=True)
            began_s = clock.now
            peer.run(clock.now + 86_400)
            outboxes[0].close()
        others = [each for each in peer.arrived if each != peer.arrived[0]]
        assert sorted(peer.arrived, key=int) == [str(i) for i in range(count)]
        assert others == sorted(others, key=int)
        # Where it came back between the two attempts of a pair, which takes a second of each pause.
        assert sum(began_s <= tried < min(began_s + 60, back_s) for tried in peer.tried_s) <= 8

    check()


def test_one_poisonous_message_does_not_block_the_others(outbox: Outbox, clock: Clock) -> None:
    """Others pass it after a few seconds, in their order, until it is known and rests alone."""
    for i in range(20):
        outbox.put(notice(str(i)), ["mail"])
    peer = Peer([outbox], clock, lambda _: False, poison="0")
    began_s = clock.now
    peer.run(began_s + 60, most=19)
    assert clock.now - began_s < 60
    assert peer.arrived == [str(i) for i in range(1, 20)]
    assert [each.subject for each in outbox.deliveries()] == ["0"]
    assert outbox.rests() == [], "it waits alone"


@pytest.fixture
def two(state: Path, clock: Clock) -> Iterator[list[Journal]]:
    """Return the journal of two processes."""
    both = [Journal(state, clock=clock, this=process(n), gone=lambda _: False) for n in (1, 2)]
    yield both
    for each in both:
        each.close()


def test_what_another_process_has_just_claimed_goes_before_what_comes_after_it(
    two: list[Journal], clock: Clock
) -> None:
    """So two processes that find what a third one left send it in its order; one that hangs blocks nobody for long."""
    one, other = two
    for i in range(3):
        one.put(notice(str(i)), ["mail"])
    first = one.claim("mail")
    assert first is not None
    assert other.claim("mail") is None
    assert other.next_due_s("mail") == 0
    one.put(notice("alarm", kind=Kind.FAILURE), ["mail"])
    alarm = other.claim("mail")
    assert alarm is not None
    assert alarm.message.kind == "failure", "it comes before what the other one has"
    other.settle(alarm, SENT)
    one.settle(first, SENT)
    second = other.claim("mail")
    assert second is not None
    assert second.message.subject == "1"
    clock.now += 11
    third = one.claim("mail")
    assert third is not None
    assert third.message.subject == "2"


# Alarms


class Slow(Recorder):
    """Waits with its first message until it is let go, and may refuse it then.

    Args:
        refusal: What it raises for the first message; None accepts it.
    """

    def __init__(self, refusal: Exception | None = None) -> None:
        super().__init__("slow")
        self.refusal = refusal
        self.go_on = threading.Event()
        self.called = threading.Event()

    def send_message(self, details: Any, /) -> None:
        """Wait with the first message."""
        if not self.called.is_set():
            self.called.set()
            assert self.go_on.wait(PATIENCE_S)
            if self.refusal is not None:
                raise self.refusal
        super().send_message(details)


def failed_after(notices: int, slow: Slow, *, journal: bool, wait: Callable[[], object] | None = None) -> list[str]:
    """Return what arrives of a run that sends notices and fails while the first of them is under way."""
    with pytest.raises(KeyError), supervise("night", handlers=[slow], journal=journal, delivery_deadline_s=0) as run:
        run.notify("first")
        assert slow.called.wait(PATIENCE_S)
        for i in range(notices):
            run.notify(str(i))
        raise KeyError("apn")
    if wait is not None:
        wait()
    slow.go_on.set()
    wait_until(lambda: len(slow.messages) >= notices + 1)
    return slow.received


def test_a_few_messages_keep_their_order_where_the_destination_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notices and then the failure, as they were written, of which a person makes most."""
    monkeypatch.setattr(worker, "IN_ORDER_S", PATIENCE_S)  # a busy machine may take longer than a slow destination
    assert failed_after(3, Slow(), journal=False) == ["notice"] * 4 + ["failure"]


@pytest.mark.parametrize("journal", [True, False])
@pytest.mark.parametrize(
    "refusal",
    [
        DeliveryError("no such user", permanent=True),
        DeliveryError("mailbox full", scope="message", retry_after_s=3600.0),
        DeliveryError("down", retry_after_s=0.1),
    ],
    ids=["refused", "waits alone", "rests"],
)
@pytest.mark.parametrize("notices", [1, 3])
def test_an_alarm_goes_first_where_a_message_was_not_taken(refusal: Exception, notices: int, *, journal: bool) -> None:
    """However few wait, and whatever the destination did not take."""
    assert failed_after(notices, Slow(refusal), journal=journal)[0] == "failure"


def test_an_alarm_goes_first_where_others_have_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination that takes its time for each message gets the alarm next, not after all of them."""
    monkeypatch.setattr(worker, "IN_ORDER_S", 0.0)
    assert failed_after(3, Slow(), journal=False) == ["notice", "failure", *["notice"] * 3]


def test_alarms_keep_their_order_among_themselves(outbox: Outbox) -> None:
    """A failure, its recovery and the next failure arrive in that order, before any notice."""
    for i, kind in enumerate(chain.from_iterable([(Kind.NOTICE, Kind.FAILURE, Kind.RECOVERY)] * 2)):
        outbox.put(notice(str(i), kind=kind), ["mail"])
    peer = Peer([outbox], Clock(), lambda _: False)
    while peer.step():
        pass
    assert peer.arrived == ["1", "2", "4", "5", "0", "3"]
