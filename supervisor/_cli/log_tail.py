"""The end of a run's log, as it is now."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs

from supervisor._cli.shared import lines
from supervisor._text import size

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor._models.values import RunReport

_BYTES = 64 * 1024
_LATER_S = 60.0


@attrs.frozen(kw_only=True)
class Tail:
    """The end of a log.

    Args:
        path: Where the log is; "" where the run has none.
        lines: Its last lines, fit for a terminal.
        note: What is to be known of it: its size, that it was written to since, or why it cannot be read.
    """

    path: str = ""
    lines: tuple[str, ...] = ()
    note: str = ""


def tail_of(report: RunReport, count: int) -> Tail:
    """Return the last lines of a run's log: what the journal kept of it, else what the file says now.

    Args:
        report: What is known of the run.
        count: How many lines, at most.
    """
    path = str(report.log_path) if report.log_path is not None else ""
    if report.log_tail:
        return Tail(path=path or "kept in the journal", lines=tuple(_last("\n".join(report.log_tail), count)))
    if report.log_path is None:
        return Tail()
    try:
        return _read(report.log_path, count, report.ended_at)
    except (OSError, ValueError) as error:
        return Tail(path=path, note=f"which cannot be read: {getattr(error, 'strerror', None) or error}")


def _read(path: Path, count: int, ended_at: datetime | None) -> Tail:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # to open a FIFO may wait for ever
        return Tail(path=str(path), note="which is no regular file")
    with path.open("rb") as file:
        file.seek(max(0, status.st_size - _BYTES))
        data = file.read(_BYTES)
    text = data.decode("utf-8", "replace")
    if status.st_size > _BYTES:
        text = text.partition("\n")[2]
    note = size(status.st_size)
    if ended_at is not None and (datetime.fromtimestamp(status.st_mtime, UTC) - ended_at).total_seconds() > _LATER_S:
        note += ", written to since the run"
    return Tail(path=str(path), lines=tuple(_last(text, count)), note=note)


def _last(text: str, count: int) -> list[str]:
    return lines(text)[-count:] if count else []
