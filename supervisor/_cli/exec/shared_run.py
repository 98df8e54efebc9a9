"""Share a run with the program that is about to be started, and read its report; see ``supervisor._run.join``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from supervisor import _log
from supervisor._models.kinds import Kind
from supervisor._run.join import (
    JOURNALLED,
    LOCKED,
    NOTE,
    TAKEN,
    VARIABLE,
    VERSION,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor._models.values import RunReport

_NEITHER = "-"
_LONGEST_NAME = 1_000  # the operating system limits the size of the environment


class ChildReport:
    """What a program that joined the run left behind at its end.

    Args:
        report: Its report on the run.
        attachments: The attachments for the message about the end.
        notified: The names of the handlers that it has notified of the end, by the kind of message.
    """

    __slots__ = ("attachments", "notified", "report")

    def __init__(
        self, report: RunReport, attachments: tuple[Any, ...], notified: Mapping[Kind, frozenset[str]]
    ) -> None:
        self.report = report
        self.attachments = attachments
        self.notified = notified


class SharedRun:
    """Lets the program that is about to start join the run, by an environment variable and a private directory.

    Args:
        id: The run's id.
        name: The run's name.
        is_journalled: Whether the run is in the journal.
        has_lock: Whether we already hold the lock that keeps other runs of the name from starting.
    """

    def __init__(self, *, id: str, name: str, is_journalled: bool, has_lock: bool) -> None:  # noqa: A002 - the name of this value everywhere
        self._id = id
        self._directory = directory = _new_directory(id) if len(name) <= _LONGEST_NAME else None
        self.variables: dict[str, str] = {}
        if directory is not None:
            flags = JOURNALLED * is_journalled + LOCKED * has_lock or _NEITHER
            fields = (VERSION, id, str(os.getpid()), flags, _to_hex(directory), _to_hex(name))
            self.variables[VARIABLE] = " ".join(fields)

    def last_activity(self) -> int | None:
        """Return a number that changes whenever a program that has joined is active; None while none has joined."""
        if self._directory is None:
            return None
        try:
            return os.stat(os.path.join(self._directory, TAKEN)).st_mtime_ns  # noqa: PTH116, PTH118 - pathlib costs 3 ms
        except OSError:
            return None

    def report(self) -> ChildReport | None:
        """Return the report of a program that joined; None if it has not joined, or was killed."""
        if self._directory is None:
            return None
        try:
            with open(os.path.join(self._directory, NOTE), "rb") as file:  # noqa: PTH118, PTH123 - pathlib costs 3 ms
                data = file.read()
        except OSError:
            return None
        return self._read(data)

    def _read(self, data: bytes) -> ChildReport | None:
        from supervisor._models.values import Attachment, RunReport
        from supervisor._store.serialization import UnreadableError, load

        try:
            content = load(data)
            report = content["report"]
            notified = {Kind(kind): frozenset(map(str, names)) for kind, names in content["notified"].items()}
            attachments = tuple(
                each for each in content["attachments"] if isinstance(each, (str, os.PathLike, Attachment))
            )
        except (UnreadableError, ValueError, TypeError, LookupError, AttributeError) as error:
            _log.info("the report of a program that joined the run cannot be read: %s", error)
            return None
        if not isinstance(report, RunReport) or report.id != self._id or report.outcome is None:
            return None
        return ChildReport(report, attachments, notified)

    def close(self) -> None:
        """Remove the directory."""
        directory, self._directory = self._directory, None
        if directory is not None:
            for name in (TAKEN, NOTE, f"{NOTE}.new"):
                with suppress(OSError):
                    os.unlink(os.path.join(directory, name))  # noqa: PTH108, PTH118 - pathlib costs 3 ms
            with suppress(OSError):
                os.rmdir(directory)  # noqa: PTH106 - pathlib costs 3 ms


def _new_directory(run_id: str) -> str | None:
    """Return a new private directory, or None if none can be made; ``tempfile`` takes 5 ms to load."""
    places = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    for place in (*places, *(() if sys.platform == "win32" else ("/tmp", "/var/tmp"))):  # noqa: S108 - a new directory of our own
        if place and os.path.isabs(place):  # noqa: PTH117 - pathlib costs 3 ms
            directory = os.path.join(place, f"supervisor-run-{run_id}-{os.urandom(8).hex()}")  # noqa: PTH118 - pathlib costs 3 ms
            with suppress(OSError, ValueError):
                os.mkdir(directory, 0o700)  # noqa: PTH102 - pathlib costs 3 ms
                return directory
    return None


def _to_hex(value: str) -> str:
    return value.encode("utf-8", "surrogatepass").hex()
