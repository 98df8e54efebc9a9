"""What the message says of a run that died: its log, how often it happened, and what may still be running."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import scripts
from journal_kit import run_record
from recorders import Recorder
from waiting import wait_until

from supervisor import supervise
from supervisor._alerts import deaths
from supervisor._attachments import packed
from supervisor._run.lifecycle import reporter_of
from supervisor._store import files
from supervisor._store.processes import Process, process_of, this_process
from supervisor.models import RunReport

if TYPE_CHECKING:
    from supervisor._store import RunRecord
    from supervisor.models import MessageDetails

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="processes are killed as POSIX does it")
STARTED_AT = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
PASSWORD = "rosebud-7731"
LOGS_AND_DIES = """
    import logging, os, signal, time
    logging.basicConfig(filename={log!r}, level=logging.INFO)
    with supervise("night", log_path={log!r}, capture_logs=True):
        for row in range(40):
            logging.getLogger("parcels").warning("row %d", row)
        os.kill(os.getpid(), 9); time.sleep(60)
"""


def record(**facts: Any) -> RunRecord:
    """Return the record of a run that died, in a process that is gone."""
    process_started = facts.pop("process_started", "never:1")
    program = facts.pop("program", None)
    same: dict[str, Any] = {"id": "0af1", "name": "night", "started_at": STARTED_AT, "python": "3.11.7"}
    report = RunReport(**same | {"host": this_process().host, "pid": 4_000_000} | facts)
    return run_record(report, process_started=process_started, child=program)


def own_log(state: Path, text: str, run_id: str = "0af1") -> Path:
    """Write the log that a run named night left."""
    file = files.create(str(state / "logs"), "night", run_id, STARTED_AT.timestamp())
    os.write(file.descriptor, text.encode())
    os.close(file.descriptor)
    return Path(file.path)


def death_message(state: Path, run: RunRecord, **options: Any) -> MessageDetails:
    """Return the message that a run died."""
    return deaths.died(run, state=str(state), redact=lambda text: text, **options)


def flat(message: MessageDetails) -> str:
    """Return the text of a message in one line."""
    return " ".join(message.message.split())


# Its log


def test_the_next_run_sends_the_log_of_the_one_that_died(tmp_path: Path, state: Path, recorder: Recorder) -> None:
    """The logs of a killed run go with the message, and the last lines of its own stand in the text."""
    log = tmp_path / "parcels.log"
    scripts.run(tmp_path / "dies", LOGS_AND_DIES.format(log=str(log)))
    with supervise("night", handlers=[recorder], log_path=log):
        pass
    message = recorder.messages[0]
    assert message.kind == "died"
    shared, own = message.attachments
    (own_log,) = (state / "logs").rglob(own.name)
    assert shared.name == log.name
    assert "this" in shared.note, "whoever reads it is told that the next run writes to it too"
    assert (shared.size_bytes, own.size_bytes) == (log.stat().st_size, own_log.stat().st_size)
    assert "row 39" in message.message
    assert "row 20" in message.message
    assert "row 19" not in message.message
    assert message.report is not None
    assert message.report.outcome == "died"
    assert len(message.report.log_tail) == 20
    assert "Its last sign of life was at" in flat(message)


def test_the_last_lines_of_a_log_have_no_secrets(state: Path) -> None:
    """What the log holds is redacted once more, by what is known of secrets now."""

    class Mail(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.password = PASSWORD

    run = record()
    own_log(state, f"login with {PASSWORD}\nAuthorization: Bearer abcdefghijklmnop0123456789\n")
    with supervise("other", handlers=[Mail()]) as other:
        message = deaths.died(run, state=str(state), redact=reporter_of(other._state).redact)
    assert message.report is not None
    assert len(message.report.log_tail) == 2
    assert PASSWORD not in message.message
    assert "abcdefghijklmnop" not in message.message


def test_a_log_that_cannot_be_read_is_told_and_stops_nothing(tmp_path: Path, state: Path) -> None:
    """Missing, barred, a directory, a named pipe, a path that is none: the message comes, and says what is with it."""
    if sys.platform == "win32":
        pytest.skip("there are no FIFOs")
    folder, pipe, barred = tmp_path / "folder", tmp_path / "pipe", tmp_path / "barred.log"
    folder.mkdir()
    os.mkfifo(pipe)
    barred.write_text("secret")
    barred.chmod(0)
    notes = {}
    for path in (tmp_path / "gone.log", folder, pipe, barred, tmp_path / ("x" * 5_000), "nul\0.log"):
        message = death_message(state, record(log_path=path))
        assert "night died on" in message.subject
        (attachment,) = message.attachments
        with packed(message.attachments, limit_bytes=10_000) as done:
            notes[attachment.name[:10]] = (attachment.note, done.notes)
    assert notes["gone.log"][0] == "missing"
    assert notes["pipe"][0] == "a named pipe, not read"
    assert notes["nul\0.log"][0].startswith("not readable")


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "barred", "binary"])
def test_an_own_log_that_is_something_else_has_no_lines(state: Path, kind: str) -> None:
    """Whatever is in the place of the run's own log, nothing waits for it and nothing breaks."""
    if sys.platform == "win32":
        pytest.skip("there are no FIFOs")
    path = own_log(state, "line\n")
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(path)
    elif kind == "barred":
        path.write_text("line\n")
        path.parent.chmod(0)
    else:
        path.write_bytes(b"\0\xff\xfe" * 50_000)
    try:
        message = death_message(state, record())
    finally:
        path.parent.chmod(0o700)
    assert "night died on" in message.subject
    assert len(message.message) < 30_000


def test_of_a_large_log_only_the_end_is_read(state: Path) -> None:
    """The last 20 lines of at most 500 characters are in the text, however large the log and its lines are."""
    own_log(state, "".join(f"{row} {'x' * 5_000}\n" for row in range(1_000)))
    report = death_message(state, record()).report
    assert report is not None
    assert 1 < len(report.log_tail) <= 20
    assert report.log_tail[-1].startswith("999 x")
    assert max(map(len, report.log_tail)) == 500


def test_a_disk_that_does_not_answer_is_not_waited_for(tmp_path: Path, state: Path) -> None:
    """A look at logs ends after its limit, and no second one begins while it hangs: the message says so."""
    release = threading.Event()
    try:
        began = time.monotonic()
        for _ in range(3):
            left = deaths.within(0.2, lambda: release.wait() and None)
            assert left is None
        assert time.monotonic() - began < 10
        assert deaths.within(5, lambda: "read") is None, "the first one still hangs"
        message = death_message(state, record(log_path=tmp_path / "parcels.log"))
        assert message.attachments == ()
        assert "did not answer" in flat(message)
    finally:
        release.set()
    wait_until(lambda: deaths.within(5, lambda: "read") == "read")


def test_a_program_that_joined_has_its_log_found(state: Path) -> None:
    """A log is found by the run's id, whoever wrote it and whenever that began; that of another run is not taken."""
    own_log(state, "another\n", run_id="10af1")
    assert death_message(state, record()).attachments == ()
    path = own_log(state, "mine\n")
    message = death_message(state, record())
    assert [each.path for each in message.attachments] == [path]
    assert "mine" in message.message


# How it happened


def test_whether_the_machine_went_down_is_told_where_it_is_known(state: Path) -> None:
    """On Linux the boot is known: a run of an earlier one went down with the machine, one of this one was killed."""
    assert "or the machine went down" in flat(death_message(state, record(process_started="1772416800.0")))
    if sys.platform == "linux":
        boot = this_process().started.partition(":")[0]
        assert "The machine has been restarted since" in flat(death_message(state, record()))
        killed = flat(death_message(state, record(process_started=f"{boot}:1")))
        assert "It ended without saying how (a kill, a crash, os._exit or exec)" in killed
        assert "restarted" not in killed


# What may still be running


@POSIX
def test_a_program_that_outlived_supervisor_run_is_told(state: Path) -> None:
    """The message and its subject say that it still runs, as which process, and how to end it."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as sleeper:
        run = record(python="", argv=("sleep", "1000"), program=process_of(sleeper.pid))
        message = death_message(state, run)
        sleeper.kill()
    assert message.subject.endswith("; its program still runs")
    text = flat(message)
    assert f"Its program still runs as process {sleeper.pid}" in text
    assert f"`kill -- -{sleeper.pid}`" in text, "with all that it has started"
    assert "sleep 1000" in text
    gone = death_message(state, run)
    assert "still runs" not in gone.subject
    assert f"Its program, process {sleeper.pid}, is gone too" in flat(gone)


def test_a_program_that_is_not_known_may_still_be_running(state: Path) -> None:
    """Where the process was not noted, or cannot be told, the message says what to look for."""
    unknown = flat(death_message(state, record(python="", argv=("sh", "job.sh", "3"))))
    assert "may still be running: look for `sh job.sh 3`" in unknown
    hidden = Process(this_process().host, os.getpid(), "")
    text = flat(death_message(state, record(python="", argv=("sh", "job.sh"), program=hidden)))
    assert f"may still be running as process {os.getpid()}" in text
    assert "may still be running" not in flat(death_message(state, record()))
