"""What supervisor says of itself, on the logger ``supervisor``.

A log that cannot be written (a full disk, a handler that raises) must stop neither a script nor its messages.

``logging`` is loaded for the first warning, unless the script has loaded it: until somebody has, nobody can have asked
for less important news, and a script that only prints never loads it.
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
    """Tell whether anybody hears more than warnings."""
    return "logging" in modules and _loaded().isEnabledFor(_INFO)


def info(text: str, *facts: object) -> None:
    """Log what a person may want to follow."""
    if is_followed():
        _say(_INFO, text, facts)


def warning(text: str, *facts: object) -> None:
    """Log what a person should mend some day."""
    _say(_WARNING, text, facts)


def error(text: str, *facts: object) -> None:
    """Log what a person has to mend."""
    _say(_ERROR, text, facts)


def _say(level: int, text: str, facts: tuple[object, ...]) -> None:
    with suppress(Exception):
        try:
            from supervisor._forks import delaying_forks

            logger = _loaded()
        except (ImportError, OSError, MemoryError):  # a script that has used up its files cannot load anything
            if sys.stderr is not None:
                print(text % facts if facts else text, file=sys.stderr)  # noqa: T201 - as logging does for nobody
        else:
            with delaying_forks():
                logger.log(level, text, *facts, stacklevel=3)


@cache  # every run asks whether it is followed
def _loaded() -> logging.Logger:
    import logging

    return logging.getLogger("supervisor")
