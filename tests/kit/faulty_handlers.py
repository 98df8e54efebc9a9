"""Handlers that fail or hang, and how to wait for what a worker does in its own thread."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from recorders import Recorder
from waiting import PATIENCE_S

if TYPE_CHECKING:
    from supervisor.models import MessageDetails


class Raises(Recorder):
    """Raises, each time or only at first.

    Args:
        errors: What it raises, in turn; then it accepts.
    """

    def __init__(self, *errors: BaseException, name: str = "raises") -> None:
        super().__init__(name)
        self.errors = list(errors)
        self.tried_s: list[float] = []

    def send_message(self, details: MessageDetails, /) -> None:
        """Raise what comes next."""
        self.tried_s.append(time.monotonic())
        if self.errors:
            raise self.errors.pop(0)
        super().send_message(details)


class Hangs(Recorder):
    """Hangs until it is let go."""

    def __init__(self) -> None:
        super().__init__("hangs")
        self.go_on = threading.Event()
        self.called = threading.Event()

    def send_message(self, details: MessageDetails, /) -> None:
        """Hang."""
        self.called.set()
        self.go_on.wait(PATIENCE_S)
        super().send_message(details)


class Prints(Recorder):
    """Prints while it sends."""

    def send_message(self, details: MessageDetails, /) -> None:
        """Print."""
        print("sent", details.subject)
        super().send_message(details)


def worker_threads(name: str) -> list[str]:
    """Return the threads that deliver to a handler."""
    return [each.name for each in threading.enumerate() if each.name == f"supervisor {name}"]
