"""Whether a stream is a terminal, whether it shows colours, and whether a person may be watching."""

from __future__ import annotations

import os
import sys
from typing import Any


def is_terminal(stream: Any) -> bool:
    """Tell whether a stream, or a descriptor, is a terminal; a stream that is closed, missing or custom is none."""
    try:
        return os.isatty(stream) if isinstance(stream, int) else bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False


def shows_colour(stream: Any) -> bool:
    """Tell whether a stream is a terminal with colours, and the user did not turn them off (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and _can_move_cursor()


def is_watched() -> bool:
    """Tell whether a person may be watching a live display: stderr is a terminal that can move its cursor."""
    return is_terminal(sys.stderr) and _can_move_cursor()


def _can_move_cursor() -> bool:
    return os.environ.get("TERM") != "dumb"
