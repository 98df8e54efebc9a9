"""What is said of a run that has stalled or taken too long, in the messages of its stalls and of its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from supervisor._models.parts import Facts, Row, Text
from supervisor._text import counted, duration, one_line, ordinal

if TYPE_CHECKING:
    from supervisor._models.values import MessageDetails, RunReport

_THIRD = 3


def counted_in(details: MessageDetails, times: int, untold: int) -> MessageDetails:
    """Return the message of a stall that says the how manieth of its run it is; that of the first stays as it is.

    Args:
        details: The message; its first part is the text that tells what happened.
        times: How many stalls there were, with this one.
        untold: How many right before it stayed untold.
    """
    if times == 1:
        return details
    which = f"It is the {ordinal(times)} stall of this run"
    if untold:
        which += f", and {counted(untold, 'stall')} before it stayed untold"
    if times == _THIRD:
        which += ": from now on at most one an hour is told, and no more that the run goes on"
    lead, *rest = details.parts
    assert isinstance(lead, Text)
    parts = (attrs.evolve(lead, text=f"{lead.text} {which}."), *rest)
    return attrs.evolve(details, subject=one_line(f"{details.subject}, for the {ordinal(times)} time"), parts=parts)


def goes_on(report: RunReport, lasted_s: float) -> MessageDetails:
    """Return the message that a run which had stalled makes progress again.

    Args:
        report: What is known of the run.
        lasted_s: For how many seconds it made none.
    """
    from supervisor._messages.builder import message_from_parts
    from supervisor._messages.sections import machine_facts
    from supervisor._messages.subjects import progress_again_subject, progress_line
    from supervisor._models.kinds import Kind

    headline = progress_again_subject(report)
    facts = machine_facts(report)
    if report.progress is not None:
        facts = Facts("", (Row("Progress", progress_line(report.progress)), *facts.rows), "machine")
    return message_from_parts(
        Kind.RECOVERY, headline, (Text(f"{headline}, after it had made none for {duration(lasted_s)}."), facts), report
    )
