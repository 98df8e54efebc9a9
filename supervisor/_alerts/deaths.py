"""The message that a run died: with its log, its last sign of life, and what may have outlived it.

The next run of its name sends it, or a check. The script, or the next check, waits meanwhile: so a disk that does not
answer is not waited for, and the message is sent whatever stands in the place of a log.
"""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import attrs

from supervisor._attachments import describe
from supervisor._attachments.sources import Source, UnreadableFileError
from supervisor._forks import THREAD_PREFIX
from supervisor._messages import message_for, progress_line, run_label
from supervisor._models import Kind, Outcome
from supervisor._models.parts import Summary
from supervisor._models.values import Attachment
from supervisor._places import this_machine
from supervisor._places.resources import memory_use
from supervisor._store import files
from supervisor._store.essentials import can_note_ends
from supervisor._store.files import last_lines
from supervisor._store.processes import is_of_this_boot, lives
from supervisor._text import (
    counted,
    duration,
    local_time,
    localized,
    one_line,
    size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from supervisor._models.parts import AlertSummary, Past
    from supervisor._models.values import MessageDetails, RunReport
    from supervisor._places.resources import MemoryUse
    from supervisor._store.records import RunRecord

READ_S = 2.0
SHARED = "it may end with lines of the run that sends this message"
_END_BYTES = 64 * 1024
_COMMAND_LIMIT = 200
_NO_ANSWER = f"Its log is not attached: it did not answer within {READ_S:g} s."

T = TypeVar("T")
_hanging: list[threading.Thread] = []


class Left(NamedTuple):
    """What a run has left.

    Args:
        logs: The log that the script named and the run's own, as they are now.
        end: The end of its own log, as it stands there.
        written_at: When its own log was last written to; None where that is not known.
        note: What else there is to say, in a sentence; "" for nothing.
    """

    logs: tuple[Attachment, ...] = ()
    end: str = ""
    written_at: datetime | None = None
    note: str = ""


def died(  # noqa: PLR0913 - what a message is made of
    record: RunRecord,
    *,
    state: str,
    redact: Callable[[str], str],
    past: Past | None = None,
    summary: AlertSummary | None = None,
    shared_log: str | None = None,
) -> MessageDetails:
    """Return the message that a run died.

    Args:
        record: The run, as the journal has it; its process is gone.
        state: The directory of the journal, in which the runs' own logs are too.
        redact: Takes secrets out of a text.
        past: What came before the run; None where that is not known.
        summary: How it had stalled or taken too long; None where that is not known.
        shared_log: The log of the run that sends the message, which may be the same file; None where a check does.
    """
    path = record.report.log_path
    left = within(READ_S, lambda: _left(record.report, state)) or Left(note=_NO_ANSWER)
    logs = tuple(
        attrs.evolve(each, note=each.note or SHARED) if str(each.path) == shared_log else each for each in left.logs
    )
    seen_at = max(filter(None, (record.last_sign_at, left.written_at)))
    report = attrs.evolve(
        record.report,
        outcome=Outcome.DIED,
        duration_s=max(0.0, (seen_at - record.report.started_at).total_seconds()),
        log_path=path or (logs[0].path if logs else None),
        log_tail=last_lines((redact(left.end),)) if left.end else (),
    )
    how = _how_lost(record, seen_at) if record.is_lost else _how(record, seen_at, state)
    note = " ".join(filter(None, (*how, left.note, _program(record))))
    details = message_for(Kind.DIED, report, logs, note, past, summary)
    if record.is_lost:
        return _presumed(details, report, seen_at, record.memory)
    still_runs = record.child is not None and lives(record.child)
    return attrs.evolve(details, subject=f"{details.subject}; its program still runs") if still_runs else details


def _how(record: RunRecord, seen_at: datetime, state: str) -> Iterator[str]:
    """Yield what is known of when and why it died, in sentences."""
    if seen_at > record.report.started_at:
        yield f"Its last sign of life was at {local_time(seen_at)}."
    if record.is_copied:
        yield "It was killed, the machine went down, or it ended after the copy was made that is the journal now."
        return
    if not can_note_ends(state):
        yield "It was killed, the machine went down, or it ended and there was no room to note that."
        return
    yield {
        None: "It ended without saying how (a kill, a crash, os._exit or exec), or the machine went down.",
        True: "It ended without saying how (a kill, a crash, os._exit or exec); the machine has been up since.",
        False: "The machine has been restarted since.",
    }[is_of_this_boot(record.process)]
    yield from _memory(record)
    if this_machine().pid_namespace and is_of_this_boot(record.process) and (use := memory_use()) and use.oom_kills:
        killed, limit = counted(use.oom_kills, "process"), size(use.limit_bytes)
        yield f"The kernel has killed {killed} of this container for want of memory: it may have {limit}."


def _memory(record: RunRecord) -> Iterator[str]:
    """Yield what its last sign of life noted of the memory of its container, in sentences."""
    if (use := record.memory) is not None:
        peak = f", at its peak {size(use.peak_bytes)}" if use.peak_bytes is not None else ""
        yield f"Memory was {size(use.used_bytes)} of {size(use.limit_bytes)} at that moment{peak}."
        if use.oom_kills:
            yield f"The kernel had killed {counted(use.oom_kills, 'process')} there for want of memory."


# Runs whose process cannot be seen from here


def _how_lost(record: RunRecord, seen_at: datetime) -> Iterator[str]:
    """Yield what is known of a run that is presumed dead, in sentences."""
    yield f"Its last was at {local_time(seen_at)}, and one was due every {duration(record.heartbeat_s or 0.0)}."
    yield f"Whether its process {record.pid} lives cannot be seen from here: it is in another container or machine."
    yield from _memory(record)
    yield "Should it end after all, a message will say so."


def _presumed(
    details: MessageDetails, report: RunReport, seen_at: datetime, memory: MemoryUse | None
) -> MessageDetails:
    """Return the message of a death in the words of a presumption."""
    used = f"; memory was {size(memory.used_bytes)} of {size(memory.limit_bytes)}" if memory is not None else ""
    reached = f", at {progress_line(report.progress)}" if report.progress is not None else ""
    since = f"no sign of life since {localized(seen_at):%H:%M}{reached}"
    parts = tuple(attrs.evolve(each, is_presumed=True) if isinstance(each, Summary) else each for each in details.parts)
    subject = one_line(f"{run_label(report)} is presumed dead on {report.host}: {since}{used}")
    return attrs.evolve(details, subject=subject, parts=parts)


# Its logs


def within(limit_s: float, read: Callable[[], T]) -> T | None:
    """Return what is read from files, or None where that takes too long, or an earlier attempt still does.

    Reading from a network disk that is gone may block for ever, and only the end of the process ends that. So a thread
    reads; while one is blocked, no other is started.

    Args:
        limit_s: How many seconds it may take.
        read: Reads, and raises nothing.
    """
    if any(each.is_alive() for each in _hanging):
        return None
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(read()), name=f"{THREAD_PREFIX}reads a log", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no threads any more
        return None
    thread.join(limit_s)
    if not found:
        _hanging[:] = [thread]
    return found[0] if found else None


def _left(report: RunReport, state: str) -> Left:
    own = _own_log(report, state)
    paths = dict.fromkeys(each for each in (report.log_path, own) if each is not None)
    logs = tuple(describe(Attachment(each)) for each in paths)
    if own is None:
        return Left(logs)
    try:
        with Source.open(own, follow=False) as source:
            start = max(0, source.size_bytes - _END_BYTES)
            data = source.sample(start, _END_BYTES)
            written_at = datetime.fromtimestamp(source.info.st_mtime, UTC)
    except (UnreadableFileError, OSError, OverflowError, ValueError):
        return Left(logs)
    # The first line is cut off in its middle, and half a secret would not be known as one.
    whole = data.partition(b"\n")[2] if start else data
    return Left(logs, whole.decode("utf-8", "replace").rstrip("\n"), written_at)


def _own_log(report: RunReport, state: str) -> Path | None:
    """Return the log that the run kept itself (``capture_logs``); None without one."""
    from pathlib import Path

    if report.log_path is not None and report.log_path.name.endswith(f"-{report.id}.log"):
        return report.log_path
    found = files.find(os.path.join(state, "logs"), report.name, report.id)  # noqa: PTH118 - a text
    return Path(found) if found is not None else None


# What may have outlived it


def _program(record: RunRecord) -> str:
    """Return what is known of the program that `supervisor run` had started; "" for a script that was its own run."""
    report, program = record.report, record.child
    command = one_line(" ".join(report.argv), _COMMAND_LIMIT)
    if program is None:
        # Of a program that is started, no version of Python is known.
        return "" if report.python else f"Its program may still be running: look for `{command}`."
    state = lives(program)
    if state is False:
        return f"Its program, process {program.pid}, is gone too."
    runs = "still runs" if state else "may still be running"
    return (
        f"Its program {runs} as process {program.pid}, and nobody watches it: `{command}`. Where it must not run "
        f"beside the next one, end it: `{_ending(program.pid)}`."
    )


def _ending(pid: int) -> str:
    """Return the command that ends a program, with all that it has started where that can be said."""
    if sys.platform == "win32":
        return f"taskkill /PID {pid} /T /F"
    try:
        leads_group = os.getpgid(pid) == pid
    except OSError:
        leads_group = False
    return f"kill -- -{pid}" if leads_group else f"kill {pid}"
