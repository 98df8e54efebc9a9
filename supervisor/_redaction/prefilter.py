"""Finds the few places of a long text that are worth a closer look.

Looking for forty hints one after the other costs forty walks over the text, and an alternation of them stops at most
letters. So each hint is looked for by its rarest letter: one walk, which stops at one letter in twenty. Where
ahocorasick-rs is installed, :mod:`.automata` does that many times as fast.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from supervisor._redaction.automata import HintAutomata
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
        from supervisor._redaction.automata import HintAutomata

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
