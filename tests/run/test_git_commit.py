"""Which commit is checked out, and its subject: in repositories that git has made, and in some made by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import pytest

from supervisor._run.git_commit import Commit, commit_of, subject_of

if TYPE_CHECKING:
    from pathlib import Path

ID = "3f2a1c" + 34 * "0"
COMMIT = f"tree {40 * '1'}\nauthor A <a@example.com> 0 +0000\n\njoin on apn\n\nAnd more.\n".encode()
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")
needs_owners = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files to another owner"
)


def give_away(path: Path) -> None:
    """Give a file to another owner."""
    if sys.platform != "win32":
        os.chown(path, 12345, -1)


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder without any configuration, and return what it prints."""
    outside = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    names = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    done = subprocess.run(
        ("git", "-C", str(folder), *arguments),
        env={**os.environ, **outside, **dict.fromkeys(names, "a@example.com")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Return a work tree of git with two commits."""
    folder = tmp_path / "made"
    folder.mkdir()
    git(folder, "init", "-q")
    for subject in ("first", "join on apn"):
        (folder / "script.py").write_text(subject)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", subject, "-m", "And more.")
    return folder


@pytest.fixture
def by_hand(tmp_path: Path) -> Path:
    """Return a work tree whose branch is a file, with its commit as a file of its own."""
    folder = tmp_path / "hand"
    (folder / ".git" / "refs" / "heads").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / ".git" / "refs" / "heads" / "main").write_text(f"{ID}\n")
    (folder / ".git" / "objects" / ID[:2]).mkdir(parents=True)
    data = zlib.compress(b"commit %d\0%s" % (len(COMMIT), COMMIT))
    (folder / ".git" / "objects" / ID[:2] / ID[2:]).write_bytes(data)
    return folder


def found(folder: Path) -> Commit:
    """Return the commit of a folder, which must be known."""
    commit = commit_of(str(folder))
    assert commit is not None
    return commit


@needs_git
def test_what_git_has_made_is_read(made: Path) -> None:
    """The commit is the one that git names, also from a folder within; its subject is the first line."""
    (made / "below").mkdir()
    commit = found(made / "below")
    assert commit.id == git(made, "rev-parse", "HEAD")
    assert subject_of(commit) == "join on apn"


@needs_git
@pytest.mark.parametrize("packing", [("pack-refs", "--all"), ("gc", "-q")])
def test_what_git_has_packed_is_read(made: Path, packing: tuple[str, ...]) -> None:
    """Branches may stand in one file, and objects in packs."""
    git(made, *packing)
    commit = found(made)
    assert commit.id == git(made, "rev-parse", "HEAD")
    assert subject_of(commit) in ("join on apn", "")  # a commit may be stored as a delta
    git(made, "checkout", "-q", "--detach", "HEAD~1")
    assert found(made).id == git(made, "rev-parse", "HEAD")


@needs_git
def test_a_second_work_tree_has_a_commit_of_its_own(made: Path, tmp_path: Path) -> None:
    """There ``.git`` is a file that names the folder."""
    other = tmp_path / "other"
    git(made, "worktree", "add", "-q", str(other), "-b", "other", "HEAD~1")
    commit = found(other)
    assert commit.id == git(other, "rev-parse", "HEAD") != found(made).id
    assert subject_of(commit) == "first"


def test_a_repository_made_by_hand_is_read(by_hand: Path) -> None:
    """Nothing but its files counts; a branch without a file stands in packed-refs."""
    assert found(by_hand).id == ID
    assert subject_of(found(by_hand)) == "join on apn"
    (by_hand / ".git" / "refs" / "heads" / "main").unlink()
    assert commit_of(str(by_hand)) is None  # a branch without a commit
    (by_hand / ".git" / "packed-refs").write_text(
        f"# pack-refs with: peeled\n{40 * 'e'} refs/heads/a\n{ID} refs/heads/main\n"
    )
    assert found(by_hand).id == ID


@pytest.mark.parametrize("head", ["", "ref: refs/heads/gone", "ref: ../../../etc/passwd", "no id", "\0", "ref: \0"])
def test_what_names_no_commit_is_none(by_hand: Path, head: str) -> None:
    """A repository may be damaged, or be written to at this moment."""
    (by_hand / ".git" / "HEAD").write_text(head)
    assert commit_of(str(by_hand)) is None


def test_a_commit_that_is_missing_has_no_subject(by_hand: Path) -> None:
    """That is so of a shallow copy of a repository, of which only some files were copied."""
    commit = found(by_hand)
    (by_hand / ".git" / "objects" / ID[:2] / ID[2:]).unlink()
    assert subject_of(commit) == ""


def test_no_repository_is_none(tmp_path: Path) -> None:
    """Neither a folder without one nor one that is gone is an error."""
    assert commit_of(str(tmp_path / "gone")) is None


@needs_owners
@pytest.mark.parametrize("given", ["", ".git"])
def test_nothing_is_read_in_a_repository_of_another_owner(by_hand: Path, given: str) -> None:
    """Neither where the work tree is theirs nor where the repository in it is."""
    give_away(by_hand / given)
    assert commit_of(str(by_hand)) is None


@needs_owners
def test_a_file_that_leads_to_a_repository_of_another_owner_is_not_followed(by_hand: Path, tmp_path: Path) -> None:
    """``.git`` may be a file that names any folder."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / ".git").write_text(f"gitdir: {by_hand / '.git'}\n")
    assert found(mine).id == ID
    give_away(by_hand / ".git")
    assert commit_of(str(mine)) is None
