"""The record of runs, read from the newest to the oldest without holding it in memory: for a page of all runs.

- What came before a run, by the journal: asked once when a run ends that has something to tell.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor._models.kinds import FAILED, Outcome
from supervisor._models.summary import LAST_RUNS, MOST_IN_A_ROW, Past, PastRun
from supervisor._store.json_text import load_texts, text
from supervisor._store.processes import Process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from supervisor._models.values import ErrorDetails, Progress
    from supervisor._store.sqlite.database import Row, Store
    from supervisor._store.sqlite.journal import Journal
    from supervisor._store.sqlite.reader import Reader

AT_ONCE = 500
"""How many rows are read in one query: a row with an error takes up to about 20 KB."""


class StoredRun(NamedTuple):
    """One run as it lies in the journal; wide parts are decoded when they are asked for.

    Instants are seconds since 1970 (UTC). Of a run under way, ``outcome`` and ``ended_at`` are None.
    """

    key: int
    id: str
    name: str
    outcome: str | None
    started_at: float
    ended_at: float | None
    duration_s: float | None
    parent_id: str | None
    host: str
    pid: int
    process_started: str
    user: str
    python: str
    schedule: str | None
    max_duration_s: float | None
    stall_after_s: float | None
    log_path: str | None
    exit_code: int | None
    cpu_s: float | None
    peak_memory_bytes: int | None
    progress_at: float | None
    stored_progress: bytes | None
    stored_argv: bytes | None
    stored_values: bytes | None
    stored_error: bytes | None

    @property
    def process(self) -> Process:
        """Return the process that it ran in."""
        return Process(self.host, self.pid, self.process_started)

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the command line; empty when it cannot be read."""
        try:
            return load_texts(self.stored_argv)
        except (ValueError, TypeError):
            return ()

    @property
    def values(self) -> dict[str, Any]:
        """Return what the script recorded; empty when it cannot be read."""
        values = _stored(self.stored_values)
        return values if isinstance(values, dict) else {}

    @property
    def progress(self) -> Progress | None:
        """Return the last progress; None without one."""
        from supervisor._models.values import Progress

        progress = _stored(self.stored_progress)
        return progress if isinstance(progress, Progress) else None

    @property
    def error(self) -> ErrorDetails | None:
        """Return what went wrong; None when nothing did."""
        from supervisor._models.values import ErrorDetails

        error = _stored(self.stored_error)
        return error if isinstance(error, ErrorDetails) else None


_COLUMNS = ", ".join(
    {f"stored_{name}": f'"{name}"' for name in ("progress", "argv", "values", "error")}.get(field, field)
    for field in StoredRun._fields
)


def stored_runs(journal: Journal | Reader, *, since_s: float, names: Sequence[str] = ()) -> Iterator[StoredRun]:
    """Yield the runs that started since an instant, newest first.

    Args:
        journal: Where they are.
        since_s: The instant, in seconds since 1970 (UTC).
        names: Of which names; none means of all.

    Raises:
        JournalUnavailable: The file cannot be read.
    """
    marks = ", ".join("?" * len(names))
    of_names = f"AND name IN ({marks})" if names else ""
    sql = f"SELECT {_COLUMNS} FROM run WHERE key < ? AND started_at >= ? {of_names} ORDER BY key DESC LIMIT ?"  # noqa: S608 - our own words and question marks
    below = 1 << 62
    while True:
        rows = journal._store.rows(sql, (below, since_s, *map(text, names), AT_ONCE))  # noqa: SLF001 - of the same package
        yield from map(StoredRun._make, rows)
        if len(rows) < AT_ONCE:
            return
        below = rows[-1][0]


def _stored(data: bytes | None) -> Any:
    """Return what was stored; what this version cannot read is as if it were not there."""
    from supervisor._store.serialization import UnreadableError, load

    try:
        return None if data is None else load(data)
    except UnreadableError:
        return None


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
