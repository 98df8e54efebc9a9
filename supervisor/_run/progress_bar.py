"""The live bar on a terminal: one line per run that makes progress, drawn by rich from what the runs say of themselves.

The bar looks at the runs ten times a second, so a run that makes progress pays nothing for being watched.
It stands on stderr: what a script prints to stdout stays as it is, also in a pipe. Where a script uses rich itself, it
stands on the script's own console, so that neither tears what the other shows.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import rich
from rich.console import Console, RenderableType
from rich.file_proxy import FileProxy
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from supervisor._forks import delaying_forks
from supervisor._hooks import on_fork, unwrap_reading, wrap_reading
from supervisor._places import is_terminal
from supervisor._text import number, one_line, rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
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
            # A stream that leads to a pipe or a file is left as it is.
            redirect_stdout=is_terminal(sys.stdout),
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        for run, task in tuple(self.shown.items()):
            done, total, message = run.position
            self.update(task, completed=done, total=total, said=one_line(message))
        yield from super().get_renderables()


def _console() -> Console:
    """Return the console that a script prints with by rich, so that both share the terminal; else one for stderr."""
    console: Console | None = getattr(rich, "_console", None)
    can_share = hasattr(console, "_live_stack")  # from rich 14.1 on, a console has several live displays
    return console if console is not None and console.is_terminal and can_share else _Console(stderr=True)


def _without_forks(draw: Callable[[], None]) -> Callable[[], None]:
    """Let forks wait while something is drawn on a console that is not ours."""

    def drawn() -> None:
        with delaying_forks():
            draw()

    return drawn


class _Terminal:
    """Has the one bar of the terminal while runs are shown on it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # what is printed while it is held may come by here
        self._bar: _RunsBar | None = None
        self._runs: list[RunState] = []
        self._readers = 0

    def show(self, run: RunState) -> None:
        with self._lock:
            self._runs.append(run)
            wrap_reading(self.standing_still)
            if not self._readers:
                self._draw(run)

    def _draw(self, run: RunState) -> None:
        if self._bar is None:
            self._bar = _RunsBar(_console())
            live = self._bar.live
            live.refresh = _without_forks(live.refresh)  # type: ignore[method-assign]
            self._bar.start()
        self._bar.shown[run] = self._bar.add_task(one_line(run.name), total=None, said="")

    def hide(self, run: RunState) -> None:
        with self._lock:
            if run not in self._runs:
                return
            self._runs.remove(run)
            bar = self._bar
            if bar is not None and run in bar.shown:
                bar.refresh()
                bar.stop_task(bar.shown.pop(run))
            if not self._runs:
                unwrap_reading()
                self._take_down()

    def _take_down(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Take the bar down while the terminal is read from, so that it hides nothing that is typed."""
        with self._lock, suppress(Exception):  # the run's boundary: the script reads, whatever becomes of the bar
            self._readers += 1
            self._take_down()
        try:
            yield
        finally:
            with self._lock, suppress(Exception):  # the run's boundary
                self._readers -= 1
                for run in () if self._readers else tuple(self._runs):
                    self._draw(run)

    def renew_in_child(self) -> None:
        """Let a forked child print as if there were no bar: it is its parent's, as is the thread that may draw it."""
        self._lock = threading.RLock()
        self._runs, self._readers = [], 0
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
