"""A run's own log: what is in it, whose records they are, and that logging is left as it was found."""

from __future__ import annotations

import contextvars
import errno
import functools
import logging
import os
import re
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from supervisor import Run, _hooks, supervise
from supervisor._redaction import Redactor
from supervisor._run import log_capture
from supervisor._run.log_capture import RunLog, open_log
from supervisor._store.files import LINE_LIMIT, TAIL_LINES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

quiet = functools.partial(supervise, journal=False)
loader = logging.getLogger("parcels.load")


class Keeping:
    """Keeps the logs of runs for the length of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: list[RunLog] = []

    def __call__(self, run: Run, *names: str, redact: Callable[[str], str] = str) -> RunLog:
        """Begin the log of a run."""
        self._opened.append(open_log(run._state, names or ("root",), str(self.folder), redact))
        return self._opened[-1]

    def close(self) -> None:
        """End what the test has not ended."""
        for each in self._opened:
            if id(each.run) in log_capture._open:
                each.close()


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keeping]:
    """Return what begins the log of a run, and ends it after the test."""
    keeping = Keeping(tmp_path / "logs")
    yield keeping
    keeping.close()


@contextmanager
def as_python_starts() -> Iterator[logging.Logger]:
    """Give the root logger what Python starts with for the length of a block: no handlers, level WARNING."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers[:] = []
    root.setLevel(logging.WARNING)
    try:
        yield root
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def text_of(log: RunLog) -> str:
    """Return what is in the file of a log, less what supervisor says itself."""
    assert log.path is not None
    lines = Path(log.path).read_text("utf-8").split("\n")
    return "\n".join(line for line in lines if " supervisor: " not in line)


def set_up() -> dict[str, Any]:
    """Return all of logging's state that a script could have set."""
    loggers = {"": logging.getLogger(), **logging.Logger.manager.loggerDict}
    return {
        "loggers": {
            name: (list(each.handlers), each.level, type(each.level), each.propagate, list(each.filters), each.disabled)
            for name, each in loggers.items()
            if isinstance(each, logging.Logger)
        },
        "callHandlers": logging.Logger.callHandlers,
        "showwarning": warnings.showwarning,
        "raiseExceptions": logging.raiseExceptions,
        "lastResort": logging.lastResort,
        "disabled": logging.Logger.manager.disable,
        "filters": list(warnings.filters),
    }


# What is in it


def test_a_record_is_one_line_with_its_time_level_and_logger(keep: Keeping) -> None:
    """A line has the local time to the millisecond, the level, the logger and the text."""
    with quiet("night") as run:
        log = keep(run)
        loader.warning("%d of %s", 3, "roads")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WARNING parcels\.load: 3 of roads\n", text_of(log))


def test_half_a_secret_at_the_cut_of_a_long_traceback_is_not_written(keep: Keeping) -> None:
    """The end that is kept may begin behind the key of a secret, by which it is found."""
    limit = log_capture.TRACEBACK_LIMIT
    with quiet("night") as run:
        log = keep(run, redact=Redactor().text)
        try:
            raise ValueError("a " * limit + "password=hunter2hunter2" + " b" * (limit // 4 - 5))
        except ValueError:
            loader.exception("no connection")
    text = text_of(log)
    assert "characters left out" in text
    assert "nter2" not in text


def test_an_exception_comes_with_its_traceback_and_a_stack_with_its_frames(keep: Keeping) -> None:
    """``exc_info`` and ``stack_info`` are written below the line."""
    with quiet("night") as run:
        log = keep(run)
        try:
            raise KeyError("apn")
        except KeyError:
            loader.exception("no parcel")
        loader.error("here", stack_info=True)
    text = text_of(log)
    assert "ERROR parcels.load: no parcel\nTraceback (most recent call last):\n" in text
    assert "KeyError: 'apn'\n" in text
    assert "Stack (most recent call last):\n" in text


def test_only_what_passes_anyway_is_in_it(keep: Keeping) -> None:
    """A log of all loggers changes no level: code behind ``isEnabledFor`` does not run, filters see no more."""
    seen: list[str] = []

    class Filter(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            seen.append(record.getMessage())
            return True

    watching = Filter()
    loader.addFilter(watching)
    with as_python_starts(), quiet("night") as run:
        log = keep(run)
        assert not loader.isEnabledFor(logging.INFO)
        loader.info("loading")
        loader.warning("odd")
        log.close()
    loader.removeFilter(watching)
    assert seen == ["odd"]
    assert "odd" in text_of(log)
    assert "loading" not in text_of(log)


def test_a_level_that_is_asked_for_is_in_it(keep: Keeping) -> None:
    """A name with a level gives the log more of that logger, others stay as they are; at the end all is as before."""
    with as_python_starts() as root, quiet("night") as run:
        log = keep(run, "root", "parcels=DEBUG")
        loader.debug("a detail")
        logging.getLogger("roads").info("of others")
        log.close()
        assert root.level == logging.WARNING
        assert not loader.isEnabledFor(logging.INFO)
    assert "a detail" in text_of(log)
    assert "of others" not in text_of(log)


def test_a_level_that_is_higher_changes_nothing(keep: Keeping) -> None:
    """A logger that lets more through than is asked for keeps its level, and handlers get no more than before."""
    got: list[str] = []
    terse = logging.getLogger("terse")
    terse.setLevel(logging.ERROR)
    handler = logging.Handler()
    handler.emit = lambda record: got.append(record.getMessage())  # type: ignore[method-assign]
    terse.addHandler(handler)
    loader.setLevel(logging.DEBUG)
    with as_python_starts(), quiet("night") as run:
        log = keep(run, "parcels.load=INFO", "terse=INFO")
        loader.debug("a detail")
        terse.warning("for the log")
        terse.error("for all")
        log.close()
    loader.setLevel(logging.NOTSET)
    terse.setLevel(logging.NOTSET)
    terse.removeHandler(handler)
    assert got == ["for all"]
    for said in ("a detail", "for the log", "for all"):
        assert said in text_of(log)


def test_levels_that_the_script_has_set_decide(keep: Keeping) -> None:
    """A logger at DEBUG gives its details, one at ERROR no warnings."""
    chatty, terse = logging.getLogger("chatty"), logging.getLogger("terse")
    chatty.setLevel(logging.DEBUG)
    terse.setLevel(logging.ERROR)
    with as_python_starts(), quiet("night") as run:
        log = keep(run)
        chatty.debug("a detail")
        terse.warning("a warning")
        terse.error("an error")
    for each in (chatty, terse):
        each.setLevel(logging.NOTSET)
    text = text_of(log)
    assert "a detail" in text
    assert "a warning" not in text
    assert "an error" in text


def test_only_the_loggers_named_are_in_it(keep: Keeping) -> None:
    """A name stands for the logger and those below it, not for others that begin alike."""
    with quiet("night") as run:
        log = keep(run, "parcels", "roads")
        for name in ("parcels", "parcels.load", "parcels2", "roads", "other"):
            logging.getLogger(name).warning("said")
    assert re.findall(r"WARNING (\S+):", text_of(log)) == ["parcels", "parcels.load", "roads"]


def test_a_logger_that_does_not_propagate_is_in_it_too(keep: Keeping) -> None:
    """What all loggers say is what all say, whatever their ``propagate``."""
    loader.propagate = False
    try:
        with quiet("night") as run:
            log = keep(run)
            loader.warning("said")
    finally:
        loader.propagate = True
    assert "said" in text_of(log)


def test_warnings_are_in_it_and_are_shown_as_before(keep: Keeping) -> None:
    """A warning goes into the log, whichever loggers it has, and then wherever it went before."""
    shown: list[str] = []
    before = warnings.showwarning
    warnings.showwarning = lambda message, *rest: shown.append(str(message))
    try:
        with quiet("night") as run, warnings.catch_warnings():
            warnings.simplefilter("always")
            log = keep(run, "parcels")
            warnings.warn("old data", stacklevel=1)
            log.close()
    finally:
        warnings.showwarning = before
    assert "WARNING py.warnings: test_log_capture.py:" in text_of(log)
    assert "UserWarning: old data\n" in text_of(log)
    assert shown == ["old data"]


def test_warnings_that_logging_captures_are_in_it_once(keep: Keeping) -> None:
    """With ``logging.captureWarnings(True)`` by the script a warning is one record, as before."""
    with quiet("night") as run, warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        log = keep(run)
        warnings.warn("old data", stacklevel=1)
        log.close()
        logging.captureWarnings(False)
    assert text_of(log).count("UserWarning: old data") == 1


def test_warnings_that_the_script_catches_are_its_own(keep: Keeping) -> None:
    """What a script records with ``catch_warnings`` does not come into the log."""
    with quiet("night") as run:
        log = keep(run)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("expected", stacklevel=1)
    assert len(caught) == 1
    assert text_of(log) == ""


def test_secrets_are_taken_out_before_anything_is_kept(keep: Keeping) -> None:
    """What redacts sees the whole record, and neither file nor last lines have what it took out."""
    with quiet("night") as run:
        log = keep(run, redact=lambda text: text.replace("hunter22", "[redacted]"))
        try:
            raise ValueError("hunter22")
        except ValueError:
            loader.exception("password hunter22")
    assert "hunter22" not in text_of(log)
    assert "hunter22" not in "".join(log.tail)
    assert text_of(log).count("[redacted]") >= 3


def test_any_text_can_be_written(keep: Keeping) -> None:
    """Lone surrogates, NUL and emoji are no fault; the file is UTF-8."""
    with quiet("night") as run:
        log = keep(run)
        loader.warning("file %s \udc80 \x00 🦆", "\udcff")
    assert "file ? ? \x00 🦆" in text_of(log)


def test_records_that_cannot_be_filled_in_are_told_as_they_are(
    keep: Keeping, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong format or a ``__str__`` that raises reaches neither the script nor stops the log."""
    monkeypatch.setattr(logging, "raiseExceptions", False)

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    with quiet("night") as run:
        log = keep(run)
        loader.warning("%d parcels", "many")
        loader.warning("%s", Broken())
        loader.warning("after")
    text = text_of(log)
    assert "'%d parcels' cannot be filled in (TypeError)" in text
    assert "'%s' cannot be filled in (RuntimeError)" in text
    assert "after" in text


# What is kept in memory


def test_levels_are_counted_from_warning_up(keep: Keeping) -> None:
    """The counts name each level that there was, the worst first."""
    with as_python_starts(), quiet("night") as run:
        log = keep(run)
        loader.info("loading")
        for _ in range(14):
            loader.warning("odd")
        loader.error("bad")
        loader.critical("worse")
        loader.error("bad")
    assert list(log.counts.items()) == [("CRITICAL", 1), ("ERROR", 2), ("WARNING", 14)]


def test_the_last_twenty_lines_are_kept(keep: Keeping) -> None:
    """The tail is the end of the file, line by line, with long lines cut."""
    with quiet("night") as run:
        log = keep(run)
        for number in range(50):
            loader.warning("row %d", number)
        loader.warning("two\nlines")
        loader.warning("x" * 5000)
        log.close()
    assert len(log.tail) == TAIL_LINES
    assert log.tail[-3].endswith("WARNING parcels.load: two")
    assert log.tail[-2] == "lines"
    assert len(log.tail[-1]) == LINE_LIMIT
    assert log.tail[0].endswith("row 33")


def test_an_endless_record_takes_bounded_memory(keep: Keeping) -> None:
    """Of a record of a megabyte the file has all, memory only the end."""
    with quiet("night") as run:
        log = keep(run)
        loader.warning("x" * 1_000_000)
        log.close()
    assert sum(map(len, log._last)) <= TAIL_LINES * LINE_LIMIT
    assert len(text_of(log)) > 1_000_000


# Whose records


def test_a_record_belongs_to_the_innermost_run_that_takes_it(keep: Keeping) -> None:
    """A nested run with a log of its own has its records alone; without one they are the outer run's."""
    with quiet("outer") as outer:
        outer_log = keep(outer)
        with quiet("inner") as inner:
            inner_log = keep(inner, "parcels")
            loader.warning("deep")
            logging.getLogger("other").warning("beside")
            inner_log.close()
        with quiet("plain"):
            loader.warning("plain")
        loader.warning("outside")
    assert re.findall(r": (\w+)\n", text_of(inner_log)) == ["deep"]
    assert re.findall(r": (\w+)\n", text_of(outer_log)) == ["beside", "plain", "outside"]


def test_runs_side_by_side_have_their_own_records(keep: Keeping) -> None:
    """Runs in several threads do not get each other's records; their own threads' they do."""
    barrier = threading.Barrier(4)

    def work(number: int) -> RunLog:
        with quiet(f"run {number}") as run:
            log = keep(run)
            barrier.wait()
            for _ in range(50):
                loader.warning("from %d", number)
            helper = threading.Thread(target=loader.warning, args=("from %d", number))
            helper.start()
            helper.join()
            barrier.wait()
            log.close()
        return log

    found: list[RunLog] = []
    threads = [threading.Thread(target=lambda n=n: found.append(work(n))) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for log in found:
        number = log.run.name.split()[1]
        assert set(re.findall(r"from (\d)", text_of(log))) == {number}
        assert text_of(log).count("\n") == 51


def test_a_record_of_no_run_goes_to_all_that_are_under_way(keep: Keeping) -> None:
    """A thread from before any run, and one whose run has ended, speak to every run that takes it."""
    with quiet("ended"):
        stale = contextvars.copy_context()
    with quiet("night") as run:
        log = keep(run)
        contextvars.Context().run(loader.warning, "from outside")
        stale.run(loader.warning, "from before")
        log.close()
        contextvars.Context().run(loader.warning, "too late")
    assert re.findall(r"(outside|before|late)", text_of(log)) == ["outside", "before"]


def test_a_run_without_a_log_keeps_its_records_to_itself(keep: Keeping) -> None:
    """What another run says does not go into the log of a run that it is not nested in."""
    with quiet("night") as run:
        log = keep(run)

        def other() -> None:
            with quiet("other"):
                loader.warning("from the other")

        contextvars.Context().run(other)
    assert text_of(log) == ""


# How logging is left


def test_logging_is_left_exactly_as_it_was_found(keep: Keeping) -> None:
    """Handlers, levels, filters, the warnings' hook: all is as before, after nested runs that ended crosswise."""
    logging.getLogger("roads")
    with as_python_starts(), quiet("outer") as outer, quiet("inner") as inner:
        before = set_up()
        first, second = keep(outer, "root=INFO"), keep(inner, "roads=INFO", "parcels.load=DEBUG")
        first.close()
        logging.getLogger("roads").info("still")
        assert "still" in text_of(second)
        second.close()
        assert set_up() == before


def test_while_it_is_kept_the_script_hears_what_it_would(keep: Keeping, capsys: pytest.CaptureFixture[str]) -> None:
    """INFO goes into the log alone; what goes to stderr without any handler still does."""
    with as_python_starts(), quiet("night") as run:
        keep(run, "root=INFO")
        loader.info("quiet")
        loader.warning("loud")
    assert capsys.readouterr().err == "loud\n"


def test_basic_config_works_within_the_run_and_stays(keep: Keeping, capsys: pytest.CaptureFixture[str]) -> None:
    """A script that configures logging inside of its run gets what it asked for, then and afterwards."""
    with as_python_starts() as root:
        with quiet("night") as run:
            log = keep(run, "root=INFO")
            loader.info("before")
            logging.basicConfig(level=logging.INFO, format="shown %(message)s", stream=sys.stderr)
            loader.info("within")
            log.close()
        loader.info("after")
        assert root.level == logging.INFO
    assert [line for line in capsys.readouterr().err.splitlines() if "run" not in line] == [
        "shown within",
        "shown after",
    ]
    assert re.findall(r"(before|within|after)", text_of(log)) == ["before", "within"]


def test_handlers_get_no_more_than_before(keep: Keeping) -> None:
    """A handler of the script without a level of its own does not get what only the run's log asks for."""
    got: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            got.append(record.getMessage())

    with as_python_starts() as root, quiet("night") as run:
        root.addHandler(Handler())
        keep(run, "root=INFO")
        loader.info("quiet")
        loader.warning("loud")
    assert got == ["loud"]


def test_others_who_wrap_the_same_are_left_in_place(keep: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that wraps ``callHandlers`` meanwhile keeps its wrapper, and later runs have each record once."""
    seen: list[str] = []
    original = logging.Logger.callHandlers
    with quiet("first") as run:
        log = keep(run)
        ours = logging.Logger.callHandlers

        def theirs(self: logging.Logger, record: logging.LogRecord) -> None:
            if record.name == loader.name:
                seen.append(record.getMessage())
            ours(self, record)

        monkeypatch.setattr(logging.Logger, "callHandlers", theirs)
        log.close()
    assert logging.Logger.callHandlers is theirs
    with quiet("second") as run:
        log = keep(run)
        loader.warning("once")
        log.close()
    assert logging.Logger.callHandlers is theirs
    assert seen == ["once"]
    assert text_of(log).count("once") == 1
    monkeypatch.undo()
    logging.Logger.callHandlers = original  # type: ignore[method-assign]


def test_a_level_that_the_script_sets_meanwhile_stays(keep: Keeping) -> None:
    """What a script sets within the run is its own, the very level that was set for the log included."""
    for level in (logging.INFO, logging.ERROR):
        with as_python_starts() as root, quiet("night") as run:
            log = keep(run, "root=INFO")
            root.setLevel(level)
            log.close()
            assert root.level == level
            assert type(root.level) is int
    assert not _hooks._found_levels


# Faults


def test_a_full_disk_is_told_once_and_the_script_goes_on(
    keep: Keeping, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """When the file cannot be written there is one warning; counts and last lines go on, and so does the file later."""
    is_full = True

    def write(descriptor: int, data: bytes) -> int:
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data)

    monkeypatch.setattr(log_capture, "_write", write)
    with quiet("night") as run:
        own = keep(run)
        for _ in range(5):
            loader.error("lost")
        is_full = False
        loader.error("found")
    assert log.text.count("cannot be written") == 1
    assert "found" in text_of(own)
    assert "lost" not in text_of(own)
    assert own.counts["ERROR"] == 6


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    """Where no file can be had there is one warning for all runs; counts and last lines are there all the same."""
    (tmp_path / "file").write_text("")
    for _ in range(2):
        with quiet("night") as run:
            own = open_log(run._state, ("root",), str(tmp_path / "file"))
            loader.error("said")
            own.close()
        assert own.path is None
        assert own.counts == {"ERROR": 1}
        assert own.tail[-1].endswith("said")
    assert log.text.count("no log can be written") == 1


def test_a_redaction_that_fails_writes_nothing_and_says_so_once(keep: Keeping, log: pytest.LogCaptureFixture) -> None:
    """A text that could not be looked at is not written: it may have a secret."""

    def redact(text: str) -> str:
        raise RuntimeError("broken")

    with quiet("night") as run:
        own = keep(run, redact=redact)
        loader.error("secret")
        loader.error("secret")
    assert text_of(own) == ""
    assert log.text.count("could not be written") == 1


def test_a_signal_handler_may_log_while_a_record_is_written(keep: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who logs in the middle of a record, in the same thread, does not wait for himself."""

    def write(descriptor: int, data: bytes) -> None:
        if b"first" in data:
            loader.warning("in between")
        os.write(descriptor, data)

    monkeypatch.setattr(log_capture, "_write", write)
    with quiet("night") as run:
        own = keep(run)
        loader.warning("first")
    assert re.findall(r"(first|between)", text_of(own)) == ["between", "first"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_writes_to_the_same_log(keep: Keeping) -> None:
    """What a child says goes into its parent's log, also when another thread was writing during the fork."""
    if sys.platform == "win32":
        pytest.skip("there is no fork")
    with quiet("night") as run:
        own = keep(run)
        there, go = threading.Event(), threading.Event()

        def write() -> None:
            with own.lock:
                there.set()
                go.wait()

        writer = threading.Thread(target=write)
        writer.start()
        there.wait()
        pid = os.fork()
        if not pid:
            signal.alarm(20)  # rather than wait for ever
            loader.warning("from the child")
            os._exit(0)
        go.set()
        writer.join()
        os.waitpid(pid, 0)
        loader.warning("from the parent")
    assert re.findall(r"from the (\w+)", text_of(own)) == ["child", "parent"]
