"""What tests of whole runs share: where the servers are, a state directory for each example, supervisor's log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

Fresh: TypeAlias = Callable[[], Path]


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fresh:
    """Return what makes a folder for one example, in which ``state`` is supervisor's state directory."""
    folders = iter(range(1_000_000))

    def folder() -> Path:
        path = tmp_path / str(next(folders))
        (path / "state").mkdir(parents=True)
        monkeypatch.setenv("SUPERVISOR_STATE", str(path / "state"))
        return path

    return folder


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return what supervisor logs, as a log file would have it; a test may change the command line meanwhile."""
    monkeypatch.setattr(sys, "argv", sys.argv)
    kept: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(self.format(record))

    logger, handler = logging.getLogger("supervisor"), Keeping()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield kept
    logger.removeHandler(handler)
    logger.setLevel(level)
