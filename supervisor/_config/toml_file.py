"""One configuration file: read if its owner is trusted, parsed, with the line of each key, which ``tomllib`` omits."""

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
    """A configuration file that was read.

    Args:
        path: Its absolute path.
        text: Its text.
        table: The table that configures supervisor.
        base: The key of that table in the file.
        mode: The permissions of the file.
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
        """Return the folder to which paths in the file are relative."""
        return os.path.dirname(self.path)  # noqa: PTH120 - the result is to be text, not a Path

    def line_of(self, key: Key) -> int | None:
        """Return the line of a key, or else of the innermost table around it; None if unknown."""
        if not self._lines:
            self._lines.update(lines_of_keys(self._text))
        return next((self._lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in self._lines), None)

    def problem(self, key: Key, text: str) -> Problem:
        """Return a problem with the place of a key in the file."""
        return Problem(text, self.path, self.line_of(key), dotted(key))


@attrs.frozen(eq=False)
class Origin:
    """The file or the variable that a value came from.

    Args:
        source: The file; None for a variable.
        key: The value's key in the file.
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
        """Return the line in the file; None if unknown."""
        return self.source.line_of(self.key) if self.source is not None else None

    def __str__(self) -> str:
        if self.source is None:
            return f"environment variable {self.variable}"
        return self.file if self.line is None else f"{self.file}:{self.line}"


def read_file(place: CandidateFile, notes: ProblemCollector) -> ConfigFile | None:
    """Return a file that was read; None, and a problem, if it is invalid; None alone if it has no table for us."""
    import tomllib  # not needed by a run that is configured by variables alone

    content = _content(place, notes)
    if content is None:
        return None
    data, mode = content
    base = _SECTION if os.path.basename(place.path) == PYPROJECT else ()  # noqa: PTH119 - the result is to be text, not a Path
    try:
        text = data.decode("utf-8-sig")
        table: Any = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        notes.problems.append(_unreadable(place.path, data, error))
        return None
    for name in base:
        table = table.get(name) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        if table is not None or place.owner is None:  # the file may be there for other programs only
            notes.problems.append(Problem(f"has no table [{dotted(base)}]", place.path, key=dotted(base)))
        return None
    return ConfigFile(place.path, text, table, base, mode)


def _content(place: CandidateFile, notes: ProblemCollector) -> tuple[bytes, int] | None:
    """Return the bytes and the permissions of a file, or None if it cannot be read or is not trusted."""
    path = place.path
    try:
        if not is_file(path):  # opening a FIFO would block
            os.stat(path)  # noqa: PTH116 - raises the reason
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
        problems = notes.warnings if place.of_machine and isinstance(error, PermissionError) else notes.problems
        problems.append(Problem(f"cannot be read: {error.strerror or error}", path))
        return None
    return data, status.st_mode


def _is_trusted(status: os.stat_result, place: CandidateFile) -> bool:
    """Tell whether a file was written by the user, by root or by the owner of the script.

    The search upwards may pass a folder that everybody can write to, like /tmp. A file there could send messages, and
    the files that it names as secrets, anywhere.
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
    """Return the problem of a file that is not valid TOML."""
    if isinstance(error, UnicodeDecodeError):
        is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = "is UTF-16: save it as UTF-8" if is_utf16 else "is not UTF-8: save it as UTF-8"
        return Problem(text, path, None if is_utf16 else data.count(b"\n", 0, error.start) + 1)
    if isinstance(error, RecursionError):
        return Problem("is no TOML that can be read: it is nested too deep", path)
    reason = str(error)
    line = re.search(r"at line (\d+)", reason)
    last = data.count(b"\n", 0, len(data.rstrip())) + 1
    return Problem(f"is no TOML: {reason}{_hint(reason, data)}", path, int(line[1]) if line else last)


def _hint(reason: str, data: bytes) -> str:
    r"""Return the remedy for two frequent mistakes.

    They are a list ``handlers`` beside tables ``[handlers.NAME]``, and backslashes in Windows paths.
    """
    if re.search(rb"(?m)^[ \t]*handlers[ \t]*=", data) and "handlers" in reason:
        return '; the names of the handlers that runs use go under [defaults]: handlers = ["NAME"]'
    if "\\" in reason or "hex value" in reason:
        return r"; write paths with backslashes in single quotes: 'C:\data'"
    return ""


_MOST_LINES = 500


def lines_of_keys(text: str) -> dict[Key, int]:
    """Return the first line of each table and each key, counted from 1.

    Statements are parsed one by one. After a statement of more than 500 lines, the lines of all that follows stay
    unknown.

    Args:
        text: The text of a file that ``tomllib`` can read.
    """
    found: dict[Key, int] = {}
    table: Key = ()
    for line, statement, parsed in _statements(text.replace("\r\n", "\n").split("\n")):
        keys: Iterable[Key]
        if statement.lstrip().startswith("["):
            table = _key_of_header(parsed)
            keys = [table[: depth + 1] for depth in range(len(table))]
        else:
            keys = (table + each for each in _keys(parsed))
        for key in keys:
            found.setdefault(key, line)
    return found


def _statements(lines: list[str]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield each statement: its first line, its text, and its parsed content.

    A statement is the shortest run of lines that can be parsed: a text or list of several lines cannot be parsed
    before its last one.
    """
    start = 0
    while start < len(lines):
        for end in range(start + 1, min(start + _MOST_LINES, len(lines)) + 1):
            statement = "\n".join(lines[start:end])
            parsed = _read(statement)
            if parsed is not None:
                break
        else:
            return
        if parsed:
            yield start + 1, statement, parsed
        start = end


def _read(statement: str) -> dict[str, Any] | None:
    import tomllib

    try:
        return tomllib.loads(statement)
    except (ValueError, RecursionError):
        return None


def _key_of_header(parsed: Any) -> Key:
    key: Key = ()
    while isinstance(parsed, dict) and parsed:
        ((name, parsed),) = parsed.items()
        key = (*key, name)
    return key


def _keys(parsed: dict[str, Any], outer: Key = ()) -> Iterator[Key]:
    for name, value in parsed.items():
        yield (*outer, name)
        if isinstance(value, dict):
            yield from _keys(value, (*outer, name))
