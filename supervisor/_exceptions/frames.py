"""Where the frames of a traceback stand: in the script, in a library, in Python's own, or in supervisor."""

from __future__ import annotations

import os
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import CodeType, FrameType, TracebackType

_OUR_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120 - pathlib is slower
_STDLIB_FOLDER = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - the same
_LIBRARY_FOLDERS = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_MOST_FRAMES = 10_000  # of a longer traceback the beginning and the end


class Owner(Enum):
    """Who wrote the code of a frame."""

    SCRIPT = "script"
    LIBRARY = "site-packages"
    PYTHON = "standard library"
    OURS = "supervisor"


class Seen(NamedTuple):
    """One frame of a traceback, at the line where it was left.

    Args:
        trace: Its part of the traceback.
        path: Its file, as the code knows it.
        function: Its function.
        line: The number of the line; 0 where Python knows none.
        owner: Who wrote it.
        package: The package or module that it belongs to; "" in a script.
    """

    trace: TracebackType
    path: str
    function: str
    line: int
    owner: Owner
    package: str

    @property
    def code(self) -> CodeType:
        """Return its code."""
        return self.trace.tb_frame.f_code

    @property
    def is_script(self) -> bool:
        """Tell whether it is the script's own."""
        return self.owner is Owner.SCRIPT


def frames_of(trace: TracebackType | None, own: str = "") -> list[Seen]:
    """Return the frames of a traceback, outermost first, without those of supervisor.

    Args:
        trace: The traceback.
        own: The installed package that is the script itself, which is no library then; "" for none.
    """
    traces = _bounded(trace)
    places = [place_of(_file(each.tb_frame)) for each in traces]
    return [
        _seen(each, Owner.SCRIPT if package and package == own and owner is Owner.LIBRARY else owner, package)
        for each, (owner, package) in zip(traces, places, strict=True)
        if owner is not Owner.OURS
    ]


def _seen(trace: TracebackType, owner: Owner, package: str) -> Seen:
    code = trace.tb_frame.f_code
    return Seen(trace, code.co_filename, code.co_name, trace.tb_lineno or 0, owner, package)


def _bounded(trace: TracebackType | None) -> Sequence[TracebackType]:
    traces = []
    while trace is not None:
        traces.append(trace)
        trace = trace.tb_next
    return traces if len(traces) <= _MOST_FRAMES else traces[: _MOST_FRAMES // 2] + traces[-_MOST_FRAMES // 2 :]


def own_package(trace: TracebackType | None) -> str:
    """Return the package that is the script itself, where it is installed like a library; "" where it is not.

    The traceback of what left a supervised block or function begins in it, or in the module that Python was started
    with.
    """
    while trace is not None:
        owner, package = place_of(_file(trace.tb_frame))
        if owner is Owner.LIBRARY:
            return package
        if owner is Owner.SCRIPT or not (owner is Owner.OURS or trace.tb_frame.f_code.co_filename.startswith("<")):
            return ""
        trace = trace.tb_next
    return ""


@lru_cache(4096)
def place_of(path: str) -> tuple[Owner, str]:
    """Return who wrote a file, and the package or module that it belongs to."""
    if path.startswith(_OUR_FOLDER):  # the demo is a script like any other
        return (Owner.SCRIPT if path.endswith("demo.py") else Owner.OURS), ""
    if path.startswith("<frozen "):
        return Owner.PYTHON, path[len("<frozen ") : -1].partition(".")[0]
    for folder in _LIBRARY_FOLDERS:
        _, found, rest = path.rpartition(folder)
        if found:
            return Owner.LIBRARY, _first_part(rest)
    if path.startswith(_STDLIB_FOLDER):
        return Owner.PYTHON, _first_part(path[len(_STDLIB_FOLDER) :])
    return Owner.SCRIPT, ""


def _first_part(path: str) -> str:
    name = path.partition(os.sep)[0]
    return name.partition(".")[0] or name


def _file(frame: FrameType) -> str:
    """Return the file of a frame; extension modules name a source file that is not there, and their module knows."""
    path = frame.f_code.co_filename
    if path.startswith(("/", "<")) or os.path.isabs(path):  # noqa: PTH117 - text only
        return path
    module = dict.get(frame.f_globals, "__file__")
    return module if isinstance(module, str) else path


def innermost(frames: Sequence[Seen]) -> Seen | None:
    """Return where it happened: in the script if possible, else where it was raised; None without frames."""
    return next((each for each in reversed(frames) if each.is_script), frames[-1] if frames else None)


def said(frame: Seen | None) -> str:
    """Return a place as a person says it ("parcels.py:41 in load"); "" for none."""
    return "" if frame is None else f"{os.path.basename(frame.path)}:{frame.line} in {frame.function}"  # noqa: PTH119 - text


def fingerprint(kind: str, frames: Iterable[Seen]) -> str:
    """Return the same text for failures of one kind at one place.

    Neither lines that were added above meanwhile nor the depth of a recursion make a difference.

    Args:
        kind: The exception's type.
        frames: The traceback.
    """
    import hashlib

    places = "\n".join(dict.fromkeys(_places(frames)))
    return hashlib.sha256(f"{kind}\n{places}".encode(errors="replace")).hexdigest()[:16]


def _places(frames: Iterable[Seen]) -> Iterator[str]:
    for each in frames:
        if each.is_script:
            yield f"{os.path.basename(each.path)} {each.function}"  # noqa: PTH119 - text only
