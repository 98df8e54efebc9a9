"""Messages and recorded values as JSON, and back, exactly.

JSON knows few types, so what it lacks is tagged: ``{"$": "datetime", "v": "2025-11-24T02:00:00+00:00"}``. What has
no tag is kept as the text that ``repr`` gives, cut to a sane length. The JSON is stored as bytes, since they can
hold every text of Python, lone surrogates included; a column of SQLite's type TEXT cannot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._models.values import MessageDetails

MAX_DEPTH = 20
_MAX_REPR = 2_000
_MAX_PLAIN_INT = 1 << 63  # a longer one goes as hex: Python refuses decimals of more than 4,300 digits

_MODELS = {
    "supervisor._models.values": (
        "Attachment",
        "ErrorDetails",
        "MessageDetails",
        "Progress",
        "RunReport",
        "RunStep",
        "RunWarning",
    ),
    "supervisor._models.parts": ("Bars", "Baseline", "Code", "Facts", "Row", "Summary", "Table", "Text"),
}
"""The frozen values that may be stored, by their modules."""
_MODULE_OF = {name: module for module, names in _MODELS.items() for name in names}
_FORMER_TAGS = {"Account": "Summary", "Usual": "Baseline"}
_FORMER_FIELDS = {"compared": "comparison", "usual": "baselines", "usual_duration": "duration_baseline"}
"""Messages that earlier versions stored have these names; they are still delivered."""


class UnreadableError(ValueError):
    """Tell that stored bytes are not what this version can read."""


def dump(value: Any) -> bytes:
    """Return anything as JSON; never raises for what a script may have recorded."""
    return _TEXT_OF(_packed(value, 0)).encode("utf-8", "surrogatepass")


def load(data: bytes | None) -> Any:
    """Return what :func:`dump` was given.

    Raises:
        UnreadableError: The bytes are not from :func:`dump`, or from one that knew more.
    """
    if data is None:
        raise UnreadableError("nothing is stored")
    try:
        return _unpacked(json.loads(data.decode("utf-8", "surrogatepass")))
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise UnreadableError(f"stored data cannot be read: {type(error).__name__}: {error}") from error


def load_message(data: bytes | None) -> MessageDetails:
    """Return a stored message.

    Raises:
        UnreadableError: The bytes hold no message that this version can read.
    """
    from supervisor._models.values import MessageDetails

    message = load(data)
    if not isinstance(message, MessageDetails):
        raise UnreadableError(f"stored data holds no message but {type(message).__name__}")
    return message


# What is packed has no circles any more: it is cut at a depth.
_TEXT_OF = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_AS_IT_IS = frozenset({str, float, bool, type(None)})


def _packed(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in _AS_IT_IS or (kind is int and -_MAX_PLAIN_INT <= value < _MAX_PLAIN_INT):
        return value
    if depth > MAX_DEPTH:
        return _as_text(value)
    if kind in _FIELDS:
        return _tagged_model(value, depth + 1)
    pack = _PACKER_OF.get(kind)
    if pack is not None:
        return pack(value, depth + 1)
    if isinstance(value, Mapping):
        return _packed_mapping(value, depth + 1)
    return _tagged(value, depth)


def _packed_mapping(value: Mapping[Any, Any], depth: int) -> Any:
    items = [(key, _packed(each, depth)) for key, each in list(value.items())]
    if all(type(key) is str for key, _ in items) and "$" not in value:
        return dict(items)
    return _tag("dict", [[_packed(key, depth), each] for key, each in items])


def _tagged(value: Any, depth: int) -> Any:
    for kind, pack in _PACKERS:
        if isinstance(value, kind):
            return pack(value, depth + 1)
    if _MODULE_OF.get(type(value).__name__) == type(value).__module__:
        return _tagged_model(value, depth + 1)
    return _tagged_number(value)


def _tagged_model(value: Any, depth: int) -> Any:
    # Fields that have their defaults, as most fields of a report do, are left out.
    kind = type(value)
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple((field.name, field.default) for field in kind.__attrs_attrs__)
    fields = {}
    for name, default in _FIELDS[kind]:
        each = getattr(value, name)
        if each is not default:
            fields[name] = each if type(each) in _AS_IT_IS else _packed(each, depth + 1)
    return _tag(kind.__name__, fields)


_FIELDS: dict[type, tuple[tuple[str, Any], ...]] = {}
"""The names and defaults of the fields of the models that were stored before."""


def _tagged_number(value: Any) -> Any:
    """Return a number of some library (numpy's, say) as Python's own, and the rest as text."""
    from decimal import Decimal
    from numbers import Integral, Real

    if isinstance(value, Decimal):
        return _tag("Decimal", str(value))
    if isinstance(value, Integral):
        return _packed(int(value), 0)
    return float(value) if isinstance(value, Real) else _as_text(value)


def _as_text(value: Any) -> str:
    import reprlib  # its repr of an instance survives a __repr__ that raises

    writer = reprlib.Repr()
    writer.maxother = _MAX_REPR
    return writer.repr_instance(value, 1)


def _tag(tag: str, value: Any) -> dict[str, Any]:
    return {"$": tag, "v": value}


def _several(tag: str) -> Callable[[Any, int], Any]:
    return lambda value, depth: _tag(tag, [_packed(each, depth) for each in value])


def _enum(value: Enum, depth: int) -> Any:
    from supervisor._models import Outcome  # Kind needs no tag, its field converts

    return _tag("Outcome", value.value) if isinstance(value, Outcome) else _packed(value.value, depth)


# In the order in which they are tried: an outcome is a str too, and a datetime a date.
_PACKERS: tuple[tuple[type | tuple[type, ...], Callable[[Any, int], Any]], ...] = (
    (Enum, _enum),
    (str, lambda value, _: str.__str__(value)),
    (int, lambda value, _: _int(int.__int__(value))),
    (float, lambda value, _: float.__float__(value)),
    (datetime, lambda value, _: _tag("datetime", value.isoformat())),
    (date, lambda value, _: _tag("date", value.isoformat())),
    (time, lambda value, _: _tag("time", value.isoformat())),
    (timedelta, lambda value, _: _tag("timedelta", [value.days, value.seconds, value.microseconds])),
    (PurePath, lambda value, _: _tag("Path", str(value))),
    ((bytes, bytearray), lambda value, _: _tag("bytes", value.hex())),
    (tuple, _several("tuple")),
    (frozenset, _several("frozenset")),
    (set, _several("set")),
    (list, lambda value, depth: [_packed(each, depth) for each in value]),
)


# What reports are made of is not looked for among all of them.
_PACKER_OF: dict[type, Callable[[Any, int], Any]] = {
    **{kind: pack for kind, pack in _PACKERS if kind in (datetime, tuple, list)},
    dict: _packed_mapping,
    MappingProxyType: _packed_mapping,
}


def _int(value: int) -> Any:
    return value if -_MAX_PLAIN_INT <= value < _MAX_PLAIN_INT else _tag("int", hex(value))


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "$" not in value:
        return {key: _unpacked(each) for key, each in value.items()}
    tag, inner = value["$"], value["v"]
    if tag in _FORMER_TAGS:
        tag = _FORMER_TAGS[tag]
    return _model(tag, inner) if tag in _MODULE_OF else _UNPACKERS[tag](inner)


def _model(tag: str, fields: dict[str, Any]) -> Any:
    from importlib import import_module

    kind = getattr(import_module(_MODULE_OF[tag]), tag)
    # A field that this version does not know is left out; one that was not stored yet takes its default. A field may
    # have been stored by its alias, when that was its name.
    known = {field.alias: field.alias for field in kind.__attrs_attrs__}
    known |= {field.name: field.alias for field in kind.__attrs_attrs__}
    known |= {former: name for former, name in _FORMER_FIELDS.items() if name in known}
    return kind(**{known[name]: _unpacked(each) for name, each in fields.items() if name in known})


def _outcome(inner: str) -> Any:
    from supervisor._models import Outcome

    return Outcome(inner)


def _decimal(inner: str) -> Any:
    from decimal import Decimal

    return Decimal(inner)


def _instant(kind: Any) -> Callable[[str], Any]:
    def unpack(inner: str) -> Any:
        try:
            return kind.fromisoformat(inner)
        except ValueError:  # pandas' NaT calls itself a datetime and writes "NaT"
            return inner

    return unpack


_UNPACKERS: dict[str, Callable[[Any], Any]] = {
    "dict": lambda inner: {_unpacked(key): _unpacked(each) for key, each in inner},
    "tuple": lambda inner: tuple(_unpacked(each) for each in inner),
    "set": lambda inner: {_unpacked(each) for each in inner},
    "frozenset": lambda inner: frozenset(_unpacked(each) for each in inner),
    "datetime": _instant(datetime),
    "date": _instant(date),
    "time": _instant(time),
    "timedelta": lambda inner: timedelta(*inner),
    "int": lambda inner: int(inner, 16),
    "float": float,  # NaN and infinity, by way of what knows only numbers
    "bytes": bytes.fromhex,
    "Path": Path,
    "Decimal": _decimal,
    "Outcome": _outcome,
}
