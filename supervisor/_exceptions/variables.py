"""Local variables as short texts, without executing any code of the script.

A ``__repr__`` may query a database, wait for a lock or return a gigabyte. Therefore objects are shown by their
attributes, large ones by their type and size, and only Python's own values by their ``repr``.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import date, time, timedelta
from enum import Enum
from itertools import chain, islice
from types import BuiltinFunctionType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from supervisor._exceptions.chain import safe_result
from supervisor._exceptions.frames import CodeOwner, owner_of
from supervisor._exceptions.plain import beginning, fit_line, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from supervisor._redaction import Redactor

PYTHON_VALUES = frozenset({"datetime", "decimal", "fractions", "uuid", "pathlib", "pathlib._local", "ipaddress"})
"""Modules of Python whose values have a short ``repr``."""

_ARRAYS = ("numpy", "pandas", "polars", "pyarrow", "torch", "xarray", "geopandas", "scipy", "jax", "tensorflow", "dask")


def own_repr(kind: type, value: object) -> str:
    """Return the ``repr`` of a value by Python's own class, ignoring that of a class derived from it."""
    modules = ("builtins", *PYTHON_VALUES)
    base = next(each for each in kind.__mro__ if each.__module__ in modules and "__repr__" in vars(each))
    text: str = vars(base)["__repr__"](value)
    return text


def is_date(kind: type) -> bool:
    """Return whether a class is one of dates or times."""
    return issubclass(kind, (date, time, timedelta))


def is_array(kind: type) -> bool:
    """Return whether a class comes from a library for tables and arrays, whose ``repr`` may take long."""
    return any(each.__module__.partition(".")[0] in _ARRAYS for each in kind.__mro__)


def array_text(kind: type, value: Any) -> str:
    """Return the type and shape of a table or array; for a scalar, its value."""
    shape = getattr(value, "shape", None)
    if shape == ():
        item = value.item()
        is_plain = type(item) in (bool, int, float, complex) or is_date(type(item))
        return repr(item) if is_plain else f"<{type_name(kind)}>"
    if isinstance(shape, tuple) and all(isinstance(each, int) for each in shape):
        return f"<{type_name(kind)}, {' x '.join(f'{each:,}' for each in shape)}>"
    return f"<{type_name(kind)}>"


def shows_attributes(kind: type) -> bool:
    """Return whether the attributes of a class's objects are shown: those of data classes and the script's classes."""
    if hasattr(kind, "__attrs_attrs__") or hasattr(kind, "__dataclass_fields__"):
        return True
    path = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return kind.__module__ != "builtins" and (path is None or owner_of(path)[0] is CodeOwner.SCRIPT)


def attributes(kind: type, value: object) -> Iterator[tuple[str, Any]]:
    """Yield names and values of an object's attributes and slots, without calling methods of the object.

    Fields that its class excludes from its ``repr`` are left out.
    """
    hidden = _hidden(kind)
    for name, attribute in chain(_slots(kind, value), _instance_dict(value)):
        if name not in hidden:
            yield name, attribute


def _slots(kind: type, value: object) -> Iterator[tuple[str, Any]]:
    for each in reversed(kind.__mro__):
        for name, slot in vars(each).items():
            if type(slot) is MemberDescriptorType and name != "__weakref__":
                with suppress(AttributeError):  # the slot is empty
                    yield name, slot.__get__(value)


def _instance_dict(value: object) -> Iterable[tuple[str, Any]]:
    try:
        return list(dict.items(object.__getattribute__(value, "__dict__")))
    except AttributeError:
        return ()


def _hidden(kind: type) -> set[str]:
    """Return the fields of a class of attrs or dataclasses that have ``repr=False``."""
    fields = [*getattr(kind, "__attrs_attrs__", ()), *getattr(kind, "__dataclass_fields__", {}).values()]
    return {each.name for each in fields if not each.repr}


SHOWN_LIMIT = 200
NAMED = (ModuleType, FunctionType, BuiltinFunctionType, MethodType, type)
"""Values that are shown by their names."""

_MOST_ITEMS = 50  # of a larger container, only the size is shown
_MOST_ATTRIBUTES = 10
_DEEPEST = 4
_ENOUGH = 5 * SHOWN_LIMIT  # no more text is built, since it would be cut
_LARGEST_INT_BITS = 1_000
_SHORTEST_SECRET = 6  # a shorter text is no secret by itself
_BRACKETS = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}
_SIZED = frozenset({"collections", "array"})
_PROBE = "xq7Kd2Vw9"


class ValueFormatter:
    """Formats values as short texts.

    Args:
        redactor: Removes secrets, by the names of values and by their form; None keeps them.
    """

    def __init__(self, redactor: Redactor | None) -> None:
        self._redactor = redactor
        self._room = 0
        self._names: dict[str, bool] = {}
        self._formats: tuple[tuple[Any, Callable[[str, type, Any, int], str]], ...] = (
            (Enum, _member),
            (str, self._string),
            ((int, float, complex, type(None)), self._number),
            ((bytes, bytearray), _bytes),
            ((dict, *_BRACKETS), self._container),
            (NAMED, _named),
            (BaseException, self._exception),
            (object, self._object),
        )

    def text(self, name: str, value: object) -> str:
        """Return the value of a variable, in at most 200 characters and on one line."""
        self._room = _ENOUGH
        return fit_line(self._of(name if self._is_secret(name) else "", value, _DEEPEST), SHOWN_LIMIT, self._redactor)

    def _of(self, key: str, value: Any, depth: int) -> str:
        """Return a value as text; ``key`` is a name that means a secret, or ""."""
        kind = type(value)  # not its __class__, which the script may have overridden
        shown = next(text_of for bases, text_of in self._formats if issubclass(kind, bases))(key, kind, value, depth)
        self._room -= len(shown)
        return shown

    def _string(self, key: str, _kind: type, value: Any, _depth: int) -> str:
        redactor, text = self._redactor, str.__str__(value)
        if redactor is not None and key:
            text = beginning(text, lambda part: str(redactor.value(key, part)))
        return repr(fit_line(text, SHOWN_LIMIT + 1, redactor if len(text) >= _SHORTEST_SECRET else None))

    def _number(self, key: str, kind: type, value: Any, _depth: int) -> str:
        if key and self._redactor is not None and self._redactor.value(key, 5) != 5:  # noqa: PLR2004 - any number
            return str(self._redactor.value(key, 5))
        if issubclass(kind, int) and int.bit_length(value) > _LARGEST_INT_BITS:
            return f"<{type_name(kind)} of {int.bit_length(value):,} bits>"
        base: Any = next(each for each in (bool, int, float, complex, type(None)) if issubclass(kind, each))
        return str(base.__repr__(value))

    def _container(self, key: str, kind: type, value: Any, depth: int) -> str:
        base: Any = next(each for each in (dict, *_BRACKETS) if issubclass(kind, each))
        size = base.__len__(value)
        if not size and kind is base:
            return repr(value)
        if size > _MOST_ITEMS or depth <= 0:
            return f"<{type_name(kind)}, {size:,} item{'' if size == 1 else 's'}>"
        if base is dict:
            shown = self._joined(self._pairs(key, dict.items(value), depth))
            return shown.join("{}") if kind is dict else f"{type_name(kind)}({shown.join('{}')})"
        return self._items(key, kind, base, value, depth)

    def _items(self, key: str, kind: type, base: Any, value: Any, depth: int) -> str:
        names = vars(kind).get("_fields") if base is tuple else None
        if isinstance(names, tuple) and len(names) == len(value):
            fields = self._fields(key, zip(map(str, names), tuple.__iter__(value), strict=True), depth)
            return f"{type_name(kind)}({self._joined(fields)})"
        shown = self._joined(self._of(key, each, depth - 1) for each in base.__iter__(value))
        if base is tuple and tuple.__len__(value) == 1:
            shown += ","
        shown = shown.join(_BRACKETS[base])
        return shown if kind in (list, tuple, set) else f"{type_name(kind)}({shown})"

    def _exception(self, key: str, kind: type, value: Any, depth: int) -> str:
        arguments = vars(BaseException)["args"].__get__(value) if depth > 0 else ()
        return f"{type_name(kind)}({self._joined(self._of(key, each, depth - 1) for each in arguments)})"

    def _object(self, key: str, kind: type, value: Any, depth: int) -> str:
        if kind is range or is_date(kind) or kind.__module__ in PYTHON_VALUES:
            return own_repr(kind, value)
        if kind.__module__ in _SIZED:
            return f"<{type_name(kind)}, {len(value):,} items>"
        if is_array(kind):
            return array_text(kind, value)
        if not shows_attributes(kind) or "secret" in kind.__qualname__.lower():  # a class that hides a secret
            return f"<{type_name(kind)}>"
        found = self._joined(self._fields(key, islice(attributes(kind, value), _MOST_ATTRIBUTES), depth - 1))
        return f"<{type_name(kind)}{' ' if found else ''}{found}>"

    def _pairs(self, key: str, items: Iterable[tuple[Any, Any]], depth: int) -> Iterator[str]:
        for name, value in items:
            text = str.__str__(name) if issubclass(type(name), str) else ""
            own = text if text and self._is_secret(text) else key
            yield f"{self._of('', name, depth - 1)}: {self._of(own, value, depth - 1)}"

    def _fields(self, key: str, fields: Iterable[tuple[str, Any]], depth: int) -> Iterator[str]:
        if depth <= 0:
            return
        for name, value in fields:
            yield f"{name}={self._of(name if self._is_secret(name) else key, value, depth - 1)}"

    def _joined(self, parts: Iterable[str]) -> str:
        """Return parts separated by commas, until there is enough text."""
        some: list[str] = []
        for each in parts:
            some.append(each)
            if self._room <= 0:
                some.append("...")
                break
        return ", ".join(some)

    def _is_secret(self, name: str) -> bool:
        """Return whether a name means that its value is secret."""
        if self._redactor is None:
            return False
        if name not in self._names:
            self._names[name] = self._redactor.value(name, _PROBE) != _PROBE
        return self._names[name]


def _member(key: str, kind: type, value: Any, depth: int) -> str:
    return f"{type_name(kind)}.{object.__getattribute__(value, '__dict__').get('_name_')}"


def _bytes(key: str, kind: type, value: Any, depth: int) -> str:
    return f"<{type_name(kind)}, {len(value):,} bytes>"


def _named(key: str, kind: type, value: Any, depth: int) -> str:
    is_class = issubclass(kind, type)
    return f"<{'class' if is_class else kind.__name__} {type_name(value) if is_class else value.__name__}>"


MOST_VARIABLES = 30
_NAME_LIMIT = 60


def local_variables(frame: FrameType, formatter: ValueFormatter, most: int = MOST_VARIABLES) -> list[tuple[str, str]]:
    """Return names and values of the local variables of a frame, in their order.

    Modules, functions, classes and names with two underscores on both sides are left out.

    Args:
        frame: The frame.
        formatter: Formats the values, without secrets.
        most: How many are returned; if there are more, the last one says so.
    """
    variables = [(name, value) for name, value in _items(frame.f_locals) if _is_of_interest(name, value)]
    left_out = len(variables) - most
    shown = [
        (fit_line(name, _NAME_LIMIT, None), safe_result(formatter.text, name, value, otherwise="<it cannot be shown>"))
        for name, value in (variables if left_out <= 0 else variables[: most - 1])
    ]
    return shown if left_out <= 0 else [*shown, ("...", f"{left_out + 1:,} more")]


def _items(namespace: Any) -> Iterable[tuple[Any, Any]]:
    """Return names and values; none if a metaclass has replaced the dictionary by an object of its own."""
    if issubclass(type(namespace), dict):
        return list(dict.items(namespace))
    return list(namespace.items()) if type(namespace).__name__ == "FrameLocalsProxy" else []


def _is_of_interest(name: object, value: object) -> bool:
    if type(name) is not str or not name.isidentifier() or (name.startswith("__") and name.endswith("__")):
        return False
    return not issubclass(type(value), NAMED)
