"""What scripts say in plain words: one small row, and the same message whoever makes it."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_kit import NOON, Clock, notice, words

from supervisor._models.kinds import DeliveryState, Kind
from supervisor._store import Journal, StartedRun
from supervisor._store.notices import Notice, facts_of, more_of
from supervisor._store.processes import Process
from supervisor._store.sqlite.reader import Reader
from supervisor.models import Delivery, MessageDetails, Progress, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OURS, GONE = Process("gis1", 41, "boot:1"), Process("gis1", 40, "boot:1")
STARTED = StartedRun(
    id="r1",
    name="nightly",
    started_at_s=NOON,
    parent_id="r0",
    user="gis",
    argv=("a.py", "--all", "\udcff"),
    python="3.12.1",
    log_path="/var/log/a.log",
)
REPORT = RunReport(
    id="r1",
    name="nightly",
    started_at=datetime.fromtimestamp(NOON, UTC),
    parent_id="r0",
    host="gis1",
    pid=40,
    user="gis",
    argv=("a.py", "--all", "\udcff"),
    python="3.12.1",
    log_path=Path("/var/log/a.log"),
)


def journal_of(process: Process, directory: Path) -> Journal:
    """Return the journal as a process sees it, for whom one other process is gone."""
    return Journal(directory, clock=Clock(), this=lambda: process, gone=lambda other: other == GONE)


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    """Return the journal of a process that runs ``r1``."""
    journal = journal_of(OURS, state)
    journal.start_run(STARTED)
    yield journal
    journal.close()


def claimed(journal: Journal, handler: str = "mail") -> Delivery:
    """Claim a delivery, which must be there."""
    delivery = journal.claim(handler)
    assert delivery is not None
    return delivery


numbers = st.floats(0, 1e9, allow_nan=False)
instants = st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
progresses = st.none() | st.builds(Progress, done=st.integers(0, 9), total=st.none() | st.just(9), message=st.text())
recorded = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | numbers | st.text() | st.dates())


@settings(deadline=None, max_examples=150)
@given(
    subject=st.text(st.characters(exclude_categories=())),
    text=st.text(st.characters(exclude_categories=())),
    at=instants,
    clocks=st.tuples(numbers, numbers, st.none() | st.integers(0, 1 << 50)),
    values=recorded,
    progress=progresses,
)
def test_whoever_makes_the_message_makes_the_same(
    *,
    subject: str,
    text: str,
    at: datetime,
    clocks: tuple[float, float, int | None],
    values: Mapping[str, Any],
    progress: Progress | None,
) -> None:
    """The process that said it has the message in hand that another one reads after a kill, and it says all."""
    duration_s, cpu_s, memory = clocks
    said = Notice(
        "r1",
        "m1",
        at.timestamp(),
        duration_s,
        cpu_s,
        memory,
        subject.encode("utf-8", "surrogatepass"),
        text.encode("utf-8", "surrogatepass"),
        more_of(values, progress),
        facts_of(REPORT),
    )
    expected = MessageDetails(
        subject,
        text,
        id="m1",
        created_at=datetime.fromtimestamp(at.timestamp(), UTC),
        report=attrs.evolve(
            REPORT, duration_s=duration_s, cpu_s=cpu_s, peak_memory_bytes=memory, values=values, progress=progress
        ),
    )
    with tempfile.TemporaryDirectory() as directory:
        writer = journal_of(GONE, Path(directory))
        writer.start_run(STARTED)
        (put,) = writer.put_notice(said, ["mail"])
        writer.close()
        assert not isinstance(put, Delivery)
        assert put.delivery().message == expected
        reader = journal_of(OURS, Path(directory))
        delivery = claimed(reader)
        reader.close()
    assert (delivery.key, delivery.handler, delivery.attempts) == (put.key, "mail", 0)
    assert delivery.message == expected


def test_what_was_said_is_leased_to_its_process(journal: Journal, state: Path) -> None:
    """Another process leaves it alone while the one that said it lives, and has it at once when that is gone."""
    other = journal_of(Process("gis1", 42, "boot:1"), state)
    journal.put_notice(words("r1"), ["mail"])
    assert other.claim("mail") is None
    assert other.next_due_s("mail") == 300
    assert other.waiting(["mail", "chat"]) == {"mail"}
    dead = journal_of(GONE, state)
    dead.start_run(STARTED._replace(id="r2"))
    dead.put_notice(words("r2", subject="of the dead"), ["mail"])
    assert claimed(other).message.subject == "of the dead"
    for each in (other, dead):
        each.close()


def test_who_only_reads_sees_it_under_the_key_that_it_keeps(journal: Journal, state: Path) -> None:
    """It is in the list, in the counts and in what is told of its run, before and after a delivery is made of it."""
    journal.put_notice(words("r1", subject="l\xe4uft"), ["mail", "chat"])
    reader = Reader(state, clock=Clock())
    before = reader.deliveries()
    assert [(each.handler, each.subject, each.kind, each.state) for each in before] == [
        ("mail", "l\xe4uft", Kind.NOTICE, DeliveryState.PENDING),
        ("chat", "l\xe4uft", Kind.NOTICE, DeliveryState.PENDING),
    ]
    keys = [each.key for each in before]
    assert reader.waiting_counts() == (2, 0)
    assert reader.waiting_of("r1") == frozenset(keys)
    assert reader.waiting_of("r") == frozenset()
    assert {key: each.state for key, each in reader.standings(keys).items()} == dict.fromkeys(keys, "pending")
    assert journal._store.rows("SELECT count(*) FROM said") == [(2,)]
    assert journal.waiting_by_handler() == {"chat": 1, "mail": 1}
    assert journal._store.rows("SELECT count(*) FROM said") == [(0,)]
    assert reader.deliveries() == before
    assert reader.waiting_of("r1") == frozenset(keys)
    reader.close()


def test_a_person_can_drop_and_retry_what_nobody_has_looked_at(journal: Journal) -> None:
    """The key that a list shows is good at once."""
    first, second = (journal.put_notice(words("r1"), ["mail"])[0] for _ in range(2))
    assert journal.drop(first.key)
    assert journal.retry(second.key)
    assert [each.key for each in journal.deliveries()] == [second.key]


def test_it_is_as_old_as_it_was_said(journal: Journal) -> None:
    """What was said before a message was put goes out before it, and what was said after it goes after it."""
    for subject in ("first", "third"):
        journal.put_notice(words("r1", subject=subject), ["mail"])
        journal.put(notice("second" if subject == "first" else "fourth"), ["mail"])
    seen = journal.deliveries()
    assert [each.subject for each in seen] == ["first", "second", "third", "fourth"]
    assert len({each.key for each in seen}) == 4


def test_of_a_run_that_is_noted_no_more_the_words_are_left(journal: Journal) -> None:
    """A message without its report is better than none, and nobody has a lease of it for ever."""
    journal.put_notice(words("r1", subject="s", text="t"), ["mail"])
    with journal.one_commit() as connection:
        connection.execute("DELETE FROM run")
    message = claimed(journal).message
    assert (message.subject, message.message, message.report) == ("s", "t", None)


def test_of_a_run_that_was_never_noted_a_whole_message_is_kept(journal: Journal) -> None:
    """Nobody else could tell what its report says."""
    said = words("unheard of")._replace(facts=facts_of(REPORT))
    (put,) = journal.put_notice(said, ["mail"])
    assert isinstance(put, Delivery)
    assert put.message == said.message()
    assert journal.deliveries()[0].key == put.key


def test_a_run_of_the_same_key_in_a_fresh_file_is_not_taken_for_it(journal: Journal, state: Path) -> None:
    """After the journal was set aside, a report never tells of another run."""
    for path in state.iterdir():
        path.rename(path.with_name(f"aside-{path.name}"))
    other = journal_of(GONE, state)
    other.start_run(STARTED._replace(id="r2", name="another"))
    journal.put_notice(words("r1", subject="s"), ["mail"])
    message = claimed(other).message
    assert (message.subject, message.report) == ("s", None)
    other.close()
