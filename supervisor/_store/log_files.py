"""Where runs keep their own logs: one file for each run, in a folder for each name, the oldest deleted in time."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

if sys.platform != "win32":
    import fcntl

TAIL_LINES = 20
LINE_LIMIT = 500

KEEP_FILES = 20
KEEP_BYTES_EACH = 100 * 1024 * 1024
KEEP_BYTES = 200 * 1024 * 1024
_LOOK_AT_ALL_FROM_BYTES = 1024 * 1024
_LOOK_AT_ALL_ONE_IN = 16
_ODD = re.compile(r"[^A-Za-z0-9._-]+")


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
    readable = _ODD.sub("_", name)[:40].strip("._-")
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
    os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103 - a text: runs that log need no pathlib
    start = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime(started_at_s))
    path = os.path.join(folder, f"{start}-{run_id}.log")  # noqa: PTH118 - a text: runs that log need no pathlib
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o600)
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
