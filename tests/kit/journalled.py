"""Journals with a past, and the command line in this process."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner
from scripts import PACKAGE

from supervisor._cli.main import main
from supervisor._models import DeliveryState, Kind, Outcome
from supervisor._store import EndedRun, Journal, StartedRun
from supervisor._store.processes import Process, this_process
from supervisor.models import ErrorDetails, MessageDetails, Progress, RunReport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from click.testing import Result

GONE = this_process()._replace(pid=4_000_000)
ELSEWHERE = Process("another-machine", 77, "never:1")
HOSTILE = {
    "escape": "\x1b[31mred\x1b[0m\x1b]0;title\x07 bell\x07",
    "markup": "[bold]loud[/bold] [/] [link=http://x]click[/link] {x}",
    "breaks": "one\r\ntwo\x00three\u2028four\x85five",
    "turned": "safe\u202egnp.exe",
    "half": "half \udcff surrogate",
    "emoji": "👩\u200d🚀 raketa 🚀 naïve 漢字",
    "long": "long " * 400,
}

_PROGRAM = (
    # A shell that starts the tests in the background has them ignore Ctrl+C, and all that they start.
    "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    f"sys.path.insert(0, {str(PACKAGE.parent)!r}); sys.argv[0] = 'supervisor'; "
    "runpy.run_module('supervisor', run_name='__main__')"
)

KEY_ERROR = ErrorDetails(
    type="KeyError",
    message="'apn'",
    where="parcels.py:41 in load",
    source='return row["apn"]',
    traceback="Traceback (most recent call last):\n  File \"parcels.py\", line 41, in load\nKeyError: 'apn'",
    fingerprint="f1",
)


class Past:
    """Writes runs and messages as if they had been at other times, and by other processes.

    Args:
        directory: Where the journal is.
    """

    def __init__(self, directory: Path) -> None:
        self.now_s = time.time()
        self._clock_s = self.now_s
        self._process = this_process()
        self.journal = Journal(directory, clock=lambda: self._clock_s, this=lambda: self._process, keep_runs=1_000_000)

    def run(
        self,
        name: str = "nightly parcels",
        *,
        ago_s: float = 3600.0,
        took_s: float = 60.0,
        outcome: str | None = "success",
        values: Mapping[str, Any] | None = None,
        error: ErrorDetails | None = None,
        progress: Progress | None = None,
        by: Process | None = None,
        **started: Any,
    ) -> str:
        """Write one run, without an end for an outcome of None, and return its id."""
        at_s = self.now_s - ago_s
        run_id: str = started.pop("id", None) or os.urandom(16).hex()
        self._process = by or this_process()
        self._clock_s = at_s
        self.journal.start_run(StartedRun(id=run_id, name=name, started_at_s=at_s, user="gis", **started))
        self._clock_s = at_s + took_s
        if progress is not None:
            self.journal.progress(run_id, progress)
        if outcome is not None:
            ended = EndedRun(
                outcome=Outcome(outcome),
                ended_at_s=at_s + took_s,
                duration_s=took_s,
                values=values or {},
                error=error,
                progress=progress,
            )
            self.journal.end_run(run_id, ended)
        self._process = this_process()
        return run_id

    def progress(self, run_id: str, progress: Progress) -> None:
        """Let a run under way report progress now."""
        self._clock_s = self.now_s
        self.journal.progress(run_id, progress)

    def message(
        self,
        subject: str,
        handlers: Sequence[str] = ("ops",),
        *,
        ago_s: float = 3600.0,
        error: str = "",
        failed: bool = False,
        due_in_s: float = 0.0,
        report: RunReport | None = None,
    ) -> list[int]:
        """Write one message; with an error each handler has tried it once. Returns the keys of its deliveries."""
        self._clock_s = self.now_s - ago_s
        created_at = datetime.fromtimestamp(self._clock_s, UTC)
        message = MessageDetails(subject, "text", kind=Kind.NOTICE, created_at=created_at, report=report)
        deliveries = self.journal.put(message, handlers)
        for each in deliveries if error else ():
            claimed = self.journal.claim(each.handler, own=[each.key])
            assert claimed is not None
            state = DeliveryState.FAILED if failed else DeliveryState.PENDING
            self.journal.settle(claimed, state, error=error, due_in_s=due_in_s)
        return [each.key for each in deliveries]

    def rest(self, handler: str, error: str, *, due_in_s: float, ago_s: float = 3600.0) -> None:
        """Let the destination of a handler have failed, some time ago."""
        self._clock_s = self.now_s - ago_s
        claimed = self.journal.claim(handler)
        assert claimed is not None
        self.journal.settle(claimed, DeliveryState.PENDING, error=error, due_in_s=due_in_s, rests=True)

    def report(self, run_id: str) -> RunReport:
        """Return what is known of a run."""
        return next(each.report for each in self.journal.runs(limit=1_000) if each.report.id == run_id)


def invoke(*arguments: str, typed: str | None = None) -> Result:
    """Call the command in this process; stdout is no terminal."""
    return CliRunner().invoke(main, arguments, input=typed, prog_name="supervisor", catch_exceptions=False)


def command_line(*arguments: str) -> list[str]:
    """Return what calls the command in a process of its own."""
    return [sys.executable, "-W", "error", "-c", _PROGRAM, *arguments]


def document(*arguments: str, code: int = 0) -> Any:
    """Return what a command prints with ``--json``, which is all that it prints."""
    result = invoke(*arguments, "--json")
    assert result.exit_code == code, result.output
    assert result.stdout.isascii()
    return json.loads(result.stdout)


def is_harmless(text: str) -> bool:
    """Tell whether nothing in a text moves a cursor, rings a bell or turns the direction of the rest."""
    return not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2028" for c in text.replace("\n", ""))
