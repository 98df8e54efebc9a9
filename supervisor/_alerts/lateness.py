"""Which runs under way are late: without progress for too long, or under way for too long."""

from __future__ import annotations

from typing import NamedTuple

NOTED_WITHIN_S = 2.0
"""Progress is noted once a second at most: what is noted last may be older than what was made last."""


class Late(NamedTuple):
    """Since when a run under way is late, in seconds since 1970 (UTC).

    Args:
        stalled_since_s: Its last sign of life, where it has stalled; None where it has not.
        overdue_since_s: The end of the time allowed, where that is over; None where it is not.
    """

    stalled_since_s: float | None = None
    overdue_since_s: float | None = None


NOT_LATE = Late()


def late(
    now_s: float, *, started_at_s: float, seen_at_s: float, stall_after_s: float | None, max_duration_s: float | None
) -> Late:
    """Return since when a run under way is late, by the limits that it was started with.

    It goes by the clock on the wall; a check, which tells people, leaves out the time that the machine slept.

    Args:
        now_s: The instant, in seconds since 1970 (UTC).
        started_at_s: When it started.
        seen_at_s: Its last sign of life: its last progress, or its start.
        stall_after_s: The longest it should be without progress; None without a limit.
        max_duration_s: The longest it should take; None without a limit.
    """
    has_stalled = stall_after_s is not None and now_s - seen_at_s > stall_after_s + NOTED_WITHIN_S
    until_s = started_at_s + max_duration_s if max_duration_s is not None else now_s
    return Late(seen_at_s if has_stalled else None, until_s if now_s > until_s else None)
