"""What is known of a run's alerts: how often it stalled, which stalls people are notified of, and how that is put.

The journal stores these values, the rules of ``supervisor._alerts`` work on them, and the messages of a run quote them.

The first three stalls of a run are notified, each of the first two with its end. From then on a stall is notified when
an hour has passed since the last notification, and that the run goes on only with its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs

from supervisor._text import counted, duration, local_time

if TYPE_CHECKING:
    from datetime import datetime

NOTIFIED_SINGLY = 3
"""So many stalls of a run are notified one by one."""

NOTIFY_AGAIN_AFTER_S = 3600.0
"""Later stalls are notified when so many seconds have passed since the last notification."""


class Notification(NamedTuple):
    """An alert that people are to be notified of now.

    Args:
        times: How many there were of it in this run so far, with this one; a run can stall many times.
        skipped: How many right before it were not notified.
    """

    times: int = 1
    skipped: int = 0


class StallHistory(NamedTuple):
    """The stalls of one run.

    Args:
        since_s: When the last one began.
        notified_at_s: When people were last notified of one.
        times: How many there were.
        skipped: How many there were since the last notification.
    """

    since_s: float
    notified_at_s: float
    times: int = 1
    skipped: int = 0

    def may_notify(self, now_s: float) -> bool:
        """Return whether another stall would be notified now."""
        return self.times < NOTIFIED_SINGLY or now_s - self.notified_at_s >= NOTIFY_AGAIN_AFTER_S

    def skipped_one_is_due(self, now_s: float) -> bool:
        """Return whether a stall that was skipped, and that lasts, is to be notified now."""
        return self.skipped > 0 and self.may_notify(now_s)


def recovery_is_notified(times: int) -> bool:
    """Return whether people are notified that a run goes on: no longer once it has stalled so many times."""
    return times < NOTIFIED_SINGLY


def next_stall(
    known: StallHistory | None, since_s: float, now_s: float, *, is_new: bool = False
) -> tuple[StallHistory, Notification | None] | None:
    """Return the history after a run was found to be stalled, and what to notify people of.

    Args:
        known: What was known before; None when the run had not stalled.
        since_s: When its last progress was.
        now_s: The moment, by the same clock.
        is_new: True for a stall of its own although no progress is known since the last one.

    Returns:
        None when nothing changes: people were notified of this stall, or it is still skipped.
    """
    if known is None:
        return StallHistory(since_s, now_s), Notification()
    is_known = since_s == known.since_s and not is_new
    may_notify = known.may_notify(now_s)
    if is_known and not known.skipped_one_is_due(now_s):
        return None
    times, skipped = known.times + (not is_known), known.skipped
    if may_notify:
        return StallHistory(since_s, now_s, times), Notification(times, skipped - is_known)
    return StallHistory(since_s, known.notified_at_s, times, skipped + 1), None


@attrs.frozen(kw_only=True)
class AlertSummary:
    """How a run has stalled or taken too long, for the messages of its stalls and of its end.

    Args:
        stalls: How often it has stalled.
        stalled_at: When the stall began; of interest where there was one.
        lasted_s: How long the stall lasted; None where that is not known.
        is_overdue: Whether it took longer than it should.
    """

    stalls: int = 0
    stalled_at: datetime | None = None
    lasted_s: float | None = None
    is_overdue: bool = False

    @property
    def clause(self) -> str:
        """Return it in short ("it had stalled 3 times and was overdue"); "" for nothing."""
        return self._worded(f" {counted(self.stalls, 'time')}" if self.stalls > 1 else "")

    @property
    def sentence(self) -> str:
        """Return it with times ("It had stalled at 2026-03-02 02:10:00 for 12 min."); "" for nothing."""
        if self.stalls != 1 or self.stalled_at is None:
            worded = self.clause
        else:
            lasted = f" for {duration(self.lasted_s)}" if self.lasted_s is not None else ""
            worded = self._worded(f" at {local_time(self.stalled_at)}{lasted}")
        return f"{worded[:1].upper()}{worded[1:]}." if worded else ""

    def _worded(self, stalls: str) -> str:
        parts = [f"had stalled{stalls}"] if self.stalls else []
        parts += ["was overdue"] if self.is_overdue else []
        return f"it {' and '.join(parts)}" if parts else ""
