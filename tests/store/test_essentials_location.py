"""How much is kept, as the environment says."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from supervisor import supervise
from supervisor._store import open_journal, state_directory
from supervisor._store.essentials import limits

if TYPE_CHECKING:
    from pathlib import Path


def test_the_environment_says_how_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each limit has a variable; megabytes become bytes, and what is not said is not there."""
    assert limits() == {}
    monkeypatch.setenv("SUPERVISOR_KEEP_RUNS", "20")
    monkeypatch.setenv("SUPERVISOR_KEEP_DAYS", " 7 ")
    monkeypatch.setenv("SUPERVISOR_KEEP_COPIES_MB", "3")
    assert limits() == {"keep_runs": 20, "keep_days": 7, "copies_limit_bytes": 3 * 1024 * 1024}


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "\u0663"])
def test_a_wrong_limit_is_told_and_left_out(
    text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A number that is none is named with its variable; the default stays."""
    monkeypatch.setenv("SUPERVISOR_KEEP_RUNS", text)
    with caplog.at_level(logging.WARNING, logger="supervisor"):
        assert limits() == {}
    assert f"SUPERVISOR_KEEP_RUNS must be a whole number above 0, got {text!r}" in caplog.text


def test_runs_beyond_the_limit_are_pruned(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit of 5, hundreds of runs leave about as many as the limit and the hundred between two prunings."""
    monkeypatch.setenv("SUPERVISOR_KEEP_RUNS", "5")
    for _ in range(420):
        with supervise("night"):
            pass
    journal = open_journal(state_directory())
    assert 5 <= len(journal.runs("night", limit=1000)) <= 205
    journal.close()
    assert state.exists()
