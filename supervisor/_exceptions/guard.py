"""The one place that stops whatever a hostile exception raises while it is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def attempt(make: Callable[..., T], *arguments: Any, otherwise: T) -> T:
    """Return what a function makes, or something else where it raises.

    What is looked at is a script's: it may raise whatever it likes, memory may be gone, and the stack exhausted.

    Args:
        make: The function.
        arguments: What it gets.
        otherwise: What is returned instead.
    """
    try:
        return make(*arguments)
    except BaseException:  # noqa: BLE001 - the run's boundary: no fault of a report may replace what it is about
        return otherwise
