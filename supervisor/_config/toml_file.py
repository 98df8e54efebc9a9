"""One configuration file: read if its owner is trusted, parsed, with the line of each key, which ``tomllib`` omits."""

from __future__ import annotations

import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from supervisor._config.checks import Key, Problem, ProblemCollector, dotted
from supervisor._config.search import MOST_BYTES, PYPROJECT, CandidateFile, is_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SECTION = ("tool", "supervisor")
_MOST_LINKS = 40
_WITHOUT_MODES = frozenset(
    {
        "9p", "drvfs", "cifs", "smb3", "smbfs", "vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "vboxsf",
        "prl_fs", "fuse.vmhgfs-fuse", "fuse.grpcfuse", "fakeowner", "osxfs", "fuse.osxfs", "fuse.s3fs",
    }
)  # fmt: skip
"""File systems (of Windows, of virtual machines and of buckets) on which permissions are the same for all files."""


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


class _Read(NamedTuple):
    """The content of a file.

    Args:
        data: Its bytes.
        mode: Its permissions.
        distrust: Why it is left out nevertheless, if it has a table for us; None if it is not.
        is_of_another_user: Whether that is since somebody else put it there: no mistake of the user's.
    """

    data: bytes
    mode: int
    distrust: Problem | None = None
    is_of_another_user: bool = False

    def leave_out(self, notes: ProblemCollector) -> None:
        """Say why it is left out."""
        if self.distrust is not None:
            (notes.warnings if self.is_of_another_user else notes.problems).append(self.distrust)


def read_file(place: CandidateFile, notes: ProblemCollector) -> ConfigFile | None:
    """Return a file that was read; None, and a problem, if it is invalid; None alone if it has no table for us."""
    import tomllib  # not needed by a run that is configured by variables alone

    read = _content(place, notes)
    if read is None:
        return None
    base = _SECTION if os.path.basename(place.path) == PYPROJECT else ()  # noqa: PTH119 - the result is to be text, not a Path
    try:
        text = read.data.decode("utf-8-sig")
        table: Any = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        read.leave_out(notes)
        if read.distrust is None:
            notes.problems.append(_unreadable(place.path, read.data, error))
        return None
    for name in base:
        table = table.get(name) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        if table is not None or place.owner is None:  # the file may be there for other programs only
            notes.problems.append(Problem(f"has no table [{dotted(base)}]", place.path, key=dotted(base)))
        return None
    if read.distrust is not None:
        read.leave_out(notes)
        return None
    if read.mode & stat.S_IWGRP:
        _warn_of_group(place.path, notes)
    return ConfigFile(place.path, text, table, base, read.mode)


def _content(place: CandidateFile, notes: ProblemCollector) -> _Read | None:
    """Return the content of a file, or None, and a problem, if it cannot be read."""
    path = place.path
    try:
        if not is_file(path):  # opening a FIFO would block
            os.stat(path)  # noqa: PTH116 - raises the reason
            raise OSError("is no regular file")
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is not loaded
            status = os.fstat(file.fileno())
            data = file.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise OSError(f"is larger than {MOST_BYTES:,} bytes")
    except OSError as error:
        problems = notes.warnings if place.of_machine and isinstance(error, PermissionError) else notes.problems
        problems.append(Problem(f"cannot be read: {error.strerror or error}", path))
        return None
    foreign = _of_another_user(status, place)
    return _Read(data, status.st_mode, foreign or _open_to_all(status, path), foreign is not None)


# Whom a file may belong to, and who may change it: a file of somebody else's could send messages, and the content of
# the files that it names as secrets, anywhere. The search upwards may pass a folder that everybody can write to.


def _of_another_user(status: os.stat_result, place: CandidateFile) -> Problem | None:
    """Return that somebody else put a file there, and the remedy; None if the user or somebody trusted did."""
    path = place.path
    if not _is_trusted(status, place):
        return Problem(
            f"is left out, since it belongs to another user (uid {status.st_uid}): change its owner, "
            "or name it by SUPERVISOR_CONFIG",
            path,
        )
    link = _link_of_others(place)
    if link is not None:
        return Problem(
            f"is left out, since another user (uid {link.st_uid}) made the link to it: make the link anew, "
            "or name the file by SUPERVISOR_CONFIG",
            path,
        )
    return None


def _open_to_all(status: os.stat_result, path: str) -> Problem | None:
    if not status.st_mode & stat.S_IWOTH or not _modes_count(status):
        return None
    return Problem(f"is left out, since every user of this machine can change it: chmod o-w {path}", path)


def _is_trusted(status: os.stat_result, place: CandidateFile) -> bool:
    """Tell whether a file or a link belongs to the user, to root, or to whoever else is trusted at that place."""
    if sys.platform == "win32":
        return True
    return place.owner is None or status.st_uid in {0, os.geteuid(), place.owner}


def _link_of_others(place: CandidateFile) -> os.stat_result | None:
    """Return the first link on the way to the file that is not trusted; None for no such link."""
    path = place.path
    for _ in range(_MOST_LINKS):
        try:
            status = os.lstat(path)
            if not stat.S_ISLNK(status.st_mode):
                return None
            if not _is_trusted(status, place):
                return status
            path = os.path.join(os.path.dirname(path), os.readlink(path))  # noqa: PTH115, PTH118, PTH120 - pathlib is not loaded
        except OSError:  # it was changed meanwhile
            return None
    return None


def _modes_count(status: os.stat_result) -> bool:
    """Tell whether permissions mean something where a file is: some file systems show the same for all files."""
    if sys.platform == "win32":
        return False
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib is not loaded
            fields = [each.split() for each in file]
    except OSError:  # not on Linux
        return True
    kinds = {each[each.index("-") + 1] for each in fields if "-" in each and each[2] == device}
    return not kinds & _WITHOUT_MODES


def _warn_of_group(path: str, notes: ProblemCollector) -> None:
    group = group_of_several(path)
    if group:
        text = (
            f"can be changed by all in the group {group!r}, and with it where messages go and which files are read: "
            f"chmod g-w {path}"
        )
        notes.warnings.append(Problem(text, path))


def group_of_several(path: str) -> str:
    """Return the group that can change a file or folder, if others than its owner are in it; "" for none.

    Many systems give each user a group of the same name, in which nobody else is.
    """
    if sys.platform == "win32":
        return ""
    import grp
    import pwd

    try:
        status = os.stat(path)  # noqa: PTH116 - pathlib is not loaded
        group = grp.getgrgid(status.st_gid)
        owner = pwd.getpwuid(status.st_uid).pw_name
    except (KeyError, OSError):  # it has no name here: nobody is known to be in it
        return ""
    is_private = group.gr_name == owner and not set(group.gr_mem) - {owner}
    is_shared = status.st_mode & stat.S_IWGRP and not is_private and _modes_count(status)
    return group.gr_name if is_shared else ""


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
