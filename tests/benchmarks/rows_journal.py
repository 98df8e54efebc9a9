"""Whether a journal of a million runs is as quick as one of a thousand; and many processes that write at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.harness import ROOT, Bench, CannotMeasureError, environment, interleave, last_line, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FEW = 1_000
FLAT = 1.2
CHECKED, CHECK_S = 10_000, 0.3
WRITERS, RUNS_EACH = 8, 100
COMMANDS = {
    "history": ("history",),
    "history of one name": ("history", "script 7"),
    "check": ("check",),
}
FOUND = (0, 1)  # 1 says that something was found


def rows(bench: Bench) -> Iterator[table.Row]:
    """Yield the rows of the large journal, and that of many writers."""
    few, many = bench.home(), bench.home()
    bench.ours("fill_journal.py", FEW, home=few)
    bench.ours("fill_journal.py", bench.runs, home=many)
    try:
        yield from run_rows(bench, few, many)
        for name, command in COMMANDS.items():
            yield command_row(bench, name, command, few, many)
    finally:
        shutil.rmtree(few)
        shutil.rmtree(many)
    yield check_row(bench)
    yield writers_row(bench)


def words(bench: Bench) -> str:
    """Return the two sizes in words."""
    return f"{bench.runs:,} runs in the journal beside {FEW:,}"


def run_rows(bench: Bench, few: Path, many: Path) -> Iterator[table.Row]:
    """Yield the rows of the start and the end of a run, and of the question for the last one."""
    ways = {"few": partial(bench.ours, "runs.py", home=few), "many": partial(bench.ours, "runs.py", home=many)}
    took = interleave(ways, bench.rounds, warm=True)
    for key, what in (("start", "start of a run"), ("end", "end of a run"), ("last", "open, and last run of a name")):
        figures = {name: [each[key] for each in some] for name, some in took.items()}
        times = ratio(figures["many"], figures["few"])
        goals = {
            "start": (table.Goal("flat within 20 %", times <= FLAT),),
            "end": (),
            "last": (table.at_most_figure(median(figures["many"]), 5e-3, "ms"),),
        }
        yield table.Row(
            key=f"large journal, {key}",
            what=f"{what}, {words(bench)}",
            ours=median(figures["many"]),
            limit=(f"with {FEW:,}", median(figures["few"])),
            ratio=times,
            goals=goals[key],
        )


def command_row(bench: Bench, name: str, command: tuple[str, ...], few: Path, many: Path) -> table.Row:
    """Return the row of a command, as a whole process."""
    row = partial(table.Row, key=f"large journal, {name}", what=f"`supervisor {name}`, {words(bench)}")
    if not find_spec(f"supervisor._cli.{command[0]}_command"):
        return row(missing=("not yet: there is no such command",))
    ways: dict[str, Callable[[], float]] = {
        "few": partial(command_s, bench, command, few),
        "many": partial(command_s, bench, command, many),
    }
    try:
        took = interleave(ways, bench.rounds, warm=True)
    except CannotMeasureError as error:
        return row(missing=(str(error),))
    return row(
        ours=median(took["many"]), limit=(f"with {FEW:,}", median(took["few"])), ratio=ratio(took["many"], took["few"])
    )


def command_s(bench: Bench, command: tuple[str, ...], home: Path) -> float:
    """Return the seconds that a command takes as a process."""
    env = environment(home, ROOT)
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", *command], env=env, cwd=bench.scripts, capture_output=True, check=False
    )
    taken = perf_counter() - began
    if done.returncode not in FOUND:
        raise CannotMeasureError(f"fails: {last_line(done.stderr.decode(errors='replace'))}")
    return taken


def check_row(bench: Bench) -> table.Row:
    """Return the row of a check that has little to read, as ``bench_check.py`` measures it, which does more."""
    row = partial(table.Row, key="check", what=f"`supervisor check`, {CHECKED:,} runs of scripts with a schedule")
    try:
        from tests.benchmarks import bench_check

        with tempfile.TemporaryDirectory(dir=bench.disk) as folder:
            bench_check.fill(folder, CHECKED).close()
            bare, taken = bench_check.check_as_a_process(folder)
    except (ImportError, AttributeError, AssertionError) as error:
        return row(missing=(f"cannot be measured: {last_line(str(error))}",))
    return row(
        ours=taken,
        limit=("the bare interpreter", bare),
        ratio=taken / bare,
        goals=(table.at_most_figure(taken, CHECK_S, "s"),),
    )


def writers_row(bench: Bench) -> table.Row:
    """Return the row of many processes that write at once."""
    home = bench.home()
    began = perf_counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        slowest = max(pool.map(lambda number: bench.ours("writers.py", number, RUNS_EACH, home=home), range(WRITERS)))
    taken = perf_counter() - began
    shutil.rmtree(home)
    rate = WRITERS * RUNS_EACH / taken
    return table.Row(
        key="writers",
        what=f"{WRITERS} processes write {RUNS_EACH} runs each at once: the longest that one took",
        ours=slowest,
        goals=(table.Goal("no error", met=True),),
        notes=(f"{rate:,.0f} runs a second in all, their imports included",),
    )
