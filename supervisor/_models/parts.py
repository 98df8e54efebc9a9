"""What messages are made of, whoever they go to: texts, tables, code and bars.

A message holds what cannot be found out later. All that its report says already is only referred to, by one
:class:`Summary`: so a traceback is stored once, and whoever sends the message turns it into text, HTML or blocks.
"""

from __future__ import annotations

from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from supervisor._models.kinds import Outcome

    TextChange: TypeAlias = Callable[[str], str]

LAST_RUNS = 30
"""How many earlier runs are looked at."""

MOST_IN_A_ROW = 500
"""Stop counting consecutive successes or failures at this number."""

_SPREADS = 4.0
_LEAST_SPREAD = 0.05  # of the median


def _frozen_values(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


def _frozen_baselines(value: Mapping[str, Baseline]) -> Mapping[str, Baseline]:
    return MappingProxyType(dict(value))


def _numbers(value: Iterable[float]) -> tuple[float, ...]:
    return tuple(value)


@attrs.frozen(kw_only=True)
class PastRun:
    """One earlier run.

    Args:
        outcome: How it ended.
        started_at: When it started, as an aware UTC datetime.
        duration_s: How long it took; for a run that died, until its last sign of life.
        values: What it recorded with ``run.record()``.
        fingerprint: The fingerprint of its error; "" without one.
    """

    outcome: Outcome
    started_at: datetime
    duration_s: float = 0.0
    values: Mapping[str, Any] = attrs.field(factory=dict, converter=_frozen_values, hash=False)
    fingerprint: str = ""


@attrs.frozen(kw_only=True)
class Past:
    """The runs of the same name that ended before a run started.

    Args:
        runs: The last of them, newest first, at most 30.
        successes: How many consecutive runs succeeded immediately before; counted up to 500.
        failures: How many consecutive runs failed immediately before. Interrupted, cancelled and skipped runs are
            ignored: they neither count nor end the row.
        failing_since: When the first of those failed runs started; None without any.
    """

    runs: tuple[PastRun, ...] = ()
    successes: int = 0
    failures: int = 0
    failing_since: datetime | None = None


@attrs.frozen
class Baseline:
    """The usual range of a number, from earlier successful runs.

    Args:
        median: Half of the numbers are below it.
        low: A tenth of the numbers are below it.
        high: A tenth of the numbers are above it.
        count: How many numbers it was computed from.
    """

    median: float
    low: float
    high: float
    count: int

    def stands_out(self, value: float, least: float = 0.0) -> bool:
        """Return whether a number is unusual: further from the median than four times the spread.

        The spread is half the distance between low and high, so that one outlier among the known numbers changes
        little, but at least 5 % of the median: numbers that were always equal have no spread of their own, and a
        small change of them is no reason for a warning.

        Args:
            value: The number.
            least: A difference up to this is never unusual.
        """
        if not isfinite(value):
            return True
        spread = max((self.high - self.low) / 2, _LEAST_SPREAD * abs(self.median))
        return abs(value - self.median) > max(_SPREADS * spread, least)


@attrs.frozen
class Bars:
    """A bar chart of the durations of the last runs, oldest first.

    Args:
        durations_s: The duration of each run.
        marks: One character for each run: "." succeeded, "x" failed, "-" neither, "o" still running.
        first: When the first run started.
        last: When the last one started.
        text: The same information as a sentence, for formats without charts.
    """

    durations_s: tuple[float, ...] = attrs.field(converter=_numbers)
    marks: str
    first: str
    last: str
    text: str

    def with_texts(self, change: TextChange) -> Bars:
        """Return a copy with its texts changed by a function."""
        return attrs.evolve(self, text=change(self.text))


@attrs.frozen(kw_only=True)
class Summary:
    """A placeholder in a message for the contents of its report, with what the report itself does not have.

    Args:
        note: An additional sentence, shown after the first one; "" for none.
        comparison: How the run compares with earlier ones, as a sentence; "" where nothing is known of them.
        baselines: The usual ranges of the recorded numbers, by name.
        duration_baseline: The usual range of the run's duration in seconds; None where it is not known.
        bars: The durations of the last runs; None where there are too few.
    """

    note: str = ""
    comparison: str = ""
    baselines: Mapping[str, Baseline] = attrs.field(factory=dict, converter=_frozen_baselines, hash=False)
    duration_baseline: Baseline | None = None
    bars: Bars | None = None

    def with_texts(self, change: TextChange) -> Summary:
        """Return a copy with its note and names changed by a function; other texts come from the report."""
        baselines = {change(name): each for name, each in self.baselines.items()}
        return attrs.evolve(self, note=change(self.note), baselines=baselines)


__all__ = ["Bars", "Code", "Facts", "MessagePart", "Part", "Row", "Summary", "Text", "as_data"]


def _rows(value: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(value)


@attrs.frozen
class Text:
    """One or more paragraphs.

    Args:
        text: The text; its line breaks are kept, and long lines are wrapped.
        is_strong: True for what a reader should see first.
    """

    text: str
    is_strong: bool = attrs.field(default=False, kw_only=True)

    def with_texts(self, change: TextChange) -> Text:
        """Return a copy with its texts changed by a function."""
        return attrs.evolve(self, text=change(self.text))


@attrs.frozen
class Row:
    """One row of a table.

    Args:
        label: Its name ("empty").
        text: Its value ("0").
        aside: What the value is compared with ("usually 11,900-12,300"); "" for nothing.
        stands_out: True for what a reader should not miss.
    """

    label: str
    text: str
    aside: str = ""
    stands_out: bool = False

    def with_texts(self, change: TextChange) -> Row:
        """Return a copy with its texts changed by a function."""
        return Row(change(self.label), change(self.text), change(self.aside), self.stands_out)


@attrs.frozen
class Facts:
    """A table of labels and values.

    Args:
        title: Its heading; "" for none.
        rows: Its rows.
        role: "values" for what the script recorded, "locals" for local variables, "machine" for the small print of
            when, where and how the run ran; "" for any other.
    """

    title: str
    rows: tuple[Row, ...] = attrs.field(converter=_rows)
    role: Literal["", "values", "locals", "machine"] = ""

    def with_texts(self, change: TextChange) -> Facts:
        """Return a copy with its texts changed by a function."""
        return Facts(change(self.title), (each.with_texts(change) for each in self.rows), self.role)


@attrs.frozen
class Code:
    """Lines whose blanks and line breaks are kept exactly.

    Args:
        title: Their heading; "" for none.
        text: The lines, separated by line feeds.
        role: "source" for lines of a program, where ">" marks the one that failed; "traceback" or "log"; "" for any
            other.
    """

    title: str
    text: str
    role: Literal["", "source", "traceback", "log"] = ""

    def with_texts(self, change: TextChange) -> Code:
        """Return a copy with its texts changed by a function."""
        return Code(change(self.title), change(self.text), self.role)


Part: TypeAlias = "Text | Facts | Code | Bars"
"""What a message shows."""

MessagePart: TypeAlias = "Part | Summary"
"""What a message holds: parts, and the placeholder for the contents of its report."""


def as_data(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Return parts as plain data, each a dict with its ``type``: "text", "facts", "code" or "bars"."""
    return [{"type": type(part).__name__.lower(), **attrs.asdict(part)} for part in parts]
