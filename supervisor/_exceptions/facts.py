"""Facts about this process and this machine, and short texts of a script's own objects, without secrets.

Secrets are removed before a text is cut, since half a secret cannot be recognized any more. Importing this loads
nothing that examines exceptions.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from functools import cache, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from supervisor._places import PLACE_VARIABLES, Place, hostname, this_machine
from supervisor._store.essentials import Surroundings
from supervisor._text import cut_middle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from supervisor._redaction import Redactor

MESSAGE_LIMIT = 4_000
TRACEBACK_LIMIT = 60_000
VALUE_LIMIT = 1_000

_ARRAYS = ("numpy", "pandas", "polars", "pyarrow", "torch", "xarray", "geopandas", "scipy", "jax", "tensorflow", "dask")

_WINDOW = 100_000  # of a longer text, only so much of its beginning and end is examined, and less is shown
_MARGIN = 20_000  # a secret at the border of the window is shorter than this


def type_name(kind: type) -> str:
    """Return a class's name, qualified unless it is a builtin or belongs to the script or supervisor."""
    if kind.__module__ in ("builtins", "__main__") or kind.__module__.startswith("supervisor."):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def bases_of(kind: type) -> tuple[str, ...]:
    """Return the full names of a class and of those that it derives from, in the order of its MRO, without object."""
    kinds = (each for each in kind.__mro__ if each is not object)
    return tuple(
        each.__qualname__ if each.__module__ == "builtins" else f"{each.__module__}.{each.__qualname__}"
        for each in kinds
    )


def safe_text(value: object) -> str:
    """Return ``str(value)``, or a text that says that it raised."""
    try:
        return str(value)
    except BaseException as fault:  # noqa: BLE001 - the run's boundary: a script's own __str__ may raise anything
        return f"<{type_name(type(value))} whose str() raised {type_name(type(fault))}>"


def fit(text: str, limit: int, redactor: Redactor | None) -> str:
    """Return a text without secrets; above ``limit`` characters (less than 80,000), its middle is left out."""
    if redactor is None or len(text) <= 2 * _WINDOW:
        clean = text if redactor is None else redactor.text(text)
        return clean if len(clean) <= limit else cut_middle(clean, limit)
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


def is_array(kind: type) -> bool:
    """Return whether a class comes from a library for tables and arrays, whose ``repr`` may take long."""
    return any(each.__module__.partition(".")[0] in _ARRAYS for each in kind.__mro__)


def shape_text(value: Any) -> str:
    """Return the shape of a table or array ("12,000 x 8", "12,000"); "" where it has none that is known."""
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or not all(isinstance(each, int) for each in shape):
        return ""
    return " x ".join(f"{each:,}" for each in shape)


def plain_value(value: Any, *, name: str = "", redactor: Redactor | None = None) -> Any:
    """Return a recorded value as an immutable one: a number, text, date or None; anything else as bounded text.

    Of a table or array of a library, the text is its shape ("12,000 x 8").

    Args:
        value: The value.
        name: The name that it is recorded under, which may mean a secret.
        redactor: Removes secrets before the value is cut; None keeps them.
    """
    if value is None or isinstance(value, (bool, int, float, str)) or _is_date(value):
        return _plain(value, name, redactor)
    if hasattr(type(value), "columns"):  # a data frame of one row and column is no scalar
        return _plain(_shape_or_text(value), name, redactor)
    try:
        item = value.item()  # the scalars of numpy, pandas and torch
    except Exception:  # noqa: BLE001 - the run's boundary: an object of the script may raise anything
        return _plain(_shape_or_text(value), name, redactor)
    return _plain(item if isinstance(item, (bool, int, float, str)) else safe_text(item), name, redactor)


def _shape_or_text(value: Any) -> str:
    try:
        return (shape_text(value) if is_array(type(value)) else "") or safe_text(value)
    except Exception:  # noqa: BLE001 - the run's boundary: an object of the script may raise anything
        return safe_text(value)


def _plain(value: Any, name: str, redactor: Redactor | None) -> Any:
    if not isinstance(value, str):
        return value if redactor is None else redactor.value(name, value)
    if redactor is not None:
        value = beginning(value, lambda text: redactor.value(name, text))
    return value[:VALUE_LIMIT]


def _is_date(value: object) -> bool:
    from datetime import date  # a silent run that records numbers never imports it

    return isinstance(value, date)


# This process and its machine


@cache
def host() -> str:
    """Return where this process runs, as a person would look for it: "Cloud Run job wmrc ...", or the host's name.

    ``SUPERVISOR_HOST`` overrides what is found; "unknown host" stands for nothing.
    """
    given = os.environ.get("SUPERVISOR_HOST", "").strip()
    return given or place().label or hostname() or "unknown host"


@cache  # each run asks
def place() -> Place:
    """Return what runs this process, where the environment says something of it."""
    if not any(name in os.environ for name in PLACE_VARIABLES):
        return Place()
    from supervisor._places.hosting import this_place

    return this_place()


@cache  # each run asks
def is_in_workflow() -> bool:
    """Return whether this process is a step of a workflow of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


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
    if "ipykernel" in sys.modules:
        return _notebook_name() or "notebook"
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return stem(main or next(iter(command_line()), "")) or "python"


def script_path() -> str | None:
    """Return the absolute path of the running program; None where it has none, as in a notebook or a shell."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.abspath(main) if isinstance(main, str) and main else None  # noqa: PTH100 - pathlib costs 3 ms


_PACKAGES = ("site-packages", "dist-packages")
_MOST_FILES = 8  # each of them takes some microseconds of every run, and bytes of its row in the journal
_MOST_ENTRIES = 200  # of a folder that also holds thousands of other files


_as_json = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps makes one at each call


def least_surroundings(script: str | None) -> Surroundings:
    """Return what is looked up at once of what is around a run: times of the script, of files beside it, of packages.

    Args:
        script: The path of the script or program; None where there is none.
    """
    return Surroundings(_least_stamp(script, int(time.monotonic())), boot())


@lru_cache(maxsize=4)  # a process with thousands of short runs looks once a second
def _least_stamp(script: str | None, _second: int) -> bytes:
    paths = [] if script is None else sorted({script, *islice(_beside(script), _MOST_FILES)})
    return _as_json({"files": list(file_times(paths)), "packages": list(folder_times())}).encode()


def _beside(script: str) -> Iterator[str]:
    """Yield the modules in the folder of a script."""
    with suppress(OSError, ValueError), os.scandir(os.path.dirname(script) or ".") as entries:  # noqa: PTH120 - a silent run never imports pathlib
        for each in islice(entries, _MOST_ENTRIES):
            if each.name.endswith(".py"):
                yield each.path


def boot() -> str:
    """Return what names the start of this machine; "" where it is not known, and in a container, which has another."""
    machine = this_machine()
    return machine.boot if machine.is_whole else ""


def file_times(paths: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    """Yield each file that is there, with the time of its last change in ns since 1970 and its size in bytes."""
    for path in paths:
        for each in _itself_or_archive(path):
            try:
                status = os.stat(each)  # noqa: PTH116 - a silent run never imports pathlib
            except (OSError, ValueError):
                continue
            yield each, status.st_mtime_ns, status.st_size
            break


def _itself_or_archive(path: str) -> Iterator[str]:
    """Yield a path, and of a module in an archive (app.pyz/__main__.py) that of the archive."""
    yield path
    for suffix in (".pyz", ".zip", ".egg", ".whl"):
        before, found, _ = path.partition(f"{suffix}{os.sep}")
        if found:
            yield before + suffix


def folder_times() -> Iterator[tuple[str, int]]:
    """Yield the folders with installed packages, in Python's order, with when something last came or went there."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    for each in sys.path:
        if each and (each.endswith(_PACKAGES) or each in given):
            with suppress(OSError, ValueError):
                yield each, os.stat(each).st_mtime_ns  # noqa: PTH116 - a silent run never imports pathlib


def exit_code_of(error: BaseException) -> int | None:
    """Return the exit code that an exception asks for: of ``sys.exit()``, and of ``Exit`` of click and typer.

    None where it asks for none, as it is no exit but a failure.
    """
    if isinstance(error, SystemExit):
        return 0 if error.code is None else int(error.code) if isinstance(error.code, int) else 1
    for name in ("click.exceptions", "typer"):
        kind = getattr(sys.modules.get(name), "Exit", None)
        if isinstance(kind, type) and isinstance(error, kind):
            code = getattr(error, "exit_code", None)
            return code if isinstance(code, int) else 1
    return None


def _notebook_name() -> str:
    """Return the name of the notebook whose kernel this is; "" where it is not known.

    Jupyter's server names it in the environment, VS Code in the variables of the notebook.
    """
    path_of_vs_code = getattr(sys.modules.get("__main__"), "__vsc_ipynb_file__", "")
    path = str(path_of_vs_code or os.environ.get("JPY_SESSION_NAME", ""))
    return stem(path) if path.endswith(".ipynb") else ""


def stem(path: str) -> str:
    """Return the name of a program: of its file, or of a package's folder; "" if it has none."""
    name = os.path.splitext(os.path.basename(path))[0]  # noqa: PTH119, PTH122 - a silent run never imports pathlib
    if name in ("__main__", "__init__"):
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
