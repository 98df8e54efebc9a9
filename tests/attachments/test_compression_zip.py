"""Directories become zip files of their own content; links that lead out are noted."""

from __future__ import annotations

import os
import random
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor._attachments import PackedAttachments, compression, packed
from supervisor.models import Attachment

if TYPE_CHECKING:
    from pathlib import Path

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs what only POSIX systems have")


def unzipped(path: Path, limit_bytes: int | None = None) -> tuple[PackedAttachments, dict[str, bytes]]:
    """Pack a directory and return the result, with the content of the entries by name."""
    with packed([Attachment(path)], limit_bytes=limit_bytes) as got:
        if not got.parts:
            return got, {}
        with zipfile.ZipFile(got.parts[0].path) as archive:
            assert archive.testzip() is None
            return got, {name: archive.read(name) for name in archive.namelist()}


def named_pipe(path: Path) -> None:
    """Make a named pipe, which blocks a reader that opens it."""
    if sys.platform != "win32":
        os.mkfifo(path)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a directory to pack."""
    path = tmp_path / "results"
    path.mkdir()
    return path


def test_a_directory_comes_back_as_it_was(results: Path) -> None:
    """An archive has all files and folders, empty ones too, below the directory's name."""
    (results / "a.csv").write_text("a,b\n" * 1000)
    (results / "sub" / "deep").mkdir(parents=True)
    (results / "sub" / "deep" / "b.txt").write_text("b")
    (results / "sub" / "zero").touch()
    (results / "empty").mkdir()
    got, content = unzipped(results)
    assert content == {
        "results/": b"",
        "results/a.csv": b"a,b\n" * 1000,
        "results/empty/": b"",
        "results/sub/": b"",
        "results/sub/deep/": b"",
        "results/sub/deep/b.txt": b"b",
        "results/sub/zero": b"",
    }
    assert got.notes == ()
    assert (got.parts[0].name, got.parts[0].content_type) == ("results.zip", "application/zip")


def test_an_empty_directory_is_an_archive_of_itself(results: Path) -> None:
    """An empty directory becomes an archive with the folder alone."""
    got, content = unzipped(results)
    assert content == {"results/": b""}
    assert got.notes == ()


def test_files_are_deflated_unless_they_are_compressed_already(results: Path) -> None:
    """Text is compressed; files that are compressed already are stored."""
    (results / "a.log").write_text("line\n" * 10_000)
    (results / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + random.Random(4).randbytes(1000))
    with packed([Attachment(results)]) as got, zipfile.ZipFile(got.parts[0].path) as archive:
        types = {info.filename: info.compress_type for info in archive.infolist() if not info.is_dir()}
        assert types == {"results/a.log": zipfile.ZIP_DEFLATED, "results/b.png": zipfile.ZIP_STORED}
        assert got.parts[0].size_bytes == got.parts[0].path.stat().st_size < 3000


@posix
def test_links_are_not_followed_out_of_the_directory(results: Path) -> None:
    """Links to files outside of the directory are not followed."""
    outside = results.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (results / "inside.txt").write_text("inside")
    (results / "latest.txt").symlink_to("inside.txt")
    (results / "absolute").symlink_to(outside / "secret")
    (results / "relative").symlink_to("../outside/secret")
    (results / "folder").symlink_to(outside)
    got, content = unzipped(results)
    assert content == {"results/": b"", "results/inside.txt": b"inside", "results/latest.txt": b"inside"}
    (note,) = got.notes
    assert note == (
        "results: without results/absolute (a link to elsewhere), results/folder (a link to a directory),"
        " results/relative (a link to elsewhere)"
    )


@posix
def test_loops_of_links_are_survived(results: Path) -> None:
    """Links to the link itself, to a directory or to nothing are noted, and not followed."""
    (results / "a.txt").write_text("a")
    (results / "self").symlink_to("self")
    (results / "up").symlink_to(".")
    (results / "dangling").symlink_to("nothing")
    got, content = unzipped(results)
    assert set(content) == {"results/", "results/a.txt"}
    (note,) = got.notes
    assert note == (
        "results: without results/dangling (a broken link), results/self (a broken link),"
        " results/up (a link to a directory)"
    )


@posix
def test_a_directory_reached_by_a_link_is_packed(results: Path) -> None:
    """A link to a directory that the script names is followed."""
    (results / "a.txt").write_text("a")
    (results / "b.txt").symlink_to("a.txt")
    link = results.parent / "latest"
    link.symlink_to(results)
    assert unzipped(link)[1] == {"latest/": b"", "latest/a.txt": b"a", "latest/b.txt": b"a"}


@posix
def test_special_files_are_skipped_and_named(results: Path) -> None:
    """Named pipes in a directory are left out without blocking; the note names three and counts the others."""
    for number in range(5):
        named_pipe(results / f"pipe{number}")
    (results / "a.txt").write_text("a")
    got, content = unzipped(results)
    assert set(content) == {"results/", "results/a.txt"}
    named = ", ".join(f"results/pipe{number} (a named pipe, not read)" for number in range(3))
    assert got.notes == (f"results: without {named} and 2 more",)


def test_a_directory_that_does_not_fit_is_left_out(results: Path) -> None:
    """An archive that does not fit is left out, and its file is removed."""
    (results / "noise.bin").write_bytes(random.Random(4).randbytes(3_000_000))
    (results / "a.txt").write_text("a")
    got, _ = unzipped(results, limit_bytes=1_000_000)
    assert got.parts == ()
    assert got.notes == ("results: left out, 2.86 MB is more than the 977 KB that fit",)


def test_the_archives_own_table_counts_too(results: Path) -> None:
    """The limit includes the archive's own directory, even when all files are empty."""
    for number in range(200):
        (results / f"{number}").touch()
    got, _ = unzipped(results, limit_bytes=5_000)
    assert got.parts == ()


def test_a_directory_does_not_pack_its_own_archive(results: Path) -> None:
    """An archive that is written into the packed directory does not contain itself."""
    (results / "a.txt").write_text("a" * 1000)
    with packed([Attachment(results)], directory=results) as got, zipfile.ZipFile(got.parts[0].path) as archive:
        assert [info.filename for info in archive.infolist() if not info.is_dir()] == ["results/a.txt"]
        assert got.notes == ()


def test_a_directory_with_too_many_files_is_left_out(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory with more than 20,000 entries is left out."""
    monkeypatch.setattr(compression, "ZIP_ENTRIES_LIMIT", 10)
    for number in range(10):
        (results / f"{number:02}").touch()
    assert len(unzipped(results)[1]) == 1 + 10
    (results / "10").touch()
    for limit_bytes in (None, 10_000):
        got, _ = unzipped(results, limit_bytes)
        assert got.notes == ("results: left out, more than 10 files and folders",)


@posix
@given(st.sets(st.binary(min_size=1, max_size=20).filter(lambda raw: not set(raw) & {0, 47}), max_size=8))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_names_make_a_readable_archive(tmp_path: Path, names: set[bytes]) -> None:
    """Names that are no valid UTF-8, or equal when printed, become distinct entries."""
    folder = tmp_path / "odd"
    folder.mkdir()
    try:
        for name in names - {b".", b".."}:
            (folder / os.fsdecode(name)).write_bytes(name)
        got, content = unzipped(folder)
        assert sorted(data for name, data in content.items() if name != "odd/") == sorted(names - {b".", b".."})
        assert got.notes == ()
        assert all("\\" not in name and name.isprintable() for name in content)
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


@pytest.mark.parametrize("mtime", [-1e10, 0, 1.7e9, 5e9, 1e13])
def test_odd_times_are_survived(results: Path, mtime: float) -> None:
    """Times before 1980 or after 2107, which zip files cannot hold, become 1980."""
    assert 1980 <= compression._date_time(mtime)[0] <= 2107
    (results / "a.txt").write_text("a")
    if abs(mtime) < 1e10:
        os.utime(results / "a.txt", (mtime, mtime))
    assert unzipped(results)[1]["results/a.txt"] == b"a"


@posix
def test_a_deep_directory_is_packed(results: Path) -> None:
    """A tree may be deeper than the system's longest path."""
    here = os.open(results, os.O_RDONLY)
    name = "d" * 200
    try:
        for _ in range(30):
            os.mkdir(name, dir_fd=here)
            below = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
    finally:
        os.close(here)
    got, content = unzipped(results)
    assert len(content) == 31
    assert got.notes == ()
