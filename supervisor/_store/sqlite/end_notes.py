"""Note beside the journal what it does not take: the ends of runs, and messages of a process that ends.

That is a small file beside the journal. Its room is reserved when the journal begins, so that a full disk does not
matter when it is needed. Whoever opens the journal next writes into it what is noted. Each line is one end or one
message; what follows the last line is zero bytes.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor._store.files import create_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESERVED_BYTES = 64 * 1024
_LINE_LIMIT = 8 * 1024
_DELIVERY_COLUMNS = 9
_LOCKED_BYTE = 1 << 30  # Windows locks bytes, and would refuse to read those that are locked


class Notes(NamedTuple):
    """What is noted.

    Args:
        ends: Of each run, the columns that are known at its start, and those that are known at its end.
        deliveries: The columns of messages that wait.
    """

    ends: list[tuple[list[Any], list[Any]]]
    deliveries: list[list[Any]]


def reserve(path: str) -> None:
    """Create the file, readable for its owner alone, unless it is there.

    Raises:
        OSError: It cannot be created, or there is no room.
    """
    with suppress(FileExistsError):
        file = create_file(path)
        try:
            os.write(file, bytes(RESERVED_BYTES))
        finally:
            os.close(file)


def add(path: str, started: Sequence[Any], ended: Sequence[Any], droppable: Sequence[int]) -> None:
    """Note one end so that it survives power loss.

    Args:
        path: The file.
        started: The columns that are known at the start of the run.
        ended: The columns that are known at its end.
        droppable: Which of the latter are left out, one after the other, where all do not fit.

    Raises:
        OSError: It cannot be written.
    """
    line = _line([started, ended])
    for index in droppable:
        if len(line) > _LINE_LIMIT:
            ended = [*ended[:index], None, *ended[index + 1 :]]
            line = _line([started, ended])
    _append(path, line)


def add_delivery(path: str, columns: Sequence[Any]) -> None:
    """Note a message that waits so that it survives power loss.

    Args:
        path: The file.
        columns: Its columns.

    Raises:
        OSError: It cannot be written.
    """
    _append(path, _line({"delivery": columns}))


def _append(path: str, line: bytes) -> None:
    with _locked(path) as file:
        used = len(_read(file))
        os.lseek(file, used, os.SEEK_SET)
        os.write(file, line)
        os.fsync(file)


def read(path: str) -> Notes:
    """Return what is noted; nothing where the file cannot be read. It is neither created nor locked."""
    return parsed(written(path))


def written(path: str) -> bytes:
    """Return what is written in the file; nothing where there is nothing, or it cannot be read."""
    with suppress(OSError), open(path, "rb", buffering=0) as file:  # noqa: PTH123 - on every run's path
        if file.read(1) not in (b"", b"\0"):
            return _read(file.fileno())
    return b""


@contextmanager
def taken(path: str) -> Iterator[Notes]:
    """Give what is noted, and remove it from the file after the block, unless an exception leaves it.

    Raises:
        OSError: The file cannot be read or written.
    """
    with _locked(path) as file:
        content = _read(file)
        yield parsed(content)
        if content:
            os.lseek(file, 0, os.SEEK_SET)
            os.write(file, bytes(len(content)))
            os.fsync(file)


@contextmanager
def _locked(path: str) -> Iterator[int]:
    """Open the file, and keep other processes from using it in the block."""
    reserve(path)
    file = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        _lock(file)
        yield file
    finally:
        os.close(file)  # which also unlocks it


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_LOCK, 1)
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)


def _read(file: int) -> bytes:
    """Return what is written in the file, up to the zero bytes."""
    os.lseek(file, 0, os.SEEK_SET)
    content = b""
    while part := os.read(file, RESERVED_BYTES):
        content += part
    return content.rstrip(b"\0")


def _line(note: Any) -> bytes:
    # A line begins with a line feed too: what was cut off by a power loss before it does not spoil it.
    return b"\n%s\n" % json.dumps(note, default=_as_json, separators=(",", ":")).encode("ascii")


def _as_json(value: bytes) -> dict[str, str]:
    return {"bytes": value.decode("latin-1")}


def _from_json(value: dict[str, Any]) -> Any:
    return value["bytes"].encode("latin-1") if "bytes" in value else value


def parsed(content: bytes) -> Notes:
    """Return what is written in the file."""
    notes = Notes([], [])
    for line in content.splitlines():
        with suppress(ValueError, KeyError):  # cut off by a power loss
            note = json.loads(line, object_hook=_from_json)
            if isinstance(note, dict):
                if len(note["delivery"]) == _DELIVERY_COLUMNS:
                    notes.deliveries.append(note["delivery"])
            else:
                started, ended = note
                notes.ends.append((started, ended))
    return notes
