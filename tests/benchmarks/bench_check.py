"""How long ``supervisor check`` takes, with the start of the interpreter, and its queries as the journal grows.

Run it from the checkout: ``python tests/benchmarks/bench_check.py [directory]``. It prints tables in Markdown: medians
of fresh processes, the bare interpreter between them so that a noisy machine disturbs both alike.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, time

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from supervisor._store import StartedRun, open_journal  # noqa: E402 - of this checkout

ROUNDS = 15
SIZES = (10_000, 100_000, 1_000_000)
NAMES = 100
UNDER_WAY = 5
LIMIT_S = 0.3
INSERT = """
INSERT INTO run (id, name, outcome, started_at, ended_at, duration_s, host, pid, process_started, user, python, schedule,
                 grace_s, argv)
VALUES (?, ?, 'success', ?, ?, 9.0, ?, 1, '', 'gis', '3.12.1', '0 2 * * *', 86400.0, '["a.py"]')
"""


def fill(directory, runs):
    """Let a hundred scripts have run every night, and a few be under way."""
    journal = open_journal(directory)
    now, host = time(), socket.gethostname()
    with journal.one_commit() as connection:
        connection.executemany(
            INSERT,
            ((f"{n:032x}", f"script {n % NAMES}", now - (runs - n) / NAMES, now, host) for n in range(runs)),
        )
    for n in range(UNDER_WAY):
        journal.start_run(StartedRun(id=f"now {n}", name=f"script {n}", started_at_s=now, stall_after_s=3600.0))
    return journal


def seconds(command, environment):
    started = perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return perf_counter() - started


def check_as_a_process(directory):
    """Return the medians of a bare interpreter and of a check."""
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "SUPERVISOR_STATE": str(directory), "SUPERVISOR_CONFIG": os.devnull,
    }  # fmt: skip
    bare, check = [sys.executable, "-c", "pass"], [sys.executable, "-m", "supervisor", "check"]
    seconds(check, environment)
    pairs = [(seconds(bare, environment), seconds(check, environment)) for _ in range(ROUNDS)]
    return median(one for one, _ in pairs), median(two for _, two in pairs)


def query(action):
    taken = []
    for _ in range(ROUNDS):
        started = perf_counter()
        action()
        taken.append(perf_counter() - started)
    return median(taken)


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else None
    print(f"Python {platform.python_version()}; {NAMES} scripts with a schedule, {UNDER_WAY} runs under way\n")
    print("| runs | bare interpreter | supervisor check | goal | newest of each name | unended | open alerts |")
    print("|---|---|---|---|---|---|---|")
    for runs in SIZES:
        with tempfile.TemporaryDirectory(dir=directory) as folder:
            journal = fill(folder, runs)
            bare, check = check_as_a_process(folder)
            newest, unended, alerts = map(query, (journal.newest_runs, journal.unended_runs, journal.open_alerts))
            journal.close()
        print(
            f"| {runs:,} | {bare * 1e3:.0f} ms | {check * 1e3:.0f} ms | {LIMIT_S * 1e3:.0f} ms "
            f"| {newest * 1e3:.2f} ms | {unended * 1e3:.2f} ms | {alerts * 1e3:.2f} ms |"
        )


if __name__ == "__main__":
    main()
