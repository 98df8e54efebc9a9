"""What the journal costs, beside plain inserts that are as durable: ``committing.py OUT WAY``.

``block`` and ``notify`` are what a script does, ``storage`` is what the journal does of a block, and ``block_rows`` and
``notify_rows`` are the floor of both: the same rows by bare SQL, without all that makes them.

Both sides take turns within one process and on one disk; who goes second finds the disk as the first one left it, so
they take turns in that too. Before, both write until SQLite's log has wrapped around once: a log that still grows takes
twice as long to sync, and the side that writes fewer pages would grow for longer.
"""

import os
import sqlite3
import sys
from statistics import median
from time import perf_counter, time

from timing import say

PAIRS = 400
WRAPPED = 1000  # pages of the log after which SQLite begins it anew; each commit writes at least one
TEXT = "x" * 300


class Plain:
    """A table with one text in a file of its own, committed as durably as the journal's."""

    def __init__(self):
        self.connection = sqlite3.connect(os.path.expanduser("~/plain.sqlite3"), isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("CREATE TABLE plain (key INTEGER PRIMARY KEY, body TEXT)")

    def insert(self):
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute("INSERT INTO plain (body) VALUES (?)", (TEXT,))
        self.connection.commit()

    def two_inserts(self):
        self.insert()
        self.insert()


def seconds(action):
    began = perf_counter()
    action()
    return perf_counter() - began


def compare(limit, ours):
    """Return the medians of both, and that of their ratios."""
    for _ in range(WRAPPED):
        limit()
        ours()
    pairs = []
    for number in range(PAIRS):
        if number % 2:
            mine = seconds(ours)
            pairs.append((seconds(limit), mine))
        else:
            first = seconds(limit)
            pairs.append((first, seconds(ours)))
    return {
        "limit": median(other for other, _ in pairs),
        "ours": median(mine for _, mine in pairs),
        "ratio": median(mine / other for other, mine in pairs),
    }


def block():
    """A whole supervised block with its journal, as a script has it, beside two inserts."""
    from supervisor import supervise

    def empty():
        with supervise("nightly"):
            pass

    return compare(Plain().two_inserts, empty)


def storage():
    """Only what the journal does of it: start and end of a run."""
    from supervisor._models import Outcome
    from supervisor._store import EndedRun, StartedRun, open_journal, state_directory

    journal, count = open_journal(state_directory()), iter(range(10**9))

    def start_and_end():
        run_id = f"{next(count):032x}"
        started = StartedRun(id=run_id, name="nightly", started_at_s=time(), user="gis", argv=sys.argv, python="3.12.1")
        journal.start_run(started)
        journal.end_run(run_id, EndedRun(outcome=Outcome.SUCCESS, ended_at_s=time(), duration_s=0.1, cpu_s=0.1))

    return compare(Plain().two_inserts, start_and_end)


def block_rows():
    """The rows of a start and an end, and the question at the start, by bare SQL."""
    from supervisor._store.sqlite import runs

    connection, count = journal_connection(), iter(range(10**9))
    end = ("success", time(), 0.1, None, None, 0.1, 10_000_000, None, None, None, None)

    def start_and_end():
        run_id = f"{next(count):021x}"
        connection.execute(runs._IS_ANY_UNENDED, ("nightly",)).fetchall()
        facts = (run_id, "nightly", time(), None, "gis1", 4711, "boot:4711", "gis", "3.12.1", *[None] * 4, b"[]", None)
        key = connection.execute(runs._INSERT, facts).lastrowid
        connection.execute(runs._END, (*end, key, run_id))

    return compare(Plain().two_inserts, start_and_end)


def notify_rows():
    """The row of a notice for one handler, by bare SQL."""
    from supervisor._store.sqlite import outbox

    connection, body = journal_connection(), b"x" * 1_000

    def put():
        now = time()
        lease = (now + 300, "gis1", 4711, "boot:4711")
        row = ("waits", now, now, *lease, "m" * 32, "notice", now, "Parcels loaded", body, "nightly")
        connection.execute(outbox._PUT, row)

    return compare(Plain().insert, put)


def journal_connection():
    """Return a connection to a journal, as the journal itself has it."""
    from supervisor._store import open_journal, state_directory

    return open_journal(state_directory())._database._connection


def notify():
    """``run.notify()`` beside one insert; the handler does not send meanwhile, since it would use the same disk."""
    import threading

    from supervisor import supervise
    from supervisor._delivery import RateLimiter

    RateLimiter.__init__.__defaults__ = (10**9, *RateLimiter.__init__.__defaults__[1:])  # more than any user may
    hold = threading.Event()

    class Waits:
        name = "waits"

        def send_message(self, details):
            hold.wait()

    with supervise("nightly", handlers=Waits(), delivery_deadline_s=60) as run:
        figures = compare(Plain().insert, lambda: run.notify("Parcels loaded", TEXT))
        hold.set()
    return figures


if __name__ == "__main__":
    ways = (block, storage, block_rows, notify, notify_rows)
    say({each.__name__: each for each in ways}[sys.argv[2]]())
