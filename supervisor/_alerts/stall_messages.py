"""What a run without a journal remembers of its alerts: what was notified, and who is to hear of the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._models.alerts import Notification, StallHistory, next_stall, recovery_is_notified
from supervisor._models.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


class FindingsInMemory:
    """What was told of one run, as the journal keeps it.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stalls: StallHistory | None = None
        self._owed: dict[Kind, tuple[str, ...]] = {}
        self.is_overdue = False

    @property
    def stalls(self) -> int:
        """Return how often the run has stalled."""
        return self._stalls.times if self._stalls is not None else 0

    @property
    def is_held_back(self) -> bool:
        """Tell whether the last stall is still to be told."""
        return self._stalls is not None and self._stalls.skipped > 0

    @property
    def owed(self) -> frozenset[str]:
        """Return who is to hear of the end."""
        return frozenset().union(*self._owed.values())

    def note(self, kind: Kind, *, is_new: bool) -> Notification | None:
        """Note a finding; return what is to be told of it, if anything."""
        if kind is not Kind.STALLED:
            self.is_overdue = True
            return Notification()
        changed = next_stall(self._stalls, 0.0, self._clock(), is_new=is_new)
        if changed is None:
            return None
        self._stalls, noted = changed
        return noted

    def await_recovery(self, kind: Kind, names: Iterable[str]) -> None:
        """Note who is to hear of the end of a finding."""
        self._owed[kind] = union(self._owed.get(kind, ()), names)

    def resolve_stall(self) -> tuple[str, ...]:
        """Return who is to hear now that the run goes on."""
        return self._owed.pop(Kind.STALLED, ()) if recovery_is_notified(self.stalls) else ()


def union(names: Collection[str], more: Iterable[str]) -> tuple[str, ...]:
    """Return names in their order, each once."""
    return tuple(dict.fromkeys((*names, *more)))
