"""An attempt whose answer nobody heard: the process left or was killed while the destination had the message."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
from journal_kit import Clock, notice, python
from smtp_peers import SILENT, MailServer
from waiting import wait_until

from supervisor import supervise
from supervisor._delivery.pool import pack_left
from supervisor._models import DeliveryState
from supervisor._places import hostname
from supervisor._redaction import Redactor
from supervisor._store import Journal, StartedRun
from supervisor._store.essentials import LEASE_S
from supervisor._store.processes import Process, this_process
from supervisor.message_handlers import EmailHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from subprocess import Popen

    from supervisor.models import Delivery

PATIENCE_S = 60.0
PENDING, FAILED = DeliveryState.PENDING, DeliveryState.FAILED

SCRIPT = """
import sys
from supervisor import supervise
from supervisor.message_handlers import EmailHandler
mail = EmailHandler(smtp_server="127.0.0.1", smtp_port=int(sys.argv[1]), security="none", name="mail",
                    from_address="a@example.com", to_addresses="b@example.com")
with supervise("night", handlers=[mail], delivery_deadline_s=float(sys.argv[3])) as run:
    if sys.argv[2]:
        run.notify(sys.argv[2])
        input()
"""


@pytest.fixture
def server() -> Iterator[MailServer]:
    """Return a mail server that takes each mail and does not say so, until it is told otherwise."""
    with MailServer() as server:
        server.goes_wrong("END", SILENT, always=True)
        yield server


@pytest.fixture
def start(server: MailServer) -> Iterator[Callable[..., Popen[str]]]:
    """Return what starts a script: with the subject of its notice, and the deadline for its deliveries.

    One with a notice does not come to the end of its run before it may read a line.
    """
    with ExitStack() as stack:

        def started(subject: str = "", deadline_s: float = 0) -> Popen[str]:
            process = stack.enter_context(python(SCRIPT, server.port, subject, deadline_s))
            stack.callback(process.kill)
            return process

        yield started


def output_of(process: Popen[str], given: str = "") -> str:
    """Wait for a script that must end well, and return what it printed."""
    output, errors = process.communicate(given, timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    return output


def waiting(state: Path) -> list[tuple[DeliveryState, int, bool, str]]:
    """Return what the journal says of each delivery that was not sent."""
    with closing(Journal(state)) as journal:
        return [(each.state, each.attempts, each.is_claimed, each.last_error) for each in journal.deliveries()]


def test_an_attempt_that_a_process_left_in_the_middle_is_counted_and_backs_off(
    state: Path, server: MailServer, start: Callable[..., Popen[str]]
) -> None:
    """The next process finds that nobody heard the answer: it counts the attempt and lets the destination rest."""
    first = start("hello")
    wait_until(lambda: server.arrived)
    output_of(first, "\n")
    assert waiting(state) == [(PENDING, 0, False, "")]
    start(deadline_s=PATIENCE_S)
    wait_until(lambda: len(server.arrived) == 2)
    with closing(Journal(state)) as journal:
        rest = journal.rest_of("mail")
        assert rest is not None
        assert (rest.failures, rest.is_tried) == (1, True)
        assert "before the answer came" in rest.last_error
    [(_, attempts, is_claimed, error)] = waiting(state)
    assert (attempts, is_claimed) == (1, True)
    assert "may have arrived" in error


def test_a_killed_sender_leaves_a_doubt_and_the_repeat_has_the_same_id(
    server: MailServer, start: Callable[..., Popen[str]]
) -> None:
    """SIGKILL between the last byte and the answer: the mail is sent once more, after a rest, with the same id."""
    sender = start("hello")
    wait_until(lambda: server.arrived)
    sender.kill()
    sender.wait(PATIENCE_S)
    server.goes_wrong("END")
    output_of(start(deadline_s=PATIENCE_S))
    ids = [each.mail["Message-ID"] for each in server.arrived if "hello" in each.mail["Subject"]]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_after_three_repeats_in_doubt_it_counts_as_failed(journal: Callable[..., Journal]) -> None:
    """One attempt and three repeats are made; then it is failed and says why, and a person may have it sent again."""
    clock = Clock()
    journal(clock).put(notice(), ["mail"])
    for doubts in range(4):
        sender = journal(clock, Process("host", 1_000 + doubts, "x"))
        sent = claimed(sender)
        assert (sent.doubts, sent.is_in_doubt) == (doubts, False)
        assert sender.renew(sent, is_sent_now=True)
        finder = journal(clock)
        found = claimed(finder)
        assert (found.doubts, found.is_in_doubt) == (doubts + 1, True)
        finder.settle(found, PENDING if doubts < 3 else FAILED, error="unheard", due_in_s=1, rests=doubts < 3)
        clock.now += 1
    assert finder.claim("mail") is None
    assert finder.retry(sent.key)
    assert claimed(finder).doubts == 0


def test_the_worker_gives_up_what_was_in_doubt_too_often(state: Path, server: MailServer) -> None:
    """A run finds the fourth attempt that nobody heard: no mail goes, the delivery is failed and logged."""
    gone = Process(hostname(), 2**31 - 1, "x")
    with closing(Journal(state, this=lambda: gone)) as journal:
        journal.put(notice(), ["mail"])
        for _ in range(3):
            journal.renew(claimed(journal), is_sent_now=True)
            journal.settle(claimed(journal), PENDING, error="unheard")
        journal.renew(claimed(journal), is_sent_now=True)
    mail = EmailHandler(
        smtp_server="127.0.0.1",
        smtp_port=server.port,
        security="none",
        name="mail",
        from_address="a@example.com",
        to_addresses="b@example.com",
    )
    with supervise("night", handlers=[mail], delivery_deadline_s=PATIENCE_S):
        pass
    [(found_state, _, _, error)] = waiting(state)
    assert found_state is FAILED
    assert "before the answer" in error
    assert not server.arrived
    with closing(Journal(state)) as journal:
        assert len(journal.given_up_unreported()) == 1, "the next message says what was given up"


def test_a_live_sender_keeps_its_lease_however_long_the_answer_takes(journal: Callable[..., Journal]) -> None:
    """A lease ends after 300 s, but not that of a process that lives and waits for the answer."""
    clock = Clock()
    sender = journal(clock, this_process(), is_real=True)
    (queued, sent) = (*sender.put(notice(), ["queued"]), *sender.put(notice(), ["sent"]))
    assert sender.claim("queued")
    assert sender.claim("sent")
    assert sender.renew(sent, is_sent_now=True)
    clock.now += LEASE_S + 1
    other = journal(clock, is_real=True)
    assert other.claim("sent") is None
    due_s = other.next_due_s("sent")
    assert due_s
    assert [each.is_claimed for each in other.deliveries()] == [False, True]
    found = other.claim("queued")
    assert found is not None
    assert found.key == queued.key


def test_a_sign_of_life_renews_the_lease_where_nobody_can_look(journal: Callable[..., Journal]) -> None:
    """A sender on another machine that waits for the answer keeps what it sends, and no more."""
    clock = Clock()
    here, there = Process("pod-1", 7, "a:1"), Process("pod-2", 7, "b:1")
    sender = journal(clock, here, is_real=True)
    sender.start_run(StartedRun(id="1", name="night", started_at_s=clock.now, heartbeat_s=60))
    (queued, sent) = (*sender.put(notice(), ["queued"]), *sender.put(notice(), ["sent"]))
    assert sender.claim("queued")
    assert sender.claim("sent")
    assert sender.renew(sent, is_sent_now=True)
    other = journal(clock, there, is_real=True)
    for _ in range(8):
        clock.now += 60
        sender.heartbeat("1", 60)
        assert other.claim("sent") is None
    found = other.claim("queued")
    assert found is not None
    assert found.key == queued.key
    clock.now += LEASE_S + 1
    found = other.claim("sent")
    assert found is not None
    assert found.is_in_doubt


def claimed(journal: Journal) -> Delivery:
    """Claim what there is."""
    delivery = journal.claim("mail")
    assert delivery is not None
    return delivery


@pytest.fixture
def journal(state: Path) -> Iterator[Callable[..., Journal]]:
    """Return what opens the journal as another process does; of the processes that are made up, none lives."""
    opened: list[Journal] = []

    def opened_by(clock: Clock, this: Process | None = None, *, is_real: bool = False) -> Journal:
        process = this or Process("host", 1, "x")
        found = (
            Journal(state, clock=clock, this=lambda: process)
            if is_real
            else Journal(state, clock=clock, this=lambda: process, gone=lambda _: True)
        )
        opened.append(found)
        return found

    yield opened_by
    for each in opened:
        each.close()


LEAVES = """
import os, sys, time
from supervisor import supervise
class Hangs:
    name = "nobody else has it"
    def send_message(self, details):
        print("sending", flush=True)
        time.sleep(3600)
with supervise("night", handlers=[Hangs()], delivery_deadline_s=3600) as run:
    run.notify("hello", attachments=[sys.argv[1]])
"""


def test_what_a_hanging_sender_left_as_it_was_is_redacted(state: Path, tmp_path: Path) -> None:
    """A copy that its process could neither send nor redact does not stay: the next check redacts it."""
    log = tmp_path / "load.log"
    log.write_text("password=hunter2\n" * 100)
    with python(LEAVES, log) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sending\n"
        assert raw_copies(state, b"hunter2")
        with closing(Journal(state)) as journal:
            pack_left(journal, Redactor)
            assert raw_copies(state, b"hunter2"), "it is being sent"
            process.kill()
            process.wait(PATIENCE_S)
            pack_left(journal, Redactor)
            [kept] = [each for each in (state / "outbox").rglob("*") if each.is_file()]
            assert b"password=" in kept.read_bytes()
            assert not raw_copies(state, b"hunter2")
            assert len(journal.deliveries()) == 1


def raw_copies(state: Path, secret: bytes) -> list[Path]:
    """Return the files of the outbox that hold a secret."""
    return [each for each in (state / "outbox").rglob("*") if each.is_file() and secret in each.read_bytes()]
