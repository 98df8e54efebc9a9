"""What there is to see of runs at one moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._alerts.rules import Standing
from supervisor._cli import run_facts

if TYPE_CHECKING:
    from supervisor._alerts.evaluation import Alert, ConfiguredSchedule, View
    from supervisor._config.configuration import Configuration
    from supervisor._models.parts import Baseline
    from supervisor._store import RunRecord
    from supervisor._store.sqlite.reader import JournalReader

LAST_NAMES = 10


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
    """

    record: RunRecord
    standing: Standing
    usual: Baseline | None
    memory: Memory | None
    within: str


@attrs.frozen(kw_only=True)
class Now:
    """What there is to see at one moment.

    Args:
        at: The moment.
        runs: What is under way.
        missed: The scheduled starts that were missed, one alert for each name.
        last: The newest run of each name, where nothing is under way; of those that ran last.
        more_names: How many names there are besides.
        pending: How many deliveries wait.
        failed: How many deliveries were refused.
    """

    at: datetime
    runs: tuple[UnderWay, ...]
    missed: tuple[Alert, ...]
    last: tuple[RunRecord, ...]
    pending: int
    failed: int
    more_names: int = 0


def read_status(reader: JournalReader | None, now: datetime | None = None) -> Now:
    """Return what is under way, what was missed, and how many deliveries wait."""
    from supervisor._alerts.evaluation import missed_starts

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
        )
        for each in records
    )
    pending, failed = reader.waiting_counts()
    missed = tuple(missed_starts(view))
    last = () if runs else reader.newest_of_each(LAST_NAMES)
    more_names = len(reader.names()) - len(last) if len(last) == LAST_NAMES else 0
    return Now(at=now, runs=runs, missed=missed, last=last, pending=pending, failed=failed, more_names=more_names)


def current_view(reader: JournalReader, now: datetime) -> View:
    """Return what a check would know now of runs and schedules; nothing is written to the journal."""
    from time import monotonic

    from supervisor._alerts.evaluation import view_of
    from supervisor._config.active import active

    return view_of(reader, configured_schedules(active().loaded), now, monotonic())


def configured_schedules(configuration: Configuration) -> dict[str, ConfiguredSchedule]:
    """Return the schedules that the configuration has, by the names of the runs."""
    from supervisor._alerts.evaluation import ConfiguredSchedule

    settings = {name: configuration.for_run(name) for name in configuration.runs}
    return {
        name: ConfiguredSchedule(schedule=each["schedule"], grace_s=each.get("grace_s"))
        for name, each in settings.items()
        if each.get("schedule")
    }


def memory_of(record: RunRecord) -> Memory | None:
    """Return what the process of a run has in memory now; None where that is not known."""
    from supervisor._store.processes import hostname

    if record.report.host != hostname() or record.is_gone:
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


def document(now: Now) -> dict[str, Any]:
    """Return it for programs."""
    return {
        "at": now.at,
        "under_way": [_run_document(each, now.at) for each in now.runs],
        "missed": [_missed_document(each) for each in now.missed],
        "last_runs": [run_facts.run_document(each, Standing()) for each in now.last],
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
