"""Which stalls of a run are told, whoever finds them, and what is known of what was told: also without a journal.

The first three stalls of a run are told, each of the first two with its end. From then on a stall is told when an hour
has passed since one was told, and that the run goes on only with its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from supervisor._models.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

TOLD_ONE_BY_ONE = 3
TOLD_AGAIN_S = 3600.0


class Noted(NamedTuple):
    """A finding that is to be told now.

    Args:
        times: How many there were of it so far, with this one; a run can stall many times.
        untold: How many right before it stayed untold.
    """

    times: int = 1
    untold: int = 0


class Stalls(NamedTuple):
    """The stalls of one run.

    Args:
        since_s: When the last one began.
        told_at_s: When one was last told.
        times: How many there were.
        untold: How many there were since one was told.
    """

    since_s: float
    told_at_s: float
    times: int = 1
    untold: int = 0

    def may_be_told(self, now_s: float) -> bool:
        """Tell whether a stall would be told now."""
        return self.times < TOLD_ONE_BY_ONE or now_s - self.told_at_s >= TOLD_AGAIN_S

    def is_held_back_until(self, now_s: float) -> bool:
        """Tell whether one that was held back is to be told now."""
        return self.untold > 0 and self.may_be_told(now_s)


def may_be_over(times: int) -> bool:
    """Tell whether it is told that a run goes on: not any more where it has stalled so many times."""
    return times < TOLD_ONE_BY_ONE


def next_stall(
    known: Stalls | None, since_s: float, now_s: float, *, is_new: bool = False
) -> tuple[Stalls, Noted | None] | None:
    """Return what is known after a run was found to make no progress, and what is to be told of it.

    Args:
        known: What was known before; None when it had not stalled.
        since_s: When its last progress was.
        now_s: The moment, by the same clock.
        is_new: True for a stall of its own though no progress is known since the last one.

    Returns:
        None when nothing changes: this stall is told, or still held back.
    """
    if known is None:
        return Stalls(since_s, now_s), Noted()
    is_known = since_s == known.since_s and not is_new
    may_be_told = known.may_be_told(now_s)
    if is_known and not known.is_held_back_until(now_s):
        return None
    times, untold = known.times + (not is_known), known.untold
    if may_be_told:
        return Stalls(since_s, now_s, times), Noted(times, untold - is_known)
    return Stalls(since_s, known.told_at_s, times, untold + 1), None


class FindingsInMemory:
    """What was told of one run, as the journal keeps it.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stalls: Stalls | None = None
        self._owed: dict[Kind, tuple[str, ...]] = {}
        self.is_overdue = False

    @property
    def stalls(self) -> int:
        """Return how often the run has stalled."""
        return self._stalls.times if self._stalls is not None else 0

    @property
    def is_held_back(self) -> bool:
        """Tell whether the last stall is still to be told."""
        return self._stalls is not None and self._stalls.untold > 0

    @property
    def owed(self) -> frozenset[str]:
        """Return who is to hear of the end."""
        return frozenset().union(*self._owed.values())

    def note(self, kind: Kind, *, is_new: bool) -> Noted | None:
        """Note a finding; return what is to be told of it, if anything."""
        if kind is not Kind.STALLED:
            self.is_overdue = True
            return Noted()
        changed = next_stall(self._stalls, 0.0, self._clock(), is_new=is_new)
        if changed is None:
            return None
        self._stalls, noted = changed
        return noted

    def owe_end(self, kind: Kind, names: Iterable[str]) -> None:
        """Note who is to hear of the end of a finding."""
        self._owed[kind] = union(self._owed.get(kind, ()), names)

    def end_stall(self) -> tuple[str, ...]:
        """Return who is to hear now that the run goes on."""
        return self._owed.pop(Kind.STALLED, ()) if may_be_over(self.stalls) else ()


def union(names: Collection[str], more: Iterable[str]) -> tuple[str, ...]:
    """Return names in their order, each once."""
    return tuple(dict.fromkeys((*names, *more)))
