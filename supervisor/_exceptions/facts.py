"""Plain facts: of this process and machine, of recorded values, and of an exception where nothing can be imported.

A silent run loads only this module of the package; what examines exceptions is loaded when there is one.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor._models.values import ErrorDetails
    from supervisor._redaction import Redactor

MESSAGE_LIMIT = 4_000
TRACEBACK_LIMIT = 60_000
VALUE_LIMIT = 1_000

_WINDOW = 100_000  # of a longer text, only so much of its beginning and end is examined, and less is shown
_MARGIN = 20_000  # a secret at the border of the window is shorter than this


def type_name(kind: type) -> str:
    """Return a class's name, qualified unless it is a builtin or belongs to the script or supervisor."""
    if kind.__module__ in ("builtins", "__main__") or kind.__module__.startswith("supervisor."):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def safe_text(value: object) -> str:
    """Return ``str(value)``, or a text that says that it raised."""
    try:
        return str(value)
    except BaseException as fault:  # noqa: BLE001 - the run's boundary: a script's own __str__ may raise anything
        return f"<{type_name(type(value))} whose str() raised {type_name(type(fault))}>"


def redacted_text(text: str, redactor: Redactor | None) -> str:
    """Return a text without secrets; the same object if it has none."""
    return text if redactor is None else redactor.text(text)


def fit(text: str, limit: int, redactor: Redactor | None) -> str:
    """Return a text without secrets; above ``limit`` characters (less than 80,000), its middle is left out."""
    from supervisor._text import cut_middle  # loaded only where a text is to be cut

    if redactor is None:
        return cut_middle(text, limit)
    if len(text) <= 2 * _WINDOW:
        return cut_middle(redactor.text(text), limit)
    head = beginning(text, redactor.text)[: limit // 2]
    tail = redactor.text(text[-_WINDOW:])[_MARGIN:][-(limit // 2) :]
    return f"{head.rstrip()}\n\n[... {len(text) - limit:,} characters left out ...]\n\n{tail.lstrip()}"


def fit_line(line: str, limit: int, redactor: Redactor | None) -> str:
    """Return a line without secrets; above ``limit`` characters (less than 80,000), its end is left out."""
    if redactor is not None:
        line = beginning(line, redactor.text)
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def beginning(text: str, clean: Callable[[str], str]) -> str:
    """Return the beginning of a text without secrets, nor parts of one at the end of what is examined."""
    return clean(text) if len(text) <= 2 * _WINDOW else clean(text[:_WINDOW])[:-_MARGIN] or "[redacted]"


def plain_value(value: Any, *, name: str = "", redactor: Redactor | None = None) -> Any:
    """Return a recorded value as an immutable one: a number, text, date or None; anything else as bounded text.

    Args:
        value: The value.
        name: The name that it is recorded under, which may mean a secret.
        redactor: Removes secrets before the value is cut; None keeps them.
    """
    if value is None or isinstance(value, (bool, int, float, str)) or _is_date(value):
        return _plain(value, name, redactor)
    try:
        value = value.item()  # the scalars of numpy, pandas and torch
    except Exception:  # noqa: BLE001 - the run's boundary: an object of the script may raise anything
        return _plain(safe_text(value), name, redactor)
    return _plain(value if isinstance(value, (bool, int, float, str)) else safe_text(value), name, redactor)


def _plain(value: Any, name: str, redactor: Redactor | None) -> Any:
    if not isinstance(value, str):
        return value if redactor is None else redactor.value(name, value)
    if redactor is not None:
        value = beginning(value, lambda text: redactor.value(name, text))
    return value[:VALUE_LIMIT]


def _is_date(value: object) -> bool:
    from datetime import date  # a silent run that records numbers never imports it

    return isinstance(value, date)


_MOST_FRAMES = 100


def error_details(
    error: BaseException, *, thread: str = "", show_locals: bool = False, redactor: Redactor | None = None
) -> ErrorDetails:
    """Return an exception as texts of bounded size. It never raises, whatever the exception does.

    The traceback is formatted as Python does it, but consecutive frames of libraries are folded into one line, a
    recursion is shown once, and what is too long is left out with a note. If the class of the exception has a method
    ``__supervisor_error_details__()`` that returns an ``ErrorDetails``, that is used; its texts are redacted and
    bounded like all others.

    Args:
        error: The exception, with its traceback.
        thread: The name of the thread or task that raised it; "" for the run's own.
        show_locals: Whether to show the local variables of the script's functions. No code of the script is executed
            for it: objects are shown by their attributes, large ones by type and size.
        redactor: Removes secrets from all texts before they are cut; None keeps them. The fingerprint does not
            depend on it.
    """
    try:
        from supervisor._exceptions.details import details_of

        return details_of(error, thread, redactor, show_locals=show_locals)
    except BaseException:  # noqa: BLE001 - the run's boundary: no memory, stack or file is left to import the module
        return _bare_details(error, thread, redactor)


def _bare_details(error: BaseException, thread: str, redactor: Redactor | None) -> ErrorDetails:
    """Return details that need no further import: a script that has opened too many files cannot import anything."""
    from supervisor._models.values import ErrorDetails

    kind = type(error).__name__
    try:
        message = safe_text(error)
        lines = "Traceback (most recent call last):", *deque(_frames(error), maxlen=_MOST_FRAMES), f"{kind}: {message}"
        texts = message, "\n".join(lines), thread
        message, trace, thread = texts if redactor is None else map(redactor.text, texts)
    except BaseException:  # noqa: BLE001 - the run's boundary: redaction may lack memory or files, too
        return ErrorDetails(type=kind)
    return ErrorDetails(type=kind, message=message[:MESSAGE_LIMIT], traceback=trace[-TRACEBACK_LIMIT:], thread=thread)


def _frames(error: BaseException) -> Iterator[str]:
    """Yield one line for each frame, without its source code, since no file can be read."""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        yield f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}'
        trace = trace.tb_next


@cache
def host() -> str:
    """Return the machine's name, or "unknown host" if it has none."""
    if sys.platform == "win32":
        return os.environ.get("COMPUTERNAME") or "unknown host"
    return os.uname().nodename or "unknown host"


@cache
def user() -> str:
    """Return the user that runs this process; the user id if the system has no name for it."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        if sys.platform == "win32":
            return "unknown user"
        return f"uid {os.getuid()}"


def command_line() -> tuple[str, ...]:
    """Return the command line as ``sys.argv`` has it."""
    return tuple(map(safe_text, getattr(sys, "argv", ())))


@cache
def python_version() -> str:
    """Return the version of Python, like "3.12.1"."""
    return ".".join(str(part) for part in sys.version_info[:3])


def script_name() -> str:
    """Return the name of the running program without folder and extension; "python" if it has none."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return stem(main or next(iter(command_line()), "")) or "python"


def stem(path: str) -> str:
    """Return the name of a program: of its file, or of the folder of a package's ``__main__``; "" if it has none."""
    name = os.path.splitext(os.path.basename(path))[0]  # noqa: PTH119, PTH122 - a silent run never imports pathlib
    if name == "__main__":
        folder = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - a silent run never imports pathlib
        name = os.path.basename(folder)  # noqa: PTH119 - a silent run never imports pathlib
    return "" if name in ("-", "-c") else name


def used() -> tuple[float, int | None]:
    """Return the processor seconds of this process, and the most memory that it has used so far.

    The memory is None on platforms that do not report it.
    """
    return _usage_of_platform()()


@cache
def _usage_of_platform() -> Callable[[], tuple[float, int | None]]:
    if sys.platform == "win32":
        import psutil

        return lambda: (time.process_time(), int(psutil.Process().memory_info().peak_wset))
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, elsewhere kibibytes

    def of_system() -> tuple[float, int | None]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit

    return of_system


def process_facts(cpu_started_s: float) -> dict[str, Any]:
    """Return the fields of a report that describe this machine and process.

    Args:
        cpu_started_s: ``time.process_time()`` when the run started.
    """
    cpu_s, peak_memory_bytes = used()
    return {
        "host": host(),
        "user": user(),
        "pid": os.getpid(),
        "argv": command_line(),
        "python": python_version(),
        "cpu_s": max(0.0, cpu_s - cpu_started_s),
        "peak_memory_bytes": peak_memory_bytes,
    }
