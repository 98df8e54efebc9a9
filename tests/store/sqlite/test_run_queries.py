"""What came before a run, as the journal tells it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_kit import NOON, Clock

from supervisor._models import Outcome
from supervisor._models.parts import MOST_IN_A_ROW, Past
from supervisor._store import EndedRun, StartedRun
from supervisor._store.sqlite import Journal
from supervisor.models import ErrorDetails

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

S, F, D, T = Outcome.SUCCESS, Outcome.FAILURE, Outcome.DIED, Outcome.TERMINATED
I, C, K = Outcome.INTERRUPTED, Outcome.CANCELLED, Outcome.SKIPPED  # noqa: E741 - one letter for each outcome
DAY_S = 86_400.0


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Open a journal for one test."""
    it = Journal(tmp_path, clock=Clock())
    yield it
    it.close()


def write(journal: Journal, name: str, outcomes: Iterable[Outcome | None], **facts: Any) -> None:
    """Write runs down, oldest first, one a day; None leaves one under way."""
    for n, outcome in enumerate(outcomes):
        started_at_s = NOON + n * DAY_S
        journal.start_run(StartedRun(id=f"{name}-{n}", name=name, started_at_s=started_at_s))
        if outcome is not None:
            end = EndedRun(outcome=outcome, ended_at_s=started_at_s + 60.0, duration_s=60.0 + n, **facts)
            journal.end_run(f"{name}-{n}", end)


def test_nothing_came_before_the_first_run(journal: Journal) -> None:
    """A name that is new has no past, not even itself."""
    write(journal, "a", [None])
    assert journal.past("a", before="a-0") == Past()
    assert journal.past("unknown") == Past()


def test_the_last_runs_come_with_what_they_recorded(journal: Journal) -> None:
    """The newest run is first, with its outcome, start, duration, values and the fingerprint of its error."""
    write(journal, "a", [S], values={"rows": 12, "source": "\ud800"})
    write(journal, "b", [S])
    error = ErrorDetails(type="E", fingerprint="abc")
    journal.start_run(StartedRun(id="x", name="a", started_at_s=NOON + 5))
    journal.end_run("x", EndedRun(outcome=F, ended_at_s=NOON + 9, duration_s=4.0, error=error))
    newest, oldest = journal.past("a").runs
    assert (newest.outcome, newest.fingerprint, dict(newest.values), newest.duration_s) == (F, "abc", {}, 4.0)
    assert (oldest.outcome, dict(oldest.values)) == (S, {"rows": 12, "source": "\ud800"})
    assert oldest.started_at == datetime.fromtimestamp(NOON, UTC)


@pytest.mark.parametrize(
    ("outcomes", "successes", "failures", "since"),
    [
        ([], 0, 0, None),
        ([S], 1, 0, None),
        ([F, S, S], 2, 0, None),
        ([S, F], 0, 1, 1),
        ([S, F, D, T], 0, 3, 1),
        ([F, F], 0, 2, 0),
        ([S, F, I, C, K, F, K], 0, 2, 1),
        ([F, S, K, S, I], 2, 0, None),
        ([K, I], 0, 0, None),
        ([S, F, None], 0, 1, 1),
    ],
)
def test_streaks_are_counted(
    journal: Journal, outcomes: list[Outcome | None], successes: int, failures: int, since: int | None
) -> None:
    """What ended alike in a row is counted; runs that were stopped or skipped neither count nor end the row."""
    write(journal, "a", [*outcomes, None])
    past = journal.past("a", before=f"a-{len(outcomes)}")
    assert (past.successes, past.failures) == (successes, failures)
    started = None if since is None else datetime.fromtimestamp(NOON + since * DAY_S, UTC)
    assert past.failing_since == started


def test_what_came_later_is_no_past(journal: Journal) -> None:
    """Of an earlier run, under way or ended, only what came before it is told; who asks may be another process."""
    write(journal, "a", [S, S, F, None, F, F])
    for reader in (journal, Journal(Path(journal.path).parent)):
        assert journal.past("a", before="a-2") == reader.past("a", before="a-2")
        assert (reader.past("a", before="a-2").successes, reader.past("a", before="a-3").failures) == (2, 1)
        assert (reader.past("a").failures, reader.past("a", before="nobody").failures) == (3, 3)
        reader.close()


@pytest.mark.parametrize(("outcome", "other"), [(S, F), (F, S)])
def test_long_streaks_are_counted_beyond_the_last_runs(journal: Journal, outcome: Outcome, other: Outcome) -> None:
    """A row of 40 is counted whole, though only 30 runs are told one by one."""
    write(journal, "a", [outcome, other, *[outcome] * 20, K, *[outcome] * 20])
    past = journal.past("a")
    assert len(past.runs) == 30
    assert (past.successes, past.failures) == ((40, 0) if outcome is S else (0, 40))
    assert past.failing_since == (None if outcome is S else datetime.fromtimestamp(NOON + 2 * DAY_S, UTC))


def test_successes_behind_many_failures_complete_a_baseline(journal: Journal) -> None:
    """A baseline has its 20 successes, however many runs failed since; no more are read than it lacks."""
    write(journal, "a", [*[S] * 40, *[F] * 25, *[S] * 7])
    past = journal.past("a")
    assert [each.outcome for each in past.earlier_successes] == [S] * 13
    assert past.earlier_successes[0].started_at == datetime.fromtimestamp(NOON + 39 * DAY_S, UTC)
    write(journal, "b", [S] * 31)
    assert journal.past("b").earlier_successes == ()


def test_endless_streaks_are_counted_to_a_bound_and_fast(journal: Journal) -> None:
    """Among very many runs of a name the past costs no more than among few."""
    row = "INSERT INTO run (id, name, outcome, started_at, host, pid, process_started, user, python) "
    with journal._database.write() as connection:
        connection.executemany(
            row + "VALUES (?, 'a', 'success', ?, 'h', 1, 's', 'u', '3')", [(str(n), NOON + n) for n in range(20_000)]
        )
    began = time.perf_counter()
    past = journal.past("a", before="19999")
    assert time.perf_counter() - began < 0.5  # a millisecond, on a machine that does nothing else
    assert (past.successes, past.runs[0].duration_s) == (MOST_IN_A_ROW, 0.0)


def test_values_that_cannot_be_read_are_left_out(journal: Journal) -> None:
    """Values of a newer version, or spoilt ones, do not keep a message from being composed."""
    write(journal, "a", [S], values={"n": 1})
    with journal._database.write() as connection:
        connection.execute("""UPDATE run SET "values" = ?""", (b'{"$":"Later","v":1}',))
    assert dict(journal.past("a").runs[0].values) == {}


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([S, S, S, F, F, D, I, K]), max_size=70))
def test_streaks_agree_with_a_plain_count(tmp_path_factory: pytest.TempPathFactory, outcomes: list[Outcome]) -> None:
    """However runs ended, the journal counts as one counts by hand."""
    journal = Journal(tmp_path_factory.mktemp("past"))
    try:
        with journal.one_commit():
            write(journal, "a", outcomes)
        past = journal.past("a")
    finally:
        journal.close()
    decisive = [each is S for each in reversed(outcomes) if each in (S, F, D)]
    row = next((n for n, each in enumerate(decisive) if each != decisive[0]), len(decisive))
    expected = (0, 0) if not decisive else (row, 0) if decisive[0] else (0, row)
    assert (past.successes, past.failures) == expected
    assert [run.outcome for run in past.runs] == outcomes[::-1][:30]
