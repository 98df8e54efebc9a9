"""What an object is, told without asking it: its own class may do anything when it is asked."""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import chain
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

from supervisor._exceptions.frames import Owner, place_of
from supervisor._exceptions.plain import type_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PYTHON_VALUES = frozenset({"datetime", "decimal", "fractions", "uuid", "pathlib", "pathlib._local", "ipaddress"})
"""Modules of Python whose values say in a few words what they are."""

_ARRAYS = ("numpy", "pandas", "polars", "pyarrow", "torch", "xarray", "geopandas", "scipy", "jax", "tensorflow", "dask")


def own_repr(kind: type, value: object) -> str:
    """Return what Python's own class says of a value, whatever a class derived from it says."""
    modules = ("builtins", *PYTHON_VALUES)
    base = next(each for each in kind.__mro__ if each.__module__ in modules and "__repr__" in vars(each))
    text: str = vars(base)["__repr__"](value)
    return text


def is_date(kind: type) -> bool:
    """Tell whether a class is one of dates or times, without loading their module for those who have none."""
    datetime = sys.modules.get("datetime")
    return datetime is not None and issubclass(kind, (datetime.date, datetime.time, datetime.timedelta))


def is_array(kind: type) -> bool:
    """Tell whether a class comes from a library for tables and numbers, whose texts may be long in the making."""
    return any(each.__module__.partition(".")[0] in _ARRAYS for each in kind.__mro__)


def array(kind: type, value: Any) -> str:
    """Return the type and the shape of what a library for tables and numbers has; of its scalars what they are."""
    shape = getattr(value, "shape", None)
    if shape == ():
        item = value.item()
        is_plain = type(item) in (bool, int, float, complex) or is_date(type(item))
        return repr(item) if is_plain else f"<{type_name(kind)}>"
    if isinstance(shape, tuple) and all(isinstance(each, int) for each in shape):
        return f"<{type_name(kind)}, {' x '.join(f'{each:,}' for each in shape)}>"
    return f"<{type_name(kind)}>"


def is_open(kind: type) -> bool:
    """Tell whether the attributes of a class's objects say something to a reader: those of libraries rarely do."""
    if hasattr(kind, "__attrs_attrs__") or hasattr(kind, "__dataclass_fields__"):
        return True
    path = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return kind.__module__ != "builtins" and (path is None or place_of(path)[0] is Owner.SCRIPT)


def attributes(kind: type, value: object) -> Iterator[tuple[str, Any]]:
    """Yield names and values of an object's attributes, those in slots too, without asking the object.

    What its class leaves out of its ``repr`` is left out.
    """
    hidden = _hidden(kind)
    for name, attribute in chain(_slots(kind, value), _instance_dict(value)):
        if name not in hidden:
            yield name, attribute


def _slots(kind: type, value: object) -> Iterator[tuple[str, Any]]:
    for each in reversed(kind.__mro__):
        for name, slot in vars(each).items():
            if type(slot) is MemberDescriptorType and name != "__weakref__":
                with suppress(AttributeError):  # it has no value
                    yield name, slot.__get__(value)


def _instance_dict(value: object) -> Iterable[tuple[str, Any]]:
    try:
        return list(dict.items(object.__getattribute__(value, "__dict__")))
    except AttributeError:
        return ()


def _hidden(kind: type) -> set[str]:
    """Return the fields that attrs and dataclasses were told to keep out of texts."""
    fields = [*getattr(kind, "__attrs_attrs__", ()), *getattr(kind, "__dataclass_fields__", {}).values()]
    return {each.name for each in fields if not each.repr}
