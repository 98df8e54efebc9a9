"""What the parts of the journal share: values as columns hold them, and the one list of a run's columns.

On every run's path, so it loads no more than that needs.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, overload

from supervisor._store.processes import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from supervisor._store.records import RunRecord
    from supervisor._store.sqlite.database import Row

DAY_S = 86_400.0

RUN_COLUMNS = """
run.key, run.id, run.name, run.outcome, run.host, run.pid, run.process_started, run.started_at, run.ended_at,
run.duration_s, run.progress_at, run.schedule, run.grace_s, run.max_duration_s, run.stall_after_s, run.parent_id,
run.user, run.python, run.log_path, run.exit_code, run.cpu_s, run.peak_memory_bytes, run.child_pid, run.child_started,
run.fingerprint, run.progress, run.argv, run."values", run.error,
run.settings
"""
"""What is selected of each run, in the order of the fields of a RunRecord."""


class Readable(Protocol):
    """A file that can be asked."""

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

        make, gone = RunRecord._make, self._gone
        return tuple(make((*row, row[3] is None and gone(Process(*row[4:7])))) for row in rows)


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
