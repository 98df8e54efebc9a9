"""The frames of a traceback: to whom their code belongs, which of them are shown, and the fingerprint they make."""

from __future__ import annotations

import enum
import os
import sys
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import CodeType, FrameType, TracebackType


_OUR_FOLDER = f"{Path(__file__).parent.parent}{os.sep}"
_STDLIB_FOLDERS = tuple({f"{Path(str(each.__file__)).parent}{os.sep}" for each in (os, enum)})
"""Where Python's own modules are. An embeddable Python has them in a zip file, but ``os``, which is built in, claims to
be in a folder beside it."""
_LIBRARY_FOLDERS = tuple(
    f"{each}{os.sep}" for each in (f"{os.sep}site-packages", f"{os.sep}dist-packages", ".egg", ".whl")
)
_MOST_FRAMES = 10_000  # of a longer traceback, only the beginning and the end are looked at


class CodeOwner(enum.Enum):
    """To whom the code of a frame belongs."""

    SCRIPT = "script"
    LIBRARY = "site-packages"
    PYTHON = "standard library"
    OURS = "supervisor"


class Frame(NamedTuple):
    """One frame of a traceback, at the line that was executed.

    Args:
        trace: Its part of the traceback.
        path: The path of its file, as its code object has it.
        function: The name of its function.
        line: The number of the line; 0 if Python knows none.
        owner: To whom its code belongs.
        package: The package or module that it belongs to; "" in a script.
    """

    trace: TracebackType
    path: str
    function: str
    line: int
    owner: CodeOwner
    package: str

    @property
    def code(self) -> CodeType:
        """Return its code object."""
        return self.trace.tb_frame.f_code

    @property
    def is_script(self) -> bool:
        """Return whether its code belongs to the script."""
        return self.owner is CodeOwner.SCRIPT


class Origin(NamedTuple):
    """Where an exception comes from.

    Args:
        frames: The frames of its traceback, outermost first, without those of supervisor.
        package: The installed package that is the script itself; "" for none.
        innermost: The innermost frame of the script, or else the innermost of all; None without frames.
        location: Where that is as text ("parcels.py:41 in load"); "" for None.
        fingerprint: Equal for exceptions of the same type at the same place.
    """

    frames: Sequence[Frame] = ()
    package: str = ""
    innermost: Frame | None = None
    location: str = ""
    fingerprint: str = ""


def origin_of(trace: TracebackType | None, kind: str, inner: TracebackType | None = None) -> Origin:
    """Return where an exception comes from.

    Args:
        trace: Its traceback.
        kind: Its type.
        inner: The traceback of the exception that it stands for; None where it stands for itself.
    """
    package = _own_package(trace)
    frames = frames_of(trace, package)
    within = frames if inner is None else [*frames, *frames_of(inner, package)]
    place = next((each for each in reversed(within) if each.is_script), frames[-1] if frames else None)
    location = "" if place is None else f"{file_name(place.path)}:{place.line} in {place.function}"
    return Origin(frames, package, place, location, fingerprint(kind, within))


def frames_of(trace: TracebackType | None, own: str = "") -> list[Frame]:
    """Return the frames of a traceback, outermost first, without those of supervisor.

    Args:
        trace: The traceback.
        own: The installed package that is the script itself and therefore no library; "" for none.
    """
    traces = _bounded_traces(trace)
    owners = [owner_of(file_of(each.tb_frame)) for each in traces]
    return [
        _frame(each, CodeOwner.SCRIPT if package and package == own and owner is CodeOwner.LIBRARY else owner, package)
        for each, (owner, package) in zip(traces, owners, strict=True)
        if owner is not CodeOwner.OURS
    ]


def _frame(trace: TracebackType, owner: CodeOwner, package: str) -> Frame:
    code = trace.tb_frame.f_code
    return Frame(trace, code.co_filename, code.co_name, trace.tb_lineno or 0, owner, package)


def _bounded_traces(trace: TracebackType | None) -> Sequence[TracebackType]:
    traces = []
    while trace is not None:
        traces.append(trace)
        trace = trace.tb_next
    return traces if len(traces) <= _MOST_FRAMES else traces[: _MOST_FRAMES // 2] + traces[-_MOST_FRAMES // 2 :]


def _own_package(trace: TracebackType | None) -> str:
    """Return the package that is the script itself, if it is installed like a library; else "".

    Such a package contains the outermost frame of the traceback, apart from frames of supervisor and Python.
    """
    while trace is not None:
        owner, package = owner_of(file_of(trace.tb_frame))
        if owner is CodeOwner.LIBRARY:
            return package
        if owner is CodeOwner.SCRIPT or not (
            owner is CodeOwner.OURS or trace.tb_frame.f_code.co_filename.startswith("<")
        ):
            return ""
        trace = trace.tb_next
    return ""


@lru_cache(4096)
def owner_of(path: str) -> tuple[CodeOwner, str]:
    """Return to whom a file belongs (see :func:`file_of`), and its package or module."""
    if path.startswith(_OUR_FOLDER):  # the demo is treated as a script
        return (CodeOwner.SCRIPT if path.endswith(("demo.py", "demo.pyc")) else CodeOwner.OURS), ""
    if path.startswith("<frozen "):
        return CodeOwner.PYTHON, path[len("<frozen ") : -1].partition(".")[0]
    for folder in _LIBRARY_FOLDERS:
        _, found, rest = path.rpartition(folder)
        if found:
            return CodeOwner.LIBRARY, _first_part(rest)
    for folder in _STDLIB_FOLDERS:
        if path.startswith(folder):
            return CodeOwner.PYTHON, _first_part(path[len(folder) :])
    package = _zipped_package(path)
    return (CodeOwner.LIBRARY if package else CodeOwner.SCRIPT), package


def _zipped_package(path: str) -> str:
    """Return the package of a file in a zip file of the search path; "" for others, and in a script's own zip file."""
    for each in sys.path:
        if each and path.startswith(f"{each}{os.sep}") and os.path.isfile(each):  # noqa: PTH113 - a text
            script = getattr(sys.modules.get("__main__"), "__file__", None) or ""
            return "" if script.startswith(f"{each}{os.sep}") else _first_part(path[len(each) + 1 :])
    return ""


def _first_part(path: str) -> str:
    name = path.partition(os.sep)[0]
    return name.partition(".")[0] or name


def file_of(frame: FrameType) -> str:
    """Return the file of a frame's code, which its code object does not always know.

    An extension module has no source file. In a zip file, code may have been compiled elsewhere: the code objects of
    an embeddable Python say "threading.py". In both cases it is the file of the module.
    """
    path = frame.f_code.co_filename
    module = dict.get(frame.f_globals, "__file__")
    if path == module or path.startswith("<") or not isinstance(module, str):
        return path
    is_same = file_name(path) == file_name(module).removesuffix("c")
    return module if is_same or not (path.startswith("/") or Path(path).is_absolute()) else path


def file_name(path: str) -> str:
    """Return the last part of a path of any platform, with slashes or backslashes."""
    return path.replace("\\", "/").rpartition("/")[2]


def fingerprint(kind: str, frames: Iterable[Frame]) -> str:
    """Return a text that is equal for errors of the same type at the same place.

    It depends on files and functions only, so that neither added lines nor the depth of a recursion change it.

    Args:
        kind: The exception's type.
        frames: The traceback.
    """
    import hashlib

    places = "\n".join(dict.fromkeys(f"{file_name(each.path)} {each.function}" for each in frames if each.is_script))
    return hashlib.sha256(f"{kind}\n{places}".encode(errors="replace")).hexdigest()[:16]


# Frame folding

_RETRYING = frozenset({"tenacity", "stamina", "retrying", "backoff"})
"""Libraries that call a function again: their frames stand around each function, and say nothing of it."""

_MOST_STEPS = 200
_MOST_PACKAGES = 4
_LONGEST_PERIOD = 12
_LEAST_REPEATED = 3


class OmittedFrames(NamedTuple):
    """Frames that are not shown.

    Args:
        frames: How many there are.
        text: The text that replaces them.
    """

    frames: int
    text: str


Step: TypeAlias = "Frame | OmittedFrames"
"""A step of a folded traceback."""


def folded_frames(frames: Sequence[Frame]) -> list[Step]:
    """Return what is shown of a traceback, outermost first.

    Shown are all frames of the script, the frame that each of them called, and the last one. Frames of libraries
    between them, and all of libraries that try again, are folded into one line. A recursion is shown once, and only the
    two ends of a very long traceback.
    """
    return _bounded(_without_repeats(list(_without_libraries(frames))))


def _without_libraries(frames: Sequence[Frame]) -> Iterator[Step]:
    last = len(frames) - 1
    has_script = any(each.is_script for each in frames)
    hidden: list[Frame] = []
    follows_script = not has_script  # without any, the first frame is shown
    for number, frame in enumerate(frames):
        is_retrying = frame.package in _RETRYING and has_script and not frame.is_script
        if is_retrying or not (frame.is_script or follows_script or number == last):
            hidden.append(frame)
            follows_script = follows_script and not is_retrying
            continue
        if hidden:
            yield from _folded(hidden)
            hidden = []
        yield frame
        follows_script = frame.is_script
    if hidden:
        yield from _folded(hidden)


def _folded(hidden: list[Frame]) -> Sequence[Step]:
    """Return one line for several frames; a single frame is shown itself, since that takes no more space."""
    return hidden if len(hidden) == 1 else [OmittedFrames(len(hidden), f"{len(hidden)} frames in {_packages(hidden)}")]


def _packages(frames: Iterable[Frame]) -> str:
    """Return the packages of some frames ("sqlalchemy, pandas (site-packages), asyncio (standard library)")."""
    names = list(dict.fromkeys((each.owner is CodeOwner.PYTHON, each.package) for each in frames))
    kept = sorted(names[:_MOST_PACKAGES], key=lambda name: name[0])  # libraries first, in the order of calls
    parts = []
    for is_python, some in groupby(kept, key=lambda name: name[0]):
        place = CodeOwner.PYTHON if is_python else CodeOwner.LIBRARY
        parts.append(f"{', '.join(package for _, package in some)} ({place.value})")
    more = len(names) - len(kept)
    return ", ".join(parts) + (f" and {more} more" if more else "")


def _without_repeats(steps: list[Step]) -> list[Step]:
    """Return steps with each repeated sequence shown once, followed by a line that says how often it was repeated."""
    ids: dict[object, int] = {}
    keys = [ids.setdefault((id(each.code), each.line) if isinstance(each, Frame) else each, len(ids)) for each in steps]
    if len(ids) == len(steps):
        return steps
    shown: list[Step] = []
    at = 0
    while at < len(steps):
        period, times = _repeated(keys, at)
        shown += steps[at : at + period]
        if times:
            count = sum(_count(each) for each in steps[at : at + period])
            what = "the last frame" if count == 1 else f"the last {count} frames"
            shown.append(OmittedFrames(count * times, f"{what} repeated {times:,} times"))
        at += period * (times + 1)
    return shown


def _repeated(keys: list[int], at: int) -> tuple[int, int]:
    """Return the length of the sequence at a step, and how many more times it is repeated; (1, 0) if it is not."""
    for period in range(1, _LONGEST_PERIOD + 1):
        end = at + period
        if end >= len(keys) or keys[at] != keys[end]:
            continue
        block = keys[at:end]
        while keys[end : end + period] == block:
            end += period
        times = (end - at) // period - 1
        if times * period >= _LEAST_REPEATED:
            return period, times
    return 1, 0


def _bounded(steps: list[Step]) -> list[Step]:
    if len(steps) <= _MOST_STEPS:
        return steps
    half = _MOST_STEPS // 2
    count = sum(_count(each) for each in steps[half:-half])
    return [*steps[:half], OmittedFrames(count, f"{count:,} more frames"), *steps[-half:]]


def _count(step: Step) -> int:
    return 1 if isinstance(step, Frame) else step.frames
