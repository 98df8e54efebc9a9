"""The store: the record of all runs, the alerts that people were notified of, and the outbox of messages to deliver.

``open_journal(state_directory())`` gives the :class:`Journal`, which is all three in one SQLite file. Where it raises
:class:`JournalUnavailable`, a :class:`MemoryOutbox` takes its place. :mod:`supervisor._store.contract` states what a
store promises; nothing here knows who asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._lazy import loads

if TYPE_CHECKING:
    from supervisor._store.contract import Outbox, Store
    from supervisor._store.essentials import (
        LEASE_S,
        EndedRun,
        JournalUnavailable,
        Pack,
        StartedRun,
        state_directory,
    )
    from supervisor._store.memory import MemoryOutbox
    from supervisor._store.records import DestinationRest, Repeats, RunRecord, Streak, WaitingDelivery
    from supervisor._store.sqlite import Journal, open_journal

__all__ = [
    "LEASE_S",
    "DestinationRest",
    "EndedRun",
    "Journal",
    "JournalUnavailable",
    "MemoryOutbox",
    "Outbox",
    "Pack",
    "Repeats",
    "RunRecord",
    "StartedRun",
    "Store",
    "Streak",
    "WaitingDelivery",
    "open_journal",
    "state_directory",
]

_HOMES = {
    "contract": ("Outbox", "Store"),
    "essentials": ("LEASE_S", "EndedRun", "JournalUnavailable", "Pack", "StartedRun", "state_directory"),
    "memory": ("MemoryOutbox",),
    "records": ("DestinationRest", "Repeats", "RunRecord", "Streak", "WaitingDelivery"),
    "sqlite": ("Journal", "open_journal"),
}

# A run without a journal needs no SQLite, one without messages no outbox.
__getattr__ = loads(__name__, {name: home for home, names in _HOMES.items() for name in names})
