"""Lower the level of loggers while runs keep their own logs, and put it back exactly as it was found."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Info(int):
    """INFO, as only this module sets it: a script that sets INFO by itself is told apart, and left alone."""


_LOWERED = _Info(logging.INFO)

# For each logger, the level that was found, and how many runs want it lower. Changed under the lock of the caller.
_found: dict[logging.Logger, list[int]] = {}


def lower(names: Iterable[str]) -> list[logging.Logger]:
    """Let loggers say what is INFO, if the level in force for them is WARNING: Python's default.

    Args:
        names: Their names; "" for the root logger.

    Returns:
        What :func:`give_back` takes.
    """
    loggers = [logging.getLogger(name or None) for name in names]
    quiet = [each for each in loggers if each in _found or _level_as_found(each) == logging.WARNING]
    for logger in quiet:
        if logger in _found:
            _found[logger][1] += 1
        else:
            _found[logger] = [logger.level, 1]
            logger.setLevel(_LOWERED)
    return quiet


def give_back(loggers: Iterable[logging.Logger]) -> None:
    """Undo :func:`lower`; a level that the script set meanwhile stays."""
    for logger in loggers:
        entry = _found[logger]
        entry[1] -= 1
        if not entry[1]:
            del _found[logger]
            if logger.level is _LOWERED:
                logger.setLevel(entry[0])


def lets_through(logger: logging.Logger, level: int) -> bool:
    """Tell whether a logger would let a record through if nothing had been lowered."""
    return level >= logging.WARNING or not _found or level >= _level_as_found(logger)


def _level_as_found(logger: logging.Logger) -> int:
    """Return the level in force for a logger, as the script has it."""
    each: logging.Logger | None = logger
    while each is not None:
        level = each.level
        if level is _LOWERED:
            level = _found.get(each, [logging.WARNING])[0]
        if level:
            return level
        each = each.parent
    return logging.NOTSET
