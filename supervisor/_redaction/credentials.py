"""The credentials of handlers, and the forms in which a known secret may be written.

A secret may be quoted for a URL, JSON, HTML or Python, or encoded in base64.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from supervisor._redaction.secret_names import secret_kind
from supervisor._redaction.value_syntax import Span, looks_random, marker

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

CREDENTIAL = "credential"
"""The label of secrets that are known by themselves."""

_NEVER_QUOTED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-")
SHORTEST = 6
"""Secrets with fewer characters are not looked for by themselves, since they occur within ordinary words."""

_LONGEST_WORD_FOR_SECRET = 9
_SHORT_BYTES = 2048
_FEW_SECRETS = 3
_END_BYTES = 12


def forms_of(secrets: Iterable[str], labels: Collection[str]) -> tuple[bytes, ...]:
    """Return all forms of some secrets, each once, the longest first.

    Left out are secrets of fewer than six characters, those that are only the word for one ("password"), and those
    that occur in markers, which would be replaced again and again. Each line of a secret of several lines counts by
    itself, since logs may put something before each line.

    Args:
        secrets: The secrets as they are.
        labels: The labels that may occur in markers.
    """
    markers = [marker(label).encode() for label in labels]
    lines = {line for each in secrets for line in each.splitlines() if _is_worth_it(line)}
    forms = {form for line in lines for form in _forms(line)}
    return tuple(
        sorted((each for each in forms if not any(each in one for one in markers)), key=lambda x: (-len(x), x))
    )


def _is_worth_it(line: str) -> bool:
    is_frame = line.startswith("-----")  # the first or last line of a private key
    is_word = line.isalpha() and secret_kind(line) is not None and len(line) <= _LONGEST_WORD_FOR_SECRET
    return len(line.strip()) >= SHORTEST and not is_frame and not is_word


def _forms(secret: str) -> Iterator[bytes]:
    import json

    data = secret.encode("utf-8", "surrogatepass")
    yield data
    if not _NEVER_QUOTED.issuperset(secret):
        for text in _quoted(secret, data):
            for each in (text, json.dumps(text, ensure_ascii=False)[1:-1], _repr(text)):  # possibly quoted twice
                yield each.encode("utf-8", "surrogatepass")
    in_base64 = b2a_base64(data, newline=False).rstrip(b"=")
    yield in_base64
    yield in_base64.translate(bytes.maketrans(b"+/", b"-_"))
    if not secret.isascii() and secret[:1].isascii() and secret[-1:].isascii():
        # Logs of Windows may be written in cp1252. Between ASCII characters, such bytes are never part of UTF-8.
        with suppress(UnicodeEncodeError):
            yield secret.encode("cp1252")


def _quoted(secret: str, data: bytes) -> Iterator[str]:
    import html
    import json
    from urllib.parse import quote, quote_plus

    for text in (quote(data, safe=""), quote(data), quote_plus(data)):
        yield text
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), text)
    yield from (repr(secret)[1:-1], _repr(secret), ascii(secret)[1:-1], repr(data)[2:-1])
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    yield from (secret.replace('"', '""'), secret.replace("'", "''"))  # CSV, SQL
    in_html = html.escape(secret, quote=False)
    yield in_html
    for single in ("&#x27;", "&#39;", "&apos;", "'"):  # Python, jinja2, XML
        for double in ("&quot;", "&#34;", '"'):
            yield in_html.replace("'", single).replace('"', double)


def _repr(text: str) -> str:
    """Return a text as ``repr`` writes it within a longer text that has quotes of both kinds."""
    return repr(f"{text}'\"")[1:-4]


class KnownSecrets:
    """Finds secrets that are known by themselves, such as the credentials of handlers. Most texts have none.

    Args:
        secrets: The secrets, in each form in which they may be written; none is empty.
    """

    def __init__(self, secrets: Collection[bytes]) -> None:
        self._secrets = tuple(secrets)

    def spans(self, data: bytes, start: int) -> list[Span]:
        """Return where secrets are, for one secret after the other.

        Args:
            data: The text.
            start: Where to begin; a secret that begins before is not found.
        """
        found: list[Span] = []
        for secret in self._secrets if self._may_be_in(data) else ():
            at = data.find(secret, start)
            while at >= 0:
                found.append(Span(at, at + len(secret), CREDENTIAL, at))
                at = data.find(secret, at + len(secret))
        return found

    def _may_be_in(self, data: bytes) -> bool:
        """Return False only if no secret is in a text; of a long text and many secrets, one walk finds it out."""
        if len(data) < _SHORT_BYTES or len(self._secrets) < _FEW_SECRETS or self._ends is None:
            return True
        return bool(self._ends.find_matches_as_indexes(data))

    @cached_property
    def _ends(self) -> Any:
        """Return what finds the ends of secrets: URLs begin alike, and the forms of one secret share their end."""
        try:
            from ahocorasick_rs import BytesAhoCorasick, MatchKind
        except ImportError:
            return None
        # For this kind of match, it passes over most of a text with the processor's vector instructions.
        return BytesAhoCorasick({each[-_END_BYTES:] for each in self._secrets}, MatchKind.LeftmostFirst)


_SHORTEST_PART = 10
_BETWEEN_PARTS = r"[/:@?&=#,;\s]+"


def secrets_of(handler: object) -> frozenset[str]:
    """Return the credentials that a handler was configured with.

    These are the values of its public fields with ``repr=False`` (in classes of attrs and dataclasses), what its
    ``fallback`` has, where that is a handler, and the values of
    attributes whose name means a secret: texts, collections of texts, and headers. For a URL they are the whole URL,
    its password, and those parts of it that look random, since HTTP clients log host and path separately. Secrets of
    fewer than six characters are left out, and values that are no texts, such as callables that return a secret.

    Args:
        handler: Any object; the result is empty if it has no credentials.
    """
    found: set[str] = set()
    for name, value in _secret_attributes(handler):
        for text in _texts(value):
            found |= {text, *_parts(text)}
            found |= set(_logins(handler, text)) if secret_kind(name) == "password" else set()
    fallback = None
    with suppress(Exception):  # a handler's attributes may do anything
        fallback = getattr(handler, "fallback", None)
    if fallback is not handler and callable(getattr(fallback, "send_message", None)):
        found |= secrets_of(fallback)
    return frozenset(each for each in found if len(each) >= SHORTEST)


def _secret_attributes(handler: object) -> Iterator[tuple[str, object]]:
    fields = {
        field.name: field
        for kind in ("__attrs_attrs__", "__dataclass_fields__")
        for field in _several(getattr(type(handler), kind, ()))
    }
    for name, field in fields.items():
        is_own = field.init and not name.startswith("_")
        if is_own and (not field.repr or secret_kind(name) is not None):
            yield name, getattr(handler, name, None)
    for name, value in getattr(handler, "__dict__", {}).items():
        if name not in fields and secret_kind(name) is not None:
            yield name, value


def _several(fields: Any) -> tuple[Any, ...]:
    return tuple(fields.values() if isinstance(fields, Mapping) else fields)


def _texts(value: object) -> Iterator[str]:
    """Yield the texts of a setting; of headers, those that may be secret."""
    if isinstance(value, str) and not isinstance(value, Enum):
        yield value
    elif isinstance(value, (tuple, list, set, frozenset)):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, Mapping):
        for name, text in value.items():
            if isinstance(text, str) and (secret_kind(str(name)) is not None or looks_random(text.encode())):
                yield text
                yield from text.split(None, 1)[1:]  # the token without its scheme: "Bearer x"


def _parts(text: str) -> Iterator[str]:
    """Yield a text itself, a signing key without its prefix, and the parts of a URL that are secrets by themselves."""
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
    """Return the host of a URL, "" if it has no dot (some URLs of apprise have a token there), and its password."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
    except ValueError:  # its brackets do not match
        return "", ""
    host = parts.hostname or ""
    return host if "." in host else "", parts.password or ""


def _logins(handler: object, password: str) -> Iterator[str]:
    """Yield user and password as they are sent by HTTP's Basic scheme and SMTP's AUTH PLAIN.

    See https://www.rfc-editor.org/rfc/rfc7617#section-2 and https://www.rfc-editor.org/rfc/rfc4616#section-2.
    """
    users = [getattr(handler, name, None) for name in ("username", "user")]
    for user in users:
        if not isinstance(user, str):
            continue
        for login in (f"{user}:{password}", f"\0{user}\0{password}", f"{user}\0{user}\0{password}"):
            yield b2a_base64(login.encode("utf-8", "surrogatepass"), newline=False).decode().rstrip("=")
