"""Offer a run to the program that is about to be started, and read what it hands back; see ``supervisor._run.join``."""

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
_LONGEST_NAME = 1_000  # a variable that is too long would keep the program from starting


class Note:
    """What the program has handed back.

    Args:
        report: What it knew of the run at its end.
        attachments: What goes with the message that tells of it.
        notified: The names of the handlers that it has notified of the end, by the kind of message.
    """

    __slots__ = ("attachments", "notified", "report")

    def __init__(
        self, report: RunReport, attachments: tuple[Any, ...], notified: Mapping[Kind, frozenset[str]]
    ) -> None:
        self.report = report
        self.attachments = attachments
        self.notified = notified


class Offer:
    """Offers a run to the program that is about to be started.

    Args:
        id: The run's id.
        name: The run's name.
        is_journalled: Whether the run is in the journal.
        has_lock: Whether it has been seen to that no other run of the name is under way.
    """

    def __init__(self, *, id: str, name: str, is_journalled: bool, has_lock: bool) -> None:  # noqa: A002 - as above
        self._id = id
        self._directory = directory = _made(id) if len(name) <= _LONGEST_NAME else None
        self.variables: dict[str, str] = {}
        if directory is not None:
            flags = JOURNALLED * is_journalled + LOCKED * has_lock or _NEITHER
            said = (VERSION, id, str(os.getpid()), flags, _to_hex(directory), _to_hex(name))
            self.variables[VARIABLE] = " ".join(said)

    def last_sign(self) -> int | None:
        """Return what changes with each sign of life of a program that has joined; None while none has."""
        if self._directory is None:
            return None
        try:
            return os.stat(os.path.join(self._directory, TAKEN)).st_mtime_ns  # noqa: PTH116, PTH118 - as above
        except OSError:
            return None

    def note(self) -> Note | None:
        """Return what the program has handed back; None when it has not joined, or came to no end."""
        if self._directory is None:
            return None
        try:
            with open(os.path.join(self._directory, NOTE), "rb") as file:  # noqa: PTH118, PTH123 - as above
                data = file.read()
        except OSError:
            return None
        return self._read(data)

    def _read(self, data: bytes) -> Note | None:
        from supervisor._models.values import Attachment, RunReport
        from supervisor._store.serialization import UnreadableError, load

        try:
            said = load(data)
            report = said["report"]
            notified = {Kind(kind): frozenset(map(str, names)) for kind, names in said["notified"].items()}
            attachments = tuple(
                each for each in said["attachments"] if isinstance(each, (str, os.PathLike, Attachment))
            )
        except (UnreadableError, ValueError, TypeError, LookupError, AttributeError) as error:
            _log.info("what a program handed back cannot be read: %s", error)
            return None
        if not isinstance(report, RunReport) or report.id != self._id or report.outcome is None:
            return None
        return Note(report, attachments, notified)

    def close(self) -> None:
        """Remove the directory."""
        directory, self._directory = self._directory, None
        if directory is not None:
            for name in (TAKEN, NOTE, f"{NOTE}.new"):
                with suppress(OSError):
                    os.unlink(os.path.join(directory, name))  # noqa: PTH108, PTH118 - as above
            with suppress(OSError):
                os.rmdir(directory)  # noqa: PTH106 - as above


def _made(run_id: str) -> str | None:
    """Return a new private directory, or None where none can be made; ``tempfile`` takes 5 ms to load."""
    places = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    for place in (*places, *(() if sys.platform == "win32" else ("/tmp", "/var/tmp"))):  # noqa: S108 - a new directory of our own
        if place and os.path.isabs(place):  # noqa: PTH117 - as above
            directory = os.path.join(place, f"supervisor-run-{run_id}-{os.urandom(8).hex()}")  # noqa: PTH118 - as above
            with suppress(OSError, ValueError):
                os.mkdir(directory, 0o700)  # noqa: PTH102 - as above
                return directory
    return None


def _to_hex(value: str) -> str:
    return value.encode("utf-8", "surrogatepass").hex()
