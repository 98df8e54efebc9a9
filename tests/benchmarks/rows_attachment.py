"""A log of 500 MB is attached."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.harness import Bench, CannotMeasureError, available, interleave, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 2**20
MOST, MOST_MIB = 1.3, 64


def rows(bench: Bench) -> Iterator[table.Row]:
    """Yield the row of the time and that of the memory."""
    log = bench.disk / "big.log"
    bench.ours("write_log.py", log, bench.log_mb)
    try:
        yield from measured(bench, log)
    finally:
        log.unlink()


def measured(bench: Bench, log: Path) -> Iterator[table.Row]:
    """Measure; what takes many times as long has one turn."""
    alone, missing = available(
        {way: partial(bench.theirs, "isal", "attach.py", way, log) for way in ("isal", "isal_threaded")}
    )
    if not alone:
        raise CannotMeasureError("; ".join(missing))
    ours = {way: partial(bench.ours, "attach.py", way, log) for way in ("supervisor", "supervisor_cut")}
    took = interleave(ours | alone, bench.rounds)
    slow, missing = {}, ()
    for name, way in (("ugrc-supervisor, SendGrid", "ugrc"), ("ugrc-supervisor, e-mail", "ugrc_mail")):
        try:
            slow[name] = bench.theirs("ugrc-supervisor", "attach.py", way, log)
        except CannotMeasureError as error:
            missing += (f"{name}: {error}",)
    without_isal = bench.ours("attach.py", "supervisor_zlib", log)
    taken = {way: [each["taken"] for each in some] for way, some in took.items()}
    peak = {way: median(each["peak"] for each in some) for way, some in took.items()}
    best = min(alone, key=lambda way: median(taken[way]))  # the faster of the two ways in which people call it
    mine, times = median(taken["supervisor"]), ratio(taken["supervisor"], taken[best])
    yield table.Row(
        key="attachment",
        what=f"a log of {bench.log_mb} MB attached",
        unit="s",
        ours=mine,
        limit=("isal alone", median(taken[best])),
        ratio=times,
        peers={name: each["taken"] for name, each in slow.items()} | {"ours without isal": without_isal["taken"]},
        missing=missing,
        goals=(table.at_most(times, MOST, "isal"),),
        notes=(f"cut to what a mail takes (22 MB) {table.figure(median(taken['supervisor_cut']), 's')}",),
    )
    yield table.Row(
        key="attachment's memory",
        what="the same, memory of the process at its peak",
        unit="MiB",
        ours=peak["supervisor"],
        limit=("isal alone", peak[best]),
        ratio=peak["supervisor"] / peak[best],
        peers={name: each["peak"] for name, each in slow.items()},
        missing=missing,
        goals=(table.at_most_figure(peak["supervisor"], MOST_MIB * MIB, "MiB"),),
    )
