"""The one way for tests to wait: for something that comes true, at most as long as a busy machine may need."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 60.0
"""After so long a test fails instead of waiting on."""


def wait_until(condition: Callable[[], object], what: str = "it never came true") -> None:
    """Return as soon as a condition holds.

    Args:
        condition: It is asked every few milliseconds.
        what: What the test says if it never holds.
    """
    until_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until_s, what
        time.sleep(0.005)


def let_time_pass(seconds: float, why: str) -> None:
    """Wait a fixed time: only where a test's work takes time, or to see that nothing comes.

    Args:
        seconds: How long. What does come is waited for with :func:`wait_until`.
        why: What takes the time, or what must not come in it.
    """
    assert why
    time.sleep(seconds)
