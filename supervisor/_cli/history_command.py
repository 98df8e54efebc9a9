"""``supervisor history``: the last runs and their outcomes; ``supervisor show``: everything about one of them."""

from __future__ import annotations

import stat
import sys
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import TYPE_CHECKING, Any

import attrs
import click

from supervisor._cli import run_facts, shared
from supervisor._cli.completion_command import run_names, runs
from supervisor._cli.outbox_command import delivery_document, delivery_table
from supervisor._cli.shared import Column, Styled, line, lines, paint
from supervisor._cli.trends import Trend, trends
from supervisor._messages import run_label
from supervisor._models import SUCCEEDED, Outcome
from supervisor._text import counted, duration, localized, nth, shown_zone, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from supervisor._alerts import Standing
    from supervisor._models.parts import Baseline
    from supervisor._models.values import ErrorDetails, RunReport, RunStep
    from supervisor._store import RunRecord, WaitingDelivery
    from supervisor._store.sqlite import JournalReader

# history

_WIDE, _NARROW = 110, 76
"""The widths from which details are on the line of the run, and the usual duration beside its own."""

_INDENT = " " * (run_facts.SHORT_ID + 2)

_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _since(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Return the instant that "7d", "12h", "30min" or a date means."""
    if value is None:
        return None
    text = value.strip().lower()
    count = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = _UNITS.get(text[len(count) :].strip())
    try:
        if unit is not None and count.isascii():
            return datetime.now(UTC) - timedelta(**{unit: float(count)})
        given = datetime.fromisoformat(value.strip())
        return (given if given.tzinfo is not None else given.replace(tzinfo=shown_zone())).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is no time: 30min, 12h, 7d, 2w, or a date like 2026-03-01") from None


@click.command("history", epilog=shared.exit_codes(one="no run has that name, or the journal cannot be read"))
@click.argument("name", required=False, shell_complete=run_names)
@click.option(
    "--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, help="How many runs, at most."
)
@click.option("--failed", is_flag=True, help="Only runs that failed, were terminated or died.")
@click.option("--since", callback=_since, metavar="TIME", help="Only runs that started since: 12h, 7d, or 2026-03-01.")
@shared.as_json
def command(name: str | None, limit: int, failed: bool, since: datetime | None, as_json: bool) -> None:
    """Show what ran lately, newest first, and how it went.

    NAME shows the runs of one name only, then how long its steps usually take, and where its durations and values are
    heading. Beside each duration stands what is usual for the last 20 successes of that name; "!" marks a success that
    is far from it.
    """
    reader = shared.journal()
    if reader is None:
        shared.print_json([]) if as_json else shared.say(shared.no_journal_yet())
        return
    with shared.journal_errors_shown():
        runs = reader.runs(name, failed=failed, since=since, limit=limit)
        if name is not None and not runs and name not in (names := reader.names()):
            shared.fail(unknown_name(name, names))
        baselines, standings = run_facts.Baselines(reader), run_facts.Standings(reader)
        if as_json:
            shared.print_json(
                [run_facts.run_document(run, standings.of(run), baselines.of(run.report)) for run in runs]
            )
        elif runs:
            _print(runs, baselines, standings, with_names=name is None)
            if name is not None:
                _say_usual_steps(run_facts.usual_steps(reader, name))
                _say_trends(trends(reader, name))
        else:
            shared.say(_nothing(name, failed=failed, since=since))


def unknown_name(name: str, names: Sequence[str]) -> str:
    """Return the error for a name that no run has: it lists the known names, similar ones first."""
    from difflib import get_close_matches

    close = get_close_matches(name.lower(), {each.lower(): each for each in names}, n=5, cutoff=0.5)
    first = [each for each in names if each.lower() in close or (name and name.lower() in each.lower())]
    known = [*first, *(each for each in names if each not in first)]
    if not known:
        return f"no run is named {line(name)!r}: none was journalled yet"
    shown = "\n".join(f"  {line(each, 70)}" for each in known[:10])
    more = f"\n  and {len(known) - 10} more" if len(known) > 10 else ""  # noqa: PLR2004 - the number of names in the slice above
    return f"no run is named {line(name)!r}. There are:\n{shown}{more}"


def _nothing(name: str | None, *, failed: bool, since: datetime | None) -> str:
    runs = "run failed" if failed else "run"
    of_name = f" of {line(name)}" if name is not None else ""
    when = f" since {shared.local(since)}" if since is not None else ""
    return f"No {runs}{of_name}{when}." if failed or when or of_name else "No run is in the journal."


def _print(
    runs: Sequence[RunRecord], baselines: run_facts.Baselines, standings: run_facts.Standings, *, with_names: bool
) -> None:
    """Print a line for each run; in a narrow terminal its values, or its error, go on a second one."""
    columns = shared.width() or sys.maxsize
    heads = [
        Column("RUN"),
        Column("NAME", gives="cut"),
        Column("OUTCOME"),
        Column("STARTED"),
        Column("TOOK"),
        Column("USUALLY"),
        Column("DETAILS", gives="cut"),
    ]
    shown: list[bool] = [True, with_names, True, True, True, columns >= _NARROW, columns >= _WIDE]
    rows = [_row(run, standings.of(run), baselines.of(run.report), short_time=columns < _NARROW) for run in runs]
    head, *body = shared.drawn([*compress(heads, shown)], [[*compress(row, shown)] for row in rows])
    shared.say(head)
    for text, row in zip(body, rows, strict=True):
        shared.say(text)
        details, style = row[-1]
        if details and columns < _WIDE:
            shared.say(shared.paint(f"{_INDENT}{shared.cut(details, columns - len(_INDENT))}", style))


def _row(run: RunRecord, standing: Standing, usual: Baseline | None, *, short_time: bool) -> list[Styled]:
    report = run.report
    odd = run_facts.stands_out(run, usual)
    took = "" if report.outcome is Outcome.SKIPPED else duration(run_facts.took_s(run))
    started = f"{localized(report.started_at):%m-%d %H:%M}" if short_time else shared.local(report.started_at)
    return [
        Styled(run_facts.short_id(report.id), "dim"),
        Styled(line(run_label(report)), ""),
        run_facts.outcome(run, standing),
        Styled(started, ""),
        Styled(f"{took} !" if odd else took, "bold yellow" if odd else ""),
        Styled(run_facts.usually(usual) if took else "", "dim"),
        run_facts.details(run),
    ]


# show

TAIL_LINES = 15
_USUAL_STEPS = 12
_DEEPEST_STEP = 8
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
def show(run: str, lines: int, as_json: bool) -> None:
    """Show all that is known of one run: facts, values, error, log, inner runs, and its messages that wait.

    RUN is the id of a run or the beginning of one, or a name, for the newest run of that name.
    """
    reader = shared.journal()
    if reader is None:
        shared.fail(shared.no_journal_yet())
    with shared.journal_errors_shown():
        known = _RunDetails(reader, find_run(reader, run), lines)
    if as_json:
        shared.print_json(known.document())
    else:
        known.say()


def find_run(reader: JournalReader, asked: str) -> RunRecord:
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
        self.usual_steps = run_facts.usual_steps(reader, record.name, record.id) if record.report.steps else {}
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
            "usual_steps": {name: run_facts.usual_document(each) for name, each in self.usual_steps.items()},
            "log_tail": self.log.lines,
            "inner_runs": [run_facts.run_document(each, self.standings.of(each)) for each in self.inner],
            "waiting": [delivery_document(each) for each in self.waiting],
        }

    def say(self) -> None:
        """Print it for people."""
        state = run_facts.outcome(self.record, self.standing)
        shared.say(f"{paint(line(run_label(self.report)), 'bold')}  {paint(*state)}")
        _say_facts(self._facts())
        if self.report.warning_count:
            _title(counted(self.report.warning_count, "warning").capitalize())
            _say_warnings(self.report)
        if self.report.links:
            _title("Links")
            _say_links(self.report.links)
        if self.report.values:
            _title("Recorded")
            _say_values(self.report.values, self.usual_values)
        if self.report.progress is not None:
            _title("Progress" if self.report.outcome in (None, *SUCCEEDED) else "It had come to")
            shared.say(f"  {run_facts.progress_bar_line(self.record, (shared.width() or 120) - 2)}")
        _say_attempts(self.report)
        if self.report.error is not None:
            _title("Error")
            _say_error(self.report.error)
        if self.report.steps:
            _title("Steps")
            _say_steps(self.report.steps, self.usual_steps)
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
        yield "Attempts", str(report.attempts) if report.retried else ""
        yield "Exit code", str(report.exit_code) if report.exit_code is not None else ""
        who = f" of {line(report.user)}" if report.user else ""
        gone = ", which gives no sign of life" if record.is_lost else ", which is gone" if record.is_gone else ""
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
    """Return what was usual for the numbers that a run recorded, as its messages say it: by the successes before it."""
    if not record.report.values:
        return {}
    from supervisor._messages.baseline import baselines_of

    values, _ = baselines_of(record.report, reader.past(record.name, before=record.id))
    return values


def _title(text: str) -> None:
    shared.say()
    shared.say(paint(text, "bold"))


def _say_usual_steps(steps: Mapping[str, Baseline]) -> None:
    """Print how long each step of the runs of a name usually takes, those first that take longest."""
    if not steps:
        return
    longest = sorted(steps, key=lambda name: -steps[name].median)
    shown = [f"{line(name, 40)} {run_facts.usually(steps[name])}" for name in longest[:_USUAL_STEPS]]
    more = f", {len(longest) - _USUAL_STEPS:,} more" if len(longest) > _USUAL_STEPS else ""
    shared.say()
    shared.say(f"Its steps usually take: {', '.join(shown)}{more}")


def _say_trends(found: Sequence[Trend]) -> None:
    """Print where durations and values are heading, a line each."""
    if found:
        shared.say()
    for each in found:
        shared.say(f"By its last {each.count} successes: {line(str(each), 300)}")


def _say_steps(steps: Sequence[RunStep], usual: Mapping[str, Baseline]) -> None:
    rows: list[list[str | Styled]] = [
        [
            f"{'  ' * min(each.depth, _DEEPEST_STEP)}{line(each.name, 60)}",
            run_facts.step_outcome(each),
            duration(each.duration_s),
            Styled(run_facts.usually(usual.get(each.name)), "dim"),
            run_facts.step_line(each),
        ]
        for each in steps
    ]
    columns: list[Column | str] = [Column("STEP", gives="cut"), "OUTCOME", "TOOK", "USUALLY", Column("", gives="cut")]
    for text in shared.drawn(columns, rows, max(40, (shared.width() or 120) - 2)):
        shared.say(f"  {text}")


def _say_warnings(report: RunReport) -> None:
    for each in report.warnings:
        shared.say(f"  {paint(line(str(each), 300), 'yellow')}")
    if (left_out := report.warning_count - len(report.warnings)) > 0:
        shared.say(paint(f"  and {left_out:,} more", "dim"))


def _say_facts(rows: Iterator[tuple[str, str]]) -> None:
    columns = (shared.width() or 10_000) - 14
    for label, text in rows:
        if text:
            first, *more = [text] if "\x1b" in text else shared.wrapped(text, columns)
            shared.say(f"  {paint(f'{label:<10}', 'dim')}  {first}")
            for each in more:
                shared.say(f"{'':14}{each}")


def _say_links(links: Mapping[str, str]) -> None:
    """Print the addresses whole, whatever the width: terminals let people open them."""
    titles = {line(title, 60): url for title, url in links.items()}
    columns = max(map(len, titles))
    for title, url in titles.items():
        shared.say(f"  {paint(f'{title:<{columns}}', 'dim')}  {line(url, 2_000)}")


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


def _say_attempts(report: RunReport) -> None:
    """Print what the attempts before the last failed with."""
    if report.retried:
        _title("Attempts before the last")
    for number, failed in enumerate(report.retried, 1):
        shared.say(f"  {nth(number):>4}  {run_facts.error_line(failed)}")


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
            Styled(f"  {run_facts.short_id(each.report.id)}", "dim"),
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
