"""What every caller of a store needs at run time: what it hands in, the limits, and the one way in which stores fail.

On every run's path, so it loads no more than that needs. What a store promises stands in
:mod:`~supervisor._store.contract`.

Where the journal lives, and how much it keeps, is decided here too.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from supervisor import _log
from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from supervisor._models import Outcome
    from supervisor._models.values import Attachment, ErrorDetails, MessageDetails, Progress, RunStep, RunWarning

LEASE_S = 300.0
"""How long a claimed delivery belongs to its claimer, if the claimer's process lives that long."""

COPIES_LIMIT_BYTES = 200 * 1024 * 1024
"""The most that the copies of waiting messages' attachments may take."""

NO_SET_TIME_S = 32_503_680_000.0
"""The year 3000, in seconds since 1970: what is held until then has no time of its own."""

FILE_NAME = "journal.sqlite3"
NOTES_NAME = "journal.ends"
"""The file beside the journal in which ends are noted that the journal does not take."""


def storable(value: str) -> str:
    r"""Return a text as stores give it back: lone surrogates, which databases refuse, become escapes (``\udcff``)."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")


COPY_AT_ONCE_BYTES = 64 * 1024 * 1024
"""Up to this size an attachment is copied before the script goes on; a larger one is linked."""


class MessageChange(Protocol):
    """Says in a message why another handler sends it."""

    def __call__(self, message: MessageDetails, /) -> MessageDetails:
        """Return the message as the other handler gets it."""


class Pack(Protocol):
    """Makes one copy of an attachment: as it is, or compressed and redacted."""

    def __call__(self, attachment: Attachment, directory: Path, limit_bytes: int, /) -> Attachment | None:
        """Write a copy into an empty directory.

        Args:
            attachment: The original.
            directory: Where the copy belongs; it is private, and empty.
            limit_bytes: The most bytes that the copy may have; only a link may show more.

        Returns:
            The attachment that the copy is, its ``path`` in ``directory``; None when no copy can be had.

        Raises:
            OSError: The copy cannot be read or written, or is too large (``errno.EFBIG``); the message is then sent
                without one, with a note why.
        """


class StartedRun(NamedTuple):
    """What a store keeps of a run when it starts; it adds the process and the machine itself.

    Args:
        id: The run's own id, unique among all runs.
        name: The name it was given.
        started_at_s: When it started, in seconds since 1970 (UTC).
        parent_id: The id of the run that this one is nested in; None for an outermost one.
        user: Who runs it.
        argv: The command line.
        python: The version of Python.
        log_path: The script's own log; None without one.
        schedule: When it should run, as text; None without a schedule.
        max_duration_s: The longest it should take; None without a limit.
        stall_after_s: The longest it should be without progress; None without a limit.
        grace_s: How late a start may be by the schedule; without one it is not kept.
        settings: Other settings of the run that are kept, by their names.
        heartbeat_s: How often it gives a sign of life, where a later process may not be able to look it up; None where
            it gives none.
        host: Where it runs, in words; "" for the machine's name.
        links: Addresses of pages about it, by their titles.
        script: The absolute path of the script or program; None where it has none.
    """

    id: str
    name: str
    started_at_s: float
    parent_id: str | None = None
    user: str = ""
    argv: Sequence[str] = ()
    python: str = ""
    log_path: str | None = None
    schedule: str | None = None
    max_duration_s: float | None = None
    stall_after_s: float | None = None
    grace_s: float | None = None
    settings: Mapping[str, Any] = MappingProxyType({})
    heartbeat_s: float | None = None
    host: str = ""
    links: Mapping[str, str] = MappingProxyType({})
    script: str | None = None


class Surroundings(NamedTuple):
    """What is around a run and may be another in the next one.

    Args:
        stamp: What is known at once, as JSON; equal for runs with equal surroundings.
        boot: Names the start of the machine; "" where that is not known, or says nothing as in a container.
        facts: What takes longer to find out, as JSON; None where it was not collected.
        key: How the journal finds them; None where only the stamp is kept, with the run itself.
    """

    stamp: bytes
    boot: str = ""
    facts: bytes | None = None
    key: int | None = None


class EndedRun(NamedTuple):
    """What a store keeps of a run when it ends.

    Args:
        outcome: How it ended.
        ended_at_s: When it ended, in seconds since 1970 (UTC).
        duration_s: How long it took, by a clock that cannot be set.
        values: What the script recorded.
        progress: Its last progress; None keeps what was noted before.
        error: What went wrong; None when nothing did. A traceback is cut to 16,000 characters.
        exit_code: The code that the script asked for; None when it did not.
        cpu_s: Processor seconds that the process used during the run.
        peak_memory_bytes: The most memory that the process ever had.
        warnings: The first of what it was warned of.
        warning_count: How many warnings there were in all.
        retried: The errors of the attempts before the last, in a few words each.
        steps: Its steps.
        surroundings: What was around it; None keeps nothing of that.
    """

    outcome: Outcome
    ended_at_s: float
    duration_s: float
    values: Mapping[str, Any] = MappingProxyType({})
    progress: Progress | None = None
    error: ErrorDetails | None = None
    exit_code: int | None = None
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    warnings: Sequence[RunWarning] = ()
    warning_count: int = 0
    retried: tuple[ErrorDetails, ...] = ()
    steps: Sequence[RunStep] = ()
    surroundings: Surroundings | None = None


_warned: set[tuple[str, str]] = set()


class JournalUnavailable(SupervisorError):  # noqa: N818 - a state of the machine, not a mistake of the caller
    """Tell that the journal cannot be read or written, and why.

    What was committed before stays as it is; the operation that raised left nothing behind. Whoever catches
    it goes on with a :class:`~supervisor._store.MemoryOutbox`.

    Args:
        path: The journal's file, or the directory where it should be.
        reason: What was found there ("disk I/O error", "Permission denied").
        remedy: What a person can do about it.

    Attributes:
        is_busy: True when another process holds it.
    """

    is_busy = False

    def __init__(self, path: str, reason: str, remedy: str = "") -> None:
        remedy = remedy or "make room and check its permissions, or set SUPERVISOR_STATE to another directory"
        super().__init__(f"journal {path!r}: {reason}; {remedy}")
        self.path = path
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[JournalUnavailable], tuple[str, str, str]]:
        return (type(self), (self.path, self.reason, self.remedy))


def warn_once(error: JournalUnavailable) -> None:
    """Log that the journal is out of use, once in a process for each file and reason."""
    if (error.path, error.reason) not in _warned:
        _warned.add((error.path, error.reason))
        _log.warning("%s; runs and messages are kept in memory meanwhile", error)


VARIABLE = "SUPERVISOR_STATE"

_LIMITS = {
    "keep_runs": ("SUPERVISOR_KEEP_RUNS", 1),
    "keep_days": ("SUPERVISOR_KEEP_DAYS", 1),
    "copies_limit_bytes": ("SUPERVISOR_KEEP_COPIES_MB", 1024 * 1024),
}


def limits() -> dict[str, int]:
    """Return the limits that environment variables set; those that are missing or wrong are left out.

    ``SUPERVISOR_KEEP_RUNS`` runs of each name, for ``SUPERVISOR_KEEP_DAYS`` days, and copies of attachments of
    ``SUPERVISOR_KEEP_COPIES_MB`` megabytes; each a whole number above 0.
    """
    found = {limit: _number(variable) * factor for limit, (variable, factor) in _LIMITS.items()}
    return {limit: number for limit, number in found.items() if number}


def copy_at_once_bytes() -> int:
    """Return up to which size an attachment is copied before the script goes on: ``SUPERVISOR_COPY_AT_ONCE_MB``."""
    return _number("SUPERVISOR_COPY_AT_ONCE_MB") * 1024 * 1024 or COPY_AT_ONCE_BYTES


def _number(variable: str) -> int:
    """Return the whole number above 0 that an environment variable holds; 0 when it is missing or wrong."""
    text = os.environ.get(variable, "").strip()
    if text.isascii() and text.isdigit() and int(text):
        return int(text)
    if text:
        _log.warning("%s must be a whole number above 0, got %r; it is left as it is by default", variable, text)
    return 0


def state_directory() -> Path:
    """Return the directory of the journal, as an absolute path.

    It is what the environment variable ``SUPERVISOR_STATE`` says, else the platform's own place for the state
    of programs (``~/.local/state/supervisor`` on Linux). Without ``HOME`` the user database gives the home
    directory. Where there is none, or nothing can be written there, it is ``supervisor-<uid>`` in the directory for
    temporary files, which is created, and used only when it is the user's own.

    Raises:
        JournalUnavailable: Neither is possible.
    """
    from pathlib import Path

    return Path(state_path())


def state_path() -> str:
    """Return what :func:`state_directory` does, as a text: every run asks, and pathlib takes 3 ms to load."""
    chosen = os.environ.get(VARIABLE, "").strip()
    try:
        path = os.path.expanduser(chosen) if chosen else _platform_directory()  # noqa: PTH111 - pathlib takes 3 ms to load
    except RuntimeError:
        path = "~"
    is_usable = not path.startswith("~")  # it would scatter journals over the working directories of scripts
    path = os.path.abspath(path)  # noqa: PTH100 - pathlib takes 3 ms to load
    if chosen and not is_usable:
        raise _no_home()
    if chosen or (is_usable and _can_be_written(path)):
        return path
    return _temporary_directory(path if is_usable else "")


def temporary_path() -> str:
    """Return the directory in which the state is kept where no home can hold it; nothing is created."""
    user: object = os.environ.get("USERNAME", "")
    if sys.platform != "win32":
        user = os.getuid()
    parent = os.environ.get("TMPDIR", "").strip() or (os.environ.get("TEMP", "") if sys.platform == "win32" else "/tmp")  # noqa: S108 - its owner is checked
    return os.path.join(os.path.abspath(parent), f"supervisor-{user}")  # noqa: PTH100, PTH118 - pathlib takes 3 ms to load


def _can_be_written(directory: str) -> bool:
    """Return whether files can be made in a directory, once it and those above it that are missing are there."""
    while True:
        if os.access(directory, os.W_OK | os.X_OK):
            return True
        above = os.path.dirname(directory)  # noqa: PTH120 - a text
        if above == directory or os.path.lexists(directory):
            return False
        directory = above


def _temporary_directory(instead_of: str) -> str:
    """Return the directory for the state of a user without a home, which is the user's own.

    Raises:
        JournalUnavailable: There can be none, or it is somebody else's.
    """
    path = temporary_path()
    try:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)  # noqa: PTH102 - a text
        _refuse_others(path)
    except OSError as error:
        raise JournalUnavailable(path, error.strerror or str(error), f"set {VARIABLE} to a directory") from error
    text = f"{instead_of} cannot be written" if instead_of else "the user has no home directory"
    if text not in _noted:
        _noted.add(text)
        _log.info("%s: runs and messages are kept in %s; to keep them longer, set %s", text, path, VARIABLE)
    return path


def _refuse_others(path: str) -> None:
    """Refuse a directory that somebody else made, or can write to: everybody may make files beside it."""
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is no directory")
    if sys.platform != "win32" and (found.st_uid != os.getuid() or found.st_mode & 0o077):
        raise PermissionError(errno.EPERM, "it belongs to somebody else, or others may use it")


_noted: set[str] = set()


def can_note_ends(directory: str) -> bool:
    """Return False where a journal has no file beside it to note ends in that it does not take."""
    journal, notes = (os.path.join(directory, name) for name in (FILE_NAME, NOTES_NAME))  # noqa: PTH118 - texts
    return os.path.isfile(notes) or not os.path.isfile(journal)  # noqa: PTH113 - texts


def _platform_directory() -> str:
    """Return the platform's place; on Linux by https://specifications.freedesktop.org/basedir-spec/latest/."""
    if sys.platform == "linux":
        return f"{os.environ.get('XDG_STATE_HOME', '').strip() or os.path.expanduser('~/.local/state')}/supervisor"  # noqa: PTH111 - pathlib takes 3 ms to load
    from platformdirs import user_state_dir  # it takes 5 ms to load

    return user_state_dir("supervisor", appauthor=False)


def _no_home() -> JournalUnavailable:
    return JournalUnavailable("~", "the user has no home directory", f"set {VARIABLE} to a directory")
