"""``supervisor run -- true``, beside an interpreter that starts ``true``, and beside moreutils' chronic."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from functools import partial
from importlib.util import find_spec
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.harness import ROOT, Bench, CannotMeasureError, environment, interleave, last_line, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = "import subprocess; subprocess.run(['true'])"
MOST = 3


def rows(bench: Bench) -> Iterator[table.Row]:
    """Yield the row."""
    row = partial(table.Row, key="command", what="`supervisor run -- true`")
    if not find_spec("supervisor._cli.exec"):
        yield row(missing=("not yet: there is no such command",))
        return
    chronic, true = shutil.which("chronic"), shutil.which("true")
    if true is None:
        raise CannotMeasureError("there is no program `true` here")
    home = bench.home()
    commands = {
        "ours": [*ours(), "run", "--", "true"],
        "limit": [sys.executable, "-c", LIMIT],
        **({"chronic (Perl)": [chronic, "true"]} if chronic else {}),
    }
    took = interleave(
        {name: partial(wall_s, each, home, bench) for name, each in commands.items()}, 2 * bench.rounds, warm=True
    )
    times = ratio(took["ours"], took["limit"])
    yield row(
        ours=median(took["ours"]),
        limit=("python and subprocess", median(took["limit"])),
        ratio=times,
        peers={"chronic (Perl)": median(took["chronic (Perl)"])} if chronic else {},
        missing=() if chronic else ("chronic: moreutils is not on this system",),
        goals=(table.at_most(times, MOST, "python"),),
    )


def ours() -> list[str]:
    """Return the command that is installed beside this interpreter; as a module where it is not."""
    script = shutil.which("supervisor", path=sysconfig.get_path("scripts"))
    return [script] if script else [sys.executable, "-m", "supervisor"]


def wall_s(command: list[str], home: Path, bench: Bench) -> float:
    """Return the seconds that a command takes as a process."""
    env = environment(home, ROOT)
    began = perf_counter()
    done = subprocess.run(
        command, env=env, cwd=bench.scripts, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    taken = perf_counter() - began
    if done.returncode:
        raise CannotMeasureError(f"{command[0]} fails: {last_line(done.stderr.decode(errors='replace'))}")
    return taken
