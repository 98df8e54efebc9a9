"""What messages are made of, whoever they go to, and what is known of a run's earlier runs and of its alerts.

A message holds what cannot be found out later. All that its report says already is only referred to, by one
:class:`Summary`: so a traceback is stored once, and whoever sends the message turns it into text, HTML or blocks.

The first three stalls of a run are notified, each of the first two with its end. From then on a stall is notified when
an hour has passed since the last notification, and that the run goes on only with its end.
"""

from __future__ import annotations

from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self, TypeAlias, TypeVar

import attrs

from supervisor._text import counted, duration, local_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from supervisor._models import Outcome

    TextChange: TypeAlias = Callable[[str], str]

# Alerts of a run

NOTIFIED_SINGLY = 3
"""So many stalls of a run are notified one by one."""

NOTIFY_AGAIN_AFTER_S = 3600.0
"""Later stalls are notified when so many seconds have passed since the last notification."""


class Notification(NamedTuple):
    """An alert that people are to be notified of now.

    Args:
        times: How many there were of it in this run so far, with this one; a run can stall many times.
        skipped: How many right before it were not notified.
    """

    times: int = 1
    skipped: int = 0


class StallHistory(NamedTuple):
    """The stalls of one run.

    Args:
        since_s: When the last one began.
        notified_at_s: When people were last notified of one.
        times: How many there were.
        skipped: How many there were since the last notification.
    """

    since_s: float
    notified_at_s: float
    times: int = 1
    skipped: int = 0

    def may_notify(self, now_s: float) -> bool:
        """Return whether another stall would be notified now."""
        return self.times < NOTIFIED_SINGLY or now_s - self.notified_at_s >= NOTIFY_AGAIN_AFTER_S

    def skipped_one_is_due(self, now_s: float) -> bool:
        """Return whether a stall that was skipped, and that lasts, is to be notified now."""
        return self.skipped > 0 and self.may_notify(now_s)


def recovery_is_notified(times: int) -> bool:
    """Return whether people are notified that a run goes on: no longer once it has stalled so many times."""
    return times < NOTIFIED_SINGLY


def next_stall(
    known: StallHistory | None, since_s: float, now_s: float, *, is_new: bool = False
) -> tuple[StallHistory, Notification | None] | None:
    """Return the history after a run was found to be stalled, and what to notify people of.

    Args:
        known: What was known before; None when the run had not stalled.
        since_s: When its last progress was.
        now_s: The moment, by the same clock.
        is_new: True for a stall of its own although no progress is known since the last one.

    Returns:
        None when nothing changes: people were notified of this stall, or it is still skipped.
    """
    if known is None:
        return StallHistory(since_s, now_s), Notification()
    is_known = since_s == known.since_s and not is_new
    may_notify = known.may_notify(now_s)
    if is_known and not known.skipped_one_is_due(now_s):
        return None
    times, skipped = known.times + (not is_known), known.skipped
    if may_notify:
        return StallHistory(since_s, now_s, times), Notification(times, skipped - is_known)
    return StallHistory(since_s, known.notified_at_s, times, skipped + 1), None


@attrs.frozen(kw_only=True)
class AlertSummary:
    """How a run has stalled or taken too long, for the messages of its stalls and of its end.

    Args:
        stalls: How often it has stalled.
        stalled_at: When the stall began; of interest where there was one.
        lasted_s: How long the stall lasted; None where that is not known.
        is_overdue: Whether it took longer than it should.
    """

    stalls: int = 0
    stalled_at: datetime | None = None
    lasted_s: float | None = None
    is_overdue: bool = False

    @property
    def clause(self) -> str:
        """Return it in short ("it had stalled 3 times and was overdue"); "" for nothing."""
        return self._worded(f" {counted(self.stalls, 'time')}" if self.stalls > 1 else "")

    @property
    def sentence(self) -> str:
        """Return it with times ("It had stalled at 2026-03-02 02:10:00 for 12 min."); "" for nothing."""
        if self.stalls != 1 or self.stalled_at is None:
            worded = self.clause
        else:
            lasted = f" for {duration(self.lasted_s)}" if self.lasted_s is not None else ""
            worded = self._worded(f" at {local_time(self.stalled_at)}{lasted}")
        return f"{worded[:1].upper()}{worded[1:]}." if worded else ""

    def _worded(self, stalls: str) -> str:
        parts = [f"had stalled{stalls}"] if self.stalls else []
        parts += ["was overdue"] if self.is_overdue else []
        return f"it {' and '.join(parts)}" if parts else ""


# Earlier runs

LAST_RUNS = 30
"""How many earlier runs are looked at."""

LAST_SUCCESSES = 20
"""How many successful runs a baseline is computed from at most."""

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
        earlier_successes: Successes before those runs, newest first: as many as the runs lack for a baseline, which is
            computed from 20.
        successes: How many consecutive runs succeeded immediately before; counted up to 500.
        failures: How many consecutive runs failed immediately before. Interrupted, cancelled and skipped runs are
            ignored: they neither count nor end the row.
        failing_since: When the first of those failed runs started; None without any.
    """

    runs: tuple[PastRun, ...] = ()
    earlier_successes: tuple[PastRun, ...] = ()
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


def _rows(value: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(value)


@attrs.frozen(kw_only=True)
class Summary:
    """A placeholder in a message for the contents of its report, with what the report itself does not have.

    Args:
        note: An additional sentence, shown after the first one; "" for none.
        comparison: How the run compares with earlier ones, as a sentence; "" where nothing is known of them.
        baselines: The usual ranges of the recorded numbers, by name.
        duration_baseline: The usual range of the run's duration in seconds; None where it is not known.
        bars: The durations of the last runs; None where there are too few.
        is_presumed: True for a run that gives no sign of life: it is presumed to have died, but nobody can look.
        before: The failures in a row before it, of which nobody was notified: when each started, and its error.
        changes: What is around the run and was not around the last good one, under a title of its own.
        changes_title: That title.
    """

    note: str = ""
    comparison: str = ""
    baselines: Mapping[str, Baseline] = attrs.field(factory=dict, converter=_frozen_baselines, hash=False)
    duration_baseline: Baseline | None = None
    bars: Bars | None = None
    is_presumed: bool = False
    before: tuple[Row, ...] = attrs.field(default=(), converter=_rows)
    changes: tuple[Row, ...] = attrs.field(default=(), converter=_rows)
    changes_title: str = ""

    def with_texts(self, change: TextChange) -> Summary:
        """Return a copy with its note and names changed by a function; other texts come from the report."""
        baselines = {change(name): each for name, each in self.baselines.items()}
        return attrs.evolve(self, note=change(self.note), baselines=baselines)


# Parts


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
        role: "values" for what the script recorded, "locals" for local variables, "links" for addresses of pages by
            their titles, "machine" for the small print of when, where and how the run ran; "" for any other.
    """

    title: str
    rows: tuple[Row, ...] = attrs.field(converter=_rows)
    role: Literal["", "values", "locals", "links", "machine"] = ""

    def with_texts(self, change: TextChange) -> Facts:
        """Return a copy with its texts changed by a function."""
        return Facts(change(self.title), (each.with_texts(change) for each in self.rows), self.role)


def _texts(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


def _flags(value: Iterable[bool]) -> tuple[bool, ...]:
    return tuple(value)


def _places(value: Iterable[int]) -> tuple[int, ...]:
    return tuple(value)


def _cells(value: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(each) for each in value)


@attrs.frozen
class Table:
    """A table of several columns.

    Args:
        title: Its heading; "" for none.
        columns: The headings of its columns.
        rows: Its rows, each with as many texts as there are columns.
        marked: The places of the rows that a reader should not miss.
        numeric: For each column whether it has numbers, which stand on the right; () for a table of texts.
        note: What is not shown ("The first 20 of 31 rows."); "" for nothing.
    """

    title: str
    columns: tuple[str, ...] = attrs.field(converter=_texts)
    rows: tuple[tuple[str, ...], ...] = attrs.field(converter=_cells)
    marked: tuple[int, ...] = attrs.field(default=(), converter=_places)
    numeric: tuple[bool, ...] = attrs.field(default=(), converter=_flags, kw_only=True)
    note: str = attrs.field(default="", kw_only=True)

    def with_texts(self, change: TextChange) -> Table:
        """Return a copy with its texts changed by a function."""
        title, columns = change(self.title), tuple(map(change, self.columns))
        rows = tuple(tuple(change(cell) for cell in row) for row in self.rows)
        return Table(title, columns, rows, self.marked, numeric=self.numeric, note=change(self.note))

    @property
    def is_data(self) -> bool:
        """Return whether it is a table of the script's own data."""
        return bool(self.numeric or self.note)

    def as_facts(self) -> Facts:
        """Return it as a table of labels and values, for formats without columns."""
        rows = [
            Row(row[0], ", ".join(filter(None, row[1:])), stands_out=place in self.marked)
            for place, row in enumerate(self.rows)
        ]
        return Facts(self.title, rows)


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


Part: TypeAlias = "Text | Facts | Table | Code | Bars"
"""What a message shows."""

MessagePart: TypeAlias = "Part | Summary"
"""What a message holds: parts, and the placeholder for the contents of its report."""


class _HasTexts(Protocol):
    def with_texts(self, change: TextChange) -> Self:
        """Return a copy with its texts changed by a function."""


AnyPart = TypeVar("AnyPart", bound=_HasTexts)


def with_texts(parts: Iterable[AnyPart], change: Callable[[list[str]], Iterable[str]]) -> tuple[AnyPart, ...]:
    """Return parts with their texts changed, all of them in one call.

    Args:
        parts: The parts.
        change: Takes the texts, part by part and in the order of their fields, and returns as many in this order.
    """
    parts, texts = tuple(parts), list[str]()

    def noted(text: str) -> str:
        texts.append(text)
        return text

    for part in parts:
        part.with_texts(noted)
    changed = list(change(texts))
    following = iter(changed)
    return parts if changed == texts else tuple(part.with_texts(lambda _: next(following)) for part in parts)


def as_data(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Return parts as plain data, each a dict with its ``type``: "text", "facts", "table", "code" or "bars"."""
    return [{"type": type(part).__name__.lower(), **attrs.asdict(part)} for part in parts]
