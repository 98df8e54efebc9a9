"""What a supervised call costs: empty, and failing."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.harness import Bench, available, interleave, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

KEEP_A_RUN = ("cronitor", "knockknock", "sentry-sdk")
OTHERS = {
    "cronitor": "cronitor",
    "knockknock": "knockknock",
    "sentry-sdk": "sentry",
    "stamina": "stamina",
    "tenacity": "tenacity",
    "loguru": "loguru",
}
SHOWN = {
    "cronitor": "cronitor (network stubbed)",
    "knockknock": "knockknock (network stubbed)",
    "sentry-sdk": "sentry-sdk's monitor (transport in memory)",
    "stamina": "stamina (keeps no run)",
    "tenacity": "tenacity (keeps no run)",
    "loguru": "loguru.catch (keeps no run)",
}


def rows(bench: Bench) -> Iterator[table.Row]:
    """Yield the row of the empty call."""
    working, missing = available({peer: partial(bench.theirs, peer, "calls.py", way) for peer, way in OTHERS.items()})
    ours = {way: partial(bench.ours, "calls.py", way) for way in ("watch", "supervisor", "supervisor_with_run")}
    took = interleave(ours | working, bench.rounds)
    mine = median(took["supervisor"])
    peers = {SHOWN[peer]: median(took[peer]) for peer in working}
    keeping = {peer: median(took[peer]) for peer in working if peer in KEEP_A_RUN}
    yield table.Row(
        key="empty call",
        what="an empty supervised call, no handlers, `journal=False`",
        unit="µs",
        ours=mine,
        limit=("a class with a clock, by hand", median(took["watch"])),
        ratio=ratio(took["supervisor"], took["watch"]),
        peers=peers,
        missing=missing,
        goals=(table.at_most_figure(mine, 5e-6, "µs"), table.ahead(mine, keeping, "all that keep a run")),
        notes=(f"taking its run as a parameter {table.figure(median(took['supervisor_with_run']), 'µs')}",),
    )


def failing_rows(bench: Bench) -> Iterator[table.Row]:
    """Yield a row of what composing takes, and one of the whole call; the others do all of it in the caller's thread."""
    working, missing = available(
        {
            "loguru": partial(bench.theirs, "loguru", "failing.py", "loguru"),
            "sentry-sdk": partial(bench.theirs, "sentry-sdk", "failing.py", "sentry"),
        }
    )
    ours = {
        way: partial(bench.ours, "failing.py", way) for way in ("format_exception", "supervisor", "supervisor_compose")
    }
    took = interleave(ours | working, bench.rounds)
    limit, peers = median(took["format_exception"]), {peer: median(took[peer]) for peer in working}
    for key, way, what in (
        ("failing call, composed", "supervisor_compose", "a failing call, from the exception to the composed message"),
        ("failing call", "supervisor", "the same with its run, the handler's worker thread, and the wait for it"),
    ):
        times, mine = ratio(took[way], took["format_exception"]), median(took[way])
        goals = (table.ahead(mine, peers, "both"),)
        yield table.Row(
            key=key,
            what=what,
            unit="µs",
            ours=mine,
            limit=("`traceback.format_exception`", limit),
            ratio=times,
            peers=peers,
            missing=missing,
            goals=(table.at_most(times, 3, "the limit"), *goals) if way == "supervisor_compose" else goals,
        )
