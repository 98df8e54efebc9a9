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
"""A shorter text does not make up for the time that ahocorasick-rs takes to load."""

_FEW_SECRETS = 3
_END_BYTES = 12


_PLACE = itemgetter(0, 1)


class Trigger(NamedTuple):
    """A text near which there may be a secret.

    Args:
        text: The text to look for, in lower case; it is found in any case.
        find: Takes the bytes and where the trigger begins; returns the secret, or None where there is none.
        follows: What must follow the trigger, in lower case, if that makes most closer looks unnecessary.
    """

    text: bytes
    find: Callable[[bytes, int], Span | None]
    follows: re.Pattern[bytes] | None = None


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
        if len(lower) - start < SHORT_BYTES or self._automaton is None:
            return self._by_first_letter(lower, start)
        found = self._automaton.find_matches_as_indexes(lower, overlapping=True)
        return ((at, which) for which, at, _ in found if at >= start)

    def _by_first_letter(self, lower: bytes, start: int) -> Iterator[tuple[int, int]]:
        """Stop at each letter that begins a trigger, and look which triggers stand there."""
        by_letter, pattern = self._first_letters
        for match in pattern.finditer(lower, start):
            at = match.start()
            for which, text in by_letter[match[0]]:
                if lower.startswith(text, at):
                    yield at, which

    @cached_property
    def _first_letters(self) -> tuple[dict[bytes, list[tuple[int, bytes]]], re.Pattern[bytes]]:
        by_letter: dict[bytes, list[tuple[int, bytes]]] = {}
        for which, trigger in enumerate(self._triggers):
            by_letter.setdefault(trigger.text[:1], []).append((which, trigger.text))
        # Only the first letter is consumed, since a trigger may begin within another one.
        branches = (
            re.escape(letter) + b"(?=%s)" % b"|".join(re.escape(text[1:]) for _, text in some)
            for letter, some in by_letter.items()
        )
        return by_letter, re.compile(b"|".join(branches))

    @cached_property
    def _automaton(self) -> Any:
        return automaton([trigger.text for trigger in self._triggers])


def automaton(texts: Collection[bytes]) -> Any:
    """Return what finds many texts in one walk; None where ahocorasick-rs is not installed."""
    try:
        from ahocorasick_rs import BytesAhoCorasick
    except ImportError:
        return None
    return BytesAhoCorasick(texts)


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
        return automaton({each[-_END_BYTES:] for each in self._secrets})
