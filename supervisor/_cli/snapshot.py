"""What there is to see of runs at one moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._cli import run_facts

if TYPE_CHECKING:
    from supervisor._models.summary import Baseline
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
        usual: What its duration usually is; None where that is not known.
        memory: What its process has in memory; None for one that is gone, or on another machine.
        within: The name of the run that it is nested in; "" for none.
    """

    record: RunRecord
    usual: Baseline | None
    memory: Memory | None
    within: str


@attrs.frozen(kw_only=True)
class Now:
    """What there is to see at one moment.

    Args:
        at: The moment.
        runs: What is under way.
        last: The newest run of each name, where nothing is under way; of those that ran last.
        more_names: How many names there are besides.
        pending: How many deliveries wait.
        failed: How many deliveries were refused.
    """

    at: datetime
    runs: tuple[UnderWay, ...]
    last: tuple[RunRecord, ...]
    pending: int
    failed: int
    more_names: int = 0


def look(reader: JournalReader | None, now: datetime | None = None) -> Now:
    """Return what there is to see now."""
    now = now or datetime.now(UTC)
    if reader is None:
        return Now(at=now, runs=(), last=(), pending=0, failed=0)
    records = reader.unended_runs()
    usuals = run_facts.Usuals(reader)
    names = {each.report.id: each.report.name for each in records}
    runs = tuple(
        UnderWay(
            record=each,
            usual=usuals.of(each.report),
            memory=memory_of(each),
            within=names.get(each.report.parent_id or "", ""),
        )
        for each in records
    )
    pending, failed = reader.waiting_counts()
    last = () if runs else reader.newest_of_each(LAST_NAMES)
    more_names = len(reader.names()) - len(last) if len(last) == LAST_NAMES else 0
    return Now(at=now, runs=runs, last=last, pending=pending, failed=failed, more_names=more_names)


def memory_of(record: RunRecord) -> Memory | None:
    """Return what the process of a run has in memory now; None where that cannot be told."""
    from supervisor._store.processes import hostname

    if record.report.host != hostname() or run_facts.is_lost(record):
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
    """Return what programs are told."""
    return {
        "at": now.at,
        "under_way": [_run_document(each, now.at) for each in now.runs],
        "last_runs": [run_facts.run_document(each) for each in now.last],
        "outbox": {"pending": now.pending, "failed": now.failed},
    }


def _run_document(run: UnderWay, now: datetime) -> dict[str, Any]:
    memory = run.memory
    return {
        **run_facts.run_document(run.record, run.usual),
        "left_s": run_facts.left_s(run.record, now),
        "last_sign_of_life": run.record.seen_at,
        "memory_bytes": memory.own_bytes if memory is not None else None,
        "children_memory_bytes": memory.children_bytes if memory is not None else None,
    }
