"""Copies of attachments: kept for messages that wait, bounded, and removed with the last delivery."""

from __future__ import annotations

import gzip
import os
import stat
import sys
import time
from typing import TYPE_CHECKING

import pytest
from journal_kit import kill, notice, python

from supervisor._models import DeliveryState
from supervisor._store import Journal, MemoryOutbox, open_journal
from supervisor.models import Attachment, Delivery, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SENT, FAILED, PENDING = DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.PENDING


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    """Return a journal that may keep 10,000 bytes of copies."""
    journal = Journal(state, copies_limit_bytes=10_000)
    yield journal
    journal.close()


def pack(attachment: Attachment, directory: Path, limit_bytes: int = 0) -> Attachment | None:
    """Copy an attachment as delivery would, compressed."""
    if attachment.note == "missing":
        return None
    copy = directory / f"{attachment.name}.gz"
    copy.write_bytes(gzip.compress(attachment.path.read_bytes()))
    return Attachment(copy, size_bytes=copy.stat().st_size)


def incompressible(tmp_path: Path, name: str, size_bytes: int = 4_000) -> Path:
    """Return a file of random bytes."""
    path = tmp_path / name
    path.write_bytes(os.urandom(size_bytes))
    return path


def kept(state: Path) -> list[str]:
    """Return the names of the copies that are there."""
    return sorted(path.name for path in (state / "outbox").rglob("*") if path.is_file())


def _claimed(journal: Journal, handler: str) -> Delivery:
    delivery = journal.claim(handler)
    assert delivery is not None
    return delivery


def test_a_copy_takes_the_place_of_an_original_that_is_gone(journal: Journal, tmp_path: Path, state: Path) -> None:
    """A waiting message goes out with the copy, whatever became of the original, and only its owner can read it."""
    log = tmp_path / "run.log"
    log.write_bytes(b"line\n" * 100)
    (delivery,) = journal.put(notice(attachments=log), ["mail"])
    waiting = journal.keep_attachments(delivery, pack)
    log.unlink()
    again = _claimed(journal, "mail")
    for each in (waiting, again):
        (copy,) = each.message.attachments
        assert copy.name == "run.log.gz"
        assert gzip.decompress(copy.path.read_bytes()) == b"line\n" * 100
    assert (delivery.key, delivery.message.id) == (again.key, again.message.id)
    if sys.platform != "win32":
        for path in (state / "outbox").rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o600 if path.is_file() else 0o700)


def test_copies_are_made_once_for_all_handlers(journal: Journal, tmp_path: Path, state: Path) -> None:
    """Several handlers that wait for one message share its copies, which go with the last of them."""
    message = notice(attachments=[incompressible(tmp_path, "a.csv"), incompressible(tmp_path, "b.csv")])
    mail, chat, _ = journal.put(message, ["mail", "chat", "hook"])
    first = journal.keep_attachments(mail, pack)
    assert journal.keep_attachments(chat, pack).message == first.message
    assert journal.keep_attachments(first, pack) == first
    assert kept(state) == ["a.csv.gz", "b.csv.gz"]
    journal.settle(_claimed(journal, "mail"), SENT)
    journal.settle(_claimed(journal, "chat"), FAILED)
    journal.settle(_claimed(journal, "hook"), SENT)
    assert kept(state) == ["a.csv.gz", "b.csv.gz"]
    assert journal.drop(chat.key)
    assert list((state / "outbox").iterdir()) == []
    assert journal.keep_attachments(mail, pack) is mail


def test_without_attachments_nothing_is_kept(journal: Journal, state: Path) -> None:
    """A message without attachments costs nothing, and one that is settled is not copied any more."""
    (delivery,) = journal.put(notice(), ["mail"])
    assert journal.keep_attachments(delivery, pack) is delivery
    assert not (state / "outbox").exists()


def test_in_memory_nothing_is_copied(tmp_path: Path) -> None:
    """What waits in memory does not outlive the originals, so they are used as they are."""
    outbox = MemoryOutbox()
    (delivery,) = outbox.put(notice(attachments=incompressible(tmp_path, "a.csv")), ["mail"])
    assert outbox.keep_attachments(delivery, pack) is delivery


def test_an_attachment_without_a_copy_keeps_its_place(journal: Journal, tmp_path: Path, state: Path) -> None:
    """Where no copy can be had the original stays named, with the reason when there was an error."""
    missing = Attachment(tmp_path / "missing.csv", note="missing")
    vanished = Attachment(tmp_path / "vanished.csv", note="as of noon")
    there = Attachment(incompressible(tmp_path, "there.csv"))
    (delivery,) = journal.put(notice(attachments=[missing, vanished, there]), ["mail"])
    journal.keep_attachments(delivery, pack)
    first, second, third = _claimed(journal, "mail").message.attachments
    assert first == missing
    assert (second.path, second.note) == (vanished.path, "as of noon; no copy kept: No such file or directory")
    assert third.name == "there.csv.gz"
    assert kept(state) == ["there.csv.gz"]


def test_the_oldest_logs_are_given_up_first(journal: Journal, tmp_path: Path, state: Path) -> None:
    """Beyond the limit logs go first, the oldest first, and then the rest; the messages stay and say so."""
    report = RunReport(id="r", name="n", started_at=notice().created_at, log_path=tmp_path / "3")
    messages = [
        notice("1", attachments=incompressible(tmp_path, "1.csv")),
        notice("2", attachments=incompressible(tmp_path, "2.LOG")),
        notice("3", attachments=incompressible(tmp_path, "3"), report=report),
        notice("4", attachments=incompressible(tmp_path, "4.csv")),
        notice("5", attachments=incompressible(tmp_path, "5.csv")),
    ]
    remaining = []
    for message in messages:
        (delivery,) = journal.put(message, ["mail"])
        journal.keep_attachments(delivery, pack)
        remaining.append(kept(state))
    assert remaining == [
        ["1.csv.gz"],
        ["1.csv.gz", "2.LOG.gz"],
        ["1.csv.gz", "3.gz"],
        ["1.csv.gz", "4.csv.gz"],
        ["4.csv.gz", "5.csv.gz"],
    ]
    claimed = [_claimed(journal, "mail").message for _ in messages]
    assert [each.subject for each in claimed] == ["1", "2", "3", "4", "5"]
    notes = [each.attachments[0].note for each in claimed]
    assert notes == ["copy dropped: waiting messages may keep 9.77 KB of copies"] * 3 + ["", ""]
    assert claimed[0].attachments[0].path == tmp_path / "1.csv"


def test_a_copy_beyond_the_limit_costs_the_others_nothing(journal: Journal, tmp_path: Path, state: Path) -> None:
    """A copy that is too big by itself is given up at once, and the older ones stay."""
    (small,) = journal.put(notice(attachments=incompressible(tmp_path, "small.log")), ["mail"])
    journal.keep_attachments(small, pack)
    (big,) = journal.put(notice(attachments=incompressible(tmp_path, "big.csv", 20_000)), ["mail"])
    (attachment,) = journal.keep_attachments(big, pack).message.attachments
    assert attachment.note.startswith("copy dropped")
    assert kept(state) == ["small.log.gz"]


def test_of_two_processes_that_copy_at_once_one_keeps_its_copies(journal: Journal, tmp_path: Path, state: Path) -> None:
    """When another process copies the same message meanwhile, what we copied is removed and theirs is used."""
    (delivery,) = journal.put(notice(attachments=incompressible(tmp_path, "a.csv")), ["mail"])

    def pack_slowly(attachment: Attachment, directory: Path, limit_bytes: int) -> Attachment | None:
        other = Journal(state)
        other.keep_attachments(delivery, pack)
        other.close()
        return pack(attachment, directory)

    (copy,) = journal.keep_attachments(delivery, pack_slowly).message.attachments
    assert copy.path.exists()
    assert len(list((state / "outbox").iterdir())) == 1


def test_what_is_sent_meanwhile_is_not_kept(journal: Journal, tmp_path: Path, state: Path) -> None:
    """When the message is sent while it is being copied, no copy stays."""
    (delivery,) = journal.put(notice(attachments=incompressible(tmp_path, "a.csv")), ["mail"])

    def pack_slowly(attachment: Attachment, directory: Path, limit_bytes: int) -> Attachment | None:
        journal.settle(delivery, SENT)
        return pack(attachment, directory)

    journal.keep_attachments(delivery, pack_slowly)
    assert kept(state) == []


def test_the_directory_may_be_moved(journal: Journal, tmp_path: Path, state: Path) -> None:
    """Copies are found again when the state directory has got another name."""
    (delivery,) = journal.put(notice(attachments=incompressible(tmp_path, "a.csv")), ["mail"])
    journal.keep_attachments(delivery, pack)
    journal.close()
    moved = tmp_path / "moved"
    state.rename(moved)
    state.mkdir()
    there = open_journal(moved)
    (copy,) = _claimed(there, "mail").message.attachments
    assert copy.path.is_relative_to(moved)
    assert copy.path.exists()
    there.close()


DIES = """
import sys
from supervisor._store import open_journal
from supervisor.models import MessageDetails
journal = open_journal(sys.argv[1])
(delivery,) = journal.put(MessageDetails("s", attachments=sys.executable), ["mail"])
def pack(attachment, directory, limit_bytes):
    (directory / "half").write_bytes(b"half")
    print("copying", flush=True)
    sys.stdin.readline()
journal.keep_attachments(delivery, pack)
"""


def test_what_a_kill_left_is_swept_later(journal: Journal, tmp_path: Path, state: Path) -> None:
    """A folder that a killed process left is removed an hour later; those that belong to a message never are."""
    (delivery,) = journal.put(notice(attachments=incompressible(tmp_path, "a.csv")), ["hook"])
    journal.keep_attachments(delivery, pack)
    victim = python(DIES, state)
    assert victim.stdout is not None
    victim.stdout.readline()
    kill(victim)
    assert kept(state) == ["a.csv.gz", "half"]
    journal.prune_sent()
    assert kept(state) == ["a.csv.gz", "half"]
    for each in (state / "outbox").iterdir():
        os.utime(each, (time.time() - 4_000, time.time() - 4_000))
    journal.prune_sent()
    assert kept(state) == ["a.csv.gz"]
    assert _claimed(journal, "mail").message.attachments
