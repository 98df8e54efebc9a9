"""A script may delete, rename and rewrite its files at any time, also on Windows, and while they are being read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor._attachments.sources import Source, UnreadableFileError

if TYPE_CHECKING:
    from pathlib import Path


def content(source: Source) -> bytes:
    """Read all of it."""
    return b"".join(map(bytes, source.chunks()))


def test_a_file_can_be_deleted_while_it_is_read(tmp_path: Path) -> None:
    """Who deletes it is not refused, and what was opened is read to its end."""
    path = tmp_path / "run ü.log"
    path.write_bytes(b"row\n" * 1000)
    with Source.open(path) as source:
        path.unlink()
        assert content(source) == b"row\n" * 1000
    assert not path.exists()


def test_a_file_can_be_renamed_and_written_while_it_is_read(tmp_path: Path) -> None:
    """As a log is that is rotated, and goes on."""
    path = tmp_path / "run.log"
    path.write_bytes(b"row\n")
    with Source.open(path) as source:
        with path.open("ab") as log:
            log.write(b"row 2\n")
        path.rename(tmp_path / "run.log.1")
        path.write_bytes(b"new\n")
        assert content(source) == b"row\n"
    assert path.read_bytes() == b"new\n"


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    """A file that is missing, and a path that no file can have."""
    for path in (tmp_path / "gone.log", tmp_path / "nul\0.log"):
        with pytest.raises(UnreadableFileError):
            Source.open(path)
