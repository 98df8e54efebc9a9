"""What a script says to its run: notices, values, attachments; and what a report knows."""

from __future__ import annotations

import functools
import logging
import math
import os
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from scripts import run as run_script
from waiting import let_time_pass, wait_until

from supervisor import MessageDetails, supervise
from supervisor.models import Attachment, Progress

if TYPE_CHECKING:
    from pathlib import Path

    from recorders import Recorder

quiet = functools.partial(supervise, journal=False)


class Rude:
    """An object that cannot be looked at."""

    def __str__(self) -> str:
        raise ValueError("no text")

    def __repr__(self) -> str:
        raise ValueError("no text")

    def __float__(self) -> float:
        raise ValueError("no number")

    def __eq__(self, other: object) -> bool:
        raise ValueError("not comparable")

    __hash__ = None  # type: ignore[assignment]  # nor hashable


# notify


def test_a_notice_in_subject_and_text(recorder: Recorder) -> None:
    """``run.notify`` sends a notice, whatever ``report_on`` says, with the report of the run so far."""
    with quiet("night", handlers=[recorder]) as run:
        run.record(rows=7)
        run.notify("Parcels loaded", "7 rows")
    details = recorder.only
    assert (details.kind, details.subject, details.message) == ("notice", "Parcels loaded", "7 rows")
    assert details.report is not None
    assert (details.report.name, details.report.outcome, dict(details.report.values)) == ("night", None, {"rows": 7})


CLOCKS: dict[str, Any] = {"duration_s": 0.0, "cpu_s": None, "peak_memory_bytes": None}


@pytest.mark.parametrize("journal", [True, False])
@pytest.mark.parametrize("capture_logs", [None, "script"])
def test_a_notice_tells_what_was_so_when_it_was_said(
    recorder: Recorder, capture_logs: str | None, journal: bool
) -> None:
    """Plain words come with the report of their moment, whatever else the run says before they are sent."""
    with (
        supervise("outer", journal=journal),
        supervise("night", handlers=[recorder], log_path="a.log", capture_logs=capture_logs, journal=journal) as run,
    ):
        run.notify("nothing so far")
        run.record(rows=7, source="FTP")
        run.progress(3, 12, "copying")
        logging.getLogger("script").warning("twelve are missing")
        run.notify("Parcels loaded", "7 rows")
        expected = run.report()
        run.record(rows=8)
        run.progress(4)
    first, second = recorder.messages
    for message, values in ((first, {}), (second, {"rows": 7, "source": "FTP"})):
        assert message.report is not None
        assert dict(message.report.values) == values
        assert (message.report.id, message.report.parent_id) == (run.id, expected.parent_id)
        assert message.created_at >= message.report.started_at
        assert message.report.duration_s <= expected.duration_s
    assert first.report is not None
    assert first.report.progress is None
    assert second.report is not None
    assert second.report.progress is not None
    progress = attrs.evolve(second.report.progress, rate_per_s=None)
    assert progress == Progress(done=3, total=12, message="copying")
    assert attrs.evolve(second.report, progress=None, **CLOCKS) == attrs.evolve(expected, progress=None, **CLOCKS)
    assert len(expected.log_tail) == (capture_logs is not None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_notice_after_a_failure_aside_tells_of_it(recorder: Recorder) -> None:
    """Once a thread of the run has failed, what the script says comes with that error."""
    with supervise("night", handlers=[recorder], reraise=False) as run:
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        run.notify("going on")
    report = next(each.report for each in recorder.messages if each.subject == "going on")
    assert report is not None
    assert report.error is not None
    assert report.error.type == "ZeroDivisionError"


def test_a_very_long_notice_is_cut_in_its_middle(recorder: Recorder) -> None:
    """No message is longer than a million characters."""
    with supervise("night", handlers=[recorder]) as run:
        run.notify("long", "begin " + "x" * 2_000_000 + " end")
    text = recorder.only.message
    assert len(text) <= 1_000_100
    assert text.startswith("begin ")
    assert text.endswith(" end")


def test_a_notice_as_a_whole(recorder: Recorder) -> None:
    """A ``MessageDetails`` goes as it is, with its own id and kind, and gets the report that it lacks."""
    details = MessageDetails("subject", "text", html="<p>text</p>", blocks=[{"type": "divider"}])
    with quiet("night", handlers=[recorder]) as run:
        run.notify(details)
    sent = recorder.only
    assert (sent.id, sent.subject, sent.html, sent.blocks) == (details.id, "subject", "<p>text</p>", details.blocks)
    assert sent.report is not None
    assert sent.report.name == "night"


def test_what_is_the_default_of_another_field_is_kept(recorder: Recorder) -> None:
    """A level is "info" by default, and attachments are (); HTML and blocks are not."""
    with supervise("night", handlers=[recorder]) as run:
        run.notify("subject", "text", html="info", blocks=())
    assert (recorder.only.html, recorder.only.blocks) == ("info", [])


def test_a_notice_with_all_that_belongs_to_it(tmp_path: Path, recorder: Recorder) -> None:
    """Attachments, HTML and blocks go along."""
    path = tmp_path / "report.csv"
    path.write_text("1,2,3")
    with quiet("night", handlers=[recorder]) as run:
        run.notify("subject", "text", attachments=[path, None, ""], html="<b>text</b>", blocks=[{"type": "divider"}])
        run.notify("subject", attachments=str(path))
        run.notify("subject", attachments=Attachment(path, name="other.csv"))
        run.notify("subject", attachments=None)
    assert [[each.name for each in one.attachments] for one in recorder.messages] == [
        ["report.csv"], ["report.csv"], ["other.csv"], [],
    ]  # fmt: skip
    assert recorder.messages[0].attachments[0].size_bytes == 5
    assert recorder.messages[0].html == "<b>text</b>"
    assert recorder.messages[0].blocks == [{"type": "divider"}]


def test_a_missing_attachment_is_told(tmp_path: Path, recorder: Recorder) -> None:
    """A file that is not there does not stop the message, which says so of it."""
    with quiet("night", handlers=[recorder]) as run:
        run.notify("subject", "text", attachments=[tmp_path / "none.csv"])
    (attachment,) = recorder.only.attachments
    assert attachment.name == "none.csv"
    assert attachment.note


@pytest.mark.parametrize("wrong", [{"attachments": 5}, {"attachments": [5]}, {"attachments": object()}, {"blocks": 5}])
def test_what_cannot_be_attached_is_told_in_the_message(wrong: dict[str, Any], recorder: Recorder) -> None:
    """A notice with something impossible in it goes out without that, and says what was left out and why."""
    with quiet("night", handlers=[recorder]) as run:
        run.notify("subject", "text", **wrong)
    assert recorder.only.subject == "subject"
    assert recorder.only.message.startswith("text\n\nLeft out: ")


def test_blocks_that_are_no_json_are_told(recorder: Recorder) -> None:
    """Blocks that cannot be written as JSON are left out, and the message says so."""
    with quiet("night", handlers=[recorder]) as run:
        run.notify("subject", "text", blocks=[{"type": object()}])
    assert "Left out: " in recorder.only.message


@pytest.mark.parametrize(
    "odd", [5, None, 2.5, ["a"], b"bytes", Rude(), ValueError("text")], ids=lambda each: type(each).__name__
)
def test_any_object_can_be_said(odd: Any, recorder: Recorder) -> None:
    """What is no text is told by its text, and never raises."""
    with quiet("night", handlers=[recorder]) as run:
        run.notify(odd, odd)
    assert isinstance(recorder.only.subject, str)
    assert isinstance(recorder.only.message, str)


def test_a_notice_after_the_end_is_delivered(recorder: Recorder) -> None:
    """A run that has ended can still be spoken to, by a thread that outlives it for example."""
    with quiet("night", handlers=[recorder]) as run:
        pass
    run.notify("late")
    wait_until(lambda: recorder.messages)
    assert recorder.subjects == ["late"]


def test_a_notice_without_handlers_does_nothing() -> None:
    """A run without handlers can be spoken to."""
    with quiet("night") as run:
        run.notify("subject", "text")


def test_notices_from_many_threads_all_arrive(recorder: Recorder) -> None:
    """A run can be spoken to from any thread, and nothing is lost."""
    with quiet("night", handlers=[recorder]) as run:

        def speak(n: int) -> None:
            for i in range(20):
                run.notify(f"{n} {i}")
                run.record(**{f"v{n}": i})
                run.attach(f"{n}-{i}")
                run.progress(i, 20, str(n))

        threads = [threading.Thread(target=speak, args=(n,)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(recorder.subjects) == sorted(f"{n} {i}" for n in range(5) for i in range(20))
    for n in range(5):
        assert [each for each in recorder.subjects if each.startswith(f"{n} ")] == [f"{n} {i}" for i in range(20)]


def test_what_threads_record_and_attach_at_once_is_all_kept() -> None:
    """Values and attachments from several threads at once are all kept."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with quiet("night") as run:

            def work(n: int) -> None:
                for i in range(300):
                    run.record(**{f"v{n}_{i}": i})
                    run.attach(f"{n}-{i}")

            threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(run.values) == 1200
    assert len(run.attachments) == 1200


# record


class Scalar:
    """A number as numpy has them."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        """Return the number as Python has it."""
        return self.value


class Array:
    """More than one number: it has no item."""

    def item(self) -> Any:
        """Refuse."""
        raise ValueError("can only convert an array of size 1 to a Python scalar")

    def __str__(self) -> str:
        return "[1 2 3]"


DAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (5, 5),
        (2.5, 2.5),
        (True, True),
        (None, None),
        ("text", "text"),
        (DAY, DAY),
        (NOON, NOON),
        (Scalar(7), 7),
        (Scalar(2.5), 2.5),
        (Scalar("text"), "text"),
        (Scalar(object), "<class 'object'>"),
        (Array(), "[1 2 3]"),
        ([1, 2], "[1, 2]"),
        ({"a": 1}, "{'a': 1}"),
        (timedelta(seconds=90), "0:01:30"),
        (ValueError("text"), "text"),
        ("x" * 5000, "x" * 1000),
        (["x" * 5000], "['" + "x" * 998),
        (10**400, 10**400),
    ],
    ids=lambda each: type(each).__name__,
)
def test_values_are_kept_plain(given: Any, kept: Any) -> None:
    """Numbers, texts, dates and None are kept; scalars of numpy become numbers; of anything else its bounded text."""
    with quiet("night") as run:
        run.record(value=given)
    if isinstance(kept, str) and kept.startswith("<class"):
        assert isinstance(run.values["value"], str)
    else:
        assert run.values["value"] == kept
        assert type(run.values["value"]) is type(kept)
    assert run.report().values == run.values


def test_values_that_cannot_be_looked_at_do_no_harm(recorder: Recorder) -> None:
    """A value whose every method raises is told by a stand-in, and so is a NaN by its name."""
    with quiet("night", handlers=[recorder], report_on=["success"]) as run:
        run.record(rude=Rude(), nan=math.nan, infinite=-math.inf, huge=10**400, scalar=Scalar(Rude()))
    assert "str() raised ValueError" in run.values["rude"]
    for text in ("str() raised ValueError", "nan", "-inf"):
        assert text in recorder.only.message


def test_values_stand_in_the_order_given_and_can_be_replaced() -> None:
    """Values keep their order; one that is recorded again keeps its place with the new value."""
    with quiet("night") as run:
        run.record(b=1, a=2)
        run.record(c=3, b=4)
    assert list(run.values.items()) == [("b", 4), ("a", 2), ("c", 3)]


def test_nobody_changes_what_was_recorded() -> None:
    """``run.values`` is a copy, and a list that was recorded is kept as it was."""
    with quiet("night") as run:
        rows = [1]
        run.record(rows=rows)
        rows.append(2)
        run.values["rows"] = 5
    assert run.values == {"rows": "[1]"}


def test_a_text_with_lone_surrogates_can_be_sent(recorder: Recorder) -> None:
    """A file name that is no UTF-8, as Python has it, does not stop a message."""
    with quiet("night", handlers=[recorder], report_on=["success"]) as run:
        run.record(name="caf\udce9")
        run.notify("caf\udce9", "caf\udce9")
    assert recorder.received == ["notice", "success"]


# The report


def test_a_report_knows_the_machine_and_the_process() -> None:
    """A report tells where, by whom and how the script runs, and what it has used."""
    with quiet("night", log_path="parcels.log") as run:
        sum(range(100_000))
        report = run.report()
    assert report.host
    assert report.user
    assert report.pid == os.getpid()
    assert list(report.argv) == sys.argv
    assert report.python == sys.version.split()[0]
    assert report.cpu_s is not None
    assert 0 <= report.cpu_s < 60
    assert report.peak_memory_bytes is not None
    assert 1_000_000 < report.peak_memory_bytes < 100_000_000_000
    assert report.log_path is not None
    assert report.log_path.is_absolute()
    assert (report.id, report.name, report.parent_id, report.exit_code) == (run.id, "night", None, None)


def test_a_report_changes_from_under_way_to_ended() -> None:
    """A report under way has no end and no outcome; the one after the end keeps its duration."""
    with quiet("night") as run:
        before = run.report()
        assert (before.outcome, before.ended_at) == (None, None)
        let_time_pass(0.01, "the run takes time")
        assert run.report().duration_s > before.duration_s
    after = run.report()
    assert after.outcome == "success"
    assert after.ended_at is not None
    assert abs((after.ended_at - after.started_at).total_seconds() - after.duration_s) < 5
    assert run.report().duration_s == after.duration_s == run.duration_s


def test_a_run_that_has_not_started_has_no_duration() -> None:
    """Before it is entered, a run has taken no time and can be looked at."""
    run = quiet("night")
    assert run.duration_s == 0.0
    assert "not started" in repr(run)
    assert run.id


def test_durations_do_not_follow_the_clock(tmp_path: Path) -> None:
    """A clock that is set back during a run changes neither its duration nor its end before its start."""
    body = """
        import time
        real = time.time
        with supervise("night", handlers=[recorder], report_on=["success"]) as run:
            run._state.runtime.clock = lambda: real() - 3600
            time.sleep(0.05)
        print(run.duration_s, run.report().duration_s, run.report().ended_at < run.report().started_at)
    """
    ended = run_script(tmp_path, body)
    duration_s, reported_s, ends_before_its_start = ended.stdout.split()
    assert 0.05 <= float(duration_s) == float(reported_s) < 30
    assert ends_before_its_start == "False"


def test_an_empty_run_costs_no_thread_and_no_import(tmp_path: Path) -> None:
    """A run that sends nothing starts no thread, and without a journal it loads nothing that tells."""
    body = """
        import threading
        with supervise("night", handlers=[recorder], journal=False):
            assert threading.active_count() == 1, threading.enumerate()
        assert threading.active_count() == 1, threading.enumerate()
        print([name for name in ("supervisor._run.reporter", "supervisor.models", "asyncio") if name in sys.modules])
    """
    ended = run_script(tmp_path, body)
    assert (ended.code, ended.stderr) == (0, "")
    assert "supervisor._run.reporter" not in ended.stdout
    assert "asyncio" not in ended.stdout


def test_a_run_that_says_much_but_sends_nothing_starts_no_thread(tmp_path: Path) -> None:
    """Progress, values, attachments and the journal need no thread; only messages do."""
    body = """
        import threading
        with supervise("night", handlers=[recorder]) as run:
            for _ in run.track(range(1000)): pass
            run.record(rows=7)
            run.attach("rows.csv")
            run.report()
            assert threading.active_count() == 1, threading.enumerate()
        assert threading.active_count() == 1, threading.enumerate()
    """
    ended = run_script(tmp_path, body)
    assert (ended.code, ended.stderr) == (0, "")
