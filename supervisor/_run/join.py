"""How ``supervisor run`` and a Python program that it starts find each other, so that both are one run.

The command offers its run by one environment variable: which run it is, which process asks, and a private directory.
The first outermost run of the program takes the offer, if that process is its parent. From then on it goes under the
id and the name of the command's run, makes no entry of its own in the journal, and at its end leaves a note of what it
knows and whom it has told in that directory. The command ends the run with it.

Whatever is in the variable, a program is never worse off for it: an offer that is stale, forged or cannot be read is
no offer.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from supervisor import _log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._models.values import RunReport

VARIABLE = "_SUPERVISOR_JOIN"
"""Where the offer stands; without the prefix of the configuration's variables, which are looked through."""

VERSION, JOURNALLED, LOCKED = "1", "j", "l"
NOTE, TAKEN = "end", "taken"
"""What an offer says, and the files in its directory: the program's note, and the sign that it has joined."""

_ID = frozenset("0123456789abcdef")
_MOST_LAUNCHERS = 3


class Joined:
    """A run of another process that this process is part of.

    Args:
        id: The run's id.
        name: The run's name.
        parent: The number of the process that has started it, and us.
        directory: Where that process looks for our note.
        is_journalled: Whether it has put the run into the journal.
        has_lock: Whether it has seen to it already that no other run of the name is under way.
    """

    __slots__ = ("_directory", "_parent", "has_lock", "id", "is_journalled", "name")

    def __init__(  # noqa: PLR0913 - what an offer says
        self,
        *,
        id: str,  # noqa: A002 - what it is called everywhere
        name: str,
        parent: int,
        directory: str,
        is_journalled: bool,
        has_lock: bool,
    ) -> None:
        self.id = id
        self.name = name
        self.is_journalled = is_journalled
        self.has_lock = has_lock
        self._parent = parent
        self._directory = directory

    def accept(self) -> bool:
        """Return whether the offer is made to this process, and it is the first to take it."""
        if not _is_private(self._directory) or not _started_by(self._parent):
            return False
        with suppress(OSError):
            os.close(os.open(os.path.join(self._directory, TAKEN), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # noqa: PTH118 - pathlib costs 3 ms
            return True
        return False

    def mark_alive(self) -> None:
        """Let `supervisor run` see that the program makes progress."""
        with suppress(OSError):
            os.utime(os.path.join(self._directory, TAKEN))  # noqa: PTH118 - as above

    def parent_lives(self) -> bool:
        """Tell whether somebody is there to end the run; if not, we do."""
        return _started_by(self._parent)

    def hand_back(self, report: RunReport, attachments: Iterable[Any], told: Iterable[tuple[str, str]]) -> None:
        """Leave word of the end, whole or not at all.

        Args:
            report: What is known of the run at its end.
            attachments: What goes with the message that tells of it.
            told: Kinds of message, each with the name of a handler that has heard it from us.
        """
        from supervisor._store.serialization import dump

        names: dict[str, list[str]] = {}
        for kind, name in told:
            names.setdefault(str(kind), []).append(name)
        note = dump({"report": report, "attachments": list(attachments), "told": names})
        path = os.path.join(self._directory, NOTE)  # noqa: PTH118 - as above
        try:
            with open(f"{path}.new", "wb") as file:  # noqa: PTH123 - as above
                file.write(note)
            os.replace(f"{path}.new", path)  # noqa: PTH105 - as above
        except OSError as error:
            _log.info("the run %r could not be handed back to `supervisor run`: %s", self.name, error)


def take(offer: str | None) -> Joined | None:
    """Take an offer, or return None where there is none that is meant for this process."""
    try:
        version, run_id, parent, flags, directory, name = (offer or "").split(" ")
        joined = Joined(
            id=run_id,
            name=_from_hex(name),
            parent=int(parent),
            directory=_from_hex(directory),
            is_journalled=JOURNALLED in flags,
            has_lock=LOCKED in flags,
        )
        if version != VERSION or not run_id or not _ID.issuperset(run_id) or not joined.name.strip():
            return None
        return joined if joined.accept() else None
    except (ValueError, OverflowError):
        return None


def _from_hex(value: str) -> str:
    return bytes.fromhex(value).decode("utf-8", "surrogatepass")


def _is_private(directory: str) -> bool:
    """Tell whether a directory is there, is ours and nobody else's."""
    if not os.path.isabs(directory):  # noqa: PTH117 - as above
        return False
    try:
        found = os.lstat(directory)
    except (OSError, ValueError):
        return False
    if sys.platform == "win32":
        return os.path.isdir(directory)  # noqa: PTH112 - as above
    return stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077 and found.st_uid == os.geteuid()


def _started_by(pid: int) -> bool:
    """Tell whether a process is the parent of this one."""
    parent = os.getppid()
    return parent == pid or (sys.platform == "win32" and _launched_by(pid, parent))


def _launched_by(pid: int, parent: int) -> bool:
    """Tell whether only launchers are between a process and this one.

    On Windows, ``python.exe`` of a virtual environment and the programs that pip installs beside it start the real
    interpreter as their child (https://github.com/python/cpython/issues/83086).
    """
    import psutil

    folder = os.path.dirname(os.path.normcase(sys.executable))  # noqa: PTH120 - as above
    try:
        process = psutil.Process(parent)
        for _ in range(_MOST_LAUNCHERS):
            if os.path.dirname(os.path.normcase(process.exe())) != folder:  # noqa: PTH120 - as above
                return False
            if process.ppid() == pid:
                return True
            process = psutil.Process(process.ppid())
    except psutil.Error:
        return False
    return False
