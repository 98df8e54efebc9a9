"""What a run costs: the import, an empty call, an item of a loop, and the threads.

Run it from the checkout: ``python tests/benchmarks/bench_run.py``. It prints a table in Markdown. Every figure is the
median over fresh processes in which all sides take turns, so that a noisy machine disturbs them alike. tqdm and rich
are measured where they are installed.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

ROOT = Path(__file__).resolve().parents[2]
IMPORT_ROUNDS = 40
CALL_ROUNDS = 7

IMPORTS = {"the interpreter": "pass", "attrs": "import attrs", "supervisor": "import supervisor"}

CHILD = '''
import io, json, logging, os, sys, threading
from time import monotonic, perf_counter
from supervisor import supervise, supervised

def best(action, number, repeat=7):
    times = []
    for _ in range(repeat):
        began = perf_counter()
        action(number)
        times.append(perf_counter() - began)
    return min(times) / number * 1e9

def calls(function):
    def many(number):
        for _ in range(number):
            function()
    return best(many, 20_000 if function is not kept else 50)

class Watch:
    """What somebody writes who wants no more than the time that it took, and whether it went well."""
    def __enter__(self):
        self.began = monotonic()
        return self
    def __exit__(self, kind, error, trace):
        self.took = monotonic() - self.began
        self.failed = error is not None
        return False

def plain(): pass
def timed():
    with Watch():
        return plain()
silent = supervised("silent", journal=False)(plain)
def takes_run(run): pass
given = supervised("given", journal=False)(takes_run)
kept = supervised("kept")(plain)
results = {}
most = threading.active_count()
results["plain"], results["timed"] = calls(plain), calls(timed)
results["silent"], results["given"] = calls(silent), calls(given)
results["kept"] = calls(kept)

N = 300_000
def loop(number):
    for _ in range(number): pass
empty = best(loop, N)
with supervise("loops", journal=False) as run:
    def tracked(number):
        for _ in run.track(range(number)): pass
    progress = run.progress
    def progressed(number):
        for i in range(number): progress(i)
    def with_total(number):
        for i in range(number): progress(i, number)
    results["track"], results["progress"], results["progress with total"] = (
        best(tracked, N) - empty, best(progressed, N) - empty, best(with_total, N) - empty)
    most = max(most, threading.active_count())
results["threads"] = most - 1
try:
    from tqdm import tqdm
    def barred(number):
        for _ in tqdm(range(number), file=io.StringIO()): pass
    def updated(number):
        bar = tqdm(total=number, file=io.StringIO())
        update = bar.update
        for _ in range(number): update()
        bar.close()
    results["tqdm"], results["tqdm.update"] = best(barred, N) - empty, best(updated, N) - empty
except ImportError:
    pass
try:
    from rich.console import Console
    from rich.progress import Progress, track
    console = Console(file=io.StringIO(), force_terminal=True)
    def rich_tracked(number):
        for _ in track(range(number), console=console): pass
    results["rich.track"] = best(rich_tracked, N) - empty
    def advanced(number):
        with Progress(console=console) as bar:
            task = bar.add_task("x", total=number)
            advance = bar.advance
            for _ in range(number): advance(task)
    results["rich.advance"] = best(advanced, 20_000, 3) - empty
except ImportError:
    pass
print(json.dumps(results))
'''


def environment(state):
    """Return an environment in which Python keeps its compiled files, as it does for users."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(ROOT), "SUPERVISOR_STATE": state}


def import_times(env):
    """Return the seconds that each import takes beyond the bare interpreter, and the interpreter's own."""
    times = {name: [] for name in IMPORTS}
    for number in range(IMPORT_ROUNDS + 1):
        for name, code in IMPORTS.items():
            began = perf_counter()
            subprocess.run([sys.executable, "-c", code], env=env, check=True)
            if number:  # the first round compiles
                times[name].append(perf_counter() - began)
    bare = median(times["the interpreter"])
    return bare, {name: median(each) - bare for name, each in times.items() if name != "the interpreter"}


def call_times(env):
    """Return what the calls and loops take, in ns, and how many threads a silent run started."""
    rounds = []
    for _ in range(CALL_ROUNDS):
        done = subprocess.run([sys.executable, "-c", CHILD], env=env, check=True, capture_output=True, text=True)
        rounds.append(json.loads(done.stdout))
    return {name: median(each[name] for each in rounds) for name in rounds[0]}


def rows():
    """Yield the rows of the table: what, ours, beside what, theirs, ratio, goal."""
    with tempfile.TemporaryDirectory() as state:
        env = environment(state)
        bare, imports = import_times(env)
        took = call_times(env)
    yield row("import supervisor", imports["supervisor"] * 1e3, "import attrs", imports["attrs"] * 1e3, "ms", "1.4 x")
    yield f"| (the bare interpreter) | {bare * 1e3:.1f} ms | | | | |"
    us = {name: value / 1e3 for name, value in took.items()}
    yield row("empty call, nothing kept", us["silent"], "a class with a clock", us["timed"], "us", "5 us")
    yield row("the same, taking its run", us["given"], "a plain call", us["plain"], "us", "5 us")
    yield row("empty call, kept in the journal", us["kept"], "nothing kept", us["silent"], "us", "")
    for ours, others, goal in (
        ("track", ("tqdm", "rich.track"), "100 ns"),
        ("progress", ("tqdm.update", "rich.advance"), "130 ns"),
        ("progress with total", ("tqdm.update",), "130 ns"),
    ):
        for theirs in others:
            if theirs in took:
                yield row(f"run.{ours}, an item", took[ours], theirs, took[theirs], "ns", goal)
        if not any(theirs in took for theirs in others):
            yield f"| run.{ours}, an item | {took[ours]:.0f} ns | | | | {goal} |"
    yield f"| threads of a silent run | {took['threads']:.0f} | | | | 0 |"


def row(what, ours, beside, theirs, *unit_and_goal):
    unit, goal = unit_and_goal
    return f"| {what} | {ours:.3g} {unit} | {beside} | {theirs:.3g} {unit} | {ours / theirs:.2f} | {goal} |"


def main():
    print(
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors\n"
    )
    print("| what | ours | beside | theirs | ratio | goal |")
    print("|---|---|---|---|---|---|")
    for each in rows():
        print(each, flush=True)


if __name__ == "__main__":
    main()
