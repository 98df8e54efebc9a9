"""What a message shows, part by part: the account of its run spelled out, in the order of its worth.

Nothing here is stored. It is done when a message is sent, from the report that goes along with it.

- What went wrong, part by part: in one line, with the lines of code, the notes, the variables and the traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor._messages.baseline import findings, usual_duration_text, usual_text, value_stands_out
from supervisor._messages.subjects import VERBS, progress_line, progress_said
from supervisor._models.kinds import Kind, Outcome
from supervisor._models.parts import Account, Code, Facts, Row, Text
from supervisor._text import (
    counted,
    cut_middle,
    duration,
    local_time,
    number,
    one_line,
    size,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor._models.parts import Part
    from supervisor._models.values import ErrorDetails, MessageDetails, RunReport

MOST_NOTES = 10
MOST_VARIABLES = 60
_SAID_LIMIT = 400
_MESSAGE_LIMIT = 4_000
_NOTE_LIMIT = 1_000
_EXCERPT_LIMIT = 4_000
_TRACEBACK_LIMIT = 60_000


def error_parts(error: ErrorDetails | None) -> Iterator[Part]:
    """Yield what happened, where, and what was noted on it."""
    if error is None:
        return
    yield Text(_what(error), is_strong=True)
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


def _what(error: ErrorDetails) -> str:
    """Return what happened in one line; a longer text stands in full at the end of the traceback, if there is one."""
    message = error.message.strip()
    if error.traceback:
        message = one_line(message, _SAID_LIMIT)
    said = f"{error.type}: {cut_middle(message, _MESSAGE_LIMIT)}" if message else error.type
    return said + (f" (in {error.thread})" if error.thread else "")


def locals_of(error: ErrorDetails | None) -> Iterator[Part]:
    """Yield the local variables at the place of the error."""
    if error is not None and error.local_variables:
        rows = [Row(one_line(name, 60), cut_middle(text, _NOTE_LIMIT)) for name, text in error.local_variables]
        where = error.where.rpartition(" in ")[2]
        yield Facts(f"Local variables in {one_line(where)}" if where else "Local variables", _bounded(rows), "locals")


def _bounded(rows: list[Row]) -> list[Row]:
    left_out = len(rows) - MOST_VARIABLES
    return rows if left_out <= 0 else [*rows[:MOST_VARIABLES], Row("...", f"{left_out:,} more")]


def traceback_of(error: ErrorDetails | None) -> Iterator[Part]:
    """Yield the traceback; one that has nothing but the line at the top of the message is left out."""
    if error is not None and error.traceback and error.traceback.strip() != _what(error):
        yield Code("", cut_middle(error.traceback, _TRACEBACK_LIMIT), "traceback")


MOST_ROWS = 100
LOG_LIMIT = 8_000
_NAME_LIMIT = 60
_VALUE_LIMIT = 1_000
_COMMAND_LIMIT = 1_000


def parts_of(details: MessageDetails) -> tuple[Part, ...]:
    """Return what a message shows; () for one that has a text and nothing else."""
    parts: list[Part] = []
    for part in details.parts:
        if not isinstance(part, Account):
            parts.append(part)
        elif details.report is not None:
            parts += _STORIES.get(details.kind, _others)(details.report, part)
    return tuple(parts)


# The kinds


def _start(report: RunReport, account: Account) -> Iterator[Part]:
    yield _lead(f"{report.name} started on {report.host}.", account)
    yield machine(report)


def _progress(report: RunReport, account: Account) -> Iterator[Part]:
    yield _lead(f"{report.name} on {report.host}: {progress_said(report)}.", account)
    yield from recorded(report, account)
    yield machine(report)


def _success(report: RunReport, account: Account) -> Iterator[Part]:
    yield _lead(f"{report.name} succeeded on {report.host} after {duration(report.duration_s)}.", account)
    yield from _summary(report, account)


def _recovery(report: RunReport, account: Account) -> Iterator[Part]:
    lead = f"{report.name} recovered on {report.host}: it succeeded after {duration(report.duration_s)}."
    yield _lead(lead, account)
    yield from _summary(report, account)


def _summary(report: RunReport, account: Account) -> Iterator[Part]:
    if found := list(findings(report, account.usual, account.usual_duration)):
        yield Text("\n".join(map(str, found)), is_strong=True)
    yield from recorded(report, account)
    yield from log_counts(report)
    yield from _bars(account)
    yield machine(report, account)


def _failure(report: RunReport, account: Account) -> Iterator[Part]:
    verb = VERBS.get(report.outcome or Outcome.FAILURE, "failed")
    took = duration(report.duration_s)
    after = f" after {took}" if report.outcome is not None else f", {took} after its start; it goes on"
    yield _lead(f"{report.name} {verb} on {report.host}{after}.", account)
    yield from error_parts(report.error)
    yield from doing(report, is_over=report.outcome is not None)
    yield from _bars(account)
    yield from locals_of(report.error)
    yield from traceback_of(report.error)
    yield machine(report, account)


def _died(report: RunReport, account: Account) -> Iterator[Part]:
    lead = (
        f"{report.name} died on {report.host}: the run that started at {local_time(report.started_at)} never ended, "
        f"and its process {report.pid} is gone."
    )
    yield _lead(lead, account)
    yield from doing(report, is_over=True)
    yield from _bars(account)
    yield machine(report)


def _others(report: RunReport, account: Account) -> Iterator[Part]:
    if account.note or account.compared:
        yield _lead("", account)
    yield from doing(report, is_over=report.outcome is not None)
    yield from _bars(account)
    yield machine(report, account)


_STORIES: dict[Kind, Callable[[RunReport, Account], Iterator[Part]]] = {
    Kind.START: _start,
    Kind.PROGRESS: _progress,
    Kind.SUCCESS: _success,
    Kind.RECOVERY: _recovery,
    Kind.FAILURE: _failure,
    Kind.DIED: _died,
}


# What they have in common


def _lead(sentence: str, account: Account) -> Text:
    return Text(one_line(" ".join(filter(None, (sentence, account.note, account.compared))), 2_000))


def _bars(account: Account) -> Iterator[Part]:
    if account.bars is not None:
        yield account.bars


def doing(report: RunReport, *, is_over: bool) -> Iterator[Part]:
    """Yield what a run does or did: its progress, what it recorded, what its log says last."""
    if report.progress is not None:
        yield Text(f"It {'had' if is_over else 'has'} come to {progress_line(report.progress)}")
    yield from recorded(report)
    yield from log_counts(report)
    if report.log_tail:
        yield Code("The last lines of its log", cut_middle("\n".join(report.log_tail), LOG_LIMIT), "log")


def recorded(report: RunReport, account: Account | None = None) -> Iterator[Part]:
    """Yield what a run recorded, each number beside what is usual for it."""
    if report.values:
        usual = account.usual if account is not None else {}
        rows = [_row(name, value, usual.get(name)) for name, value in list(report.values.items())[:MOST_ROWS]]
        if len(report.values) > MOST_ROWS:
            rows.append(Row("...", f"{len(report.values) - MOST_ROWS:,} more"))
        yield Facts("Recorded", rows, "values")


def _row(name: Any, value: Any, usual: Any) -> Row:
    text = cut_middle(told(value), _VALUE_LIMIT)
    label = one_line(str(name), _NAME_LIMIT) or "(no name)"
    return Row(label, text) if usual is None else Row(label, text, usual_text(usual), value_stands_out(value, usual))


def log_counts(report: RunReport) -> Iterator[Part]:
    """Yield how many warnings and errors the log of a run has."""
    if report.log_counts:
        counts = ", ".join(_count(level, count) for level, count in report.log_counts.items())
        yield Text(f"In its log: {one_line(counts)}.")


def _count(level: str, count: int) -> str:
    return f"{number(count)} critical" if level == "CRITICAL" else counted(count, level.lower())


def machine(report: RunReport, account: Account | None = None) -> Facts:
    """Return when, where and how a run ran, as small print."""
    usual = account.usual_duration if account is not None else None
    return Facts("", [row for row in _machine(report, usual) if row.text], "machine")


def _machine(report: RunReport, usual: Any) -> Iterator[Row]:
    yield Row("Started", local_time(report.started_at))
    if report.ended_at is not None:
        yield Row("Ended", local_time(report.ended_at))
        yield Row("Duration", duration(report.duration_s), usual_duration_text(usual) if usual is not None else "")
    yield Row("Host", one_line(f"{report.host} (user {report.user}, process {report.pid})"))
    yield Row("Command", one_line(" ".join(report.argv), _COMMAND_LIMIT))
    yield Row("Python", one_line(report.python))
    yield Row("Used", ", ".join(_used(report)))
    yield Row("Log", one_line(str(report.log_path or ""), _COMMAND_LIMIT))
    yield Row("Run", one_line(report.id))


def _used(report: RunReport) -> Iterator[str]:
    if report.cpu_s is not None:
        yield f"{duration(report.cpu_s)} of processor time"
    if report.peak_memory_bytes is not None:
        yield f"{size(report.peak_memory_bytes)} of memory at its peak"
