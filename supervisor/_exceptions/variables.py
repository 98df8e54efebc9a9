"""What local variables hold, in short, without running any code of the script.

A ``__repr__`` may ask a database, wait for a lock or make a gigabyte. So objects are shown by their attributes, large
ones by their type and size, and only Python's own values as they are.
"""

from __future__ import annotations

from enum import Enum
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from supervisor._exceptions.objects import (
    PYTHON_VALUES,
    array,
    attributes,
    is_array,
    is_date,
    is_open,
    own_repr,
)
from supervisor._exceptions.plain import beginning, fit_line, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from supervisor._redaction import Redactor

SHOWN_LIMIT = 200
NAMED = (ModuleType, FunctionType, BuiltinFunctionType, MethodType, type)
"""What has a name of its own, which is all that is to be said of it."""

_MOST_ITEMS = 50  # of a larger container only its size is told
_MOST_ATTRIBUTES = 10
_DEEPEST = 4
_ENOUGH = 5 * SHOWN_LIMIT  # more is never shown
_LARGEST_INT_BITS = 1_000
_SHORTEST_SECRET = 6  # by itself, without a name that tells
_BRACKETS = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}
_SIZED = frozenset({"collections", "array"})
_PROBE = "xq7Kd2Vw9"


class Shower:
    """Says what values are.

    Args:
        redactor: Takes secrets out, by the names and by the looks of values; None leaves them.
    """

    def __init__(self, redactor: Redactor | None) -> None:
        self._redactor = redactor
        self._room = 0
        self._names: dict[str, bool] = {}
        self._ways: tuple[tuple[Any, Callable[[str, type, Any, int], str]], ...] = (
            (Enum, _member),
            (str, self._text),
            ((int, float, complex, type(None)), self._number),
            ((bytes, bytearray), _bytes),
            ((dict, *_BRACKETS), self._container),
            (NAMED, _named),
            (BaseException, self._exception),
            (object, self._object),
        )

    def show(self, name: str, value: object) -> str:
        """Return what a variable holds, in at most 200 characters and on one line."""
        self._room = _ENOUGH
        return fit_line(self._of(name if self._tells(name) else "", value, _DEEPEST), SHOWN_LIMIT, self._redactor)

    def _of(self, key: str, value: Any, depth: int) -> str:
        """Return what a value is; ``key`` is the name that tells that it is secret, or ""."""
        kind = type(value)  # not its __class__, which a script may have made a property
        shown = next(way for bases, way in self._ways if issubclass(kind, bases))(key, kind, value, depth)
        self._room -= len(shown)
        return shown

    def _text(self, key: str, _kind: type, value: Any, _depth: int) -> str:
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
            return array(kind, value)
        if not is_open(kind) or "secret" in kind.__qualname__.lower():  # made to hide what it holds
            return f"<{type_name(kind)}>"
        found = self._joined(self._fields(key, islice(attributes(kind, value), _MOST_ATTRIBUTES), depth - 1))
        return f"<{type_name(kind)}{' ' if found else ''}{found}>"

    def _pairs(self, key: str, items: Iterable[tuple[Any, Any]], depth: int) -> Iterator[str]:
        for name, value in items:
            text = str.__str__(name) if issubclass(type(name), str) else ""
            own = text if text and self._tells(text) else key
            yield f"{self._of('', name, depth - 1)}: {self._of(own, value, depth - 1)}"

    def _fields(self, key: str, fields: Iterable[tuple[str, Any]], depth: int) -> Iterator[str]:
        if depth <= 0:
            return
        for name, value in fields:
            yield f"{name}={self._of(name if self._tells(name) else key, value, depth - 1)}"

    def _joined(self, parts: Iterable[str]) -> str:
        """Return parts with commas; no more than can be shown."""
        some: list[str] = []
        for each in parts:
            some.append(each)
            if self._room <= 0:
                some.append("...")
                break
        return ", ".join(some)

    def _tells(self, name: str) -> bool:
        """Tell whether a name says that its value is secret."""
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
