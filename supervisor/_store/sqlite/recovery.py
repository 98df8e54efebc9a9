"""Move a corrupt journal away, so that a new one can begin. Nothing is ever deleted."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK_WAIT_S = 10.0


def move_corrupt_file(path: str, is_still_corrupt: Callable[[], bool]) -> str | None:
    """Rename a corrupt journal and what belongs to it.

    Args:
        path: The journal's file.
        is_still_corrupt: Returns whether the file of that name is the one that was found corrupt.

    Returns:
        The new name; None when another process has moved it already.

    Raises:
        OSError: It cannot be renamed; on Windows also while another process has it open.
        sqlite3.Error: The lock cannot be had.
    """
    from datetime import UTC, datetime

    # SQLite itself serves as the portable lock: of two processes that find the corrupt file, the second
    # must not rename the fresh one of the first.
    with closing(sqlite3.connect(_private(f"{path}.lock"), timeout=LOCK_WAIT_S, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        if not is_still_corrupt():
            return None
        moved_to = f"{path}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        # The file itself goes last. If we are killed before, it is still found corrupt, and a write-ahead log
        # never stays behind for the fresh file.
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                os.replace(path + suffix, moved_to + suffix)  # noqa: PTH105 - these are texts
        return moved_to


def _private(path: str) -> str:
    """Create a file that only its owner reads, unless it is there; SQLite gives its helper files the same mode."""
    # A file that is there must not be opened: closing it would drop the locks that SQLite holds on it in this
    # process (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    return path


def create(path: str) -> None:
    """Create the journal's empty file (mode 0600) and its directory (0700), where they are missing.

    Raises:
        OSError: They cannot be created.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 - these are texts
    _private(path)
