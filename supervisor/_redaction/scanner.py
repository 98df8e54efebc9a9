"""Finds all secrets in some bytes: those that are known, those of a known look, those whose key tells."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from supervisor._redaction.known import Known
from supervisor._redaction.prefilter import Sieve
from supervisor._redaction.spans import Span, merged
from supervisor._redaction.triggers import hints

if TYPE_CHECKING:
    import re
    from collections.abc import Collection, Iterator

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
