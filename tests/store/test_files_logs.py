"""Where runs keep their logs: names that any file system takes, and no more than there is room for."""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor._store import files
from supervisor._store.files import create, prune, prune_all, safe_name

posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Return where the logs of a test are."""
    return str(tmp_path / "state" / "logs")


def old_log(folder: str, number: int, size: int = 10, name: str = "night") -> Path:
    """Leave the log of an earlier run, the older the lower its number."""
    file = create(folder, name, f"run{number:03}", 1000.0 + number)
    os.write(file.descriptor, b"x" * size)
    os.close(file.descriptor)
    os.utime(file.path, (1000.0 + number, 1000.0 + number))
    return Path(file.path)


def left(folder: str, name: str = "night") -> list[str]:
    """Return the ids of the runs whose logs are there, oldest first."""
    found = Path(folder, safe_name(name)).glob("*.log")
    return [each.stem.rpartition("-")[2] for each in sorted(found)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be room for 1,000 bytes of each name, and 2,000 of all."""
    monkeypatch.setattr(files, "KEEP_BYTES_EACH", 1000)
    monkeypatch.setattr(files, "KEEP_BYTES", 2000)


# Names


@given(st.text(min_size=1))
def test_any_name_makes_a_name_for_files(name: str) -> None:
    """Whatever a run is called, its files have a short name of plain characters that is no special one."""
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", safe_name(name))


@given(st.text(), st.text())
def test_different_names_have_different_files(one: str, other: str) -> None:
    """No two names share a file, also where case makes no difference."""
    assert (safe_name(one).lower() == safe_name(other).lower()) == (one == other)


def test_a_name_can_still_be_read() -> None:
    """A person finds the files of a run."""
    assert safe_name("nightly parcels").startswith("nightly_parcels-")


# Creating


@posix
def test_a_log_is_for_its_owner_alone(folder: str) -> None:
    """The file has mode 0600, and its folder 0700; its name has start and run."""
    path = old_log(folder, 7)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.name == "1970-01-01T001647Z-run007.log"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """Where the file cannot be created, that is an OSError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        create(str(tmp_path / "file"), "night", "run", 0.0)


# Pruning


def test_the_newest_twenty_of_a_name_stay(folder: str) -> None:
    """The twenty newest files of a name are kept, others' are left alone."""
    paths = [old_log(folder, number) for number in range(25)]
    for number in range(3):
        old_log(folder, number, name="day")
    prune(str(paths[-1]))
    assert left(folder) == [f"run{number:03}" for number in range(5, 25)]
    assert len(left(folder, "day")) == 3


@pytest.mark.usefixtures("small")
def test_a_name_has_so_many_bytes(folder: str) -> None:
    """The oldest files of a name go until the others fit."""
    paths = [old_log(folder, number, 300) for number in range(6)]
    prune(str(paths[-1]))
    assert left(folder) == ["run003", "run004", "run005"]


@pytest.mark.usefixtures("small")
def test_the_newest_log_stays_however_big(folder: str) -> None:
    """The log of the run that has just ended, which its message brings, is not deleted."""
    old_log(folder, 1)
    prune(str(old_log(folder, 2, 5000)))
    assert left(folder) == ["run002"]


@pytest.mark.usefixtures("small")
def test_all_names_together_have_so_many_bytes(folder: str) -> None:
    """The oldest files of all names go until the others fit; the newest of each stays."""
    for number in range(3):
        for place, name in enumerate(("a", "b", "c")):
            old_log(folder, 10 * number + place, 300, name)
    prune_all(folder)
    assert [left(folder, name) for name in ("a", "b", "c")] == [["run010", "run020"], ["run011", "run021"],
                                                                ["run012", "run022"]]  # fmt: skip


@posix
def test_a_log_in_use_stays(folder: str) -> None:
    """What a run writes at the moment is not deleted, however old it is."""
    running = create(folder, "night", "run000", 1000.0)
    os.utime(running.path, (1.0, 1.0))
    paths = [old_log(folder, number) for number in range(1, 25)]
    prune(str(paths[-1]))
    assert "run000" in left(folder)
    os.close(running.descriptor)
    prune(str(paths[-1]))
    assert "run000" not in left(folder)
    assert len(left(folder)) == 20


def _link(path: Path, target: Path) -> bool:
    """Make a link, and return whether there is one: on Windows not everybody may make them."""
    with suppress(OSError):
        path.symlink_to(target)
    return path.is_symlink()


def test_what_is_no_log_is_left_alone(folder: str, tmp_path: Path) -> None:
    """Files of somebody else, folders and links are not deleted."""
    paths = [old_log(folder, number) for number in range(22)]
    outside = tmp_path / "outside.log"
    outside.write_text("mine")
    home = paths[0].parent
    (home / "notes.txt").write_text("mine")
    (home / "folder.log").mkdir()
    is_linked = _link(home / "link.log", outside)
    prune(str(paths[-1]))
    assert (home / "notes.txt").exists()
    assert (home / "folder.log").is_dir()
    assert (home / "link.log").is_symlink() is is_linked
    assert outside.read_text() == "mine"


def test_pruning_never_raises(folder: str, tmp_path: Path) -> None:
    """A folder that is gone, or a stranger among the folders, is no fault."""
    prune(str(tmp_path / "gone" / "a" / "b.log"))
    old_log(folder, 1)
    Path(folder, "file").write_text("")
    prune_all(folder)
    assert left(folder) == ["run001"]


def test_empty_folders_go_after_a_day(folder: str) -> None:
    """The folder of a name that has had no log for a day is deleted, a fresh one is not."""
    for name in ("old", "fresh"):
        Path(folder, name).mkdir(parents=True)
    os.utime(Path(folder, "old"), (1.0, 1.0))
    prune_all(folder)
    assert [each.name for each in Path(folder).iterdir()] == ["fresh"]
