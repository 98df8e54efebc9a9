"""``capture_logs``: one argument gives a run its own log, and the log goes with its messages."""

from __future__ import annotations

import asyncio
import logging
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scripts import Script, run

from supervisor import supervise, supervised
from supervisor._store import open_journal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorders import Recorder

loader = logging.getLogger("parcels.load")


def logs_of(state: Path) -> list[Path]:
    """Return the log files of all runs, oldest first."""
    return sorted((state / "logs").glob("*/*.log"))


def text_of(state: Path) -> str:
    """Return the one log that there is."""
    (path,) = logs_of(state)
    return path.read_text("utf-8")


def test_the_log_goes_with_a_failure(recorder: Recorder, state: Path) -> None:
    """A failure brings the log, its path, how many records of each level there were, and its last lines."""
    with pytest.raises(KeyError), supervise("night", handlers=[recorder], capture_logs="parcels"):
        loader.warning("3 rows are empty")
        loader.error("no parcel")
        raise KeyError("apn")
    (path,) = logs_of(state)
    report = recorder.only.report
    assert report is not None
    assert [each.name for each in recorder.only.attachments] == [path.name]
    assert report.log_path == path
    assert dict(report.log_counts) == {"ERROR": 1, "WARNING": 1}
    assert [line.partition(": ")[2] for line in report.log_tail] == ["3 rows are empty", "no parcel"]
    assert "3 rows are empty" in recorder.only.message


def test_the_log_goes_with_a_summary(recorder: Recorder, state: Path) -> None:
    """A success and a recovery bring the log too."""
    work: Any = supervised("night", handlers=[recorder], capture_logs=True, report_on=["success"])(loader.warning)
    with pytest.raises(KeyError), supervise("night", handlers=[recorder]):
        raise KeyError("apn")
    for _ in range(2):
        work("said")
    assert recorder.received == ["failure", "recovery", "success"]
    names = [[each.name for each in message.attachments] for message in recorder.messages]
    assert names[0] == []
    assert sorted(name for each in names for name in each) == sorted(each.name for each in logs_of(state))


def test_a_summary_shows_what_went_wrong_on_the_way(recorder: Recorder) -> None:
    """The warnings of the log stand in the message of a success, ten at most, errors first, without secrets."""
    with supervise("night", handlers=[recorder], capture_logs=True, report_on=["success"]):
        for number in range(12):
            loader.warning("county %d has no header", number)
        loader.error("airstrips timed out\nwith password=xQ12345678")
    message = recorder.only
    lines = [
        line for line in message.message.splitlines() if "parcels" in line and ("WARNING" in line or "ERROR" in line)
    ]
    assert "In its log: 1 error, 12 warnings." in message.message
    assert len(lines) == 10
    assert lines[0].endswith("ERROR parcels.load: airstrips timed out")
    assert lines[-1].endswith("county 8 has no header")
    assert "xQ12345678" not in message.message
    assert message.report is not None
    assert len(message.report.log_warnings) == 10


def test_the_log_of_the_script_goes_along_besides(recorder: Recorder, tmp_path: Path, state: Path) -> None:
    """``log_path`` names the script's own log: a failure brings both, and the report names it."""
    own = tmp_path / "own.log"
    own.write_text("mine")
    with pytest.raises(KeyError), supervise("night", handlers=[recorder], capture_logs=True, log_path=own):
        raise KeyError("apn")
    assert [each.name for each in recorder.only.attachments] == [each.name for each in (own, *logs_of(state))]
    assert recorder.only.report is not None
    assert recorder.only.report.log_path == own


def test_the_log_has_what_supervisor_says_of_the_run(state: Path) -> None:
    """Start, progress and end are in a log of all loggers, and in that of this run alone."""
    with supervise("outer", capture_logs="root=INFO"), supervise("inner"):
        pass
    text = text_of(state)
    for said in ("'outer' started", "'inner' started", "'inner' ended: success", "'outer' ended: success"):
        assert said in text


def test_the_logger_that_gets_failures_writes_them_into_the_log(recorder: Recorder, state: Path) -> None:
    """With ``logger`` the traceback of the failure is in the log."""
    with pytest.raises(KeyError), supervise("night", handlers=[recorder], capture_logs="parcels", logger=loader):
        raise KeyError("apn")
    assert "ERROR parcels.load: night failed\nTraceback (most recent call last):" in text_of(state)


def test_the_journal_knows_where_the_log_is(state: Path) -> None:
    """The path is in the journal from the start, so that a run that dies is told with it."""
    with supervise("night", capture_logs=True):
        journal = open_journal(state)
        record = journal.last_run("night")
        journal.close()
    assert record is not None
    assert record.report.log_path == logs_of(state)[0]


def test_secrets_of_handlers_are_not_in_the_log(state: Path) -> None:
    """What is redacted in messages is redacted in the log as it is written."""
    with supervise("night", capture_logs=True):
        loader.warning("GET https://user:hunter22secret@example.com/ with password=correcthorse")
    text = text_of(state)
    assert "hunter22secret" not in text
    assert "correcthorse" not in text
    assert "redacted" in text


def test_each_run_has_its_own(state: Path) -> None:
    """A call is a run, with a log of its own; threads and tasks of the run write to it."""

    @supervised("night", capture_logs="parcels")
    async def work(number: int) -> None:
        await asyncio.sleep(0)
        await asyncio.gather(asyncio.to_thread(loader.warning, "thread of %d", number), say(number))

    async def say(number: int) -> None:
        loader.warning("task of %d", number)

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(5)))

    asyncio.run(main())
    found = []
    for path in logs_of(state):
        lines = path.read_text("utf-8").splitlines()
        found.append({line[-1] for line in lines})
        assert len(lines) == 2
    assert sorted(map(sorted, found)) == [[str(number)] for number in range(5)]


def test_a_generator_keeps_its_consumers_records_out(state: Path) -> None:
    """What the consumer of a generator logs is not in the log of the generator's run."""

    @supervised("night", capture_logs="parcels")
    def rows() -> Iterator[int]:
        loader.warning("inside")
        yield 1
        loader.warning("inside")

    with supervise("consumer"):
        for _ in rows():
            loader.warning("outside")
    text = text_of(state)
    assert text.count("inside") == 2
    assert "outside" not in text


def test_twenty_logs_of_a_name_are_kept(state: Path) -> None:
    """The oldest logs go when a run has ended."""
    for _ in range(23):
        with supervise("night", journal=False, capture_logs="parcels"):
            pass
    assert len(logs_of(state)) == 20


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")
def test_the_log_is_for_its_owner_alone(state: Path) -> None:
    """The file has mode 0600."""
    with supervise("night", capture_logs=True):
        pass
    assert stat.S_IMODE(logs_of(state)[0].stat().st_mode) == 0o600


def test_without_a_state_directory_the_tail_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorder: Recorder, log: pytest.LogCaptureFixture
) -> None:
    """Where no file can be had there is one warning; counts and last lines are in the message all the same."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SUPERVISOR_STATE", str(tmp_path / "file"))
    with pytest.raises(KeyError), supervise("night", handlers=[recorder], capture_logs="parcels", journal=False):
        loader.warning("said")
        raise KeyError("apn")
    assert recorder.only.attachments == ()
    assert recorder.only.report is not None
    assert recorder.only.report.log_tail[-1].endswith("said")
    assert log.text.count("no log can be written") == 1


def test_a_run_that_is_killed_leaves_its_last_words(tmp_path: Path, state: Path) -> None:
    """After a SIGKILL, or TerminateProcess, the log has every record up to the last one."""
    body = """
    import logging, time
    logging.root.addHandler(logging.NullHandler())  # nobody reads stderr, whose pipe is small on Windows
    with supervise("night", capture_logs=True):
        for number in range(1000):
            logging.warning("row %d", number)
        ready()
        time.sleep(60)
    """
    script = Script(tmp_path, body)
    script.wait_until_ready()
    script.process.kill()
    script.end()
    assert text_of(state).rstrip().endswith("row 999")


def test_a_script_that_sets_nothing_up_has_the_info_that_it_asks_for(tmp_path: Path, state: Path) -> None:
    """Without any logging set-up INFO is in the log, and stderr has what it had without us: the warnings."""
    body = """
    import logging, warnings
    @supervised("night", capture_logs="root=INFO")
    def main():
        logging.getLogger("parcels").info("loading")
        logging.getLogger("parcels").warning("odd")
        warnings.warn("old")

    main()
    logging.getLogger("parcels").info("behind")
    """
    ended = run(tmp_path, body)
    assert ended.stderr.startswith("odd\n")
    assert "UserWarning: old" in ended.stderr
    assert "loading" not in ended.stderr
    text = text_of(state)
    for said in ("INFO parcels: loading", "WARNING parcels: odd", "WARNING py.warnings: script.py:"):
        assert said in text
    assert "behind" not in text


@pytest.mark.skipif(sys.platform == "win32", reason="there is no RLIMIT_FSIZE")
def test_a_full_disk_does_not_stop_the_script(tmp_path: Path, state: Path) -> None:
    """When the log can grow no more there is one warning, and the script goes on to its end."""
    body = """
    import logging, resource
    with supervise("night", journal=False, capture_logs="parcels"):
        sys.dont_write_bytecode = True  # a module's byte code would be cut off too, and stay so
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        for number in range(1000):
            logging.getLogger("parcels").error("row %d of many", number)
    print("done")
    """
    ended = run(tmp_path, body)
    assert ended.stdout == "done\n"
    assert ended.stderr.count("cannot be written") == 1
    assert "row 10 " in text_of(state)


def test_without_it_nothing_is_loaded_or_changed(tmp_path: Path, state: Path) -> None:
    """A run that does not ask for it loads no module of it, wraps nothing and leaves no folder."""
    body = """
    import logging, warnings
    before = logging.Logger.callHandlers, warnings.showwarning
    with supervise("night"):
        print((logging.Logger.callHandlers, warnings.showwarning) == before)
        names = ("_run.log_capture", "_run.features")
        print([each for each in names if f"supervisor.{each}" in sys.modules])
    """
    assert run(tmp_path, body).stdout == "True\n[]\n"
    assert not (state / "logs").exists()


def test_a_private_key_that_is_logged_line_by_line_is_left_out(recorder: Recorder) -> None:
    """Not one line of it is in the run's log or its report, and what is logged between and after stays."""
    lines = [f"{number:02}MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ" for number in range(20)]
    with supervise("night", handlers=[recorder], capture_logs="root=INFO", report_on="success", journal=False) as run:
        key = ("-----BEGIN PRIVATE KEY-----", *lines, "read by others", "x4==", "-----END PRIVATE KEY-----")
        for line in (*key, "word"):
            logging.getLogger("parcels").info("%s", line)
        assert run.log_path is not None
        text = Path(run.log_path).read_text("utf-8")
    assert not [line for line in lines if line[2:] in text]
    assert "x4==" not in text
    assert "read by others" in text
    assert text.rstrip().endswith("parcels: word")
    report = recorder.messages[-1].report
    assert report is not None
    assert "MIIEvQ" not in str(report.log_tail)
