"""What the tests of the journal share: a clock to set, processes to name, and real processes to start and kill."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waiting import PATIENCE_S

import supervisor
from supervisor._models import Outcome
from supervisor._store import EndedRun, RunRecord, StartedRun
from supervisor._store.serialization import dump
from supervisor._store.sqlite.run_queries import dump_texts
from supervisor.models import MessageDetails

if TYPE_CHECKING:
    from supervisor._store import Journal
    from supervisor._store.processes import Process
    from supervisor.models import RunReport

PACKAGE = Path(supervisor.__file__).resolve().parent
KIT = Path(__file__).resolve().parent
NOON = float(int(time.time()))
"""The instant that tests count from. It is not long ago, since old runs are pruned."""


class Clock:
    """A clock that goes only when a test says so."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:  # noqa: D102 - a clock
        return self.now


def python(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start a Python process that can import supervisor; its output can be read as text."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def output_of(process: subprocess.Popen[str]) -> str:
    """Wait for a process that must end well and return what it printed."""
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    return output


def first_line_of(process: subprocess.Popen[str]) -> str:
    """Wait for the first line that a process prints."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, process.communicate(timeout=PATIENCE_S)[1]
    return line


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process as the kernel would, and wait until it is gone."""
    process.kill()
    process.communicate(timeout=PATIENCE_S)


def notice(subject: str = "Parcels loaded", message: str = "812 rows", **fields: Any) -> MessageDetails:
    """Return a message."""
    return MessageDetails(subject, message, **fields)


def started(run_id: str, name: str = "nightly", **fields: Any) -> StartedRun:
    """Return the start of a run."""
    return StartedRun(**{"id": run_id, "name": name, "started_at_s": NOON, **fields})


def ended(outcome: Outcome = Outcome.SUCCESS, **fields: Any) -> EndedRun:
    """Return the end of a run."""
    return EndedRun(**{"outcome": outcome, "ended_at_s": NOON + 60, "duration_s": 60.0, **fields})


def record(journal: Journal, *outcomes: Outcome, name: str = "nightly", since: float = NOON) -> None:
    """Let runs of a name start a minute apart and end with these outcomes."""
    for number, outcome in enumerate(outcomes):
        run_id = f"{name}-{since}-{number}"
        journal.start_run(started(run_id, name, started_at_s=since + 60 * number))
        journal.end_run(run_id, ended(outcome))


def run_record(report: RunReport, *, process_started: str = "", child: Process | None = None) -> RunRecord:
    """Return a report as a journal would give back the run that it is of."""
    facts: dict[str, Any] = dict.fromkeys(RunRecord._fields)
    same = ("id", "name", "host", "pid", "duration_s", "parent_id", "user", "python", "exit_code", "cpu_s")
    facts |= {name: getattr(report, name) for name in same}
    facts |= {
        "key": 1,
        "outcome": report.outcome and str(report.outcome),
        "process_started": process_started,
        "started_at_s": report.started_at.timestamp(),
        "ended_at_s": report.ended_at and report.ended_at.timestamp(),
        "log_path": report.log_path and str(report.log_path),
        "peak_memory_bytes": report.peak_memory_bytes,
        "child_pid": child and child.pid,
        "child_started": child and child.started,
        "stored_progress": report.progress and dump(report.progress),
        "stored_argv": dump_texts(report.argv),
        "stored_values": dump(dict(report.values)),
        "stored_settings": dump(dict(report.settings)),
        "stored_error": report.error and dump(report.error),
        "is_gone": report.outcome is None,
        "is_lost": False,
        "is_copied": False,
    }
    return RunRecord(**facts)
