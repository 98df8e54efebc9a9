"""Files of the state directory: only their owner can use them, and root leaves none that its owner cannot use."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import supervisor._store.files as private_files
from supervisor import supervise
from supervisor._run.features import NameLock
from supervisor._store import open_journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no modes and owners")
as_root = pytest.mark.skipif(sys.platform != "win32" and os.geteuid() != 0, reason="only root can give files away")
SOMEBODY = 12_345


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Let the process have a umask for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def everything_below(path: Path) -> list[Path]:
    """Return a directory, and all that is in it."""
    return [path, *path.rglob("*")]


def run_in(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run make all that runs make in a state directory."""
    monkeypatch.setenv("SUPERVISOR_STATE", str(state))
    with supervise("night", overlap="fail", capture_logs=True):
        pass
    open_journal(state).close()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o277, 0o777], ids=oct)
@pytest.mark.parametrize("root", [False, True], ids=["user", "root"])
def test_all_that_is_made_is_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, mask: int, root: bool
) -> None:
    """Directories have mode 0700 and files 0600, whatever the umask; those above the state directory too."""
    if not root:
        monkeypatch.setattr(private_files, "_is_root", lambda: False)
    elif sys.platform != "win32" and os.geteuid() != 0:
        pytest.skip("only root goes by descriptors")
    with umask(mask):
        run_in(tmp_path / "a" / "b" / "state", monkeypatch)
    modes = {stat.S_IMODE(each.stat().st_mode) for each in everything_below(tmp_path / "a") if each.is_dir()}
    assert modes == {0o700}
    files = {stat.S_IMODE(each.stat().st_mode) for each in everything_below(tmp_path / "a") if each.is_file()}
    assert files == {0o600}


def test_what_is_there_already_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory that somebody made for a group stays open to it."""
    state = tmp_path / "shared"
    state.mkdir()
    state.chmod(0o2770)
    run_in(state, monkeypatch)
    assert stat.S_IMODE(state.stat().st_mode) == 0o2770


@as_root
def test_what_root_makes_belongs_to_the_owner_of_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of root in a user's state directory leaves nothing that the user cannot use: locks, logs, the journal."""
    if sys.platform == "win32":
        pytest.skip("this is for POSIX systems")
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, SOMEBODY, SOMEBODY)
    run_in(home / ".local" / "state" / "supervisor", monkeypatch)
    owners = {each.stat().st_uid for each in everything_below(home)}
    assert owners == {SOMEBODY}
    assert {each.name for each in everything_below(home)} >= {"journal.sqlite3", "journal.ends", "locks", "logs"}


@as_root
def test_nothing_is_given_away_by_way_of_a_link(tmp_path: Path) -> None:
    """A link that a user has put into their directory leads to nothing that becomes theirs."""
    if sys.platform == "win32":
        pytest.skip("this is for POSIX systems")
    home, etc = tmp_path / "home", tmp_path / "etc"
    home.mkdir()
    etc.mkdir()
    os.chown(home, SOMEBODY, SOMEBODY)
    (home / "locks").symlink_to(etc)
    NameLock(home / "locks", "night").take()
    assert {each.stat().st_uid for each in everything_below(etc)} == {0}
    secret = tmp_path / "secret"
    secret.touch(0o600)
    (home / "link").symlink_to(secret)
    os.link(secret, home / "name")
    private_files.give_to_owner(str(home / "link"), str(home))
    private_files.give_to_owner(str(home / "name"), str(home))
    assert secret.stat().st_uid == 0


def test_who_else_can_use_a_directory_is_said(tmp_path: Path) -> None:
    """What supervisor did not make is not narrowed, but can be named."""
    said = {}
    for mode in (0o700, 0o750, 0o755, 0o770, 0o777):
        tmp_path.chmod(mode)
        said[mode] = private_files.openness(str(tmp_path))
    tmp_path.chmod(0o700)
    assert said == {
        0o700: "",
        0o750: "its group can read it (mode 0750)",
        0o755: "others can read it (mode 0755)",
        0o770: "its group can write to it (mode 0770)",
        0o777: "others can write to it (mode 0777)",
    }
    assert private_files.openness(str(tmp_path / "missing")) == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_a_folder_above_that_everybody_may_write_to_is_named(tmp_path: Path) -> None:
    """Whoever may write to it can rename what is below, unless it has the sticky bit, as /tmp has."""
    above = tmp_path / "shared"
    state = above / "mine" / "state"
    state.mkdir(parents=True)
    said = {}
    for mode in (0o755, 0o775, 0o1777, 0o777):
        above.chmod(mode)
        said[mode] = private_files.replaceable_at(str(state))
    assert said == {0o755: "", 0o775: "", 0o1777: "", 0o777: str(above)}
