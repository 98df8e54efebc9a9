"""Faults of supervision itself: they are logged and never reach the script."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest
from recorders import Recorder
from scripts import run as run_script

from supervisor import Supervisor, supervise, supervised

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from supervisor import Run

quiet = functools.partial(supervise, journal=False)
MATTERS = ["start", "success", "progress"]


class RaisesInLogging(logging.Handler):
    """A log handler that lets its errors out, as some do."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise."""
        raise OSError("the log's disk is full")

    def flush(self) -> None:
        """Raise."""
        raise OSError("the log's disk is full")


class NoLogger:
    """Has what a logger must have, and raises at it."""

    def error(self, *_: Any, **__: Any) -> None:
        """Raise."""
        raise RuntimeError("no log")


class RudeName:
    """A handler whose name cannot be asked for."""

    @property
    def name(self) -> str:
        """Raise."""
        raise RuntimeError("no name")

    def send_message(self, details: Any, /) -> None:
        """Do nothing."""


class OddName(Recorder):
    """A handler with a name that is no text."""

    def __init__(self) -> None:
        super().__init__()
        self.name = 5  # type: ignore[assignment]  # on purpose


def use_everything(run: Any) -> None:
    """Do all that a script can do with its run."""
    run.record(rows=7)
    run.notify("hello", "text", attachments=["none.csv"])
    run.progress(1, 10)
    run.attach("none.log")
    assert list(run.track([1, 2])) == [1, 2]


@pytest.mark.parametrize("rude", [RudeName(), OddName()], ids=lambda each: type(each).__name__)
def test_a_handler_that_cannot_be_looked_at(rude: Any, recorder: Recorder) -> None:
    """A handler whose ``name`` raises does not hurt the script, nor the exception that leaves it."""
    with quiet("good", handlers=[rude, recorder], report_on=MATTERS) as run:
        use_everything(run)
    with pytest.raises(KeyError), quiet("bad", handlers=[rude, recorder]):
        raise KeyError("apn")


def test_a_handler_that_cannot_be_looked_at_does_not_stop_the_next(recorder: Recorder) -> None:
    """The other handlers still hear what there is to hear."""
    with pytest.raises(KeyError), quiet("bad", handlers=[RudeName(), recorder]):
        raise KeyError("apn")
    assert recorder.received == ["failure"]


@pytest.mark.parametrize("log", [NoLogger(), "raises.in.logging"], ids=["a logger", "its handler"])
def test_a_logger_that_raises(log: Any, recorder: Recorder) -> None:
    """A logger that raises hides neither the script's exception nor the message of it."""
    handler = RaisesInLogging()
    logger = logging.getLogger("raises.in.logging")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        with pytest.raises(KeyError), quiet("bad", logger=log, handlers=[recorder]):
            raise KeyError("apn")
    finally:
        logger.removeHandler(handler)
    assert recorder.received == ["failure"]


def test_supervisors_own_logger_may_raise(recorder: Recorder) -> None:
    """A handler on the ``supervisor`` logger that raises, wherever supervisor logs, costs the log and nothing else."""

    class Fails(Recorder):
        down = True

        def send_message(self, details: Any, /) -> None:
            if self.down:
                raise OSError("no network")

    handlers: list[Any] = [Fails(), RudeName(), recorder]
    in_log, logger = RaisesInLogging(), logging.getLogger("supervisor")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(in_log)
    try:
        with quiet("good", handlers=handlers, report_on=MATTERS, delivery_deadline_s=0.05) as run:
            use_everything(run)
        with pytest.raises(KeyError), quiet("bad", handlers=handlers, delivery_deadline_s=0.05):
            raise KeyError("apn")
    finally:
        logger.removeHandler(in_log)
        logger.setLevel(level)
        handlers[0].down = False
    assert recorder.received == ["start", "notice", "success", "failure"]


def test_a_filter_of_the_script_on_asyncios_logger_stays(tmp_path: Path) -> None:
    """What a script has on asyncio's logger works on, with and without runs."""
    body = """
        import asyncio, gc, logging
        logging.getLogger("asyncio").addFilter(lambda record: print("filter", flush=True))
        async def fail(): raise KeyError("apn")
        async def main():
            asyncio.create_task(fail())
            await asyncio.sleep(0.01)
            gc.collect()
        asyncio.run(main())
        with supervise("night", journal=False): asyncio.run(main())
    """
    ended = run_script(tmp_path, body)
    assert (ended.code, ended.stdout, ended.stderr) == (0, "filter\nfilter\n", "")


BREAKING = {
    "its parts raise": """
        def __str__(self): raise RuntimeError("no text")
        __repr__ = __str__
        def __getattribute__(self, name):
            if name.startswith("__supervisor") or name in ("__notes__", "__suppress_context__"):
                raise RuntimeError(name)
            return super().__getattribute__(name)
    """,
    "its text ends the process": """
        def __str__(self): raise SystemExit(9)
    """,
    "its text never ends": """
        def __str__(self): return str(self)
    """,
    "its text is none": """
        def __str__(self): return 5
    """,
    "it cannot be marked": """
        def __setattr__(self, *_): raise RuntimeError("no marks")
    """,
    "it says that it was marked": """
        def __getattr__(self, name): return 5
    """,
    "its notes are none": """
        __notes__ = 5
    """,
}


@pytest.mark.parametrize("breaking", BREAKING.values(), ids=BREAKING)
def test_an_exception_that_breaks_its_report(breaking: str, tmp_path: Path) -> None:
    """An exception while reporting an exception: the original leaves the script, and something is told."""
    body = f"""
class Breaking(Exception):
{textwrap.indent(textwrap.dedent(breaking), "    ")}
error = Breaking()
try:
    with supervise("bad", handlers=[recorder]):
        raise error
except BaseException as caught:
    print(caught is error, flush=True)
"""
    ended = run_script(tmp_path, body)
    assert (ended.code, ended.stdout) == (0, "True\n")
    assert [each["error"] for each in ended.messages] == ["Breaking"]


def test_a_huge_exception_is_cut(recorder: Recorder) -> None:
    """An exception with megabytes of text makes a message of bounded size that says what was left out."""
    with pytest.raises(ValueError), quiet("bad", handlers=[recorder]):
        raise ValueError("x" * 10_000_000)
    assert len(recorder.only.message) < 200_000
    assert "characters left out" in recorder.only.message
    assert len(recorder.only.subject) <= 300
    report = recorder.only.report
    assert report is not None
    assert report.error is not None
    assert len(report.error.message) < 5_000
    assert len(report.error.traceback) < 70_000


def test_deep_chains_are_bounded(recorder: Recorder) -> None:
    """A thousand chained causes and a group of a thousand make a message of bounded size, in bounded time."""
    error: Exception = ValueError("first")
    for i in range(1000):
        following = ValueError(f"cause {i}")
        following.__cause__ = error
        error = following
    with pytest.raises(ValueError, match="cause 999"), quiet("bad", handlers=[recorder]):
        raise error
    with pytest.raises(ExceptionGroup), quiet("bad", handlers=[recorder]):
        raise ExceptionGroup("many", [ValueError("x" * 1000) for _ in range(1000)])
    assert recorder.received == ["failure", "failure"]
    assert all(len(each.message) < 200_000 for each in recorder.messages)


def test_causes_in_a_circle_end(recorder: Recorder) -> None:
    """Exceptions that are each other's cause are told, once each."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    with pytest.raises(ValueError, match="one"), quiet("bad", handlers=[recorder]):
        raise one
    assert recorder.received == ["failure"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the directory in use")
def test_a_directory_that_is_gone(tmp_path: Path, recorder: Recorder) -> None:
    """A script whose working directory was removed can still be watched and told of."""
    before = os.getcwd()  # noqa: PTH109 - a text, to go back to
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        with pytest.raises(KeyError), quiet("bad", handlers=[recorder]) as run:
            use_everything(run)
            raise KeyError("apn")
    finally:
        os.chdir(before)
    assert recorder.received == ["notice", "failure"]


NOWHERE = {
    "no streams": "sys.stdin = sys.stdout = sys.stderr = None",
    "closed streams": "sys.stdout.close(); sys.stderr.close()",
    "no argv": "del sys.argv",
    "an empty argv": "sys.argv = []",
    "no file": "del __file__",
    "no user": "import os; [os.environ.pop(name, None) for name in ('USER', 'LOGNAME', 'HOME', 'PATH')]",
    "streams that can only write": "class Tee:\n"
    "            def write(self, text): return len(text)\n"
    "        sys.stdout = sys.stderr = Tee()",
    "streams that raise": "class Broken:\n"
    "            def write(self, *_): raise OSError(5, 'input/output')\n"
    "            flush = isatty = write\n"
    "        sys.stdout = sys.stderr = Broken()",
}


@pytest.mark.parametrize("nowhere", NOWHERE.values(), ids=NOWHERE)
def test_it_works_where_there_is_next_to_nothing(nowhere: str, tmp_path: Path) -> None:
    """Without streams, arguments, user or file a run starts, makes progress, speaks and ends as elsewhere."""
    body = f"""
        from supervisor.message_handlers import ConsoleHandler
        import os
        {nowhere}
        with supervise("night", handlers=[ConsoleHandler(), recorder], report_on=["success"]) as run:
            for _ in run.track(range(3)): pass
            run.notify("hello")
        os._exit(0 if run.outcome == "success" else 9)
    """
    before_s = time.monotonic()
    ended = run_script(tmp_path, body)
    assert ended.code == 0
    assert ended.kinds == ["notice", "success"]
    assert time.monotonic() - before_s < 20, "it waited for a console that is not there"


def test_a_faulty_setting_in_the_night_is_the_callers(recorder: Recorder) -> None:
    """A mistake in the settings is told when the decorator is built, before any run."""
    from supervisor import ConfigurationError

    sup = Supervisor(handlers=[recorder], journal=False)
    with pytest.raises(ConfigurationError, match="did you mean"):
        sup.supervised(report="x")  # type: ignore[call-overload]  # on purpose
    with pytest.raises(ConfigurationError, match="did you mean"):
        supervised("name", report="x")  # type: ignore[call-overload]  # on purpose
    assert recorder.messages == []


def test_a_cancelled_wait_for_messages_cancels_the_task() -> None:
    """A task that is cancelled while its run waits for a handler is cancelled then, not half a minute later."""
    import threading

    go_on = threading.Event()

    class Hangs(Recorder):
        def send_message(self, details: Any, /) -> None:
            go_on.wait(60)

    async def work() -> None:
        async with quiet("night", handlers=[Hangs()], report_on=["success"], delivery_deadline_s=5):
            pass

    async def main() -> bool:
        task = asyncio.create_task(work())
        await asyncio.sleep(0.1)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False

    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(main())
    finally:
        go_on.set()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on open files to speak of")
def test_a_script_that_has_no_file_left_to_open_is_told_of(tmp_path: Path) -> None:
    """Too many open files: the failure is told in full and journalled, though telling it takes files too."""
    ended = run_script(
        tmp_path,
        """
        import resource
        from supervisor.message_handlers import ConsoleHandler
        with supervise("night", handlers=[ConsoleHandler()]):
            resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
            files = []
            while True:
                files.append(open("/dev/null"))
        """,
    )
    assert ended.code == 1
    assert "night failed on" in ended.stdout
    assert "OSError: [Errno 24] Too many open files" in ended.stdout
    assert 'files.append(open("/dev/null"))' in ended.stdout
    assert "supervision" not in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on open files to speak of")
def test_a_step_that_finds_no_file_left_to_open_raises_nothing(tmp_path: Path) -> None:
    """Too many open files, and what a step takes was never loaded: the script goes on, and is warned."""
    ended = run_script(
        tmp_path,
        """
        import resource
        with supervise("night", journal=False) as run:
            resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
            files = []
            try:
                while True:
                    files.append(open("/dev/null"))
            except OSError:
                run.notify("hello")
            files.clear()
        print("went on")
        """,
    )
    assert (ended.code, ended.stdout) == (0, "went on\n")
    said = "supervision of 'night' went on without one step\nits traceback cannot be shown (OSError)\n"
    assert ended.stderr == said


# Values that are wrong


class Hostile:
    """Raises at whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        """Raise."""
        if name in {"__class__", "__dict__"}:
            return object.__getattribute__(self, name)
        raise RuntimeError(f"no {name}")

    def __str__(self) -> str:
        """Raise."""
        raise RuntimeError("no text")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        """Raise."""
        raise RuntimeError("no comparison")

    def __hash__(self) -> int:
        """Raise."""
        raise RuntimeError("no hash")

    def __bool__(self) -> bool:
        """Raise."""
        raise RuntimeError("neither true nor false")


class HostileText(str):
    """A text that raises when it is used."""

    __slots__ = ()

    def __str__(self) -> str:
        """Raise."""
        raise RuntimeError("no text")

    def __len__(self) -> int:
        """Raise."""
        raise RuntimeError("no length")


WRONG: dict[str, Any] = {
    "a number": 5, "bytes": b"x", "a list": [object()], "a class": type, "hostile": Hostile(),
    "a hostile text": HostileText("x"), "no number": float("nan"), "a huge number": 10**400, "half a letter": "\ud800",
}  # fmt: skip
METHODS: dict[str, Callable[[Run, Any], object]] = {
    "notify subject": lambda run, value: run.notify(value),
    "notify message": lambda run, value: run.notify("subject", value),
    "notify attachments": lambda run, value: run.notify("subject", "text", attachments=value),
    "notify html": lambda run, value: run.notify("subject", "text", html=value),
    "notify blocks": lambda run, value: run.notify("subject", "text", blocks=value),
    "record": lambda run, value: run.record(value=value),
    "attach": lambda run, value: run.attach(value),
    "progress": lambda run, value: run.progress(value),
    "progress total": lambda run, value: run.progress(1, total=value),
    "progress message": lambda run, value: run.progress(1, message=value),
    "track total": lambda run, value: list(run.track([1], total=value)),
    "track message": lambda run, value: list(run.track([1], message=value)),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("method", METHODS)
def test_no_method_raises_and_no_message_is_lost_for_a_wrong_value(
    method: str, wrong: str, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be used is left out and said; the notice and the message about the end are sent all the same."""
    caplog.set_level(logging.CRITICAL, "supervisor")
    with quiet("night", handlers=[recorder], report_on=["success"]) as run:
        METHODS[method](run, WRONG[wrong])
        assert run.report().id == run.id
    assert recorder.received == [*(["notice"] if method.startswith("notify") else []), "success"]


def test_what_supervision_did_without_is_said_at_the_end(recorder: Recorder) -> None:
    """A wrong call is logged, and the message about the end names it, without secrets."""
    with quiet("night", handlers=[recorder], report_on=["success"]) as run:
        run.attach(5)  # type: ignore[arg-type]  # on purpose
        run.attach(["password=xQ12345678"])  # type: ignore[arg-type]  # on purpose
        run.attach(5)  # type: ignore[arg-type]  # on purpose
    text = " ".join(recorder.only.message.split())
    assert text.count("attachments takes a path or several (str, os.PathLike, Attachment), got 5") == 1
    assert "xQ12345678" not in text


BIG = "some words, and the number 12. " * (20 * 1024 * 1024 // 31)


def many_records(run: Run) -> None:
    """Record one value after the other."""
    for number in range(20_000):
        run.record(**{f"value {number}": 1})


LOUD: dict[str, Callable[[Run], object]] = {
    "notify": lambda run: run.notify(BIG, BIG, html=BIG),
    "record": lambda run: run.record(value=BIG),
    "progress": lambda run: run.progress(1, message=BIG),
    "many values": lambda run: run.record(**{f"value {number}": "text" for number in range(300_000)}),
    "many records": many_records,
    "log": lambda run: logging.getLogger("night").warning(BIG),
}


@pytest.mark.parametrize("way", LOUD)
def test_what_is_huge_is_cut_before_it_is_worked_on(way: str, recorder: Recorder) -> None:
    """Texts of 20 MB and 300,000 values take a second of processor time at most, and what is sent is bounded."""
    with quiet("night", handlers=[recorder], report_on=["success"], capture_logs="night") as run:
        began_s = time.thread_time()
        LOUD[way](run)
        took_s = time.thread_time() - began_s
    assert took_s < 5.0, "20 MB that are searched for secrets take longer"
    assert recorder.messages
    for each in recorder.messages:
        assert len(each.subject) <= 10_000
        assert len(each.message) <= 1_100_000
        assert each.html is None
        assert each.report is None or len(each.report.values) <= 2_000
