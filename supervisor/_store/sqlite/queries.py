"""The record of runs, read from the newest to the oldest without holding it in memory: for a page of all runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor._store.json_text import load_texts, text
from supervisor._store.processes import Process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from supervisor._models.values import ErrorDetails, Progress
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
