"""What a run keeps in memory, since another process holds the journal, gets into the journal all the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from faulty_handlers import Hangs, Raises
from journal_kit import first_line_of, output_of, python
from recorders import Recorder
from waiting import PATIENCE_S, wait_until

from supervisor import DeliveryError, supervise
from supervisor._runtime import Runtime, using
from supervisor._store import open_journal
from supervisor._store.memory import MemoryOutbox
from supervisor._store.sqlite import open_reader
from supervisor.models import Attachment, MessageDetails

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._store import Journal


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    """Return the journal that the runs use."""
    found = open_journal(state)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a run wait for the lock only shortly."""
    monkeypatch.setattr("supervisor._runtime.JOURNAL_WAIT_S", 0.05)
    with using(Runtime()):
        yield


@contextmanager
def held(journal: Journal) -> Iterator[None]:
    """Hold the journal's lock for writing, as another process would."""
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        yield


def refuses() -> Raises:
    """Return a handler whose destination accepts nothing for a long time."""
    return Raises(*[DeliveryError("closed", retry_after_s=3600.0)] * 9)


def subjects(journal: Journal, state: str) -> list[str]:
    """Return the subjects of the deliveries that are in a state, in the order in which the journal took them."""
    rows = journal._database.rows("SELECT subject FROM delivery WHERE state = ? ORDER BY key", (state,))
    return [subject for (subject,) in rows]


def test_what_waits_is_written_as_soon_as_the_lock_is_free(journal: Journal) -> None:
    """While the run goes on: its messages get into the journal in their order, and so does what comes then."""
    with supervise("night", handlers=[refuses()], delivery_deadline_s=0.0) as run:
        with held(journal):
            for number in range(3):
                run.notify(f"hello {number}")
            assert subjects(journal, "pending") == []
        wait_until(lambda: subjects(journal, "pending") == [f"hello {number}" for number in range(3)])
        run.notify("and again")
        wait_until(lambda: subjects(journal, "pending")[3:] == ["and again"])


def test_what_was_sent_meanwhile_is_not_sent_again(journal: Journal) -> None:
    """What its handler takes while it is being moved is settled in the journal."""
    hangs = Hangs()
    with supervise("night", handlers=[hangs]) as run:
        with held(journal):
            run.notify("one")
            run.notify("two")
            assert hangs.called.wait(PATIENCE_S)
        wait_until(lambda: subjects(journal, "pending") == ["one", "two"])
        assert journal.claim("hangs") is None, "another process could send it too"
        hangs.go_on.set()
        wait_until(lambda: subjects(journal, "sent") == ["one", "two"])
    assert hangs.subjects == ["one", "two"]
    assert subjects(journal, "pending") == []


def test_what_was_sent_before_is_not_written(journal: Journal) -> None:
    """Only what waits is written."""
    raises = Raises()
    with supervise("night", handlers=[raises]) as run:
        with held(journal):
            run.notify("sent at once")
            wait_until(lambda: raises.subjects == ["sent at once"])
            raises.errors = [DeliveryError("closed", retry_after_s=3600.0)]
            run.notify("waits")
        wait_until(lambda: subjects(journal, "pending") == ["waits"])
        assert subjects(journal, "sent") == []
    assert raises.subjects == ["sent at once"]


def test_the_messages_of_the_end_go_with_the_end(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that kept messages in memory commits its end and its last messages together, once the lock is free."""
    kept: list[str] = []
    put = MemoryOutbox.put

    def noted(outbox: MemoryOutbox, message: MessageDetails, *arguments: Any, **options: Any) -> Any:
        kept.append(message.subject)
        return put(outbox, message, *arguments, **options)

    monkeypatch.setattr(MemoryOutbox, "put", noted)
    with pytest.raises(KeyError), supervise("night", handlers=[refuses()], delivery_deadline_s=0.0) as run:
        with held(journal):
            run.notify("hello")
        raise KeyError("apn")
    assert kept == ["hello"]
    wait_until(lambda: "hello" in subjects(journal, "pending"))
    assert len(subjects(journal, "pending")) == 2


def test_attachments_go_too(journal: Journal, tmp_path: Path) -> None:
    """The copies of attachments are moved from the temporary directory to the journal's."""
    log = tmp_path / "parcels.log"
    log.write_text("812 rows", "utf-8")
    with supervise("night", handlers=[refuses()], delivery_deadline_s=0.0) as run:
        with held(journal):
            run.notify("hello", attachments=[log])
            log.unlink()
        wait_until(lambda: subjects(journal, "pending") == ["hello"])
        wait_until(lambda: journal._database.rows("SELECT 1 FROM attachment_copy WHERE folder > ''"))
    (waiting,) = journal.deliveries()
    assert journal.retry(waiting.key)
    claimed = journal.claim("raises")
    assert claimed is not None
    (attachment,) = claimed.message.attachments
    assert isinstance(attachment, Attachment)
    assert attachment.path.read_text("utf-8") == "812 rows"
    assert attachment.path.is_relative_to(journal.path.removesuffix("journal.sqlite3"))


SCRIPT = """
import sys, threading
from faulty_handlers import Raises
from supervisor import DeliveryError, supervise, _runtime
_runtime.JOURNAL_WAIT_S = 0.05
refuses = Raises(*[DeliveryError("closed", retry_after_s=3600.0)] * 9)
with supervise("night", handlers=[refuses], delivery_deadline_s=float(sys.argv[1])) as run:
    print("begun", flush=True)
    input()
    run.notify("hello")
print("ended", flush=True)
"""


def script(deadline_s: float) -> str:
    """Return the script, which waits so long for its messages."""
    from scripts import PATHS

    return f"import sys; sys.path += {list(PATHS)!r}; sys.argv[1:] = ['{deadline_s}']\n{SCRIPT}"


def test_the_end_of_the_process_waits_for_the_lock(journal: Journal) -> None:
    """What is in memory alone is written before the process ends, if the lock gets free within the deadline."""
    process = python(script(PATIENCE_S))
    assert first_line_of(process) == "begun"
    assert process.stdin is not None
    with held(journal):
        process.stdin.write("\n")
        process.stdin.flush()
        assert first_line_of(process) == "ended"
    output_of(process)
    assert subjects(journal, "pending") == ["hello"]


def test_what_the_journal_does_not_take_before_the_process_ends_is_noted_beside_it(journal: Journal) -> None:
    """While the lock stays held, the process ends within its deadline; who opens the journal next has the message."""
    process = python(script(0.0))
    assert first_line_of(process) == "begun"
    assert process.stdin is not None
    with held(journal):
        process.stdin.write("\n")
        process.stdin.flush()
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert "not delivered yet: 'hello'" in errors
        reader = open_reader(Path(journal.path).parent)
        assert reader is not None
        assert [(each.handler, each.subject) for each in reader.deliveries()] == [("raises", "hello")]
        reader.close()
    recorder = Recorder("raises")
    with using(Runtime()), supervise("day", handlers=[recorder]):
        pass
    assert recorder.subjects == ["hello"]
    assert subjects(journal, "pending") == []
