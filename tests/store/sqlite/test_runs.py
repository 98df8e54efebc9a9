"""The record of runs: what is written down, what can be asked, and what is forgotten."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_kit import NOON, Clock, ended, first_line_of, kill, notice, output_of, python, record, started
from waiting import PATIENCE_S

from supervisor._alerts.deaths import died
from supervisor._models import Outcome
from supervisor._places import hostname
from supervisor._store import Journal, JournalUnavailable, open_journal
from supervisor._store.essentials import FILE_NAME, Surroundings
from supervisor._store.processes import Process, this_process
from supervisor._store.sqlite import open_reader, runs
from supervisor._store.sqlite.runs import _is_one_in
from supervisor.models import ErrorDetails, Progress, RunStep, RunWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILURE, SUCCESS, TERMINATED = Outcome.FAILURE, Outcome.SUCCESS, Outcome.TERMINATED


@pytest.fixture
def journal(state: Path, clock: Clock) -> Iterator[Journal]:
    """Return a journal with a clock that a test sets."""
    journal = Journal(state, clock=clock)
    yield journal
    journal.close()


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_a_run_that_goes_on_is_known(journal: Journal) -> None:
    """From its start on, a run is there with all that is known of it."""
    journal.start_run(
        started(
            "a",
            parent_id="p",
            user="gis",
            argv=("parcels.py", "--all", "\udcff"),
            python="3.12.1",
            log_path="/var/log/parcels.log",
            schedule="0 2 * * *",
            max_duration_s=3600.0,
            stall_after_s=60.0,
        )
    )
    run = journal.last_run("nightly")
    assert run is not None
    report, this = run.report, this_process()
    assert (report.id, report.name, report.outcome, report.parent_id) == ("a", "nightly", None, "p")
    assert (report.started_at, report.ended_at, report.duration_s) == (_at(NOON), None, 0.0)
    assert run.process == this
    assert (report.user, report.python) == ("gis", "3.12.1")
    assert (report.argv, report.log_path) == (("parcels.py", "--all", "\udcff"), Path("/var/log/parcels.log"))
    assert (run.schedule, run.max_duration_s, run.stall_after_s) == ("0 2 * * *", 3600.0, 60.0)
    assert (report.progress, run.progress_at, report.error, dict(report.values)) == (None, None, None, {})


def test_progress_is_known_with_its_time(journal: Journal, clock: Clock) -> None:
    """The last progress of a run that goes on is there, with the time at which it was noted."""
    journal.start_run(started("a"))
    clock.now = NOON + 30
    journal.progress("a", Progress(done=1, total=4))
    journal.progress("a", Progress(done=3, total=4, message="copying \ud800"))
    journal.progress("unknown", Progress(done=9))
    run = journal.last_run("nightly")
    assert run is not None
    assert run.report.progress == Progress(done=3, total=4, message="copying \ud800")
    assert run.progress_at == _at(NOON + 30)


def test_a_run_that_ended_is_known(journal: Journal) -> None:
    """After its end a run is there with its outcome and what it recorded, and the last progress stays."""
    error = ErrorDetails(type="KeyError", message="'geom'", where="parcels.py:41 in load", fingerprint="ff01")
    journal.start_run(started("a"))
    journal.progress("a", Progress(done=3))
    values = {"rows": 812, "share": 0.5, "at": _at(NOON), "none": None, "text": "\0é\ud800"}
    journal.end_run("a", ended(FAILURE, values=values, error=error, exit_code=3, cpu_s=1.5, peak_memory_bytes=1 << 33))
    run = journal.last_run("nightly")
    assert run is not None
    report = run.report
    assert (report.outcome, report.ended_at, report.duration_s) == (FAILURE, _at(NOON + 60), 60.0)
    assert (dict(report.values), report.error, report.progress) == (values, error, Progress(done=3))
    assert (report.exit_code, report.cpu_s, report.peak_memory_bytes) == (3, 1.5, 1 << 33)
    assert list(report.values) == list(values)


def test_the_end_may_tell_a_later_progress(journal: Journal) -> None:
    """Progress that comes with the end replaces what was noted before."""
    journal.start_run(started("a"))
    journal.progress("a", Progress(done=3))
    journal.end_run("a", ended(progress=Progress(done=4)))
    run = journal.last_run("nightly")
    assert run is not None
    assert (run.report.progress, run.progress_at) == (Progress(done=4), _at(NOON + 60))


def test_a_traceback_is_cut(journal: Journal) -> None:
    """A traceback of any length takes a bounded place, and says that something is left out."""
    journal.start_run(started("a"))
    journal.end_run("a", ended(FAILURE, error=ErrorDetails(type="E", traceback="x" * 1_000_000, fingerprint="f")))
    run = journal.last_run("nightly")
    assert run is not None
    assert run.report.error is not None
    assert len(run.report.error.traceback) < 17_000
    assert "left out" in run.report.error.traceback


def test_an_end_without_a_start_is_ignored(journal: Journal) -> None:
    """The end of a run that was not started here, or has ended, changes nothing."""
    journal.end_run("unknown", ended())
    journal.start_run(started("a"))
    journal.end_run("a", ended())
    journal.end_run("a", ended(FAILURE))
    assert [each.report.outcome for each in journal.runs()] == [SUCCESS]


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_a_run_of_any_name_is_found(name: str) -> None:
    """Whatever characters a name has, its runs are found under it."""
    journal = open_journal(_EVERY_NAME)
    record(journal, SUCCESS, name=name)
    assert journal.last_run(name) is not None
    assert journal.failures_since_success(name).failures == 0
    journal.close()


@pytest.fixture(autouse=True)
def _one_directory_for_all_names(tmp_path: Path) -> None:
    global _EVERY_NAME  # noqa: PLW0603 - hypothesis takes no fixtures that it would have to renew
    _EVERY_NAME = tmp_path


_EVERY_NAME = Path()


def test_the_newest_runs_come_first(journal: Journal) -> None:
    """Runs are told newest first, of one name or of all, and as many as asked for."""
    record(journal, SUCCESS, FAILURE, name="a")
    record(journal, TERMINATED, name="b")
    assert [each.report.outcome for each in journal.runs("a")] == [FAILURE, SUCCESS]
    assert [each.report.outcome for each in journal.runs()] == [TERMINATED, FAILURE, SUCCESS]
    assert [each.report.outcome for each in journal.runs(limit=1)] == [TERMINATED]
    assert journal.runs("c") == ()
    assert journal.last_run("c") is None


# Died runs

DIES = """
import sys, time
from supervisor._store import open_journal, StartedRun
from supervisor.models import Progress
journal = open_journal(sys.argv[1])
journal.start_run(StartedRun(id=sys.argv[2], name="nightly", started_at_s=time.time() - 100))
journal.progress(sys.argv[2], Progress(done=7, total=9))
print("started", flush=True)
sys.stdin.readline()
"""


def test_a_killed_run_is_found_with_its_last_progress(journal: Journal, state: Path) -> None:
    """A run whose process was killed is found as died; one whose process lives is not."""
    victim, living = python(DIES, state, "victim"), python(DIES, state, "living")
    first_line_of(victim)
    first_line_of(living)
    journal.start_run(started("own"))
    assert journal.died_runs("nightly") == ()
    kill(victim)
    (died,) = journal.died_runs("nightly")
    assert (died.report.id, died.report.progress) == ("victim", Progress(done=7, total=9))
    assert journal.died_runs("another") == ()
    assert journal.mark_died("victim")
    assert not journal.mark_died("victim")
    assert journal.died_runs("nightly") == ()
    (run,) = [each for each in journal.runs() if each.report.id == "victim"]
    assert (run.report.outcome, run.report.ended_at) == (Outcome.DIED, None)
    assert 90 < run.report.duration_s < 200
    output_of(living)


def test_what_dies_after_a_lonely_start_is_found_too(journal: Journal, state: Path) -> None:
    """A run that found no other at its start, as most do, still finds one that has died since when it asks again."""
    journal.start_run(started("own"))
    assert journal.died_runs("nightly") == ()
    victim = python(DIES, state, "victim")
    first_line_of(victim)
    kill(victim)
    assert [each.report.id for each in journal.died_runs("nightly")] == ["victim"]
    journal.start_run(started("another"))
    assert [each.report.id for each in journal.died_runs("nightly")] == ["victim"]


def test_runs_of_other_machines_are_left_alone(state: Path) -> None:
    """Whether a process on another machine lives cannot be told, so its runs never count as died."""
    other = Journal(state, this=lambda: Process("elsewhere", 1, "x"))
    other.start_run(started("a"))
    other.close()
    journal = open_journal(state)
    assert journal.died_runs("nightly") == ()
    journal.close()


def test_after_a_reboot_what_went_on_has_died(state: Path) -> None:
    """The same process number of an earlier boot does not keep a run alive."""
    before = this_process()._replace(started="0b9f3c1e-before-the-reboot:4711")
    journal = Journal(state, this=lambda: before)
    journal.start_run(started("a"))
    journal.close()
    journal = open_journal(state)
    is_known = this_process().started.count(":") == 1  # not in a container, whose namespace says nothing of that boot
    assert [each.report.id for each in journal.died_runs("nightly")] == (["a"] if is_known else [])
    journal.close()


MARKER = """
import sys
from supervisor._store import open_journal
from supervisor.models import MessageDetails
journal = open_journal(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for run in journal.died_runs("nightly"):
    with journal.one_commit():
        if journal.mark_died(run.report.id):
            journal.put(MessageDetails(run.report.id), ["mail"])
journal.close()
"""


def test_each_died_run_is_told_once(state: Path) -> None:
    """Of many processes that find the same died runs, exactly one tells of each."""
    gone = Process(hostname(), 2**22 + 1, this_process().started)
    journal = Journal(state, this=lambda: gone)
    for n in range(20):
        journal.start_run(started(f"{n}"))
    journal.close()
    markers = [python(MARKER, state) for _ in range(4)]
    for each in markers:
        assert first_line_of(each) == "ready"
    for each in markers:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in markers:
        output_of(each)
    journal = open_journal(state)
    assert sorted(int(each.subject) for each in journal.deliveries()) == list(range(20))
    assert {each.report.outcome for each in journal.runs()} == {Outcome.DIED}
    journal.close()


def test_a_kill_between_marking_and_telling_loses_neither(state: Path) -> None:
    """When the process that reports a died run is killed before its message is stored, the next one reports it."""
    gone = Process(hostname(), 2**22 + 1, this_process().started)
    journal = Journal(state, this=lambda: gone)
    journal.start_run(started("a"))
    journal.close()
    code = (
        "import os, sys; from supervisor._store import open_journal\n"
        "journal = open_journal(sys.argv[1])\n"
        "with journal.one_commit():\n"
        "    assert journal.mark_died('a')\n"
        "    os._exit(9)\n"
    )
    reporting = python(code, state)
    reporting.communicate(timeout=PATIENCE_S)
    assert reporting.returncode == 9
    journal = open_journal(state)
    with journal.one_commit():
        assert journal.mark_died("a")
        journal.put(notice(), ["mail"])
    assert len(journal.deliveries()) == 1
    journal.close()


# Failures in a row, and repeats


@pytest.mark.parametrize(
    ("outcomes", "failures", "first"),
    [
        ([], 0, None),
        ([SUCCESS], 0, None),
        ([FAILURE, SUCCESS], 0, None),
        ([SUCCESS, FAILURE, FAILURE], 2, 1),
        ([FAILURE, TERMINATED], 2, 0),
        ([SUCCESS, FAILURE, Outcome.INTERRUPTED, Outcome.SKIPPED, FAILURE, Outcome.CANCELLED], 2, 1),
        ([FAILURE] * 700, 700, 0),
        ([SUCCESS, *[FAILURE] * 22], 22, 1),
    ],
)
def test_failures_in_a_row_are_counted(
    journal: Journal, outcomes: list[Outcome], failures: int, first: int | None
) -> None:
    """Failures are counted back to the last success; what was interrupted or skipped neither counts nor ends it."""
    with journal.one_commit():
        record(journal, SUCCESS, FAILURE, name="another")
        record(journal, *outcomes)
        journal.start_run(started("under way"))
    streak = journal.failures_since_success("nightly")
    assert streak == (failures, None if first is None else _at(NOON + 60 * first))


def test_repeats_are_counted_since_one_was_told(journal: Journal, clock: Clock) -> None:
    """It is known when an equal failure was last told, and how many were held back since."""
    assert journal.repeats("nightly", "f1") == (None, 0)
    journal.mark_held_back("nightly", "f1")
    assert journal.repeats("nightly", "f1") == (None, 0)
    journal.mark_notified("nightly", "f1")
    for _ in range(3):
        clock.now += 10
        journal.mark_held_back("nightly", "f1")
    assert journal.repeats("nightly", "f1") == (_at(NOON), 3)
    assert journal.repeats("nightly", "f2") == (None, 0)
    assert journal.repeats("another", "f1") == (None, 0)
    journal.mark_notified("nightly", "f1")
    assert journal.repeats("nightly", "f1") == (_at(NOON + 30), 0)


# Pruning


def _many(state: Path, **options: Any) -> Journal:
    journal = Journal(state, **options)
    with journal.one_commit():
        record(journal, *[SUCCESS] * 30, name="often")
        record(journal, SUCCESS, SUCCESS, name="seldom")
    return journal


def test_only_so_many_runs_of_a_name_are_kept(state: Path) -> None:
    """Of a name the newest runs are kept and the oldest forgotten; other names are left alone."""
    journal = _many(state, keep_runs=10)
    assert journal.prune_runs("often") == 20
    assert journal.prune_runs("often") == 0
    assert [each.report.started_at for each in journal.runs("often")] == [_at(NOON + 60 * n) for n in range(29, 19, -1)]
    assert len(journal.runs("seldom")) == 2
    journal.close()


def test_old_runs_of_all_names_are_forgotten_but_the_newest(state: Path) -> None:
    """What is older than so many days goes, whatever its name, yet of each name the newest run stays."""
    clock = Clock()
    journal = _many(state, keep_days=10, clock=clock)
    journal.mark_notified("seldom", "f")
    clock.now += timedelta(days=11).total_seconds()
    record(journal, SUCCESS, name="new", since=clock.now)
    journal.prune_runs("new")
    assert {each.report.name: each.report.started_at for each in journal.runs()} == {
        "often": _at(NOON + 60 * 29),
        "seldom": _at(NOON + 60),
        "new": _at(clock.now),
    }
    assert journal.repeats("seldom", "f") == (None, 0)
    journal.close()


def test_runs_prune_by_themselves(state: Path) -> None:
    """However many runs there are, a name holds little more than the bound, without anybody asking."""
    journal = Journal(state, keep_runs=50)
    with journal.one_commit():
        record(journal, *[SUCCESS] * 1_500)
    assert 50 <= len(journal.runs("nightly", limit=2_000)) < 500
    journal.close()


def test_what_was_around_runs_goes_with_the_last_run_that_has_it(state: Path) -> None:
    """A script whose surroundings are others each time does not fill the journal. Those of runs under way stay."""
    clock = Clock()
    journal = Journal(state, keep_runs=10, clock=clock)
    shared = journal.keep_surroundings(Surroundings(b"shared", facts=b"{}"))
    for number in range(30):
        own = journal.keep_surroundings(Surroundings(b"own %d" % number))
        for name, around in (("steady", shared), ("odd", own)):
            journal.start_run(started(f"{name}-{number}", name=name))
            journal.end_run(f"{name}-{number}", ended(SUCCESS)._replace(surroundings=around))
    clock.now += timedelta(days=3).total_seconds()
    under_way = journal.keep_surroundings(Surroundings(b"under way"))
    journal.start_run(started("steady-30", name="steady"))
    journal.prune_runs("steady")
    journal.prune_runs("odd")
    journal.end_run("steady-30", ended(SUCCESS)._replace(surroundings=under_way))
    for name in ("steady", "odd"):
        known = [journal.surroundings_of(run) for run in journal.runs(name)]
        assert len(known) == 10
        assert None not in known
    with closing(sqlite3.connect(state / FILE_NAME)) as connection:
        assert connection.execute("SELECT count(*) FROM surroundings").fetchone() == (12,)
    journal.close()


@pytest.mark.parametrize("rhythm", [1, 2, 24, 100, 1_000])
def test_every_name_gets_its_turn_to_prune(rhythm: int) -> None:
    """One key in a hundred prunes, also among those of a name that runs in a fixed rhythm with others."""
    chosen = sum(_is_one_in(100, key) for key in range(7, 10_000 * rhythm, rhythm))
    assert 50 < chosen < 200


def test_pruning_that_finds_the_journal_locked_harms_no_run(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When old runs cannot be deleted now, the end of the run is noted all the same."""

    class Locked(Journal):
        def prune_runs(self, name: str) -> int:
            raise JournalUnavailable("/state/journal.sqlite3", "database is locked")

    journal = Locked(state)
    with journal.one_commit():
        record(journal, *[SUCCESS] * 300)
    assert {each.report.outcome for each in journal.runs(limit=300)} == {SUCCESS}
    journal.close()


def test_logs_are_found_where_the_state_directory_was_moved(tmp_path: Path) -> None:
    """The path of a run's own log is kept relative to the journal's directory; that of any other log as it is."""
    before, after = tmp_path / "before", tmp_path / "after"
    own = before / "logs" / "nightly" / "1.log"
    journal = Journal(before)
    journal.start_run(started("1", log_path=str(own)))
    journal.start_run(started("2", log_path="/var/log/nightly.log"))
    journal.start_run(started("3", log_path="logs/nightly.log"))
    assert [each.log_path for each in journal.runs()] == ["logs/nightly.log", "/var/log/nightly.log", str(own)]
    assert journal.runs()[-1].report.log_path == own
    journal.close()
    before.rename(after)
    moved = open_reader(after)
    assert moved is not None
    paths = [each.log_path for each in moved.runs()]
    assert paths == ["logs/nightly.log", "/var/log/nightly.log", str(after / "logs" / "nightly" / "1.log")]
    moved.close()


def test_a_journal_restored_from_a_copy_may_lack_the_ends_of_runs(state: Path, tmp_path: Path) -> None:
    """A run that was under way when the copy was made is not said to have died without a doubt; a later one is."""
    gone = this_process()._replace(pid=1 << 22)
    journal = Journal(state, clock=Clock(), this=lambda: gone)
    journal.start_run(started("1", "night"))
    assert [each.is_copied for each in journal.died_runs("night")] == [False]
    journal.close()
    copy = tmp_path / "copy"
    shutil.copytree(state, copy)
    journal.end_run("1", ended())
    journal.close()
    state.rename(tmp_path / "before")  # what is deleted may give its inode to the copy
    shutil.copytree(copy, state)
    restored = Journal(state, clock=Clock(), this=lambda: gone)
    (run,) = restored.died_runs("night")
    assert run.is_copied
    words = died(run, state=str(state), redact=str)
    assert "or it ended after the copy was made that is the journal now" in words.message
    restored.start_run(started("2", "night", started_at_s=time.time() + 1))
    assert [each.is_copied for each in restored.died_runs("night")] == [True, False]
    restored.close()
    again = Journal(state, this=lambda: gone)
    assert [each.is_copied for each in again.died_runs("night")] == [True, False]
    again.close()


def test_an_end_that_an_older_version_noted_is_merged(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lacks the columns that came later: warnings, attempts and steps."""
    whole = runs._end_row
    monkeypatch.setattr(runs, "_end_row", lambda end: whole(end)[:11])
    journal.start_run(started("a"))
    journal.note_end(started("a"), ended(FAILURE))
    journal.merge_noted_ends()
    (run,) = journal.runs()
    assert (run.outcome, run.warning_count, run.warnings, run.steps) == ("failure", 0, (), ())


def test_warnings_and_steps_are_noted_too(journal: Journal) -> None:
    """An end that the journal does not take now has its warnings and steps in the note."""
    warning, step = (
        RunWarning(text="slow", values={"s": 3}),
        RunStep(name="load", started_at=_at(NOON), outcome=SUCCESS),
    )
    end = ended(Outcome.WARNING)._replace(warnings=(warning,), warning_count=12, steps=(step,))
    journal.start_run(started("a"))
    journal.note_end(started("a"), end)
    journal.merge_noted_ends()
    (run,) = journal.runs()
    assert (run.outcome, run.warning_count, run.warnings, run.steps) == ("warning", 12, (warning,), (step,))
    assert journal.failures_since_success("nightly").failures == 0
