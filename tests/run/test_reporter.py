"""Who is told of what: kinds, nested runs, the script's logger and log, attachments."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import TYPE_CHECKING, Any

import pytest
from recorders import Recorder

from supervisor import current_run, supervise, supervised
from supervisor._runtime import Runtime, using

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

quiet = functools.partial(supervise, journal=False)


class Equal(Recorder):
    """A handler that equals every other of its class, as values do."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    def __hash__(self) -> int:
        return 1


def fail(error: BaseException) -> None:
    """Raise an exception."""
    raise error


# Kinds


def test_a_run_tells_its_failure_and_nothing_else(recorder: Recorder) -> None:
    """By default failures are told, and a run that succeeds says nothing."""
    with quiet("good", handlers=[recorder]):
        pass
    with pytest.raises(KeyError), quiet("bad", handlers=[recorder]):
        fail(KeyError("apn"))
    assert recorder.received == ["failure"]
    assert "bad" in recorder.only.subject


def test_report_on_adds_start_and_success(recorder: Recorder) -> None:
    """``report_on`` adds the start, told when the run begins, and the success, told at its end."""
    with quiet("night", handlers=[recorder], report_on=["start", "success"]) as run:
        run.record(rows=1)
    assert recorder.received == ["start", "success"]
    start, success = (each.report for each in recorder.messages)
    assert start is not None
    assert success is not None
    assert (start.outcome, start.ended_at, dict(start.values)) == (None, None, {})
    assert (success.outcome, dict(success.values)) == ("success", {"rows": 1})


def test_a_failed_run_with_report_on_success_does_not_succeed(recorder: Recorder) -> None:
    """A run that fails tells its failure alone."""
    with pytest.raises(KeyError), quiet("bad", handlers=[recorder], report_on=["success"]):
        fail(KeyError("apn"))
    assert recorder.received == ["failure"]


def test_everything_that_a_handler_can_read_is_on_the_message(recorder: Recorder) -> None:
    """A failure message bears the whole report: outcome, times, error, values, machine and process."""
    with pytest.raises(ValueError, match="no rows"), quiet("bad", handlers=[recorder]) as run:
        run.record(rows=0)
        run.progress(3, 10, "loading")
        fail(ValueError("no rows"))
    report = recorder.only.report
    assert report is not None
    assert report.id == run.id
    assert (report.name, report.outcome) == ("bad", "failure")
    assert dict(report.values) == {"rows": 0}
    assert report.ended_at is not None
    assert report.ended_at >= report.started_at
    assert report.started_at.utcoffset() is not None
    assert report.error is not None
    assert (report.error.type, report.error.message) == ("ValueError", "no rows")
    assert report.error.where.startswith("test_reporter.py:")
    assert report.error.where.endswith("in fail")
    assert report.error.source == "raise error"
    assert report.error.traceback.startswith("Traceback (most recent call last):")
    assert "supervisor" not in report.error.traceback.replace("test_reporter", "").lower().partition("valueerror")[0]
    assert report.progress is not None
    assert (report.progress.done, report.progress.total, report.progress.message) == (3, 10, "loading")


# Runs in runs


def test_two_runs_with_one_handler_tell_it_once() -> None:
    """A handler that an inner and an outer run share hears of an exception only from the inner."""
    shared = Recorder()
    with pytest.raises(KeyError), quiet("outer", handlers=[shared]), quiet("inner", handlers=[shared]):
        fail(KeyError("apn"))
    assert shared.only.subject.startswith("inner ")


def test_each_handler_hears_of_an_exception_once() -> None:
    """Handlers of the outer run alone hear it from there; those of the inner from the inner."""
    inner, outer, shared = Recorder("inner"), Recorder("outer"), Recorder("shared")
    with pytest.raises(KeyError), quiet("outer", handlers=[shared, outer]), quiet("inner", handlers=[inner, shared]):
        fail(KeyError("apn"))
    assert ["inner" in each.only.subject for each in (inner, shared, outer)] == [True, True, False]


def test_an_inner_run_without_handlers_leaves_the_telling() -> None:
    """An inner run without handlers leaves the telling to the outer one."""
    outer = Recorder()
    with pytest.raises(KeyError), quiet("outer", handlers=[outer]), quiet("inner"):
        fail(KeyError("apn"))
    assert "outer" in outer.only.subject


def test_three_runs_deep() -> None:
    """The rule holds over any depth, also with runs between that know neither handler."""
    one, two = Recorder("one"), Recorder("two")
    with (
        pytest.raises(KeyError),
        quiet("a", handlers=[one, two]),
        quiet("b", handlers=[two]),
        quiet("c"),
        quiet("d", handlers=[one]),
    ):
        fail(KeyError("apn"))
    assert one.only.subject.startswith("d ")
    assert two.only.subject.startswith("b ")


def test_handlers_that_equal_each_other_are_two() -> None:
    """Handlers are told apart by what they are and not by what they equal: both are told."""
    one, two = Equal("one"), Equal("two")
    with pytest.raises(KeyError), quiet("outer", handlers=[two]), quiet("inner", handlers=[one]):
        fail(KeyError("apn"))
    assert [len(each.messages) for each in (one, two)] == [1, 1]


def test_another_exception_is_told_by_the_outer_run() -> None:
    """An exception that the script raises in the place of the first is another one, and is told too."""
    shared = Recorder()
    with pytest.raises(ValueError, match="no parcel"), quiet("outer", handlers=[shared]):
        try:
            with quiet("inner", handlers=[shared]):
                fail(KeyError("apn"))
        except KeyError as error:
            raise ValueError("no parcel") from error
    assert [each.report and each.report.error and each.report.error.type for each in shared.messages] == [
        "KeyError",
        "ValueError",
    ]


def test_an_exception_that_the_script_caught_is_the_inner_runs_alone() -> None:
    """An exception that is caught between the runs is told by the inner, and the outer has succeeded."""
    shared = Recorder()
    with quiet("outer", handlers=[shared], report_on=["success"]):
        try:
            with quiet("inner", handlers=[shared]):
                fail(KeyError("apn"))
        except KeyError:
            pass
    assert shared.received == ["failure", "success"]


def test_an_exception_raised_again_later_was_told() -> None:
    """One exception object that leaves several runs, one after the other, is told to a handler once."""
    shared, error = Recorder(), KeyError("apn")
    for name in ("first", "second"):
        with pytest.raises(KeyError), quiet(name, handlers=[shared]):
            fail(error)
    assert "first" in shared.only.subject


def test_a_group_of_told_exceptions_was_told() -> None:
    """A group whose every exception a handler has heard of is not told to it again."""
    shared, outer = Recorder("shared"), Recorder("outer")
    errors: list[Exception] = []
    for name in ("one", "two"):
        try:
            with quiet(name, handlers=[shared]):
                fail(KeyError(name))
        except KeyError as error:
            errors.append(error)
    with pytest.raises(ExceptionGroup), quiet("all", handlers=[shared, outer]):
        fail(ExceptionGroup("all", errors))
    assert [subject.partition(" ")[0] for subject in shared.subjects] == ["one", "two"]
    assert outer.only.subject.startswith("all ")


def test_a_group_with_something_new_is_told() -> None:
    """A group that has an exception in it of which a handler has not heard is told, also when it lies deeper."""
    shared = Recorder()
    reported: list[Exception] = []
    try:
        with quiet("one", handlers=[shared]):
            fail(KeyError("one"))
    except KeyError as error:
        reported.append(error)
    inner = ExceptionGroup("inner", [reported[0], ValueError("new")])
    with pytest.raises(ExceptionGroup), quiet("all", handlers=[shared]):
        fail(ExceptionGroup("all", [reported[0], inner]))
    assert len(shared.messages) == 2
    traceback = shared.messages[1].message
    assert "ValueError: new" in traceback


def test_a_deeper_group_of_told_exceptions_was_told() -> None:
    """A group of groups is told of when each exception in it is."""
    shared = Recorder()
    errors: list[Exception] = []
    for name in ("one", "two", "three"):
        try:
            with quiet(name, handlers=[shared]):
                fail(KeyError(name))
        except KeyError as error:
            errors.append(error)
    with pytest.raises(ExceptionGroup), quiet("all", handlers=[shared]):
        fail(ExceptionGroup("all", [errors[0], ExceptionGroup("rest", errors[1:])]))
    assert len(shared.messages) == 3


def test_sibling_runs_of_one_shared_handler_are_told_apart() -> None:
    """Two runs that fail by exceptions of their own tell both."""
    shared = Recorder()
    for name in ("one", "two"):
        with pytest.raises(KeyError), quiet(name, handlers=[shared]):
            fail(KeyError("apn"))
    assert len(shared.messages) == 2


def test_a_swallowed_failure_inside_is_told_once() -> None:
    """An inner ``reraise=False`` tells its failure, and the outer run goes on to its success."""
    shared = Recorder()
    with quiet("outer", handlers=[shared], report_on=["success"]), quiet("inner", handlers=[shared], reraise=False):
        fail(KeyError("apn"))
    assert shared.received == ["failure", "success"]


def test_notify_goes_to_the_handlers_of_its_own_run() -> None:
    """``current_run().notify`` is the innermost run's, and goes to that run's handlers."""
    inner, outer = Recorder("inner"), Recorder("outer")
    with quiet("outer", handlers=[outer]), quiet("inner", handlers=[inner]):
        run = current_run()
        assert run is not None
        run.notify("hello")
    assert (inner.subjects, outer.subjects) == (["hello"], [])


# The script's logger, log and attachments


def test_the_logger_gets_the_traceback(caplog: pytest.LogCaptureFixture, recorder: Recorder) -> None:
    """``logger=`` has an uncaught exception at ERROR with its traceback, once, with or without handlers."""
    for handlers in ([], [recorder]):
        caplog.clear()
        with pytest.raises(KeyError), quiet("night", logger="parcels", handlers=handlers):
            fail(KeyError("apn"))
        (record,) = [each for each in caplog.records if each.name == "parcels"]
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], KeyError)
        assert "night" in record.getMessage()
        assert "in fail" in caplog.text


def test_a_logger_adapter_will_do(caplog: pytest.LogCaptureFixture) -> None:
    """A ``LoggerAdapter`` is a logger too."""
    adapter = logging.LoggerAdapter(logging.getLogger("parcels"), {"job": 5})
    with pytest.raises(KeyError), quiet("night", logger=adapter):
        fail(KeyError("apn"))
    assert [each.name for each in caplog.records if each.levelno == logging.ERROR] == ["parcels"]


def test_nested_runs_log_an_exception_once(caplog: pytest.LogCaptureFixture) -> None:
    """A logger that two runs share has an exception once; a logger of the outer run alone has it from there."""
    with (
        pytest.raises(KeyError),
        quiet("outermost", logger="other"),
        quiet("outer", logger="parcels"),
        quiet("inner", logger="parcels"),
    ):
        fail(KeyError("apn"))
    errors = [(each.name, each.getMessage()) for each in caplog.records if each.levelno == logging.ERROR]
    assert errors == [("parcels", "inner failed"), ("other", "outermost failed")]


def test_the_log_of_a_failed_run_has_the_failure_in_it(tmp_path: Path, recorder: Recorder) -> None:
    """The log that goes with a failure message has the traceback already: it is written and flushed before."""
    path = tmp_path / "parcels.log"
    log = logging.getLogger("parcels.file")
    log.propagate = False
    from logging.handlers import MemoryHandler

    file = logging.FileHandler(path)
    memory = MemoryHandler(1000, flushLevel=logging.CRITICAL, target=file)
    log.addHandler(memory)
    contents: list[str] = []

    class Reads(Recorder):
        def send_message(self, details: Any, /) -> None:
            contents.extend(each.path.read_text() for each in details.attachments)
            super().send_message(details)

    try:
        reads = Reads()
        with pytest.raises(KeyError), quiet("night", logger=log, log_path=path, handlers=[reads]):
            log.warning("before")
            fail(KeyError("apn"))
    finally:
        log.removeHandler(memory)
        memory.close()
        file.close()
    assert [each.name for each in reads.only.attachments] == ["parcels.log"]
    assert "before" in contents[0]
    assert "KeyError: 'apn'" in contents[0]
    assert reads.only.report is not None
    assert reads.only.report.log_path == path


def test_the_log_goes_with_failures_only(tmp_path: Path, recorder: Recorder) -> None:
    """The log is attached to failures, not to notices or to the success."""
    path = tmp_path / "parcels.log"
    path.write_text("log")
    with quiet("night", log_path=path, handlers=[recorder], report_on=["success", "start"]) as run:
        run.notify("hello")
    assert [each.attachments for each in recorder.messages] == [(), (), ()]


def test_what_was_attached_goes_with_the_end(tmp_path: Path, recorder: Recorder) -> None:
    """``run.attach`` lets files go with the message that tells of the end, good or bad; they are looked at then."""
    path = tmp_path / "rows.csv"
    with quiet("good", handlers=[recorder], report_on=["success"]) as run:
        run.attach(path)
        path.write_text("1,2,3")
    with pytest.raises(KeyError), quiet("bad", handlers=[recorder]) as run:
        run.attach(str(path))
        fail(KeyError("apn"))
    for details in recorder.messages:
        (attachment,) = details.attachments
        assert (attachment.name, attachment.size_bytes, attachment.note) == ("rows.csv", 5, "")


def test_a_missing_log_is_told_and_does_no_harm(tmp_path: Path, recorder: Recorder) -> None:
    """A log that is not there is named in the message with what became of it."""
    with pytest.raises(KeyError), quiet("bad", log_path=tmp_path / "none.log", handlers=[recorder]):
        fail(KeyError("apn"))
    (attachment,) = recorder.only.attachments
    assert (attachment.name, attachment.size_bytes) == ("none.log", None)
    assert attachment.note


def test_start_and_end_go_to_supervisors_own_log(log: pytest.LogCaptureFixture) -> None:
    """The ``supervisor`` logger has the start and the end of each run at INFO, with name, id, outcome and duration."""
    with quiet("good") as good:
        pass
    with pytest.raises(KeyError), quiet("bad"):
        fail(KeyError("apn"))
    lines = [each.getMessage() for each in log.records if each.name == "supervisor"]
    assert lines[0] == f"run 'good' started ({good.id})"
    assert lines[1].startswith("run 'good' ended: success after 0.")
    assert [line.partition(" after")[0] for line in lines[2:]][-1] == "run 'bad' ended: failure"
    assert all(each.levelno == logging.INFO for each in log.records)


def test_a_generators_failure_is_told_by_its_run(recorder: Recorder) -> None:
    """An exception in a supervised generator is told by its run, and once by the run of its consumer."""

    @supervised("items", handlers=[recorder], journal=False)
    def items() -> Iterator[int]:
        yield 1
        fail(KeyError("apn"))

    with pytest.raises(KeyError), quiet("consumer", handlers=[recorder]):
        list(items())
    assert recorder.only.subject.startswith("items failed")


def test_a_failure_that_nobody_hears_is_logged_once(log: pytest.LogCaptureFixture) -> None:
    """The first failure of a process that is sent to nobody says so, and what to do; others, and good ends, do not."""
    starts_only = Recorder()
    starts_only.kinds = ("start",)
    log.set_level(logging.WARNING, logger="supervisor")
    with using(Runtime()):
        with quiet("good"):
            pass
        with contextlib.suppress(KeyError), quiet("heard", handlers=[Recorder()]), quiet("inner"):
            raise KeyError
        assert not log.messages
        for name in ("first", "second"):
            with contextlib.suppress(KeyError), quiet(name, handlers=[starts_only]):
                raise KeyError
    (text,) = log.messages
    assert text.startswith("first failed, and no handler gets its failures: give it handlers=")
    assert "supervisor config init" in text
