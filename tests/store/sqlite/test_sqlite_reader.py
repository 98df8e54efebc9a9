"""The journal as a person looks at it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from journal_kit import ended, started
from journalled import GONE, Past, invoke

from supervisor._models import Outcome
from supervisor._store import JournalUnavailable
from supervisor._store.sqlite import open_reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    """Return a journal to write into."""
    past = Past(tmp_path)
    yield past
    past.journal.close()


def test_where_none_was_begun_there_is_none(tmp_path: Path) -> None:
    """To look begins nothing, neither file nor folder."""
    assert open_reader(tmp_path / "missing") is None
    (tmp_path / "file").touch()
    assert open_reader(tmp_path / "file") is None
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_nothing_can_be_written(past: Past, tmp_path: Path) -> None:
    """There is nothing to write with, and the file refuses it."""
    past.run(outcome=None, by=GONE)
    past.message("a")
    reader = open_reader(tmp_path)
    assert reader is not None
    assert not {"mark_died", "put", "retry", "drop", "one_commit", "open_alert"} & set(dir(reader))
    with pytest.raises(JournalUnavailable, match="readonly database"):
        reader._database.rows("UPDATE run SET outcome = 'died'")
    with pytest.raises(JournalUnavailable, match="readonly database"):
        reader._database.rows("DELETE FROM delivery")
    reader.close()


def test_names_and_newest_runs_are_found_by_the_index(past: Past, tmp_path: Path) -> None:
    """Each name once, in order; the newest run of each, newest first."""
    for index in range(30):
        past.run(f"name {index % 3}", ago_s=100 - index, id=f"{index:04}")
    reader = open_reader(tmp_path)
    assert reader is not None
    assert reader.names() == ("name 0", "name 1", "name 2")
    assert [each.report.id for each in reader.newest_of_each(2)] == ["0029", "0028"]
    assert [run_id for run_id, _ in reader.successes("name 1", limit=2)] == ["0028", "0025"]
    assert [each.report.id for each in reader.with_id("001")] == [f"{index:04}" for index in range(19, 9, -1)]
    reader.close()


def test_an_empty_journal_has_nothing(past: Past, tmp_path: Path) -> None:
    """No runs, no names, no deliveries."""
    past.journal.prune_runs("x")  # begins the file
    reader = open_reader(tmp_path)
    assert reader is not None
    assert (reader.names(), reader.unended_runs(), reader.newest_of_each(), reader.runs()) == ((), (), (), ())
    assert (reader.waiting_counts(), reader.delivery_statuses([1, 2]), reader.nested_in("x")) == ((0, 0), {}, ())
    reader.close()


def test_standings_tell_what_became_of_deliveries(past: Past, tmp_path: Path) -> None:
    """Sent, pending, failed and dropped, however many are asked for at once."""
    past.message("pending", error="down")
    past.message("failed", error="535", failed=True)
    past.message("dropped")
    past.journal.drop(3)
    reader = open_reader(tmp_path)
    assert reader is not None
    found = reader.delivery_statuses(range(2_000))
    assert {key: (each.state, each.attempts, each.last_error) for key, each in found.items()} == {
        1: ("pending", 1, "down"),
        2: ("failed", 1, "535"),
        3: ("dropped", 0, ""),
    }
    reader.close()


def test_deliveries_of_a_run_are_told_from_those_of_inner_runs(past: Past, tmp_path: Path) -> None:
    """A message belongs to the run that wrote it, not to the outer one that its report names."""
    outer = past.run("outer")
    inner = past.run("inner", parent_id=outer)
    (of_outer,) = past.message("a", report=past.report(outer))
    (of_inner,) = past.message("b", report=past.report(inner))
    past.message("c")
    reader = open_reader(tmp_path)
    assert reader is not None
    assert reader.waiting_of(outer) == {of_outer}
    assert reader.waiting_of(inner) == {of_inner}
    reader.close()


def test_paths_with_any_characters_can_be_looked_at(tmp_path: Path) -> None:
    """Blanks, question marks, hashes, percent signs and letters of all kinds are part of a path."""
    folder = tmp_path / ("a b?c#d%20é&x" if sys.platform != "win32" else "a b#d%20é&x")
    past = Past(folder)
    past.run("here")
    past.journal.close()
    reader = open_reader(folder)
    assert reader is not None
    assert reader.names() == ("here",)
    reader.close()


def test_ends_that_are_noted_beside_the_file_are_shown(past: Past, tmp_path: Path) -> None:
    """An end that the journal did not take is shown as if it had, also of a run whose start it did not take."""
    with past.journal.one_commit():
        past.journal.start_run(started("begun", "night"))
    reader = open_reader(tmp_path)
    assert reader is not None
    assert [each.outcome for each in reader.unended_runs()] == [None]
    past.journal.note_end(started("begun", "night"), ended(Outcome.FAILURE))
    assert reader.unended_runs() == ()
    assert [each.outcome for each in reader.runs("night")] == ["failure"]
    past.journal.note_end(started("unseen", "night"), ended())
    assert [(each.id, each.outcome) for each in reader.runs("night")] == [("unseen", "success"), ("begun", "failure")]
    past.run("night", id="later")  # the file goes on, and the reader sees that too
    assert [each.id for each in reader.runs("night")] == ["unseen", "later", "begun"]
    past.journal.merge_noted_ends()
    assert [each.id for each in reader.runs("night")] == ["unseen", "later", "begun"]
    assert reader._database._current() is reader._database._connection, "nothing is noted any more"
    reader.close()


def test_commands_show_ends_that_are_noted_beside_the_file(state: Path) -> None:
    """Neither status nor history nor a check that writes nothing take such a run for one that is under way."""
    past = Past(state)
    past.journal.start_run(started("begun", "night"))
    past.journal.note_end(started("begun", "night"), ended(Outcome.FAILURE))
    for command in (["status"], ["history"], ["show", "night"], ["check", "--dry-run"]):
        shown = invoke(*command).stdout
        assert "under way" not in shown.replace("Nothing is under way", ""), shown
        assert "died" not in shown, shown
    assert "failure" in invoke("history").stdout
    past.journal.close()
