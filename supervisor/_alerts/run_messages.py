"""What the watch over a run's limits finds, and how it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from supervisor._models.kinds import Kind

if TYPE_CHECKING:
    from datetime import datetime

    from supervisor._models.values import MessageDetails, RunReport


@attrs.frozen(kw_only=True)
class Finding:
    """A run that stalled, or that takes too long.

    Args:
        kind: ``Kind.STALLED`` or ``Kind.OVERDUE``.
        since: The run's last sign of life, or its start, as an aware UTC datetime.
        lasted_s: Seconds since then.
        limit_s: How many there may be.
        interrupts: True when the run is interrupted now; False when it is left to go on.
        stacks: What every thread was doing.
        is_known: True for a stall that was found before, and was held back.
    """

    kind: Kind
    since: datetime
    lasted_s: float
    limit_s: float
    interrupts: bool = False
    stacks: str = ""
    is_known: bool = False

    @property
    def setting(self) -> str:
        """Return the setting that drew the limit."""
        return "stall_after_s" if self.kind is Kind.STALLED else "max_duration_s"

    def __str__(self) -> str:
        from supervisor._text import duration

        did = "made no progress for" if self.kind is Kind.STALLED else "took longer than"
        return f"{did} {duration(self.limit_s)} ({self.setting})"


def message_of(finding: Finding, report: RunReport) -> MessageDetails:
    """Return the message that tells of a finding: what every thread is doing, then what is known of the run.

    Args:
        finding: What was found.
        report: What is known of the run; it goes along on the message.
    """
    from supervisor._messages.builder import message_from_parts
    from supervisor._models.parts import Code, Summary, Text
    from supervisor._text import duration, local_time

    headline = _headline(finding, report)
    since = "Its last sign of life was" if finding.kind is Kind.STALLED else "It started"
    fate = "It is interrupted now." if finding.interrupts else "It is left to go on."
    lead = (
        f"{headline} ({finding.setting} is {finding.limit_s:g}). {since} {duration(finding.lasted_s)} ago, at "
        f"{local_time(finding.since)}. {fate}"
    )
    stacks = (Code("What its threads are doing", finding.stacks, "traceback"),) if finding.stacks else ()
    return message_from_parts(finding.kind, headline, (Text(lead), *stacks, Summary()), report)


def _headline(finding: Finding, report: RunReport) -> str:
    from supervisor._messages.subjects import overdue_subject, stalled_subject

    if finding.kind is Kind.STALLED:
        return stalled_subject(report, finding.limit_s)
    return overdue_subject(report, finding.lasted_s)
