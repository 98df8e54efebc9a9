"""``retries``: a function is called again after an exception, and all of its attempts are one run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from recorders import Recorder
from waiting import PATIENCE_S, wait_until

from supervisor import ConfigurationError, Supervisor, current_run, supervise, supervised
from supervisor._run import attempts
from supervisor._settings import Settings
from supervisor._store import Journal
from supervisor.errors import OverdueError, OverlapError, RunSkipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from supervisor import Run


class Flaky:
    """A function that raises what it is given, one after the other, and then returns its argument."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, value: int = 5) -> int:
        """Do the next attempt."""
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return value


def tried(function: Any, recorder: Recorder, **settings: Any) -> Any:
    """Return a function decorated with some retries and no wait."""
    given: dict[str, Any] = {"retries": 3, "retry_wait_s": 0.0, "report_on": "success"} | settings
    return supervised("nightly", handlers=recorder, **given)(function)


def test_a_function_is_called_again_until_it_succeeds() -> None:
    """Its result is that of the attempt that succeeded, and one message says which that was."""
    recorder, flaky = Recorder(), Flaky(TimeoutError("no answer"), TimeoutError("no answer"))
    assert tried(flaky, recorder)(7) == 7
    assert flaky.calls == 3
    message = recorder.only
    assert message.subject.startswith("nightly succeeded at the 3rd attempt (TimeoutError twice) on ")
    assert message.message.count("TimeoutError: no answer (at test_attempts.py:") == 2
    assert message.report is not None
    assert message.report.attempts == 3


def test_a_coroutine_is_called_again_and_waits_with_the_event_loop() -> None:
    """Other tasks go on while it waits."""
    recorder, flaky, steps = Recorder(), Flaky(ConnectionError()), list[str]()

    @supervised(handlers=recorder, report_on="success", retries=1, retry_wait_s=0.05)
    async def main() -> int:
        return flaky()

    async def other() -> None:
        await asyncio.sleep(0)
        steps.append("other")

    async def both() -> int:
        task = asyncio.create_task(other())
        result = await main()
        await task
        return result

    assert asyncio.run(both()) == 5
    assert steps == ["other"]
    assert "succeeded at the 2nd attempt (ConnectionError) on " in recorder.only.subject


def test_what_failed_attempts_recorded_is_dropped(tmp_path: Path) -> None:
    """Values, attachments and progress of the message are those of the last attempt."""
    recorder, numbers = Recorder(), iter(range(9))
    (tmp_path / "a.txt").write_text("a")

    def main(run: Run) -> None:
        number = next(numbers)
        run.record(**{f"of_{number}": number})
        if number == 0:
            run.attach(tmp_path / "a.txt")
            run.progress(3, 10, "copying")
            raise TimeoutError

    tried(main, recorder)()
    report = recorder.only.report
    assert report is not None
    assert dict(report.values) == {"of_1": 1}
    assert report.progress is None
    assert recorder.only.attachments == ()


def test_a_failure_says_what_each_attempt_failed_with() -> None:
    """The last exception leaves the function, without the ones before as its context; the message has all of them."""
    recorder, flaky = (
        Recorder(),
        Flaky(TimeoutError("one"), ConnectionError("two"), KeyError("three"), KeyError("four")),
    )
    with pytest.raises(KeyError, match="four") as caught:
        tried(flaky, recorder)()
    assert caught.value.__context__ is None
    message = recorder.only
    assert message.subject.startswith("nightly failed after 4 attempts on ")
    assert message.subject.endswith(": KeyError 'four'")
    for line in ("1st  TimeoutError: one (at ", "2nd  ConnectionError: two (at ", "3rd  KeyError: 'three' (at "):
        assert line in message.message


def test_secrets_are_taken_out_of_each_attempts_error() -> None:
    """An error that is only listed is cleaned like the one that counts."""
    recorder, flaky = Recorder(), Flaky(TimeoutError("postgres://me:hunter2hunter2@db/x"))
    tried(flaky, recorder)()
    assert "hunter2" not in recorder.only.message
    assert "hunter2" not in str(recorder.only.report)


@pytest.mark.parametrize(
    ("retry_on", "error", "calls"),
    [
        (TimeoutError, TimeoutError(), 2),
        ((TimeoutError, ConnectionError), ConnectionResetError(), 2),
        (["ConnectionError"], ConnectionResetError(), 2),
        ("builtins.TimeoutError", TimeoutError(), 2),
        ("json.decoder.JSONDecodeError", ValueError(), 1),
        (TimeoutError, KeyError(), 1),
        (TimeoutError, ExceptionGroup("two", [TimeoutError(), TimeoutError()]), 2),
        (TimeoutError, ExceptionGroup("two", [TimeoutError(), KeyError()]), 1),
        ("Exception", KeyError(), 2),
        (Exception, OverdueError("took too long"), 1),
        (Exception, OverlapError("another run"), 1),
        (Exception, SystemExit(3), 1),
        (Exception, KeyboardInterrupt(), 1),
        (Exception, asyncio.CancelledError(), 1),
        (Exception, type("Retry", (Exception,), {"__module__": "celery.exceptions"})(), 1),
    ],
    ids=repr,
)
def test_which_exceptions_are_tried_again(retry_on: Any, error: BaseException, calls: int) -> None:
    """Those of the given types and names, and groups of them; never what ends a run on purpose."""
    recorder, flaky = Recorder(), Flaky(error)
    with suppress(type(error)):
        tried(flaky, recorder, retry_on=retry_on)()
    assert flaky.calls == calls


def test_nothing_to_do_ends_the_run() -> None:
    """``run.skip()`` in an attempt is no failure of it."""
    recorder, flaky = Recorder(), Flaky(TimeoutError(), RunSkipped("no tables"))
    assert tried(flaky, recorder, report_on="skipped")() is None
    assert (flaky.calls, recorder.received) == (2, ["skipped"])


def test_the_wait_grows_and_has_an_upper_limit() -> None:
    """It doubles with each attempt, has up to a quarter on top by chance, and is an hour at most."""
    settings = Settings(retries=100, retry_wait_s=60.0)
    for attempt, least in enumerate((60.0, 120.0, 240.0), 1):
        waits = {attempts.wait_s(settings, attempt) for _ in range(100)}
        assert all(least <= each <= least + 15.0 for each in waits)
        assert len(waits) > 1
    assert attempts.wait_s(settings, 100) == 3600.0
    assert attempts.wait_s(Settings(retry_wait_s=7200.0), 1) == 7200.0
    assert attempts.wait_s(Settings(retry_wait_s=0.0), 9) == 0.0


@pytest.mark.skipif(sys.platform == "win32", reason="a process sends itself no SIGTERM there")
@pytest.mark.parametrize(("number", "outcome"), [("SIGTERM", "terminated"), ("SIGINT", "interrupted")])
def test_a_signal_ends_the_wait(number: str, outcome: str) -> None:
    """The run ends at once as it does elsewhere, and nothing is tried again."""
    recorder, flaky = Recorder(), Flaky(TimeoutError())
    timer = threading.Timer(0.1, os.kill, (os.getpid(), getattr(signal, number)))

    def main() -> int:
        timer.start()
        return flaky()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises((SystemExit, KeyboardInterrupt)):
            tried(main, recorder, retry_wait_s=PATIENCE_S)()
    finally:
        signal.signal(signal.SIGINT, before)
    report = recorder.only.report
    assert report is not None
    assert (flaky.calls, report.outcome, report.attempts) == (1, outcome, 2)


def test_the_time_limit_holds_for_all_attempts_together() -> None:
    """A run that waits to try again is interrupted when it takes too long."""
    recorder, flaky = Recorder(), Flaky(TimeoutError())
    limits = {"max_duration_s": 0.1, "on_overdue": "interrupt", "retry_wait_s": PATIENCE_S, "journal": False}
    with pytest.raises(OverdueError):
        tried(flaky, recorder, **limits)()
    assert (flaky.calls, recorder.received) == (1, ["overdue", "failure"])


def test_a_wait_is_no_stall() -> None:
    """A run that waits to try again is alive."""
    recorder, flaky = Recorder(), Flaky(TimeoutError())
    tried(flaky, recorder, retry_wait_s=2.5, stall_after_s=2.0)()
    assert recorder.received == ["success"]


def test_threads_try_again_by_themselves() -> None:
    """Calls at the same time share nothing: each has its own attempts."""
    recorder, calls, lock = Recorder(), Counter[str](), threading.Lock()

    def main(name: str) -> None:
        with lock:
            calls[name] += 1
        if calls[name] < 3:
            raise TimeoutError

    function = tried(main, recorder)
    threads = [threading.Thread(target=function, args=(name,)) for name in "abc"]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE_S)
    assert calls == {"a": 3, "b": 3, "c": 3}
    wait_until(lambda: len(recorder.messages) == 3)
    assert all("at the 3rd attempt" in each.subject for each in recorder.messages)


def test_the_journal_knows_the_attempts(state: Path) -> None:
    """It keeps what each failed with."""
    tried(Flaky(TimeoutError("no answer")), Recorder())()
    with closing(Journal(state)) as journal:
        (record,) = journal.runs("nightly")
    assert record.report.attempts == 2
    assert [(each.type, each.message) for each in record.report.retried] == [("TimeoutError", "no answer")]
    assert record.report.retried[0].traceback == ""


def test_a_failed_attempt_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Who watches sees why nothing happens, and for how long."""
    tried(Flaky(TimeoutError("no answer")), Recorder())()
    (record,) = (each for each in caplog.records if "attempt 1 of 4" in each.getMessage())
    assert record.levelname == "WARNING"
    assert "'nightly' failed (TimeoutError no answer); the next one begins in" in record.getMessage()


def test_a_block_cannot_be_tried_again() -> None:
    """The script is told where it stands, also of a supervisor that has retries."""
    for make in (supervise, Supervisor().supervise):
        with pytest.raises(ConfigurationError, match="a block cannot be run again"):
            make("x", retries=2)
    with pytest.raises(ConfigurationError, match="a block cannot be run again"):
        Supervisor(retries=2).supervise("x")
    with Supervisor(retries=2).supervise("x", retries=0, journal=False) as run:
        assert run.settings.retries == 0


def test_a_generator_cannot_be_tried_again() -> None:
    """Its consumer may have items of it by then: it is refused where it is decorated."""

    def items() -> Iterator[int]:
        yield 1

    for decorate in (supervised("x", retries=2), supervised(retries=2), Supervisor(retries=2).supervised):
        with pytest.raises(ConfigurationError, match="a generator cannot be run again"):
            decorate(items)


def test_a_configuration_does_not_break_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries of the configuration hold for functions; blocks and generators run once."""
    monkeypatch.setenv("SUPERVISOR_RETRIES", "2")
    monkeypatch.setenv("SUPERVISOR_RETRY_WAIT_S", "0")
    monkeypatch.setenv("SUPERVISOR_RETRY_ON", "TimeoutError")
    flaky = Flaky(TimeoutError())
    assert supervised("function", journal=False)(flaky)() == 5
    with supervise("block", journal=False):
        run = current_run()
        assert run is not None
        assert run.settings.retries == 0

    @supervised("generator", journal=False)
    def items() -> Iterator[int]:
        yield 1

    assert list(items()) == [1]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"retries": -1}, "retries must be a whole number from 0 to 100, got -1"),
        ({"retries": True}, "retries must be a whole number"),
        ({"retries": 101}, "from 0 to 100"),
        ({"retry_wait_s": -1}, "retry_wait_s must be a number of seconds, 0 or more"),
        ({"retry_on": KeyboardInterrupt}, "KeyboardInterrupt ends a run at once"),
        ({"retry_on": (TimeoutError, SystemExit)}, "SystemExit ends a run at once"),
        ({"retry_on": BaseException}, "BaseException ends a run at once"),
        ({"retry_on": int}, "retry_on must be types of exceptions, or their names, got <class 'int'>"),
        ({"retry_on": 5}, "or their names, got 5"),
        ({"retry_on": ["Time out"]}, "or their names, got 'Time out'"),
        ({"retry_on": ()}, "retry_on names no exception"),
    ],
    ids=str,
)
def test_wrong_settings_are_named(wrong: dict[str, Any], text: str) -> None:
    """A mistake is told where the decorator stands."""
    with pytest.raises(ConfigurationError, match=text.replace("(", r"\(")):
        supervised("x", **wrong)


QUEUES = {
    "celery.exceptions": ("Retry", "Ignore", "Reject"),
    "huey.exceptions": ("RetryTask", "CancelExecution"),
    "arq.worker": ("Retry", "RetryJob"),
    "rq.job": ("Retry",),
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in QUEUES.items() for name in names])
def test_what_is_for_a_queue_of_tasks_is_no_failure(module: str, name: str) -> None:
    """It reaches the queue, whatever ``reraise`` says; the run has neither failed nor succeeded."""
    kind = type(name, (Exception,), {"__module__": module})
    derived = type("Own", (kind,), {})
    for error in (kind("in 5 s"), derived("in 5 s")):
        recorder, flaky = Recorder(), Flaky(error)
        with pytest.raises(kind) as caught:
            tried(flaky, recorder, report_on=["success", "skipped"], reraise=False)()
        assert caught.value is error
        assert (flaky.calls, recorder.received) == (1, ["skipped"])
        assert recorder.subjects[0].startswith("nightly left its task to the queue on ")
        assert recorder.subjects[0].endswith(": in 5 s")


def test_exceptions_of_others_that_have_such_a_name_are_failures() -> None:
    """A script's own ``Retry`` is an error like any other."""
    recorder = Recorder()
    error = type("Retry", (Exception,), {"__module__": "urllib3.exceptions"})()
    with pytest.raises(type(error)):
        tried(Flaky(error), recorder, retries=0)()
    assert recorder.received == ["failure"]
