"""One configuration file: read, believed or not, and parsed.

- On which line each key of a TOML file stands, which ``tomllib`` does not tell.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._config.problems import Key, Problem, ProblemCollector, dotted
from supervisor._config.search import MOST_BYTES, PYPROJECT, CandidateFile, is_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SECTION = ("tool", "supervisor")


class ConfigFile:
    """A file that could be read.

    Args:
        path: Where it is, absolute.
        text: All of it.
        table: What it says of supervisor.
        base: The key that ``table`` has in the file.
        mode: The file's permissions.
    """

    def __init__(self, path: str, text: str, table: dict[str, Any], base: Key, mode: int) -> None:
        self.path = path
        self.table = table
        self.base = base
        self.mode = mode
        self._text = text
        self._lines: dict[Key, int] = {}

    @property
    def folder(self) -> str:
        """Return the folder that relative paths in the file start from."""
        return os.path.dirname(self.path)  # noqa: PTH120 - a text is wanted

    def line_of(self, key: Key) -> int | None:
        """Return the line where a key stands, or the innermost table around it; None when that is not known."""
        if not self._lines:
            self._lines.update(lines_of_keys(self._text))
        return next((self._lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in self._lines), None)

    def problem(self, key: Key, text: str) -> Problem:
        """Return a mistake at a key of the file."""
        return Problem(text, self.path, self.line_of(key), dotted(key))


@attrs.frozen(eq=False)
class Origin:
    """The file or the variable that a value came from.

    Args:
        source: The file; None for a variable.
        key: The value's key in it.
        variable: The environment variable; "" for a file.
    """

    source: ConfigFile | None = attrs.field(default=None, repr=False)
    key: Key = ()
    variable: str = ""

    @property
    def file(self) -> str:
        """Return the file's path; "" for a variable."""
        return self.source.path if self.source is not None else ""

    @property
    def line(self) -> int | None:
        """Return the line in the file, looked for only now; None where it is not known."""
        return self.source.line_of(self.key) if self.source is not None else None

    def __str__(self) -> str:
        if self.source is None:
            return f"environment variable {self.variable}"
        return self.file if self.line is None else f"{self.file}:{self.line}"


def read_file(place: CandidateFile, notes: ProblemCollector) -> ConfigFile | None:
    """Return the file at a place; None when it is of no use, which is noted unless it just does not concern us."""
    import tomllib  # which a run that has variables and no file does without

    content = _content(place, notes)
    if content is None:
        return None
    data, mode = content
    base = _SECTION if os.path.basename(place.path) == PYPROJECT else ()  # noqa: PTH119 - a text is wanted
    try:
        text = data.decode("utf-8-sig")
        table: Any = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        notes.problems.append(_unreadable(place.path, data, error))
        return None
    for name in base:
        table = table.get(name) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        if table is not None or place.owner is None:  # None else: the file is there for other programs
            notes.problems.append(Problem(f"has no table [{dotted(base)}]", place.path, key=dotted(base)))
        return None
    return ConfigFile(place.path, text, table, base, mode)


def _content(place: CandidateFile, notes: ProblemCollector) -> tuple[bytes, int] | None:
    """Return the bytes and the permissions of a file that may be believed."""
    path = place.path
    try:
        if not is_file(path):  # a FIFO would hold up the run
            os.stat(path)  # noqa: PTH116 - it tells why
            raise OSError("is no regular file")
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is not loaded
            status = os.fstat(file.fileno())
            if not _is_trusted(status, place):
                notes.warnings.append(_not_trusted(path, status))
                return None
            data = file.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise OSError(f"is larger than {MOST_BYTES:,} bytes")
    except OSError as error:
        told = notes.warnings if place.of_machine and isinstance(error, PermissionError) else notes.problems
        told.append(Problem(f"cannot be read: {error.strerror or error}", path))
        return None
    return data, status.st_mode


def _is_trusted(status: os.stat_result, place: CandidateFile) -> bool:
    """Tell whether nobody but the user, root or the owner of the script can have written a file.

    The search upwards may come through a folder where everybody can put a file, like /tmp; what it says could send
    messages, and the files that it names as secrets, anywhere.
    """
    if sys.platform == "win32":
        return True
    return place.owner is None or status.st_uid in {0, os.geteuid(), place.owner}


def _not_trusted(path: str, status: os.stat_result) -> Problem:
    return Problem(
        f"is left out, since it belongs to another user (uid {status.st_uid}): change its owner, "
        "or name it by SUPERVISOR_CONFIG",
        path,
    )


def _unreadable(path: str, data: bytes, error: ValueError | RecursionError) -> Problem:
    """Return what is wrong with a file that is no TOML."""
    if isinstance(error, UnicodeDecodeError):
        is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        told = "is UTF-16: save it as UTF-8" if is_utf16 else "is not UTF-8: save it as UTF-8"
        return Problem(told, path, None if is_utf16 else data.count(b"\n", 0, error.start) + 1)
    if isinstance(error, RecursionError):
        return Problem("is no TOML that can be read: it is nested too deep", path)
    told = str(error)
    line = re.search(r"at line (\d+)", told)
    last = data.count(b"\n", 0, len(data.rstrip())) + 1
    return Problem(f"is no TOML: {told}{_hint(told, data)}", path, int(line[1]) if line else last)


def _hint(told: str, data: bytes) -> str:
    r"""Return the remedy for mistakes that are often made.

    They are a list ``handlers`` beside tables ``[handlers.NAME]``, and the backslashes of Windows.
    """
    if re.search(rb"(?m)^[ \t]*handlers[ \t]*=", data) and "handlers" in told:
        return '; the names of the handlers that runs use go under [defaults]: handlers = ["NAME"]'
    if "\\" in told or "hex value" in told:
        return r"; write paths with backslashes in single quotes: 'C:\data'"
    return ""


_MOST_LINES = 500


def lines_of_keys(text: str) -> dict[Key, int]:
    """Return the line where each table and each key first stands, counted from 1.

    It reads statement by statement, and only for where things are; what they are is up to ``tomllib``. At a statement
    of more than 500 lines it gives up, and knows only what came before.

    Args:
        text: A file that ``tomllib`` can read.
    """
    found: dict[Key, int] = {}
    table: Key = ()
    for line, statement, said in _statements(text.replace("\r\n", "\n").split("\n")):
        keys: Iterable[Key]
        if statement.lstrip().startswith("["):
            table = _key_of_header(said)
            keys = [table[: depth + 1] for depth in range(len(table))]
        else:
            keys = (table + each for each in _keys(said))
        for key in keys:
            found.setdefault(key, line)
    return found


def _statements(lines: list[str]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield each statement's line, its text, and what it says by itself.

    A statement is the fewest lines that can be read: a text or a list that goes on cannot before its last line.
    """
    start = 0
    while start < len(lines):
        for end in range(start + 1, min(start + _MOST_LINES, len(lines)) + 1):
            statement = "\n".join(lines[start:end])
            said = _read(statement)
            if said is not None:
                break
        else:
            return
        if said:
            yield start + 1, statement, said
        start = end


def _read(statement: str) -> dict[str, Any] | None:
    import tomllib

    try:
        return tomllib.loads(statement)
    except (ValueError, RecursionError):
        return None


def _key_of_header(said: Any) -> Key:
    key: Key = ()
    while isinstance(said, dict) and said:
        ((name, said),) = said.items()
        key = (*key, name)
    return key


def _keys(said: dict[str, Any], outer: Key = ()) -> Iterator[Key]:
    for name, value in said.items():
        yield (*outer, name)
        if isinstance(value, dict):
            yield from _keys(value, (*outer, name))
