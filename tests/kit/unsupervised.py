"""What supervisor's names are for a script without supervision: nothing at all."""

from __future__ import annotations

import contextlib
from typing import Any


class NoRun:
    """Takes what a script says to its run."""

    def track(self, iterable: Any, *rest: Any, **more: Any) -> Any:
        """Return what is looped over."""
        return iterable

    def __getattr__(self, name: str) -> Any:
        return lambda *rest, **more: None


def supervised(*settings: Any, **more_settings: Any) -> Any:
    """Return the function as it is."""
    return settings[0] if settings and callable(settings[0]) else lambda function: function


def supervise(*settings: Any, **more_settings: Any) -> Any:
    """Return a block that does nothing."""
    return contextlib.nullcontext(NoRun())


def Supervisor(*settings: Any, **more_settings: Any) -> None:  # noqa: N802 - the name that it stands for
    """Do nothing."""
