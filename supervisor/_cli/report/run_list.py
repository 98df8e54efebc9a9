"""The list of runs as data: what is the same for many runs stands there once."""

from __future__ import annotations

from hashlib import blake2b
from math import isfinite
from typing import TYPE_CHECKING, Any

from supervisor._cli.report.formatting import line, lines, shown_value
from supervisor._cli.report.limits import ERROR_CHARACTERS, FACT_CHARACTERS, Budget, LeftOut
from supervisor._cli.report.log_tails import LEFT_OUT, Logged, tails
from supervisor._cli.report.script_summary import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisor._cli.report.gather import Seen
    from supervisor._models.values import ErrorDetails, Progress
    from supervisor._store.records import RunRecord

_VALUES = 50
_SUMMARY = 160


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

    def _error(self, run: RunRecord) -> int | None:
        """Return the number of an error; equal ones are kept once, and only so many with all their text."""
        stored = run.stored_error
        if stored is None:
            return None
        number = self._errors.number(blake2b(stored, digest_size=16).digest(), lambda: self._told(run.error))
        if "left_out" in self._errors.all[number]:
            self.left_out.errors += 1
        return number

    def _told(self, error: ErrorDetails | None) -> dict[str, Any]:
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
    """Return an error as the page keeps it, without what is empty."""
    told = {
        "type": line(error.type),
        "message": lines(error.message, 4_000),
        "where": line(error.where, 300),
        "excerpt": lines(error.excerpt or error.source, 4_000),
        "notes": [lines(note, 1_000) for note in error.notes[:20]],
        "locals": [[line(name, 60), line(text, 500)] for name, text in error.local_variables[:50]],
        "traceback": lines(error.traceback),
        "thread": line(error.thread),
    }
    return {name: each for name, each in told.items() if each}


def _progress(progress: Progress | None) -> list[Any] | None:
    if progress is None:
        return None
    return [shown_value(progress.done), shown_value(progress.total or 0), line(progress.message, 300)]


def _rounded(number: float | None) -> float | None:
    return round(number, 3) if number is not None and isfinite(number) else None


def _quoted(argument: str) -> str:
    return argument if argument and not any(c.isspace() or c in "\"'" for c in argument) else repr(argument)
