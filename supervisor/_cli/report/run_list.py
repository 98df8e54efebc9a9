"""The list of runs as data: what is the same for many runs stands there once, with the last lines of their logs.

It is bounded, and what was left out for that is counted.
"""

from __future__ import annotations

import os
import stat
from hashlib import blake2b
from math import isfinite
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._cli.report.formatting import line, lines, shown_value
from supervisor._cli.report.script_summary import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from supervisor._cli.report.script_summary import Seen
    from supervisor._models.values import ErrorDetails, Progress, RunStep
    from supervisor._store.records import RunRecord

LISTED = 20_000
"""The most runs in the list; calendars and charts show all."""
CARDS = 100
"""The most scripts with calendar and charts; the table of scripts has all."""
ERROR_CHARACTERS = 4_000_000
LOG_CHARACTERS = 2_000_000
LOG_FILES = 400
FACT_CHARACTERS = 6_000_000


class Budget:
    """Characters that can be spent.

    Args:
        characters: How many there are.
    """

    def __init__(self, characters: int) -> None:
        self._left = characters

    def takes(self, characters: int) -> bool:
        """Spend characters and return True, or return False when there are not enough."""
        if characters > self._left:
            return False
        self._left -= characters
        return True


@attrs.define
class LeftOut:
    """How much was left out of the page, which would grow too large with it.

    Args:
        runs: Runs that are not in the list.
        errors: Failed runs whose traceback is not there.
        logs: Runs whose log was not read.
        values: Runs whose recorded values are not there.
        cards: Scripts without calendar and charts.
    """

    runs: int = 0
    errors: int = 0
    logs: int = 0
    values: int = 0
    cards: int = 0


LINES = 50
_READ_BYTES = 64 * 1024
_LINE_CHARACTERS = 500
_CLOCKS_APART_S = 5.0  # of a file server and this machine

# Nothing here may wait for the writer of a FIFO, and no terminal may become this process's own.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


@attrs.frozen
class Logged:
    """A run that had a log.

    Args:
        row: Its place in the list of runs.
        path: Where its log is.
        started_at_s: When it started.
        failed: True when it failed.
    """

    row: int
    path: str
    started_at_s: float
    failed: bool


@attrs.frozen
class Tail:
    """The end of a log, or why there is none.

    Args:
        text: The last lines; "" without any.
        note: Why there are none, or what the reader should know of them; "" when all is well.
    """

    text: str = ""
    note: str = ""


def tails(runs: Iterable[Logged], redact: Callable[[str], str]) -> Iterator[tuple[Logged, Tail]]:
    """Yield the last lines of logs; of a file that several runs share, they belong to the newest run alone.

    Args:
        runs: The runs that had a log, newest first.
        redact: Takes secrets out of a text.
    """
    newest: dict[str, Logged] = {}
    for run in runs:
        if newest.setdefault(run.path, run) is not run:
            yield run, Tail(note="A later run has the same log file, so its end is not this run's.")
    budget = Budget(LOG_CHARACTERS)
    # The order of ``newest`` is that of the runs; failures go first, since theirs are the ones that are read.
    for count, run in enumerate(sorted(newest.values(), key=lambda run: not run.failed)):
        tail = tail_of(run, redact) if count < LOG_FILES else None
        if tail is not None and budget.takes(len(tail.text)):
            yield run, tail
        else:
            yield run, Tail(note=LEFT_OUT)


LEFT_OUT = "Its log was not read, to keep this page small."


def tail_of(run: Logged, redact: Callable[[str], str]) -> Tail:
    """Return the last 50 lines of a run's log, without secrets."""
    try:
        data, changed_at_s = _end_of(run.path)
    except FileNotFoundError:
        return Tail(note="Its log is no longer there.")
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        return Tail(note=f"Its log cannot be read: {getattr(error, 'strerror', None) or error}.")
    if data is None:
        return Tail(note="Its log is no regular file.")
    if changed_at_s + _CLOCKS_APART_S < run.started_at_s:
        return Tail(note="The log file is older than this run, which wrote nothing to it.")
    return _tail(data, redact)


def _end_of(path: str) -> tuple[bytes | None, float]:
    """Return the end of a file and when it was last changed; None if it is no regular file."""
    number = os.open(path, _FLAGS)
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            return None, 0.0
        start = max(0, status.st_size - _READ_BYTES)
        os.lseek(number, start, os.SEEK_SET)
        data = os.read(number, _READ_BYTES)
    finally:
        os.close(number)
    # The first line is cut off in its middle, and half a secret would not be known as one.
    return (data.partition(b"\n")[2] if start else data), status.st_mtime


def _tail(data: bytes, redact: Callable[[str], str]) -> Tail:
    if b"\0" in data:
        return Tail(note="Its log is no text in UTF-8.")
    # Redacted as a whole: a private key spans lines.
    last = redact(data.decode("utf-8", "replace")).splitlines()[-LINES:]
    shown = (each if len(each) <= _LINE_CHARACTERS else f"{each[:_LINE_CHARACTERS]}…" for each in last)
    text = lines("\n".join(shown), LINES * (_LINE_CHARACTERS + 2))
    return Tail(text) if text.strip() else Tail(note="Its log is empty.")


_VALUES = 50
_SUMMARY = 160
_WARNING = 300
_STEPS = 60


class Once:
    """Things that are kept once, and stand elsewhere by their number."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._known: dict[Any, int] = {}

    def number(self, key: Any, make: Callable[[], Any]) -> int:
        """Return the number of the thing with a key; make it when it is not there yet."""
        if key not in self._known:
            self._known[key] = len(self.all)
            self.all.append(make())
        return self._known[key]

    def text(self, text: str) -> int:
        """Return the number of a text."""
        return self.number(text, lambda: text)


class RunList:
    """The runs in the list, added from the newest to the oldest."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self.left_out = LeftOut()
        self._texts = Once()
        self._errors = Once()
        self._facts = Once()
        self._logged: list[Logged] = []
        self._error_budget = Budget(ERROR_CHARACTERS)
        self._fact_budget = Budget(FACT_CHARACTERS)

    def add(self, seen: Seen, script: int) -> None:
        """Add the next older run.

        Args:
            seen: The run.
            script: The place of its script.
        """
        run = seen.run
        if run.log_path:
            self._logged.append(Logged(len(self.rows), run.log_path, run.started_at_s, seen.code in FAILED))
        row: list[Any] = [
            line(run.id, 80),
            script,
            seen.code,
            round(run.started_at_s, 3),
            round(seen.duration_s, 5),
            self._values(seen.values),
            self._error(run),
            self._fact(run),
            run.pid,
            run.exit_code,
            _rounded(run.cpu_s),
            run.peak_memory_bytes,
            _rounded(run.ended_at_s),
            line(run.parent_id, 80) if run.parent_id else None,
            _progress(run.progress) if run.stored_progress is not None else None,
            seen.note or None,
            list(seen.alerts) or None,
            self._warnings(run),
            self._steps(run),
        ]
        while row[-1] is None:
            row.pop()
        self.rows.append(row)

    def data(self, redact: Callable[[str], str]) -> dict[str, Any]:
        """Return the list as it stands in the page.

        Args:
            redact: Takes secrets out of the logs.
        """
        logs: dict[int, list[str]] = {}
        for run, tail in tails(self._logged, redact):
            logs[run.row] = [tail.text, tail.note]
            self.left_out.logs += tail.note is LEFT_OUT
        return {
            "runs": self.rows,
            "texts": self._texts.all,
            "errors": self._errors.all,
            "facts": self._facts.all,
            "logs": logs,
        }

    def _values(self, values: Mapping[str, Any]) -> list[Any] | None:
        """Return values as name, value, name, value; the names by their numbers."""
        if not values:
            return None
        shown = [(line(str(name), 60), shown_value(value)) for name, value in list(values.items())[:_VALUES]]
        if not self._fact_budget.takes(sum(len(str(value)) + 8 for _, value in shown)):
            self.left_out.values += 1
            return None
        return [each for name, value in shown for each in (self._texts.text(name), value)]

    def _warnings(self, run: RunRecord) -> list[str] | None:
        """Return the first warnings of a run, and how many more there are."""
        if run.stored_warnings is None:
            return None
        shown = [line(str(each), _WARNING) for each in run.warnings]
        more = run.warning_count - len(shown)
        shown += [f"and {more:,} more"] if more > 0 else []
        return shown if self._fact_budget.takes(sum(map(len, shown))) else [f"{run.warning_count:,} in all"]

    def _steps(self, run: RunRecord) -> list[list[Any]] | None:
        """Return the steps of a run: name, outcome, seconds, what there is to say of it, and how deep it is nested."""
        if run.stored_steps is None:
            return None
        shown: list[list[Any]] = [
            [
                self._texts.text(line(each.name, 100)),
                each.outcome and str(each.outcome),
                _rounded(each.duration_s),
                self._step_text(each),
                each.depth,
            ]
            for each in run.steps[:_STEPS]
        ]
        if not self._fact_budget.takes(sum(len(each[3]) + 30 for each in shown)):
            self.left_out.values += 1
            return None
        return shown

    @staticmethod
    def _step_text(step: RunStep) -> str:
        values = [f"{name}={shown_value(value)}" for name, value in step.values.items()]
        return line(", ".join([*values, *([str(step.error)] if step.error is not None else [])]), _WARNING)

    def _error(self, run: RunRecord) -> int | None:
        """Return where an error stands in the list of errors; equal ones share a place, the last lack their text."""
        stored = run.stored_error
        if stored is None:
            return None
        number = self._errors.number(blake2b(stored, digest_size=16).digest(), lambda: self._error_shown(run.error))
        if "left_out" in self._errors.all[number]:
            self.left_out.errors += 1
        return number

    def _error_shown(self, error: ErrorDetails | None) -> dict[str, Any]:
        if error is None:
            return {"type": "an error that this version cannot read"}
        whole = _whole(error)
        size = sum(len(str(each)) for each in whole.values())
        if self._error_budget.takes(size):
            return whole
        head = {"type": whole["type"], "message": line(error.message, _SUMMARY), "where": line(error.where, _SUMMARY)}
        return {**head, "left_out": True}

    def _fact(self, run: RunRecord) -> int | None:
        parts = (run.host, run.user, run.python, run.stored_argv, run.schedule, run.max_duration_s, run.stall_after_s)
        key = (*parts, run.log_path)
        return self._facts.number(key, lambda: self._made_fact(run))

    def _made_fact(self, run: RunRecord) -> dict[str, Any]:
        facts = {
            "host": line(run.host),
            "user": line(run.user),
            "python": line(run.python),
            "command": line(" ".join(_quoted(each) for each in run.argv), 500),
            "schedule": line(run.schedule or ""),
            "max_duration_s": run.max_duration_s and shown_value(run.max_duration_s),
            "stall_after_s": run.stall_after_s and shown_value(run.stall_after_s),
            "log_path": line(run.log_path or "", 500),
        }
        facts = {name: fact for name, fact in facts.items() if fact}
        return facts if self._fact_budget.takes(len(str(facts))) else {}


def _whole(error: ErrorDetails) -> dict[str, Any]:
    """Return the fields of an error that the page shows, without empty ones."""
    shown = {
        "type": line(error.type),
        "message": lines(error.message, 4_000),
        "where": line(error.where, 300),
        "excerpt": lines(error.excerpt or error.source, 4_000),
        "notes": [lines(note, 1_000) for note in error.notes[:20]],
        "locals": [[line(name, 60), line(text, 500)] for name, text in error.local_variables[:50]],
        "traceback": lines(error.traceback),
        "thread": line(error.thread),
    }
    return {name: each for name, each in shown.items() if each}


def _progress(progress: Progress | None) -> list[Any] | None:
    if progress is None:
        return None
    return [shown_value(progress.done), shown_value(progress.total or 0), line(progress.message, 300)]


def _rounded(number: float | None) -> float | None:
    return round(number, 3) if number is not None and isfinite(number) else None


def _quoted(argument: str) -> str:
    return argument if argument and not any(c.isspace() or c in "\"'" for c in argument) else repr(argument)
