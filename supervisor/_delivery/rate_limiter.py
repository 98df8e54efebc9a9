"""Limit how many notices a run sends when its script sends too many."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BURST = 500
PER_S = 1.0
_REMEMBERED = 5
_SUBJECT_LIMIT = 100_000  # more than is ever shown: a secret that is cut in two is not recognised and redacted


class RateLimiter:
    """Allows a burst of messages, then one a second, and counts the others.

    Args:
        burst: How many are allowed at once.
        per_s: How many a second are allowed after that.
        clock: Returns seconds from a clock that never goes back.
    """

    def __init__(self, burst: int = BURST, per_s: float = PER_S, clock: Callable[[], float] = monotonic) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._left: float = burst
        self._looked_s = clock()
        self.held_back = 0
        self.last_subjects: deque[str] = deque(maxlen=_REMEMBERED)

    def allows(self, subject: object) -> bool:
        """Tell whether a message may be sent; otherwise count it and remember its subject for a while."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._looked_s) * self._per_s)
        self._looked_s = now
        if self._left >= 1:
            self._left -= 1
            return True
        self.held_back += 1
        self.last_subjects.append(str(getattr(subject, "subject", subject))[:_SUBJECT_LIMIT])
        return False
