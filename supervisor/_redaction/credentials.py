"""The credentials of configured handlers."""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from supervisor._redaction.forms import SHORTEST
from supervisor._redaction.names import kind_of
from supervisor._redaction.shapes import looks_random

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORTEST_PART = 10
_BETWEEN_PARTS = r"[/:@?&=#,;\s]+"


def secrets_of(handler: object) -> frozenset[str]:
    """Return the credentials that a handler was configured with.

    They are what its public fields hold that have ``repr=False`` (in classes of attrs and dataclasses), and what
    attributes hold whose name tells that it is a secret: texts, several texts, and headers. A URL counts as a whole
    and by its password and those parts of it that look random, since HTTP clients log host and path apart. Left out
    is what has fewer than six characters, and what is no text: a callable makes its secrets later.

    Args:
        handler: Any object; one without secrets has none.
    """
    found: set[str] = set()
    for name, value in _secret_attributes(handler):
        for text in _texts(value):
            found |= {text, *_parts(text)}
            found |= set(_logins(handler, text)) if kind_of(name) == "password" else set()
    return frozenset(each for each in found if len(each) >= SHORTEST)


def _secret_attributes(handler: object) -> Iterator[tuple[str, object]]:
    fields = {
        field.name: field
        for kind in ("__attrs_attrs__", "__dataclass_fields__")
        for field in _several(getattr(type(handler), kind, ()))
    }
    for name, field in fields.items():
        is_own = field.init and not name.startswith("_")
        if is_own and (not field.repr or kind_of(name) is not None):
            yield name, getattr(handler, name, None)
    for name, value in getattr(handler, "__dict__", {}).items():
        if name not in fields and kind_of(name) is not None:
            yield name, value


def _several(fields: Any) -> tuple[Any, ...]:
    return tuple(fields.values() if isinstance(fields, Mapping) else fields)


def _texts(value: object) -> Iterator[str]:
    """Yield the texts that a setting holds; of headers those that are no ordinary words."""
    if isinstance(value, str) and not isinstance(value, Enum):
        yield value
    elif isinstance(value, (tuple, list, set, frozenset)):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, Mapping):
        for name, text in value.items():
            if isinstance(text, str) and (kind_of(str(name)) is not None or looks_random(text.encode())):
                yield text
                yield from text.split(None, 1)[1:]  # without the scheme: "Bearer x"


def _parts(text: str) -> Iterator[str]:
    """Yield what of a URL is secret by itself, or of a signing key without its prefix."""
    yield text.strip()
    yield text.strip().removeprefix("whsec_")
    if "://" not in text:
        return
    from urllib.parse import unquote

    rest = text.partition("://")[2]
    host, password = _host_and_password(text)
    for part in (password, *(each for each in re.split(_BETWEEN_PARTS, rest) if each.lower() != host)):
        if part and (part == password or (len(part) >= _SHORTEST_PART and looks_random(part.encode()))):
            yield part
            yield unquote(part)


def _host_and_password(url: str) -> tuple[str, str]:
    """Return a URL's host, "" where it is no name of one (some of apprise's have a token there), and its password."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that do not match
        return "", ""
    host = parts.hostname or ""
    return host if "." in host else "", parts.password or ""


def _logins(handler: object, password: str) -> Iterator[str]:
    """Yield user and password as HTTP's Basic scheme and SMTP's AUTH PLAIN send them.

    See https://www.rfc-editor.org/rfc/rfc7617#section-2 and https://www.rfc-editor.org/rfc/rfc4616#section-2.
    """
    users = [getattr(handler, name, None) for name in ("username", "user")]
    for user in users:
        if not isinstance(user, str):
            continue
        for login in (f"{user}:{password}", f"\0{user}\0{password}", f"{user}\0{user}\0{password}"):
            yield b2a_base64(login.encode("utf-8", "surrogatepass"), newline=False).decode().rstrip("=")
