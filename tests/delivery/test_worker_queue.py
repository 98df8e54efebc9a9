"""One queue for each destination: while it accepts nothing all waits, one attempt finds out, then all goes."""

from __future__ import annotations

import functools
import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from faulty_handlers import Raises
from journal_kit import Clock, notice
from recorders import Recorder
from waiting import wait_until

from supervisor import DeliveryError, supervise
from supervisor._delivery.pool import is_given_up, retry_delay_s
from supervisor._models import URGENT, DeliveryState, Kind
from supervisor._store import Journal
from supervisor._store.sqlite.outbox_reader import URGENT_SQL
from supervisor.models import MessageDetails, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from supervisor._store import Outbox

quiet = functools.partial(supervise, journal=False)
SENT, FAILED, PENDING = DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.PENDING
MANY = 500


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
    assert arrived(outbox) == [str(i) for i in range(MANY)]
    assert outbox.rests() == []


def test_what_the_server_asks_for_holds_for_all(outbox: Outbox, clock: Clock) -> None:
    """No message is tried before the time that the server asked for, whichever it is."""
    with_many(outbox)
    tried = attempts_until(outbox, clock, clock.now + 120, retry_after_s=30)
    assert all(after - before >= 30 for before, after in pairwise(tried))
    clock.now += 30
    assert arrived(outbox) == [str(i) for i in range(MANY)]


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
    assert down.received[0] == "failure"
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
        wait_until(lambda: len(breaks.messages) == 20)
    assert breaks.subjects == [str(i) for i in range(20)]


# Alarms and their recoveries


def alarm(kind: Kind, name: str = "night") -> MessageDetails:
    """Return a message of a run of some name."""
    report = RunReport(id="1", name=name, started_at=datetime.now(UTC))
    return MessageDetails(f"{kind} of {name}", kind=kind, report=report)


def rests_alone(outbox: Outbox, due_in_s: float = 600.0) -> None:
    """Let the next message wait for a while, but not its destination."""
    delivery = outbox.claim("mail")
    assert delivery is not None
    outbox.settle(delivery, PENDING, error="mailbox full", due_in_s=due_in_s)


def fails(outbox: Outbox, *, given_up: bool = False) -> None:
    """Let the next message be refused for good."""
    delivery = outbox.claim("mail")
    assert delivery is not None
    outbox.settle(delivery, FAILED, error="mailbox full", given_up=given_up)


@pytest.fixture
def journal(state: Path, clock: Clock) -> Iterator[Journal]:
    """Return an outbox on disk."""
    found = Journal(state, clock=clock)
    yield found
    found.close()


def test_a_recovery_does_not_arrive_before_its_failure(journal: Journal, clock: Clock) -> None:
    """While a failure rests alone, the recovery waits behind it; those of other names and handlers do not."""
    journal.put(alarm(Kind.FAILURE), ["mail"])
    rests_alone(journal)
    journal.put(alarm(Kind.RECOVERY), ["mail", "chat"])
    journal.put(alarm(Kind.RECOVERY, "day"), ["mail"])
    assert arrived(journal) == ["recovery of day"]
    assert journal.claim("chat") is not None
    due_in_s = journal.next_due_s("mail")
    assert due_in_s is not None
    assert 599 < due_in_s <= 600
    clock.now += 600
    assert arrived(journal) == ["failure of night", "recovery of night"]


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_no_recovery_is_sent_for_a_failure_that_nobody_heard_of(journal: Journal, clock: Clock, *, first: bool) -> None:
    """Whether the failure is refused before the run recovers or after."""
    journal.put(alarm(Kind.FAILURE), ["mail"])
    if first:
        fails(journal)
        assert journal.put(alarm(Kind.RECOVERY), ["mail", "chat"])[0].handler == "chat"
    else:
        rests_alone(journal)
        journal.put(alarm(Kind.RECOVERY), ["mail", "chat"])
        clock.now += 600
        fails(journal)
    assert arrived(journal) == []
    assert journal.waiting(["mail", "chat"]) == {"chat"}


def test_a_recovery_is_sent_where_one_of_its_alarms_was(journal: Journal) -> None:
    """Who heard of one of several alarms hears that it is over; those before the last recovery do not count."""
    journal.put(alarm(Kind.FAILURE), ["mail"])
    assert arrived(journal) == ["failure of night"]
    journal.put(alarm(Kind.STALLED), ["mail"])
    fails(journal)
    journal.put(alarm(Kind.RECOVERY), ["mail"])
    assert arrived(journal) == ["recovery of night"]
    journal.put(alarm(Kind.FAILURE), ["mail"])
    fails(journal)
    assert journal.put(alarm(Kind.RECOVERY), ["mail"]) == ()


def test_a_recovery_of_the_next_run_waits_for_the_failure(state: Path) -> None:
    """So it is also where the recovery is new, and the failure waits in the outbox, resting alone."""
    alone = DeliveryError("mailbox full", scope="message", retry_after_s=3600.0)
    mail = Raises(alone, name="mail")
    with pytest.raises(KeyError), supervise("night", handlers=[mail], delivery_deadline_s=0.5):
        raise KeyError("apn")
    with supervise("night", handlers=[mail], delivery_deadline_s=0.5):
        pass
    assert mail.subjects == []
    journal = Journal(state)
    assert [each.kind for each in journal.deliveries()] == [Kind.FAILURE, Kind.RECOVERY]
    assert journal.retry(journal.deliveries()[0].key)
    journal.close()
    with supervise("day", handlers=[mail]):
        pass
    assert mail.received == ["failure", "recovery"]


def test_the_next_message_says_what_was_given_up(state: Path) -> None:
    """A message that was tried for more than a week is given up; the next one, to whatever handler, says so once."""
    refuses = Raises(*[DeliveryError("closed", retry_after_s=3600.0)] * 9, name="mail")
    with supervise("night", handlers=[refuses], delivery_deadline_s=0.5) as run:
        run.notify("monthly report")
    journal = Journal(state)
    with journal.one_commit() as connection:
        connection.execute("UPDATE delivery SET attempts = 30, failing_s = 8 * 86400, lease_until = NULL")
        connection.execute("UPDATE destination SET next_at = 0")
    with supervise("day", handlers=[refuses], delivery_deadline_s=0.5):
        wait_until(lambda: journal.waiting_counts() == (0, 1))
    chat = Recorder("chat")
    with supervise("day", handlers=[chat]) as run:
        run.notify("one")
        wait_until(lambda: chat.subjects == ["one"])
        run.notify("two", "text")
    first, second = chat.messages
    assert "1 earlier message was given up: 'monthly report' to mail; `supervisor flush --failed`" in first.message
    assert second.message == "text"
    journal.close()


@pytest.mark.parametrize("jump_days", [30, -30])
def test_a_clock_that_jumps_gives_nothing_up_and_stops_nothing(journal: Journal, clock: Clock, jump_days: int) -> None:
    """Set forward by a month or back: the message is tried at once or at its time, and not given up."""
    journal.put(notice("hello", created_at=datetime.fromtimestamp(clock.now, UTC)), ["mail"])
    attempts_until(journal, clock, clock.now + 3_600)
    clock.now += jump_days * 86_400
    before = clock.now
    assert attempts_until(journal, clock, clock.now + 3_600)[0] - before <= 300
    clock.now += 600
    rest, delivery = journal.rest_of("mail"), journal.claim("mail")
    assert rest is not None
    assert delivery is not None
    assert rest.failures >= 20
    assert not is_given_up(delivery, rest, datetime.fromtimestamp(clock.now, UTC))
    assert rest.failing_s < 2 * 86_400
    assert delivery.failing_s < 2 * 86_400


def test_attempts_of_a_week_give_a_message_up(journal: Journal, clock: Clock) -> None:
    """Also those of a script that runs once a week."""
    journal.put(notice("hello", created_at=datetime.fromtimestamp(clock.now, UTC)), ["mail"])
    for _ in range(20):
        attempts_until(journal, clock, clock.now + 10)
        rest = journal.rest_of("mail")
        assert rest is not None
        clock.now += 7 * 86_400
    delivery = journal.claim("mail")
    assert delivery is not None
    assert is_given_up(delivery, rest, datetime.fromtimestamp(clock.now, UTC))
