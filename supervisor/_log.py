"""Supervisor's own log, on the logger ``supervisor``.

A log that cannot be written (a full disk, a handler that raises) must stop neither the script nor its messages.

``logging`` is imported for the first warning, unless the script has imported it. Before that, nobody can have set the
level of the logger, so that information below a warning is not logged; a script without warnings never imports it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from sys import modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

_INFO, _WARNING, _ERROR = 20, 30, 40  # the numbers that logging documents for its levels


def is_followed() -> bool:
    """Return whether information below warnings is logged."""
    return "logging" in modules and _loaded().isEnabledFor(_INFO)


def info(text: str, *facts: object) -> None:
    """Log at level INFO."""
    if is_followed():
        _log(_INFO, text, facts)


def warning(text: str, *facts: object) -> None:
    """Log at level WARNING: something to correct at some time."""
    _log(_WARNING, text, facts)


def error(text: str, *facts: object) -> None:
    """Log at level ERROR: something that must be corrected."""
    _log(_ERROR, text, facts)


def _log(level: int, text: str, facts: tuple[object, ...]) -> None:
    with suppress(Exception):
        try:
            from supervisor._forks import delaying_forks

            logger = _loaded()
        except (ImportError, OSError, MemoryError):  # a script that has opened too many files cannot import anything
            if sys.stderr is not None:
                print(text % facts if facts else text, file=sys.stderr)  # noqa: T201 - what logging does without a handler
        else:
            with delaying_forks():
                logger.log(level, text, *facts, stacklevel=3)


@cache  # each run asks for the level
def _loaded() -> logging.Logger:
    import logging

    return logging.getLogger("supervisor")
