"""How ``supervisor run`` and a Python program that it starts find each other, so that both are one run.

The command offers its run in one environment variable: the run's id and name, the command's process, and a private
directory. As soon as the program runs, the command writes the program's process id there. The first outermost run of
the program accepts the offer, if the command's process is its parent and that id is its own: a process whose parents
have ended gets another parent, in a container often the command, and is not the program for that. From then on it has
the id and the name of the command's run and no record of its own in the journal; at its end it leaves a note in that
directory, with its report and the handlers that it has notified. The command finishes the run with it.

An offer that is stale, forged or cannot be read is ignored: whatever the variable holds, the program runs as without.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from supervisor import _log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._models.values import ErrorDetails, RunReport

VARIABLE = "_SUPERVISOR_JOIN"
"""The variable with the offer; not with the prefix SUPERVISOR_, since such variables are read as settings."""

VERSION, JOURNALLED, LOCKED, WARNS = "1", "j", "l", "w"
RETRIES, TRIED_AGAIN = "n", "r"
"""Two more flags: `supervisor run` tries again, so that the program does not; it does so after this attempt, if that
fails, or fails with one of the exit codes that follow the flag, which is the last."""

NOTE, TAKEN, PROGRAM, RETRIED = "end", "taken", "program", "retried"
"""The version and flags of an offer (after each "w" comes an exit code that is a warning and no failure), and four
files in its directory: the program's note, that it has joined, its process id, and the errors of the attempts before
this one, if there were any."""

_ID = frozenset("0123456789abcdef")
_MOST_LAUNCHERS = 3
_PATIENCE_S = 5.0
_LOOK_EVERY_S = 0.005


class Joined:
    """A run of another process that this process is part of.

    Args:
        id: The run's id.
        name: The run's name.
        parent: The id of the process that has started this one.
        directory: Where that process looks for the note.
        is_journalled: Whether that process has recorded the run in the journal.
        has_lock: Whether it holds the lock on the name of the run.
        warn_exit_codes: The exit codes that are a warning and no failure.
        has_retries: Whether it starts this program again, if that fails.
        tried_again: After which exit codes of this attempt, () for all; None after none.
    """

    __slots__ = (
        "_directory",
        "_parent",
        "has_lock",
        "has_retries",
        "id",
        "is_journalled",
        "name",
        "tried_again",
        "warn_exit_codes",
    )

    def __init__(  # noqa: PLR0913 - one for each part of an offer
        self,
        *,
        id: str,  # noqa: A002 - the name that the field has in reports, too
        name: str,
        parent: int,
        directory: str,
        is_journalled: bool,
        has_lock: bool,
        warn_exit_codes: tuple[int, ...] = (),
        has_retries: bool = False,
        tried_again: tuple[int, ...] | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self.is_journalled = is_journalled
        self.has_lock = has_lock
        self.warn_exit_codes = warn_exit_codes
        self.has_retries = has_retries
        self.tried_again = tried_again
        self._parent = parent
        self._directory = directory

    def accept(self) -> bool:
        """Return whether the offer is made to this process, and no other has accepted it."""
        if not _is_private(self._directory) or not _started_by(self._parent) or not self._is_the_program():
            return False
        with suppress(OSError):
            os.close(os.open(os.path.join(self._directory, TAKEN), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # noqa: PTH118 - pathlib takes 3 ms to load
            return True
        return False

    def _is_the_program(self) -> bool:
        """Return whether this process is the program that the command has started, which it writes down by then."""
        if sys.platform == "win32":  # there, a process keeps the parent that has started it
            return True
        until_s = monotonic() + _PATIENCE_S
        while _started_by(self._parent) and monotonic() < until_s:
            with suppress(OSError), open(os.path.join(self._directory, PROGRAM), "rb") as file:  # noqa: PTH118, PTH123 - pathlib takes 3 ms to load
                return file.read(32) == b"%d" % os.getpid()
            sleep(_LOOK_EVERY_S)
        return False

    def retried(self) -> tuple[ErrorDetails, ...]:
        """Return what the attempts before this one failed with; () where that cannot be read."""
        from supervisor._models.values import ErrorDetails
        from supervisor._store.serialization import UnreadableError, load

        try:
            with open(os.path.join(self._directory, RETRIED), "rb") as file:  # noqa: PTH118, PTH123 - pathlib takes 3 ms to load
                found = load(file.read())
        except (OSError, UnreadableError):
            return ()
        return (
            tuple(each for each in found if isinstance(each, ErrorDetails)) if isinstance(found, list | tuple) else ()
        )

    def mark_alive(self) -> None:
        """Let `supervisor run` see that the program makes progress: the file's time is its sign of life."""
        with suppress(OSError):
            os.utime(os.path.join(self._directory, TAKEN))  # noqa: PTH118 - pathlib takes 3 ms to load

    def parent_lives(self) -> bool:
        """Return whether the command is still there to finish the run; if not, this process does."""
        return _started_by(self._parent)

    def is_tried_again(self, exit_code: int | None) -> bool:
        """Return whether the program is started again after it failed with an exit code; None for an exception."""
        return self.tried_again is not None and (not self.tried_again or (exit_code or 1) in self.tried_again)

    def hand_back(self, report: RunReport, attachments: Iterable[Any], notified: Iterable[tuple[str, str]]) -> None:
        """Write the note for `supervisor run`, whole or not at all.

        Args:
            report: What is known of the run at its end.
            attachments: What goes with the message about the end.
            notified: Kinds of message, each with the name of a handler that got it from this process.
        """
        from supervisor._store.serialization import dump

        names: dict[str, list[str]] = {}
        for kind, name in notified:
            names.setdefault(str(kind), []).append(name)
        note = dump({"report": report, "attachments": list(attachments), "notified": names})
        path = os.path.join(self._directory, NOTE)  # noqa: PTH118 - pathlib takes 3 ms to load
        try:
            with open(f"{path}.new", "wb") as file:  # noqa: PTH123 - pathlib takes 3 ms to load
                file.write(note)
            os.replace(f"{path}.new", path)  # noqa: PTH105 - pathlib takes 3 ms to load
        except OSError as error:
            _log.info("the run %r could not be handed back to `supervisor run`: %s", self.name, error)


def accept_offer(offer: str | None) -> Joined | None:
    """Accept an offer, or return None when there is none that is meant for this process."""
    try:
        version, run_id, parent, flags, directory, name = (offer or "").split(" ")
        flags, is_tried_again, codes = flags.partition(TRIED_AGAIN)
        joined = Joined(
            id=run_id,
            name=_from_hex(name),
            parent=int(parent),
            directory=_from_hex(directory),
            is_journalled=JOURNALLED in flags,
            has_lock=LOCKED in flags,
            warn_exit_codes=tuple(map(int, flags.split(WARNS)[1:])),
            has_retries=RETRIES in flags,
            tried_again=tuple(map(int, filter(None, codes.split(",")))) if is_tried_again else None,
        )
        if version != VERSION or not run_id or not _ID.issuperset(run_id) or not joined.name.strip():
            return None
        return joined if joined.accept() else None
    except (ValueError, OverflowError):
        return None


def _from_hex(value: str) -> str:
    return bytes.fromhex(value).decode("utf-8", "surrogatepass")


def _is_private(directory: str) -> bool:
    """Return whether a directory is there, is ours and nobody else's."""
    if not os.path.isabs(directory):  # noqa: PTH117 - pathlib takes 3 ms to load
        return False
    try:
        found = os.lstat(directory)
    except (OSError, ValueError):
        return False
    if sys.platform == "win32":
        return os.path.isdir(directory)  # noqa: PTH112 - pathlib takes 3 ms to load
    return stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077 and found.st_uid == os.geteuid()


def _started_by(pid: int) -> bool:
    """Return whether a process is the parent of this one."""
    parent = os.getppid()
    return parent == pid or (sys.platform == "win32" and _launched_by(pid, parent))


def _launched_by(pid: int, parent: int) -> bool:
    """Return whether only launchers are between a process and this one.

    On Windows, ``python.exe`` of a virtual environment and the programs that pip installs beside it start the real
    interpreter as their child (https://github.com/python/cpython/issues/83086).
    """
    import psutil

    folder = os.path.dirname(os.path.normcase(sys.executable))  # noqa: PTH120 - pathlib takes 3 ms to load
    try:
        process = psutil.Process(parent)
        for _ in range(_MOST_LAUNCHERS):
            if os.path.dirname(os.path.normcase(process.exe())) != folder:  # noqa: PTH120 - pathlib takes 3 ms to load
                return False
            if process.ppid() == pid:
                return True
            process = psutil.Process(process.ppid())
    except psutil.Error:
        return False
    return False
