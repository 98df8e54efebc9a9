"""Places in some bytes that hold a secret, and how they are replaced."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_MARKED = rb"[(\[{]{0,3}\[redacted: [^\]\n]{1,60}\]|\*+\Z"


class Span(NamedTuple):
    """One secret.

    Args:
        start: Where it begins.
        end: Where it ends.
        label: What is told in its place: letters, digits, blanks and ``._-``.
        origin: Where the search must begin to find it again; before ``start`` where a name tells that it is one.
    """

    start: int
    end: int
    label: str
    origin: int


def marker(label: str) -> str:
    """Return what stands in the place of a secret."""
    return f"[redacted: {label}]"


def is_marked(value: bytes) -> bool:
    """Tell whether a value is hidden already, by asterisks or a marker; what stands behind that was no part of it."""
    return re.match(_MARKED, value) is not None


def replaced(data: bytes, spans: Iterable[Span], start: int, end: int) -> bytes:
    """Return a part of some bytes with markers in the place of secrets.

    Args:
        data: All of it.
        spans: The secrets, in order and apart from each other; those outside of the part do not count.
        start: Where the part begins.
        end: Where it ends; no secret lies across it.
    """
    pieces: list[bytes] = []
    for span in spans:
        if start <= span.start and span.end <= end:
            pieces += (data[start : span.start], marker(span.label).encode())
            start = span.end
    pieces.append(data[start:end])
    return b"".join(pieces)


def merged(spans: list[Span]) -> list[Span]:
    """Return spans in order, those that overlap made one with the label of the first."""
    result: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        last = result[-1] if result else None
        if last is None or span.start >= last.end:
            result.append(span)
        elif span.end > last.end:
            result[-1] = last._replace(end=span.end, origin=min(last.origin, span.origin))
    return result
