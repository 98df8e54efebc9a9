"""Handlers that keep what they get, in memory or in a file."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from supervisor.models import MessageDetails


class Recorder:
    """Keeps messages in memory.

    Args:
        name: What supervisor calls it.
        kinds: The kinds it wants; None for all.
    """

    def __init__(self, name: str = "recorder", kinds: Collection[str] | None = None) -> None:
        self.name = name
        self.kinds = kinds
        self.messages: list[MessageDetails] = []
        self.closed = 0

    def send_message(self, details: MessageDetails, /) -> None:
        """Keep one message."""
        self.messages.append(details)

    def close(self) -> None:
        """Count how often it was closed."""
        self.closed += 1

    @property
    def received(self) -> list[str]:
        """Return the kinds of the messages so far."""
        return [str(each.kind) for each in self.messages]

    @property
    def subjects(self) -> list[str]:
        """Return the subjects of the messages so far."""
        return [each.subject for each in self.messages]

    @property
    def only(self) -> MessageDetails:
        """Return the one message that there is."""
        assert len(self.messages) == 1, self.subjects
        return self.messages[0]


class FileRecorder:
    """Keeps messages in a file, one JSON object a line, for the process that reads it: see :func:`read`.

    Args:
        path: The file.
        name: What supervisor calls it.
    """

    def __init__(self, path: str, name: str = "file") -> None:
        self.name = name
        self._path = path

    def send_message(self, details: MessageDetails, /) -> None:
        """Keep one message."""
        report = details.report
        error = report.error if report is not None else None
        facts: dict[str, Any] = {
            "by": self.name,
            "pid": os.getpid(),
            "kind": details.kind,
            "subject": details.subject,
            "message": details.message,
            "run": report and report.name,
            "outcome": report and report.outcome,
            "exit_code": report and report.exit_code,
            "error": error and error.type,
            "error_message": error and error.message,
            "where": error and error.where,
            "thread": error and error.thread,
            "traceback": error and error.traceback,
        }
        with open(self._path, "a", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 - no pathlib in the scripts under test
            file.write(json.dumps(facts) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """Return what a :class:`FileRecorder` kept."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
