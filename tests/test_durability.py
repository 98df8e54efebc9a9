"""Nothing is lost: what was accepted arrives, whoever is down, killed or in a hurry. Real processes, real signals."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import sqlite3
import sys
import textwrap
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from scripts import KILLED, Ended, Script
from waiting import PATIENCE_S

from supervisor import supervise
from supervisor._models import DeliveryState
from supervisor._store import Journal, open_journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from supervisor import MessageDetails
    from supervisor._store import WaitingDelivery


HELPERS = """
import json, os, signal, threading, time
from supervisor import DeliveryError, MessageDetails

def append(path, line):
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, (line + "\\n").encode())
    os.close(file)

def die():
    os.kill(os.getpid(), 9)
    time.sleep(60)

def said(run, subject, message=""):
    run.notify(subject, message)
    append(os.environ["ACCEPTED"], subject)

def accepted(run, subject, message="", **fields):
    details = MessageDetails(subject, message, **fields)
    run.notify(details)
    append(os.environ["ACCEPTED"], details.id)

class Mail:
    name = "mail"
    def send_message(self, details):
        files = [[str(each.path), each.name, each.note] for each in details.attachments]
        facts = {"id": details.id, "kind": details.kind, "subject": details.subject, "message": details.message,
                 "pid": os.getpid(), "files": files}
        append(os.environ["MAIL"], json.dumps(facts))

class Down(Mail):
    def send_message(self, details):
        raise DeliveryError("the server is down")

mail, down = Mail(), Down()
"""


class Machine:
    """One machine, on which scripts run that share a mailbox and a journal.

    Args:
        folder: Where their files are.
        state: Where the journal is.
    """

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder = folder
        self.state = state
        self._mailbox = folder / "mail"
        self._accepted = folder / "accepted"
        self._started = 0

    def start(self, body: str, **environment: str) -> Script:
        """Start a script."""
        self._started += 1
        env = {"MAIL": str(self._mailbox), "ACCEPTED": str(self._accepted), **environment}
        folder = self.folder / f"script {self._started}"
        return Script(folder, HELPERS + textwrap.dedent(body), extra_env=env)

    def run(self, body: str, *, code: int = 0, **environment: str) -> Ended:
        """Run a script, which ends with this code."""
        ended = self.start(body, **environment).end()
        assert ended.code == code, ended.stderr
        return ended

    @property
    def mail(self) -> list[dict[str, Any]]:
        """Return what came to the mailbox."""
        lines = self._mailbox.read_text().splitlines() if self._mailbox.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def subjects(self) -> list[str]:
        """Return the subjects of what came to the mailbox."""
        return [each["subject"] for each in self.mail]

    @property
    def notices(self) -> list[str]:
        """Return the ids of the notices that came to the mailbox: all that the scripts said themselves."""
        return [each["id"] for each in self.mail if each["kind"] == "notice"]

    @property
    def accepted(self) -> list[str]:
        """Return the ids of the messages whose ``notify()`` has returned."""
        return self._accepted.read_text().split() if self._accepted.exists() else []

    @property
    def waiting(self) -> list[WaitingDelivery]:
        """Return what the journal knows to be pending or failed."""
        journal = open_journal(self.state)
        try:
            return journal.deliveries()
        finally:
            journal.close()

    @property
    def copies(self) -> list[Path]:
        """Return the copies of attachments that the journal knows.

        The worker and the run that ends may both make one; a process that is gone by then leaves the other for later.
        """
        with closing(sqlite3.connect(self.state / "journal.sqlite3")) as connection:
            folders = connection.execute("SELECT folder FROM attachment_copy WHERE folder IS NOT NULL").fetchall()
        return [each for (folder,) in folders for each in (self.state / "outbox" / folder).iterdir()]

    def sql(self, statement: str, *parameters: object) -> None:
        """Change the journal behind everybody's back: let time pass."""
        connection = sqlite3.connect(self.state / "journal.sqlite3", timeout=PATIENCE_S)
        with connection:
            connection.execute(statement, parameters)
        connection.close()

    def let_all_be_due(self) -> None:
        """Let so much time pass that all that waits is due."""
        self.sql("UPDATE delivery SET due_at = due_at - 7200 WHERE state = 'pending'")
        self.sql("UPDATE destination SET next_at = next_at - 7200")

    def let_pass(self, hours: float) -> None:
        """Let all that waits have been written so many hours earlier."""
        journal = sqlite3.connect(self.state / "journal.sqlite3")
        rows = journal.execute("SELECT key, created_at, body FROM delivery WHERE body IS NOT NULL").fetchall()
        journal.close()
        for key, created_at, body in rows:
            then = datetime.fromtimestamp(created_at, UTC)
            now, before = then.isoformat().encode(), (then - timedelta(hours=hours)).isoformat().encode()
            assert now in body
            self.sql("UPDATE delivery SET body = ? WHERE key = ?", body.replace(now, before), key)
        self.let_all_be_due()


@pytest.fixture
def machine(tmp_path: Path, state: Path) -> Machine:
    """Return a machine with an empty mailbox."""
    return Machine(tmp_path, state)


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    """Return the journal of the scripts."""
    journal = open_journal(state)
    yield journal
    journal.close()


SAYS_HELLO = """
    with supervise("night", handlers=[{handler}], delivery_deadline_s={deadline_s}) as run:
        accepted(run, "hello", "text")
"""
LATER = """
    with supervise("later", handlers=[mail]) as run:
        pass
"""


# A destination that is down


def test_a_message_outlives_a_handler_that_is_down(machine: Machine) -> None:
    """While a handler is down, the run ends at its deadline and the message waits; the next run delivers it."""
    before_s = time.monotonic()
    ended = machine.run(SAYS_HELLO.format(handler="down", deadline_s=0.5))
    assert time.monotonic() - before_s < 25
    assert "not delivered yet: 'hello' to mail" in ended.stderr
    (waiting,) = machine.waiting
    assert (waiting.handler, waiting.state, waiting.subject) == ("mail", DeliveryState.PENDING, "hello")
    assert waiting.last_error == "the server is down"
    assert waiting.attempts >= 1
    machine.let_all_be_due()
    assert machine.run(LATER).stderr == ""
    (message,) = machine.mail
    assert [message["id"]] == machine.accepted
    assert message["message"] == "text"
    assert machine.waiting == []
    machine.run(LATER)
    assert len(machine.mail) == 1


def test_a_message_that_waited_for_long_says_so(machine: Machine) -> None:
    """A message that is delivered hours later by another process begins with when and where it was written."""
    machine.run(SAYS_HELLO.format(handler="down", deadline_s=0.2))
    machine.let_pass(hours=3)
    machine.run(LATER)
    (message,) = machine.mail
    assert [message["id"]] == machine.accepted
    assert message["message"].startswith("Delayed 3 h")
    assert ": written " in message["message"]
    assert f" on {socket.gethostname()}." in message["message"]
    assert message["message"].endswith("\n\ntext")


def test_only_a_handler_of_the_same_name_delivers_it(machine: Machine) -> None:
    """What waits for one handler is not given to another."""
    machine.run(SAYS_HELLO.format(handler="down", deadline_s=0.2))
    machine.let_all_be_due()
    machine.run("""
        class Other(Mail): name = "other"
        with supervise("later", handlers=[Other()]): pass
    """)
    assert machine.mail == []
    assert len(machine.waiting) == 1


def test_a_failure_is_kept_like_a_notice(machine: Machine) -> None:
    """The failure of a run whose handler is down is sent by the next run, and the script's exception left it."""
    ended = machine.run(
        """
        with supervise("night", handlers=[down], delivery_deadline_s=0.2):
            raise KeyError("apn")
        """,
        code=1,
    )
    assert "KeyError: 'apn'" in ended.stderr
    machine.let_all_be_due()
    machine.run(LATER)
    (message,) = machine.mail
    assert message["kind"] == "failure"
    assert "KeyError" in message["subject"]


def test_what_waits_is_delivered_oldest_first_and_delays_nothing(machine: Machine) -> None:
    """A backlog goes out in the order of its acceptance, and the run's own messages do not queue behind it."""
    machine.run("""
        with supervise("night", handlers=[down], delivery_deadline_s=0) as run:
            for i in range(30):
                accepted(run, f"old {i}")
    """)
    machine.let_all_be_due()
    machine.run("""
        class Slow(Mail):
            def send_message(self, details):
                time.sleep(0.05)
                super().send_message(details)
        with supervise("later", handlers=[Slow()]) as run:
            accepted(run, "own 1")
            accepted(run, "own 2")
    """)
    assert [each for each in machine.subjects if each.startswith("old")] == [f"old {i}" for i in range(30)]
    assert machine.subjects.index("own 1") < 25
    assert machine.subjects.index("own 2") < 26
    assert sorted(machine.notices) == sorted(machine.accepted)


def test_one_attempt_tells_that_a_destination_is_still_down(machine: Machine) -> None:
    """A run that finds a backlog and the destination still down tries it once, and does not wait for the rest."""
    machine.run("""
        with supervise("night", handlers=[down], delivery_deadline_s=0) as run:
            for i in range(20):
                accepted(run, f"old {i}")
    """)
    machine.let_all_be_due()
    before = sum(each.attempts for each in machine.waiting)
    machine.run(LATER.replace("mail", "down"))
    assert sum(each.attempts for each in machine.waiting) - before <= 5
    assert len(machine.waiting) == 20


def test_what_a_destination_asks_for_is_kept_between_processes(machine: Machine) -> None:
    """``retry_after_s`` holds for the next process too: it does not try before that, and does after."""
    machine.run("""
        class Busy(Mail):
            def send_message(self, details):
                raise DeliveryError("busy", retry_after_s=3600)
        with supervise("night", handlers=[Busy()]) as run:
            accepted(run, "hello")
    """)
    (waiting,) = machine.waiting
    assert waiting.attempts == 1
    assert waiting.due_at is not None
    assert 3000 < (waiting.due_at - datetime.now(UTC)).total_seconds() <= 3600
    machine.run(LATER)
    assert machine.mail == []
    machine.let_all_be_due()
    machine.run(LATER)
    assert machine.notices == machine.accepted


def test_smtp_that_refuses_is_kept_and_bounded(machine: Machine) -> None:
    """A mail server that nobody runs costs a run no more than its deadline, and the message waits."""
    deadline_s = 6 if sys.platform == "win32" else 1  # there, a refused connection is tried for 2 s
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        before_s = time.monotonic()
        machine.run(f"""
            from supervisor.message_handlers import EmailHandler
            handler = EmailHandler(smtp_server="127.0.0.1", smtp_port={port}, security="none", name="mail",
                                   from_address="me@example.com", to_addresses="you@example.com")
            with supervise("night", handlers=[handler], delivery_deadline_s={deadline_s}) as run:
                accepted(run, "hello")
        """)
        assert time.monotonic() - before_s < 25
    (waiting,) = machine.waiting
    assert waiting.state is DeliveryState.PENDING
    assert "127.0.0.1" in waiting.last_error
    machine.let_all_be_due()
    machine.run(LATER)
    assert machine.notices == machine.accepted


def test_what_is_refused_for_good_is_recorded_and_not_repeated(machine: Machine, journal: Journal) -> None:
    """A permanent failure is tried once in all, stays for a person to see, and goes out when that person says so."""
    machine.run("""
        class Refuses(Mail):
            def send_message(self, details):
                append(os.environ["MAIL"] + " refused", details.id)
                raise DeliveryError("535 bad password", permanent=True)
        refuses = Refuses()
        for night in range(2):
            with supervise("night", handlers=[refuses]) as run:
                if not night:
                    accepted(run, "hello")
    """)
    machine.run(LATER)
    assert machine.mail == []
    (failed,) = journal.deliveries()
    assert (failed.state, failed.attempts, failed.due_at) == (DeliveryState.FAILED, 1, None)
    assert "535 bad password" in failed.last_error
    assert (machine.folder / "mail refused").read_text().split() == [failed.message_id]
    assert journal.retry(failed.key)
    machine.run(LATER)
    assert machine.notices == machine.accepted == [failed.message_id]
    assert journal.deliveries() == []


def test_one_handler_down_does_not_repeat_the_other(machine: Machine) -> None:
    """Of two handlers the one that was down gets the message later, the one that had it does not get it again."""
    machine.run("""
        class Other(Mail): name = "other"
        with supervise("night", handlers=[Other(), down], delivery_deadline_s=0.2) as run:
            accepted(run, "hello")
    """)
    assert machine.notices == machine.accepted
    machine.let_all_be_due()
    machine.run("""
        class Other(Mail): name = "other"
        with supervise("later", handlers=[Other(), mail]): pass
    """)
    assert machine.notices == machine.accepted * 2
    assert machine.waiting == []


def test_a_process_that_lives_on_delivers_with_its_next_run(machine: Machine) -> None:
    """A process whose run gave up waiting delivers beside what it does next, once, when the destination is up again."""
    machine.run("""
        class Wakes(Mail):
            is_up = False
            def send_message(self, details):
                if not Wakes.is_up: raise OSError("down")
                super().send_message(details)
        with supervise("night", handlers=[Wakes()], delivery_deadline_s=0.2) as run:
            accepted(run, "hello")
        Wakes.is_up = True
        for i in range(3):
            time.sleep(1)
            with supervise("night", handlers=[Wakes()]) as run:
                accepted(run, f"later {i}")
    """)
    assert sorted(machine.notices) == sorted(machine.accepted)
    assert machine.waiting == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_last_wait_loses_nothing(machine: Machine, number: int) -> None:
    """SIGTERM or Ctrl+C while a run waits for its messages ends it at once, and the messages wait for the next run."""
    script = machine.start("""
        class Hangs(Mail):
            def send_message(self, details): time.sleep(60)
        with supervise("night", handlers=[Hangs()], delivery_deadline_s=50) as run:
            accepted(run, "hello")
            ready()
    """)
    before_s = time.monotonic()
    script.send_when_ready(number)
    script.end()
    assert time.monotonic() - before_s < 25
    machine.run(LATER)
    assert machine.notices == machine.accepted
    assert len(machine.accepted) == 1


REMOVES_THE_JOURNAL = pytest.param(
    "shutil.rmtree(os.environ['SUPERVISOR_STATE'])",
    id="removed",
    marks=pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there"),
)


@pytest.mark.parametrize("loss", [pytest.param("pass", id="kept"), REMOVES_THE_JOURNAL])
def test_a_message_outlives_its_lease_in_the_queue(machine: Machine, loss: str) -> None:
    """A message that waits its turn behind a slow one for longer than its lease goes out once, row or no row."""
    machine.run(f"""
        import shutil
        import supervisor._delivery.worker
        from supervisor._store import Journal
        supervisor._delivery.worker.LEASE_S = 0.4
        Journal.__init__.__kwdefaults__["lease_s"] = 0.4
        class Slow(Mail):
            def send_message(self, details):
                time.sleep(1)
                super().send_message(details)
        with supervise("night", handlers=[Slow()]) as run:
            accepted(run, "hello 1")
            accepted(run, "hello 2")
            {loss}
    """)
    assert machine.notices == machine.accepted
    assert len(machine.accepted) == 2
    assert machine.waiting == []


# Attachments


def test_a_kept_log_is_delivered_when_the_original_is_gone(machine: Machine) -> None:
    """The log of a message that waits is kept as a compressed copy, goes out with it later, and is then deleted."""
    text = "".join(f"{i} rows loaded\n" for i in range(80_000))
    log = machine.folder / "night.log"
    log.write_bytes(text.encode())
    machine.run(
        """
        import pathlib
        try:
            with supervise("night", handlers=[down], delivery_deadline_s=0.2, log_path=os.environ["LOG"]):
                raise KeyError("apn")
        finally:  # it is taken within the deadline, or soon after, and the worker packs it after its attempt
            outbox, until = pathlib.Path(os.environ["SUPERVISOR_STATE"], "outbox"), time.monotonic() + 30
            def is_packed():
                folders = [each.parent.name for each in outbox.glob("*/*/*")]
                return folders and not any(each.endswith("-as-it-is") for each in folders)
            while not is_packed() and time.monotonic() < until: time.sleep(0.01)
        """,
        code=1,
        LOG=str(log),
    )
    log.unlink()
    (copy,) = machine.copies
    assert copy.stat().st_size < len(text) / 5
    if sys.platform != "win32":  # there are no modes
        assert copy.stat().st_mode & 0o777 == 0o600
    machine.let_all_be_due()
    machine.run("""
        import shutil
        class Keeps(Mail):
            def send_message(self, details):
                super().send_message(details)
                for each in details.attachments:
                    shutil.copy(each.path, os.environ["MAIL"] + " " + each.name)
        with supervise("later", handlers=[Keeps()]): pass
    """)
    ((_, name, _),) = machine.mail[0]["files"]
    assert name == "night.log.gz"
    assert gzip.decompress((machine.folder / f"mail {name}").read_bytes()).decode() == text
    assert machine.copies == []
    assert not copy.exists()


# Killed


BEFORE_PUT = """
    from supervisor._store import Journal
    Journal.put = lambda *args, **kwargs: die()
"""
WHILE_IT_IS_PUT = """
    from supervisor._store import Journal
    def dies_in(put):
        def put_and_die(self, *args, **kwargs):
            with self.one_commit():
                put(self, *args, **kwargs)
                die()
        return put_and_die
    Journal.put = dies_in(Journal.put)
"""
AFTER_PUT = """
    from supervisor._delivery.worker import Worker
    Worker.submit = lambda *args: die()
"""
DURING_SEND = """
    class Mail(Mail):
        def send_message(self, details):
            returned.wait(60)
            die()
    mail = Mail()
"""
AFTER_SEND = """
    class Mail(Mail):
        def send_message(self, details):
            returned.wait(60)
            super().send_message(details)
            die()
    mail = Mail()
"""
BEFORE_SETTLE = """
    from supervisor._store import Journal
    def settle(*args, **kwargs):
        returned.wait(60)
        die()
    Journal.settle = settle
"""
WHILE_IT_IS_SETTLED = """
    from supervisor._store import Journal
    settle = Journal.settle
    def settle_and_die(self, *args, **kwargs):
        returned.wait(60)
        with self.one_commit():
            settle(self, *args, **kwargs)
            die()
    Journal.settle = settle_and_die
"""
AFTER_SETTLE = """
    from supervisor._store import Journal
    settle = Journal.settle
    def settle_and_die(*args, **kwargs):
        returned.wait(60)
        settle(*args, **kwargs)
        die()
    Journal.settle = settle_and_die
"""


@pytest.mark.parametrize(
    ("step", "is_accepted", "times"),
    [
        (BEFORE_PUT, False, 0),
        (WHILE_IT_IS_PUT, False, 0),
        (AFTER_PUT, False, 1),
        (DURING_SEND, True, 1),
        (AFTER_SEND, True, 2),
        (BEFORE_SETTLE, True, 2),
        (WHILE_IT_IS_SETTLED, True, 2),
        (AFTER_SETTLE, True, 1),
    ],
    ids=[
        "before put",
        "while it is put",
        "after put",
        "during send",
        "after send",
        "before settle",
        "while it is settled",
        "after settle",
    ],
)
@pytest.mark.parametrize("how", ["accepted", "said"])
def test_a_kill_loses_nothing(machine: Machine, step: str, is_accepted: bool, times: int, how: str) -> None:
    """Wherever SIGKILL falls, what was accepted arrives; only after a send is it repeated, with the same id."""
    speaks = f"""
        with supervise("night", handlers=[mail]) as run:
            {how}(run, "hello")
            returned.set()
            time.sleep(60)
    """
    body = f"returned = threading.Event()\n{textwrap.dedent(step)}\n{textwrap.dedent(speaks)}"
    machine.run(body, code=KILLED)
    assert len(machine.accepted) == is_accepted
    machine.run(LATER)
    assert len(machine.notices) == times
    assert len(set(machine.notices)) == min(times, 1)
    assert set(machine.accepted) <= {*machine.notices, *machine.subjects}
    assert machine.waiting == []
    machine.run(LATER)
    assert len(machine.notices) == times


def test_a_kill_at_the_end_loses_neither_failure_nor_record(machine: Machine, journal: Journal) -> None:
    """A process that is killed while its last words are on their way has both its failure and its end on record."""
    machine.run(
        DURING_SEND.replace("returned.wait(60)", "time.sleep(0.5)").replace("\n    ", "\n")
        + textwrap.dedent("""
            with supervise("night", handlers=[mail]):
                raise KeyError("apn")
        """),
        code=KILLED,
    )
    assert [each.report.outcome for each in journal.runs("night")] == ["failure"]
    machine.run(LATER)
    assert [each["kind"] for each in machine.mail] == ["failure"]


SLOW_COMMITS = """
    from contextlib import contextmanager
    from supervisor._store import Journal
    one_commit = Journal.one_commit
    @contextmanager
    def slow(self):
        with one_commit(self):
            yield
            time.sleep(0.7)
    Journal.one_commit = slow
    class Kills(Mail):
        def send_message(self, details):
            super().send_message(details)
            die()
    kills = Kills()
"""


def test_a_failure_is_not_sent_before_it_is_stored(machine: Machine, journal: Journal) -> None:
    """A kill right after the first send of a failure has it on record: it is repeated with its id, not as a death."""
    speaks = """
        with supervise("night", handlers=[kills]):
            raise KeyError("apn")
    """
    machine.run(textwrap.dedent(SLOW_COMMITS) + textwrap.dedent(speaks), code=KILLED)
    assert [each.report.outcome for each in journal.runs("night")] == ["failure"]
    machine.run(LATER)
    assert [each["kind"] for each in machine.mail] == ["failure", "failure"]
    assert len({each["id"] for each in machine.mail}) == 1


def test_a_death_is_not_sent_before_it_is_stored(machine: Machine) -> None:
    """A kill right after the first send of a died run's message leaves it on record: it is repeated with its id."""
    machine.run(
        """
        with supervise("night", handlers=[mail]): die()
    """,
        code=KILLED,
    )
    speaks = """
        with supervise("night", handlers=[kills]):
            time.sleep(60)
    """
    machine.run(textwrap.dedent(SLOW_COMMITS) + textwrap.dedent(speaks), code=KILLED)
    first, *_ = machine.mail
    assert first["kind"] == "died"
    machine.run(LATER.replace("later", "night"))
    # The run that was killed while it reported the first one has died itself.
    died = [each for each in machine.mail if each["kind"] == "died"]
    assert [each["id"] for each in died].count(first["id"]) == 2
    assert len({each["message"] for each in died}) == len({each["id"] for each in died}) == 2


# Many at once


def test_notify_does_not_wait_for_its_handler(machine: Machine) -> None:
    """``notify()`` returns while the handler that gets the message has not: it waits here until the script went on."""
    machine.run("""
        went_on = threading.Event()
        class Waits(Mail):
            def send_message(self, details):
                assert went_on.wait(50), "notify() waits"
                super().send_message(details)
        with supervise("night", handlers=[Waits()]) as run:
            for i in range(3):
                accepted(run, str(i))
            went_on.set()
    """)
    assert machine.subjects == ["0", "1", "2"]


TOGETHER = """
    ready()
    while not os.path.exists(os.environ["MAIL"] + " go"): time.sleep(0.001)
"""


def together(machine: Machine, count: int, body: str) -> list[Ended]:
    """Run a script several times at once, all from the same instant on."""
    scripts = [machine.start(textwrap.dedent(TOGETHER) + textwrap.dedent(body)) for _ in range(count)]
    for script in scripts:
        script.wait_until_ready()
    (machine.folder / "mail go").touch()
    return [script.end() for script in scripts]


def test_eight_processes_write_the_journal_at_once(machine: Machine, journal: Journal) -> None:
    """Eight processes that run and speak at once meet no error, and each message is delivered exactly once."""
    ended = together(
        machine,
        8,
        """
        from supervisor import _runtime
        _runtime.JOURNAL_WAIT_S = 60.0  # on a busy machine eight writers may wait longer for their turn than a run does
        for _ in range(3):
            with supervise("night", handlers=[mail]) as run:
                for i in range(10):
                    accepted(run, str(i))
        """,
    )
    assert [(each.code, each.stderr) for each in ended] == [(0, "")] * 8
    assert len(machine.accepted) == 240
    assert sorted(machine.notices) == sorted(machine.accepted)
    assert journal.deliveries() == []
    assert Counter(each.report.outcome for each in journal.runs("night")) == {"success": 24}


def test_two_processes_share_what_waits(machine: Machine) -> None:
    """Two processes that find the same backlog at once deliver each message once between them, in order."""
    machine.run("""
        with supervise("night", handlers=[down], delivery_deadline_s=0) as run:
            for i in range(60):
                accepted(run, str(i))
    """)
    machine.let_all_be_due()
    ended = together(
        machine,
        2,
        """
        class Slow(Mail):
            def send_message(self, details):
                time.sleep(0.01)
                super().send_message(details)
        with supervise("later", handlers=[Slow()]): pass
        """,
    )
    assert [(each.code, each.stderr) for each in ended] == [(0, "")] * 2
    assert machine.notices == machine.accepted
    assert machine.waiting == []


def test_a_file_may_be_deleted_while_its_message_is_on_its_way(tmp_path: Path) -> None:
    """Nothing of ours has the script's file open, since Windows would neither delete nor replace it then."""
    may_go = threading.Event()
    arrived: list[int | None] = []

    class Slow:
        name = "slow"

        def send_message(self, details: MessageDetails) -> None:
            may_go.wait(PATIENCE_S)
            arrived.extend(each.size_bytes for each in details.attachments)

    with supervise("night", handlers=[Slow()], delivery_deadline_s=PATIENCE_S) as run:
        for name, size in (("rows.csv", 1_000), ("rows.bin", 3_000_000)):
            path = tmp_path / name
            path.write_bytes(b"x" * size)
            run.notify(name, attachments=[path])
            path.unlink()
            path.write_text("the next one")
        may_go.set()
    assert arrived == [1_000, 3_000_000]
