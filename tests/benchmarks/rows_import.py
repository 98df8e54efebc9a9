"""What importing costs over the bare interpreter, and how much memory a supervised run adds to it."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.harness import (
    ROOT,
    Bench,
    CannotMeasureError,
    available,
    environment,
    interleave,
    last_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What somebody writes at the top of a script.
OURS = "import supervisor"
OURS_AND_HANDLER = "from supervisor import supervise; from supervisor.message_handlers import EmailHandler"
THEIRS = {
    "ugrc-supervisor": "from supervisor.models import Supervisor; from supervisor.message_handlers import EmailHandler",
    "loguru": "from loguru import logger",
    "sentry-sdk": "import sentry_sdk",
    "knockknock": "from knockknock import slack_sender",
    "cronitor": "import cronitor",
}
CRONITOR = "cronitor's import starts a thread that sleeps for a second, and the interpreter waits for it at its end"
MIB = 2**20
MOST_MIB = 12


def importing(bench: Bench, python: Path, code: str, path: Path | None = None) -> float:
    """Return the seconds that an interpreter takes to start, run one line and end."""
    env = environment(bench.disk, path)
    began = perf_counter()
    done = subprocess.run([str(python), "-c", code], env=env, cwd=bench.scripts, capture_output=True, check=False)
    taken = perf_counter() - began
    if done.returncode:
        raise CannotMeasureError(f"its import fails ({last_line(done.stderr.decode(errors='replace'))})")
    return taken


def over_bare(bench: Bench, peer: str, code: str) -> float:
    """Return what a peer's import takes over the bare interpreter of its own environment."""
    python = bench.peers.python(peer)
    bare = importing(bench, python, "pass")
    return importing(bench, python, code) - bare


def over_ours(bench: Bench, code: str) -> float:
    """Return the same for ours."""
    bare = importing(bench, Path(sys.executable), "pass", ROOT)
    return importing(bench, Path(sys.executable), code, ROOT) - bare


def rows(bench: Bench) -> Iterator[table.Row]:
    """Yield the row of the import."""
    theirs = {peer: partial(over_bare, bench, peer, code) for peer, code in THEIRS.items()}
    working, missing = available(theirs)
    ways: dict[str, Callable[[], float]] = {
        "ours": partial(over_ours, bench, OURS),
        "attrs": partial(over_ours, bench, "import attrs"),
    }
    ways |= {"with a handler": partial(over_ours, bench, OURS_AND_HANDLER)} | working
    # An import is short and the start of a process is not: it takes more rounds to see it.
    took = interleave(ways, 4 * bench.rounds, warm=True)
    peers = {peer: median(took[peer]) for peer in working}
    ours = median(took["ours"])
    times = ours / median(took["attrs"])  # each is a difference already, which a ratio within a round makes wilder
    yield table.Row(
        key="import",
        what="`import supervisor`, over the bare interpreter",
        ours=ours,
        limit=("`import attrs`", median(took["attrs"])),
        ratio=times,
        peers=peers,
        missing=missing,
        goals=(table.at_most(times, 1.4, "attrs"), table.ahead(ours, peers, "all")),
        notes=(
            f"with `from supervisor.message_handlers import EmailHandler` {table.figure(median(took['with a handler']), 'ms')}",
            "each process's wall time, less that of the bare interpreter of the same environment",
            *([CRONITOR] if "cronitor" in working else []),
        ),
    )


def memory_rows(bench: Bench) -> Iterator[table.Row]:
    """Yield the row of the memory."""
    ours = {
        way: partial(bench.ours, "memory.py", way)
        for way in ("bare", "attrs", "sqlite3", "attrs_and_sqlite3", "supervisor")
    }
    theirs, missing = available({"ugrc-supervisor": partial(bench.theirs, "ugrc-supervisor", "memory.py", "ugrc")})
    took = interleave(ours | theirs, bench.rounds, warm=True)
    peak = {way: median(each["peak"] for each in some) for way, some in took.items()}
    share = {way: median(each["proportional"] for each in some) for way, some in took.items()}
    added = {way: peak[way] - peak["bare"] for way in peak}
    limit = added["attrs_and_sqlite3"]
    yield table.Row(
        key="memory",
        what="memory that a supervised, journalled run with a console handler adds to the bare interpreter, at its peak",
        unit="MiB",
        ours=added["supervisor"],
        limit=("`attrs` and `sqlite3`", limit),
        ratio=added["supervisor"] / limit,
        peers={peer: added[peer] for peer in theirs} | {"`attrs` alone": added["attrs"]},
        missing=missing,
        goals=(table.at_most_figure(added["supervisor"], MOST_MIB * MIB, "MiB"),),
        notes=(
            (
                f"the bare interpreter {table.figure(peak['bare'], 'MiB')}, in all {table.figure(peak['supervisor'], 'MiB')}; "
                f"shared pages counted in parts, {table.figure(share['supervisor'] - share['bare'], 'MiB')} more"
            ),
        ),
    )
