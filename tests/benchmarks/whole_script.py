"""What each part of a whole short script costs: start, import, run, one message on the console, exit."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.harness import ROOT, Bench, CannotMeasureError, environment, interleave, last_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARTS = (
    "the interpreter starts",
    "`from supervisor import supervise`",
    "`ConsoleHandler()`, with its import",
    '`supervise("nightly", handlers=...)`: settings and configuration',
    "the run begins: the journal is loaded and opened, the start committed",
    "`run.notify(...)`: the message is stored",
    "the run ends: the end committed, the message delivered and settled",
    "the interpreter ends",
)
PLAIN = ("the interpreter starts", "`print(...)`", "the interpreter ends")


def markdown(bench: Bench) -> str:
    """Return the profile as a table."""
    home = bench.home()
    ways: dict[str, Callable[[], list[float]]] = {
        "supervised": partial(parts, bench, "short_script.py", home),
        "first": lambda: parts(bench, "short_script.py", bench.home()),
        "plain": partial(parts, bench, "short_plain.py", home),
    }
    took = interleave(ways, 2 * bench.rounds, warm=True)
    middle = {way: [median(each) for each in zip(*some, strict=True)] for way, some in took.items()}
    lines = ["| part | ms | ms, first run ever on a machine |", "|---|---:|---:|"]
    for part, usual, first in zip(PARTS, middle["supervised"], middle["first"], strict=True):
        lines.append(f"| {part} | {usual * 1e3:.1f} | {first * 1e3:.1f} |")
    usual, first, plain = (sum(middle[way]) for way in ("supervised", "first", "plain"))
    lines.append(f"| **in all** | **{usual * 1e3:.1f}** | **{first * 1e3:.1f}** |")
    lines += [
        "",
        f"The same script with `print()` instead: {table.figure(plain, 'ms')} ({', '.join(plain_parts(middle['plain']))}).",
    ]
    return "\n".join(lines)


def plain_parts(middle: list[float]) -> Iterator[str]:
    """Yield the parts of the script without supervision in words."""
    return (f"{part} {table.figure(each, 'ms')}" for part, each in zip(PLAIN, middle, strict=True))


def parts(bench: Bench, script: str, home: Path) -> list[float]:
    """Return the seconds that each part of a script takes, by the clock that all processes share."""
    out = Path(tempfile.mkstemp(suffix=".json", dir=bench.disk)[1])
    env = environment(home, ROOT)
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, str(bench.scripts / script), str(out)],
        env=env,
        cwd=bench.scripts,
        capture_output=True,
        check=False,
    )
    ended = perf_counter()
    if done.returncode:
        raise CannotMeasureError(f"{script} failed: {last_line(done.stderr.decode(errors='replace'))}")
    marks = [began, *json.loads(out.read_text()), ended]
    out.unlink()
    return [later - earlier for earlier, later in pairwise(marks)]
