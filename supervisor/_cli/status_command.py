"""``supervisor status``: what runs now, and what is wrong."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import click

from supervisor._alerts import Standing
from supervisor._cli import run_facts, shared
from supervisor._cli.configured import current_view
from supervisor._cli.mute_command import held_document, held_lines, mute_document, muted_lines
from supervisor._cli.shared import Column, Styled, line, paint
from supervisor._messages import run_label
from supervisor._places import is_terminal
from supervisor._text import counted, duration, localized, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from supervisor._alerts.evaluation import Alert
    from supervisor._models.parts import Baseline
    from supervisor._models.values import RunStep
    from supervisor._store import RunRecord
    from supervisor._store.records import HeldDelivery, Mute
    from supervisor._store.sqlite import JournalReader

LAST_NAMES = 10
REFRESH_S = 2.0
_LEAST_NAME = 8


@click.command("status", epilog=shared.exit_codes(one="the journal cannot be read"))
@click.option("--watch", "-w", is_flag=True, help="Look again every 2 seconds, until Ctrl+C.")
@shared.as_json
def command(watch: bool, as_json: bool) -> None:
    """Show what runs now, and what is wrong: runs that are stalled, overdue or dead, and starts that were missed.

    Of each run: since when, how far it is, and its last sign of life.

    When nothing runs, the last run of each name is shown.
    """
    if watch and (as_json or not is_terminal(sys.stdout)):
        raise click.UsageError("--watch needs a terminal, and goes without --json")
    reader = shared.journal()
    with shared.journal_errors_shown():
        if watch:
            _watch(reader)
        elif as_json:
            shared.print_json(status_document(read_status(reader)))
        elif reader is None:
            shared.say(shared.no_journal_yet())
        else:
            shared.say("\n".join(status_lines(read_status(reader))))


@attrs.frozen(kw_only=True)
class Memory:
    """What a process has in memory now.

    Args:
        own_bytes: By itself.
        children_bytes: All that descend from it, together.
        children: How many these are.
    """

    own_bytes: int
    children_bytes: int = 0
    children: int = 0


@attrs.frozen(kw_only=True)
class UnderWay:
    """One run that has not ended.

    Args:
        record: The run.
        standing: Whether it is stalled, overdue or dead.
        usual: What its duration usually is; None where that is not known.
        memory: What its process has in memory; None for one that is gone, or on another machine.
        within: The name of the run that it is nested in; "" for none.
        usual_steps: What the durations of its steps under way usually are, by their names.
    """

    record: RunRecord
    standing: Standing
    usual: Baseline | None
    memory: Memory | None
    within: str
    usual_steps: Mapping[str, Baseline] = {}


@attrs.frozen(kw_only=True)
class Now:
    """The state of all runs at one moment.

    Args:
        at: The moment.
        runs: What is under way.
        missed: The scheduled starts that were missed, one alert for each name.
        last: The newest run of each name, where nothing is under way; of those that ran last.
        more_names: How many names there are besides.
        pending: How many deliveries wait.
        failed: How many deliveries were refused.
        mutes: The names of which nobody is notified for now.
        held: The messages that are held, since a person or a setting wants it so.
    """

    at: datetime
    runs: tuple[UnderWay, ...]
    missed: tuple[Alert, ...]
    last: tuple[RunRecord, ...]
    pending: int
    failed: int
    more_names: int = 0
    mutes: tuple[Mute, ...] = ()
    held: tuple[HeldDelivery, ...] = ()


def read_status(reader: JournalReader | None, now: datetime | None = None) -> Now:
    """Return what is under way, what was missed, and how many deliveries wait."""
    from supervisor._alerts.evaluation import missed_start_alerts

    now = now or datetime.now(UTC)
    if reader is None:
        return Now(at=now, runs=(), missed=(), last=(), pending=0, failed=0)
    view = current_view(reader, now)
    records = view.unended
    baselines = run_facts.Baselines(reader)
    names = {each.report.id: each.report.name for each in records}
    runs = tuple(
        UnderWay(
            record=each,
            standing=view.standings[each.id],
            usual=baselines.of(each.report),
            memory=memory_of(each),
            within=names.get(each.report.parent_id or "", ""),
            usual_steps=run_facts.usual_steps(reader, each.name) if each.steps else {},
        )
        for each in records
    )
    pending, failed = reader.waiting_counts()
    missed = tuple(missed_start_alerts(view))
    last = () if runs else reader.newest_of_each(LAST_NAMES)
    more_names = len(reader.names()) - len(last) if len(last) == LAST_NAMES else 0
    return Now(
        at=now,
        runs=runs,
        missed=missed,
        last=last,
        pending=pending,
        failed=failed,
        more_names=more_names,
        mutes=tuple(reader.mutes().values()),
        held=reader.held_and_so(),
    )


def memory_of(record: RunRecord) -> Memory | None:
    """Return what the process of a run has in memory now; None where that is not known."""
    from supervisor._store.processes import can_be_seen

    if record.is_gone or not can_be_seen(record.process):
        return None
    import psutil

    try:
        process = psutil.Process(record.report.pid)
        own = process.memory_info().rss
        children = [_rss(each) for each in process.children(recursive=True)]
    except psutil.Error:
        return None
    return Memory(own_bytes=own, children_bytes=sum(children), children=len(children))


def _rss(process: Any) -> int:
    import psutil

    try:
        rss: int = process.memory_info().rss
    except psutil.Error:  # it has just ended
        return 0
    return rss


def status_document(now: Now) -> dict[str, Any]:
    """Return it for programs."""
    return {
        "at": now.at,
        "under_way": [_run_document(each, now.at) for each in now.runs],
        "missed": [_missed_document(each) for each in now.missed],
        "last_runs": [run_facts.run_document(each, Standing()) for each in now.last],
        "muted": [mute_document(each, now.held) for each in now.mutes],
        "held": [held_document(each) for each in now.held],
        "outbox": {"pending": now.pending, "failed": now.failed},
    }


def _run_document(run: UnderWay, now: datetime) -> dict[str, Any]:
    memory = run.memory
    return {
        **run_facts.run_document(run.record, run.standing, run.usual),
        "left_s": run_facts.left_s(run.record, now),
        "last_sign_of_life": run.record.seen_at,
        "memory_bytes": memory.own_bytes if memory is not None else None,
        "children_memory_bytes": memory.children_bytes if memory is not None else None,
    }


def _missed_document(alert: Alert) -> dict[str, Any]:
    plan = alert.plan
    return {
        "name": alert.name,
        "since": alert.since,
        "last_due": alert.due[-1],
        "starts": len(alert.due),
        "schedule": plan.schedule.text if plan is not None else None,
        "grace_s": plan.grace_s if plan is not None else None,
        "last_run_id": alert.run.id if alert.run is not None else None,
    }


def status_lines(now: Now) -> Iterator[str]:
    """Yield the lines that a person reads."""
    if now.runs or now.missed:
        yield _summary(now)
    for run in now.runs:
        yield ""
        yield from _run(run, now.at)
    for alert in now.missed:
        yield ""
        yield from _missed(alert, now.at)
    if now.last:
        if now.missed:
            yield ""
        yield f"{'' if now.missed else 'Nothing is under way. '}The last run of each name:"
        yield ""
        yield from _last(now.last, now.at)
        if now.more_names:
            yield paint(f"and {counted(now.more_names, 'name')} more: `supervisor report` shows all", "dim")
    elif not now.runs and not now.missed:
        yield "Nothing is under way, and no run is in the journal."
    if now.mutes or now.held:
        yield ""
        yield from (paint(each, "yellow") for each in muted_lines(now.mutes, now.held))
        yield from held_lines(now.held, {each.name for each in now.mutes})
    if now.pending or now.failed:
        yield ""
        yield _outbox(now)


def _summary(now: Now) -> str:
    """Return how many runs are under way, and what is wrong."""
    standings = [each.standing for each in now.runs]
    dead = sum(each.has_died for each in standings)
    wrong = {
        "stalled": sum(each.stalled_since_s is not None for each in standings),
        "overdue": sum(each.overdue_since_s is not None for each in standings),
        "died?": dead,
        "missed": len(now.missed),
    }
    head = paint(f"{counted(len(now.runs) - dead, 'run')} under way", "bold")
    return run_facts.joined((head, *(f"{count} {word}" for word, count in wrong.items() if count)), ", ")


def _run(run: UnderWay, now: datetime) -> Iterator[str]:
    columns = shared.width() or 200
    report = run.record.report
    within = f"in {line(run.within, 30)}" if run.within else ""
    words = run_facts.standing_words(run.standing)
    state = paint(*words) if words is not None else ""
    head = run_facts.joined((state, paint(f"{run_facts.short_id(report.id)}", "dim"), paint(within, "dim")), "  ")
    name = shared.cut(line(run_label(report)), max(_LEAST_NAME, columns - 2 - len(click.unstyle(head))))
    yield f"{paint(name, 'bold')}  {head}"
    if report.progress is not None:
        yield f"  {run_facts.progress_bar_line(run.record, columns - 2)}"
    for each in _wrapped(_dead(run.record, now) if run.standing.has_died else _facts(run, now), columns - 2):
        yield f"  {each}"


def _facts(run: UnderWay, now: datetime) -> Iterator[str]:
    report = run.record.report
    usual = run_facts.usually(run.usual)
    standing = run.standing
    for word, since in (("stalled", standing.stalled_since_s), ("overdue", standing.overdue_since_s)):
        if (at := run_facts.instant(since)) is not None:
            yield paint(f"{word} since {_time(at, now)}", run_facts.LATE)
    for step in run.record.steps:
        if step.outcome is None:
            yield _step(step, run.usual_steps, now)
    took = f"for {duration(run_facts.took_s(run.record, now))}"
    yield paint(f"{took} !", "bold yellow") if run_facts.stands_out(run.record, run.usual) else took
    yield f"started {_time(report.started_at, now)}"
    if usual:
        yield f"usually {usual}"
    left_s = run_facts.left_s(run.record, now)
    if left_s is not None and left_s >= 1:
        yield f"{run_facts.about(left_s)} left"
    if run.memory is not None:
        yield _memory(run.memory)
    yield f"last sign of life {shared.ago(run.record.seen_at, now)}"
    yield f"process {report.pid}" + (f" on {line(report.host, 40)}" if run.memory is None else "")


def _step(step: RunStep, usual: Mapping[str, Baseline], now: datetime) -> str:
    took_s = max(0.0, (now - step.started_at).total_seconds())
    usually = run_facts.usually(usual.get(step.name))
    return f"step {line(step.name, 60)} for {duration(took_s)}{f' (usually {usually})' if usually else ''}"


def _dead(record: RunRecord, now: datetime) -> Iterator[str]:
    report = record.report
    yield f"started {_time(report.started_at, now)}"
    yield f"last sign of life {shared.ago(record.last_sign_at, now)}"
    for step in record.steps:
        if step.outcome is None:
            yield f"in step {line(step.name, 60)}"
    yield f"process {report.pid} is gone" if not record.is_lost else f"process {report.pid} is presumed dead"
    if record.child is not None:
        yield run_facts.program_words(record.child, f"its program, process {record.child.pid},")
    yield "its next run or `supervisor check` will report it"


def _missed(alert: Alert, now: datetime) -> Iterator[str]:
    """Yield the lines about a script that did not start by its schedule."""
    columns = shared.width() or 200
    word = paint("missed", run_facts.LATE)
    yield f"{paint(shared.cut(line(alert.label), max(_LEAST_NAME, columns - 8)), 'bold')}  {word}"
    for each in _wrapped(_missed_facts(alert, now), columns - 2):
        yield f"  {each}"


def _missed_facts(alert: Alert, now: datetime) -> Iterator[str]:
    from supervisor._alerts.messages import missed_words

    yield paint(missed_words(alert.due, now), run_facts.LATE)
    if alert.plan is not None:
        yield f"schedule {line(alert.plan.schedule.text, 40)}"
    if alert.run is None:
        yield "it never started"
    else:
        started_at = datetime.fromtimestamp(alert.run.started_at_s, UTC)
        yield f"last run {_time(started_at, now)}, {line(alert.run.outcome or 'has not ended')}"
    yield "look whether its scheduler still has it"


def _memory(memory: Memory) -> str:
    if not memory.children:
        return size(memory.own_bytes)
    children = "1 child" if memory.children == 1 else f"{memory.children} children"
    return f"{size(memory.own_bytes)} and {size(memory.children_bytes)} in {children}"


def _time(instant: datetime, now: datetime) -> str:
    """Return an instant in the machine's zone, without the date where that is today's."""
    ours = localized(instant)
    return f"{ours:%H:%M:%S}" if ours.date() == localized(now).date() else shared.local(instant)


def _wrapped(parts: Iterator[str], columns: int) -> Iterator[str]:
    """Yield lines of parts that belong together, as many on each as it takes."""
    row: list[str] = []
    used = 0
    for part in parts:
        length = len(click.unstyle(part))
        if row and used + length > columns:
            yield " · ".join(row)
            row, used = [], 0
        row.append(part)
        used += length + 3
    yield " · ".join(row)


def _last(records: Sequence[RunRecord], now: datetime) -> list[str]:
    columns: list[str | Column] = [Column("NAME", gives="cut"), "OUTCOME", "STARTED", "TOOK", ""]
    return shared.drawn(
        columns,
        [
            [
                line(run_label(each.report)),
                run_facts.outcome(each, Standing()),
                shared.local(each.report.started_at),
                duration(run_facts.took_s(each, now)),
                Styled(shared.ago(each.report.started_at, now), "dim"),
            ]
            for each in records
        ],
    )


def _outbox(now: Now) -> str:
    pending = f"{now.pending:,} pending" if now.pending else ""
    failed = paint(f"{now.failed:,} failed", "red") if now.failed else ""
    remedy = "; `supervisor flush --failed` sends again what was refused" if now.failed else ""
    return f"Outbox: {run_facts.joined((pending, failed), ', ')} (`supervisor outbox`{remedy})"


def _watch(reader: JournalReader | None) -> None:
    """Show it anew every 2 seconds, until Ctrl+C."""
    import time

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(highlight=False), auto_refresh=False, screen=False) as live:
        try:
            while True:
                reader = reader or shared.journal()
                lines = list(status_lines(read_status(reader))) if reader is not None else [shared.no_journal_yet()]
                live.update(Text.from_ansi("\n".join(lines)), refresh=True)
                time.sleep(REFRESH_S)
        except KeyboardInterrupt:
            return
