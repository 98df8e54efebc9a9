"""Finds secrets that are known by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor._redaction.prefilter import SHORT_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

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
        from supervisor._redaction.automata import automata, has_any

        if self._automata is None:
            try:
                # Ends tell more than beginnings, which may be those of any URL, and forms share them.
                self._automata = automata({each[-_END_BYTES:] for each in self._secrets})
            except ImportError:
                self._automata = []
        return not self._automata or has_any(self._automata, data)
