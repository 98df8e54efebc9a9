"""Finds all secrets in some bytes: those that are known, those of a known look, those whose key tells.

- Finds secrets that are known by themselves.
- Places in some bytes that hold a secret, and how they are replaced.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor._redaction.prefilter import SHORT_BYTES, Sieve
from supervisor._redaction.triggers import hints

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_FEW = 3
_END_BYTES = 12


class Known:
    """Looks for known secrets, which are seldom met.

    Args:
        secrets: The secrets, in all the ways in which they may be written; none is empty.
    """

    def __init__(self, secrets: Collection[bytes]) -> None:
        self._secrets = tuple(secrets)
        self._automata: list[Any] | None = None  # of their ends; none where they cannot be had

    def places(self, data: bytes, start: int) -> Iterator[tuple[int, int]]:
        """Yield where secrets begin and end, one secret after the other.

        Args:
            data: What to look at.
            start: Where to begin; a secret that begins before it is not found.
        """
        if not self._may_be_in(data):
            return
        for secret in self._secrets:
            at = data.find(secret, start)
            while at >= 0:
                yield at, at + len(secret)
                at = data.find(secret, at + len(secret))

    def is_any_in(self, data: bytes) -> bool:
        """Tell whether a secret is in a short text."""
        return any(secret in data for secret in self._secrets)

    def _may_be_in(self, data: bytes) -> bool:
        """Tell whether to look for one secret after the other, or that none is there: in most logs a walk tells."""
        if len(data) < SHORT_BYTES or len(self._secrets) < _FEW:
            return True
        from supervisor._redaction.prefilter import automata, has_any

        if self._automata is None:
            try:
                # Ends tell more than beginnings, which may be those of any URL, and forms share them.
                self._automata = automata({each[-_END_BYTES:] for each in self._secrets})
            except ImportError:
                self._automata = []
        return not self._automata or has_any(self._automata, data)


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


CREDENTIAL = "credential"
"""The label of secrets that are known by themselves."""


class Scanner:
    """Finds secrets.

    Args:
        known: Secrets that are known by themselves, in all the ways in which they may be written.
        patterns: Labels and patterns of what else is secret. The group ``secret`` of one, if it has it, is what counts.
        off: Labels of what is not looked for.
    """

    def __init__(
        self, known: Collection[bytes], patterns: Collection[tuple[str, re.Pattern[str]]], off: Collection[str]
    ) -> None:
        self._patterns = tuple(patterns)
        self._off = frozenset(off)
        self._known = Known(known)
        self._sieve = _sieve(self._off, more=False)

    def is_clean(self, data: bytes) -> bool:
        """Tell of a short text that surely nothing secret is in it, in less time than :meth:`spans` takes."""
        return not (self._patterns or self._sieve.may_hit(data) or self._known.is_any_in(data))

    def spans(self, data: bytes, start: int = 0, *, more: bool = False) -> list[Span]:
        """Return the secrets from ``start`` on, in order and apart from each other.

        Args:
            data: What to look at; what stands before ``start`` has been looked at.
            start: Where to begin.
            more: Whether more may follow. What may go on there ends at the very end of ``data``.
        """
        found = list(self._by_hint(data, start, more=more))
        found += (Span(first, last, CREDENTIAL, first) for first, last in self._known.places(data, start))
        if self._patterns:
            found += self._by_pattern(data, start)
        return merged(found) if found else found

    def _by_hint(self, data: bytes, start: int, *, more: bool) -> Iterator[Span]:
        floor = start
        sieve = _sieve(self._off, more=True) if more else self._sieve
        for at, _, hint in sieve.hits(data, start):
            if at < floor:
                continue
            span = hint.find(data, at)
            if span is None or span.label in self._off:
                continue
            if span.start < floor:  # the lines before the end of a private key: what is done is done
                span = span._replace(start=floor, origin=floor)
            if span.start < span.end:
                yield span
                floor = span.end

    def _by_pattern(self, data: bytes, start: int) -> Iterator[Span]:
        """Yield what the user's own patterns find. They are made for text, and so are the places that they tell."""
        text = data[start:].decode("utf-8", "surrogateescape")
        is_plain = len(text) == len(data) - start
        for label, pattern in self._patterns:
            group = "secret" if "secret" in pattern.groupindex else 0
            done_at, done = 0, start
            for match in pattern.finditer(text):
                first, last = match.span(group)
                if first >= last:
                    continue
                if is_plain:
                    yield Span(start + first, start + last, label, start + match.start())
                    continue
                origin = done + _bytes_in(text, done_at, match.start())
                begin = origin + _bytes_in(text, match.start(), first)
                done_at, done = last, begin + _bytes_in(text, first, last)
                yield Span(begin, done, label, origin)


def _bytes_in(text: str, start: int, end: int) -> int:
    return len(text[start:end].encode("utf-8", "surrogateescape"))


@cache
def _sieve(off: frozenset[str], *, more: bool) -> Sieve:
    return Sieve(hints(off, more=more))
