"""What an outbox promises, on disk and in memory alike; then what only the one on disk must bear."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from journal_kit import NOON, Clock, first_line_of, kill, notice, output_of, python
from waiting import PATIENCE_S

from supervisor._models import DeliveryState, Kind
from supervisor._store import LEASE_S, Journal, open_journal
from supervisor.models import Attachment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._store import Outbox

SENT, FAILED, PENDING = DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.PENDING


@pytest.fixture
def journal(state: Path, clock: Clock) -> Iterator[Journal]:
    """Return a journal with a clock that a test sets."""
    journal = Journal(state, clock=clock)
    yield journal
    journal.close()


def test_a_message_is_accepted_for_each_handler(outbox: Outbox) -> None:
    """Putting a message gives one pending delivery for each handler, in their order, with keys of their own."""
    message = notice()
    first, second = outbox.put(message, ["mail", "chat"])
    assert (first.handler, second.handler) == ("mail", "chat")
    assert (first.message, first.state, first.attempts, first.last_error) == (message, PENDING, 0, "")
    assert first.key < second.key
    assert outbox.put(message, []) == ()
    assert [each.handler for each in outbox.deliveries()] == ["mail", "chat"]


def test_what_is_claimed_is_what_was_put(outbox: Outbox) -> None:
    """A claim gives the delivery back as it was accepted, and no other claim gets it."""
    (delivery,) = outbox.put(notice("ünï\ud800\0"), ["mail"])
    assert outbox.claim("chat") is None
    assert outbox.claim("mail") == delivery
    assert outbox.claim("mail") is None
    assert outbox.claim("mail", own=[delivery.key]) is None


def test_an_id_of_any_text_is_settled(outbox: Outbox) -> None:
    """A script may give its message whatever id it likes."""
    (delivery,) = outbox.put(attrs.evolve(notice(), id="ünï\ud800\0'"), ["mail"], claimed=True)
    outbox.settle(delivery, SENT)
    assert outbox.state_of(delivery) is SENT
    assert outbox.deliveries() == []


def test_what_is_put_as_claimed_belongs_to_who_put_it(outbox: Outbox) -> None:
    """A delivery can be claimed with its acceptance, and then nobody else gets it."""
    (delivery,) = outbox.put(notice(), ["mail"], claimed=True)
    assert outbox.claim("mail") is None
    outbox.settle(delivery, SENT)
    assert outbox.deliveries() == []


def test_own_messages_go_first_then_the_oldest(outbox: Outbox) -> None:
    """Claims take the keys in ``own`` first, in the order of acceptance, and then what waits longest."""
    keys = [outbox.put(notice(), ["mail"])[0].key for _ in range(5)]
    own = [keys[3], keys[1], 999]
    claimed = [outbox.claim("mail", own=own) for _ in range(6)]
    assert [each and each.key for each in claimed] == [keys[1], keys[3], keys[0], keys[2], keys[4], None]


def test_many_own_keys_are_no_burden(outbox: Outbox) -> None:
    """A thousand own keys, of which only the last is still there, find it."""
    (delivery,) = outbox.put(notice(), ["mail"])
    own = {*range(-1_000, 0), delivery.key}
    claimed = outbox.claim("mail", own=own)
    assert claimed is not None


def test_a_sent_delivery_is_settled_for_good(outbox: Outbox) -> None:
    """What was sent is not seen again, whatever is said of it later."""
    outbox.put(notice(), ["mail"])
    delivery = outbox.claim("mail")
    assert delivery is not None
    outbox.settle(delivery, SENT)
    outbox.settle(delivery, PENDING)
    outbox.settle(delivery, FAILED)
    assert outbox.claim("mail") is None
    assert outbox.deliveries() == []
    assert not outbox.retry(delivery.key)
    assert not outbox.drop(delivery.key)


def test_a_delivery_to_be_tried_again_waits_its_time(outbox: Outbox, clock: Clock) -> None:
    """After a temporary failure the delivery is due later, with its attempt counted and its reason kept."""
    outbox.put(notice(), ["mail"])
    delivery = outbox.claim("mail")
    assert delivery is not None
    outbox.settle(delivery, PENDING, error="450 busy", due_in_s=60)
    assert outbox.next_due_s("mail") == 60
    assert outbox.claim("mail", own=[delivery.key]) is None
    clock.now += 60
    again = outbox.claim("mail")
    assert again is not None
    assert (again.key, again.attempts, again.last_error) == (delivery.key, 1, "450 busy")


def test_a_failed_delivery_stays_for_a_person_to_decide(outbox: Outbox) -> None:
    """A permanent failure is not tried again by itself; a person may retry it, message and all, or drop it."""
    outbox.put(notice("first"), ["mail"])
    outbox.put(notice("second"), ["mail"])
    for _ in range(2):
        delivery = outbox.claim("mail")
        assert delivery is not None
        outbox.settle(delivery, FAILED, error="535 authentication failed")
    assert outbox.claim("mail") is None
    assert outbox.next_due_s("mail") is None
    assert outbox.waiting(["mail"]) == set()
    first, second = outbox.deliveries()
    assert (first.state, first.last_error, first.due_at) == (FAILED, "535 authentication failed", None)
    assert outbox.drop(first.key)
    assert outbox.retry(second.key)
    assert not outbox.retry(first.key)
    assert not outbox.drop(first.key)
    again = outbox.claim("mail")
    assert again is not None
    assert (again.message.subject, again.attempts) == ("second", 1)
    outbox.settle(again, SENT)
    assert outbox.deliveries() == []


def test_retrying_makes_a_waiting_delivery_due_now(outbox: Outbox) -> None:
    """A person need not wait for the backoff; but what is being sent stays with who sends it."""
    outbox.put(notice(), ["mail"])
    delivery = outbox.claim("mail")
    assert delivery is not None
    assert outbox.retry(delivery.key)
    assert outbox.claim("mail") is None
    outbox.settle(delivery, PENDING, due_in_s=3_600)
    assert outbox.retry(delivery.key)
    assert outbox.claim("mail") is not None


def test_where_a_delivery_stands_is_known(outbox: Outbox) -> None:
    """It can be asked where a delivery stands, and one that a person dropped has nothing left to do."""
    sent, failed, waiting, dropped = (outbox.put(notice(), ["mail"], claimed=True)[0] for _ in range(4))
    outbox.settle(sent, SENT)
    outbox.settle(failed, FAILED)
    outbox.drop(dropped.key)
    assert [outbox.state_of(each) for each in (sent, failed, waiting, dropped)] == [SENT, FAILED, PENDING, SENT]


def test_a_lease_ends(outbox: Outbox, clock: Clock) -> None:
    """When a claimer takes longer than its lease, the delivery can be claimed again."""
    outbox.put(notice(), ["mail"])
    first = outbox.claim("mail")
    assert outbox.next_due_s("mail") == LEASE_S
    clock.now += LEASE_S
    assert outbox.next_due_s("mail") == 0
    assert outbox.claim("mail") == first


def test_a_lease_can_begin_anew(outbox: Outbox, clock: Clock) -> None:
    """Who sends late renews its lease first, and learns when the delivery is no longer to be sent."""
    (delivery,) = outbox.put(notice(), ["mail"], claimed=True)
    clock.now += LEASE_S - 1
    assert outbox.renew(delivery)
    clock.now += LEASE_S - 1
    assert outbox.claim("mail") is None
    outbox.settle(delivery, SENT)
    assert not outbox.renew(delivery)


def test_what_an_earlier_attempt_says_late_is_ignored(outbox: Outbox, clock: Clock) -> None:
    """Once a second claimer has settled an attempt, the first one's failure counts no more, but its success does."""
    outbox.put(notice(), ["mail"])
    slow = outbox.claim("mail")
    clock.now += LEASE_S
    quick = outbox.claim("mail")
    assert slow is not None
    assert quick is not None
    outbox.settle(quick, PENDING, error="450 busy")
    outbox.settle(slow, FAILED, error="550 no")
    (waiting,) = outbox.deliveries()
    assert (waiting.state, waiting.attempts, waiting.last_error) == (PENDING, 1, "450 busy")
    outbox.settle(slow, SENT)
    assert outbox.deliveries() == []


def test_who_has_something_waiting_is_known(outbox: Outbox, clock: Clock) -> None:
    """One question tells which handlers have pending deliveries, claimed or not due included."""
    outbox.put(notice(), ["mail", "chat", "claimed"])
    outbox.claim("claimed")
    chat = outbox.claim("chat")
    assert chat is not None
    outbox.settle(chat, SENT)
    assert outbox.waiting(["mail", "chat", "claimed", "unknown"]) == {"mail", "claimed"}
    assert outbox.waiting([]) == set()
    assert outbox.next_due_s("unknown") is None
    assert outbox.next_due_s("mail") == 0


def test_a_person_sees_what_waits(outbox: Outbox) -> None:
    """Deliveries are listed oldest first with what a person needs to decide, and no more than asked for."""
    written_at = datetime(2025, 11, 24, 2, 0, tzinfo=UTC)
    message = notice("Night run", kind=Kind.FAILURE, created_at=written_at)
    keys = [each.key for each in outbox.put(message, ["mail", "chat"])]
    outbox.claim("chat")
    mail, chat = outbox.deliveries()
    assert (mail.key, chat.key) == tuple(keys)
    assert (mail.subject, mail.kind, mail.message_id, mail.created_at) == (
        "Night run",
        Kind.FAILURE,
        message.id,
        written_at,
    )
    assert (mail.handler, mail.state, mail.attempts, mail.last_error) == ("mail", PENDING, 0, "")
    assert (mail.is_claimed, chat.is_claimed) == (False, True)
    assert mail.due_at is not None
    assert [each.key for each in outbox.deliveries(limit=1)] == keys[:1]


def test_threads_claim_each_delivery_once(outbox: Outbox) -> None:
    """However many threads claim at once, each delivery goes to one of them."""
    expected = {outbox.put(notice(), ["mail"])[0].key for _ in range(60)}
    claimed: list[int] = []

    def work() -> None:
        while (delivery := outbox.claim("mail")) is not None:
            claimed.append(delivery.key)
            outbox.settle(delivery, SENT)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE_S)
    assert sorted(claimed) == sorted(expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("sort", ["MemoryOutbox()", "open_journal(sys.argv[1])"])
def test_a_forked_child_sends_nothing_of_its_parent(state: Path, sort: str) -> None:
    """What the parent has in hand is the parent's to send; what the child puts is its own."""
    code = (
        "import os, sys\n"
        "from supervisor._store import MemoryOutbox, open_journal; from supervisor.models import MessageDetails\n"
        f"outbox = {sort}\n"
        "(first,) = outbox.put(MessageDetails('parent'), ['mail'], claimed=True)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    assert outbox.claim('mail') is None\n"
        "    (own,) = outbox.put(MessageDetails('child'), ['mail'])\n"
        "    assert outbox.claim('mail', own=[own.key]).message.subject == 'child'\n"
        "    outbox.close()\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "outbox.renew(first) or sys.exit('the child took it')\n"
        "outbox.close()\n"
    )
    output_of(python(code, state))


# On disk


def test_what_was_accepted_is_there_after_reopening(journal: Journal, state: Path) -> None:
    """Another process finds what was accepted, with its attempts."""
    journal.put(notice("a"), ["mail"])
    delivery = journal.claim("mail")
    assert delivery is not None
    journal.settle(delivery, PENDING, error="450")
    journal.close()
    code = (
        "import sys; from supervisor._store import open_journal; journal = open_journal(sys.argv[1])\n"
        "delivery = journal.claim('mail'); print(delivery.message.subject, delivery.attempts, delivery.last_error)\n"
        "journal.close()\n"
    )
    assert output_of(python(code, state)).split() == ["a", "1", "450"]


CLAIMER = """
import sys
from supervisor._store import open_journal
journal = open_journal(sys.argv[1])
print(journal.claim("mail").key, flush=True)
sys.stdin.readline()
"""


def test_a_killed_claimer_s_delivery_is_free_at_once(state: Path) -> None:
    """While the claimer lives nobody else gets the delivery; after SIGKILL the next claim does, with the same id."""
    journal = open_journal(state)
    (delivery,) = journal.put(notice(), ["mail"])
    claimer = python(CLAIMER, state)
    assert int(first_line_of(claimer)) == delivery.key
    assert journal.claim("mail") is None
    assert 0 < (journal.next_due_s("mail") or 0) <= LEASE_S
    assert journal.deliveries()[0].is_claimed
    kill(claimer)
    assert not journal.deliveries()[0].is_claimed
    assert journal.next_due_s("mail") == 0
    again = journal.claim("mail")
    assert again is not None
    assert again.message.id == delivery.message.id
    journal.close()


def test_who_lost_the_lease_to_another_process_has_no_say(state: Path, clock: Clock) -> None:
    """When another process holds the delivery meanwhile, a late failure does not free it, and renewing is refused."""
    slow, quick = (Journal(state, clock=clock, this=_process(n), gone=lambda _: False) for n in (1, 2))
    slow.put(notice(), ["mail"])
    late = slow.claim("mail")
    clock.now += LEASE_S
    assert quick.claim("mail") is not None
    assert late is not None
    assert not slow.renew(late)
    slow.settle(late, PENDING, error="450")
    assert slow.claim("mail") is None
    assert quick.deliveries()[0].attempts == 0
    slow.close()
    quick.close()


def _process(number: int):  # type: ignore[no-untyped-def] # noqa: ANN202 - a stand-in
    from supervisor._places import hostname
    from supervisor._store.processes import Process

    return lambda: Process(hostname(), number, "start")


SENDER = """
import sys
from supervisor._store import open_journal
from supervisor._models import DeliveryState
journal = open_journal(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
while (delivery := journal.claim("mail")) is not None:
    print(delivery.message.subject, flush=True)
    journal.settle(delivery, DeliveryState.SENT)
journal.close()
"""


def test_processes_that_flush_at_once_claim_each_delivery_once(state: Path) -> None:
    """Of several processes that empty the outbox at once, each delivery is claimed by exactly one."""
    journal = open_journal(state)
    with journal.one_commit():
        for n in range(120):
            journal.put(notice(str(n)), ["mail"])
    senders = [python(SENDER, state) for _ in range(4)]
    for each in senders:
        assert first_line_of(each) == "ready"
    for each in senders:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    sent = [subject for each in senders for subject in output_of(each).split()]
    assert sorted(map(int, sent)) == list(range(120))
    assert journal.deliveries() == []
    journal.close()


def test_a_clock_set_back_holds_nothing_up(journal: Journal, clock: Clock) -> None:
    """When the clock is set back by a day, what waits is due and not a day later; times are never negative."""
    journal.put(notice(), ["mail"])
    delivery = journal.claim("mail")
    assert delivery is not None
    journal.settle(delivery, PENDING, due_in_s=60)
    clock.now -= 86_400
    assert journal.next_due_s("mail") == 0
    assert journal.claim("mail") is not None


def test_what_nobody_can_read_does_not_block_the_rest(journal: Journal) -> None:
    """A row with a message of another make fails for good, with the reason, and the next one is claimed."""
    journal.put(notice("spoilt"), ["mail"])
    journal.put(notice("sound"), ["mail"])
    with journal.one_commit() as connection:
        connection.execute("UPDATE delivery SET body = ? WHERE subject = 'spoilt'", (b'{"$": "Unheard", "v": 1}',))
    delivery = journal.claim("mail")
    assert delivery is not None
    assert delivery.message.subject == "sound"
    spoilt = journal.deliveries()[0]
    assert (spoilt.subject, spoilt.state) == ("spoilt", FAILED)
    assert "cannot be read" in spoilt.last_error


def test_a_settled_message_leaves_no_text_behind(journal: Journal) -> None:
    """Once a handler has sent a message, or a person dropped it, its text is gone; the others still have it."""
    journal.put(notice(message="private"), ["mail", "chat", "hook"])
    gone = "SELECT body IS NULL FROM delivery ORDER BY key"
    mail, chat = journal.claim("mail"), journal.claim("chat")
    assert mail is not None
    assert chat is not None
    journal.settle(chat, SENT)
    assert journal._database.rows(gone) == [(0,), (1,), (0,)]
    journal.settle(mail, FAILED)
    assert journal._database.rows(gone) == [(0,), (1,), (0,)]
    journal.drop(mail.key)
    assert journal._database.rows(gone) == [(1,), (1,), (0,)]
    hook = journal.claim("hook")
    assert hook is not None
    assert hook.message.message == "private"


def test_sent_deliveries_are_remembered_only_so_long(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records of sent deliveries are bounded; what waits or failed is never forgotten by itself."""
    monkeypatch.setattr("supervisor._store.sqlite.outbox.KEEP_SENT", 10)
    with journal.one_commit():
        journal.put(notice("waits"), ["chat"])
        for n in range(600):
            (delivery,) = journal.put(notice(str(n)), ["mail"], claimed=True)
            journal.settle(delivery, SENT)
    assert journal._database.rows("SELECT count(*) FROM delivery")[0][0] < 300
    assert [each.subject for each in journal.deliveries()] == ["waits"]


def test_a_relative_attachment_is_found_from_anywhere(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path counts from the directory in which the message was written."""
    monkeypatch.chdir(tmp_path)
    (delivery,) = journal.put(notice(attachments=["report.csv"]), ["mail"])
    assert delivery.message.attachments == (Attachment(Path("report.csv")),)
    monkeypatch.chdir("/")
    claimed = journal.claim("mail")
    assert claimed is not None
    assert [(each.path, each.name) for each in claimed.message.attachments] == [(tmp_path / "report.csv", "report.csv")]


def test_the_file_holds_no_more_than_the_message_and_names(journal: Journal) -> None:
    """The rows of an outbox hold handlers' names and messages; there is no place for a credential."""
    assert {column for (_, column, *_) in journal._database.rows("PRAGMA table_info(delivery)")} == {
        "key",
        "handler",
        "state",
        "attempts",
        "due_at",
        "changed_at",
        "lease_until",
        "claimer_host",
        "claimer_pid",
        "claimer_started",
        "last_error",
        "message_id",
        "kind",
        "created_at",
        "subject",
        "body",
        "failed_at",
        "passed_over",
        "sending_at",
        "doubts",
        "failing_s",
        "run_name",
        "is_unreported",
        "held_until",
        "held_for",
        "reason",
        "passed_to",
    }


def test_the_questions_of_every_run_use_an_index(journal: Journal) -> None:
    """What a run asks at its start does not read whole tables, however many runs and deliveries there are."""
    from supervisor._store.sqlite import outbox, outbox_reader

    rows = journal._database.rows
    questions: list[tuple[object, ...]] = [
        (outbox._IS_ANY_DUE, ("mail", NOON, NOON, "mail", NOON, NOON)),
        (f"{outbox._DUE} AND {outbox_reader.URGENT_SQL} ORDER BY key", ("mail", NOON, NOON)),
        (f"{outbox._DUE} ORDER BY key", ("mail", NOON, NOON)),
    ]

    def note(*question: object) -> list[object]:
        questions.append(question)
        return []

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(journal._database, "rows", note)
        journal.last_run("nightly")
        journal.died_runs("nightly")
    assert len(questions) == 5
    for sql, parameters in questions:
        plan = " ".join(row[3] for row in rows(f"EXPLAIN QUERY PLAN {sql}", parameters))  # type: ignore[arg-type]
        assert "USING INDEX" in plan or "USING COVERING INDEX" in plan, plan
        assert "SCAN delivery" not in plan
        assert "SCAN run" not in plan
        assert "TEMP B-TREE" not in plan
