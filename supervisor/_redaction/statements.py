"""Find secrets in SQL that inserts rows, or in its parameters: ``INSERT INTO users (password) VALUES ('x')``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from supervisor._redaction.secret_names import secret_kind
from supervisor._redaction.spans import MARKER, Span
from supervisor._redaction.value_syntax import says_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_ROWS = 16 * 1024
_MOST_ROWS = 200
_INSERT = re.compile(
    rb"(?i:(?:insert|replace)[ ](?:ignore[ ])?into)\s{1,4}[\w.\"'`\[\]]{1,120}\s{0,4}\((?P<columns>[^()]{1,2000})\)"
    rb"[^;()]{0,200}?(?i:values?)\s{0,4}(?=\()"
)
# An item of a row: a text in quotes, in which doubled and escaped quotes are part of it, or anything up to a comma.
_ITEM = re.compile(
    rb"""\s{0,40}(?:[NEBXbru]{0,2}(?P<quote>\\{0,4}['"])(?P<quoted>(?:(?!(?P=quote))(?:[^\\]|\\[^\r\n])|(?P=quote){2})*+)(?P=quote)"""
    rb"""|(?P<plain>(?:""" + MARKER + rb"""|%\(\w+\)s|[^,()'"]|\([^()]{0,200}\)){1,500}+))\s{0,40}(?P<end>[,)\]])"""
)
_NEXT_ROW = re.compile(rb"\s{0,4},\s{0,40}(?=\()")
_PARAMETERS = re.compile(rb"[^\r\n]{0,2000}?\]?\s{0,4}\[?parameters: \[?(?=\()")
_PLACEHOLDER = re.compile(rb"\?|%s|%\(\w+\)s|:\w+|\$\d+|@\w+|")


def in_insert(data: bytes, at: int) -> list[Span]:
    """Return the values of secret columns in the rows that a statement inserts.

    Args:
        data: The bytes.
        at: Where the statement begins.
    """
    insert = _INSERT.match(data, at)
    if insert is None:
        return []
    names = [each.strip(b" \t\r\n\"'`[]\\").decode("utf-8", "replace") for each in insert["columns"].split(b",")]
    kinds = [secret_kind(each) for each in names]
    if not any(kinds):
        return []
    found, end = _in_rows(data, insert.end(), kinds, at)
    parameters = _PARAMETERS.match(data, end) if not found else None
    return _in_rows(data, parameters.end(), kinds, at)[0] if parameters is not None else found


def _in_rows(data: bytes, at: int, kinds: list[str | None], origin: int) -> tuple[list[Span], int]:
    """Return the secrets in some rows, and where the rows end."""
    found: list[Span] = []
    for _ in range(_MOST_ROWS):
        items = list(_items(data, at + 1, min(len(data), at + _LONGEST_ROWS)))
        if not items:
            break
        for (start, end), kind in zip(items, kinds, strict=False):
            text = data[start:end]
            if kind is not None and not says_nothing(text) and _PLACEHOLDER.fullmatch(text) is None:
                found.append(Span(start, end, kind, origin))
        at = _end_of_row(data, items[-1][1])
        following = _NEXT_ROW.match(data, at)
        if following is None:
            break
        at = following.end()
    return found, at


def _items(data: bytes, at: int, limit: int) -> Iterator[tuple[int, int]]:
    """Yield where the items of a row are, without their quotes."""
    while (item := _ITEM.match(data, at, limit)) is not None:
        start, end = item.span("quoted" if item["quote"] is not None else "plain")
        yield start, start + len(data[start:end].rstrip())
        if item["end"] != b",":
            return
        at = item.end()


def _end_of_row(data: bytes, at: int) -> int:
    closing = data.find(b")", at, at + 100)
    return closing + 1 if closing >= 0 else at
