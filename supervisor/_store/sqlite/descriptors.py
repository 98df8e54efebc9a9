"""Whether the file descriptors of a connection are still those that SQLite opened.

A script may close all descriptors (``os.closerange``, a daemon) and then open files of its own, which get the same
numbers: SQLite would write pages of the journal into them. So each transaction looks first.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

Descriptors = tuple[tuple[int, tuple[int, int]], ...]
"""Numbers, each with the device and the inode of its file."""

_kept: list[Any] = []


def open_now() -> frozenset[int]:
    """Return the numbers of all descriptors that are open; none where that is unknown, as on Windows."""
    if sys.platform == "win32":  # there SQLite uses no such numbers
        return frozenset()
    try:
        return frozenset(map(int, os.listdir("/dev/fd")))  # noqa: PTH208 - pathlib takes 3 ms to load
    except (OSError, ValueError):
        return frozenset()


def identified(numbers: Collection[int]) -> Descriptors:
    """Return descriptors with what distinguishes their files; those that are closed are left out."""
    found = []
    for number in sorted(numbers):
        try:
            status = os.fstat(number)
        except OSError:
            continue
        found.append((number, (status.st_dev, status.st_ino)))
    return tuple(found)


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
