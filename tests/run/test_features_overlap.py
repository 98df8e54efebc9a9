"""The lock on a name: one holder on this machine, freed by whoever is killed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import supervisor
from supervisor._run.features import NameLock, in_words, under_way
from supervisor._store import StartedRun, open_journal
from supervisor._store.processes import this_process
from supervisor.models import RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime.now().astimezone().replace(hour=9, minute=30)
PACKAGE = str(Path(supervisor.__file__).parents[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the locks of a test are."""
    return tmp_path / "state" / "locks"


def holder(folder: Path, name: str = "night", *, then: str = "") -> subprocess.Popen[str]:
    """Start another process that holds the lock until it is killed, or its stdin ends."""
    script = f"""
    import sys, os; sys.path.insert(0, {PACKAGE!r})
    from pathlib import Path
    from supervisor._run.features import NameLock
    lock = NameLock(Path({str(folder)!r}), {name!r})
    print(lock.take(), flush=True)
    {then}
    sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process, and let go of it."""
    process.kill()
    process.communicate()


@pytest.fixture
def other(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Return another process that holds the lock."""
    process = holder(folder)
    yield process
    kill(process)


def test_there_is_one_holder_of_a_name(folder: Path) -> None:
    """While a lock is held nobody else in this process gets it, and afterwards the next one does."""
    first, second = NameLock(folder, "night"), NameLock(folder, "night")
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    second.release()
    second.release()


def test_names_do_not_hinder_each_other(folder: Path) -> None:
    """Locks on different names are independent, also where the names look alike to a file system."""
    names = ("night", "Night", "night ", "ni/ght", "ni:ght", "..", "CON", "x" * 300, "夜", "nul\0")
    locks = [NameLock(folder, name) for name in names]
    assert all(lock.take() for lock in locks)
    for lock in locks:
        lock.release()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")
def test_the_file_is_for_its_owner_alone(folder: Path) -> None:
    """The file has mode 0600, and its folder 0700."""
    lock = NameLock(folder, "night")
    lock.take()
    assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    lock.release()


def test_another_process_keeps_it(folder: Path, other: subprocess.Popen[str]) -> None:
    """What another process holds cannot be had until that process is killed."""
    lock = NameLock(folder, "night")
    assert not lock.take()
    kill(other)
    assert lock.take()
    lock.release()


def test_a_forked_child_does_not_keep_it(folder: Path) -> None:
    """When the holder is killed while a child that it forked lives on, the lock is free."""
    if sys.platform == "win32":
        pytest.skip("there is no fork")
    # The child speaks, so that it is known to have gone through what it does after a fork.
    process = holder(folder, then="if os.fork() == 0: print(os.getpid(), flush=True)")
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert not NameLock(folder, "night").take()
    process.kill()
    process.wait()
    lock = NameLock(folder, "night")
    taken = lock.take()
    os.kill(child, 0)  # it lives
    os.kill(child, 9)
    process.communicate()
    lock.release()
    assert taken


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_does_not_free_it(folder: Path) -> None:
    """What a forked child does with the lock object of its parent leaves the parent's lock as it is."""
    if sys.platform == "win32":
        pytest.skip("there is no fork")
    lock, other = NameLock(folder, "night"), NameLock(folder, "night")
    assert lock.take()
    pid = os.fork()
    if not pid:
        lock.release()
        os._exit(0)
    os.waitpid(pid, 0)
    assert not other.take()
    lock.release()
    assert other.take()
    other.release()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """Where the file cannot be created, that is an OSError, not a lock."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        NameLock(tmp_path / "file" / "locks", "night").take()


# Who holds it


def report(started_at: datetime) -> RunReport:
    """Return what is known of the run under way."""
    return RunReport(id="1", name="night", started_at=started_at, pid=4711)


def test_the_run_under_way_is_told_by_its_start_and_process() -> None:
    """The words name the start in local time, with the date when it was not today, and the process."""
    today = report(NOW.replace(hour=2, minute=0).astimezone(UTC))
    assert in_words(today, NOW) == "another run, started 02:00, process 4711, is still under way"
    earlier = in_words(report((NOW - timedelta(days=1)).astimezone(UTC)), NOW)
    assert f"started {NOW - timedelta(days=1):%Y-%m-%d} 09:30" in earlier
    assert in_words(None) == "another run of this name is still under way"


def test_the_journal_tells_which_run_lives(tmp_path: Path) -> None:
    """Of the runs that have not ended, the oldest whose process lives is meant; without one there is None."""
    journal = open_journal(tmp_path)
    for number in range(3):
        journal.start_run(StartedRun(id=f"run{number}", name="night", started_at_s=1000.0 + number))
    found = under_way(journal, "night")
    assert found is not None
    assert (found.id, found.pid) == ("run0", os.getpid())
    assert under_way(journal, "day") is None
    journal.close()


def test_runs_whose_process_is_gone_are_not_meant(tmp_path: Path) -> None:
    """A run that died is not under way."""
    from supervisor._store import Journal

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone = this_process()._replace(pid=ended.pid)
    journal = Journal(tmp_path, this=lambda: gone)
    journal.start_run(StartedRun(id="run0", name="night", started_at_s=1000.0))
    assert under_way(journal, "night") is None
    journal.close()
