"""What the commands show of a run: in words for people, as a document for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import attrs

from supervisor import _alerts
from supervisor._alerts import Standing
from supervisor._cli.shared import Styled, cut, line, paint
from supervisor._models import SUCCEEDED, Outcome
from supervisor._store.processes import lives
from supervisor._text import counted, duration, nth, value_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from supervisor._models.parts import Baseline
    from supervisor._models.values import ErrorDetails, Progress, RunReport, RunStep, RunWarning
    from supervisor._store import RunRecord
    from supervisor._store.processes import Process
    from supervisor._store.sqlite import JournalReader

LAST_SUCCESSES = 20
SHORT_ID = 12
"""An id begins with its moment in 11 digits; cron starts its jobs in the same second."""

LATE = "bold yellow"
DIED = Styled("died?", "bold red")

_STYLES = {
    Outcome.SUCCESS: "green",
    Outcome.WARNING: "yellow",
    Outcome.FAILURE: "bold red",
    Outcome.TERMINATED: "bold red",
    Outcome.DIED: "bold red",
    Outcome.INTERRUPTED: "yellow",
    Outcome.CANCELLED: "yellow",
    Outcome.SKIPPED: "dim",
}


class Baselines:
    """What is usual for the durations of the runs of each name, by their last 20 successes.

    Args:
        reader: Where the runs are.
    """

    def __init__(self, reader: JournalReader) -> None:
        self._reader = reader
        self._successes: dict[str, dict[str, float]] = {}
        self._found: dict[tuple[str, str], Baseline | None] = {}

    def of(self, report: RunReport) -> Baseline | None:
        """Return the usual duration for a run, without the run itself; None if too few others are known."""
        from supervisor._messages.baseline import baseline_of

        known = self._of_name(report.name)
        own = report.id if report.id in known else ""
        key = (report.name, own)
        if key not in self._found:
            others = [duration_s for run_id, duration_s in known.items() if run_id != own]
            self._found[key] = baseline_of(others[:LAST_SUCCESSES])
        return self._found[key]

    def _of_name(self, name: str) -> dict[str, float]:
        if name not in self._successes:
            self._successes[name] = dict(self._reader.successes(name, limit=LAST_SUCCESSES + 1))
        return self._successes[name]


def usual_steps(reader: JournalReader, name: str, without: str = "") -> dict[str, Baseline]:
    """Return what is usual for the durations of the steps of the runs of a name, by their last 20 successes.

    Args:
        reader: Where the runs are.
        name: The name of the runs.
        without: The id of a run that is left out.
    """
    from supervisor._messages.baseline import baseline_of

    durations_s: dict[str, list[float]] = {}
    for run in reader.successful_runs(name, limit=LAST_SUCCESSES + 1):
        if run.id != without and run.stored_steps is not None:
            for step in run.steps:
                if step.count == 1 and step.outcome in SUCCEEDED:
                    durations_s.setdefault(step.name, []).append(step.duration_s)
    found = {step: baseline_of(known[:LAST_SUCCESSES]) for step, known in durations_s.items()}
    return {step: each for step, each in found.items() if each is not None}


def short_id(run_id: str) -> str:
    """Return the beginning of a run's id, which finds it again."""
    return line(run_id[:SHORT_ID])


class Standings:
    """How runs stand now, by their own limits; the time that the machine slept is left out, as a check leaves it out.

    Args:
        reader: Where the runs are.
    """

    def __init__(self, reader: JournalReader) -> None:
        self._reader = reader
        self._sleeps: tuple[tuple[float, float], ...] | None = None

    def of(self, record: RunRecord) -> Standing:
        """Return how a run stands; nothing is wrong with one that has ended."""
        if record.outcome is not None:
            return Standing()
        if self._sleeps is None:
            self._sleeps = self._reader.last_check(monotonic()).sleeps
        return _alerts.standing(
            time(),
            started_at_s=record.started_at_s,
            seen_at_s=record.seen_at_s,
            stall_after_s=record.stall_after_s,
            max_duration_s=record.max_duration_s,
            process_is_gone=record.is_gone,
            sleeps=self._sleeps,
        )


def program_words(program: Process, name: str) -> str:
    """Return whether the program that `supervisor run` has started lives, as far as that is known."""
    state = lives(program)
    return f"{name} {'may still run' if state is None else 'still runs' if state else 'is gone'}"


def standing_words(standing: Standing) -> Styled | None:
    """Return what is wrong with a run ("stalled, overdue", "died?") in its colour; None where nothing is."""
    if standing.has_died:
        return DIED
    return Styled(", ".join(standing.words), LATE) if standing.is_late else None


def instant(seconds: float | None) -> datetime | None:
    """Return an instant in seconds since 1970 as a datetime; None for None."""
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None


def outcome(record: RunRecord, standing: Standing) -> Styled:
    """Return how a run ended, or how it stands, in its colour."""
    ended = record.report.outcome
    if ended is not None:
        return Styled(str(ended), _STYLES.get(ended, ""))
    return standing_words(standing) or Styled("under way", "cyan")


def took_s(record: RunRecord, now: datetime | None = None) -> float:
    """Return how long a run took, or has taken so far, in seconds."""
    report = record.report
    if report.outcome is not None:
        return report.duration_s
    until = record.last_sign_at if record.is_gone else (now or datetime.now(UTC))
    return max(0.0, (until - report.started_at).total_seconds())


def stands_out(record: RunRecord, usual: Baseline | None) -> bool:
    """Return whether a success took much longer or shorter than usual, or a run under way takes much longer."""
    from supervisor._messages.baseline import LEAST_DURATION_S

    ended = record.report.outcome
    if usual is None or ended not in (None, *SUCCEEDED):
        return False
    seconds = took_s(record)
    return usual.stands_out(seconds, LEAST_DURATION_S) and (ended is not None or seconds > usual.high)


def usually(usual: Baseline | None) -> str:
    """Return the durations that are usual ("5-7 min"); "" where that is not known."""
    from supervisor._text import duration_range

    return duration_range(usual.low, usual.high) if usual is not None else ""


def values_line(values: Mapping[str, Any]) -> str:
    """Return what was recorded in one line ("parcels=12,041  empty=3")."""
    return "  ".join(f"{line(str(name), 40)}={value(each, 40)}" for name, each in values.items())


def value(recorded: Any, limit: int = 200) -> str:
    """Return one recorded value for the terminal."""
    text = value_text(recorded)
    return line(text, limit) if text.strip() else '""'


def error_line(error: ErrorDetails | None) -> str:
    """Return an error in one line ("KeyError 'apn' at parcels.py:41 in load"); "" where there is none."""
    if error is None:
        return ""
    return line(str(error), 160) + (f" at {line(error.where)}" if error.where else "")


def details(record: RunRecord) -> Styled:
    """Return one line about a run: its warnings, or its error, or else its progress, or else its recorded values."""
    report = record.report
    if report.outcome is Outcome.WARNING:
        return Styled(warnings_line(report), "yellow")
    if report.error is not None:
        tries = f"{report.attempts} attempts: " if report.retried else ""
        return Styled(f"{tries}{error_line(report.error)}", "red")
    if report.outcome in (None, Outcome.DIED) and report.progress is not None:
        return Styled(progress_words(report.progress), "cyan")
    tries = f"{nth(report.attempts)} attempt" if report.retried else ""
    return Styled("  ".join(filter(None, (tries, values_line(report.values)))), "dim")


def warnings_line(report: RunReport) -> str:
    """Return the first warning of a run in one line, and how many there are besides."""
    first = line(str(report.warnings[0]), 160) if report.warnings else counted(report.warning_count, "warning")
    more = report.warning_count - 1 if report.warnings else 0
    return f"{first} (and {more:,} more)" if more > 0 else first


def step_outcome(step: RunStep) -> Styled:
    """Return how a step ended, in its colour."""
    if step.outcome is None:
        return Styled("under way", "cyan")
    return Styled(str(step.outcome), _STYLES.get(step.outcome, ""))


def step_line(step: RunStep) -> Styled:
    """Return one line about a step: its error, or else its progress, or else its recorded values."""
    if step.error is not None:
        return Styled(error_line(step.error), "red")
    if step.progress is not None:
        return Styled(progress_words(step.progress), "cyan")
    warnings = counted(step.warning_count, "warning") if step.warning_count else ""
    return Styled(joined((values_line(step.values), warnings)), "yellow" if warnings else "dim")


def progress_words(progress: Progress) -> str:
    """Return how far a run is ("5,400 of 12,041, loading")."""
    from supervisor._text import number

    parts = [
        number(progress.done) if progress.total is None else f"{number(progress.done)} of {number(progress.total)}"
    ]
    if progress.message:
        parts.append(line(progress.message, 80))
    return ", ".join(parts)


def progress_bar_line(record: RunRecord, columns: int) -> str:
    """Return how far a run with progress is, with a bar where its total is known."""
    progress = record.report.progress
    assert progress is not None
    words = progress_words(progress)
    if progress.percentage is None:
        return cut(words, columns)
    length = max(10, min(30, columns // 3))
    done = int(length * progress.percentage / 100)
    share = f"{progress.percentage:3.0f} %"
    bar = paint("━" * done, "cyan") + paint("─" * (length - done), "dim")
    return f"{bar} {share}  {cut(words, columns - length - 8)}"


def left_s(record: RunRecord, now: datetime) -> float | None:
    """Return the seconds that a run needs yet, by its last progress; None where that is not known."""
    progress = record.report.progress
    if progress is None or progress.eta_s is None or record.progress_at is None:
        return None
    return max(0.0, progress.eta_s - (now - record.progress_at).total_seconds())


def run_document(
    record: RunRecord, standing: Standing, usual: Baseline | None = None, *, traceback: bool = False
) -> dict[str, Any]:
    """Return a run as a document for programs.

    Args:
        record: The run.
        standing: How it stands.
        usual: What is usual for its duration; None where that is not known.
        traceback: True for all of its error, False for it in short.
    """
    report, found, program = record.report, standing, record.child
    same = ("id", "name", "outcome", "started_at", "ended_at")
    rest = ("exit_code", "parent_id", "host", "user", "pid", "argv", "python", "cpu_s", "peak_memory_bytes")
    return {
        **{name: getattr(report, name) for name in same},
        "duration_s": round(took_s(record), 3),
        "usual_duration": usual_document(usual),
        "stands_out": stands_out(record, usual),
        "values": dict(report.values),
        "settings": dict(report.settings),
        "warnings": [warning_document(each) for each in report.warnings],
        "warning_count": report.warning_count,
        "steps": [step_document(each) for each in report.steps],
        "progress": progress_document(record),
        "error": _error_document(report.error, whole=traceback),
        "attempts": report.attempts,
        "retried": [_error_document(each, whole=False) for each in report.retried],
        **{name: getattr(report, name) for name in rest},
        "log_path": report.log_path,
        "links": dict(report.links),
        "schedule": record.schedule,
        "max_duration_s": record.max_duration_s,
        "stall_after_s": record.stall_after_s,
        "grace_s": record.grace_s,
        "is_gone": found.has_died,
        "stalled_since": instant(found.stalled_since_s),
        "overdue_since": instant(found.overdue_since_s),
        "program_pid": program.pid if program is not None else None,
        "program_lives": lives(program) if program is not None else None,
    }


def warning_document(warning: RunWarning) -> dict[str, Any]:
    """Return a warning of a run as a document for programs."""
    return {**attrs.asdict(warning), "values": dict(warning.values)}


def step_document(step: RunStep) -> dict[str, Any]:
    """Return a step of a run as a document for programs; of its error in short."""
    same = ("name", "outcome", "started_at", "duration_s", "warning_count", "depth", "count")
    return {
        **{name: getattr(step, name) for name in same},
        "values": dict(step.values),
        "error": _error_document(step.error, whole=False),
    }


def usual_document(usual: Baseline | None) -> dict[str, Any] | None:
    """Return a usual duration as a document for programs."""
    if usual is None:
        return None
    numbers = {"median_s": usual.median, "low_s": usual.low, "high_s": usual.high}
    return {**{name: round(each, 3) for name, each in numbers.items()}, "count": usual.count}


def progress_document(record: RunRecord) -> dict[str, Any] | None:
    """Return a run's last progress as a document for programs."""
    progress = record.report.progress
    if progress is None:
        return None
    return {
        **attrs.asdict(progress),
        "percentage": progress.percentage,
        "eta_s": progress.eta_s,
        "at": record.progress_at,
    }


def _error_document(error: ErrorDetails | None, *, whole: bool) -> dict[str, Any] | None:
    if error is None:
        return None
    if whole:
        return {**attrs.asdict(error), "local_variables": dict(error.local_variables)}
    return {name: getattr(error, name) for name in ("type", "message", "where", "thread", "fingerprint")}


def joined(parts: Iterable[str], between: str = " · ") -> str:
    """Return the parts that say something, in one line."""
    return between.join(part for part in parts if part)


def about(seconds: float) -> str:
    """Return a duration that is only an estimate, in its largest unit ("3 min")."""
    return " ".join(duration(seconds).split()[:2])
