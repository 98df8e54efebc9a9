"""A few file descriptors kept free for the failure message of a script that has used up all others.

"Too many open files" is an ordinary end of a script. To tell of it takes files: modules that are loaded only then, a
connection to the mail server.
"""

from __future__ import annotations

import os
from contextlib import suppress

_COUNT = 8

_kept: list[int] = []


def keep() -> None:
    """Take hold of them, unless that is so already; where there are none left, do without."""
    if not _kept:
        with suppress(OSError):
            _kept.append(os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
            while len(_kept) < _COUNT:
                _kept.append(os.dup(_kept[0]))  # as good as opening it again, and a tenth of the time


def release() -> None:
    """Let go of them, so that what follows can be told."""
    while _kept:
        with suppress(OSError, IndexError):  # another thread, or a script that closes all descriptors, was first
            os.close(_kept.pop())
