"""What an item of ``run.track`` costs, and a call of ``run.progress``; also on a terminal, where a bar is shown."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.harness import Bench, available, interleave, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACK = {"tqdm": ("tqdm", "tqdm"), "rich.track": ("rich", "rich"), "alive_it": ("alive-progress", "alive")}
PROGRESS = {
    "tqdm.update": ("tqdm", "tqdm_update"),
    "rich's advance": ("rich", "rich_advance"),
    "alive_bar": ("alive-progress", "alive_bar"),
}
WHERE = {False: "", True: ", on a terminal"}
LASTING_S = {False: 0.1, True: 1.0}


def rows(bench: Bench) -> Iterator[table.Row]:
    """Yield a row for both, without a terminal and on one."""
    for terminal in (False, True):
        yield one(bench, "track", "an item of `run.track`", TRACK, 100e-9, terminal=terminal)
        yield one(bench, "progress", "a call of `run.progress`", PROGRESS, 130e-9, terminal=terminal)


def one(
    bench: Bench, way: str, what: str, others: dict[str, tuple[str, str]], most_s: float, *, terminal: bool
) -> table.Row:
    """Return one row."""
    lasting_s = LASTING_S[terminal]
    ways = {
        name: partial(bench.theirs, peer, "progress.py", their_way, lasting_s, terminal=terminal)
        for name, (peer, their_way) in others.items()
    }
    working, missing = available(ways)
    ours = {"ours": partial(bench.ours, "progress.py", way, lasting_s, terminal=terminal)}
    took = interleave(ours | working, bench.rounds)
    more = {name: [each["more"] for each in some] for name, some in took.items()}
    plain = [each["plain"] for each in took["ours"]]
    mine, peers = median(more["ours"]), {name: median(more[name]) for name in working}
    return table.Row(
        key=way + WHERE[terminal],
        what=what + WHERE[terminal],
        unit="ns",
        ours=mine,
        limit=("the plain loop", median(plain)),
        ratio=ratio(more["ours"], plain),
        peers=peers,
        missing=missing,
        goals=(table.at_most_figure(mine, most_s, "ns"), table.ahead(mine, peers, "all")),
    )
