"""What the journal answers about runs: which there are, which died, how many failed in a row, what came before one.

It begins with what all parts of the journal have in common: how they ask its file, and values as its columns hold them.
On every run's path, so it loads no more than that needs.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, overload

from supervisor._models import FAILED, SUCCEEDED, Outcome
from supervisor._store.processes import LOST_MARGIN_S, Process, is_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from supervisor._models.parts import Past, PastRun
    from supervisor._store.essentials import Surroundings
    from supervisor._store.records import Repeats, RunRecord, Streak
    from supervisor._store.sqlite.database import Row

DAY_S = 86_400.0

RUN_COLUMNS = """
run.key, run.id, run.name, run.outcome, run.host, run.pid, run.process_started, run.started_at, run.ended_at,
run.duration_s, run.progress_at, run.schedule, run.grace_s, run.max_duration_s, run.stall_after_s, run.parent_id,
run.user, run.python, run.log_path, run.exit_code, run.cpu_s, run.peak_memory_bytes, run.child_pid, run.child_started,
run.fingerprint, run.machine, run.heartbeat_s, run.heartbeat_at, run.progress, run.argv, run."values", run.error,
run.settings, run.memory, run.links, run.warnings, run.steps, run.retried, run.boot, run.surroundings,
run.stamp
"""
"""What is selected of each run, in the order of the fields of a RunRecord."""


IN_STATE = "{state}/"
"""How the path of a log begins that is in the journal's directory: that may be moved, or copied to another machine."""
_LOG_PATH = 18  # its place among the columns


class Readable(Protocol):
    """A file that can be asked."""

    directory: str

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return what one query finds."""


class JournalPart:
    """What the parts of the journal have in common.

    Args:
        database: The journal's file.
        clock: Returns seconds since 1970.
        this: Returns the process that asks.
        gone: Tells whether a process has surely ended.
    """

    def __init__(
        self,
        database: Readable,
        *,
        clock: Callable[[], float],
        this: Callable[[], Process],
        gone: Callable[[Process], bool],
    ) -> None:
        self._database = database
        self._clock = clock
        self._this = this
        self._gone = gone

    def _run_records(self, rows: Iterable[Sequence[Any]]) -> tuple[RunRecord, ...]:
        """Return what was selected of runs; there may be many thousands."""
        from supervisor._store.records import RunRecord

        make = RunRecord._make
        place = self._database.directory
        found = (make((*_with_log_in(place, row), False, False, False)) for row in rows)
        return tuple(each if each.outcome is not None else self._with_fate(each) for each in found)

    def _with_fate(self, run: RunRecord) -> RunRecord:
        """Return a run that has not ended with what is known of its process."""
        if self._gone(run.process):
            return run._replace(is_gone=True, is_copied=self._was_copied_since(run.started_at_s))
        is_silent = is_lost(run.process, self._silent_s(run), run.heartbeat_s)
        return run._replace(is_gone=True, is_lost=True) if is_silent else run

    def _was_copied_since(self, started_at_s: float) -> bool:
        """Return whether the file is a copy that was put here after that: it may lack what the runs did meanwhile."""
        return bool(self._database.rows("SELECT 1 FROM file WHERE copied_at > ?", (started_at_s,)))

    def _silent_s(self, run: RunRecord) -> float:
        """Return the seconds since the last sign of life of a run that gives some, without those that were slept."""
        silent_s = self._clock() - run.last_sign_at_s
        if run.heartbeat_s is None or silent_s < LOST_MARGIN_S:
            return 0.0
        ((slept_s,),) = self._database.rows("SELECT total(slept_s) FROM past_check WHERE at > ?", (run.last_sign_at_s,))
        return silent_s - float(slept_s)


def _with_log_in(directory: str, row: Sequence[Any]) -> Sequence[Any]:
    """Return a row with the path of a log that is in the journal's directory as it is today."""
    path = row[_LOG_PATH]
    if path is None or not path.startswith(IN_STATE):
        return row
    log_path = os.path.join(directory, path.removeprefix(IN_STATE))  # noqa: PTH118 - a text
    return (*row[:_LOG_PATH], log_path, *row[_LOG_PATH + 1 :])


def dump_texts(values: Sequence[str]) -> bytes:
    """Return several texts as JSON, in bytes that hold every text of Python."""
    return _dumped(tuple(values))


@lru_cache(maxsize=16)  # the command line, which is the same for all runs of a process
def _dumped(values: tuple[str, ...]) -> bytes:
    return json.dumps(list(values), ensure_ascii=False).encode("utf-8", "surrogatepass")


def load_texts(data: bytes | None) -> tuple[str, ...]:
    """Return what :func:`dump_texts` was given; nothing for None."""
    return tuple(json.loads(data.decode("utf-8", "surrogatepass"))) if data is not None else ()


@overload
def instant(seconds: float) -> datetime: ...
@overload
def instant(seconds: float | None) -> datetime | None: ...
def instant(seconds: float | None) -> datetime | None:
    """Return seconds since 1970 as a datetime; None for None."""
    from datetime import UTC, datetime

    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


# What is asked of runs

AT_ONCE = 500
"""How many rows are read in one query: a row with an error takes up to about 20 KB."""

_NEWEST_KEY = 1 << 62
_LOOK_BACK = 2_000
_FAILED = ", ".join(repr(str(each)) for each in FAILED)
_SUCCEEDED = ", ".join(repr(str(each)) for each in SUCCEEDED)

_SELECT = f"SELECT {RUN_COLUMNS} FROM run"  # noqa: S608 - only our own words, here and below
# From one name to the next by the index on names, whose last entry of a name is its newest run: so it takes as long as
# there are names, however many runs each has. GROUP BY would read all of the index.
_EACH_NAME = """
WITH RECURSIVE names (name) AS (
    SELECT min(name) FROM run
    UNION ALL
    SELECT (SELECT min(run.name) FROM run WHERE run.name > names.name) FROM names WHERE names.name IS NOT NULL
)
"""
_NAMES = f"{_EACH_NAME} SELECT name FROM names WHERE name IS NOT NULL"  # noqa: S608 - made of constants alone
_NEWEST_OF_EACH = f"""
{_EACH_NAME} SELECT {RUN_COLUMNS} FROM names
JOIN run ON run.key = (SELECT key FROM run WHERE run.name = names.name ORDER BY key DESC LIMIT 1)
"""  # noqa: S608 - made of constants alone
_NEWEST_KEYS = f"""
{_EACH_NAME} SELECT (SELECT max(key) FROM run WHERE run.name = names.name) AS newest
FROM names WHERE name IS NOT NULL ORDER BY newest DESC LIMIT ?
"""  # noqa: S608 - made of constants alone
_SUCCESSES = f"""
SELECT id, duration_s FROM run WHERE name = ? AND outcome IN ({_SUCCEEDED}) ORDER BY key DESC LIMIT ?
"""  # noqa: S608 - made of constants alone
_OUTCOMES = "SELECT outcome, started_at, id, key FROM run WHERE name = ? AND key < ? ORDER BY key DESC LIMIT ?"
_REPEATS = "SELECT notified_at, held_back FROM notified_failure WHERE name = ? AND fingerprint = ?"
# By the index on the name, whose entries end in the key: no more rows are read than are asked for.
_KEY_OF = "SELECT key FROM (SELECT key, id FROM run WHERE name = ? ORDER BY key DESC LIMIT ?) WHERE id = ? LIMIT 1"
# All of them in one pass: it is reading them that takes time.
_ALIKE = f"""
WITH last AS MATERIALIZED (
    SELECT key, outcome IN ({_FAILED}) AS failed, started_at FROM run
    WHERE name = ? AND key < ? AND outcome IN ({_SUCCEEDED}, {_FAILED}) ORDER BY key DESC LIMIT ?)
SELECT count(*), min(started_at) FROM last
WHERE failed = ? AND key > coalesce((SELECT max(key) FROM last WHERE failed != ?), -1)
"""  # noqa: S608 - made of constants alone


# Of the newest runs, each that another script of this name came before.
_SCRIPTS = """
SELECT name, script FROM (SELECT key, name, script FROM run ORDER BY key DESC LIMIT ?) AS newest
WHERE script IS NOT NULL ORDER BY name, key
"""


class RunQueries(JournalPart):
    """Answer questions about runs; see :class:`~supervisor._store.contract.Runs`."""

    # Several runs

    def runs(
        self, name: str | None = None, *, failed: bool = False, since: datetime | None = None, limit: int = 100
    ) -> tuple[RunRecord, ...]:
        """Return the newest runs, newest first."""
        conditions: list[str] = []
        facts: list[Any] = []
        if name is not None:
            conditions.append("name = ?")
            facts.append(name)
        if failed:
            conditions.append(f"outcome IN ({_FAILED})")
        if since is not None:
            conditions.append("started_at >= ?")
            facts.append(since.timestamp())
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        return self._runs(f"{where}ORDER BY key DESC LIMIT ?", *facts, limit)

    def runs_since(self, since_s: float, names: Sequence[str] = ()) -> Iterator[RunRecord]:
        """Yield the runs that started since an instant, newest first, without holding them all in memory."""
        of_names = f"AND name IN ({_marks(names)})" if names else ""
        conditions = f"WHERE key < ? AND started_at >= ? {of_names} ORDER BY key DESC LIMIT ?"
        below = _NEWEST_KEY
        while True:
            found = self._runs(conditions, below, since_s, *names, AT_ONCE)
            yield from found
            if len(found) < AT_ONCE:
                return
            below = found[-1].key

    def newest_runs(self) -> dict[str, RunRecord]:
        """Return the newest run of each name."""
        return {each.name: each for each in self._run_records(self._database.rows(_NEWEST_OF_EACH))}

    def newest_of_each(self, limit: int = 10) -> tuple[RunRecord, ...]:
        """Return the newest run of each name, of the names that ran last, newest first."""
        keys = [key for (key,) in self._database.rows(_NEWEST_KEYS, (limit,))]
        return self._runs(f"WHERE key IN ({_marks(keys)}) ORDER BY key DESC", *keys)

    def unended_runs(self) -> tuple[RunRecord, ...]:
        """Return the runs that have not ended, of all names and machines, oldest first."""
        # Ordered as their index is, or SQLite reads all runs.
        return tuple(sorted(self._runs("WHERE outcome IS NULL ORDER BY name, key"), key=lambda each: each.key))

    def died_runs(self, name: str) -> tuple[RunRecord, ...]:
        """Return the runs of a name that never ended and whose process is gone or lost, oldest first."""
        conditions = "WHERE outcome IS NULL AND name = ? ORDER BY key"
        return tuple(each for each in self._runs(conditions, name) if each.is_gone)

    def with_id(self, beginning: str, *, limit: int = 10) -> tuple[RunRecord, ...]:
        """Return the runs whose ids begin so, newest first."""
        conditions = "WHERE substr(id, 1, ?) = ? ORDER BY key DESC LIMIT ?"
        return self._runs(conditions, len(beginning), beginning, limit)

    def nested_in(self, run_id: str, *, limit: int = 100) -> tuple[RunRecord, ...]:
        """Return the runs that were started within a run, oldest first."""
        # An inner run has a larger key: what is older need not be read.
        newer = "key > (SELECT max(key) FROM run WHERE id = ?)"
        return self._runs(f"WHERE {newer} AND parent_id = ? ORDER BY key LIMIT ?", run_id, run_id, limit)

    def _runs(self, conditions: str, *facts: Any) -> tuple[RunRecord, ...]:
        return self._run_records(self._database.rows(f"{_SELECT} {conditions}", facts))

    # One run

    def last_run(self, name: str) -> RunRecord | None:
        """Return the newest run of a name, ended or not; None when there is none."""
        return next(iter(self.runs(name, limit=1)), None)

    def first_run_since(self, name: str, since: datetime) -> RunRecord | None:
        """Return the first run of a name that started at an instant or later; None when there is none yet."""
        conditions = "WHERE name = ? AND started_at >= ? ORDER BY key LIMIT 1"
        return next(iter(self._runs(conditions, name, since.timestamp())), None)

    def run_now(self, record: RunRecord) -> RunRecord | None:
        """Return what is known of a run now; None when it is no longer kept."""
        return next(iter(self._runs("WHERE key = ? AND id = ?", record.key, record.id)), None)

    # What is known of all runs of a name

    def names(self) -> tuple[str, ...]:
        """Return the names of all runs, in the order of the alphabet."""
        return tuple(name for (name,) in self._database.rows(_NAMES))

    def shared_names(self, newest: int = 2_000) -> dict[str, tuple[str, ...]]:
        """Return the names under which scripts of several paths take turns, and these paths; of the newest runs.

        A script that was moved does not take turns: its former path does not come back.
        """
        turns: dict[str, list[str]] = {}
        for name, script in self._database.rows(_SCRIPTS, (newest,)):
            paths = turns.setdefault(name, [])
            if not paths or paths[-1] != script:
                paths.append(script)
        return {name: tuple(sorted(set(paths))) for name, paths in turns.items() if len(set(paths)) < len(paths)}

    def successes(self, name: str, *, limit: int = 20) -> tuple[tuple[str, float], ...]:
        """Return the ids and the durations in seconds of the last successes of a name, newest first."""
        rows = self._database.rows(_SUCCESSES, (name, limit))
        return tuple((run_id, duration_s or 0.0) for run_id, duration_s in rows)

    def successful_runs(self, name: str, *, limit: int, before: int | None = None) -> tuple[RunRecord, ...]:
        """Return the last runs of a name that succeeded, newest first; those before the run of a key, or all."""
        which = f"WHERE name = ? AND outcome IN ({_SUCCEEDED}) AND key < ? ORDER BY key DESC LIMIT ?"
        return self._runs(which, name, _NEWEST_KEY if before is None else before, limit)

    def has_facts(self, stamp: bytes) -> bool:
        """Return whether the facts of surroundings are kept already."""
        return bool(self._database.rows("SELECT 1 FROM surroundings WHERE stamp = ? AND facts IS NOT NULL", (stamp,)))

    def surroundings_of(self, run: RunRecord) -> Surroundings | None:
        """Return what was around a run; None where that is not known."""
        from supervisor._store.essentials import Surroundings

        if run.stamp is not None:
            return Surroundings(run.stamp, run.boot or "")
        rows = self._database.rows("SELECT stamp, facts FROM surroundings WHERE key = ?", (run.surroundings,))
        return Surroundings(rows[0][0], run.boot or "", rows[0][1], run.surroundings) if rows else None

    def failures_since_success(self, name: str, *, before: str = "") -> Streak:
        """Return how many runs of a name failed in a row, and since when."""
        from supervisor._store.records import Streak

        count, since = 0, None
        below = self._key_of(name, before)  # one that started later is for the next run to recover from
        for outcome, started_at, run_id in self._outcomes_from_newest(name, below):
            if run_id == before:
                continue
            if outcome in SUCCEEDED:
                break
            if outcome in FAILED:
                count, since = count + 1, started_at
        return Streak(count, instant(since))

    def _outcomes_from_newest(self, name: str, below: int) -> Iterator[tuple[str | None, float, str]]:
        """Read in growing steps: mostly the newest run decides, but a streak may be long."""
        for limit in chain((2, 20), iter(lambda: 500, None)):
            rows = self._database.rows(_OUTCOMES, (name, below, limit))
            for outcome, started_at, run_id, _ in rows:
                yield outcome, started_at, run_id
            if len(rows) < limit:
                return
            below = rows[-1][-1]

    def repeats(self, name: str, fingerprint: str) -> Repeats:
        """Return when people were last notified of an equal failure, and how many were held back since."""
        from supervisor._store.records import Repeats

        rows = self._database.rows(_REPEATS, (name, fingerprint))
        notified_at, held_back = rows[0] if rows else (None, 0)
        return Repeats(instant(notified_at), held_back)

    def past(self, name: str, *, before: str = "") -> Past:
        """Return what came before a run: the last 30 ended runs of its name, and how many ended alike in a row."""
        from supervisor._models.parts import LAST_RUNS, Past

        below = self._key_of(name, before)
        conditions = "WHERE name = ? AND key < ? AND outcome IS NOT NULL ORDER BY key DESC LIMIT ?"
        runs = self._runs(conditions, name, below, LAST_RUNS)
        last = _in_a_row(runs)
        if last.is_open and len(runs) == LAST_RUNS:
            last = self._further_back(name, below, last)
        return Past(
            runs=tuple(map(_past_run, runs)),
            earlier_successes=tuple(map(_past_run, self._successes_before(name, runs))),
            successes=0 if last.failed else last.length,
            failures=last.length if last.failed else 0,
            failing_since=instant(last.since_s) if last.failed else None,
        )

    def _successes_before(self, name: str, runs: Sequence[RunRecord]) -> Sequence[RunRecord]:
        """Return the successes before the last runs that these lack for a baseline."""
        from supervisor._models.parts import LAST_RUNS, LAST_SUCCESSES

        lacking = LAST_SUCCESSES - sum(run.outcome in SUCCEEDED for run in runs)
        if lacking <= 0 or len(runs) < LAST_RUNS:
            return ()
        conditions = f"WHERE name = ? AND key < ? AND outcome IN ({_SUCCEEDED}) ORDER BY key DESC LIMIT ?"
        return self._runs(conditions, name, runs[-1].key, lacking)

    def _key_of(self, name: str, run_id: str) -> int:
        """Return the key of a run; of one that is not among the newest 2,000 of its name, that of one to come."""
        rows = self._database.rows(_KEY_OF, (name, _LOOK_BACK, run_id)) if run_id else ()
        return next((key for (key,) in rows), _NEWEST_KEY)

    def _further_back(self, name: str, below: int, last: _Row) -> _Row:
        """Count on where all of the last runs ended alike."""
        from supervisor._models.parts import MOST_IN_A_ROW

        if last.failed is None:
            return last
        facts = (name, below, MOST_IN_A_ROW, last.failed, last.failed)
        length, since_s = self._database.rows(_ALIKE, facts)[0]
        return last._replace(length=length, since_s=since_s)


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


def _in_a_row(runs: Iterable[RunRecord]) -> _Row:
    """Count how many ended alike; what neither succeeded nor failed is passed over."""
    failed, length, since_s = None, 0, 0.0
    for run in runs:
        if run.outcome not in SUCCEEDED and run.outcome not in FAILED:
            continue
        if failed is not None and failed != (run.outcome in FAILED):
            return _Row(failed, length, since_s, is_open=False)
        failed, length, since_s = run.outcome in FAILED, length + 1, run.started_at_s
    return _Row(failed, length, since_s, is_open=True)


def _past_run(run: RunRecord) -> PastRun:
    from supervisor._models.parts import PastRun

    return PastRun(
        outcome=Outcome(run.outcome or ""),
        started_at=instant(run.started_at_s),
        duration_s=run.duration_s or 0.0,
        fingerprint=run.fingerprint or "",
        values=run.values if run.stored_values is not None else {},
    )


def _marks(values: Collection[Any]) -> str:
    return ", ".join("?" * len(values))
