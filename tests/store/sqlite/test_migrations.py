"""Files that older versions wrote, as SQL dumps in ``older_files``: what waits in them is delivered.

Each was written by the code of its time: a run that succeeded, two that failed (their messages sent, waiting at "mail"
and refused by "chat"), and one that was killed while its notices were on their way.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from journal_kit import Clock, kill, output_of, python
from journalled import document

from supervisor._models import DeliveryState, Kind, Outcome
from supervisor._store import Journal
from supervisor._store.essentials import FILE_NAME
from supervisor._store.sqlite import JournalReader, journal_file, migrations, open_reader
from supervisor.models import MessageDetails, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLDER = Path(__file__).with_name("older_files")
VERSIONS = range(1, 6)
WITH_TABLE_SAID = 5
WAITING = [
    ("mail", "nightly parcels failed on gis1: KeyError 'apn'"),
    ("mail", "nightly parcels failed on gis1: KeyError 'apn'"),
    *(
        (handler, subject)
        for subject in ("Backup begun", "Backup l\xe4uft \\udcff", "Backup copying")
        for handler in ("mail", "chat")
    ),
]


def restore(state: Path, version: int, suffix: str = "") -> float:
    """Put the file of a version into a directory; return the instant of its last message, in seconds since 1970."""
    with closing(sqlite3.connect(state / FILE_NAME)) as connection:
        connection.executescript((OLDER / f"version_{version}{suffix}.sql").read_text("utf-8"))
        table = "delivery" if version == WITH_TABLE_SAID else "message"
        (newest_s,) = connection.execute(f"SELECT max(created_at) FROM {table}").fetchone()
    return float(newest_s)


def version_of(state: Path) -> int:
    """Return the version of the file."""
    with closing(sqlite3.connect(state / FILE_NAME)) as connection:
        return journal_file.version_of(connection)


@pytest.fixture
def opened(state: Path) -> Iterator[Callable[..., Journal]]:
    """Return what restores the file of a version and opens it, by default an hour after its last message."""
    journals: list[Journal] = []

    def open_version(version: int, *, later_s: float = 3600.0, **seams: Any) -> Journal:
        journal = Journal(state, clock=Clock(restore(state, version) + later_s), **seams)
        journals.append(journal)
        return journal

    yield open_version
    for each in journals:
        each.close()


def tables_of(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return the columns of each table, in their order, and what each index says."""
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found: dict[str, Any] = {name: connection.execute(f"PRAGMA table_xinfo({name})").fetchall() for name in names}
    for name in names:
        found[f"{name} has"] = sorted(row[1:] for row in connection.execute(f"PRAGMA index_list({name})"))
        found[f"{name} is"] = connection.execute(f"PRAGMA table_list({name})").fetchall()
    indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    return {**found, **{name: sql.split() for name, sql in indexes}}


@pytest.mark.parametrize("version", range(journal_file.VERSION))
def test_a_file_of_each_version_ends_with_the_tables_of_a_new_one(version: int) -> None:
    """A new file is begun with today's tables at once, and they are what all migrations lead to."""
    assert len(migrations.MIGRATIONS) == journal_file.VERSION
    with closing(sqlite3.connect(":memory:")) as new, closing(sqlite3.connect(":memory:")) as old:
        journal_file.bring_up_to_date(new)
        migrations.migrate(old, migrations.MIGRATIONS[:version])
        migrations.migrate(old)
        assert tables_of(old) == tables_of(new)
        assert journal_file.version_of(old) == journal_file.version_of(new) == journal_file.VERSION


def delivered(journal: Journal, handler: str) -> list[MessageDetails]:
    """Claim and settle all that waits for a handler."""
    messages = []
    while (delivery := journal.claim(handler)) is not None:
        messages.append(delivery.message)
        journal.settle(delivery, DeliveryState.SENT)
    return messages


@pytest.mark.parametrize("version", VERSIONS)
def test_what_waits_in_an_older_file_is_delivered(version: int, opened: Callable[..., Journal]) -> None:
    """Each handler gets what it has not sent, oldest first; what a handler refused can be tried again."""
    journal = opened(version)
    seen = journal.deliveries()
    assert [(each.handler, each.subject) for each in seen if each.state is DeliveryState.PENDING] == WAITING
    assert [(each.handler, each.attempts, each.last_error) for each in seen if each.state is DeliveryState.FAILED] == [
        ("chat", 1, "535 refused"),
        ("chat", 1, "535 refused"),
    ]
    to_mail, to_chat = delivered(journal, "mail"), delivered(journal, "chat")
    assert [each.kind for each in to_mail] == [*[Kind.FAILURE] * 2, *[Kind.NOTICE] * 3]
    assert to_chat == to_mail[2:]
    failure, begun, running, copying = to_mail[1:]
    assert failure.report is not None
    assert str(failure.report.error) == "KeyError 'apn'"
    assert [(each.subject, each.message) for each in (begun, running, copying)] == [
        ("Backup begun", "to /srv/backup"),
        ("Backup l\xe4uft \udcff", "7 files"),
        ("Backup copying", "half of it\nis there"),
    ]
    assert begun.attachments[0].path == Path("/srv/jobs/parcels.log")
    assert copying.report is not None
    assert (copying.report.values, copying.report.progress) == (
        {"files": 7, "day": date(2026, 3, 1)},
        Progress(done=3, total=10, message="copying"),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_runs_of_an_older_file_are_kept(version: int, opened: Callable[..., Journal]) -> None:
    """Outcomes, values, errors and how often failures were reported stand as they did."""
    journal = opened(version)
    under_way, *nightly = journal.runs()
    assert [each.report.outcome for each in nightly] == [Outcome.FAILURE, Outcome.FAILURE, Outcome.SUCCESS]
    assert (under_way.report.name, under_way.report.outcome) == ("hourly backup", None)
    assert nightly[-1].report.values["parcels"] == 812
    assert nightly[-1].stall_after_s == (900 if version > 1 else None)
    error = nightly[0].report.error
    assert error is not None
    assert journal.repeats("nightly parcels", error.fingerprint).held_back == 1


def test_plain_notices_of_version_5_say_all_that_they_said(opened: Callable[..., Journal]) -> None:
    """They stood in a table of their own, without the facts of their run, and are whole messages now."""
    journal = opened(WITH_TABLE_SAID)
    _, _, _, notice, last = delivered(journal, "mail")
    (run, *_) = journal.runs("hourly backup")
    report = notice.report
    assert report is not None
    assert (report.id, report.name, report.started_at) == (run.report.id, "hourly backup", run.report.started_at)
    assert (report.host, report.user, report.pid) == ("gis1", "gis", run.report.pid)
    assert report.argv == run.report.argv == ("/srv/jobs/parcels.py", "5")
    assert (report.python, report.log_path) == ("3.11.7", Path("/srv/jobs/parcels.log"))
    assert 0 < report.duration_s < last.report.duration_s  # type: ignore[union-attr]
    assert report.cpu_s is not None
    assert report.peak_memory_bytes is not None
    assert (report.outcome, report.progress, report.values) == (None, None, {"files": 7, "day": date(2026, 3, 1)})
    assert notice.created_at == datetime.fromtimestamp(notice.created_at.timestamp(), UTC)
    assert run.report.started_at < notice.created_at < last.created_at


def test_summaries_of_version_5_say_all_that_they_said(state: Path) -> None:
    """What messages compare with earlier runs is there, by whatever names it was stored."""
    journal = Journal(state, clock=Clock(restore(state, WITH_TABLE_SAID, "_summaries") + 3600))
    failure, recovery = delivered(journal, "mail")
    for expected in (
        "failed on gis1 after 97.4 ms. First failure after 8 successes.",
        "> 18 |         raise ValueError(",
        "It had come to 3 of 10 (30 %): copying",
        "In its log: 1 warning.",
        "Of the 8 runs before it, 8 succeeded, usually in less than 1 ms to 94.4 ms.",
        "number  7",
    ):
        assert expected in failure.message
    assert "parcels  812 (usually 801-806)" in recovery.message
    assert "Duration  1.89 ms (usually less than 1 ms to 94.4 ms)" in recovery.message
    journal.close()


def test_who_only_reads_sees_notices_of_version_5_under_the_keys_that_they_keep(state: Path) -> None:
    """They are in the list, in the counts and in what waits of their run, before and after the file is upgraded."""
    clock = Clock(restore(state, WITH_TABLE_SAID) + 3600)
    reader = JournalReader(state, clock=clock)
    before = reader.deliveries()
    assert [(each.handler, each.subject) for each in before if each.state is DeliveryState.PENDING] == WAITING
    assert reader.waiting_counts() == (8, 2)
    (run, *_) = reader.runs("hourly backup")
    keys = {each.key for each in before if each.subject.startswith("Backup")}
    assert reader.waiting_of(run.report.id) == keys == {7, 8, 9, 10, 11, 12}
    assert version_of(state) == WITH_TABLE_SAID
    journal = Journal(state, clock=clock)
    assert journal.deliveries() == before
    assert version_of(state) == journal_file.VERSION
    journal.close()
    reader.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_commands_that_only_read_leave_an_older_file_as_it_is(version: int, state: Path) -> None:
    """``supervisor outbox``, ``status`` and ``history`` show what waits and what ran."""
    restore(state, version)
    waiting = [each for each in document("outbox") if each["state"] == "pending"]
    assert [(each["handler"], each["subject"]) for each in waiting] == WAITING
    assert len(document("history")) == 4
    assert "hourly backup" in str(document("status"))
    assert version_of(state) == version


def test_notices_of_version_5_are_leased_to_the_process_of_their_run(opened: Callable[..., Journal]) -> None:
    """While it may be sending them nobody else does; when it is gone they are free at once."""
    journal = opened(WITH_TABLE_SAID, later_s=0.0)
    assert journal.claim("chat") is None
    assert journal.next_due_s("chat") == pytest.approx(300, abs=1)
    assert journal.waiting(["mail", "chat", "hook"]) == {"mail", "chat"}


def test_notices_of_a_process_that_is_gone_are_free_at_once(opened: Callable[..., Journal]) -> None:
    """Nobody waits for the end of its lease."""
    journal = opened(WITH_TABLE_SAID, later_s=0.0, gone=lambda process: process.host == "gis1")
    assert len(delivered(journal, "chat")) == 3


def test_a_notice_of_a_run_that_is_not_kept_has_no_report(state: Path) -> None:
    """A message without its report is better than none, and nobody has a lease of it for ever."""
    newest_s = restore(state, WITH_TABLE_SAID)
    with closing(sqlite3.connect(state / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE run SET id = 'another' WHERE name = 'hourly backup'")
    journal = Journal(state, clock=Clock(newest_s + 11))  # it no longer waits its turn behind
    notice, _ = delivered(journal, "chat")  # "Backup begun", which is still leased
    assert (notice.subject, notice.message, notice.report) == ("Backup l\xe4uft \udcff", "7 files", None)
    journal.close()


def test_a_person_can_drop_and_retry_by_the_keys_of_before(opened: Callable[..., Journal]) -> None:
    """The key that a list showed before the upgrade is good after it, and no new delivery gets it."""
    journal = opened(WITH_TABLE_SAID)
    assert journal.drop(12)
    assert journal.retry(11)
    assert [each.key for each in journal.deliveries() if each.subject == "Backup copying"] == [11]
    assert journal.put(MessageDetails("fresh"), ["mail"])[0].key == 13


def test_a_kill_while_a_file_is_upgraded_loses_nothing(state: Path) -> None:
    """The upgrade is one commit: the next process finds the file of before, and upgrades it."""
    restore(state, WITH_TABLE_SAID)
    upgrading = python(
        """
        import sys, time
        from supervisor._store import open_journal
        from supervisor._store.sqlite import migrations as upgrades
        make = upgrades.notices_to_deliveries
        def make_and_wait(connection):
            make(connection)
            print("made", flush=True)
            time.sleep(600)
        upgrades.notices_to_deliveries = make_and_wait
        open_journal(sys.argv[1])
        """.replace("\n        ", "\n"),
        state,
    )
    assert upgrading.stdout is not None
    assert upgrading.stdout.readline() == "made\n"
    kill(upgrading)
    assert version_of(state) == WITH_TABLE_SAID
    reader = open_reader(state)
    assert reader is not None
    assert reader.waiting_counts() == (8, 2)
    reader.close()
    counted = python(
        "import sys; from supervisor._store import open_journal; print(open_journal(sys.argv[1]).waiting_by_handler())",
        state,
    )
    assert output_of(counted) == "{'chat': 3, 'mail': 5}\n"
