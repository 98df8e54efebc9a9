"""The live bar on a terminal: one line per run that makes progress, drawn by rich from what the runs say of themselves.

The bar looks at the runs ten times a second, so a run that makes progress pays nothing for being watched.
It stands on stderr: what a script prints to stdout stays as it is, also in a pipe.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.file_proxy import FileProxy
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from supervisor._forks import delaying_forks
from supervisor._hooks import on_fork
from supervisor._terminal import is_terminal
from supervisor._text import number, one_line, rate

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from supervisor._run.state import RunState


class _Count(ProgressColumn):
    """Shows how many are done, of how many where that is known, and the rate."""

    def render(self, task: Task) -> Text:
        of_total = f"/{number(task.total)}" if task.total is not None else ""
        speed = task.finished_speed or task.speed
        pace = f" {rate(speed)}" if speed else ""
        return Text(f"{number(task.completed)}{of_total}{pace}", style="progress.download")


class _Console(Console):
    """Writes what it has gathered in one piece: a fork may come at any time."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with delaying_forks():
            super().__exit__(kind, error, trace)


class _RunsBar(Progress):
    """A progress display that asks its runs how far they are whenever it draws."""

    def __init__(self, console: Console) -> None:
        self.shown: dict[RunState, TaskID] = {}  # before rich asks for the first drawing
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(complete_style="cyan", finished_style="green"),
            TextColumn("{task.percentage:>3.0f}%"),
            _Count(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[said]}", style="dim", markup=False),
            console=console,
            # What goes to a pipe or a file is none of the terminal's business.
            redirect_stdout=is_terminal(sys.stdout),
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        for run, task in tuple(self.shown.items()):
            done, total, message = run.position
            self.update(task, completed=done, total=total, said=one_line(message))
        yield from super().get_renderables()


class _Terminal:
    """Has the one bar of the terminal while runs are shown on it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bar: _RunsBar | None = None

    def show(self, run: RunState) -> None:
        with self._lock:
            if self._bar is None:
                self._bar = _RunsBar(_Console(stderr=True))
                self._bar.start()
            self._bar.shown[run] = self._bar.add_task(one_line(run.name), total=None, said="")

    def hide(self, run: RunState) -> None:
        with self._lock:
            bar = self._bar
            if bar is None or run not in bar.shown:
                return
            bar.refresh()
            bar.stop_task(bar.shown.pop(run))
            if not bar.shown:
                bar.stop()
                self._bar = None

    def renew_in_child(self) -> None:
        """Let a forked child print as if there were no bar: it is its parent's, as is the thread that may draw it."""
        self._lock = threading.Lock()
        if self._bar is None:
            return
        self._bar = None
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, FileProxy):
                setattr(sys, name, stream.rich_proxied_file)


_terminal = _Terminal()


def show(run: RunState) -> None:
    """Give a run its line, and put up the bar if it is not there."""
    _terminal.show(run)


def hide(run: RunState) -> None:
    """Leave a run's line as it is, and take down the bar when it was the last."""
    _terminal.hide(run)


on_fork(in_child=_terminal.renew_in_child)
