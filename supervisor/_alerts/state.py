"""What a run knows of its own stalls and of being overdue, by its own watch and by checks, and who is to hear the end.

With a journal, what is told and whom the end is owed to stands there, so that the run and every check tell it once
between them. Without one the run goes by its own memory.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import attrs

from supervisor._alerts.stall_messages import FindingsInMemory
from supervisor._models.kinds import Kind
from supervisor._store.essentials import JournalUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import datetime

    from supervisor._alerts.run_messages import Finding
    from supervisor._models.alerts import AlertSummary, Notification
    from supervisor._run.recorder import Recorder
    from supervisor._run.state import RunState
    from supervisor._store import Journal
    from supervisor._store.records import AlertRecord


class Slowness:
    """What is known of one run.

    Args:
        run: The run.
        recorder: Has its journal.
    """

    def __init__(self, run: RunState, recorder: Recorder) -> None:
        self._run = run
        self._recorder = recorder
        self._seen = FindingsInMemory(monotonic)
        self._went_on = False
        self._stalled_at: datetime | None = None
        self._lasted_s: float | None = None

    # While it runs

    def found(self, finding: Finding, tell: Callable[[Notification], Collection[str]] | None) -> bool:
        """Note that the run stalls or takes too long, in one commit with the message.

        Args:
            finding: Which of it.
            tell: Stores the message, and returns the names of those who are to hear of the end too. It is not called
                for what ``supervisor check`` has told, nor for a stall that is not to be told now. None where nobody
                wants to hear of it: then nothing is claimed, and a check may tell others.

        Returns:
            True for a stall that is held back for now.
        """
        is_new, self._went_on = self._went_on, False
        if finding.kind is Kind.STALLED:
            self._stalled_at, self._lasted_s = finding.since, None
        noted = self._seen.note(finding.kind, is_new=is_new)
        if tell is None:
            return False
        journal = self._recorder.journal
        if journal is not None:
            try:
                return self._found(journal, finding.kind, tell, is_new=is_new)
            except JournalUnavailable as error:
                self._recorder.stop_using_journal(error)
        if noted is not None:
            self._seen.await_recovery(finding.kind, tell(noted))
        return finding.kind is Kind.STALLED and self._seen.is_held_back

    def _found(
        self, journal: Journal, kind: Kind, tell: Callable[[Notification], Collection[str]], *, is_new: bool
    ) -> bool:
        with journal.one_commit():
            # The journal knows progress alone, and takes two stalls with other signs of life between for one.
            noted = journal.open_alert(kind, self._run.id, is_new=is_new)
            if noted is not None:
                journal.await_recovery(kind, self._run.id, tell(noted))
                return False
            return kind is Kind.STALLED and any(each.skipped for each in journal.alerts_of(self._run.id))

    def goes_on(
        self, lasted_s: float, tell: Callable[[Collection[str]], None], ours: Collection[str] | None = None
    ) -> None:
        """Note that the run goes on after it stalled, in one commit with the message.

        Args:
            lasted_s: How long it had stalled.
            tell: Stores the message for handlers of these names; it is not called where nobody is to hear of it.
            ours: Whom we can reach, where somebody else sees to the others; None for all.
        """
        self._went_on, self._lasted_s = True, lasted_s
        owed = self._seen.resolve_stall()
        journal = self._recorder.journal
        if journal is None:
            if owed:
                tell(owed)
            return
        with self._recorder.faults_logged(), journal.one_commit():
            if owed := journal.resolve_stall(self._run.id, only=ours) or ():
                tell(owed)

    # At its end

    def so_far(self, last_stall_s: float | None) -> AlertSummary | None:
        """Return how the run has stalled or taken too long; None where it has not.

        Args:
            last_stall_s: How long the stall lasted in which it ended; None for none.
        """
        slow, seen = slow_by(self._told()), self._seen
        stalls = max(slow.stalls, seen.stalls)
        slow = attrs.evolve(slow, stalls=stalls, is_overdue=slow.is_overdue or seen.is_overdue)
        if stalls == 1 and self._stalled_at is not None:
            lasted_s = last_stall_s if self._lasted_s is None else self._lasted_s
            slow = attrs.evolve(slow, stalled_at=self._stalled_at, lasted_s=lasted_s)
        return slow if slow.clause else None

    def owed(self) -> frozenset[str]:
        """Return the names of the handlers that are to hear of a good end, since they heard of what it ends."""
        return self._seen.owed.union(*(each.awaiting_recovery for each in self._told()))

    def mark_recovery_notified(self, names: Collection[str]) -> None:
        """Note that handlers hear of a good end, in the commit that stores its messages."""
        journal = self._recorder.journal
        if journal is not None:
            with self._recorder.faults_logged():
                for each in self._told():
                    if each.awaiting_recovery:
                        journal.mark_recovery_notified(each.key, names)

    def _told(self) -> tuple[AlertRecord, ...]:
        journal = self._recorder.journal
        if journal is not None:
            with self._recorder.faults_logged():
                return journal.alerts_of(self._run.id)
        return ()


def slow_by(records: Iterable[AlertRecord]) -> AlertSummary:
    """Return how a run was slow, by what was told of it."""
    from supervisor._models.alerts import AlertSummary

    by_kind = {each.kind: each for each in records}
    stalled = by_kind.get(Kind.STALLED)
    return AlertSummary(
        stalls=stalled.times if stalled is not None else 0,
        stalled_at=stalled.since if stalled is not None else None,
        is_overdue=Kind.OVERDUE in by_kind,
    )
