"""From a living exception and process to plain facts that can be kept, stored and sent."""

from __future__ import annotations

import os
import sys
import time
import traceback
from functools import cache
from typing import TYPE_CHECKING, Any

from supervisor.compose.words import cut_middle
from supervisor.models import ErrorDetails

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

TRACEBACK_LIMIT = 60_000
MESSAGE_LIMIT = 4_000
VALUE_LIMIT = 1_000

_OUR_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120 - on the failure path, pathlib is slower
_STDLIB_FOLDER = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - the same
_LIBRARY_FOLDERS = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def error_details(error: BaseException, *, thread: str = "") -> ErrorDetails:
    """Return what went wrong, as text of bounded size. It never raises, whatever the exception does.

    Args:
        error: The exception, with its traceback.
        thread: The name of the thread or task that it came from; "" for the run's own.
    """
    frames = list(_script_frames(error.__traceback__))
    where, source = _innermost(error.__traceback__, frames)
    return ErrorDetails(
        type=type_name(type(error)),
        message=cut_middle(safe_text(error), MESSAGE_LIMIT),
        where=where,
        source=source,
        traceback=cut_middle(_formatted(error), TRACEBACK_LIMIT),
        thread=thread,
        fingerprint=_fingerprint(type_name(type(error)), frames),
    )


def type_name(kind: type) -> str:
    """Return a class's name, qualified unless it is a builtin or the script's own."""
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def safe_text(value: object) -> str:
    """Return ``str(value)``, or a stand-in when that raises."""
    try:
        return str(value)
    except BaseException as fault:  # noqa: BLE001 - the run's boundary: a script's own __str__ may raise anything
        return f"<{type_name(type(value))} whose str() raised {type_name(type(fault))}>"


def plain_value(value: Any) -> Any:
    """Return a recorded value as something frozen: a number, text, date or None; anything else as bounded text."""
    if value is None or isinstance(value, (bool, int, float, str)) or _is_date(value):
        return value[:VALUE_LIMIT] if isinstance(value, str) else value
    try:
        value = value.item()  # the scalars of numpy, pandas and torch
    except Exception:  # noqa: BLE001 - the run's boundary: whatever a script records, it is told something
        return safe_text(value)[:VALUE_LIMIT]
    return value if isinstance(value, (bool, int, float, str)) else safe_text(value)[:VALUE_LIMIT]


def _is_date(value: object) -> bool:
    """Tell whether a value is a date or datetime, without loading their module for those who have none."""
    datetime = sys.modules.get("datetime")
    return datetime is not None and isinstance(value, datetime.date)


def _formatted(error: BaseException) -> str:
    """Return the traceback with its chain and groups, without the frames of supervisor itself."""
    try:
        whole = traceback.TracebackException.from_exception(error, compact=True)
        _drop_our_frames(whole)
        return "".join(whole.format()).rstrip()
    except BaseException as fault:  # noqa: BLE001 - the run's boundary: an exception can break its own formatting
        frames = "".join(traceback.format_tb(error.__traceback__))
        return f"{frames}{type_name(type(error))}: its text cannot be shown ({type_name(type(fault))})"


def _drop_our_frames(whole: traceback.TracebackException) -> None:
    """Take supervisor's own frames out of an exception, its causes and its group."""
    waiting = [whole]
    while waiting:
        one = waiting.pop()
        if any(_is_ours(frame.filename) for frame in one.stack):
            kept = [frame for frame in one.stack if not _is_ours(frame.filename)]
            one.stack = traceback.StackSummary.from_list(kept)
        waiting += [each for each in (one.__cause__, one.__context__) if each is not None]
        waiting += one.exceptions or ()


def _script_frames(trace: TracebackType | None) -> Iterator[tuple[str, str, int]]:
    """Yield (file, function, line) of the frames that are the script's own, outermost first."""
    while trace is not None:
        code = trace.tb_frame.f_code
        if _is_script(code.co_filename):
            yield code.co_filename, code.co_name, trace.tb_lineno
        trace = trace.tb_next


def _is_ours(path: str) -> bool:
    """Tell whether a file is supervisor's own; the demo is a script like any other."""
    return path.startswith(_OUR_FOLDER) and not path.endswith("demo.py")


def _is_script(path: str) -> bool:
    if _is_ours(path) or path.startswith((_STDLIB_FOLDER, "<frozen")):
        return False
    return path.startswith(_OUR_FOLDER) or not any(folder in path for folder in _LIBRARY_FOLDERS)


def _innermost(trace: TracebackType | None, frames: list[tuple[str, str, int]]) -> tuple[str, str]:
    """Return where it happened and the line of code there: in the script if possible, else where it was raised."""
    if not frames:
        last = trace
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        if last is None:
            return "", ""
        frames = [(last.tb_frame.f_code.co_filename, last.tb_frame.f_code.co_name, last.tb_lineno)]
    path, function, line = frames[-1]
    import linecache  # loaded by traceback already

    return f"{os.path.basename(path)}:{line} in {function}", linecache.getline(path, line).strip()  # noqa: PTH119 - as above


def _fingerprint(kind: str, frames: list[tuple[str, str, int]]) -> str:
    """Return the same text for failures of one kind at one place, whatever lines were added above it meanwhile."""
    import hashlib

    places = "\n".join(f"{os.path.basename(path)} {function}" for path, function, _ in frames)  # noqa: PTH119 - as above
    return hashlib.sha256(f"{kind}\n{places}".encode(errors="replace")).hexdigest()[:16]


@cache
def host() -> str:
    """Return the machine's name, or "unknown host" where there is none."""
    if sys.platform == "win32":
        return os.environ.get("COMPUTERNAME") or "unknown host"
    return os.uname().nodename or "unknown host"


@cache
def user() -> str:
    """Return who runs this process; the number where the system knows no name for it."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        if sys.platform == "win32":
            return "unknown user"
        return f"uid {os.getuid()}"


def command_line() -> tuple[str, ...]:
    """Return the command line as the script knows it."""
    return tuple(safe_text(each) for each in getattr(sys, "argv", ()))


@cache
def python_version() -> str:
    """Return the version of Python, like "3.12.1"."""
    return ".".join(str(part) for part in sys.version_info[:3])


def script_name() -> str:
    """Return the name of the program that runs, without folder and ending; "python" when it has none."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return stem(main or next(iter(command_line()), "")) or "python"


def stem(path: str) -> str:
    """Return a program's name: its file's, or for a package's ``__main__`` its folder's; "" when it has none."""
    name = os.path.splitext(os.path.basename(path))[0]  # noqa: PTH119, PTH122 - text only; pathlib may not be loaded
    if name == "__main__":
        name = os.path.basename(os.path.dirname(os.path.abspath(path)))  # noqa: PTH100, PTH119, PTH120 - the same
    return "" if name in ("-", "-c") else name


def peak_memory_bytes() -> int | None:
    """Return the most memory that this process ever had in use, or None where the platform does not tell."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kibibytes, but bytes on macOS


def process_facts(cpu_started_s: float) -> dict[str, Any]:
    """Return what a report says of this machine and process.

    Args:
        cpu_started_s: ``time.process_time()`` when the run started.
    """
    return {
        "host": host(),
        "user": user(),
        "pid": os.getpid(),
        "argv": command_line(),
        "python": python_version(),
        "cpu_s": max(0.0, time.process_time() - cpu_started_s),
        "peak_memory_bytes": peak_memory_bytes(),
    }
