"""What is known of one script: all its runs, summed up while they are read; and the page's codes for outcomes."""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from supervisor import _models
from supervisor._cli.report.formatting import day, line, plain_number
from supervisor._messages.baseline import baseline_of
from supervisor._models import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervisor._alerts.evaluation import Alert
    from supervisor._models.parts import Baseline
    from supervisor._store.records import RunRecord

RUNNING = "running"
OUTCOMES: tuple[str, ...] = (RUNNING, *map(str, Outcome))
"""All outcomes; a run's code is its place in here."""
CODES = {outcome: code for code, outcome in enumerate(OUTCOMES)}

FAILED = tuple(CODES[each] for each in _models.FAILED)
"""The codes of what makes a streak of failures longer."""
SUCCEEDED = tuple(CODES[each] for each in _models.SUCCEEDED)
"""The codes of what counts as a success."""

DAYS: dict[str, str] = {
    "good": "all went well",
    "warned": "warnings",
    "part": "some failed",
    "bad": "failed",
    "died": "died",
    "stopped": "stopped or cancelled",
    "skipped": "skipped",
    "running": "still running",
}
"""The kinds of days in a calendar, with their texts in the legend."""


def code_of(outcome: str | None) -> int:
    """Return the code of an outcome; one that this version does not know counts as a failure."""
    return CODES[RUNNING] if outcome is None else CODES.get(outcome, CODES["failure"])


def day_of(counts: Sequence[int]) -> str:
    """Return the kind of a day from the number of its runs with each outcome."""
    have = {outcome for outcome, count in zip(OUTCOMES, counts, strict=True) if count}
    if have & {"failure", "terminated", "died"}:
        if have & {"success", "warning"}:
            return "part"
        return "died" if "died" in have and "failure" not in have else "bad"
    for code, outcomes in (
        ("warned", {"warning"}),
        ("good", {"success"}),
        ("stopped", {"interrupted", "cancelled"}),
        ("running", {"running"}),
    ):
        if have & outcomes:
            return code
    return "skipped"


LAST_SUCCESSES = 20
"""How many of the last successes the usual values on the page are taken from."""
STRIP = 30
"""How many of the last runs stand in the table of scripts."""
CHARTED_VALUES = 8
_WITHOUT_DURATION = (CODES[RUNNING], CODES["skipped"])
_KNOWN_STEPS = 200
_KNOWN_VALUES = 100  # a script that records under ever new names must not fill the memory


@attrs.define
class Series:
    """Numbers over time, newest first.

    Args:
        at_s: When, in seconds since 1970.
        numbers: What.
        codes: How the run ended.
        successes: The numbers of the last successes.
    """

    at_s: array[float] = attrs.field(factory=lambda: array("d"))
    numbers: array[float] = attrs.field(factory=lambda: array("d"))
    codes: bytearray = attrs.field(factory=bytearray)
    successes: list[float] = attrs.field(factory=list)

    def add(self, at_s: float, number: float, code: int) -> None:
        """Add one run."""
        self.at_s.append(at_s)
        self.numbers.append(number)
        self.codes.append(code)
        if code in SUCCEEDED and len(self.successes) < LAST_SUCCESSES:
            self.successes.append(number)

    def last_successes(self, most: int) -> list[tuple[float, float]]:
        """Return when the last successful runs were, and their numbers."""
        places = (place for place, code in enumerate(self.codes) if code in SUCCEEDED)
        return [(self.at_s[place], self.numbers[place]) for place in islice(places, most)]

    @property
    def usual(self) -> Baseline | None:
        """Return what the number usually is, or None when too little is known."""
        return baseline_of(self.successes)


@attrs.frozen(kw_only=True)
class Seen:
    """A run, and what was found out about it.

    Args:
        run: The run as it lies in the journal.
        code: How it ended, by its place in ``OUTCOMES``.
        duration_s: How long it took, or takes so far.
        values: What it recorded.
        note: What else there is to say of it; "" for nothing.
        alerts: "stalled" and "overdue", where it is that; nothing for a run that died, whose outcome says so.
    """

    run: RunRecord
    code: int
    duration_s: float
    values: Mapping[str, Any]
    note: str = ""
    alerts: tuple[str, ...] = ()


@attrs.define
class Script:
    """All runs of one name, added from the newest to the oldest.

    Args:
        name: What its newest run is called, fit to be shown.
        index: Its place among the scripts.
        newest: The newest run.
        counts: How many runs ended in which way, by their codes.
        days: The same for each day.
        durations: How long its runs took.
        values: The numbers that it recorded, by their names as they are recorded.
        steps: How long its steps took in the last successes, by their names.
        streak: How many of the newest runs in a row were all good, or all failed; see ``is_failing``.
        is_failing: True when the newest run that succeeded or failed did fail; None before any ended.
        streak_since_s: When the first of the streak started.
        alerts: What is wrong with it now.
    """

    name: str
    index: int
    newest: Seen
    counts: list[int] = attrs.field(factory=lambda: [0] * len(OUTCOMES))
    days: dict[int, list[int]] = attrs.field(factory=dict)
    durations: Series = attrs.field(factory=Series)
    values: dict[str, Series] = attrs.field(factory=dict)
    steps: dict[str, list[float]] = attrs.field(factory=dict)
    streak: int = 0
    is_failing: bool | None = None
    streak_since_s: float = 0.0
    alerts: list[Alert] = attrs.field(factory=list)
    _streak_is_over: bool = False
    _read_steps: int = 0

    def add(self, seen: Seen) -> None:
        """Add the next older run."""
        run, code = seen.run, seen.code
        self.counts[code] += 1
        self.days.setdefault(day(run.started_at_s), [0] * len(OUTCOMES))[code] += 1
        self._add_to_streak(run, code)
        if run.stored_steps is not None and code in SUCCEEDED and self._read_steps < LAST_SUCCESSES:
            self._add_steps(run)
        if code not in _WITHOUT_DURATION:
            self.durations.add(run.started_at_s, seen.duration_s, code)
        for name, value in seen.values.items():
            known = plain_number(value)
            if known is None:
                continue
            if name not in self.values and len(self.values) < _KNOWN_VALUES:
                self.values[name] = Series()
            if name in self.values:
                self.values[name].add(run.started_at_s, known, code)

    def _add_steps(self, run: RunRecord) -> None:
        self._read_steps += 1
        for step in run.steps:
            if step.count == 1 and (step.name in self.steps or len(self.steps) < _KNOWN_STEPS):
                self.steps.setdefault(step.name, []).append(step.duration_s)

    @property
    def usual_steps(self) -> dict[str, Baseline]:
        """Return how long each step usually takes, as far as that is known."""
        found = ((name, baseline_of(durations_s)) for name, durations_s in self.steps.items())
        return {line(name, 100): usual for name, usual in found if usual is not None}

    def _add_to_streak(self, run: RunRecord, code: int) -> None:
        if self._streak_is_over or (code not in SUCCEEDED and code not in FAILED):
            return
        failed = code in FAILED
        if self.is_failing is None:
            self.is_failing = failed
        if self.is_failing is failed:
            self.streak, self.streak_since_s = self.streak + 1, run.started_at_s
        else:
            self._streak_is_over = True

    @property
    def runs(self) -> int:
        """Return how many runs there are."""
        return sum(self.counts)

    @property
    def is_running(self) -> bool:
        """Return True while the newest run is under way."""
        return self.newest.code == CODES[RUNNING]

    @property
    def schedule(self) -> str:
        """Return when it should run, as its newest run had it; "" without a schedule."""
        return line(self.newest.run.schedule or "")

    @property
    def good_share(self) -> float | None:
        """Return which share of the runs that succeeded or failed did succeed; None before the first."""
        failed = sum(self.counts[code] for code in FAILED)
        good = sum(self.counts[code] for code in SUCCEEDED)
        return good / (good + failed) if good + failed else None

    def charted(self) -> list[tuple[str, Series]]:
        """Return the numbers worth a chart: those recorded most often, by their names as they can be shown."""
        often = Counter({name: len(series.numbers) for name, series in self.values.items()})
        chosen = [name for name, count in often.most_common(CHARTED_VALUES) if count > 1]
        return [(line(name, 60), self.values[name]) for name in sorted(chosen)]
