"""Finds the few places of a long text that are worth a closer look.

Looking for forty hints one after the other costs forty walks over the text, and an alternation of them stops at most
letters. So each hint is looked for by its rarest letter: one walk, which stops at one letter in twenty. Where
ahocorasick-rs is installed, :mod:`.automata` does that many times as fast.

- Looks for many texts with ahocorasick-rs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from supervisor._redaction.triggers import Hint

# About how many of a thousand letters of a log are these, each.
_PER_MILLE = {
    letter: count
    for letters, count in ((b" e", 75), (b"asroi2", 44), (b"dnpt013", 35), (b"cflu46-/:", 20), (b"bg5789.", 13))
    for letter in letters
}
_PER_MILLE_OF_OTHERS = 5
_STOP = 5  # a letter to stop at costs that many times what one more hint costs that is tried at a stop
_TOO_COMMON = 40
SHORT_BYTES = 2048
_MANY = 100  # so many short texts take as long as making the automata


class Sieve:
    """Looks for all hints at once.

    Args:
        hints: What to look for; none is empty.
    """

    def __init__(self, hints: Iterable[Hint]) -> None:
        self._hints = dict(enumerate(hints))
        # Stopping at each of their letters would take longer than a walk for each of them.
        self._common = {which: hint for which, hint in self._hints.items() if _rarest(hint.text) > _TOO_COMMON}
        self._by_letter: dict[int, list[tuple[int, int]]] = {}  # (the letter's place in its hint, which hint)
        self._stops: re.Pattern[bytes] | None = None
        # None until it is worth making them, False where they cannot be had.
        self._automata: HintAutomata | Literal[False] | None = None
        self._short_ones = 0

    def hits(self, data: bytes, start: int) -> list[tuple[int, int, Hint]]:
        """Return where hints are, from left to right: (its beginning, which hint, the hint).

        Args:
            data: What to look at.
            start: Where to begin; a hint that begins before it is not found.
        """
        lower = data.lower()
        is_short = len(data) - start < SHORT_BYTES
        if is_short and not self._automata:
            found = self._one_by_one(lower, start, self._hints)
            self._short_ones += 1
            if self._short_ones == _MANY and self._automata is None:
                self._automata = self._made_automata()
        else:
            found = self._in_long(lower, start)
        return [(at, which, self._hints[which]) for at, which in sorted(found)]

    def may_hit(self, data: bytes) -> bool:
        """Tell whether there may be hints in a short text; False is sure, and told in less time than :meth:`hits`."""
        return self._automata.may_find(data.lower()) if self._automata else bool(self.hits(data, 0))

    def _one_by_one(self, lower: bytes, start: int, hints: Mapping[int, Hint]) -> Iterator[tuple[int, int]]:
        """Look for one hint after the other: in a line that is faster, and needs nothing compiled."""
        for which, hint in hints.items():
            at = lower.find(hint.text, start)
            while at >= 0:
                yield at, which
                at = lower.find(hint.text, at + 1)

    def _in_long(self, lower: bytes, start: int) -> Iterator[tuple[int, int]]:
        if self._automata is None:
            self._automata = self._made_automata()
        return self._automata.find(lower, start) if self._automata else self._by_stops(lower, start)

    def _made_automata(self) -> HintAutomata | Literal[False]:
        """Return what looks for all hints at once many times as fast as we can; False where it is not installed."""
        try:
            return HintAutomata(self._hints)
        except ImportError:
            return False

    def _by_stops(self, lower: bytes, start: int) -> Iterator[tuple[int, int]]:
        stops = self._stops = self._stops or self._compiled()
        yield from self._one_by_one(lower, start, self._common)
        for match in stops.finditer(lower, start):
            stop = match.start()
            for offset, which in self._by_letter[lower[stop]]:
                at = stop - offset
                if at >= start and lower.startswith(self._hints[which].text, at):
                    yield at, which

    def _compiled(self) -> re.Pattern[bytes]:
        """Return what finds a rare letter with the rest of its hint around it, but takes no more than the letter."""
        by_letter: dict[int, list[tuple[int, int]]] = {}
        # Those with common letters alone come first: where the walk must stop for them, it may look for others too.
        for which in sorted(
            self._hints.keys() - self._common, key=lambda which: (-_rarest(self._hints[which].text), which)
        ):
            text = self._hints[which].text
            at = min(range(len(text)), key=lambda at: _per_mille(text[at]) * (1 if text[at] in by_letter else _STOP))
            by_letter.setdefault(text[at], []).append((at, which))
        self._by_letter = by_letter
        branches = []
        for letter, group in by_letter.items():
            around = dict.fromkeys(_around(self._hints[which], at) for at, which in group)
            branches.append(re.escape(bytes((letter,))) + b"(?:%s)" % b"|".join(around))
        return re.compile(b"|".join(branches))


def _rarest(text: bytes) -> int:
    return min(map(_per_mille, text))


def _per_mille(letter: int) -> int:
    return _PER_MILLE.get(letter, _PER_MILLE_OF_OTHERS)


def _around(hint: Hint, at: int) -> bytes:
    before, behind = re.escape(hint.text[: at + 1]), re.escape(hint.text[at + 1 :]) + hint.then
    return (b"(?<=%s)" % before if at else b"") + (b"(?=%s)" % behind if behind else b"")


T = TypeVar("T")
_AT_ONCE = 16
_SHORT_BYTES = 512  # in less than that, four walks take longer than one


def has_any(automata: Collection[Any], data: bytes) -> bool:
    """Tell whether any of the texts that automata look for is in some bytes."""
    return any(each.find_matches_as_indexes(data) for each in automata)


def automata(texts: Collection[bytes]) -> list[Any]:
    """Return what looks for some texts, none of them empty.

    Raises:
        ImportError: ahocorasick-rs is not installed.
    """
    return [_automaton(some) for some in _groups(sorted(texts, key=len))]


class _Beginning(NamedTuple):
    """A hint that may begin within a text that was found, or is that text.

    Args:
        offset: How far behind the beginning of what was found.
        which: The hint.
        text: Its text.
        then: What must follow; None for anything.
    """

    offset: int
    which: int
    text: bytes
    then: re.Pattern[bytes] | None


class HintAutomata:
    """Looks for all hints.

    Args:
        hints: What to look for, by number; none is empty.

    Raises:
        ImportError: ahocorasick-rs is not installed.
    """

    def __init__(self, hints: Mapping[int, Hint]) -> None:
        by_length = sorted(hints, key=lambda which: len(hints[which].text))
        self._in_short = [_walk(hints, by_length)]
        self._in_long = [_walk(hints, some) for some in _groups(by_length)]

    def may_find(self, lower: bytes) -> bool:
        """Tell whether a closer look may find something in a short text, in lower case; False is sure."""
        return any(automaton.find_matches_as_indexes(lower) for automaton, _ in self._in_short)

    def find(self, lower: bytes, start: int) -> Iterator[tuple[int, int]]:
        """Yield where hints are, each once, in any order: (its beginning, which hint).

        Args:
            lower: What to look at, in lower case.
            start: Where to begin; a hint that begins before it is not found.
        """
        for automaton, beginnings in self._in_short if len(lower) < _SHORT_BYTES else self._in_long:
            # It goes on behind what it has found, and so passes over what begins within that.
            for member, found, _ in automaton.find_matches_as_indexes(lower):
                for offset, which, text, then in beginnings[member]:
                    at = found + offset
                    if at >= start and lower.startswith(text, at) and (not then or then.match(lower, at + len(text))):
                        yield at, which


def _groups(by_length: Sequence[T]) -> list[Sequence[T]]:
    """Return what each walk looks for. Texts of about one length: what the shortest of them has tells where to stop."""
    return [by_length[at : at + _AT_ONCE] for at in range(0, len(by_length), _AT_ONCE)]


def _automaton(texts: Sequence[bytes]) -> Any:
    from ahocorasick_rs import BytesAhoCorasick, MatchKind

    return BytesAhoCorasick(texts, MatchKind.LeftmostFirst)  # the kind that has the vector instructions


def _walk(hints: Mapping[int, Hint], some: Sequence[int]) -> tuple[Any, list[list[_Beginning]]]:
    """Return what looks for some hints, and for each of them which of the same walk may begin within it."""
    members: list[_Beginning] = []
    by_letter: dict[int, list[_Beginning]] = {}
    for which in some:
        text, then = hints[which].text, hints[which].then
        members.append(_Beginning(0, which, text, re.compile(then) if then else None))
        by_letter.setdefault(text[0], []).append(members[-1])
    beginnings = [
        [
            other._replace(offset=offset)
            for offset, letter in enumerate(each.text)
            for other in by_letter.get(letter, ())
            if each.text.startswith(other.text, offset) or other.text.startswith(each.text[offset:])
        ]
        for each in members
    ]
    return _automaton([each.text for each in members]), beginnings
