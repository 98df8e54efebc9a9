"""The journal: the record of all runs, and the outbox of messages that are not settled yet, on disk.

``open_journal(state_directory())`` gives the :class:`Journal`, which is both. Where it raises
:class:`JournalUnavailable`, a :class:`MemoryOutbox` takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._lazy import loads

if TYPE_CHECKING:
    from supervisor._store.contract import LEASE_S, JournalUnavailable, Outbox, Pack
    from supervisor._store.memory import MemoryOutbox
    from supervisor._store.paths import state_directory
    from supervisor._store.records import Repeats, RunRecord, Streak, WaitingDelivery
    from supervisor._store.sqlite.journal import Journal, open_journal
    from supervisor._store.sqlite.runs import EndedRun, StartedRun

__all__ = [
    "LEASE_S",
    "EndedRun",
    "Journal",
    "JournalUnavailable",
    "MemoryOutbox",
    "Outbox",
    "Pack",
    "Repeats",
    "RunRecord",
    "StartedRun",
    "Streak",
    "WaitingDelivery",
    "open_journal",
    "state_directory",
]

_HOMES = {
    "contract": ("LEASE_S", "JournalUnavailable", "Outbox", "Pack"),
    "sqlite.journal": ("Journal", "open_journal"),
    "memory": ("MemoryOutbox",),
    "paths": ("state_directory",),
    "records": ("Repeats", "RunRecord", "Streak", "WaitingDelivery"),
    "sqlite.runs": ("EndedRun", "StartedRun"),
}

# A run without a journal needs no SQLite, one without messages no outbox.
__getattr__ = loads(__name__, {name: home for home, names in _HOMES.items() for name in names})
