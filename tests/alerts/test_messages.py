"""What is said of runs that have stalled or taken too long."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from supervisor._alerts.messages import goes_on, with_stall_number
from supervisor._messages import message_for, message_from_parts
from supervisor._models import Kind, Outcome
from supervisor._models.parts import AlertSummary, Notification, Past, Text
from supervisor._text import local_time
from supervisor.models import Progress, RunReport

FROM_NOW_ON = "at most one stall an hour is reported, and the end of a stall is no longer reported"
AT = datetime(2026, 3, 2, 2, 10, tzinfo=UTC)


def report(**facts: Any) -> RunReport:
    """Return what is known of a run."""
    return RunReport(id="1", name="night", host="vm", started_at=AT, duration_s=2_460.0, **facts)


@pytest.mark.parametrize(
    ("slow", "clause", "sentence"),
    [
        (AlertSummary(), "", ""),
        (AlertSummary(is_overdue=True), "it was overdue", "It was overdue."),
        (AlertSummary(stalls=1), "it had stalled", "It had stalled."),
        (AlertSummary(stalls=1, stalled_at=AT), "it had stalled", f"It had stalled at {local_time(AT)}."),
        (
            AlertSummary(stalls=1, stalled_at=AT, lasted_s=720, is_overdue=True),
            "it had stalled and was overdue",
            f"It had stalled at {local_time(AT)} for 12 min and was overdue.",
        ),
        (AlertSummary(stalls=14, stalled_at=AT), "it had stalled 14 times", "It had stalled 14 times."),
    ],
)
def test_it_is_said_in_short_and_with_times(slow: AlertSummary, clause: str, sentence: str) -> None:
    """A subject has it in short; the text has when and for how long, where it was once."""
    assert (slow.clause, slow.sentence) == (clause, sentence)


def test_good_ends_have_it_in_subject_and_text() -> None:
    """A recovery has all of it: that it recovered, how it was slow, and the failures before it."""
    slow = AlertSummary(stalls=1, stalled_at=AT, lasted_s=720, is_overdue=True)
    past = Past(failures=3, failing_since=AT)
    message = message_for(Kind.RECOVERY, report(outcome=Outcome.SUCCESS), past=past, alerts=slow)
    assert message.subject == "night recovered on vm: it had stalled and was overdue"
    assert " ".join(message.message.split()).startswith(
        f"night recovered on vm: it succeeded after 41 min. It had stalled at {local_time(AT)} for 12 min and was "
        f"overdue. Before it, 3 runs failed in a row, since {local_time(AT)}."
    )


def test_bad_ends_have_it_in_the_text_alone() -> None:
    """The subject of a failure is as ever, and it has one sentence more."""
    message = message_for(Kind.FAILURE, report(outcome=Outcome.FAILURE), (), "Note.", alerts=AlertSummary(stalls=2))
    assert message.subject == "night failed on vm"
    assert message.message.startswith("night failed on vm after 41 min. It had stalled 2 times. Note.")


@pytest.mark.parametrize(
    ("times", "skipped", "said"),
    [
        (2, 0, "Lead. It is the second stall of this run."),
        (
            3,
            0,
            f"Lead. It is the third stall of this run. From now on {FROM_NOW_ON}.",
        ),
        (9, 5, "Lead. It is the ninth stall of this run, and 5 stalls before it went unreported."),
    ],
)
def test_a_stall_says_the_how_manieth_it_is(times: int, skipped: int, said: str) -> None:
    """From the second on, subject and text have the number; the third says how it goes on."""
    first = message_from_parts(Kind.STALLED, "night stalled", (Text("Lead."), Text("Rest.")), report())
    assert with_stall_number(first, Notification(1)) is first
    message = with_stall_number(first, Notification(times, skipped))
    assert message.subject.startswith("night stalled, for the ")
    assert " ".join(message.message.split()) == f"{said} Rest."


def test_that_a_run_goes_on() -> None:
    """It says for how long there was no progress, and how far the run is."""
    message = goes_on(report(progress=Progress(done=3, total=10)), 840.0)
    assert message.subject == "night makes progress again on vm"
    assert "after it had made none for 14 min." in message.message
    assert "3 of 10 (30 %)" in message.message
