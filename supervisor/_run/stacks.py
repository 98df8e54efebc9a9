"""What every thread is doing at this moment, as a person reads it.

The frames of the script stand with their lines of code; those of libraries are folded into one line, but for the
innermost, which shows what the thread waits for. Threads that do the same share one entry.
"""

from __future__ import annotations

import linecache
import os
import sys
import threading
from contextlib import suppress
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor._exceptions.frames import CodeOwner, owner_of
from supervisor._text import cut_middle, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

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
    return cut_middle("\n".join(blocks), TEXT_LIMIT)


def calling_package() -> str:
    """Return the installed package whose code starts a run here with a block; "" where it is a script or decorated."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - documented
    is_decorated = False
    while frame is not None:
        owner, package = owner_of(frame.f_code.co_filename)
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
    path = frame.f_code.co_filename
    return _Frame(path, frame.f_lineno or 0, frame.f_code.co_name, *owner_of(path))


def _is_our_own(stack: list[_Frame]) -> bool:
    """Return whether a thread is supervisor's own: the first frame beyond Python's own is ours, and none a script's."""
    owners = [frame.owner for frame in stack if frame.owner is not CodeOwner.PYTHON]
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
    """Yield what stands for frames of libraries: who they belong to, and at the end of a stack what is waited for."""
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
