"""The table: a row for each thing that is measured, as Markdown, and the words about the machine."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNITS = {"s": 1.0, "ms": 1e3, "µs": 1e6, "ns": 1e9, "MiB": 1 / 2**20}


@attrs.frozen
class Goal:
    """Something that a row is to reach: in words, and whether it did; None when that could not be seen."""

    words: str
    met: bool | None


@attrs.frozen(kw_only=True)
class Row:
    """What was measured of one thing.

    Args:
        key: Names the row on the command line and in the stored ratios.
        what: What was measured.
        unit: What the figures are shown in; they are seconds and bytes here.
        ours: Our figure; None when there is none.
        limit: What nobody can beat, and its name.
        ratio: Ours divided by the limit, as the median of the rounds' ratios.
        peers: The figures of the others.
        goals: What we want to reach.
        missing: Who could not be measured, and why.
        notes: What else is to be said.
    """

    key: str
    what: str
    unit: str = "ms"
    ours: float | None = None
    limit: tuple[str, float] | None = None
    ratio: float | None = None
    peers: Mapping[str, float] = attrs.field(factory=dict)
    goals: tuple[Goal, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def cells(self) -> Iterable[str]:
        """Return the cells of the row."""
        yield self.what
        yield "-" if self.ours is None else figure(self.ours, self.unit)
        yield "-" if self.limit is None else f"{self.limit[0]} {figure(self.limit[1], self.unit)}"
        yield "-" if self.ratio is None else f"{self.ratio:.2f}"
        yield "; ".join(f"{goal.words}: {VERDICTS[goal.met]}" for goal in self.goals) or "-"
        yield "<br>".join([*map(self._beside, self.peers), *self.missing]) or "-"

    def _beside(self, peer: str) -> str:
        value = self.peers[peer]
        times = f" ({value / self.ours:.2g} x)" if self.ours else ""
        return f"{peer} {figure(value, self.unit)}{times}"


VERDICTS = {True: "met", False: "**missed**", None: "not seen"}
HEAD = ("what", "supervisor", "limit", "ratio", "goal", "others (times ours)")


def figure(value: float, unit: str) -> str:
    """Return a figure with three digits and its unit."""
    number = value * UNITS[unit]
    digits = 0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 2
    return f"{number:,.{digits}f} {unit}"


def at_most(ratio: float | None, most: float, of: str) -> Goal:
    """Return the goal that a ratio is at most so many times something."""
    return Goal(f"at most {most:g} x {of}", None if ratio is None else ratio <= most)


def at_most_figure(value: float | None, most: float, unit: str) -> Goal:
    """Return the goal that a figure is at most this."""
    return Goal(f"at most {most * UNITS[unit]:g} {unit}", None if value is None else value <= most)


def ahead(value: float | None, others: Mapping[str, float], of: str, *, times: float = 1.0) -> Goal:
    """Return the goal to be ahead of all others that could be measured, or so many times."""
    words = f"ahead of {of}" if times == 1 else f"{of} at least {times:g} x ours"
    if value is None or not others:
        return Goal(words, None)
    return Goal(words, all(other > value * times for other in others.values()))


def markdown(rows: Iterable[Row]) -> str:
    """Return the table, and below it what else is to be said of its rows."""
    rows = list(rows)
    lines = [f"| {' | '.join(HEAD)} |", "|---|---:|---:|---:|---|---|"]
    lines += [f"| {' | '.join(each.replace('|', '/') for each in row.cells())} |" for row in rows]
    notes = [f"- {row.what}: {note}" for row in rows for note in row.notes]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def machine() -> str:
    """Return in words what it was measured on; never the machine's name."""
    cores = os.cpu_count() or 1
    memory = _memory_gib()
    parts = [
        f"{cores} core{'s' if cores > 1 else ''} ({_processor()})",
        *([f"{memory:.0f} GiB of memory"] if memory else []),
        _system(),
        f"{platform.python_implementation()} {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}",
    ]
    return ", ".join(parts)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    facts: dict[str, Any] = {}
    if info.exists():
        facts = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        facts = {name.strip(): value.strip() for name, value in facts.items()}
    virtual = ", virtual" if "hypervisor" in facts.get("flags", "").split() else ""
    return (facts.get("model name") or platform.processor() or "unknown model") + f", {platform.machine()}{virtual}"


def _memory_gib() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return 0.0


def _system() -> str:
    if sys.platform == "linux":
        try:
            return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release().split('-')[0]}"
        except (OSError, KeyError):
            return f"Linux {platform.release().split('-')[0]}"
    return f"{platform.system()} {platform.release()}"
