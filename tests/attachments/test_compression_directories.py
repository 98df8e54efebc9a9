"""A directory that is attached is read behind its walls, whatever somebody puts into it meanwhile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from supervisor._attachments.compression import Tree
from supervisor._attachments.sources import UnreadableFileError

if TYPE_CHECKING:
    from pathlib import Path

by_descriptors = pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="there are no descriptors of folders")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a directory that nobody has attached, with a secret in it."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    (directory / "rows.csv").write_text("secret")
    return directory


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a directory with a folder and a file in it."""
    folder = tmp_path / "results" / "march"
    folder.mkdir(parents=True)
    (folder / "rows.csv").write_text("a,b")
    return folder.parent


def swap(folder: Path, elsewhere: Path) -> None:
    """Put a link into the place of a folder."""
    folder.rename(folder.parent.parent / "gone")
    folder.symlink_to(elsewhere, target_is_directory=True)


def test_what_is_found_can_be_read(results: Path) -> None:
    """The entries come with their names in the archive, and each file can be opened."""
    with Tree(results) as tree:
        entries = list(tree.walk("results"))
        assert [each.name for each in entries] == ["results", "results/march", "results/march/rows.csv"]
        with tree.open(entries[2]) as source:
            assert b"".join(map(bytes, source.chunks())) == b"a,b"


@by_descriptors
def test_a_folder_that_became_a_link_is_not_followed(results: Path, elsewhere: Path) -> None:
    """A folder that somebody swaps for a link after it was listed leads nowhere, and the note says so."""
    with Tree(results) as tree:
        *_, found = tree.walk("results")
        swap(results / "march", elsewhere)
        with pytest.raises(UnreadableFileError, match="a link to elsewhere"):
            tree.open(found)


@by_descriptors
def test_a_folder_that_becomes_a_link_before_it_is_listed_is_left_out(results: Path, elsewhere: Path) -> None:
    """A folder that was found, and is a link when it is its turn, is left out with a note."""
    with Tree(results) as tree:
        entries = tree.walk("results")
        assert [next(entries).name, next(entries).name] == ["results", "results/march"]
        swap(results / "march", elsewhere)
        assert [(each.name, each.left_out) for each in entries] == [("results/march", "a link to elsewhere")]


@by_descriptors
def test_a_directory_that_is_moved_away_is_read_where_it_is(results: Path, elsewhere: Path) -> None:
    """What was opened stays what is read, even if its own name leads elsewhere by now."""
    with Tree(results) as tree:
        results.rename(results.with_name("moved"))
        results.symlink_to(elsewhere, target_is_directory=True)
        assert [each.name for each in tree.walk("results")] == ["results", "results/march", "results/march/rows.csv"]
