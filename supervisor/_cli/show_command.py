"""``supervisor show``: everything about one run, with the end of its log."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import click

from supervisor._cli import run_facts, shared
from supervisor._cli.completion_command import runs
from supervisor._cli.history_command import unknown_name
from supervisor._cli.outbox_command import delivery_document, delivery_table
from supervisor._cli.shared import Column, Styled, line, lines, paint
from supervisor._messages.subjects import run_label
from supervisor._models.kinds import Outcome
from supervisor._text import counted, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from supervisor._models.parts import Baseline
    from supervisor._models.values import ErrorDetails, RunReport
    from supervisor._store import RunRecord, WaitingDelivery
    from supervisor._store.sqlite.reader import JournalReader

TAIL_LINES = 15
_LOOK_BACK = 60
_LEAST_BEGINNING = 4
_LOG_BYTES = 64 * 1024
_WRITTEN_LATER_S = 60.0


@click.command("show", epilog=shared.exit_codes(one="there is no such run, or the journal cannot be read"))
@click.argument("run", shell_complete=runs)
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(min=0),
    default=TAIL_LINES,
    show_default=True,
    help="How many lines of its log, at most.",
)
@shared.as_json
def command(run: str, lines: int, as_json: bool) -> None:
    """Show all that is known of one run: facts, values, error, log, inner runs, and its messages that wait.

    RUN is the id of a run or the beginning of one, or a name, for the newest run of that name.
    """
    reader = shared.journal()
    if reader is None:
        shared.fail(shared.no_journal_yet())
    with shared.journal_errors_shown():
        known = _RunDetails(reader, _find_run(reader, run), lines)
    if as_json:
        shared.print_json(known.document())
    else:
        known.say()


def _find_run(reader: JournalReader, asked: str) -> RunRecord:
    """Return the run with this id, with this name, or with an id that begins like this."""
    by_id = reader.with_id(asked) if len(asked) >= _LEAST_BEGINNING else ()
    exact = next((each for each in by_id if each.report.id == asked), None)
    of_name = exact or reader.last_run(asked)
    if of_name is not None:
        return of_name
    if len(by_id) > 1:
        several = "\n".join(f"  {each.report.id}  {line(run_label(each.report), 60)}" for each in by_id)
        shared.fail(f"the ids of {counted(len(by_id), 'run')} begin so; give more of it:\n{several}")
    if not by_id:
        shared.fail(f"{unknown_name(asked, reader.names())}\n`supervisor history` shows the ids of runs.")
    return by_id[0]


class _RunDetails:
    """Everything about one run."""

    def __init__(self, reader: JournalReader, record: RunRecord, lines: int) -> None:
        self.record = record
        self.report = record.report
        self.usual = run_facts.Baselines(reader).of(record.report)
        self.standings = run_facts.Standings(reader)
        self.standing = self.standings.of(record)
        self.usual_values = _usual_values(reader, record)
        self.log = log_end_of(record.report, lines)
        self.inner = reader.nested_in(record.report.id)
        keys = reader.waiting_of(record.report.id)
        self.waiting: list[WaitingDelivery] = [each for each in reader.deliveries() if each.key in keys]

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            **run_facts.run_document(self.record, self.standing, self.usual, traceback=True),
            "usual_values": {
                name: {"median": each.median, "low": each.low, "high": each.high, "count": each.count}
                for name, each in self.usual_values.items()
            },
            "log_tail": self.log.lines,
            "inner_runs": [run_facts.run_document(each, self.standings.of(each)) for each in self.inner],
            "waiting": [delivery_document(each) for each in self.waiting],
        }

    def say(self) -> None:
        """Print it for people."""
        state = run_facts.outcome(self.record, self.standing)
        shared.say(f"{paint(line(run_label(self.report)), 'bold')}  {paint(*state)}")
        _say_facts(self._facts())
        if self.report.values:
            _title("Recorded")
            _say_values(self.report.values, self.usual_values)
        if self.report.progress is not None:
            _title("Progress" if self.report.outcome in (None, Outcome.SUCCESS) else "It had come to")
            shared.say(f"  {run_facts.progress_line(self.record, (shared.width() or 120) - 2)}")
        if self.report.error is not None:
            _title("Error")
            _say_error(self.report.error)
        _say_log(self.log)
        if self.inner:
            _title("Inner runs")
            _say_inner(self.inner, self.standings)
        if self.waiting:
            _title("Messages that wait (see `supervisor outbox`)")
            for each in delivery_table(self.waiting, 2):
                shared.say(f"  {each}")

    def _facts(self) -> Iterator[tuple[str, str]]:
        report, record = self.report, self.record
        yield "Run", report.id
        yield "Started", f"{shared.local(report.started_at, seconds=True)} ({shared.ago(report.started_at)})"
        if report.ended_at is not None:
            yield "Ended", shared.local(report.ended_at, seconds=True)
        yield ("Took" if report.outcome is not None else "So far"), self._took()
        yield from self._late()
        yield "Exit code", str(report.exit_code) if report.exit_code is not None else ""
        who = f" of {line(report.user)}" if report.user else ""
        gone = ", which is gone" if record.is_gone else ""
        yield "Process", f"{report.pid}{who} on {line(report.host) if report.host else 'this machine'}{gone}"
        if record.child is not None and report.outcome in (None, Outcome.DIED):
            yield "Program", run_facts.program_words(record.child, f"{record.child.pid}, which")
        yield "Command", " ".join(line(each) for each in report.argv)
        yield "Python", line(report.python) if report.python else ""
        yield "Used", ", ".join(self._used())
        yield "Within run", report.parent_id or ""
        yield "Schedule", line(record.schedule) if record.schedule else ""
        yield "Limits", ", ".join(self._limits())

    def _late(self) -> Iterator[tuple[str, str]]:
        late, record = self.standing, self.record
        for label, since_s, limit in (
            ("Stalled", late.stalled_since_s, f"it should make progress every {duration(record.stall_after_s or 0)}"),
            ("Overdue", late.overdue_since_s, f"it should take at most {duration(record.max_duration_s or 0)}"),
        ):
            if (since := run_facts.instant(since_s)) is not None:
                yield label, f"since {shared.local(since, seconds=True)} ({shared.ago(since)}): {limit}"

    def _took(self) -> str:
        took = duration(run_facts.took_s(self.record))
        usual = f" (usually {run_facts.usually(self.usual)})" if self.usual is not None else ""
        odd = run_facts.stands_out(self.record, self.usual)
        return (paint(f"{took} !", "bold yellow") if odd else took) + usual

    def _used(self) -> Iterator[str]:
        if self.report.cpu_s is not None:
            yield f"{duration(self.report.cpu_s)} of processor time"
        if self.report.peak_memory_bytes is not None:
            yield f"{size(self.report.peak_memory_bytes)} of memory at its peak"

    def _limits(self) -> Iterator[str]:
        if self.record.max_duration_s is not None:
            yield f"at most {duration(self.record.max_duration_s)}"
        if self.record.stall_after_s is not None:
            yield f"progress every {duration(self.record.stall_after_s)}"


@attrs.frozen(kw_only=True)
class LogEnd:
    """The end of a log.

    Args:
        path: The path of the log; "" if the run has none.
        lines: Its last lines, fit for a terminal.
        note: Its size, whether it was written to since the run, or why it cannot be read.
    """

    path: str = ""
    lines: tuple[str, ...] = ()
    note: str = ""


def log_end_of(report: RunReport, count: int) -> LogEnd:
    """Return the last lines of a run's log: those in the journal, or else those of the file as it is now.

    Args:
        report: The report of the run.
        count: The most lines to return.
    """
    path = str(report.log_path) if report.log_path is not None else ""
    if report.log_tail:
        return LogEnd(path=path or "kept in the journal", lines=tuple(_last_lines("\n".join(report.log_tail), count)))
    if report.log_path is None:
        return LogEnd()
    try:
        return _read_log(report.log_path, count, report.ended_at)
    except (OSError, ValueError) as error:
        return LogEnd(path=path, note=f"which cannot be read: {getattr(error, 'strerror', None) or error}")


def _read_log(path: Path, count: int, ended_at: datetime | None) -> LogEnd:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a FIFO may block for ever
        return LogEnd(path=str(path), note="which is no regular file")
    with path.open("rb") as file:
        file.seek(max(0, status.st_size - _LOG_BYTES))
        data = file.read(_LOG_BYTES)
    text = data.decode("utf-8", "replace")
    if status.st_size > _LOG_BYTES:
        text = text.partition("\n")[2]
    note = size(status.st_size)
    if (
        ended_at is not None
        and (datetime.fromtimestamp(status.st_mtime, UTC) - ended_at).total_seconds() > _WRITTEN_LATER_S
    ):
        note += ", written to since the run"
    return LogEnd(path=str(path), lines=tuple(_last_lines(text, count)), note=note)


def _last_lines(text: str, count: int) -> list[str]:
    return lines(text)[-count:] if count else []


def _usual_values(reader: JournalReader, record: RunRecord) -> Mapping[str, Baseline]:
    """Return the usual values of the numbers that a run recorded, from the other last successes of its name."""
    if not record.report.values:
        return {}
    from supervisor._messages.baseline import baselines_of
    from supervisor._models.parts import Past, PastRun

    others = [
        PastRun(outcome=Outcome.SUCCESS, started_at=each.report.started_at, values=each.report.values)
        for each in reader.runs(record.report.name, limit=_LOOK_BACK)
        if each.report.outcome is Outcome.SUCCESS and each.report.id != record.report.id
    ]
    values, _ = baselines_of(record.report, Past(runs=tuple(others)))
    return values


def _title(text: str) -> None:
    shared.say()
    shared.say(paint(text, "bold"))


def _say_facts(rows: Iterator[tuple[str, str]]) -> None:
    columns = (shared.width() or 10_000) - 14
    for label, text in rows:
        if text:
            first, *more = [text] if "\x1b" in text else shared.wrapped(text, columns)
            shared.say(f"  {paint(f'{label:<10}', 'dim')}  {first}")
            for each in more:
                shared.say(f"{'':14}{each}")


def _say_values(values: Mapping[str, Any], usual: Mapping[str, Baseline]) -> None:
    from supervisor._messages.baseline import baseline_text, value_stands_out

    rows = []
    for name, value in values.items():
        known = usual.get(name)
        odd = known is not None and value_stands_out(value, known)
        text = run_facts.value(value, 1_000)
        rows.append(
            [
                Styled(f"  {line(str(name), 60)}", "dim"),
                Styled(f"{text} !" if odd else text, "bold yellow" if odd else ""),
                Styled(baseline_text(known) if known is not None else "", "dim"),
            ]
        )
    columns: list[Column | str] = [Column("", gives="cut"), Column("", gives="wrap"), ""]
    for each in shared.drawn(columns, rows)[1:]:
        shared.say(each)


def _say_error(error: ErrorDetails) -> None:
    headline = f"{error.type}: {error.message}" if error.message else error.type
    for each in shared.lines(headline, 4_000):
        shared.say(f"  {paint(each, 'bold red')}")
    if error.thread:
        shared.say(f"  in {line(error.thread)}")
    if error.where:
        shared.say(f"  at {line(error.where)}")
    for note in error.notes:
        _say_lines(note)
    code = error.excerpt or (f"    {error.source}" if error.source else "")
    if code:
        shared.say()
        _say_lines(code)
    if error.local_variables:
        shared.say()
        for name, text in error.local_variables:
            shared.say(f"  {line(name, 60)} = {line(text, 500)}")
    if error.traceback and error.traceback.strip() != headline:
        shared.say()
        _say_lines(error.traceback)


def _say_lines(text: str) -> None:
    for each in shared.lines(text):
        shared.say(f"  {each}".rstrip())


def _say_log(log: LogEnd) -> None:
    if not log.path:
        return
    _title(f"Log {line(log.path, 500)}{f', {log.note}' if log.note else ''}")
    for each in log.lines:
        shared.say(f"  {each}".rstrip())


def _say_inner(inner: tuple[RunRecord, ...], standings: run_facts.Standings) -> None:
    rows: list[list[str | Styled]] = [
        [
            Styled(f"  {run_facts.short(each.report.id)}", "dim"),
            line(run_label(each.report)),
            run_facts.outcome(each, standings.of(each)),
            duration(run_facts.took_s(each)),
            run_facts.details(each),
        ]
        for each in inner
    ]
    columns: list[Column | str] = ["", Column("", gives="cut"), "", "", Column("", gives="cut")]
    for each in shared.drawn(columns, rows)[1:]:
        shared.say(each)
