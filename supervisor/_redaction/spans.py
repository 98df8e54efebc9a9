"""Where secrets are in some bytes, and how they are replaced."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MARKER = rb"\[redacted: [^\]\n]{1,60}\]"
"""A pattern of what stands in the place of a secret."""

_HIDDEN = re.compile(rb"[(\[{]{0,3}" + MARKER + rb"|\*+\Z")


class Span(NamedTuple):
    """One secret.

    Args:
        start: Where it begins.
        end: Where it ends.
        label: What kind of secret it is: letters, digits, blanks and ``._-``.
        origin: Where a search must begin to find it again: the beginning of its key, or else ``start``.
    """

    start: int
    end: int
    label: str
    origin: int


def marker(label: str) -> str:
    """Return what stands in the place of a secret."""
    return f"[redacted: {label}]"


def is_hidden(value: bytes) -> bool:
    """Return whether a value begins with a marker or consists of asterisks: its secret has been removed already."""
    return _HIDDEN.match(value) is not None


def with_markers(data: bytes, spans: Iterable[Span], start: int, end: int) -> bytes:
    """Return a part of some bytes with markers in the place of secrets.

    Args:
        data: All of the bytes.
        spans: The secrets, in order and without overlaps; those outside of the part are ignored.
        start: Where the part begins.
        end: Where it ends; no secret reaches across it.
    """
    pieces: list[bytes] = []
    for span in spans:
        if start <= span.start and span.end <= end:
            pieces += (data[start : span.start], marker(span.label).encode())
            start = span.end
    pieces.append(data[start:end])
    return b"".join(pieces)


def merged_spans(spans: list[Span]) -> list[Span]:
    """Return spans in order; those that overlap become one, with the label of the first."""
    result: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        last = result[-1] if result else None
        if last is None or span.start >= last.end:
            result.append(span)
        elif span.end > last.end:
            result[-1] = last._replace(end=span.end, origin=min(last.origin, span.origin))
    return result
