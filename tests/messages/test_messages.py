"""What a person finds in a message at three in the morning."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor._messages import held_back_message, message_for, progress_line, with_delay_note
from supervisor.models import (
    ErrorDetails,
    Kind,
    MessageDetails,
    Outcome,
    Progress,
    RunReport,
)

STARTED = datetime(2026, 3, 1, 9, 0, 3, tzinfo=UTC)
ERROR = ErrorDetails(
    type="KeyError",
    message="'apn'",
    where="parcels.py:41 in load",
    source="row['apn']",
    traceback="Traceback (most recent call last):\n  File \"/srv/parcels.py\", line 41, in load\nKeyError: 'apn'",
)
REPORT = RunReport(
    id="0192f",
    name="nightly parcels",
    outcome=Outcome.FAILURE,
    started_at=STARTED,
    ended_at=STARTED + timedelta(seconds=363),
    duration_s=363.0,
    values={"parcels": 12_345, "share": 0.25, "county": "Salt Lake", "complete": False, "none": None},
    progress=Progress(done=4000, total=10_000, message="copying", rate_per_s=85.0),
    error=ERROR,
    host="gis-prod-2",
    user="svc-gis",
    pid=4242,
    argv=("/srv/parcels.py", "--county", "35"),
    python="3.12.1",
    cpu_s=41.0,
    peak_memory_bytes=512 * 1024**2,
    log_path=Path("/var/log/parcels.log"),
)


def failure(**changes: Any) -> MessageDetails:
    """Return the failure message of a report with changes."""
    return message_for(Kind.FAILURE, attrs.evolve(REPORT, **changes))


def test_the_subject_tells_what_where_and_why() -> None:
    """The subject of a failure names the run, the machine and the reason, so that a phone's lock screen is enough."""
    assert failure().subject == "nightly parcels failed on gis-prod-2: KeyError 'apn'"


def test_what_is_under_way_has_come_so_far() -> None:
    """Of a run that goes on the progress is shown as such; one that has ended, or died, had come to it."""
    goes_on = attrs.evolve(REPORT, outcome=None, ended_at=None)
    assert "It has come to 4,000 of 10,000" in message_for(Kind.FAILURE, goes_on).message
    assert "It had come to 4,000 of 10,000" in message_for(Kind.DIED, goes_on).message


def test_an_error_without_a_way_there_is_shown_once() -> None:
    """A traceback that has no more than what stands at the top is left out; one that has more is not."""
    text = failure(
        error=ErrorDetails(type="OverlapError", message="another is on", traceback="OverlapError: another is on")
    ).message
    assert text.count("another is on") == 1
    noted = failure(
        error=ErrorDetails(type="OverlapError", message="it is on", traceback="OverlapError: it is on\na note")
    )
    assert noted.message.count("it is on") == 2


def test_the_text_tells_all_in_the_order_of_its_worth() -> None:
    """A failure's text has what, where and how far first, then the values and the traceback, then the machine."""
    text = failure().message
    wanted = [
        "nightly parcels failed on gis-prod-2 after 6 min 3 s.",
        "KeyError: 'apn'",
        "at parcels.py:41 in load:",
        "    row['apn']",
        "It had come to 4,000 of 10,000 (40 %), 85/s, 1 min 11 s left: copying",
        "Recorded",
        "12,345",
        "0.25",
        "Salt Lake",
        "False",
        "Traceback (most recent call last):",
        "Started",
        f"{STARTED.astimezone():%Y-%m-%d %H:%M:%S %z}",
        "Ended",
        "6 min 3 s",
        "gis-prod-2 (user svc-gis, process 4242)",
        "/srv/parcels.py --county 35",
        "3.12.1",
        "41 s of processor time, 512 MB of memory at its peak",
        str(Path("/var/log/parcels.log")),
        "0192f",
    ]
    place = 0
    for each in wanted:
        assert each in text[place:], each
        place = text.index(each, place)


def test_values_stand_in_columns() -> None:
    """Recorded values stand one below the other, so that eyes find them."""
    lines = failure().message.splitlines()
    at = lines.index("Recorded")
    columns = {line.index(text) for line, text in zip(lines[at + 1 :], ["12,345", "0.25", "Salt Lake"], strict=False)}
    assert len(columns) == 1


def test_a_message_bears_its_report_and_kind() -> None:
    """What is in the text is on the message as data too."""
    details = failure()
    assert details.kind is Kind.FAILURE
    assert details.report is not None
    assert details.report.values["parcels"] == 12_345
    assert details.attachments == ()


@pytest.mark.parametrize(
    ("outcome", "verb"),
    [
        (Outcome.FAILURE, "failed"),
        (Outcome.INTERRUPTED, "was interrupted"),
        (Outcome.TERMINATED, "was terminated"),
        (Outcome.CANCELLED, "was cancelled"),
    ],
)
def test_each_ending_has_its_verb(outcome: Outcome, verb: str) -> None:
    """A subject says how it ended; where that says it all, no exception stands behind it."""
    subject = failure(outcome=outcome).subject
    assert subject.startswith(f"nightly parcels {verb} on gis-prod-2")
    assert ("KeyError" in subject) == (outcome is Outcome.FAILURE)


@pytest.mark.parametrize(
    ("message", "code", "subject"),
    [
        ("3", 3, "nightly parcels failed on gis-prod-2: exit code 3"),
        ("no rows", 1, "nightly parcels failed on gis-prod-2: exit code 1, no rows"),
        ("True", 1, "nightly parcels failed on gis-prod-2: exit code 1"),
    ],
)
def test_an_exit_code_is_shown(message: str, code: int, subject: str) -> None:
    """``sys.exit`` with a code or a text is shown as that, not as an exception."""
    error = ErrorDetails(type="SystemExit", message=message)
    assert failure(error=error, exit_code=code).subject.startswith(subject)


def test_rulers_in_the_text_of_an_error_are_no_part_of_the_subject() -> None:
    """Papermill's error begins with one, and says what happened below."""
    ruler = "-" * 75
    message = f"\n{ruler}\nException encountered at \"In [1]\":\n{ruler}\nKeyError: 'apn'"
    subject = failure(error=ErrorDetails(type="PapermillExecutionError", message=message)).subject
    assert subject.endswith(": PapermillExecutionError Exception encountered at \"In [1]\": KeyError: 'apn'")


def test_an_error_beside_tells_that_the_run_goes_on() -> None:
    """What a thread did not catch is shown with the thread's name, and that the run goes on."""
    error = attrs.evolve(ERROR, thread="worker-3")
    details = failure(outcome=None, ended_at=None, error=error, duration_s=5.0)
    assert details.subject == "nightly parcels failed on gis-prod-2: KeyError 'apn' (in worker-3)"
    assert "5 s after its start; it goes on." in details.message
    assert "KeyError: 'apn' (in worker-3)" in details.message
    assert "Ended" not in details.message


def test_a_failure_of_which_next_to_nothing_is_known() -> None:
    """A report with nothing but a name makes a message too."""
    report = RunReport(id="1", name="a", started_at=STARTED)
    for kind in (Kind.FAILURE, Kind.START, Kind.SUCCESS, Kind.PROGRESS, Kind.RECOVERY, Kind.DIED):
        details = message_for(kind, report)
        assert details.kind is kind
        assert details.subject.startswith("a ")
        assert details.message


def test_the_other_kinds() -> None:
    """Start, progress and success say in their first line what they are about, with what is known by then."""
    running = attrs.evolve(REPORT, outcome=None, ended_at=None, error=None, values={})
    start = message_for(Kind.START, attrs.evolve(running, progress=None))
    assert start.subject == "nightly parcels started on gis-prod-2"
    assert "Recorded" not in start.message
    assert "Ended" not in start.message
    progress = message_for(Kind.PROGRESS, running)
    assert progress.subject == ("nightly parcels on gis-prod-2: 4,000 of 10,000 (40 %), 85/s, 1 min 11 s left: copying")
    success = message_for(Kind.SUCCESS, attrs.evolve(REPORT, outcome=Outcome.SUCCESS, error=None))
    assert success.subject == "nightly parcels succeeded on gis-prod-2"
    assert success.message.startswith("nightly parcels succeeded on gis-prod-2 after 6 min 3 s.")
    assert "Traceback" not in success.message


def test_a_note_stands_behind_the_first_sentence() -> None:
    """A note stands in the first sentence, where it is read first."""
    details = message_for(Kind.RECOVERY, REPORT, note="Before it, 3 runs failed in a row.")
    first = " ".join(details.message.split("\n\n")[0].split())
    assert first.endswith("after 6 min 3 s. Before it, 3 runs failed in a row.")


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress(done=5), "5"),
        (Progress(done=5, message="reading"), "5: reading"),
        (Progress(done=5, total=10), "5 of 10 (50 %)"),
        (Progress(done=10, total=10, rate_per_s=2.0), "10 of 10 (100 %), 2/s"),
        (Progress(done=4000, rate_per_s=0.5), "4,000, 30/min"),
        (Progress(done=4, total=10, rate_per_s=100.0), "4 of 10 (40 %), 100/s"),
        (Progress(done=4, total=0), "4 of 0"),
        (Progress(done=1, total=3, message="two\r\nlines"), "1 of 3 (33 %): two lines"),
    ],
)
def test_progress_in_one_line(progress: Progress, line: str) -> None:
    """Progress is one line: count, percentage, rate, time left, and what the run is doing."""
    assert progress_line(progress) == line


ODD = st.floats() | st.integers()


@given(done=ODD, total=st.none() | ODD, rate_per_s=st.none() | ODD, message=st.text())
def test_no_progress_raises(done: float, total: float | None, rate_per_s: float | None, message: str) -> None:
    """Whatever numbers a script gave, progress has a line, and it is one line."""
    line = progress_line(Progress(done=done, total=total, rate_per_s=rate_per_s, message=message))
    assert line
    assert len(line.splitlines()) == 1


TEXT = st.text()
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.datetimes()
REPORTS = st.builds(
    attrs.evolve,
    st.just(REPORT),
    name=st.text(min_size=1),
    values=st.dictionaries(TEXT, VALUES, max_size=4),
    argv=st.lists(TEXT, max_size=3).map(tuple),
    error=st.builds(ErrorDetails, type=TEXT, message=TEXT, where=TEXT, source=TEXT, thread=TEXT),
    outcome=st.sampled_from(Outcome) | st.none(),
    duration_s=st.floats(min_value=0, max_value=1e9),
)
KINDS = st.sampled_from([Kind.FAILURE, Kind.START, Kind.SUCCESS, Kind.PROGRESS, Kind.RECOVERY, Kind.DIED])


@given(report=REPORTS, kind=KINDS)
def test_no_report_raises(report: RunReport, kind: Kind) -> None:
    """Whatever is in a report, it makes a message with a subject of one line."""
    details = message_for(kind, report)
    assert len(details.subject.splitlines()) <= 1
    assert len(details.subject) <= 200
    assert not any(c in details.subject for c in "\r\n\0")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, 10**400, -0.0])
def test_odd_numbers_are_shown_as_they_are(value: float) -> None:
    """A NaN, an infinity and a number beyond all bounds stand in the table, and raise nothing."""
    assert str(value)[:5] in failure(values={"odd": value}).message.replace("-0", "-0.0")


def test_a_late_message_says_when_it_was_written() -> None:
    """A message sent more than five minutes late says how late, when it was written and where; others stay."""
    details = MessageDetails("subject", "text", report=REPORT, html="<p>text</p>", created_at=STARTED)
    assert with_delay_note(details, STARTED + timedelta(seconds=299)) is details
    late = with_delay_note(details, STARTED + timedelta(hours=5))
    assert late.message == f"Delayed 5 h: written {STARTED.astimezone():%Y-%m-%d %H:%M:%S %z} on gis-prod-2.\n\ntext"
    assert late.html is not None
    assert late.html.endswith("<p>text</p>")
    assert "Delayed 5 h" in late.html
    assert late.id == details.id
    assert with_delay_note(MessageDetails("subject", created_at=STARTED), STARTED + timedelta(days=1)).html is None


def test_a_clock_that_went_back_makes_nothing_late() -> None:
    """A message from the future, by a clock that was set back, is not late."""
    details = MessageDetails("subject", "text", created_at=STARTED)
    assert with_delay_note(details, STARTED - timedelta(hours=5)) is details


def test_what_was_held_back_is_shown() -> None:
    """The closing message of a flood says how many there were more, and the last subjects."""
    details = held_back_message(REPORT, 2500, ["one", "two\nlines"])
    assert details.subject == "nightly parcels on gis-prod-2: 2,500 more messages held back"
    assert "2,500 more" in details.message
    assert details.message.endswith("\n    one\n    two lines")
    assert "1 more message held back" in held_back_message(REPORT, 1, []).subject
