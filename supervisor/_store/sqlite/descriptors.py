"""Whether the file descriptors of a connection are still those that SQLite opened.

A script may close all descriptors (``os.closerange``, a daemon) and then open files of its own, which get the same
numbers: SQLite would write pages of the journal into them. So each transaction looks first.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Descriptors = tuple[tuple[int, tuple[int, int]], ...]
"""Numbers, each with the device and the inode of its file."""

_kept: list[Any] = []


def open_now() -> frozenset[int]:
    """Return the numbers of all descriptors that are open; none where that is unknown, as on Windows."""
    if sys.platform == "win32":  # there SQLite uses no such numbers
        return frozenset()
    try:
        listed = [int(each) for each in os.listdir("/dev/fd")]  # noqa: PTH208 - pathlib takes 3 ms to load
    except (OSError, ValueError):
        return frozenset()
    # Among them is the one that listed them, which is closed by now.
    return frozenset(number for number in listed if _identity(os.fstat, number) is not None)


def of_database(numbers: Collection[int], path: str) -> Descriptors:
    """Return those of some descriptors that are open on a database's files, with what distinguishes these.

    Others are left out: another thread of the script may have opened them at the same moment, and may close them.

    Args:
        numbers: The descriptors.
        path: The database; its write-ahead log and shared memory stand beside it.
    """
    files = {_identity(os.stat, path + suffix) for suffix in ("", "-wal", "-shm")} - {None}
    found = ((number, _identity(os.fstat, number)) for number in sorted(numbers))
    return tuple((number, identity) for number, identity in found if identity is not None and identity in files)


def _identity(look: Callable[[Any], os.stat_result], where: object) -> tuple[int, int] | None:
    try:
        status = look(where)
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def are_unchanged(descriptors: Descriptors) -> bool:
    """Return whether each of these is open, and of the same file as before."""
    try:
        for number, identity in descriptors:
            status = os.fstat(number)
            if (status.st_dev, status.st_ino) != identity:
                return False
    except OSError:
        return False
    return True


def keep_for_ever(connection: object) -> None:
    """Let nothing free a connection, not even the end of Python: that would close the descriptors of the script."""
    _kept.append(connection)
    try:
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    except Exception:  # noqa: BLE001 - a Python without ctypes: a thread that never ends holds the connection instead
        import threading

        threading.Thread(target=_hold, args=(connection,), daemon=True).start()


def _hold(connection: object) -> None:
    import time

    while True:
        time.sleep(3600.0)
