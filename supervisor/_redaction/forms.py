"""The ways in which a known secret may be written: as it is, quoted for URLs, JSON, HTML and Python, in base64."""

from __future__ import annotations

import re
from binascii import b2a_base64
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor._redaction.names import kind_of
from supervisor._redaction.spans import marker

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_NEVER_QUOTED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-")
SHORTEST = 6
"""Secrets with fewer characters are not looked for by themselves: they would blank parts of ordinary words."""


def forms_of(secrets: Iterable[str], labels: Collection[str]) -> tuple[bytes, ...]:
    """Return what to look for, each once, the longest first.

    Left out are secrets of fewer than six characters, those that are nothing but the word for one ("password"), and
    those that stand in our own markers, which would be replaced again and again. A secret of several lines counts
    line by line, since logs put other things before their lines.

    Args:
        secrets: The secrets as they are.
        labels: What markers may say.
    """
    markers = [marker(label).encode() for label in labels]
    lines = {line for each in secrets for line in each.splitlines() if _is_worth_it(line)}
    forms = {form for line in lines for form in _forms(line)}
    return tuple(
        sorted((each for each in forms if not any(each in one for one in markers)), key=lambda x: (-len(x), x))
    )


def _is_worth_it(line: str) -> bool:
    is_frame = line.startswith("-----")  # of a private key
    is_word = line.isalpha() and kind_of(line) is not None and len(line) < 10  # noqa: PLR2004 - longer ones are made up
    return len(line.strip()) >= SHORTEST and not is_frame and not is_word


def _forms(secret: str) -> Iterator[bytes]:
    import json

    data = secret.encode("utf-8", "surrogatepass")
    yield data
    if not _NEVER_QUOTED.issuperset(secret):
        for text in _quoted(secret, data):
            for each in (text, json.dumps(text, ensure_ascii=False)[1:-1], _repr(text)):  # also in a text within a text
                yield each.encode("utf-8", "surrogatepass")
    in_base64 = b2a_base64(data, newline=False).rstrip(b"=")
    yield in_base64
    yield in_base64.translate(bytes.maketrans(b"+/", b"-_"))
    if not secret.isascii() and secret[:1].isascii() and secret[-1:].isascii():
        # In a log of old Windows. Between ASCII, such bytes cannot be met within characters of UTF-8.
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
    """Return a text as Python writes it within a longer one that has quotes of both kinds."""
    return repr(f"{text}'\"")[1:-4]
