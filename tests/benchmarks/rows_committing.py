"""What the journal costs, beside plain inserts that are as durable and take turns with it on the same disk."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.harness import Bench, interleave

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 1.5
TWO, ONE = "two committed inserts", "one committed insert"


def kept_rows(bench: Bench) -> Iterator[table.Row]:
    """Yield the row of a run that is kept."""
    took = interleave({way: partial(bench.ours, "committing.py", way) for way in ("block", "storage")}, bench.rounds)
    storage = median(each["ratio"] for each in took["storage"])
    note = f"the storage alone, start and end of a run, {storage:.2f} x"
    yield row("kept call", "an empty supervised block, kept in the journal", TWO, took["block"], (note,))


def notify_rows(bench: Bench) -> Iterator[table.Row]:
    """Yield the row of a message that is accepted."""
    took = interleave({"notify": partial(bench.ours, "committing.py", "notify")}, bench.rounds)
    yield row("notify", "`run.notify()` returns", ONE, took["notify"])


def row(key: str, what: str, limit: str, took: list[dict[str, float]], notes: tuple[str, ...] = ()) -> table.Row:
    """Return a row of what a child measured in turns."""
    times = median(each["ratio"] for each in took)
    return table.Row(
        key=key,
        what=what,
        unit="µs",
        ours=median(each["ours"] for each in took),
        limit=(limit, median(each["limit"] for each in took)),
        ratio=times,
        goals=(table.at_most(times, MOST, limit),),
        notes=notes,
    )
