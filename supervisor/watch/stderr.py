"""Whether a person may be looking."""

from __future__ import annotations

import os
import sys


def is_watched() -> bool:
    """Tell whether a person may be looking: stderr is a terminal that can move its cursor."""
    try:
        return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False
