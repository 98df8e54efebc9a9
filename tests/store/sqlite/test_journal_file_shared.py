"""Journals on file systems that machines share: a real FUSE mount, and what Linux says of others."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from journal_kit import ended, started

from supervisor import supervise
from supervisor._places import resources
from supervisor._places.resources import FileSystem, file_system_of
from supervisor._runtime import Runtime, using
from supervisor._store import Journal, JournalUnavailable
from supervisor._store.essentials import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def mode_of(state: Path) -> str:
    """Return what kind of journal SQLite keeps for the file."""
    with closing(sqlite3.connect(state / FILE_NAME)) as connection:
        mode: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
    return mode


@pytest.fixture
def is_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[FileSystem], None]:
    """Return what lets Linux say that the state directory is on such a file system."""

    def be_on(found: FileSystem) -> None:
        monkeypatch.setattr("supervisor._store.sqlite.journal_file.is_on_disk", lambda _: False)
        monkeypatch.setattr(resources, "file_system_of", lambda _: found)

    return be_on


@pytest.fixture
def fuse(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a real FUSE file system."""
    if sys.platform != "linux" or shutil.which("bindfs") is None:
        pytest.skip("there is no bindfs here")
    source, mount = tmp_path / "source", tmp_path / "mount"
    source.mkdir()
    mount.mkdir()
    if subprocess.run(["bindfs", source, mount], capture_output=True, check=False).returncode:
        pytest.skip("FUSE cannot be mounted here")
    yield mount
    subprocess.run(["fusermount", "-uz", mount], capture_output=True, check=False)


def test_a_real_fuse_mount_is_recognised(fuse: Path) -> None:
    """Its journal keeps no write-ahead log, and holds what runs write; the runs give signs of life."""
    assert file_system_of(str(fuse)).type == "fuse"
    with using(Runtime(state_directory=fuse)) as runtime:
        with supervise("nightly"):
            pass
        journal = runtime.journal()
        assert journal is not None
        (run,) = journal.runs("nightly")
    assert (run.outcome, run.heartbeat_s) == ("success", 60.0)
    assert mode_of(fuse) == "delete"
    assert not list(fuse.glob("*-wal"))


def test_a_journal_that_is_moved_to_a_share_loses_its_log(state: Path, is_on: Callable[[FileSystem], None]) -> None:
    """What was written on a disk is there afterwards."""
    journal = Journal(state)
    journal.start_run(started("r1"))
    journal.close()
    assert mode_of(state) == "wal"
    is_on(FileSystem("nfs4", "server:/export"))
    journal = Journal(state)
    journal.end_run("r1", ended())
    assert [each.id for each in journal.runs()] == ["r1"]
    journal.close()
    assert mode_of(state) == "delete"


@pytest.mark.parametrize(
    "found", [FileSystem("fuse.gcsfuse", "bucket"), FileSystem("nfs", "s:/e", frozenset({"nolock"}))]
)
def test_without_locks_there_is_no_journal(
    found: FileSystem, state: Path, is_on: Callable[[FileSystem], None], log: pytest.LogCaptureFixture
) -> None:
    """Several processes would spoil the file: runs are kept in memory, and a sentence says what to do."""
    is_on(found)
    with pytest.raises(JournalUnavailable, match="has no locks"):
        Journal(state).open()
    with using(Runtime(state_directory=state)), supervise("nightly") as run:
        pass
    assert run.outcome == "success"
    (warning,) = [each.message for each in log.records if each.levelname == "WARNING"]
    assert "set SUPERVISOR_STATE to a disk, or to a network file system with locks" in warning
