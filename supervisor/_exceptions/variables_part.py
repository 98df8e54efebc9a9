"""The local variables of a frame, in short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor._exceptions.guard import attempt
from supervisor._exceptions.plain import fit_line
from supervisor._exceptions.variables import NAMED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from supervisor._exceptions.variables import Shower

MOST_VARIABLES = 30
_NAME_LIMIT = 60


def local_variables(frame: FrameType, shower: Shower, most: int = MOST_VARIABLES) -> list[tuple[str, str]]:
    """Return names and values of what a frame has in its variables, in their order.

    Modules, functions, classes and names with two underscores on both sides are left out.

    Args:
        frame: The frame.
        shower: Says what they hold, without secrets.
        most: How many; where there are more, the last one says so.
    """
    variables = [(name, value) for name, value in _items(frame.f_locals) if _is_of_interest(name, value)]
    left_out = len(variables) - most
    shown = [
        (fit_line(name, _NAME_LIMIT, None), attempt(shower.show, name, value, otherwise="<it cannot be shown>"))
        for name, value in (variables if left_out <= 0 else variables[: most - 1])
    ]
    return shown if left_out <= 0 else [*shown, ("...", f"{left_out + 1:,} more")]


def _items(namespace: Any) -> Iterable[tuple[Any, Any]]:
    """Return names and values, without asking what a metaclass may have put in the place of a dictionary."""
    if issubclass(type(namespace), dict):
        return list(dict.items(namespace))
    return list(namespace.items()) if type(namespace).__name__ == "FrameLocalsProxy" else []


def _is_of_interest(name: object, value: object) -> bool:
    if type(name) is not str or not name.isidentifier() or (name.startswith("__") and name.endswith("__")):
        return False
    return not issubclass(type(value), NAMED)
