"""Find the few places of a long text that are worth a closer look.

Every kind of secret has a short text near it that gives it away, a trigger. One walk over a text finds all triggers;
only there are patterns applied. With ahocorasick-rs (the extra ``fast``) the walk is about ten times as fast.
"""

from __future__ import annotations

import re
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from supervisor._redaction.spans import Span

SHORT_BYTES = 2048
"""For a shorter text, the time counts that it takes to make what looks for triggers."""

_LONG_WORD = re.compile(rb"[\w.~$/+=:%\\-]{20,}+")
_BEGINNING = re.compile(rb"(?<![a-z0-9])[a-z0-9._]|(?<=\\[nrt])[a-z0-9._]|(?<=%[0-9a-f]{2})[a-z0-9._]")
_PREFIX_BYTES = 3
_FEW_SECRETS = 3
_END_BYTES = 12


_PLACE = itemgetter(0, 1)


class Trigger(NamedTuple):
    """A text near which there may be a secret.

    Args:
        text: The text to look for, in lower case; it is found in any case.
        find: Takes the bytes and where the trigger begins; returns the secret or, as a list, several; None where there
            is none.
        follows: What must follow the trigger, in lower case, if that makes most closer looks unnecessary.
        in_long_word: Whether it begins a word of at least 20 characters, as the prefix of a token does.
    """

    text: bytes
    find: Callable[[bytes, int], Span | list[Span] | None]
    follows: re.Pattern[bytes] | None = None
    in_long_word: bool = False


class Prefilter:
    """Finds all triggers in a text.

    Args:
        triggers: What to look for; none is empty.
    """

    def __init__(self, triggers: Iterable[Trigger]) -> None:
        self._triggers = tuple(triggers)

    def hits(self, data: bytes, start: int) -> list[tuple[int, int, Trigger]]:
        """Return the triggers in a text, from left to right: (its beginning, its number, the trigger).

        Args:
            data: The text.
            start: Where to begin; a trigger that begins before is not found.
        """
        lower = data.lower()
        found = [
            (at, which, trigger)
            for at, which in self._found(lower, start)
            if (trigger := self._triggers[which]).follows is None
            or trigger.follows.match(lower, at + len(trigger.text))
        ]
        return sorted(found, key=_PLACE)

    def _found(self, lower: bytes, start: int) -> Iterable[tuple[int, int]]:
        automaton = self._quickly_made if len(lower) < SHORT_BYTES else self._automaton
        if automaton is None:
            return (*self._by_first_letter(lower, start), *self._in_long_words(lower, start))
        found = automaton.find_matches_as_indexes(lower, overlapping=True)
        return ((at, which) for which, at, _ in found if at >= start)

    def _by_first_letter(self, lower: bytes, start: int) -> Iterator[tuple[int, int]]:
        """Stop at each letter that begins a trigger, and look which triggers stand there."""
        by_letter, pattern = self._first_letters
        for match in pattern.finditer(lower, start):
            at = match.start()
            for which, text in by_letter[match[0]]:
                if lower.startswith(text, at):
                    yield at, which

    def _in_long_words(self, lower: bytes, start: int) -> Iterator[tuple[int, int]]:
        """Look for the prefixes of tokens where something begins within a long word."""
        for word in _LONG_WORD.finditer(lower, start):
            for match in _BEGINNING.finditer(lower, *word.span()):
                at = match.start()
                for which, text in self._prefixes.get(lower[at : at + _PREFIX_BYTES], ()):
                    if lower.startswith(text, at):
                        yield at, which

    @cached_property
    def _first_letters(self) -> tuple[dict[bytes, list[tuple[int, bytes]]], re.Pattern[bytes]]:
        by_letter: dict[bytes, list[tuple[int, bytes]]] = {}
        for which, trigger in enumerate(self._triggers):
            if not trigger.in_long_word:
                by_letter.setdefault(trigger.text[:1], []).append((which, trigger.text))
        # Only the first letter is consumed, since a trigger may begin within another one.
        branches = (
            re.escape(letter) + b"(?=%s)" % b"|".join(re.escape(text[1:]) for _, text in some)
            for letter, some in by_letter.items()
        )
        return by_letter, re.compile(b"|".join(branches))

    @cached_property
    def _prefixes(self) -> dict[bytes, list[tuple[int, bytes]]]:
        prefixes: dict[bytes, list[tuple[int, bytes]]] = {}
        for which, trigger in enumerate(self._triggers):
            if trigger.in_long_word:
                prefixes.setdefault(trigger.text[:_PREFIX_BYTES], []).append((which, trigger.text))
        return prefixes

    @cached_property
    def _automaton(self) -> Any:
        return automaton([trigger.text for trigger in self._triggers])

    @cached_property
    def _quickly_made(self) -> Any:
        return automaton([trigger.text for trigger in self._triggers], is_quickly_made=True)


def automaton(texts: Collection[bytes], *, is_quickly_made: bool = False) -> Any:
    """Return what finds many texts in one walk; None where ahocorasick-rs is not installed.

    Args:
        texts: What to look for; none is empty.
        is_quickly_made: It is made in a quarter of the time, and takes twice the time to walk over a text.
    """
    try:
        from ahocorasick_rs import BytesAhoCorasick, Implementation
    except ImportError:
        return None
    return BytesAhoCorasick(texts, implementation=None if is_quickly_made else Implementation.DFA)


class KnownSecrets:
    """Finds secrets that are known by themselves, such as the credentials of handlers. Most texts have none.

    Args:
        secrets: The secrets, in each form in which they may be written; none is empty.
    """

    def __init__(self, secrets: Collection[bytes]) -> None:
        self._secrets = tuple(secrets)

    def places(self, data: bytes, start: int) -> Iterator[tuple[int, int]]:
        """Yield where secrets begin and end, for one secret after the other.

        Args:
            data: The text.
            start: Where to begin; a secret that begins before is not found.
        """
        if not self._may_be_in(data):
            return
        for secret in self._secrets:
            at = data.find(secret, start)
            while at >= 0:
                yield at, at + len(secret)
                at = data.find(secret, at + len(secret))

    def _may_be_in(self, data: bytes) -> bool:
        """Return False only if no secret is in a text; for a long text and many secrets one walk tells."""
        if len(data) < SHORT_BYTES or len(self._secrets) < _FEW_SECRETS or self._ends is None:
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
