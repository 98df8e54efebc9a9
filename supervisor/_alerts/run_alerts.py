"""What is known of one run's alerts: who was notified, and who is to be notified of the recovery.

With a journal, all of this stands there, so that between them the run and every check notify people once. Without one
the run goes by its own memory.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Protocol

import attrs

from supervisor._models.alerts import AlertSummary, Notification, StallHistory, next_stall, recovery_is_notified
from supervisor._models.kinds import Kind
from supervisor._store.essentials import JournalUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from supervisor._alerts.rules import RunAlert
    from supervisor._store import Store
    from supervisor._store.records import AlertRecord


class Identified(Protocol):
    """A run: its id is made when it is first asked for."""

    @property
    def id(self) -> str:
        """Return the id of the run."""


class JournalAccess(Protocol):
    """How a run uses its journal."""

    @property
    def journal(self) -> Store | None:
        """Return the journal; None where the run has none, and after a fault."""

    def stop_using_journal(self, error: JournalUnavailable) -> None:
        """Use the journal no longer."""

    def faults_logged(self) -> AbstractContextManager[None]:
        """Log a fault of the journal in the block, and use it no longer."""


class RunAlerts:
    """The alerts of one run.

    Args:
        run: The run.
        access: Has its journal.
    """

    def __init__(self, run: Identified, access: JournalAccess) -> None:
        self._run = run
        self._access = access
        self._memory = AlertsInMemory(monotonic)
        self._went_on = False
        self._stalled_at: datetime | None = None
        self._lasted_s: float | None = None

    # While it runs

    def raised(self, alert: RunAlert, notify: Callable[[Notification], Collection[str]] | None) -> bool:
        """Note that the run is stalled or overdue, in one commit with the message.

        Args:
            alert: Which of it.
            notify: Stores the message, and returns the names of the handlers that await the recovery too. It is not
                called where ``supervisor check`` has notified people, nor for a stall that is skipped. None where
                nobody wants to be notified: then a check may notify others.

        Returns:
            True for a stall that is skipped for now.
        """
        is_new, self._went_on = self._went_on, False
        if alert.kind is Kind.STALLED:
            self._stalled_at, self._lasted_s = alert.since, None
        notification = self._memory.note(alert.kind, is_new=is_new)
        if notify is None:
            return False
        journal = self._access.journal
        if journal is not None:
            try:
                return self._raised(journal, alert.kind, notify, is_new=is_new)
            except JournalUnavailable as error:
                self._access.stop_using_journal(error)
        if notification is not None:
            self._memory.await_recovery(alert.kind, notify(notification))
        return alert.kind is Kind.STALLED and self._memory.is_skipped

    def _raised(
        self, journal: Store, kind: Kind, notify: Callable[[Notification], Collection[str]], *, is_new: bool
    ) -> bool:
        with journal.one_commit():
            # The journal knows progress alone, and takes two stalls with other signs of life between for one.
            notification = journal.open_alert(kind, self._run.id, is_new=is_new)
            if notification is not None:
                journal.await_recovery(kind, self._run.id, notify(notification))
                return False
            return kind is Kind.STALLED and any(each.skipped for each in journal.alerts_of(self._run.id))

    def goes_on(
        self, lasted_s: float, notify: Callable[[Collection[str]], None], ours: Collection[str] | None = None
    ) -> None:
        """Note that the run goes on after it stalled, in one commit with the message.

        Args:
            lasted_s: How long it had stalled.
            notify: Stores the message for handlers of these names; it is not called where nobody awaits the recovery.
            ours: Which handlers we can reach, where another process serves the others; None for all.
        """
        self._went_on, self._lasted_s = True, lasted_s
        awaiting = self._memory.resolve_stall()
        journal = self._access.journal
        if journal is None:
            if awaiting:
                notify(awaiting)
            return
        with self._access.faults_logged(), journal.one_commit():
            if awaiting := journal.resolve_stall(self._run.id, only=ours) or ():
                notify(awaiting)

    # At its end

    def summary(self, last_stall_s: float | None) -> AlertSummary | None:
        """Return how the run has stalled or taken too long; None where it has not.

        Args:
            last_stall_s: How long the stall lasted in which it ended; None for none.
        """
        found, memory = summary_of(self._records()), self._memory
        stalls = max(found.stalls, memory.stalls)
        found = attrs.evolve(found, stalls=stalls, is_overdue=found.is_overdue or memory.is_overdue)
        if stalls == 1 and self._stalled_at is not None:
            lasted_s = last_stall_s if self._lasted_s is None else self._lasted_s
            found = attrs.evolve(found, stalled_at=self._stalled_at, lasted_s=lasted_s)
        return found if found.clause else None

    def awaiting_recovery(self) -> frozenset[str]:
        """Return the names of the handlers that are to be notified of a good end, since they know what it ends."""
        return self._memory.awaiting.union(*(each.awaiting_recovery for each in self._records()))

    def mark_recovery_notified(self, names: Collection[str]) -> None:
        """Note that handlers are notified of a good end, in the commit that stores its messages."""
        journal = self._access.journal
        if journal is not None:
            with self._access.faults_logged():
                for each in self._records():
                    if each.awaiting_recovery:
                        journal.mark_recovery_notified(each.key, names)

    def _records(self) -> tuple[AlertRecord, ...]:
        journal = self._access.journal
        if journal is not None:
            with self._access.faults_logged():
                return journal.alerts_of(self._run.id)
        return ()


def summary_of(records: Iterable[AlertRecord]) -> AlertSummary:
    """Return how a run has stalled or taken too long, by what people were notified of."""
    by_kind = {each.kind: each for each in records}
    stalled = by_kind.get(Kind.STALLED)
    return AlertSummary(
        stalls=stalled.times if stalled is not None else 0,
        stalled_at=stalled.since if stalled is not None else None,
        is_overdue=Kind.OVERDUE in by_kind,
    )


class AlertsInMemory:
    """What a run remembers of its own alerts, as the journal keeps it.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stalls: StallHistory | None = None
        self._awaiting: dict[Kind, tuple[str, ...]] = {}
        self.is_overdue = False

    @property
    def stalls(self) -> int:
        """Return how often the run has stalled."""
        return self._stalls.times if self._stalls is not None else 0

    @property
    def is_skipped(self) -> bool:
        """Return whether people are still to be notified of the last stall."""
        return self._stalls is not None and self._stalls.skipped > 0

    @property
    def awaiting(self) -> frozenset[str]:
        """Return the names of the handlers that await the recovery."""
        return frozenset().union(*self._awaiting.values())

    def note(self, kind: Kind, *, is_new: bool) -> Notification | None:
        """Note an alert; return what to notify people of, if anything."""
        if kind is not Kind.STALLED:
            self.is_overdue = True
            return Notification()
        changed = next_stall(self._stalls, 0.0, self._clock(), is_new=is_new)
        if changed is None:
            return None
        self._stalls, notification = changed
        return notification

    def await_recovery(self, kind: Kind, names: Iterable[str]) -> None:
        """Note which handlers await the recovery from an alert; those that were noted before stay."""
        self._awaiting[kind] = tuple(dict.fromkeys((*self._awaiting.get(kind, ()), *names)))

    def resolve_stall(self) -> tuple[str, ...]:
        """Return which handlers to notify now that the run goes on."""
        return self._awaiting.pop(Kind.STALLED, ()) if recovery_is_notified(self.stalls) else ()
