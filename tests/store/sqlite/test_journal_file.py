"""Which file descriptors are the journal's."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from supervisor._store.sqlite import journal_file
from supervisor._store.sqlite.database import are_unchanged

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SQLite uses no descriptors there")


def test_only_those_of_the_database_count(tmp_path: Path) -> None:
    """What another thread of the script opens while the journal is opened is not the journal's, and may be closed."""
    database, log = tmp_path / "journal.sqlite3", tmp_path / "journal.sqlite3-wal"
    database.touch()
    log.touch()
    before = journal_file.open_now()
    opened = [os.open(path, os.O_RDONLY) for path in (database, log, tmp_path)]
    try:
        found = journal_file.of_database(journal_file.open_now() - before, str(database))
    finally:
        os.close(opened[2])
    assert [number for number, _ in found] == sorted(opened[:2])
    assert are_unchanged(found)
    for number in opened[:2]:
        os.close(number)
    assert not are_unchanged(found)
