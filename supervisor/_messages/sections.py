"""The parts that a message shows: its ``Summary`` expanded into sections, the most important first.

This runs when a message is sent and reads the report that the message contains, so none of it is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor._messages.baseline import anomalies, baseline_text, duration_baseline_text, value_stands_out
from supervisor._messages.subjects import VERBS, progress_line, progress_text, run_label
from supervisor._models.kinds import Kind, Outcome
from supervisor._models.parts import Code, Facts, Row, Summary, Text
from supervisor._text import (
    counted,
    cut_middle,
    duration,
    local_time,
    number,
    one_line,
    size,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor._models.parts import Baseline, Part
    from supervisor._models.values import ErrorDetails, MessageDetails, RunReport

MOST_NOTES = 10
MOST_VARIABLES = 60
MOST_ROWS = 100
LOG_LIMIT = 8_000
_ONE_LINE_LIMIT = 400
_MESSAGE_LIMIT = 4_000
_NOTE_LIMIT = 1_000
_EXCERPT_LIMIT = 4_000
_TRACEBACK_LIMIT = 60_000
_NAME_LIMIT = 60
_VALUE_LIMIT = 1_000
_COMMAND_LIMIT = 1_000


def parts_of(details: MessageDetails) -> tuple[Part, ...]:
    """Return what a message shows, part by part; () for one that consists of a text only."""
    parts: list[Part] = []
    for part in details.parts:
        if not isinstance(part, Summary):
            parts.append(part)
        elif details.report is not None:
            parts += _SECTIONS.get(details.kind, _other_sections)(details.report, part)
    return tuple(parts)


# The sections of each kind of message


def _start_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    yield _lead(f"{run_label(report)} started on {report.host}.", summary)
    yield machine_facts(report)


def _progress_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    yield _lead(f"{run_label(report)} on {report.host}: {progress_text(report)}.", summary)
    yield from recorded_values(report, summary)
    yield machine_facts(report)


def _success_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    yield _lead(f"{run_label(report)} succeeded on {report.host} after {duration(report.duration_s)}.", summary)
    yield from _results(report, summary)


def _recovery_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    lead = f"{run_label(report)} recovered on {report.host}: it succeeded after {duration(report.duration_s)}."
    yield _lead(lead, summary)
    yield from _results(report, summary)


def _results(report: RunReport, summary: Summary) -> Iterator[Part]:
    if found := list(anomalies(report, summary.baselines, summary.duration_baseline)):
        yield Text("\n".join(map(str, found)), is_strong=True)
    yield from recorded_values(report, summary)
    yield from _log_counts(report)
    yield from _bars(summary)
    yield machine_facts(report, summary)


def _failure_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    verb = VERBS.get(report.outcome or Outcome.FAILURE, "failed")
    took = duration(report.duration_s)
    after = f" after {took}" if report.outcome is not None else f", {took} after its start; it goes on"
    yield _lead(f"{run_label(report)} {verb} on {report.host}{after}.", summary)
    yield from error_parts(report.error)
    yield from activity_parts(report, is_over=report.outcome is not None)
    yield from _bars(summary)
    yield from local_variable_parts(report.error)
    yield from traceback_parts(report.error)
    yield machine_facts(report, summary)


def _died_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    lead = (
        f"{run_label(report)} died on {report.host}: the run that started at {local_time(report.started_at)} never "
        f"ended, and its process {report.pid} is gone."
    )
    yield _lead(lead, summary)
    yield from activity_parts(report, is_over=True)
    yield from _bars(summary)
    yield machine_facts(report)


def _other_sections(report: RunReport, summary: Summary) -> Iterator[Part]:
    if summary.note or summary.comparison:
        yield _lead("", summary)
    yield from activity_parts(report, is_over=report.outcome is not None)
    yield from _bars(summary)
    yield machine_facts(report, summary)


_SECTIONS: dict[Kind, Callable[[RunReport, Summary], Iterator[Part]]] = {
    Kind.START: _start_sections,
    Kind.PROGRESS: _progress_sections,
    Kind.SUCCESS: _success_sections,
    Kind.RECOVERY: _recovery_sections,
    Kind.FAILURE: _failure_sections,
    Kind.DIED: _died_sections,
}


# The error


def error_parts(error: ErrorDetails | None) -> Iterator[Part]:
    """Yield the error's type and message, the lines of code where it happened, and the notes added to it."""
    if error is None:
        return
    yield Text(_error_line(error), is_strong=True)
    if error.excerpt or error.source:
        code = error.excerpt or error.source
        yield Code(f"at {one_line(error.where)}:" if error.where else "", cut_middle(code, _EXCERPT_LIMIT), "source")
    elif error.where:
        yield Text(f"at {one_line(error.where)}")
    if error.notes:
        rows = [Row("Note", cut_middle(each, _NOTE_LIMIT)) for each in error.notes[:MOST_NOTES]]
        if len(error.notes) > MOST_NOTES:
            rows.append(Row("Note", f"{len(error.notes) - MOST_NOTES:,} more"))
        yield Facts("", rows)


def _error_line(error: ErrorDetails) -> str:
    """Return the error in one line; where there is a traceback, a longer message is shown in full at its end."""
    message = error.message.strip()
    if error.traceback:
        message = one_line(message, _ONE_LINE_LIMIT)
    text = f"{error.type}: {cut_middle(message, _MESSAGE_LIMIT)}" if message else error.type
    return text + (f" (in {error.thread})" if error.thread else "")


def local_variable_parts(error: ErrorDetails | None) -> Iterator[Part]:
    """Yield the local variables of the function in which the error happened."""
    if error is not None and error.local_variables:
        rows = [Row(one_line(name, _NAME_LIMIT), cut_middle(text, _NOTE_LIMIT)) for name, text in error.local_variables]
        if (left_out := len(rows) - MOST_VARIABLES) > 0:
            rows = [*rows[:MOST_VARIABLES], Row("...", f"{left_out:,} more")]
        where = error.where.rpartition(" in ")[2]
        yield Facts(f"Local variables in {one_line(where)}" if where else "Local variables", rows, "locals")


def traceback_parts(error: ErrorDetails | None) -> Iterator[Part]:
    """Yield the traceback, unless it consists only of the line that the message begins with."""
    if error is not None and error.traceback and error.traceback.strip() != _error_line(error):
        yield Code("", cut_middle(error.traceback, _TRACEBACK_LIMIT), "traceback")


# Sections that several kinds share


def _lead(sentence: str, summary: Summary) -> Text:
    return Text(one_line(" ".join(filter(None, (sentence, summary.note, summary.comparison))), 2_000))


def _bars(summary: Summary) -> Iterator[Part]:
    if summary.bars is not None:
        yield summary.bars


def activity_parts(report: RunReport, *, is_over: bool) -> Iterator[Part]:
    """Yield the progress of a run, its recorded values and the end of its log."""
    if report.progress is not None:
        yield Text(f"It {'had' if is_over else 'has'} come to {progress_line(report.progress)}")
    yield from recorded_values(report)
    yield from _log_counts(report)
    if report.log_tail:
        yield Code("The last lines of its log", cut_middle("\n".join(report.log_tail), LOG_LIMIT), "log")


def recorded_values(report: RunReport, summary: Summary | None = None) -> Iterator[Part]:
    """Yield a table of what a run recorded, each number beside its usual range."""
    if report.values:
        baselines = summary.baselines if summary is not None else {}
        rows = [_row(name, value, baselines.get(name)) for name, value in list(report.values.items())[:MOST_ROWS]]
        if len(report.values) > MOST_ROWS:
            rows.append(Row("...", f"{len(report.values) - MOST_ROWS:,} more"))
        yield Facts("Recorded", rows, "values")


def _row(name: Any, value: Any, baseline: Baseline | None) -> Row:
    text = cut_middle(value_text(value), _VALUE_LIMIT)
    label = one_line(str(name), _NAME_LIMIT) or "(no name)"
    if baseline is None:
        return Row(label, text)
    return Row(label, text, baseline_text(baseline), value_stands_out(value, baseline))


def _log_counts(report: RunReport) -> Iterator[Part]:
    if report.log_counts:
        counts = ", ".join(_level_count(level, count) for level, count in report.log_counts.items())
        yield Text(f"In its log: {one_line(counts)}.")


def _level_count(level: str, count: int) -> str:
    return f"{number(count)} critical" if level == "CRITICAL" else counted(count, level.lower())


def machine_facts(report: RunReport, summary: Summary | None = None) -> Facts:
    """Return the small print at the end of a message: when, where and how the run ran."""
    baseline = summary.duration_baseline if summary is not None else None
    return Facts("", [row for row in _machine_rows(report, baseline) if row.text], "machine")


def _machine_rows(report: RunReport, baseline: Baseline | None) -> Iterator[Row]:
    yield Row("Started", local_time(report.started_at))
    if report.ended_at is not None:
        yield Row("Ended", local_time(report.ended_at))
        usual = duration_baseline_text(baseline) if baseline is not None else ""
        yield Row("Duration", duration(report.duration_s), usual)
    yield Row("Host", one_line(f"{report.host} (user {report.user}, process {report.pid})"))
    yield Row("Command", one_line(" ".join(report.argv), _COMMAND_LIMIT))
    yield Row("Python", one_line(report.python))
    yield Row("Used", ", ".join(_used_resources(report)))
    yield Row("Log", one_line(str(report.log_path or ""), _COMMAND_LIMIT))
    yield Row("Run", one_line(report.id))


def _used_resources(report: RunReport) -> Iterator[str]:
    if report.cpu_s is not None:
        yield f"{duration(report.cpu_s)} of processor time"
    if report.peak_memory_bytes is not None:
        yield f"{size(report.peak_memory_bytes)} of memory at its peak"
