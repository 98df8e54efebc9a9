"""What this process and machine are, as plain facts."""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from supervisor._exceptions.plain import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable


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
    return tuple(map(safe_text, getattr(sys, "argv", ())))


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


def used() -> tuple[float, int | None]:
    """Return the processor seconds of this process, and the most memory that it ever had in use.

    The latter is None where the platform does not tell.
    """
    return _used()()


@cache  # a script waits for it when it says something
def _used() -> Callable[[], tuple[float, int | None]]:
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
    """Return what a report says of this machine and process.

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
