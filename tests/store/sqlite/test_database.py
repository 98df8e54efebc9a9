"""The file: who may read it, who may write at once, and what happens when it is not as it should be."""

from __future__ import annotations

import logging
import os
import pickle
import sqlite3
import stat
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from journal_kit import KIT, ended, first_line_of, kill, notice, output_of, python, record, started
from waiting import PATIENCE_S

from supervisor._models import Outcome
from supervisor._store import Journal, JournalUnavailable, open_journal, state_directory
from supervisor._store.essentials import FILE_NAME, NOTES_NAME, warn_once
from supervisor._store.sqlite import journal_file, migrations
from supervisor._store.sqlite.database import Database
from supervisor._store.sqlite.journal_file import identity, move_corrupt_file

if TYPE_CHECKING:
    from pathlib import Path

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


def test_a_new_journal_is_private(tmp_path: Path) -> None:
    """The directory is created with mode 0700 and every file in it with 0600, whatever the umask says."""
    before = os.umask(0)
    try:
        journal = open_journal(tmp_path / "new" / "state")
        record(journal, Outcome.SUCCESS)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new" / "state").iterdir()}
        journal.close()
    finally:
        os.umask(before)
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / "new" / "state").stat().st_mode) == 0o700
        assert modes == dict.fromkeys((NOTES_NAME, FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"), 0o600)


def test_the_settings_of_the_file_are_those_that_survive_power_loss(state: Path) -> None:
    """Commits go to a write-ahead log with synchronous=FULL; those of no lasting worth do without the fsync."""
    store = Database(str(state))
    with store.write() as connection:
        pass
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    with store.write(durable=False):
        pass
    assert connection.execute("PRAGMA synchronous").fetchone() == (1,)
    with store.write():
        pass
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    store.close()


def test_it_opens_again_after_it_was_closed(state: Path) -> None:
    """Closing lets go of the file, and the next use opens it again."""
    journal = open_journal(state)
    record(journal, Outcome.SUCCESS)
    journal.close()
    journal.close()
    assert sorted(path.name for path in state.iterdir()) == [NOTES_NAME, FILE_NAME]
    assert journal.last_run("nightly") is not None
    journal.close()


def test_one_commit_is_all_or_nothing(state: Path) -> None:
    """What is written in one commit is there as a whole, or after an exception not at all."""
    journal = open_journal(state)
    with pytest.raises(KeyError), journal.one_commit():
        journal.start_run(started("a"))
        journal.put(notice(), ["mail"])
        raise KeyError
    assert journal.last_run("nightly") is None
    assert journal.deliveries() == []
    with journal.one_commit():
        journal.start_run(started("a"))
        journal.put(notice(), ["mail"])
    assert journal.last_run("nightly") is not None
    assert len(journal.deliveries()) == 1
    journal.close()


def test_threads_write_at_once(state: Path) -> None:
    """Many threads may use one journal at the same time."""
    journal = open_journal(state)
    names = [f"thread {n}" for n in range(8)]
    threads = [
        threading.Thread(target=record, args=(journal, *[Outcome.SUCCESS] * 10), kwargs={"name": name})
        for name in names
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE_S)
    assert [len(journal.runs(name)) for name in names] == [10] * 8
    journal.close()


WRITER = """
import sys, time
from supervisor._store import open_journal, StartedRun, EndedRun
from supervisor._models import DeliveryState, Outcome
from supervisor.models import MessageDetails
directory, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
journal = open_journal(directory)
for n in range(25):
    journal.start_run(StartedRun(id=f"{name}-{n}", name=name, started_at_s=time.time()))
    journal.put(MessageDetails(f"{name}-{n}"), ["mail", "chat"])
    while (delivery := journal.claim("mail")) is None:
        time.sleep(0.001)  # another process sends what comes before
    journal.settle(delivery, DeliveryState.SENT)
    journal.end_run(f"{name}-{n}", EndedRun(outcome=Outcome.SUCCESS, ended_at_s=time.time(), duration_s=0))
    if n % 5 == 0:
        journal.close()
journal.close()
"""


def test_eight_processes_begin_and_write_the_journal_at_once(state: Path) -> None:
    """Eight processes create, migrate, write, close and reopen one journal at once, and none meets a lock."""
    writers = [python(WRITER, state, f"writer {n}") for n in range(8)]
    for each in writers:
        assert first_line_of(each) == "ready"
    for each in writers:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in writers:
        output_of(each)
    journal = open_journal(state)
    assert [len(journal.runs(f"writer {n}")) for n in range(8)] == [25] * 8
    waiting = journal.deliveries()
    assert {each.handler for each in waiting} == {"chat"}
    assert len(waiting) == 200
    journal.close()


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.rollback()
connection.close()
"""


def test_it_waits_for_another_writer(state: Path) -> None:
    """While another process holds the lock for longer than SQLite itself would wait, a write waits and then goes on."""
    journal = open_journal(state)
    holder = python(HOLDER, journal.path)
    assert first_line_of(holder) == "held"
    writing = threading.Thread(target=record, args=(journal, Outcome.SUCCESS))
    writing.start()
    writing.join(1.5)
    assert writing.is_alive()
    output_of(holder)
    writing.join(PATIENCE_S)
    assert len(journal.runs("nightly")) == 1
    journal.close()


def test_a_lock_that_is_never_released_is_told(state: Path) -> None:
    """When another process never lets go, the write gives up after its time and says why."""
    journal = Journal(state, busy_s=0.1)
    record(journal, Outcome.SUCCESS)
    holder = python(HOLDER, journal.path)
    assert first_line_of(holder) == "held"
    with pytest.raises(JournalUnavailable, match="database is locked"):
        journal.start_run(started("x"))
    assert journal.last_run("nightly") is not None
    output_of(holder)
    journal.start_run(started("x"))
    journal.close()


# What is not as it should be


def test_a_file_in_the_place_of_the_directory_is_told(tmp_path: Path) -> None:
    """Where the directory cannot be, the error names the file, the reason and the remedy."""
    (tmp_path / "state").write_text("not a directory")
    with pytest.raises(JournalUnavailable, match=r"journal.sqlite3'.*SUPERVISOR_STATE") as caught:
        open_journal(tmp_path / "state")
    assert caught.value.reason in ("Not a directory", "File exists") or sys.platform == "win32"
    assert (tmp_path / "state").read_text() == "not a directory"


@posix
def test_a_directory_that_cannot_be_created_is_told() -> None:
    """Where nobody may create anything, the error says so."""
    with pytest.raises(JournalUnavailable):
        open_journal("/proc/supervisor/state")


def test_a_directory_in_the_place_of_the_file_is_told(state: Path) -> None:
    """A directory that bears the file's name is left alone."""
    (state / FILE_NAME).mkdir()
    with pytest.raises(JournalUnavailable, match="unable to open database file"):
        open_journal(state)
    assert (state / FILE_NAME).is_dir()


def test_the_error_survives_its_way_to_another_process() -> None:
    """JournalUnavailable can be pickled, with its facts."""
    error = pickle.loads(pickle.dumps(JournalUnavailable("/a", "full", "make room")))
    assert (error.path, error.reason, error.remedy) == ("/a", "full", "make room")
    assert str(error) == "journal '/a': full; make room"


READ_ONLY = """
import sys
from supervisor._store import open_journal, JournalUnavailable
from journal_kit import started
import os
os.setgid(65534); os.setuid(65534)
try:
    journal = open_journal(sys.argv[1])
    journal.start_run(started("a"))
except JournalUnavailable as error:
    print(error.reason)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("is_there", [True, False])
def test_a_directory_of_somebody_else_is_told(tmp_path: Path, *, is_there: bool) -> None:
    """A user who may read the journal or its directory but not write them gets one kind of error."""
    for each in (*reversed(tmp_path.parents[:-1]), tmp_path):
        if each.stat().st_mode & 0o005 != 0o005:
            each.chmod(each.stat().st_mode | 0o055)
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    if is_there:
        journal = open_journal(state)
        record(journal, Outcome.SUCCESS)
        journal.close()
        (state / FILE_NAME).chmod(0o644)
    code = f"import sys; sys.path.append({str(KIT)!r})\n{READ_ONLY}"
    assert output_of(python(code, state)).strip()


OTHER_USER = """
import os, sys
from supervisor._store import open_journal
from journal_kit import ended, started
journal = open_journal(sys.argv[1])
journal.start_run(started("a"))
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
else:
    os.chmod(sys.argv[1], 0)
journal.end_run("a", ended())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no setuid")
def test_a_process_that_gives_up_its_rights_writes_what_it_has_open(state: Path) -> None:
    """The end of its run is kept, though it may not even enter the directory any more; it was told as died."""
    output_of(python(f"import sys; sys.path.append({str(KIT)!r})\n{OTHER_USER}", state))
    state.chmod(0o700)
    journal = open_journal(state)
    (run,) = journal.runs("nightly", limit=2)
    assert run.report.outcome is Outcome.SUCCESS


FULL = """
import resource, signal, sys
from supervisor._store import open_journal, JournalUnavailable
sys.path.append(sys.argv[2])
from journal_kit import notice, started
journal = open_journal(sys.argv[1])
journal.start_run(started("before"))
sys.dont_write_bytecode = True  # a module's byte code would be cut off too, and stay so
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    while True:
        journal.put(notice(message="x" * 10_000), ["mail"])
except JournalUnavailable as error:
    print(error.reason)
before = len(journal.deliveries())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.put(notice(), ["mail"])
print(len(journal.deliveries()) - before)
assert journal.last_run("nightly").report.id == "before"
journal.close()
"""


@posix
def test_a_full_disk_is_told_and_harms_nothing(state: Path) -> None:
    """When a file cannot grow, that write is refused, what was there stays, and it goes on once there is room."""
    reason, added = output_of(python(FULL, state, KIT)).splitlines()
    assert "disk" in reason or "full" in reason
    assert added == "1"
    with closing(sqlite3.connect(state / FILE_NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    "garbage", [b"this is no database" * 100, b"\0" * 10_000, b"SQLite format 3\0" + b"\xff" * 5_000]
)
def test_a_corrupt_file_is_set_aside_and_a_new_one_begun(
    state: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Garbage in the place of the journal is kept under another name, and one warning tells of it."""
    (state / FILE_NAME).write_bytes(garbage)
    (state / f"{FILE_NAME}-wal").write_bytes(b"old log")
    journal = open_journal(state)
    record(journal, Outcome.SUCCESS)
    assert len(journal.runs()) == 1
    journal.close()
    aside = [path for path in state.iterdir() if ".corrupt-" in path.name and not path.name.endswith("-shm")]
    kept = {path.read_bytes() for path in aside}
    # On Windows SQLite itself deletes the log of a file that is none of its own.
    assert kept == {garbage, b"old log"} or (sys.platform == "win32" and kept == {garbage})
    assert [each.levelno for each in caplog.records if each.name == "supervisor"] == [logging.WARNING]
    assert "set aside as" in caplog.text


def test_an_empty_file_is_a_new_journal(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file of no bytes, as a kill during creation leaves it, is filled without further ado."""
    (state / FILE_NAME).touch()
    journal = open_journal(state)
    record(journal, Outcome.SUCCESS)
    journal.close()
    assert caplog.text == ""


def _spoil(path: Path) -> None:
    """Overwrite the first pages of all tables and indexes that opening does not look at."""
    with closing(sqlite3.connect(path)) as connection:
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        roots = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE rootpage > 0 AND name <> 'file'"
        ).fetchall()
    with path.open("r+b") as file:
        for (root,) in roots:
            file.seek((root - 1) * page_bytes)
            file.write(b"\xff" * page_bytes)


def test_corruption_found_later_is_told_and_the_next_use_begins_anew(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that proves corrupt in use fails that one operation and is then set aside."""
    journal = open_journal(state)
    record(journal, Outcome.SUCCESS)
    journal.close()
    _spoil(state / FILE_NAME)
    with pytest.raises(JournalUnavailable, match="malformed"):
        journal.start_run(started("b"))
    journal.start_run(started("b"))
    assert [each.report.id for each in journal.runs()] == ["b"]
    assert caplog.text.count("set aside as") == 1
    journal.close()


def test_corruption_within_a_larger_commit_is_set_aside_after_it(state: Path) -> None:
    """In one commit of several writes, the corrupt file is left in peace until all of it is taken back."""
    journal = open_journal(state)
    record(journal, Outcome.SUCCESS)
    journal.close()
    _spoil(state / FILE_NAME)
    with pytest.raises(JournalUnavailable), journal.one_commit():
        journal.start_run(started("b"))
    record(journal, Outcome.FAILURE)
    assert [each.report.outcome for each in journal.runs()] == [Outcome.FAILURE]
    journal.close()


@posix
@pytest.mark.parametrize("asks", [True, False])
def test_a_run_that_outlives_its_file_is_recorded_in_the_next(state: Path, asks: bool) -> None:
    """When the file is removed or set aside during a run, the run's end writes down its start as well."""
    journal = open_journal(state)
    journal.start_run(started("a", argv=["parcels.py"]))
    journal.put(notice("before"), ["mail"])
    for path in state.iterdir():
        path.unlink()
    journal.put(notice("after"), ["mail"])
    journal.end_run("a", ended(), asks=asks)
    assert [each.subject for each in journal.deliveries()] == ["after"]
    run = journal.last_run("nightly")
    assert run is not None
    assert (run.report.outcome, run.report.argv) == (Outcome.SUCCESS, ("parcels.py",))
    journal.close()


def test_of_two_that_find_a_corrupt_file_one_sets_it_aside(state: Path) -> None:
    """Who comes second does not rename the fresh file of the first."""
    path = state / FILE_NAME
    path.write_bytes(b"garbage")
    corrupt = identity(str(path))
    assert move_corrupt_file(str(path), lambda: identity(str(path)) == corrupt) is not None
    path.write_bytes(b"fresh")
    assert identity(str(path)) != corrupt
    assert move_corrupt_file(str(path), lambda: identity(str(path)) == corrupt) is None
    assert path.read_bytes() == b"fresh"


def test_a_file_of_a_newer_version_is_left_alone(state: Path) -> None:
    """A journal that a newer supervisor wrote is refused with a remedy, and not a byte of it changes."""
    journal = open_journal(state)
    journal.close()
    with closing(sqlite3.connect(state / FILE_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {journal_file.VERSION + 1}")
    before = (state / FILE_NAME).read_bytes()
    with pytest.raises(JournalUnavailable, match=r"newer supervisor .*upgrade agrc-supervisor"):
        open_journal(state)
    assert (state / FILE_NAME).read_bytes() == before
    assert sorted(path.name for path in state.iterdir()) == [NOTES_NAME, FILE_NAME]


def test_each_migration_runs_once(state: Path) -> None:
    """An older file gets the migrations it lacks, in order, and a file that has them all gets none."""
    with closing(sqlite3.connect(state / FILE_NAME, isolation_level=None)) as connection:
        steps = (("CREATE TABLE a (b)",), ("INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (2)"))
        migrations.migrate(connection, steps[:1])
        assert journal_file.version_of(connection) == 1
        for _ in range(2):
            migrations.migrate(connection, steps)
            assert journal_file.version_of(connection) == 2
            assert connection.execute("SELECT b FROM a ORDER BY b").fetchall() == [(1,), (2,)]
        migrations.migrate(connection, steps[:1])
        assert journal_file.version_of(connection) == 2


def test_a_migration_that_is_cut_short_begins_anew(state: Path) -> None:
    """A kill while the tables are created leaves a file in which the next process creates them from the start."""
    store = python(
        "import os, sys\n"
        "from supervisor._store import open_journal; from supervisor._store.sqlite import journal_file\n"
        "def dies(connection):\n"
        "    for each in journal_file._TABLES[:4]: connection.execute(each)\n"
        "    os._exit(9)\n"
        "journal_file.bring_up_to_date = dies\n"
        "open_journal(sys.argv[1])\n",
        state,
    )
    store.communicate(timeout=PATIENCE_S)
    assert store.returncode == 9
    journal = open_journal(state)
    record(journal, Outcome.SUCCESS)
    journal.close()


def test_the_warning_comes_once_for_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    """That the journal is out of use is logged once, not for each write."""
    for reason in ("full of tests", "full of tests", "gone with tests"):
        warn_once(JournalUnavailable("/state/journal.sqlite3", reason))
    assert [each.levelno for each in caplog.records] == [logging.WARNING, logging.WARNING]


# Forks


fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

FORKER = """
import os, sys, threading
sys.path.append(sys.argv[2])
from journal_kit import NOON, notice, record, started, ended
from supervisor._store import open_journal
from supervisor._models import Outcome
journal = open_journal(sys.argv[1])
journal.start_run(started("parent"))
journal.put(notice("of the parent"), ["mail"], claimed=True)
stop = threading.Event()
def write():
    n = 0
    while not stop.is_set():
        record(journal, Outcome.SUCCESS, name="thread", since=NOON + n)
        n += 1
writing = threading.Thread(target=write)
writing.start()
children = []
for n in range(6):
    child = os.fork()
    if child == 0:
        assert journal._database._connection is None
        assert journal.claim("mail") is None, "the parent holds it"
        record(journal, *[Outcome.SUCCESS] * 5, name=f"child {n}")
        journal.close()
        os._exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
stop.set()
writing.join()
journal.end_run("parent", ended())
assert codes == [0] * 6, codes
assert [len(journal.runs(f"child {n}")) for n in range(6)] == [5] * 6
assert journal.last_run("nightly").report.outcome is Outcome.SUCCESS
journal.close()
print("well")
"""


@fork
def test_no_connection_crosses_a_fork(state: Path) -> None:
    """Children forked while a thread of the parent writes open the file anew, and nobody's writes are lost."""
    assert output_of(python(FORKER, state, KIT)).strip() == "well"


@fork
def test_a_child_that_outlives_its_parent_keeps_what_it_writes(state: Path) -> None:
    """After the parent has closed its journal and gone, a child's commits are still in the file."""
    code = (
        "import os, sys; sys.path.append(sys.argv[2])\n"
        "from journal_kit import NOON, record; from supervisor._store import open_journal\n"
        "from supervisor._models import Outcome\n"
        "journal = open_journal(sys.argv[1])\n"
        "record(journal, Outcome.SUCCESS, name='parent')\n"
        "ready, done = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    record(journal, Outcome.SUCCESS, name='child')\n"
        "    print('child', os.getpid(), flush=True)\n"
        "    os.close(done)\n"
        "    sys.stdin.readline()\n"
        "    record(journal, Outcome.SUCCESS, name='orphan')\n"
        "    journal.close()\n"
        "    print('written', flush=True)\n"
        "    os._exit(0)\n"
        "os.close(done)\n"
        "os.read(ready, 1)\n"  # ends when the child has opened its own
        "record(journal, Outcome.SUCCESS, name='parent', since=NOON + 1)\n"
        "journal.close()\n"
        "os._exit(0)\n"
    )
    parent = python(code, state, KIT)
    assert first_line_of(parent).startswith("child")
    assert parent.wait(PATIENCE_S) == 0
    output, _ = parent.communicate("go\n", timeout=PATIENCE_S)
    assert output.strip() == "written"
    journal = open_journal(state)
    assert [len(journal.runs(name)) for name in ("parent", "child", "orphan")] == [2, 1, 1]
    journal.close()


@pytest.mark.skipif(sys.platform != "linux", reason="calls the C library's fork")
def test_a_fork_that_python_does_not_notice_harms_nothing(state: Path) -> None:
    """After a fork by other code than Python's, the child leaves the parent's connection alone and opens its own."""
    code = (
        "import ctypes, os, sys; sys.path.append(sys.argv[2])\n"
        "from journal_kit import NOON, record; from supervisor._store import open_journal\n"
        "from supervisor._store.sqlite import database as store\n"
        "from supervisor._models import Outcome\n"
        "journal = open_journal(sys.argv[1])\n"
        "record(journal, Outcome.SUCCESS)\n"
        "inherited = journal._database._connection\n"
        "child = ctypes.CDLL(None).fork()\n"
        "if child == 0:\n"
        "    assert len(journal.runs()) == 1\n"
        "    assert store._abandoned == [inherited]\n"
        "    assert journal._database._connection is not inherited\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "record(journal, Outcome.SUCCESS, since=NOON + 1)\n"
        "assert len(journal.runs()) == 2\n"
        "journal.close()\n"
    )
    output_of(python(code, state, KIT))
    with closing(sqlite3.connect(state / FILE_NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_killed_writer_leaves_a_whole_file(state: Path) -> None:
    """After SIGKILL in the midst of writing, all that was committed is there and the file is sound."""
    code = (
        "import sys; sys.path.append(sys.argv[2])\n"
        "from journal_kit import notice; from supervisor._store import open_journal\n"
        "journal = open_journal(sys.argv[1])\n"
        "for n in range(100_000):\n"
        "    journal.put(notice(str(n)), ['mail'])\n"
        "    print(n, flush=True)\n"
    )
    writer = python(code, state, KIT)
    assert writer.stdout is not None
    for _ in range(50):
        last = writer.stdout.readline().strip()
    kill(writer)
    journal = open_journal(state)
    subjects = [each.subject for each in journal.deliveries()]
    assert subjects == [str(n) for n in range(len(subjects))]
    assert len(subjects) > int(last)
    journal.close()


# Where it lives


def test_the_environment_says_where_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SUPERVISOR_STATE decides; a relative one counts from the working directory, and "~" is the home."""
    monkeypatch.setenv("SUPERVISOR_STATE", str(tmp_path / "here"))
    assert state_directory() == tmp_path / "here"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERVISOR_STATE", "relative")
    assert state_directory() == tmp_path / "relative"
    if sys.platform != "win32":
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("SUPERVISOR_STATE", "~/state")
        assert state_directory() == tmp_path / "state"


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_without_a_word_it_is_the_platform_s_place(blank: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset or blank, the place is the platform's own, and nothing is created by asking."""
    monkeypatch.delenv("SUPERVISOR_STATE")
    if blank is not None:
        monkeypatch.setenv("SUPERVISOR_STATE", blank)
    assert state_directory().is_absolute()
    assert "supervisor" in state_directory().parts


@posix
def test_it_is_found_without_a_home_in_the_environment() -> None:
    """Cron and systemd may set no HOME: then the user database tells it."""
    code = "import os; os.environ.clear(); from supervisor._store import state_directory; print(state_directory())"
    assert output_of(python(code)).startswith("/")


@posix
def test_a_user_without_any_home_is_told_what_to_do(tmp_path: Path) -> None:
    """Where not even a directory for temporary files can be had, the error names SUPERVISOR_STATE."""
    if sys.platform == "win32" or os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    code = (
        "import os; from supervisor._store import state_directory, JournalUnavailable; import platformdirs\n"
        f"os.environ.clear(); os.environ['TMPDIR'] = {str(tmp_path / 'missing')!r}; os.setuid(54321)\n"
        "try: print(state_directory())\n"
        "except JournalUnavailable as error: print(error.remedy)\n"
    )
    assert output_of(python(code)).strip() == "set SUPERVISOR_STATE to a directory"


def test_any_text_of_python_is_stored(state: Path) -> None:
    """Lone surrogates, which SQLite refuses, become escapes: in one statement, in one for many rows, and in a query."""
    store = Database(str(state))
    with store.write() as connection:
        connection.execute("CREATE TEMP TABLE texts (name)")
        connection.execute("INSERT INTO texts VALUES (?)", ("half \udcff",))
        connection.executemany("INSERT INTO texts VALUES (?)", [("whole ö",), ("other \ud83d",), (7,)])
    assert store.rows("SELECT name FROM texts") == [("half \\udcff",), ("whole ö",), ("other \\ud83d",), (7,)]
    assert store.rows("SELECT count(*) FROM texts WHERE name = ?", ("half \udcff",)) == [(1,)]
    store.close()
