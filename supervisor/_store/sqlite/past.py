"""What came before a run, by the journal: asked once when a run ends that has something to tell."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from supervisor._messages.earlier_runs import LAST_RUNS, MOST_IN_A_ROW, Past, PastRun
from supervisor._models.kinds import FAILED, Outcome
from supervisor._store.json_text import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._store.sqlite.database import Row, Store

_NEWEST = 1 << 62
_LOOK_BACK = 2_000
_FAILED = f"({', '.join(repr(str(each)) for each in FAILED)})"

# By the index on the name, whose entries end in the key: no more rows are read than are asked for.
_KEY_OF = "SELECT key FROM (SELECT key, id FROM run WHERE name = ? ORDER BY key DESC LIMIT ?) WHERE id = ? LIMIT 1"
_LAST = """
SELECT outcome, started_at, duration_s, fingerprint, "values" FROM run
WHERE name = ? AND key < ? AND outcome IS NOT NULL ORDER BY key DESC LIMIT ?
"""
# All of them in one pass: it is reading them that takes time.
_ALIKE = f"""
WITH last AS MATERIALIZED (
    SELECT key, outcome IN {_FAILED} AS failed, started_at FROM run
    WHERE name = ? AND key < ? AND outcome IN ('success', {_FAILED[1:]} ORDER BY key DESC LIMIT ?)
SELECT count(*), min(started_at) FROM last
WHERE failed = ? AND key > coalesce((SELECT max(key) FROM last WHERE failed != ?), -1)
"""  # noqa: S608 - only our own words


class _Row(NamedTuple):
    """Runs that ended alike, from the newest on.

    Args:
        failed: Whether they failed; None when there are none.
        length: How many.
        since_s: When the first of them started.
        is_open: True when there may be more of them further back.
    """

    failed: bool | None
    length: int
    since_s: float
    is_open: bool


def past(store: Store, name: str, *, before: str = "", key: int | None = None) -> Past:
    """Return what came before a run.

    Args:
        store: The journal's file.
        name: The name of the run.
        before: The run's id. All runs count as earlier than one that is not among the newest 2,000 of its name.
        key: The run's key, where that is known.

    Raises:
        JournalUnavailable: The file cannot be read.
    """
    name = text(name)
    if key is None and before:
        key = next((found for (found,) in store.rows(_KEY_OF, (name, _LOOK_BACK, text(before)))), None)
    below = _NEWEST if key is None else key
    rows = store.rows(_LAST, (name, below, LAST_RUNS))
    last = _in_a_row(rows)
    if last.is_open and len(rows) == LAST_RUNS:
        last = _further_back(store, name, below, last)
    return Past(
        runs=tuple(map(_run, rows)),
        successes=0 if last.failed else last.length,
        failures=last.length if last.failed else 0,
        failing_since=datetime.fromtimestamp(last.since_s, UTC) if last.failed else None,
    )


def _in_a_row(rows: Iterable[Row]) -> _Row:
    """Count how many ended alike; what neither succeeded nor failed is passed over."""
    failed, length, since_s = None, 0, 0.0
    for outcome, started_at, *_ in rows:
        if outcome != Outcome.SUCCESS and outcome not in FAILED:
            continue
        if failed is not None and failed != (outcome != Outcome.SUCCESS):
            return _Row(failed, length, since_s, is_open=False)
        failed, length, since_s = outcome != Outcome.SUCCESS, length + 1, started_at
    return _Row(failed, length, since_s, is_open=True)


def _further_back(store: Store, name: str, below: int, last: _Row) -> _Row:
    """Count on where all of the last runs ended alike."""
    if last.failed is None:
        return last
    length, since_s = store.rows(_ALIKE, (name, below, MOST_IN_A_ROW, last.failed, last.failed))[0]
    return last._replace(length=length, since_s=since_s)


def _run(row: Row) -> PastRun:
    outcome, started_at, duration_s, fingerprint, values = row
    return PastRun(
        outcome=Outcome(outcome),
        started_at=datetime.fromtimestamp(started_at, UTC),
        duration_s=duration_s or 0.0,
        fingerprint=fingerprint or "",
        values=_values(values) if values is not None else {},
    )


def _values(data: bytes) -> dict[str, object]:
    """Return what a run recorded; {} where this version cannot read it."""
    from supervisor._store.serialization import UnreadableError, load

    try:
        values = load(data)
    except UnreadableError:
        return {}
    return values if isinstance(values, dict) else {}
