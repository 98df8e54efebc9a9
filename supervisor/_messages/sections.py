"""The parts that a message shows: its ``Summary`` expanded into sections, the most important first.

This runs when a message is sent and reads the report that the message contains, so none of it is stored.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._messages import (
    VERBS,
    failed_attempts,
    good_end,
    how_skipped,
    progress_line,
    progress_text,
    run_label,
    zone_of,
)
from supervisor._messages.baseline import anomalies, baseline_text, duration_baseline_text, value_stands_out
from supervisor._models import FAILED, Kind, Outcome
from supervisor._models.parts import (
    Code,
    Facts,
    Row,
    Summary,
    Table,
    Text,
    with_texts,
)
from supervisor._text import (
    Fit,
    counted,
    duration,
    fitted,
    in_zone,
    local_time,
    nth,
    number,
    one_line,
    size,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from supervisor._models.parts import AnyPart, Baseline, Part
    from supervisor._models.values import ErrorDetails, MessageDetails, RunReport, RunStep

MOST_NOTES = 10
MOST_VARIABLES = 60
MOST_ROWS = 100
MOST_ATTEMPTS = 20
MOST_STEPS = 40
MOST_LINKS = 20
LOG_LIMIT = 8_000
_ERROR_LIMIT = 500
_LABEL, _TITLE = Fit(60, is_line=True), Fit(250, is_line=True)
_SENTENCES, _STRONG = Fit(2_000, is_line=True), Fit(4_500)
_VALUE, _SMALL_PRINT = Fit(1_000), Fit(1_000, is_line=True)
_CODE = {"source": Fit(4_000), "traceback": Fit(60_000), "log": Fit(LOG_LIMIT)}


def parts_of(details: MessageDetails) -> tuple[Part, ...]:
    """Return what a message shows, part by part; () for one that consists of a text only."""
    with in_zone(zone_of(details.report)):
        return _parts_of(details)


def _parts_of(details: MessageDetails) -> tuple[Part, ...]:
    parts: list[Part] = []
    for part in details.parts:
        if not isinstance(part, Summary):
            parts.append(part)
        elif details.report is not None:
            parts += _bounded(_SECTIONS.get(details.kind, _other_sections)(details.report, part))
    if parts and details.report is not None and details.report.links:
        small_print = (index for index, part in enumerate(parts) if isinstance(part, Facts) and part.role == "machine")
        parts.insert(next(small_print, len(parts)), _links(details.report))
    return tuple(parts)


def _links(report: RunReport) -> Facts:
    rows = [Row(one_line(title, _LABEL.limit), url) for title, url in list(report.links.items())[:MOST_LINKS]]
    return Facts("Links", rows, "links")


def _bounded(parts: Iterable[AnyPart]) -> tuple[AnyPart, ...]:
    """Return parts with their texts bounded: here alone, and all at once, whatever a report contains."""
    parts = tuple(parts)
    fits = list(chain.from_iterable(map(_fits, parts)))
    return with_texts(parts, lambda texts: fitted(texts, fits))


def _fits(part: object) -> Iterator[Fit]:
    """Yield how each text of a part is to fit, in the order of its fields."""
    if isinstance(part, Text):
        yield _STRONG if part.is_strong else _SENTENCES
    elif isinstance(part, Code):
        yield from (_TITLE, _CODE[part.role])
    elif isinstance(part, Facts):
        yield _TITLE
        for _ in part.rows:
            yield from (_LABEL, _SMALL_PRINT if part.role == "machine" else _VALUE, _TITLE)
    elif isinstance(part, Table):
        yield _TITLE
        yield from (_LABEL for _ in part.columns)
        yield from (_VALUE for row in part.rows for _ in row)
        yield _TITLE
    else:
        yield _SENTENCES


# The sections of each kind of message


def _start_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    yield _lead(f"{run_label(report)} started on {report.host}.", summary)
    yield _machine_facts(report)


def _progress_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    yield _lead(f"{run_label(report)} on {report.host}: {progress_text(report)}.", summary)
    yield from _recorded(report, summary.baselines)
    yield _machine_facts(report)


def _success_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    ended = good_end(Kind.SUCCESS, report)
    lead = f"{run_label(report)} {ended} on {report.host} after {duration(report.duration_s)}.{_idle(report.error)}"
    yield _lead(lead, summary)
    yield from _results(report, summary)


def _idle(error: ErrorDetails | None) -> str:
    """Return a sentence on why a run that warned had nothing to do; "" for one that had."""
    return f" It was skipped: {error}." if error is not None and error.type == "nothing to do" else ""


def _skipped_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    why = f": {report.error.message}" if report.error is not None and report.error.message else ""
    yield _lead(f"{run_label(report)} {how_skipped(report)} on {report.host}{why}.", summary)
    yield from warning_parts(report)
    yield from _recorded(report, {})
    yield from _log_warnings(report)
    yield _machine_facts(report)


def _recovery_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    ended = good_end(Kind.SUCCESS, report)
    lead = f"{run_label(report)} recovered on {report.host}: it {ended} after {duration(report.duration_s)}."
    yield _lead(f"{lead}{_idle(report.error)}", summary)
    yield from _results(report, summary)


def _results(report: RunReport, summary: Summary) -> Iterator[Part]:
    if found := list(anomalies(report, summary.baselines, summary.duration_baseline)):
        yield Text("\n".join(map(str, found)), is_strong=True)
    yield from _changes(summary)
    yield from warning_parts(report)
    yield from step_parts(report)
    yield from _recorded(report, summary.baselines)
    yield from attempt_parts(report)
    yield from _log_warnings(report)
    if report.error is not None and not report.error.where:  # of a command whose exit code is a warning: its output
        yield from traceback_parts(report.error)
    yield from _bars(summary)
    yield _machine_facts(report, summary.duration_baseline)


def _failure_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    verb = VERBS.get(report.outcome or Outcome.FAILURE, "failed")
    took = duration(report.duration_s)
    tries = failed_attempts(report)
    after = f" after {took}" if report.outcome is not None else f", {took} after its start; it goes on"
    after = f"{tries} and {took}" if tries else after
    yield _lead(f"{run_label(report)} {verb} on {report.host}{after}.", summary)
    yield from error_parts(report.error)
    yield from _changes(summary)
    if summary.before:
        yield Facts("The failures before it", summary.before)
    yield from warning_parts(report)
    yield from attempt_parts(report)
    yield from activity_parts(report, is_over=report.outcome is not None)
    yield from _bars(summary)
    yield from local_variable_parts(report.error)
    yield from traceback_parts(report.error)
    yield _machine_facts(report, summary.duration_baseline)


def _died_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    of_run = f"the run that started at {local_time(report.started_at)}"
    lead = (
        f"{run_label(report)} is presumed to have died on {report.host}: {of_run} gives no sign of life any more."
        if summary.is_presumed
        else f"{run_label(report)} died on {report.host}: {of_run} never ended, and its process {report.pid} is gone."
    )
    yield _lead(lead, summary)
    yield from activity_parts(report, is_over=True)
    yield from _bars(summary)
    yield _machine_facts(report)


def _other_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    if summary.note or summary.comparison:
        yield _lead("", summary)
    yield from activity_parts(report, is_over=report.outcome is not None)
    yield from _bars(summary)
    yield _machine_facts(report, summary.duration_baseline)


_SECTIONS: dict[Kind, Callable[[RunReport, Summary], Iterator[Part]]] = {
    Kind.START: _start_sections,
    Kind.PROGRESS: _progress_sections,
    Kind.SUCCESS: _success_sections,
    Kind.WARNING: _success_sections,
    Kind.RECOVERY: _recovery_sections,
    Kind.FAILURE: _failure_sections,
    Kind.DIED: _died_sections,
    Kind.SKIPPED: _skipped_sections,
}


# The error


def error_parts(error: ErrorDetails | None) -> Iterator[Part]:
    """Yield the error's type and message, the lines of code where it happened, and the notes added to it."""
    if error is None:
        return
    line = _error_line(error)
    yield Text(one_line(line, _ERROR_LIMIT) if error.traceback else line, is_strong=True)
    if error.excerpt or error.source:
        yield Code(f"at {error.where}:" if error.where else "", error.excerpt or error.source, "source")
    elif error.where:
        yield Text(f"at {error.where}")
    if error.notes:
        rows = [Row("Note", each) for each in error.notes[:MOST_NOTES]]
        if len(error.notes) > MOST_NOTES:
            rows.append(Row("Note", f"{len(error.notes) - MOST_NOTES:,} more"))
        yield Facts("", rows)


def attempt_parts(report: RunReport) -> Iterator[Part]:
    """Yield what each attempt failed with that was followed by another one."""
    if report.retried:
        rows = [Row(nth(number), _brief(each)) for number, each in enumerate(report.retried, 1)]
        if (left_out := len(rows) - MOST_ATTEMPTS) > 0:
            rows = [*rows[: MOST_ATTEMPTS - 1], Row("...", f"{left_out:,} more"), rows[-1]]
        yield Facts("Attempts before the last", rows)


def _brief(error: ErrorDetails) -> str:
    return f"{one_line(_error_line(error), _ERROR_LIMIT)}" + (f" (at {error.where})" if error.where else "")


def _error_line(error: ErrorDetails) -> str:
    """Return the error's type and message; where there is a traceback, a long message is shown in full at its end."""
    message = error.message.strip()
    text = f"{error.type}: {message}" if message else error.type
    return text + (f" (in {error.thread})" if error.thread else "")


def local_variable_parts(error: ErrorDetails | None) -> Iterator[Part]:
    """Yield the local variables of the function in which the error happened."""
    if error is not None and error.local_variables:
        rows = [Row(name, text) for name, text in error.local_variables]
        if (left_out := len(rows) - MOST_VARIABLES) > 0:
            rows = [*rows[:MOST_VARIABLES], Row("...", f"{left_out:,} more")]
        where = error.where.rpartition(" in ")[2]
        yield Facts(f"Local variables in {where}" if where else "Local variables", rows, "locals")


def traceback_parts(error: ErrorDetails | None) -> Iterator[Part]:
    """Yield the traceback, unless it consists only of the line that the message begins with."""
    if error is None or not error.traceback:
        return
    is_shown = error.traceback.strip() == _error_line(error) and len(error.traceback) <= _ERROR_LIMIT
    if not is_shown:
        yield Code("", error.traceback, "traceback")


# Sections that several kinds share


def _lead(sentence: str, summary: Summary) -> Text:
    return Text(" ".join(filter(None, (sentence, summary.note, summary.comparison))))


def _changes(summary: Summary) -> Iterator[Part]:
    if summary.changes:
        yield Facts(summary.changes_title, summary.changes)


def _bars(summary: Summary) -> Iterator[Part]:
    if summary.bars is not None:
        yield summary.bars


def warning_parts(report: RunReport) -> Iterator[Part]:
    """Yield what a run was warned of; the lines of its own log stand below it, with all others from WARNING up."""
    rows = [
        Row(each.step or str(nth), str(attrs.evolve(each, step="")), stands_out=True)
        for nth, each in enumerate(report.warnings, 1)
        if not each.is_logged
    ]
    if rows and (left_out := report.warning_count - len(report.warnings)) > 0:
        rows.append(Row("...", f"{left_out:,} more"))
    if rows:
        yield Facts("Warnings", rows, "values")


_FAILED_OF_SUM = re.compile(r"more, ([\d,]+) of them failed$")
_STEP_OUTCOMES = {None: "under way", Outcome.SUCCESS: "ok", Outcome.FAILURE: "failed", Outcome.WARNING: "warning"}


def step_parts(report: RunReport) -> Iterator[Part]:
    """Yield a table of the steps of a run, and the tracebacks of errors after which it went on."""
    if not report.steps:
        return
    steps, left_out = _shown_steps(report.steps)
    rows = [
        (
            f"{'  ' * each.depth}{each.name}",
            _STEP_OUTCOMES.get(each.outcome, str(each.outcome)),
            _step_took(each.duration_s),
            _step_facts(each),
        )
        for each in steps
    ]
    marked = [place for place, each in enumerate(steps) if each.outcome in (*FAILED, Outcome.WARNING)]
    if left_out:
        rest = _rest_of_steps(left_out)
        marked += [len(rows)] if rest[1] != "ok" else []
        rows.append(rest)
    yield Table("Steps", ("step", "outcome", "took", "values"), rows, marked)
    for each in steps:
        if each.error is not None and each.error.traceback:
            yield Code(f"The error in {each.name}, after which the run went on", each.error.traceback, "traceback")


def _rest_of_steps(steps: list[RunStep]) -> tuple[str, str, str, str]:
    """Return the row of the steps that a message does not show: how many they are, and how many of them failed."""
    failed = sum(_failures_in(each) for each in steps)
    outcome = "warning" if any(each.outcome is Outcome.WARNING for each in steps) else "ok"
    name = f"{sum(each.count for each in steps):,} more" + (f", {failed:,} of them failed" if failed else "")
    return name, "failed" if failed else outcome, _step_took(sum(each.duration_s for each in steps)), ""


def _failures_in(step: RunStep) -> int:
    """Return how many steps failed; of a sum of steps its name says it: "819 more, 12 of them failed"."""
    said = _FAILED_OF_SUM.search(step.name) if step.count > 1 else None
    return int(said[1].replace(",", "")) if said else int(step.outcome in FAILED)


def _step_took(seconds: float) -> str:
    return duration(seconds).replace("less than 1 ms", "< 1 ms")


def _shown_steps(steps: tuple[RunStep, ...]) -> tuple[list[RunStep], list[RunStep]]:
    """Return the steps that a message shows, those first that did not end well, and all others.

    The sum of those that the run has not kept is one of the others, so that there is one row of what is not shown.
    """
    if len(steps) <= MOST_STEPS:
        return list(steps), []
    by_weight = sorted(
        range(len(steps)),
        key=lambda place: (steps[place].count > 1, steps[place].outcome is Outcome.SUCCESS, place),
    )
    shown = set(by_weight[:MOST_STEPS])
    return [steps[place] for place in sorted(shown)], [each for place, each in enumerate(steps) if place not in shown]


def _step_facts(step: RunStep) -> str:
    values = [f"{name}={value_text(value)}" for name, value in step.values.items()]
    values += [progress_line(step.progress)] if step.progress is not None else []
    values += [str(step.error)] if step.error is not None else []
    if step.warning_count and step.error is None:
        values.append(counted(step.warning_count, "warning"))
    return ", ".join(values)


def activity_parts(report: RunReport, *, is_over: bool) -> Iterator[Part]:
    """Yield the progress of a run, its recorded values and the end of its log."""
    if report.progress is not None:
        yield Text(f"It {'had' if is_over else 'has'} come to {progress_line(report.progress)}")
    yield from step_parts(report)
    yield from _recorded(report, {})
    yield from _log_counts(report)
    if report.log_tail:
        yield Code("The last lines of its log", "\n".join(report.log_tail), "log")


def recorded_values(report: RunReport) -> tuple[Part, ...]:
    """Return a table of what a run recorded; () for nothing."""
    return _bounded(part for part in _recorded(report, {}) if not isinstance(part, Table))


def _recorded(report: RunReport, baselines: Mapping[str, Baseline]) -> Iterator[Part]:
    if report.values:
        rows = [_row(name, value, baselines.get(name)) for name, value in list(report.values.items())[:MOST_ROWS]]
        if len(report.values) > MOST_ROWS:
            rows.append(Row("...", f"{len(report.values) - MOST_ROWS:,} more"))
        yield Facts("Recorded", rows, "values")
    yield from report.tables


def _row(name: Any, value: Any, baseline: Baseline | None) -> Row:
    text, label = value_text(value), str(name).strip() or "(no name)"
    if baseline is None:
        return Row(label, text)
    return Row(label, text, baseline_text(baseline), value_stands_out(value, baseline))


def _log_counts(report: RunReport) -> Iterator[Part]:
    if report.log_counts:
        counts = ", ".join(_level_count(level, count) for level, count in report.log_counts.items())
        yield Text(f"In its log: {counts}.")


def _log_warnings(report: RunReport) -> Iterator[Part]:
    yield from _log_counts(report)
    if report.log_warnings:
        yield Code("", "\n".join(report.log_warnings), "log")


def _level_count(level: str, count: int) -> str:
    return f"{number(count)} critical" if level == "CRITICAL" else counted(count, level.lower())


def machine_facts(report: RunReport) -> Facts:
    """Return the small print at the end of a message: when, where and how the run ran."""
    return _bounded([_machine_facts(report)])[0]


def _machine_facts(report: RunReport, baseline: Baseline | None = None) -> Facts:
    return Facts("", [row for row in _machine_rows(report, baseline) if row.text], "machine")


def _machine_rows(report: RunReport, baseline: Baseline | None) -> Iterator[Row]:
    yield Row("Started", local_time(report.started_at))
    if report.ended_at is not None:
        yield Row("Ended", local_time(report.ended_at))
        usual = duration_baseline_text(baseline) if baseline is not None else ""
        yield Row("Duration", duration(report.duration_s), usual)
    yield Row("Host", f"{report.host} (user {report.user}, process {report.pid})")
    yield Row("Command", " ".join(report.argv))
    yield Row("Python", report.python)
    yield Row("Used", ", ".join(_used_resources(report)))
    yield Row("Log", str(report.log_path or ""))
    yield Row("Run", report.id)


def _used_resources(report: RunReport) -> Iterator[str]:
    if report.cpu_s is not None:
        yield f"{duration(report.cpu_s)} of processor time"
    if report.peak_memory_bytes is not None:
        yield f"{size(report.peak_memory_bytes)} of memory at its peak"
