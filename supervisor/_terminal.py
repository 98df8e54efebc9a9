"""Whether a person may be looking."""

from __future__ import annotations

import os
import sys
from typing import Any


def is_watched() -> bool:
    """Tell whether a person may be looking: stderr is a terminal that can move its cursor."""
    return is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"


def is_terminal(stream: Any) -> bool:
    """Tell whether a stream is a terminal; one that is closed, missing or of the script's own make is none."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False
