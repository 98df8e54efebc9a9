"""What a run keeps: its record, what it tells of earlier runs, and how it does without a journal."""

from __future__ import annotations

import itertools
import sqlite3
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import scripts
from scripts import NO_WARNING_OF_FORKS, Ended, Script
from unpacked import everything_in, found_in
from waiting import PATIENCE_S

from supervisor import supervise
from supervisor._run import composer
from supervisor._run import recorder as recorder_module
from supervisor._store import Journal, open_journal
from supervisor._text import local_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorders import Recorder

    from supervisor._store import RunRecord

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="the script needs what POSIX has")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc and /sys are Linux's")


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    """Return the journal of the test's runs, read by a connection of its own."""
    journal = open_journal(state)
    yield journal
    journal.close()


def last(journal: Journal, name: str = "night") -> RunRecord:
    """Return the newest run of a name, which there must be."""
    record = journal.last_run(name)
    assert record is not None
    return record


def fail(recorder: Recorder, error: Exception | None = None, **settings: Any) -> None:
    """Have a run that fails, always at the same place."""
    with pytest.raises((KeyError, ValueError)), supervise("night", handlers=[recorder], **settings):
        raise error or KeyError("apn")


def succeed(recorder: Recorder, **settings: Any) -> None:
    """Have a run that succeeds."""
    with supervise("night", handlers=[recorder], **settings):
        pass


def warnings_in(ended: Ended) -> list[str]:
    """Return what a script that configures no logging printed of supervisor's warnings: each is one line."""
    return ended.stderr.splitlines()


# The record


def test_a_run_is_journalled(journal: Journal, tmp_path: Path) -> None:
    """A run that ended well is on record with its start, end, values, progress, log and process."""
    before = datetime.now(UTC)
    with supervise("night", log_path=str(tmp_path / "night.log")) as run:
        run.record(rows=812, source="parcels", day=before)
        run.progress(5, 10, "loading")
        assert last(journal).report.outcome is None
        assert last(journal).report.progress is not None
        run.progress(10)
    record = last(journal)
    report = record.report
    assert (report.id, report.name, report.outcome) == (run.id, "night", "success")
    assert report.ended_at is not None
    assert before <= report.started_at <= report.ended_at <= datetime.now(UTC)
    assert 0 <= report.duration_s < 60
    assert dict(report.values) == {"rows": 812, "source": "parcels", "day": before}
    assert report.progress is not None
    assert (report.progress.done, report.progress.total, report.progress.message) == (10, 10, "loading")
    assert record.progress_at is not None
    assert report.log_path == tmp_path / "night.log"
    assert (report.error, report.exit_code, report.parent_id) == (None, None, None)
    own = run.report()
    assert (report.pid, report.host, report.user, report.argv) == (own.pid, own.host, own.user, own.argv)
    assert report.cpu_s is not None


def test_a_failure_is_journalled(journal: Journal, recorder: Recorder) -> None:
    """A run that failed is on record with its error, as its message has it."""
    fail(recorder)
    report = last(journal).report
    assert report.outcome == "failure"
    assert recorder.only.report is not None
    assert report.error == recorder.only.report.error
    assert report.error is not None
    assert (report.error.type, report.error.message) == ("KeyError", "'apn'")
    assert "raise error or KeyError" in report.error.traceback
    assert report.error.fingerprint


def test_an_exit_code_is_journalled(journal: Journal) -> None:
    """The code that a script asks for with ``sys.exit()`` is on record."""
    with pytest.raises(SystemExit), supervise("night"):
        sys.exit(3)
    assert (last(journal).report.outcome, last(journal).report.exit_code) == ("failure", 3)


def test_nested_runs_know_their_parent(journal: Journal) -> None:
    """A run within another is on record with the id of the run around it, also when it fails."""
    with supervise("outer") as outer:
        with supervise("inner") as inner:
            assert last(journal, "inner").report.parent_id == outer.id
        with pytest.raises(KeyError), supervise("inner"):
            raise KeyError("apn")
    assert {each.report.parent_id for each in journal.runs("inner")} == {outer.id}
    assert [each.report.outcome for each in journal.runs("inner")] == ["failure", "success"]
    assert inner.id in [each.report.id for each in journal.runs("inner")]
    assert last(journal, "outer").report.parent_id is None


def test_without_a_journal_nothing_is_written(state: Path, tmp_path: Path) -> None:
    """``journal=False`` writes nothing at all, while messages and failures go out as ever."""
    ended = scripts.run(
        tmp_path,
        """
        with supervise("night", handlers=[recorder], journal=False) as run:
            run.progress(1, 2)
            run.notify("hello")
            raise KeyError("apn")
        """,
    )
    assert ended.kinds == ["notice", "failure"]
    assert list(state.iterdir()) == []


# Failures in a row


def test_the_first_success_after_failures_is_told(journal: Journal, recorder: Recorder) -> None:
    """The first success after failures tells how many there were and since when; the next says nothing."""
    for _ in range(3):
        fail(recorder)
    first = journal.runs("night")[-1]
    succeed(recorder)
    succeed(recorder)
    assert recorder.received == ["failure"] * 3 + ["recovery"]
    since = local_time(first.report.started_at)
    assert f"Before it, 3 runs failed in a row, since {since}." in " ".join(recorder.messages[-1].message.split())


def test_a_success_of_another_name_is_no_recovery(recorder: Recorder) -> None:
    """Each name has its own row of failures."""
    fail(recorder)
    with supervise("day", handlers=[recorder]):
        pass
    assert recorder.received == ["failure"]


def test_equal_failures_are_held_back_and_counted(state: Path, journal: Journal, recorder: Recorder) -> None:
    """Within ``repeat_after_s`` an equal failure is not reported but on record; the next report says how many."""
    for _ in range(4):
        fail(recorder, repeat_after_s=3600)
    assert recorder.received == ["failure"]
    assert "not reported" not in recorder.only.message
    assert len(journal.runs("night")) == 4
    connection = sqlite3.connect(state / "journal.sqlite3")
    with connection:
        connection.execute("UPDATE notified_failure SET notified_at = notified_at - 3600")
    connection.close()
    fail(recorder, repeat_after_s=3600)
    fail(recorder, repeat_after_s=3600)
    assert recorder.received == ["failure"] * 2
    assert "3 equal failures since " in recorder.messages[-1].message
    assert " were not reported" in recorder.messages[-1].message


def test_another_failure_is_told_at_once(recorder: Recorder) -> None:
    """A failure of another kind, or another run's, is told however short ago one was; and so is the recovery."""
    fail(recorder, repeat_after_s=3600)
    fail(recorder, ValueError("text"), repeat_after_s=3600)
    with pytest.raises(KeyError), supervise("day", handlers=[recorder], repeat_after_s=3600):
        raise KeyError("apn")
    succeed(recorder, repeat_after_s=3600)
    assert recorder.received == ["failure"] * 3 + ["recovery"]


def test_a_failure_after_a_recovery_is_told(recorder: Recorder) -> None:
    """Who was told that all is well again is told of the next failure, also of an equal one."""
    fail(recorder, repeat_after_s=3600)
    succeed(recorder, repeat_after_s=3600)
    fail(recorder, repeat_after_s=3600)
    assert recorder.received == ["failure", "recovery", "failure"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_equal_failures_within_a_run_are_held_back(recorder: Recorder) -> None:
    """Threads of one run that all fail alike are told once within ``repeat_after_s``."""

    def work() -> None:
        raise KeyError("apn")

    with supervise("night", handlers=[recorder], repeat_after_s=3600):
        for _ in range(5):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert recorder.received == ["failure"]


def test_flapping_is_told_in_pairs(recorder: Recorder) -> None:
    """However often a script fails and recovers, no recovery is told without its failure."""
    for _ in range(3):
        fail(recorder, repeat_after_s=3600)
        fail(recorder, repeat_after_s=3600)
        succeed(recorder, repeat_after_s=3600)
    assert recorder.received == ["failure", "recovery"] * 3
    assert all("2 runs failed" in " ".join(each.message.split()) for each in recorder.messages[1::2])


def test_without_repeat_after_each_failure_is_told(recorder: Recorder) -> None:
    """By default no failure is held back."""
    for _ in range(3):
        fail(recorder)
    assert recorder.received == ["failure"] * 3


# Died runs

DIES = """
    import os, signal, time
    with supervise("night", handlers=[recorder]) as run:
        run.progress(40, 100, "copying")
        {end}
"""
UNDER_WAY = """
    import time
    with supervise("night", handlers=[recorder]):
        ready()
        time.sleep(60)
"""
LIVES = """
    with supervise("night", handlers=[recorder]):
        pass
"""


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9); time.sleep(60)", "os._exit(0)"])
def test_a_died_run_is_told_once(tmp_path: Path, journal: Journal, end: str) -> None:
    """The next run of its name tells that a run died, with its last progress; the one after it does not."""
    died = scripts.run(tmp_path / "dies", DIES.format(end=end))
    assert died.messages == []
    (unended,) = journal.runs("night")
    first = scripts.run(tmp_path / "first", LIVES)
    # A run that died has failed, so the success after it is a recovery.
    assert first.kinds == ["died", "recovery"]
    message = first.messages[0]
    assert f"process {unended.report.pid} is gone" in message["message"]
    assert "40 of 100 (40 %)" in message["message"]
    assert "copying" in message["message"]
    assert local_time(unended.report.started_at) in message["message"]
    assert scripts.run(tmp_path / "second", LIVES).messages == []
    assert [each.report.outcome for each in journal.runs("night")] == ["success", "success", "died"]


def test_a_died_run_is_told_once_by_many(tmp_path: Path, journal: Journal) -> None:
    """Four processes that start at once tell of two died runs twice in all."""
    dying = [Script(tmp_path / f"dies {i}", UNDER_WAY) for i in range(2)]
    for each in dying:
        each.wait_until_ready()
    for each in dying:
        each.process.kill()
        assert each.end().messages == []
    body = """
        import os, time
        ready()
        while not os.path.exists(os.environ["GO"]): time.sleep(0.001)
        with supervise("night", handlers=[recorder]):
            pass
    """
    go = tmp_path / "go"
    started = [Script(tmp_path / f"starts {i}", body, extra_env={"GO": str(go)}) for i in range(4)]
    for each in started:
        each.wait_until_ready()
    go.touch()
    ended = [each.end() for each in started]
    assert [(each.code, each.stderr) for each in ended] == [(0, "")] * 4
    died = [each for one in ended for each in one.messages if each["kind"] == "died"]
    assert len(died) == 2
    assert sorted(each.report.outcome or "" for each in journal.runs("night")) == ["died"] * 2 + ["success"] * 4


def test_a_run_under_way_is_not_taken_for_dead(tmp_path: Path, journal: Journal) -> None:
    """A second run of a name that starts while the first is under way tells nothing."""
    first = Script(tmp_path / "first", UNDER_WAY)
    first.wait_until_ready()
    assert scripts.run(tmp_path / "second", LIVES).messages == []
    first.process.kill()
    first.end()
    assert scripts.run(tmp_path / "third", LIVES).kinds[0] == "died"


def test_a_died_run_is_told_when_nobody_listened_first(tmp_path: Path) -> None:
    """A died run whose message met a handler that was down is told later."""
    scripts.run(tmp_path / "dies", DIES.format(end="os._exit(0)"))
    down = """
        class Down:
            name = "file"
            def send_message(self, details): raise OSError("down")
        with supervise("night", handlers=[Down()], delivery_deadline_s=0.1): pass
    """
    scripts.run(tmp_path / "down", down)
    until = time.monotonic() + PATIENCE_S
    for number in itertools.count():  # until the message is due again
        if "died" in scripts.run(tmp_path / f"later {number}", LIVES).kinds:
            break
        assert time.monotonic() < until


# Without a journal that can be used

SPEAKS_TWICE = """
    for i in range(2):
        with supervise("night", handlers=[recorder]) as run:
            run.progress(1, 2)
            run.record(rows=1)
            run.notify(f"hello {i}")
    raise SystemExit(7)
"""


def spoke_with_one_warning(ended: Ended, evidence: str) -> None:
    """Assert that a script said all it had to say, and was told once that its journal is out of use."""
    assert ended.code == 7
    assert [each["subject"] for each in ended.messages] == ["hello 0", "hello 1"]
    (warning,) = warnings_in(ended)
    assert evidence in warning.replace("\\\\", "\\")  # a path is quoted as Python does


def test_a_missing_state_directory_is_made(tmp_path: Path, state: Path) -> None:
    """A state directory that is not there yet is made without a word, for its owner alone."""
    missing = state / "not" / "there"
    ended = scripts.run(tmp_path, SPEAKS_TWICE, extra_env={"SUPERVISOR_STATE": str(missing)})
    assert (ended.code, ended.stderr) == (7, "")
    assert len(ended.messages) == 2
    if sys.platform != "win32":
        assert missing.stat().st_mode & 0o777 == 0o700
        assert (missing / "journal.sqlite3").stat().st_mode & 0o777 == 0o600


def test_a_file_in_the_place_of_the_state_directory(tmp_path: Path, state: Path) -> None:
    """A file where the directory should be stays as it is: one warning, and all is told from memory."""
    file = state / "file"
    file.write_text("precious")
    ended = scripts.run(tmp_path, SPEAKS_TWICE, extra_env={"SUPERVISOR_STATE": str(file)})
    spoke_with_one_warning(ended, str(file))
    assert file.read_text() == "precious"


@LINUX
@pytest.mark.parametrize("place", ["/proc/supervisor", "/sys/supervisor", "/dev/null", "/dev/null/below"])
def test_a_state_directory_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    """Where nothing can be written, there is one warning, and all is told from memory."""
    spoke_with_one_warning(scripts.run(tmp_path, SPEAKS_TWICE, extra_env={"SUPERVISOR_STATE": place}), place)


@POSIX
def test_a_journal_on_a_full_disk(tmp_path: Path) -> None:
    """A journal that is there but whose disk takes nothing more: one warning, and all is told from memory."""
    scripts.run(tmp_path / "before", SPEAKS_TWICE)
    # No file of SQLite can grow beyond what one line in the mailbox takes.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))\n"
    limit = f"sys.dont_write_bytecode = True\n{limit}"
    ended = scripts.run(tmp_path / "full", limit + textwrap.dedent(SPEAKS_TWICE))
    spoke_with_one_warning(ended, "journal")


@POSIX
@pytest.mark.parametrize("limit", [0, 5_000, 30_000])
def test_a_disk_that_is_full_from_the_start(tmp_path: Path, state: Path, limit: int) -> None:
    """Where the journal cannot be begun for want of room, there is one warning, and all is told from memory."""
    body = f"""
        import resource, os, json
        class Prints:
            name = "prints"
            def send_message(self, details): print(details.subject, flush=True)
        sys.dont_write_bytecode = True  # a module's byte code would be cut off too, and stay so
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        for i in range(2):
            with supervise("night", handlers=[Prints()]) as run:
                run.notify(f"hello {{i}}")
    """
    ended = scripts.run(tmp_path, body)
    assert ended.code == 0
    assert ended.stdout.splitlines() == ["hello 0", "hello 1"]
    (warning,) = warnings_in(ended)
    assert "kept in memory" in warning


FULL_IN_BETWEEN = """
    import resource, os
    class Prints:
        name = "prints"
        calls = 0
        def send_message(self, details):
            Prints.calls += 1
            if Prints.calls == {fails_at}: raise OSError("not now")
            print(details.kind, details.subject.split(":")[-1].strip(), flush=True)
    def full():
        size = os.path.getsize(os.path.join(os.environ["SUPERVISOR_STATE"], "journal.sqlite3-wal"))
        sys.dont_write_bytecode = True  # a module's byte code would be cut off too, and stay so
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
"""


@POSIX
def test_a_disk_that_fills_up_during_a_run(tmp_path: Path) -> None:
    """When the disk fills up while a run is under way, what it says from then on is told from memory: one warning."""
    ended = scripts.run(
        tmp_path,
        FULL_IN_BETWEEN.format(fails_at=0)
        + """
    with supervise("night", handlers=[Prints()]) as run:
        run.notify("before")
        full()
        run.notify("after")
        raise KeyError("apn")
    """,
    )
    assert ended.code == 1
    assert ended.stdout.splitlines() == ["notice before", "notice after", "failure KeyError 'apn'"]
    complaints = [each for each in warnings_in(ended) if "journal" in each and "File" not in each]
    assert len(complaints) == 1, ended.stderr


@POSIX
@pytest.mark.parametrize("fails_at", [2, 3])
def test_a_full_disk_and_a_destination_that_is_busy_for_a_moment(tmp_path: Path, fails_at: int) -> None:
    """What could not be stored and is not taken at once is tried again all the same, while the run waits for it."""
    ended = scripts.run(
        tmp_path,
        FULL_IN_BETWEEN.format(fails_at=fails_at)
        + """
    with supervise("night", handlers=[Prints()]) as run:
        run.notify("before")
        full()
        run.notify("after")
        raise KeyError("apn")
    """,
    )
    assert sorted(ended.stdout.splitlines()) == ["failure KeyError 'apn'", "notice after", "notice before"]


LOSES_ITS_JOURNAL = """
    import os, shutil, threading
    state = os.environ["SUPERVISOR_STATE"]
    accepted, gone = threading.Event(), threading.Event()
    class Busy:
        name = "busy"
        calls = 0
        def send_message(self, details):
            accepted.set()
            gone.wait(30)
            Busy.calls += 1
            if Busy.calls == 1: raise OSError("not now")
            print(details.subject, flush=True)
    with supervise("night", handlers=[Busy()]) as run:
        run.notify("hello")
        accepted.wait(30)
        {loss}
        {speak}
        gone.set()
"""


@POSIX
@pytest.mark.parametrize("speak", ["pass", "run.notify('after')"], ids=["silent", "speaks on"])
@pytest.mark.parametrize(
    "loss",
    [
        "shutil.rmtree(state)",
        "os.truncate(state + '/journal.sqlite3-wal', 0); open(state + '/journal.sqlite3', 'r+b').write(b'x' * 70000)",
    ],
    ids=["removed", "corrupt"],
)
def test_a_message_outlives_the_journal_that_it_is_in(tmp_path: Path, loss: str, speak: str) -> None:
    """A message whose row is gone with the file is still delivered by the process that accepted it."""
    ended = scripts.run(tmp_path, LOSES_ITS_JOURNAL.format(loss=loss, speak=speak))
    assert ended.code == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hello" in ended.stdout.split(), ended.stderr


@POSIX
def test_a_state_directory_that_turns_into_a_file(tmp_path: Path) -> None:
    """A process whose state directory is replaced between two runs gets one warning, and tells all, its start too."""
    ended = scripts.run(
        tmp_path,
        """
        import os, shutil
        for i in range(3):
            with supervise("night", handlers=[recorder], report_on=["start"]) as run:
                run.notify(f"hello {i}")
            if not i:
                shutil.rmtree(os.environ["SUPERVISOR_STATE"])
                open(os.environ["SUPERVISOR_STATE"], "w").close()
        """,
    )
    assert ended.code == 0
    assert ended.kinds == ["start", "notice"] * 3
    assert len(warnings_in(ended)) == 1, ended.stderr


def test_a_failure_is_told_when_the_journal_is_gone(tmp_path: Path) -> None:
    """A run that can no longer open its journal at its end still tells its failure, and warns once."""
    ended = scripts.run(
        tmp_path,
        """
        import os, shutil
        with supervise("night", handlers=[recorder]):
            shutil.rmtree(os.environ["SUPERVISOR_STATE"])
            open(os.environ["SUPERVISOR_STATE"], "w").close()
            raise KeyError("apn")
        """,
    )
    assert ended.code == 1
    assert "generator didn't yield" not in ended.stderr
    assert ended.kinds == ["failure"]


def test_a_failure_is_told_when_the_journal_is_locked(tmp_path: Path, journal: Journal) -> None:
    """A run whose journal another process keeps locked still tells its failure."""
    blocker = sqlite3.connect(journal.path)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        ended = scripts.run(
            tmp_path,
            """
            with supervise("night", handlers=[recorder]):
                raise KeyError("apn")
            """,
        )
    finally:
        blocker.close()
    assert ended.code == 1
    assert ended.kinds == ["failure"]


def test_a_journal_that_stays_locked_delays_a_run_once(tmp_path: Path, journal: Journal) -> None:
    """While another process sits on the journal's lock, a run waits for it once, not again with each of its words."""
    blocker = sqlite3.connect(journal.path)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        ended = scripts.run(
            tmp_path,
            """
            import time
            before_s = time.monotonic()
            with supervise("night", handlers=[recorder]) as run:
                for i in range(12):
                    run.notify(f"hello {i}")
                run.progress(1, 2)
            print(time.monotonic() - before_s)
            """,
        )
    finally:
        blocker.close()
    assert [each["subject"] for each in ended.messages] == [f"hello {i}" for i in range(12)]
    assert float(ended.stdout) < 6  # one wait of 2 s


def test_a_corrupt_journal_is_set_aside(tmp_path: Path, state: Path) -> None:
    """A file that is no journal is renamed with one warning, never deleted, and a fresh journal works at once."""
    (state / "journal.sqlite3").write_bytes(b"precious " * 5000)
    spoke_with_one_warning(scripts.run(tmp_path / "first", SPEAKS_TWICE), "corrupt")
    (aside,) = [each for each in state.iterdir() if ".corrupt-" in each.name and each.suffix != ".lock"]
    assert aside.read_bytes() == b"precious " * 5000
    again = scripts.run(tmp_path / "second", SPEAKS_TWICE)
    assert (again.code, again.stderr) == (7, "")
    journal = open_journal(state)
    assert [each.report.outcome for each in journal.runs("night")] == ["success"] * 4
    journal.close()


def test_a_journal_that_breaks_during_a_run(tmp_path: Path, state: Path) -> None:
    """A file that is overwritten under a run costs no message and no error, and whoever notices sets it aside."""
    ended = scripts.run(
        tmp_path / "first",
        """
        import os
        path = os.path.join(os.environ["SUPERVISOR_STATE"], "journal.sqlite3")
        with supervise("night", handlers=[recorder]) as run:
            run.notify("before")
            for each in ("-wal", ""):
                with open(path + each, "r+b") as file:
                    file.write(b"x" * os.path.getsize(path + each))
            run.notify("after 1")
            run.notify("after 2")
        """,
    )
    assert ended.code == 0
    assert sorted(each["subject"] for each in ended.messages) == ["after 1", "after 2", "before"]
    # SQLite reads from its memory what it wrote itself, so perhaps only the next process notices.
    next_one = scripts.run(tmp_path / "second", SPEAKS_TWICE)
    spoke_with_one_warning(attrs.evolve(next_one, stderr=ended.stderr + next_one.stderr), "set aside")
    assert any(".corrupt-" in each.name for each in state.iterdir())
    journal = open_journal(state)
    assert last(journal).report.outcome == "success"
    journal.close()


def test_a_newer_journal_is_left_alone(tmp_path: Path, state: Path) -> None:
    """A journal of a newer version is not touched: one warning that says what to do, and all is told from memory."""
    scripts.run(tmp_path / "first", SPEAKS_TWICE)
    connection = sqlite3.connect(state / "journal.sqlite3")
    connection.execute("PRAGMA user_version = 99")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    before = (state / "journal.sqlite3").read_bytes()
    ended = scripts.run(tmp_path / "second", SPEAKS_TWICE)
    spoke_with_one_warning(ended, "newer supervisor")
    assert "upgrade" in ended.stderr
    assert (state / "journal.sqlite3").read_bytes() == before


# Forks


@POSIX
def test_a_forked_child_neither_shares_nor_repeats(tmp_path: Path, state: Path, journal: Journal) -> None:
    """Parent and children write the journal side by side after forks, each what is its own, and none twice."""
    ended = scripts.run(
        tmp_path,
        """
        import os
        with supervise("parent", handlers=[recorder]) as outer:
            outer.notify("parent before")
            children = []
            for i in range(3):
                pid = os.fork()
                if pid == 0:
                    for j in range(3):
                        with supervise("child", handlers=[recorder]) as inner:
                            inner.progress(j, 3)
                            inner.notify(f"child {i} {j}")
                    os._exit(0)
                children.append(pid)
                outer.notify(f"parent {i}")
            codes = [os.waitpid(pid, 0)[1] for pid in children]
            outer.record(codes=str(codes))
        """,
        extra_env=NO_WARNING_OF_FORKS,
    )
    assert (ended.code, ended.stderr) == (0, "")
    own = ["parent before", *(f"parent {i}" for i in range(3))]
    assert sorted(each["subject"] for each in ended.messages) == sorted(
        [*own, *(f"child {i} {j}" for i in range(3) for j in range(3))]
    )
    parent = last(journal, "parent").report
    assert (parent.outcome, parent.values["codes"]) == ("success", "[0, 0, 0]")
    children = journal.runs("child")
    assert [each.report.outcome for each in children] == ["success"] * 9
    assert len({each.report.pid for each in children} - {parent.pid}) == 3
    assert {each.report.parent_id for each in children} == {parent.id}
    assert journal.deliveries() == []
    connection = sqlite3.connect(state / "journal.sqlite3")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


@POSIX
def test_a_child_that_falls_out_of_its_parents_run_writes_nothing(tmp_path: Path, journal: Journal) -> None:
    """A forked child that leaves the block, by its end or by an exception, neither ends nor tells its parent's run."""
    ended = scripts.run(
        tmp_path,
        """
        import os, sys
        child = False
        try:
            with supervise("parent", handlers=[recorder], report_on=["success"]) as run:
                run.notify("hello")
                for fails in (False, True):
                    pid = os.fork()
                    if pid == 0:
                        child = True
                        if fails: raise KeyError("apn")
                        break
                    os.waitpid(pid, 0)
                if not child: run.record(parent=os.getpid())
        except KeyError:
            pass
        """,
        extra_env=NO_WARNING_OF_FORKS,
    )
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.kinds == ["notice", "success"]
    (run,) = journal.runs()
    assert (run.report.outcome, run.report.values["parent"]) == ("success", run.report.pid)


def test_settings_that_are_kept_go_with_reports_and_into_the_journal(recorder: Recorder, state: Path) -> None:
    """Those that are not their defaults; the others, and those with columns of their own, are not among them."""
    with pytest.raises(ValueError, match="failed"), supervise("x", handlers=[recorder], overlap="fail", grace_s=5.0):
        raise ValueError("failed")
    (record,) = Journal(state).runs()
    (message,) = recorder.messages
    assert message.report is not None
    assert dict(message.report.settings) == record.settings == dict(record.report.settings) == {"overlap": "fail"}


def test_texts_of_settings_that_are_kept_have_no_secrets(
    recorder: Recorder, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever setting holds it: no byte of the journal and no message has the secret."""
    settings = {"a text": "load with password=xQ12345678"}
    for module in (composer, recorder_module):
        monkeypatch.setattr(module, "kept_of", lambda _: settings)
    with pytest.raises(ValueError, match="failed"), supervise("x", handlers=[recorder]):
        raise ValueError("failed")
    (message,) = recorder.messages
    assert message.report is not None
    assert "load with password=" in message.report.settings["a text"]
    assert not found_in([str(message), repr(message.report), *everything_in(state)], ["xQ12345678"])


# Ends that the journal does not take

HOLDS_THE_LOCK = """
import os, sqlite3
def hold():
    path = os.path.join(os.environ["SUPERVISOR_STATE"], "journal.sqlite3")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    return blocker
"""
FILLS_THE_DISK = """
import os, resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def fill():  # from here on the journal cannot grow, as on a full disk
    path = os.path.join(os.environ["SUPERVISOR_STATE"], "journal.sqlite3-wal")
    sys.dont_write_bytecode = True  # a module's byte code would be cut off too, and stay so
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path), resource.RLIM_INFINITY))
"""


@pytest.mark.parametrize("announced", [True, False], ids=["told", "silent"])
@pytest.mark.parametrize("ends_well", [True, False], ids=["success", "failure"])
def test_an_end_that_the_journal_does_not_take_is_noted_beside_it(
    tmp_path: Path, journal: Journal, *, ends_well: bool, announced: bool
) -> None:
    """While the lock is held at the end, the end is kept all the same: nobody says of such a run that it died."""
    handlers = "[recorder]" if announced else "[]"
    end = "" if ends_well else "raise KeyError('apn')"
    first = scripts.run(
        tmp_path / "first",
        f"{HOLDS_THE_LOCK}\nwith supervise('night', handlers={handlers}, report_on=['success']):\n"
        f"    hold()\n    {end or 'pass'}\n",
    )
    assert first.code == (0 if ends_well else 1), first.stderr
    second = scripts.run(tmp_path / "second", "with supervise('night', handlers=[recorder]): pass")
    assert "died" not in second.kinds
    assert second.kinds == ([] if ends_well else ["recovery"])
    assert [each.outcome for each in journal.runs("night")] == ["success", "success" if ends_well else "failure"]
    assert journal.runs("night")[1].report.duration_s > 0


def test_a_run_whose_start_the_journal_did_not_take_is_kept_too(tmp_path: Path, journal: Journal) -> None:
    """While the lock is held from the start on, start and end are noted beside the journal, and written later."""
    start = "blocker = hold()\nwith supervise('night', handlers=[recorder]) as run:\n    run.record(rows=3)\n"
    body = f"{HOLDS_THE_LOCK}\n{start}"
    assert scripts.run(tmp_path / "held", body).code == 0
    assert scripts.run(tmp_path / "freed", f"{body}    blocker.close()\n").code == 0
    with supervise("another"):
        pass
    runs = journal.runs("night")
    assert [(each.outcome, dict(each.report.values)) for each in runs] == [("success", {"rows": 3})] * 2


@POSIX
def test_a_full_disk_at_the_end_is_no_death(tmp_path: Path, journal: Journal) -> None:
    """A run whose end finds no room in the journal is noted in the room that was reserved; it is not told as died."""
    first = scripts.run(
        tmp_path / "first",
        f"{FILLS_THE_DISK}\nwith supervise('night', handlers=[recorder], report_on=['success']):\n    fill()\n",
    )
    assert first.kinds == ["success"], first.stderr
    second = scripts.run(tmp_path / "second", "with supervise('night', handlers=[recorder]): pass")
    assert second.kinds == []
    assert [each.outcome for each in journal.runs("night")] == ["success", "success"]


def test_where_no_end_can_be_noted_a_death_is_worded_so(tmp_path: Path, state: Path, journal: Journal) -> None:
    """Without room beside the journal, the message of a death says that the run may have ended well."""
    (state / "journal.ends").unlink()
    (state / "journal.ends").mkdir()
    body = "import os\nwith supervise('night', handlers=[recorder]): os._exit(9)"
    scripts.run(tmp_path / "first", body)
    second = scripts.run(tmp_path / "second", "with supervise('night', handlers=[recorder]): pass")
    assert second.kinds == ["died", "recovery"]
    assert "or it ended and there was no room to note that" in " ".join(second.messages[0]["message"].split())
    assert journal.runs("night")[1].outcome == "died"


# Descriptors that the script closes

TAKES_ALL_DESCRIPTORS = """
import os, sys, threading, time
os.makedirs("own", exist_ok=True)

def others_wait():  # whether no other thread is at work
    frames = sys._current_frames()
    frames.pop(threading.get_ident())
    return all(frame.f_code.co_name == "wait" for frame in frames.values())

def take():  # as a daemon does: it closes what it has not opened itself, and then opens files of its own
    os.closerange(3, 256)
    return [open(f"own/{i}", "w+b") for i in range(60)]
"""


@POSIX
@pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
def test_the_files_of_a_script_that_closes_all_descriptors_are_left_alone(
    tmp_path: Path, journal: Journal, *, fails: bool
) -> None:
    """Not a byte goes into them, none is closed, also at exit; one warning; the run ends as usual, and is noted."""
    end = """
try:
    with supervise("night", handlers=[recorder], report_on=["success"]) as run:
        run.notify("before")
        run.flush()
        # Until then a worker may import or read, and the script would close a file that the worker closes again later.
        while not others_wait(): time.sleep(0.001)
        files = take()
        run.notify("after")
        run.progress(1, 2)
        began_s = time.monotonic()
        if FAILS:
            raise KeyError("apn")
except KeyError:
    pass
print(time.monotonic() - began_s)
for each in files:
    each.write(b"own")  # still open, and written when Python ends
""".replace("FAILS", str(fails))
    ended = scripts.run(tmp_path, TAKES_ALL_DESCRIPTORS + end)
    assert (ended.code, "Error" in ended.stderr) == (0, False), ended.stderr
    assert sorted(ended.kinds) == sorted(["notice", "notice", "failure" if fails else "success"])
    own = list(tmp_path.rglob("own/*"))
    assert {each.read_bytes() for each in own} == {b"own"}
    assert len(own) == 60
    assert ended.stderr.count("closed its file descriptors") == 1, ended.stderr
    assert float(ended.stdout) < 5
    with supervise("night"):
        pass
    assert [each.outcome for each in journal.runs("night")] == ["success", "failure" if fails else "success"]


# An installation that goes away

LOSES_THE_PACKAGE = """
import sys

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("supervisor"):
            raise REASON

def lose():  # the package is removed, or no file can be opened: what is not loaded yet can no longer be
    sys.meta_path.insert(0, Gone())
    sys.path.clear()
"""


@pytest.mark.parametrize("reason", ["ModuleNotFoundError(name)", "OSError(24, 'Too many open files')"])
@pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
def test_an_end_without_the_package_is_recorded(tmp_path: Path, journal: Journal, *, fails: bool, reason: str) -> None:
    """A message that can no longer be made costs neither the record of the end nor the script's loop."""
    first = scripts.run(
        tmp_path / "first",
        LOSES_THE_PACKAGE.replace("REASON", reason)
        + f"""
with supervise("night", handlers=[recorder], report_on=["success"]) as run:
    lose()
    assert list(run.track([1, 2])) == [1, 2]
    if {fails}:
        raise KeyError("apn")
""",
    )
    assert first.code == int(fails), first.stderr
    second = scripts.run(tmp_path / "second", "with supervise('night', handlers=[recorder]): pass")
    assert "died" not in second.kinds
    assert [each.outcome for each in journal.runs("night")] == ["success", "failure" if fails else "success"]
