"""What of a journal's runs a fleet has: in order, each end too, and nothing is deleted before."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from journal_kit import NOON, Clock, ended, record, started

from supervisor._models import Outcome
from supervisor._store import Journal
from supervisor._store.sqlite import replication
from supervisor._store.sqlite.replication import OpenRun, Replicated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TARGET = "gis1:5432/fleet"


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    """Return a journal that keeps three runs of a name."""
    made = Journal(state, keep_runs=3, clock=Clock(NOON + 3600))
    yield made
    made.close()


def keys(journal: Journal) -> list[int]:
    """Return the keys of all runs, oldest first."""
    return sorted(each.key for each in journal.runs(limit=1_000))


def test_without_a_fleet_old_runs_go(journal: Journal) -> None:
    """Nothing of the fleet changes what a machine without one keeps."""
    record(journal, *[Outcome.SUCCESS] * 10)
    journal.prune_runs("nightly")
    assert keys(journal) == [8, 9, 10]
    journal.replication().forget()  # nothing to forget


def test_runs_stay_until_the_fleet_has_them(journal: Journal) -> None:
    """A job a minute would reach the limit long before a fleet that is down comes back."""
    record(journal, *[Outcome.SUCCESS] * 10)
    log = journal.replication()
    assert log.begin(TARGET) == Replicated(0, 0, {}, NOON + 3600, 0)
    assert journal.prune_runs("nightly") == 0
    log.note(TARGET, high_key=4, base=0, open_runs={"nightly-x": OpenRun(2, 1)})
    journal.prune_runs("nightly")
    assert keys(journal) == [2, 5, 6, 7, 8, 9, 10]  # 2 has changed since the fleet got it, perhaps
    log.forget()
    journal.prune_runs("nightly")
    assert keys(journal) == [8, 9, 10]


def test_runs_that_are_too_old_stay_too(state: Path) -> None:
    """Both reasons to delete a run wait for the fleet."""
    clock = Clock(NOON)
    journal = Journal(state, keep_days=1, clock=clock)
    record(journal, *[Outcome.SUCCESS] * 4)
    journal.replication().begin(TARGET)
    clock.now += 5 * 86_400
    assert journal.prune_runs("nightly") == 0
    journal.replication().note(TARGET, high_key=2, base=0, open_runs={})
    assert journal.prune_runs("nightly") == 2
    assert keys(journal) == [3, 4]
    journal.close()


def test_beyond_a_limit_they_go_and_are_counted(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fleet that never comes back does not fill the disk; it is said once."""
    monkeypatch.setattr(replication, "UNSENT_LIMIT", 6)
    record(journal, *[Outcome.SUCCESS] * 10)
    log = journal.replication()
    log.begin(TARGET)
    log.note(TARGET, high_key=1, base=0, open_runs={})
    with caplog.at_level(logging.WARNING, "supervisor"):
        assert journal.prune_runs("nightly") == 4  # one that the fleet has, and three that it does not
        record(journal, Outcome.SUCCESS, since=NOON + 900)
        journal.prune_runs("nightly")
    assert keys(journal) == [6, 7, 8, 9, 10, 11]
    found = log.replicated(TARGET)
    assert found is not None
    assert found.lost == 4
    assert len(caplog.records) == 1
    assert "wait for the fleet" in caplog.text


def test_new_runs_are_read_in_order_and_ended_ones_again(journal: Journal) -> None:
    """What started after a key, oldest first; and by their keys those that were sent before they had ended."""
    journal.start_run(started("a"))
    record(journal, Outcome.SUCCESS, Outcome.FAILURE)
    log = journal.replication()
    assert [each.id for each in log.runs_after(0, 2)] == ["a", f"nightly-{NOON}-0"]
    assert [each.key for each in log.runs_after(2, 10)] == [3]
    assert [each.outcome for each in log.runs_of_keys([1])] == [None]
    journal.end_run("a", ended())
    assert [each.outcome for each in log.runs_of_keys([1, 77])] == ["success"]
    assert log.keys_of_ids(["a", "elsewhere"], 3) == {"a": 1}


def test_of_two_checks_at_once_the_larger_key_counts(journal: Journal) -> None:
    """What one has noted, a slower one does not take back; a fleet that was restored does."""
    log = journal.replication()
    log.begin(TARGET)
    log.note(TARGET, high_key=7, base=0, open_runs={"a": OpenRun(6, 1)})
    log.note(TARGET, high_key=5, base=0, open_runs={"b": OpenRun(5, 1)})
    assert log.begin(TARGET)[:3] == (7, 0, {"a": (6, 1), "b": (5, 1)})
    log.note(TARGET, high_key=2, base=0, open_runs={}, may_sink=True)
    assert log.begin(TARGET)[:3] == (2, 0, {})


def test_another_database_begins_anew(journal: Journal) -> None:
    """One that is no longer configured does not keep runs from being deleted."""
    log = journal.replication()
    log.begin(TARGET)
    log.note(TARGET, high_key=7, base=3, open_runs={})
    assert log.begin("gis2:5432/fleet").high_key == 0
    assert log.replicated(TARGET) is None
    log.note(TARGET, high_key=8, base=3, open_runs={})  # a check that still ran with the configuration before
    assert log.replicated(TARGET) is None


def test_a_fault_is_news_once(journal: Journal) -> None:
    """Also one that is known before the database is; what the database has stays noted."""
    log = journal.replication()
    assert log.note_fault("", "FLEET_URL is not set")
    assert not log.note_fault("", "FLEET_URL is not set")
    log.begin(TARGET)
    log.note(TARGET, high_key=7, base=2, open_runs={})
    assert not log.note_fault(TARGET, "")
    assert log.note_fault("", "FLEET_URL is not set")
    assert not log.note_fault(TARGET, "refused")
    assert log.begin(TARGET)[:2] == (7, 2)
    assert not log.note_fault(TARGET, "")
    assert log.note_fault(TARGET, "refused")
    assert log.note_fault("gis2:5432/fleet", "refused")
    assert log.begin(TARGET)[:2] == (7, 2)
