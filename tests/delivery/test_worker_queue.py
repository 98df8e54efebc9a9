"""One queue for each destination: while it accepts nothing all waits, one attempt finds out, then all goes."""

from __future__ import annotations

import functools
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from faulty_handlers import Raises
from journal_kit import Clock, notice
from recorders import Recorder

from supervisor import DeliveryError, supervise
from supervisor._delivery.job import retry_delay_s
from supervisor._models.kinds import URGENT, DeliveryState, Kind
from supervisor._store import Journal, MemoryOutbox
from supervisor._store.sqlite.outbox import URGENT_SQL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from supervisor._store import Outbox

quiet = functools.partial(supervise, journal=False)
SENT, FAILED, PENDING = DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.PENDING
MANY = 500


@pytest.fixture
def clock() -> Clock:
    """Return a clock that a test sets."""
    return Clock()


@pytest.fixture(params=["memory", "disk"])
def outbox(request: pytest.FixtureRequest, state: Path, clock: Clock) -> Iterator[Outbox]:
    """Return an empty outbox, of each sort."""
    outbox: Outbox = MemoryOutbox(clock=clock) if request.param == "memory" else Journal(state, clock=clock)
    yield outbox
    outbox.close()


def attempts_until(outbox: Outbox, clock: Clock, end: float, retry_after_s: float | None = None) -> list[float]:
    """Try a dead destination whenever that is allowed, as workers do, and return when."""
    tried = []
    while clock.now < end:
        delivery = outbox.claim("mail")
        if delivery is None:
            clock.now += max(0.01, outbox.next_due_s("mail") or 0.0)
            continue
        tried.append(clock.now)
        rest = outbox.rest_of("mail")
        if rest is not None:
            assert rest.is_tried
            assert outbox.claim("mail") is None, "two attempts at once"
        delay_s = retry_delay_s(rest.failures + 1 if rest is not None else 1, retry_after_s, lambda: 1.0)
        outbox.settle(delivery, PENDING, error="refused", due_in_s=delay_s, rests=True)
    return tried


def fail_once(outbox: Outbox) -> None:
    """Let the destination fail."""
    delivery = outbox.claim("mail")
    assert delivery is not None
    outbox.settle(delivery, PENDING, error="refused", due_in_s=2, rests=True)


def arrived(outbox: Outbox) -> list[str]:
    """Send all that can be sent, and return the subjects."""
    subjects = []
    while (delivery := outbox.claim("mail")) is not None:
        subjects.append(delivery.message.subject)
        outbox.settle(delivery, SENT)
    return subjects


def test_a_dead_destination_is_asked_seldom_and_then_gets_all_in_order(outbox: Outbox, clock: Clock) -> None:
    """With 500 waiting messages: at most 8 attempts in the first minute, and all in the order of acceptance."""
    with_many(outbox)
    began = clock.now
    assert 1 < len(attempts_until(outbox, clock, began + 60)) <= 8
    clock.now += 600
    probe, *others = arrived(outbox)
    assert [*sorted([probe, *others], key=int)] == [str(i) for i in range(MANY)]
    assert others == sorted(others, key=int)
    assert outbox.rests() == []


def test_what_the_server_asks_for_holds_for_all(outbox: Outbox, clock: Clock) -> None:
    """No message is tried before the time that the server asked for, whichever it is."""
    with_many(outbox)
    tried = attempts_until(outbox, clock, clock.now + 120, retry_after_s=30)
    assert all(after - before >= 30 for before, after in pairwise(tried))
    clock.now += 30
    assert arrived(outbox) == [str(i) for i in range(MANY)] or len(tried) > 3


def test_an_alarm_behind_many_notices_is_sent_first(outbox: Outbox, clock: Clock) -> None:
    """Alarms and recoveries go before the rest, in their own order."""
    for i in range(499):
        outbox.put(notice(str(i)), ["mail"])
    outbox.put(notice("alarm", kind=Kind.FAILURE), ["mail"])
    outbox.put(notice("its end", kind=Kind.RECOVERY), ["mail"])
    assert arrived(outbox)[:3] == ["alarm", "its end", "0"]


def test_the_index_of_alarms_has_all_their_kinds() -> None:
    """What the store selects as alarms are the kinds that the models call so."""
    assert f"kind IN ({', '.join(f'{str(each)!r}' for each in URGENT)})" == URGENT_SQL


def test_one_message_does_not_block_the_others_for_ever(outbox: Outbox, clock: Clock) -> None:
    """A message with which a destination fails is passed by others, and that is counted."""
    outbox.put(notice("bad"), ["mail"])
    for i in range(5):
        outbox.put(notice(f"good {i}"), ["mail"])
    passed = []
    for _ in range(100):
        delivery = outbox.claim("mail")
        if delivery is None:
            clock.now += outbox.next_due_s("mail") or 0.0
        elif delivery.message.subject == "bad" and delivery.passed_over < 2:
            outbox.settle(delivery, PENDING, error="closed", due_in_s=1, rests=True)
        elif delivery.message.subject == "bad":
            break
        else:
            passed.append(delivery.message.subject)
            outbox.settle(delivery, SENT)
    assert delivery is not None
    assert delivery.passed_over == 2
    assert passed == ["good 0", "good 1"]


def test_another_process_knows_that_a_destination_rests(state: Path, clock: Clock) -> None:
    """How a destination rests stands in the journal: the next process waits too, unless somebody says now."""
    one, other = Journal(state, clock=clock), Journal(state, clock=clock)
    with_many(one, 3)
    fail_once(one)
    assert other.claim("mail") is None
    (rest,) = other.rests()
    assert (rest.handler, rest.failures, rest.last_error, rest.waiting) == ("mail", 1, "refused", 3)
    assert rest.next_in_s == other.next_due_s("mail")
    assert other.deliveries()[2].due_at is not None
    other.wake("mail")
    assert arrived(other) == ["0", "1", "2"]
    assert one.rests() == []
    one.close()
    other.close()


@pytest.mark.parametrize("end", [SENT, FAILED, PENDING])
def test_a_destination_that_answers_goes_on(outbox: Outbox, clock: Clock, end: DeliveryState) -> None:
    """Also a refusal of one message shows that the destination is there."""
    with_many(outbox, 3)
    fail_once(outbox)
    clock.now += 10
    delivery = outbox.claim("mail")
    assert delivery is not None
    outbox.settle(delivery, end, error="not this one", due_in_s=60)
    assert outbox.rests() == []
    assert outbox.next_due_s("mail") == 0


def with_many(outbox: Outbox, count: int = MANY) -> None:
    """Let many messages wait."""
    for i in range(count):
        outbox.put(notice(str(i)), ["mail"])


# The worker


@pytest.mark.parametrize("journal", [True, False])
def test_many_messages_make_one_attempt_at_a_time(journal: bool, log: pytest.LogCaptureFixture) -> None:
    """Twenty notices to a server that says "in a second" make one request until then; one line says that it stopped."""
    log.set_level("INFO", "supervisor")
    name = f"asks {journal}"  # workers of other tests may still log
    raises = Raises(DeliveryError("429", retry_after_s=1.0), DeliveryError("429", retry_after_s=1.0), name=name)
    with supervise("night", handlers=[raises], journal=journal) as run:
        for i in range(20):
            run.notify(str(i))
    assert raises.subjects == [str(i) for i in range(20)]
    assert raises.tried_s[1] - raises.tried_s[0] >= 1.0
    assert raises.tried_s[2] - raises.tried_s[1] >= 1.0
    assert log.text.count(f"{name} did not take") == 1
    assert log.text.count(f"{name} takes messages again") == 1


def test_an_alarm_goes_first_when_the_destination_is_back(log: pytest.LogCaptureFixture) -> None:
    """The failure of a run whose notices wait is the first to arrive."""

    class Down(Recorder):
        def send_message(self, details: Any, /) -> None:
            if not self.messages and details.kind != "failure":
                raise ConnectionRefusedError("down")
            super().send_message(details)

    down = Down()
    with pytest.raises(KeyError), supervise("night", handlers=[down], delivery_deadline_s=60) as run:
        for i in range(499):
            run.notify(str(i))
        raise KeyError("apn")
    assert down.told[0] == "failure"
    assert down.subjects[1:] == [str(i) for i in range(499)]


@pytest.mark.parametrize("journal", [True, False])
def test_the_end_of_a_run_keeps_its_deadline_with_many_messages(journal: bool, log: pytest.LogCaptureFixture) -> None:
    """A run with 500 messages that wait for a dead destination ends within its deadline and half a second."""
    raises = Raises(*[OSError("down")] * 10_000, name=f"dead {journal}")
    with supervise("night", handlers=[raises], journal=journal, delivery_deadline_s=1) as run:
        for i in range(MANY):
            run.notify(str(i))
        before_s = time.monotonic()
    assert time.monotonic() - before_s < 1.5
    assert len(raises.tried_s) <= 4
    assert log.text.count("not delivered yet") == 1


def test_a_poisoned_message_rests_alone(log: pytest.LogCaptureFixture) -> None:
    """A message at which the destination breaks down rests alone once others have passed it; they all arrive."""

    class Breaks(Recorder):
        def send_message(self, details: Any, /) -> None:
            if details.subject == "bad":
                raise ConnectionError("closed")
            super().send_message(details)

    breaks = Breaks()
    with quiet("night", handlers=[breaks], delivery_deadline_s=0.1) as run:
        for subject in ("bad", *map(str, range(20))):
            run.notify(subject)
        until_s = time.monotonic() + 30
        while len(breaks.messages) < 20 and time.monotonic() < until_s:
            time.sleep(0.01)
    assert breaks.subjects == [str(i) for i in range(20)]
