"""The threads of a run whose limits are watched: show what each is doing, and interrupt the run's own.

In a message, the frames of the script stand with their lines of code; those of libraries are folded into one line, but
for the innermost, which shows what the thread waits for. Threads that do the same share one entry.

An interrupt is a ``KeyboardInterrupt`` inside the script (in asyncio: a cancellation), so that ``except Exception``
does not catch it and ``finally`` cleans up. Where it leaves the run, it has become an
:class:`~supervisor.errors.OverdueError`, as ``asyncio.timeout()`` turns its cancellation into a ``TimeoutError``.
"""

from __future__ import annotations

import linecache
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from supervisor import _log
from supervisor._exceptions.frames import CodeOwner, file_of, owner_of
from supervisor._text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

# What each thread is doing

TEXT_LIMIT = 20_000
MOST_ENTRIES = 30
MOST_LINES = 40
MOST_NAMES = 3
_DEEPEST = 5_000


class _Frame(NamedTuple):
    """One place in the code that is at work or waits.

    Args:
        path: Its file.
        line: The number of the line.
        function: The name of the function.
        owner: Who wrote it.
        package: The package that it belongs to; "" in a script.
    """

    path: str
    line: int
    function: str
    owner: CodeOwner
    package: str


def stacks_text(loop: Any = None, own: str = "") -> str:
    """Return the stacks of all threads but supervisor's own, the main thread first, as text of bounded size.

    Args:
        loop: An asyncio event loop whose tasks are shown too; None for none.
        own: The installed package that is the script itself, which is no library then; "" for none.
    """
    entries = [*_thread_entries(own), *(_task_entries(loop, own) if loop is not None else ())]
    blocks = [f"{_names(titles)}\n{lines}" for lines, titles in _together(entries)]
    if len(blocks) > MOST_ENTRIES:
        blocks[MOST_ENTRIES:] = [f"... and {len(blocks) - MOST_ENTRIES} more"]
    text = "\n".join(blocks)
    if len(text) <= TEXT_LIMIT:
        return text
    # Whole lines of code, since secrets are found by what is before them in their line.
    head, tail = text[: TEXT_LIMIT // 2].rpartition("\n")[0], text[-TEXT_LIMIT // 2 :].partition("\n")[2]
    return f"{head}\n\n[... {len(text) - len(head) - len(tail):,} characters left out ...]\n\n{tail}"


def calling_package() -> str:
    """Return the installed package whose code starts a run here with a block; "" where it is a script or decorated."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - documented
    is_decorated = False
    while frame is not None:
        owner, package = owner_of(file_of(frame))
        if owner is not CodeOwner.OURS:
            return package if owner is CodeOwner.LIBRARY and not is_decorated else ""
        is_decorated = frame.f_code.co_filename.endswith("wrapping.py")
        frame = frame.f_back
    return ""


def _thread_entries(own: str) -> Iterator[tuple[str, str]]:
    """Yield (title, lines) of each thread."""
    main = threading.main_thread().ident
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()  # noqa: SLF001 - documented, for this very purpose
    for ident in sorted(frames, key=lambda each: (each != main, each)):
        stack = _outermost_first(frames[ident])
        if ident == main or not _is_our_own(stack):
            yield f"Thread {one_line(names.get(ident, str(ident)))}", _lines(stack, own)


def _task_entries(loop: Any, own: str) -> Iterator[tuple[str, str]]:
    """Yield (title, lines) of each asyncio task that waits; the one at work stands among the threads."""
    asyncio = sys.modules["asyncio"]
    tasks: Iterable[Any] = ()
    with suppress(RuntimeError):  # tasks come and go meanwhile
        tasks = asyncio.all_tasks(loop)
    for task in sorted(tasks, key=lambda each: str(each.get_name())):
        stack = list(_awaiting(task.get_coro()))
        if stack:
            yield f"Task {one_line(str(task.get_name()))}", _lines(stack, own)


def _together(entries: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield (lines, titles): those who stand at the same place share it."""
    titles: dict[str, list[str]] = {}
    for title, lines in entries:
        titles.setdefault(lines, []).append(title)
    yield from titles.items()


def _names(titles: list[str]) -> str:
    shown = ", ".join(titles[:MOST_NAMES])
    more = len(titles) - MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _outermost_first(frame: FrameType | None) -> list[_Frame]:
    stack: list[_Frame] = []
    while frame is not None and len(stack) < _DEEPEST:
        stack.append(_seen(frame))
        frame = frame.f_back
    return stack[::-1]


def _awaiting(coroutine: Any) -> Iterator[_Frame]:
    """Yield where a task waits, from its own coroutine to what that awaits in the end."""
    for _ in range(_DEEPEST):
        for kind in ("cr", "gi", "ag"):
            frame = getattr(coroutine, f"{kind}_frame", None)
            if frame is not None:
                yield _seen(frame)
                coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await", None)
                break
        else:
            return


def _seen(frame: FrameType) -> _Frame:
    code = frame.f_code
    return _Frame(code.co_filename, frame.f_lineno or 0, code.co_name, *owner_of(file_of(frame)))


def _is_our_own(stack: list[_Frame]) -> bool:
    """Return whether a thread is supervisor's own: the first frame beyond Python's own is ours, and none a script's.

    A thread that a run started passes through :mod:`supervisor._run.process_events`, which makes it no thread of ours.
    """
    frames = (frame for frame in stack if not frame.path.endswith("process_events.py"))
    owners = [frame.owner for frame in frames if frame.owner is not CodeOwner.PYTHON]
    return bool(owners) and owners[0] is CodeOwner.OURS and CodeOwner.SCRIPT not in owners


def _lines(stack: list[_Frame], own: str) -> str:
    """Return one stack, outermost first, its library frames folded."""
    # What supervisor calls is the script, though it may be installed like a library.
    owns = {own, *(inner.package for outer, inner in pairwise(stack) if outer.owner is CodeOwner.OURS)}
    stack = [frame for frame in stack if frame.owner is not CodeOwner.OURS]
    lines: list[str] = []
    for is_script, group in groupby(stack, key=lambda frame: _is_script(frame, owns)):
        frames = list(group)
        if is_script:
            lines += [line for frame in frames for line in _shown(frame)]
        else:
            lines += _folded(frames, is_innermost=frames[-1] is stack[-1])
    return "\n".join(_bounded(lines))


def _is_script(frame: _Frame, owns: set[str]) -> bool:
    return frame.owner is CodeOwner.SCRIPT or (frame.owner is CodeOwner.LIBRARY and frame.package in owns)


def _shown(frame: _Frame) -> Iterator[str]:
    yield f"  {os.path.basename(frame.path)}:{frame.line} in {frame.function}"  # noqa: PTH119 - a text
    source = linecache.getline(frame.path, frame.line).strip()
    if source:
        yield f"    {one_line(source, 1_000)}"


def _folded(frames: list[_Frame], *, is_innermost: bool) -> Iterator[str]:
    """Yield one line for hidden frames of libraries, and the innermost frame of a stack in a line of its own."""
    hidden = frames[:-1] if is_innermost else frames
    if hidden:
        owners = list(dict.fromkeys(frame.package or "python" for frame in hidden))
        yield f"  ... {len(hidden)} in {', '.join(owners[:6])}"
    if is_innermost:
        last = frames[-1]
        yield f"  {os.path.basename(last.path)}:{last.line} in {last.function}"  # noqa: PTH119 - a text


def _bounded(lines: list[str]) -> list[str]:
    """Return at most so many lines, of which most are from the inner end."""
    if len(lines) <= MOST_LINES:
        return lines
    head = MOST_LINES // 4
    tail = MOST_LINES - head
    return [*lines[:head], f"  ... {len(lines) - MOST_LINES} lines left out", *lines[-tail:]]


# An interrupt

ON_ITS_WAY_S = 0.5
"""How long an interrupt takes, at most, from the watching thread to the one that is interrupted."""


class InterruptTarget(Protocol):
    """The thread or the asyncio task of a run, which can be interrupted."""

    loop: Any

    def interrupt(self, still_due: Callable[[], bool]) -> None:
        """Interrupt it, if that is still due when its turn comes."""

    def stands_still(self) -> bool:
        """Return whether the interrupt has not arrived, so that another one may help."""

    def is_cancelled_by_others(self) -> bool:
        """Withdraw our cancellation, if it was one, and return whether others asked for a cancellation too."""


def target_here() -> InterruptTarget:
    """Return what to interrupt when the run that starts now takes too long: the current task, or else the thread."""
    task = _current_task()
    if task is not None:
        return TaskTarget(task)
    return ThreadTarget(threading.get_ident())


class ThreadTarget:
    """A thread; the main one is reached by a real SIGINT, which also ends its waiting for a clock or a socket.

    Any other is reached only when it next runs Python code: what it waits for is waited for.

    Args:
        ident: The thread's number.
    """

    loop = None

    def __init__(self, ident: int) -> None:
        self._ident = ident
        self._stood_at: tuple[int, int] | None = None

    def interrupt(self, still_due: Callable[[], bool]) -> None:
        """Raise KeyboardInterrupt in the thread, if that is still due."""
        if not still_due():
            return
        handler = signal.getsignal(signal.SIGINT)
        # A signal that is ignored (as in a script started with "&") or ends the process at once is of no use.
        is_main = self._ident == threading.main_thread().ident
        if not is_main or handler in (signal.SIG_IGN, signal.SIG_DFL, None):
            _raise_in(self._ident)
        else:
            self._stood_at = self._place() if handler is signal.default_int_handler else None
            _send_to_main(self._ident)

    def stands_still(self) -> bool:
        """Return whether the thread is still in the same line: the signal came right before it began to wait there."""
        return self._stood_at is not None and self._stood_at == self._place()

    def is_cancelled_by_others(self) -> bool:
        """Return False: an interrupt of a thread leaves nothing to be taken back."""
        return False

    def _place(self) -> tuple[int, int] | None:
        frame = sys._current_frames().get(self._ident)  # noqa: SLF001 - documented, for looking at threads
        return None if frame is None else (id(frame), frame.f_lineno)


class TaskTarget:
    """An asyncio task. It is reached when its event loop is free: code that blocks the loop is waited for.

    Args:
        task: The task in which the run started.
    """

    def __init__(self, task: Any) -> None:
        self.loop = task.get_loop()
        self._task = task
        self._cancelling: int = task.cancelling()
        self._is_asked = False

    def interrupt(self, still_due: Callable[[], bool]) -> None:
        """Cancel the task, if that is still due when the loop comes to it."""

        def cancel() -> None:
            if still_due():
                self._is_asked = True
                self._task.cancel()

        try:
            self.loop.call_soon_threadsafe(cancel)
        except RuntimeError:
            _log.info("a run in an event loop that is closed cannot be interrupted")

    def stands_still(self) -> bool:
        """Return False: what is cancelled once need not be cancelled again."""
        return False

    def is_cancelled_by_others(self) -> bool:
        """Withdraw our own request, as asyncio.timeout() does, and return whether others asked too."""
        return self._is_asked and self._task.uncancel() > self._cancelling


def wait_for_late_one() -> None:
    """Let an interrupt arrive that is on its way to this thread.

    Raises:
        KeyboardInterrupt: It arrived.
    """
    until = time.monotonic() + ON_ITS_WAY_S
    while time.monotonic() < until:
        time.sleep(0.005)


def _send_to_main(ident: int) -> None:
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGINT)  # Python's handler also wakes a sleeping main thread
    else:
        signal.pthread_kill(ident, signal.SIGINT)


def _raise_in(ident: int) -> None:
    """Raise KeyboardInterrupt in a thread when it next runs Python code.

    https://docs.python.org/3/c-api/threads.html#c.PyThreadState_SetAsyncExc
    """
    try:
        from ctypes import c_ulong, py_object, pythonapi

        pythonapi.PyThreadState_SetAsyncExc(c_ulong(ident), py_object(KeyboardInterrupt))
    except (ImportError, AttributeError):
        _log.warning("this Python cannot interrupt a thread; the run goes on")


def _current_task() -> Any:
    """Return the asyncio task at hand, or None outside of one."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
