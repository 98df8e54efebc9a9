"""What the journal costs, beside plain inserts that are as durable and take turns with it on the same disk."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.harness import Bench, interleave

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST, MOST_OF_NOTIFY = 1.5, 2.5
TWO, ONE = "two committed inserts", "one committed insert"


def kept_rows(bench: Bench) -> Iterator[table.Row]:
    """Yield the row of a run that is kept."""
    took = by_way(bench, "block", "storage", "block_rows")
    notes = (
        f"its rows by bare SQL {times(took['block_rows']):.2f} x; what the journal does of it {times(took['storage']):.2f} x",
    )
    yield row("kept call", "an empty supervised block, kept in the journal", TWO, took["block"], MOST, notes)


def notify_rows(bench: Bench) -> Iterator[table.Row]:
    """Yield the row of a message that is accepted."""
    took = by_way(bench, "notify", "notify_rows")
    notes = (f"its row by bare SQL {times(took['notify_rows']):.2f} x",)
    yield row("notify", "`run.notify()` returns", ONE, took["notify"], MOST_OF_NOTIFY, notes)


def by_way(bench: Bench, *ways: str) -> dict[str, list[dict[str, float]]]:
    """Return what a child measures of each way, in turns."""
    return interleave({way: partial(bench.ours, "committing.py", way) for way in ways}, bench.rounds)


def times(took: list[dict[str, float]]) -> float:
    """Return how many times the limit something takes."""
    return median(each["ratio"] for each in took)


def row(  # noqa: PLR0917 - the columns of a row
    key: str, what: str, limit: str, took: list[dict[str, float]], most: float, notes: tuple[str, ...]
) -> table.Row:
    """Return a row of what a child measured in turns."""
    ratio = times(took)
    return table.Row(
        key=key,
        what=what,
        unit="µs",
        ours=median(each["ours"] for each in took),
        limit=(limit, median(each["limit"] for each in took)),
        ratio=ratio,
        goals=(table.at_most(ratio, most, limit),),
        notes=notes,
    )
