"""Passwords in URLs."""

from __future__ import annotations

import re

from supervisor._redaction.spans import Span, is_marked
from supervisor._redaction.triggers import URL_PASSWORD

_LONGEST_BYTES = 2048
_USER = re.compile(rb"""://[^\s/:@?#"'<>\[\]{}(),;\\]{0,256}:(?=[^\s/])""")
# A password may hold "@", "/" and "#", which belong quoted there but are not always.
_REST = re.compile(rb"""(?:\[redacted: [^\]\n]{1,60}\]|[^\s"'<>\\?]|\\(?![nrt"']))++""")
_PORT = re.compile(rb"\d{1,5}(?:[/?#,;)\]}]|$)")
_HOST = re.compile(rb"(?!sha256:)[\w\[.%-]")


def find_url_password(data: bytes, at: int) -> Span | None:
    """Return the password in ``scheme://user:password@host``, up to the last "@" before a blank or a query.

    Args:
        data: What to look at.
        at: Where "://" is.
    """
    head = _USER.match(data, at)
    if head is None:
        return None
    next_url = data.find(b"://", head.end(), head.end() + _LONGEST_BYTES)
    rest = _REST.match(data, head.end(), next_url if next_url >= 0 else head.end() + _LONGEST_BYTES)
    if rest is None or _PORT.match(rest[0]):
        return None
    start, end = rest.span()
    while (end := data.rfind(b"@", start, end)) > start:
        if _HOST.match(data, end + 1):
            return None if is_marked(data[start:end]) else Span(start, end, URL_PASSWORD, at)
    return None
