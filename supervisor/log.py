"""What supervisor says of itself, on the logger ``supervisor``.

A log that cannot be written (a full disk, a handler that raises) must stop neither a script nor its messages.
"""

from __future__ import annotations

import logging
from contextlib import suppress

logger = logging.getLogger("supervisor")


def info(text: str, *facts: object) -> None:
    """Log what a person may want to follow."""
    if logger.isEnabledFor(logging.INFO):
        with suppress(Exception):
            logger.info(text, *facts, stacklevel=2)


def warning(text: str, *facts: object, exc_info: bool = False) -> None:
    """Log what a person should mend some day."""
    with suppress(Exception):
        logger.warning(text, *facts, exc_info=exc_info, stacklevel=2)


def error(text: str, *facts: object) -> None:
    """Log what a person has to mend."""
    with suppress(Exception):
        logger.error(text, *facts, stacklevel=2)
