"""How much the journal costs, against plain SQLite with the same settings in the same process.

Run it from the checkout: ``python tests/benchmarks/bench_journal.py [directory]``. The directory should be on the
disk that counts; the default is the working directory. It prints a table in Markdown. Each figure is the median of
rounds in which both sides take turns, so that a noisy machine disturbs both alike.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, time

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from supervisor import supervise
from supervisor.journal import EndedRun, StartedRun, open_journal
from supervisor.kinds import DeliveryState, Outcome
from supervisor.models import MessageDetails

ROUNDS = 100
PER_ROUND = 10
MANY_RUNS = 100_000
WRITERS = 8
WRITES_EACH = 100

TEXT = "x" * 300


def seconds_each(action, count=PER_ROUND):
    started = perf_counter()
    for _ in range(count):
        action()
    return (perf_counter() - started) / count


def compare(baseline, ours, *, count=PER_ROUND):
    """Return the medians of both, in seconds, and the median of their ratios within each round.

    With ``count`` in a row each side finds its own pages hot; with 1 they take turns each time, as scripts do that
    other programs write beside.
    """
    baseline()
    ours()
    pairs = []
    for number in range(ROUNDS * PER_ROUND // count):
        # Who goes second in a round finds the disk as the first one left it, so they take turns in that too.
        if number % 2:
            second, first = seconds_each(ours, count), seconds_each(baseline, count)
            pairs.append((first, second))
        else:
            pairs.append((seconds_each(baseline, count), seconds_each(ours, count)))
    return median(b for b, _ in pairs), median(o for _, o in pairs), median(o / b for b, o in pairs)


class Plain:
    """A table with one text in a file of its own, committed as durably as the journal's."""

    def __init__(self, directory):
        self.connection = sqlite3.connect(os.path.join(directory, "plain.sqlite3"), isolation_level=None)
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


class Runs:
    def __init__(self, journal):
        self.journal = journal
        self.count = 0

    def empty_run(self):
        self.count += 1
        run_id = f"{self.count:032x}"
        self.journal.start_run(
            StartedRun(id=run_id, name="nightly", started_at_s=time(), user="gis", argv=sys.argv, python="3.12.1")
        )
        self.journal.end_run(run_id, EndedRun(outcome=Outcome.SUCCESS, ended_at_s=time(), duration_s=0.1, cpu_s=0.1))


def compare_runs(directory):
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        plain, journal = Plain(folder), open_journal(folder)
        figures = compare(plain.two_inserts, Runs(journal).empty_run)
        plain.connection.close()
        journal.close()
    return figures


def compare_put(directory, handlers):
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        plain, journal = Plain(folder), open_journal(folder)
        message = MessageDetails("Parcels loaded", TEXT)
        figures = compare(plain.insert, lambda: journal.put(message, handlers, claimed=True))
        plain.connection.close()
        journal.close()
    return figures


class Accepts:
    """A handler that takes everything at once."""

    name = "accepts"

    def send_message(self, details):
        pass


def compare_supervised(directory, count):
    """Compare a whole supervised block with its journal, as a script has it, with two inserts."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        os.environ["SUPERVISOR_STATE"] = folder
        plain = Plain(folder)

        def block():
            with supervise("nightly"):
                pass

        figures = compare(plain.two_inserts, block, count=count)
        plain.connection.close()
    return figures


def compare_notify(directory):
    """Compare run.notify() with one insert; the courier is kept from sending, since it would use the same disk."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        os.environ["SUPERVISOR_STATE"] = folder
        plain, hold = Plain(folder), threading.Event()
        handler = Accepts()
        handler.send_message = lambda details: hold.wait()
        with supervise("nightly", handlers=[handler], delivery_deadline_s=60) as run, standing_wide_open(run):
            figures = compare(plain.insert, lambda: run.notify("Parcels loaded", TEXT))
            hold.set()
        plain.connection.close()
    return figures


@contextmanager
def standing_wide_open(run):
    """Let the flood gate pass all that is measured."""
    run._telling()._flood._left = run._telling()._flood._burst = 10**9  # no user may
    yield


def compare_sending(directory):
    """Put, claim and settle against the three inserts that these would be; claiming needs no fsync."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        plain, journal = Plain(folder), open_journal(folder)
        message = MessageDetails("Parcels loaded", TEXT)

        def send():
            journal.put(message, ["mail"])
            delivery = journal.claim("mail")
            journal.settle(delivery, DeliveryState.SENT)

        figures = compare(plain.two_inserts, send)
        plain.connection.close()
        journal.close()
    return figures


def fill(directory):
    journal = open_journal(directory)
    rows = [
        (
            f"{n:032x}",
            f"script {n % 100}",
            "success",
            1e9 + n,
            1e9 + n + 9,
            9.0,
            "host",
            1,
            "",
            "gis",
            "3.12.1",
            b'["a.py"]',
        )
        for n in range(MANY_RUNS)
    ]
    with journal.one_commit() as connection:
        connection.executemany(
            "INSERT INTO run (id, name, outcome, started_at, ended_at, duration_s, host, pid, process_started, user, "
            "python, argv) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
    journal.close()


def last_run_of_many(directory):
    """Open, ask and close; the first time in a process also loads what reads records."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        fill(folder)
        taken, runs = [], []
        for n in range(ROUNDS):
            started = perf_counter()
            journal = open_journal(folder)
            record = journal.last_run(f"script {n % 100}")
            taken.append(perf_counter() - started)
            journal.close()
            assert record.report.outcome is Outcome.SUCCESS
        journal = open_journal(folder)
        plain = Plain(folder)
        runs = compare(plain.two_inserts, Runs(journal).empty_run)
        plain.connection.close()
        journal.close()
    return median(taken), max(taken[1:]), runs


WRITER = """
import sys, time
from supervisor.journal import open_journal, StartedRun, EndedRun
from supervisor.kinds import Outcome
journal = open_journal(sys.argv[1])
slowest = 0.0
for n in range(int(sys.argv[3])):
    started = time.perf_counter()
    run_id = f"{sys.argv[2]}-{n}"
    journal.start_run(StartedRun(id=run_id, name="many", started_at_s=time.time()))
    journal.end_run(run_id, EndedRun(outcome=Outcome.SUCCESS, ended_at_s=time.time(), duration_s=0))
    slowest = max(slowest, time.perf_counter() - started)
journal.close()
print(slowest)
"""


def many_writers(directory):
    """Start 8 processes that write runs at once; return runs per second and the longest that one run took."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        started = perf_counter()
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, folder, str(n), str(WRITES_EACH)],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(WRITERS)
        ]
        slowest = max(float(each.communicate()[0]) for each in writers)
        taken = perf_counter() - started
        assert all(each.returncode == 0 for each in writers)
        journal = open_journal(folder)
        count = journal._store.rows("SELECT count(*) FROM run WHERE outcome = 'success'")[0][0]
        journal.close()
        assert count == WRITERS * WRITES_EACH, count
    return count / taken, slowest


def importing():
    """Return the median time that a fresh interpreter needs more for importing and opening the journal."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    code = "import sys, time; a = time.perf_counter(); {0}; print(time.perf_counter() - a)"

    def once(what):
        out = subprocess.run(
            [sys.executable, "-c", "import attrs, threading, logging; " + code.format(what)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return float(out)

    return median(once("from supervisor.journal.file import open_journal") for _ in range(15))


def row(what, baseline, ours, ratio, limit):
    print(f"| {what} | {baseline * 1e6:.0f} µs | {ours * 1e6:.0f} µs | {ratio:.2f} | {limit} |")


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else "."
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.system()}, in {directory!r}\n"
    )
    print("| what | baseline | journal | ratio | at most |")
    print("|---|---|---|---|---|")
    row("empty run (start and end) / two committed inserts", *compare_runs(directory), "1.5")
    row("`with supervise()`, by turns / two committed inserts", *compare_supervised(directory, 1), "1.5")
    row("`with supervise()`, ten in a row / two committed inserts", *compare_supervised(directory, 10), "1.5")
    row("run.notify() / one committed insert", *compare_notify(directory), "1.5")
    row("put for one handler / one committed insert", *compare_put(directory, ["mail"]), "1.5")
    row("put for three handlers / one committed insert", *compare_put(directory, ["mail", "slack", "hook"]), "-")
    row("put, claim, settle / two committed inserts", *compare_sending(directory), "-")
    opened, slowest, runs = last_run_of_many(directory)
    row(f"empty run in a journal of {MANY_RUNS:,} runs / two committed inserts", *runs, "1.5")
    print()
    print("| what | measured | at most |")
    print("|---|---|---|")
    print(
        f"| open a journal of {MANY_RUNS:,} runs, last run of a name | {opened * 1e3:.2f} ms (slowest {slowest * 1e3:.2f}) | 5 ms |"
    )
    rate, slowest = many_writers(directory)
    print(
        f"| {WRITERS} processes write {WRITES_EACH} runs each at once | {rate:.0f} runs/s, slowest run {slowest * 1e3:.0f} ms, no error | no error |"
    )
    print(f"| import of the journal (attrs, threading, logging loaded) | {importing() * 1e3:.1f} ms | - |")


if __name__ == "__main__":
    main()
