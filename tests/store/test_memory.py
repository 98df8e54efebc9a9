"""What is particular to the outbox in memory; what it shares with the one on disk is in sqlite/test_outbox.py."""

from __future__ import annotations

import subprocess
import sys

from journal_kit import NOON, PACKAGE, Clock, notice

from supervisor._models import DeliveryState
from supervisor._store import MemoryOutbox


def test_it_needs_no_sqlite() -> None:
    """A run without a journal, which has only this outbox, loads no SQLite."""
    code = "import sys; from supervisor._store.memory import MemoryOutbox; raise SystemExit('sqlite3' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_settled_messages_take_no_memory() -> None:
    """What is sent is gone from memory, so that a run of a year holds only what waits."""
    outbox = MemoryOutbox()
    for _ in range(100):
        outbox.put(notice(), ["mail"])
        delivery = outbox.claim("mail")
        assert delivery is not None
        outbox.settle(delivery, DeliveryState.SENT)
    assert not outbox._rows
    assert not outbox._waiting


def test_keys_are_never_given_twice() -> None:
    """A key that was settled does not come again, so that a late word about it meets no other delivery."""
    outbox = MemoryOutbox(clock=Clock(NOON))
    (first,) = outbox.put(notice(), ["mail"])
    outbox.drop(first.key)
    (second,) = outbox.put(notice(), ["mail"])
    assert second.key != first.key


def test_the_modules_are_loaded_when_they_are_asked_for() -> None:
    """Every public name of the package can be had, and importing the package alone loads none of its modules."""
    code = (
        "import sys, supervisor._store as journal\n"
        "loaded = [name for name in sys.modules if name.startswith('supervisor._store.')]\n"
        "assert 'sqlite3' not in sys.modules, loaded\n"
        "assert all(getattr(journal, name) is not None for name in journal.__all__)\n"
        "try: journal.unheard\n"
        "except AttributeError as error: assert 'unheard' in str(error)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
