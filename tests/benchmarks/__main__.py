"""Measure what things cost beside others, and print one table: ``python -m tests.benchmarks [ROW ...]``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import (
    growth,
    rows_attachment,
    rows_calls,
    rows_command,
    rows_committing,
    rows_email,
    rows_import,
    rows_journal,
    rows_progress,
    rows_sendgrid,
    table,
    whole_script,
)
from tests.benchmarks.harness import HERE, ROOT, Bench, CannotMeasureError, workshop
from tests.benchmarks.peers import Peers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

GROUPS: dict[str, Callable[[Bench], Iterable[table.Row]]] = {
    "import": rows_import.rows,
    "call": rows_calls.rows,
    "kept": rows_committing.kept_rows,
    "failing": rows_calls.failing_rows,
    "progress": rows_progress.rows,
    "notify": rows_committing.notify_rows,
    "email": rows_email.rows,
    "sendgrid": rows_sendgrid.rows,
    "attachment": rows_attachment.rows,
    "command": rows_command.rows,
    "journal": rows_journal.rows,
    "memory": rows_import.memory_rows,
}
PROFILE = "profile"
TITLE = """\
# What supervisor costs, beside others

`tox -e bench` measures this and writes it anew, in five to ten minutes. A ratio is what ours takes over its limit."""
METHOD = """\
Medians of {rounds} rounds, in which fresh processes take turns on the same interpreter; a ratio is the median of the \
ratios within the rounds. Each peer is installed in an environment of its own, as it comes; networks are loopback or \
stubs. Nothing is set that a user would not get by default."""


def measure(names: Iterable[str], bench: Bench) -> Iterator[table.Row]:
    """Yield the rows of the groups that are named; one that cannot be measured says why."""
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            yield from GROUPS[name](bench)
        except CannotMeasureError as error:
            yield table.Row(key=name, what=name, missing=(f"cannot be measured here: {error}",))


def page(rows: list[table.Row], bench: Bench) -> str:
    """Return the table, the machine and the method."""
    versions = ", ".join(f"{peer} {version}" for peer, version in bench.peers.versions().items())
    return "\n\n".join(
        [
            table.markdown(rows),
            f"Measured on {table.machine()}. {METHOD.format(rounds=bench.rounds)}",
            *([f"Beside: {versions}."] if versions else []),
        ]
    )


def scripts() -> dict[str, Path]:
    """Return the benchmarks that stand alone, which print their own tables."""
    return {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}


def run_script(path: Path) -> int:
    """Run a benchmark that stands alone."""
    print(f"\n## {path.stem.removeprefix('bench_')}\n", flush=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run([sys.executable, str(path)], env=env | {"PYTHONPATH": str(ROOT)}, check=False).returncode


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    known = [*GROUPS, PROFILE, *scripts()]
    parser.add_argument("names", nargs="*", metavar="ROW", help=f"which rows; all by default: {', '.join(known)}")
    parser.add_argument("--rounds", type=int, default=7, help="how often each takes its turn (default: 7)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table into this file")
    parser.add_argument("--check", action="store_true", help="fail when a row has grown by a third over ratios.json")
    parser.add_argument("--store", action="store_true", help="store the ratios in ratios.json")
    parser.add_argument("--offline", action="store_true", help="install no peers; use those that are there")
    parser.add_argument("--peers", type=Path, help="where the peers' environments are (default: in this environment)")
    parser.add_argument("--disk", type=Path, help="a directory on the disk that counts (default: this environment)")
    parser.add_argument("--log-mb", type=int, default=500, help="how large the attached log is (default: 500)")
    parser.add_argument("--runs", type=int, default=1_000_000, help="runs of the large journal (default: 1,000,000)")
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.names) - set(known))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
    return chosen


def main() -> int:
    """Measure, print, and return what the process ends with."""
    chosen = options()
    everything = not chosen.names
    groups = [name for name in GROUPS if everything or name in chosen.names]
    # The environment of tox, or whichever runs this, is kept from one measuring to the next.
    peers = Peers(chosen.peers or Path(sys.prefix) / "bench-peers", install=not chosen.offline)
    with workshop(chosen.disk) as (scripts_there, disk):
        bench = Bench(chosen.rounds, peers, scripts_there, disk, log_mb=chosen.log_mb, runs=chosen.runs)
        rows = list(measure(groups, bench))
        parts = [page(rows, bench)] if rows else []
        if everything or PROFILE in chosen.names:
            print("measuring the profile ...", file=sys.stderr, flush=True)
            parts.append(f"### What a short script pays\n\n{whole_script.markdown(bench)}")
    text = "\n\n".join(parts)
    print(text, flush=True)
    if chosen.markdown:
        chosen.markdown.write_text(f"{TITLE}\n\n{text}\n", encoding="utf-8")
    codes = [run_script(path) for name, path in scripts().items() if name in chosen.names]
    if chosen.store:
        growth.store(rows)
    worse = list(growth.grown(rows)) if chosen.check else []
    for line in worse:
        print(f"GROWN  {line}", file=sys.stderr)
    return 1 if worse or any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
