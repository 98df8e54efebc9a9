"""Files beside the journal: private ones, and the logs of runs.

Directories and files are for their owner alone, whatever the umask. What root makes in a directory of somebody else's,
as `sudo` with ``HOME`` kept does, is given to that directory's owner, who could not use it otherwise. That goes by
descriptors, and no link is followed to what is given away: the owner could have put one there. What is there already is
never changed.

Runs keep their own logs in one file each, in a folder for each name; the oldest are deleted in time.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

if sys.platform != "win32":
    import fcntl

_OPEN_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW_FILE = os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def make_directory(path: str) -> None:
    """Create a directory (mode 0700), and those above it, where they are missing.

    Raises:
        OSError: It cannot be created.
    """
    if os.path.isdir(path):  # noqa: PTH112 - a text, here and below: pathlib takes 3 ms to load
        return
    parent = os.path.dirname(path)  # noqa: PTH120 - a text
    if parent not in ("", path):
        make_directory(parent)
    try:
        _make(parent, path)
    except FileExistsError:
        if not os.path.isdir(path):  # noqa: PTH112 - a text
            raise


def create_file(path: str, flags: int = os.O_RDWR) -> int:
    """Create a file (mode 0600), and return its descriptor.

    Args:
        path: The file; its directory is there.
        flags: For what it is opened.

    Raises:
        FileExistsError: It is there already; it is not opened.
        OSError: It cannot be created.
    """
    if not _is_root():
        file = os.open(path, flags | _NEW_FILE, 0o600)
        _widen(file, 0o600)
        return file
    folder = os.open(os.path.dirname(path) or ".", _OPEN_DIRECTORY)  # noqa: PTH120 - a text
    try:
        file = os.open(os.path.basename(path), flags | _NEW_FILE, 0o600, dir_fd=folder)  # noqa: PTH119 - a text
        _widen(file, 0o600)
        _give(file, folder)
    finally:
        os.close(folder)
    return file


def give_to_owner(path: str, directory: str) -> None:
    """Give a file that root has made to the owner of the directory that it is for; do nothing for other users.

    Args:
        path: A file with one name.
        directory: A directory above it.
    """
    if sys.platform != "win32" and _is_root():
        with suppress(OSError):
            folder = os.open(directory, _OPEN_DIRECTORY)
            try:
                file = os.open(path, os.O_RDONLY | _NO_LINK | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    if os.fstat(file).st_nlink == 1:
                        _give(file, folder)
                finally:
                    os.close(file)
            finally:
                os.close(folder)


def openness(path: str) -> str:
    """Return in words who but its owner can use a directory ("others can read it"); "" for nobody, and without one."""
    if sys.platform == "win32":
        return ""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a text is a path too
    except OSError:
        return ""
    for bits, what in ((0o022, "write to it"), (0o055, "read it")):
        if mode & bits:
            who = "others" if mode & bits & 0o007 else "its group"
            return f"{who} can {what} (mode {stat.S_IMODE(mode):04o})"
    return ""


def replaceable_at(path: str) -> str:
    """Return the folder above a directory in which every user may rename it, and put another in its place; "" for none.

    With the sticky bit, as in /tmp, only the owner may: https://man7.org/linux/man-pages/man7/inode.7.html.
    """
    parent = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - texts
    while sys.platform != "win32" and parent != os.path.dirname(parent):  # noqa: PTH120 - texts
        with suppress(OSError):
            mode = os.stat(parent).st_mode  # noqa: PTH116 - a text
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                return parent
        parent = os.path.dirname(parent)  # noqa: PTH120 - a text
    return ""


def _make(parent: str, path: str) -> None:
    if not _is_root():
        os.mkdir(path, 0o700)  # noqa: PTH102 - a text
        if sys.platform != "win32" and _lacks(os.stat(path), 0o700):  # noqa: PTH116 - a text
            os.chmod(path, 0o700)  # noqa: PTH101 - a text
        return
    folder, name = os.open(parent or ".", _OPEN_DIRECTORY), os.path.basename(path)  # noqa: PTH119 - a text
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
        made = os.open(name, _OPEN_DIRECTORY | _NO_LINK, dir_fd=folder)
        try:
            _widen(made, 0o700)
            _give(made, folder)
        finally:
            os.close(made)
    finally:
        os.close(folder)


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _widen(file: int, mode: int) -> None:
    if sys.platform != "win32" and _lacks(os.fstat(file), mode):
        os.fchmod(file, mode)


def _lacks(status: os.stat_result, mode: int) -> bool:
    """Tell whether the umask has taken rights from the owner."""
    return status.st_mode & mode != mode


def _give(file: int, folder: int) -> None:
    """Give what root owns to the owner of a directory."""
    owner = os.fstat(folder)
    if sys.platform != "win32" and owner.st_uid and not os.fstat(file).st_uid:
        with suppress(OSError):  # a file system that knows no owners, or that root may not change
            os.fchown(file, owner.st_uid, owner.st_gid)


# Logs of runs

TAIL_LINES = 20
LINE_LIMIT = 500

KEEP_FILES = 20
KEEP_BYTES_EACH = 100 * 1024 * 1024
KEEP_BYTES = 200 * 1024 * 1024
_LOOK_AT_ALL_FROM_BYTES = 1024 * 1024
_LOOK_AT_ALL_ONE_IN = 16


class LogFile(NamedTuple):
    """A log file that is open for writing.

    Args:
        path: Where it is.
        descriptor: What ``os.write`` takes.
    """

    path: str
    descriptor: int


class _Found(NamedTuple):
    """A log file that an earlier run left.

    Args:
        changed_ns: When it was last written to.
        path: Where it is.
        size: In bytes.
    """

    changed_ns: int
    path: str
    size: int


def safe_name(name: str) -> str:
    """Return a name for files that any system takes, different for different names ("nightly_parcels-1f2e3d4c")."""
    import hashlib  # most runs have no log

    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:40].strip("._-")
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{readable}-{mark}" if readable else mark


def create(directory: str, name: str, run_id: str, started_at_s: float) -> LogFile:
    """Create the log file of a run, for nobody but its owner to read, and mark it as in use.

    Args:
        directory: Where all logs are; created when missing.
        name: The name of the run.
        run_id: The run's own id.
        started_at_s: When it started, in seconds since 1970.

    Raises:
        OSError: It cannot be created.
    """
    folder = os.path.join(directory, safe_name(name))  # noqa: PTH118 - texts, here and below
    make_directory(folder)
    start = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime(started_at_s))
    path = os.path.join(folder, f"{start}-{run_id}.log")  # noqa: PTH118 - a text: runs that log need no pathlib
    descriptor = create_file(path, os.O_WRONLY | os.O_APPEND)
    if sys.platform != "win32":  # there, what is open cannot be deleted anyway
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return LogFile(path, descriptor)


def find(directory: str, name: str, run_id: str) -> str | None:
    """Return the log file of a run, whichever process of it has created it; None where there is none to be seen.

    Args:
        directory: Where all logs are.
        name: The name of the run.
        run_id: The run's own id.
    """
    with suppress(OSError, ValueError), os.scandir(os.path.join(directory, safe_name(name))) as entries:  # noqa: PTH118 - a text: runs that log need no pathlib
        return next((each.path for each in entries if each.name.endswith(f"-{run_id}.log")), None)
    return None


def prune(path: str) -> None:
    """Delete old logs after a run has ended; one that is in use, and the newest of a name, stays.

    Of each name the newest 20 files are kept, as long as they have 100 MB together, and of all names 200 MB. All
    folders are looked at after a big log and about one time in sixteen, otherwise only the run's own.

    Args:
        path: The log of that run.
    """
    folder, file_name = os.path.split(path)
    with suppress(OSError):
        files = _files(folder)
        _delete(files, KEEP_FILES, KEEP_BYTES_EACH)
        own_bytes = next((each.size for each in files if each.path == path), 0)
        if own_bytes >= _LOOK_AT_ALL_FROM_BYTES or hash(file_name) % _LOOK_AT_ALL_ONE_IN == 0:
            prune_all(os.path.dirname(folder))  # noqa: PTH120 - a text: runs that log need no pathlib


def prune_all(directory: str) -> None:
    """Delete the oldest logs of all names beyond 200 MB, and the folders that are empty.

    Raises:
        OSError: The directory cannot be read.
    """
    old: list[_Found] = []
    kept_bytes = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                files = _files(entry.path)
                old += files[1:]
                kept_bytes += sum(each.size for each in files[:1])
                if not files:
                    _remove_empty(entry.path)
    _delete(sorted(old, reverse=True), len(old), KEEP_BYTES - kept_bytes, keep_first=False)


def _files(folder: str) -> list[_Found]:
    """Return the logs in a folder, newest first."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".log") and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # another process prunes at the same time
                    status = entry.stat(follow_symlinks=False)
                    found.append(_Found(status.st_mtime_ns, entry.path, status.st_size))
    return sorted(found, reverse=True)


def _delete(files: list[_Found], keep: int, keep_bytes: int, *, keep_first: bool = True) -> None:
    """Delete the files after the first ``keep`` of them, and those after the first ``keep_bytes`` bytes."""
    total = 0
    for number, each in enumerate(files):
        total += each.size
        if (number >= keep or total > keep_bytes) and not (keep_first and number == 0):
            _delete_unless_in_use(each.path)


def _delete_unless_in_use(path: str) -> None:
    with suppress(OSError):  # Windows: it is open; POSIX: it is locked, gone, or somebody else's
        if sys.platform == "win32":
            os.unlink(path)  # noqa: PTH108 - a text: runs that log need no pathlib
        else:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)  # noqa: PTH108 - a text: runs that log need no pathlib
            finally:
                os.close(descriptor)


def _remove_empty(folder: str) -> None:
    # A day old, so that no run loses the folder that it has just made.
    with suppress(OSError):
        if time.time() - os.stat(folder).st_mtime > 86_400:  # noqa: PTH116, PLR2004 - a day
            os.rmdir(folder)  # noqa: PTH106 - a text: runs that log need no pathlib


def last_lines(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the last 20 lines of texts, oldest first, each of at most 500 characters."""
    lines = [line for text in texts for line in text.split("\n")[-TAIL_LINES:]]
    return tuple(line if len(line) <= LINE_LIMIT else f"{line[: LINE_LIMIT - 1]}…" for line in lines[-TAIL_LINES:])
