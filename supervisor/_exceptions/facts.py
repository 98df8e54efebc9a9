"""Facts about an exception, this process and this machine; importing this loads nothing that examines exceptions."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

from supervisor._exceptions.plain import MESSAGE_LIMIT, TRACEBACK_LIMIT, safe_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor._models.values import ErrorDetails
    from supervisor._redaction import Redactor

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
