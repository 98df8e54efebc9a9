"""What is shown of a frame of a traceback: its source code, with marks below what failed, and its local variables.

No code of the script is executed for it: a ``__repr__`` may query a database, wait for a lock or return a gigabyte.
Therefore objects are shown by their attributes, large ones by their type and size, and only Python's own values by
their ``repr``.
"""

from __future__ import annotations

import linecache
import re
import sys
from contextlib import suppress
from datetime import date, time, timedelta
from enum import Enum
from itertools import chain, islice
from types import BuiltinFunctionType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from supervisor._exceptions.facts import beginning, fit_line, is_array, shape_text, type_name
from supervisor._exceptions.frames import CodeOwner, Frame, owner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from supervisor._exceptions.frames import Step
    from supervisor._redaction import Redactor

SOURCE_LINE_LIMIT = 200
AROUND = 2
"""How many lines are shown before and after the one that failed."""

_NEAR = 5  # so many lines around are redacted together, since a value may be on another line than its key
_FAR = 80  # so many in a file with a private key, which has many lines
_FAR_LIMIT = 100_000
_KEY = "-----BEGIN "


class Sources:
    """The source files of one traceback; each is read once.

    Args:
        redactor: Removes secrets from lines; None keeps them.
    """

    def __init__(self, redactor: Redactor | None) -> None:
        self._redactor = redactor
        self._files: dict[str, tuple[list[str], int]] = {}

    def step_lines(self, step: Step, *, marked: bool) -> list[str]:
        """Return a step of a traceback as Python shows it. It never raises.

        Args:
            step: The step.
            marked: Whether marks are shown below the part of the line that failed.
        """
        if not isinstance(step, Frame):
            return [f"  ... {step.text}"]
        try:
            return self._frame_lines(step, marked=marked)
        except BaseException:  # noqa: BLE001 - the run's boundary: a fault of a report must not replace the error itself
            return ["  ... a frame that cannot be shown"]

    def _frame_lines(self, frame: Frame, *, marked: bool) -> list[str]:
        lines = [f'  File "{frame.path}", line {frame.line}, in {frame.function}']
        line = self._line(frame)
        if line:
            lines.append(f"    {self._beginning(line)}")
            marks = self._marks(frame, line) if marked and frame.is_script else ""
            lines += [f"    {marks}"] if marks else []
        return lines

    def _line(self, frame: Frame) -> str:
        """Return the source line of a frame; "" if it cannot be read.

        It may contain secrets, but none that can be recognized only by the lines around it.
        """
        lines, reach = self._file(frame)
        if not 0 < frame.line <= len(lines):
            return ""
        if reach == _FAR:
            return _clean(lines, frame.line, frame.line, self._redactor, reach)[0]
        return lines[frame.line - 1].rstrip()

    def _beginning(self, line: str) -> str:
        """Return a line without its indentation; only the beginning of a long one, without secrets."""
        text = line.strip()
        return text if len(text) <= SOURCE_LINE_LIMIT else fit_line(text, SOURCE_LINE_LIMIT, self._redactor)

    def _marks(self, frame: Frame, line: str) -> str:
        """Return the marks below the part of a line that failed; "" if that is all of it or not known."""
        if len(line) > SOURCE_LINE_LIMIT:
            return ""
        columns = _columns(frame, line)
        if columns is None:
            return ""
        start, end = columns
        indentation = len(line) - len(line.lstrip())
        if start <= indentation and end >= len(line):
            return ""
        return " " * _width(line[indentation:start]) + "^" * _width(line[start:end])

    def excerpt(self, frame: Frame) -> tuple[str, str]:
        """Return the source line of a frame, and the same with the lines around it, numbered; both without secrets."""
        lines, reach = self._file(frame)
        if not 0 < frame.line <= len(lines):
            return "", ""
        first, last = max(1, frame.line - AROUND), min(len(lines), frame.line + AROUND)
        while first < frame.line and not lines[first - 1].strip():
            first += 1
        while last > frame.line and not lines[last - 1].strip():
            last -= 1
        shown = _clean(lines, first, last, self._redactor, reach)
        there, line = shown[frame.line - first], lines[frame.line - 1].rstrip()
        marks = self._marks(frame, line) if there == line.expandtabs() else ""
        return there.strip(), _numbered(shown, first, frame.line, marks)

    def _file(self, frame: Frame) -> tuple[list[str], int]:
        """Return the lines of a frame's file, and how many lines around one are needed to recognize a secret."""
        found = self._files.get(frame.path)
        if found is None:
            lines = _read(frame)
            has_key = self._redactor is not None and any(_KEY in each for each in lines)
            found = self._files[frame.path] = lines, _FAR if has_key else _NEAR
        return found


def _read(frame: Frame) -> list[str]:
    """Return the current lines of a frame's file; [] if they cannot be read."""
    try:
        linecache.checkcache(frame.path)
        if frame.path not in linecache.cache:
            linecache.lazycache(frame.path, frame.trace.tb_frame.f_globals)  # for a module in a ZIP file
        return linecache.getlines(frame.path)
    except Exception:  # noqa: BLE001 - the run's boundary: a module's own loader may raise, and a path may be invalid
        return []


def _columns(frame: Frame, line: str) -> tuple[int, int] | None:
    """Return the beginning and end of the part of a line that failed, in characters; None if not known."""
    position = next(islice(frame.code.co_positions(), frame.trace.tb_lasti // 2, None), None)
    if position is None:
        return None
    first, last, start, end = position
    if first != frame.line or last is None or start is None or end is None:
        return None
    if not line.isascii():  # Python gives the columns in bytes
        data = line.encode("utf-8", "surrogatepass")
        start, end = (len(data[:at].decode("utf-8", "replace")) for at in (start, end))
    if last != first:
        end = len(line)
    return (start, end) if start < end <= len(line) else None


def _width(text: str) -> int:
    """Return how many columns a text takes; East Asian characters take two."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(each) in "WF" else 1 for each in text)


def _clean(lines: list[str], first: int, last: int, redactor: Redactor | None, reach: int) -> list[str]:
    """Return lines without secrets, bounded; they are redacted together with the lines around them."""
    shown = [each.rstrip() for each in lines[first - 1 : last]]
    if redactor is not None:
        start = max(0, first - 1 - reach)
        around = "\n".join(each.rstrip() for each in lines[start : last + reach])
        if len(around) > _FAR_LIMIT:  # generated code
            shown = [fit_line(each, SOURCE_LINE_LIMIT, redactor) for each in shown]
        else:
            shown = _clean_within(around, first - 1 - start, shown, redactor)
    return [fit_line(each.expandtabs(), SOURCE_LINE_LIMIT, None) for each in shown]


def _clean_within(around: str, at: int, shown: list[str], redactor: Redactor) -> list[str]:
    """Return lines without the secrets that are found in the whole text around them.

    Args:
        around: The lines around, including these.
        at: The number of lines before these.
        shown: The lines.
        redactor: Removes the secrets.
    """
    redacted = redactor.text(around)
    after = redacted.split("\n")
    if len(after) == around.count("\n") + 1:
        return after[at : at + len(shown)]
    # A secret of several lines was replaced by one marker; only lines that still occur were not part of it.
    left = set(after)
    return [each if each in left else "[redacted]" for each in shown]


def _numbered(lines: list[str], first: int, failed: int, marks: str) -> str:
    """Return lines with their numbers, without common indentation; ">" marks the one that failed."""
    shared = min((len(each) - len(each.lstrip()) for each in lines if each.strip()), default=0)
    digits = len(str(first + len(lines) - 1))
    numbered = []
    for number, line in enumerate(lines, first):
        sign = ">" if number == failed else " "
        numbered.append(f"{sign} {number:>{digits}} | {line[shared:]}".rstrip())
        if number == failed and marks:
            indentation = len(line) - len(line.lstrip()) - shared
            numbered.append(f"  {'':>{digits}} | {' ' * indentation}{marks}")
    return "\n".join(numbered)


# Local variables

PYTHON_VALUES = frozenset({"datetime", "decimal", "fractions", "uuid", "pathlib", "pathlib._local", "ipaddress"})
"""Modules of Python whose values have a short ``repr``."""


def own_repr(kind: type, value: object) -> str:
    """Return the ``repr`` of a value by Python's own class, ignoring that of a class derived from it."""
    modules = ("builtins", *PYTHON_VALUES)
    base = next(each for each in kind.__mro__ if each.__module__ in modules and "__repr__" in vars(each))
    text: str = vars(base)["__repr__"](value)
    return text


def is_date(kind: type) -> bool:
    """Return whether a class is one of dates or times."""
    return issubclass(kind, (date, time, timedelta))


def array_text(kind: type, value: Any) -> str:
    """Return the type and shape of a table or array; for a scalar, its value."""
    if getattr(value, "shape", None) == ():
        item = value.item()
        is_plain = type(item) in (bool, int, float, complex) or is_date(type(item))
        return repr(item) if is_plain else f"<{type_name(kind)}>"
    shape = shape_text(value)
    return f"<{type_name(kind)}, {shape}>" if shape else f"<{type_name(kind)}>"


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
        """Return the value of a variable, in at most 200 characters and on one line. It never raises."""
        self._room = _ENOUGH
        try:
            shown = self._of(name if self._is_secret(name) else "", value, _DEEPEST)
            return fit_line(shown, SHOWN_LIMIT, self._redactor)
        except BaseException:  # noqa: BLE001 - the run's boundary: an object of the script may raise anything
            return "<it cannot be shown>"

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


# What IPython keeps among the variables of a notebook: what was entered, what came out, and a few commands.
_OF_IPYTHON = re.compile(r"In|Out|exit|quit|get_ipython|open|_+|_(?:ih|oh|dh|i{1,3}|i?\d+|exit_code)")


def local_variables(frame: FrameType, formatter: ValueFormatter, most: int = MOST_VARIABLES) -> list[tuple[str, str]]:
    """Return names and values of the local variables of a frame, in their order.

    Modules, functions, classes and names with two underscores on both sides are left out.

    Args:
        frame: The frame.
        formatter: Formats the values, without secrets.
        most: How many are returned; if there are more, the last one says so.
    """
    items = _items(frame.f_locals)
    of_notebook = "get_ipython" in (name for name, _ in items)
    variables = [
        (name, value)
        for name, value in items
        if _is_of_interest(name, value) and not (of_notebook and _OF_IPYTHON.fullmatch(name))
    ]
    left_out = len(variables) - most
    shown = [
        (fit_line(name, _NAME_LIMIT, None), formatter.text(name, value))
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
