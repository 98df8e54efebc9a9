"""Deliveries that are held: in nobody's way, durable, with their attachments, until they are released or over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from journal_kit import Clock

from supervisor._attachments.originals import take
from supervisor._models import DeliveryState, Kind
from supervisor._store import Journal
from supervisor._store.essentials import NO_SET_TIME_S
from supervisor._store.sqlite import open_reader
from supervisor.models import MessageDetails

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def clock() -> Clock:
    """Return a clock to set."""
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Iterator[Journal]:
    """Return a journal."""
    journal = Journal(tmp_path / "state", clock=clock)
    yield journal
    journal.close()


def message(subject: str, kind: Kind = Kind.FAILURE, **fields: object) -> MessageDetails:
    """Return a message."""
    return MessageDetails(subject, kind=kind, **fields)  # type: ignore[arg-type]  # any field


def test_what_is_held_is_in_nobodys_way(journal: Journal, clock: Clock) -> None:
    """It is not claimed, not waited for and not listed as waiting; nothing behind it waits for it."""
    (held,) = journal.hold(message("held"), {"mail": (clock.now + 60, "quiet")}, "night")
    journal.put(message("later", Kind.NOTICE), ["mail"])
    assert [each.subject for each in journal.held()] == ["held"]
    assert [each.subject for each in journal.deliveries()] == ["later"]
    assert journal.waiting_by_handler() == {"mail": 1}
    claimed = journal.claim("mail")
    assert claimed is not None
    assert claimed.message.subject == "later"
    assert journal.claim("mail") is None
    assert journal.state_of(held) is DeliveryState.SENT, "nobody waits for it"


def test_what_is_released_is_sent_as_any_other(journal: Journal, clock: Clock, tmp_path: Path) -> None:
    """With its attachments as they were, also if it is another process that releases it."""
    log = tmp_path / "night.log"
    log.write_text("as it was")
    (held,) = journal.hold(message("held", attachments=log), {"mail": (clock.now + 60, "quiet")}, "night")
    journal.take_attachments(held, take)
    log.write_text("changed")
    other = Journal(tmp_path / "state", clock=clock)
    other.release_held([held.key])
    claimed = other.claim("mail")
    assert claimed is not None
    assert claimed.message.attachments[0].path.read_text() == "as it was"
    other.close()


def test_a_recovery_follows_its_alarm_that_was_passed_on(journal: Journal, clock: Clock) -> None:
    """Also while it is held: who got the alarm in the other's place is to know that it is over."""
    journal.put(message("failed"), ["chat"], name="night")
    (recovery,) = journal.hold(message("recovered", Kind.RECOVERY), {"chat": (clock.now + 60, "quiet")}, "night")
    alarm = journal.claim("chat")
    assert alarm is not None
    journal.pass_on(alarm, "mail", lambda each: each, error="refused", is_refused=True)
    assert journal.held() == ()
    assert [(each.handler, each.subject) for each in journal.deliveries()] == [
        ("mail", "failed"),
        ("mail", "recovered"),
    ]
    assert journal.state_of(recovery) is not DeliveryState.PENDING


def test_the_last_word_about_a_run_takes_the_place_of_those_before(journal: Journal, clock: Clock) -> None:
    """For the same handler and the same name; what a script says itself stays."""
    until = {"mail": (clock.now + 60, "quiet")}
    journal.hold(message("first"), until, "night")
    journal.hold(message("a notice", Kind.NOTICE), until, "night")
    journal.hold(message("of another run"), until, "day")
    journal.hold(message("for another handler"), {"chat": until["mail"]}, "night")
    journal.hold(message("last"), until, "night")
    subjects = [each.subject for each in journal.held()]
    assert subjects == ["a notice", "of another run", "for another handler", "last"]


def test_a_person_may_send_or_drop_what_is_held(journal: Journal, clock: Clock) -> None:
    """By its key, as what waits."""
    until = {"mail": (clock.now + 60, "mute")}
    (one,) = journal.hold(message("one"), until, "one")
    (two,) = journal.hold(message("two"), until, "two")
    assert journal.retry(one.key)
    assert journal.drop(two.key)
    claimed = journal.claim("mail")
    assert claimed is not None
    assert claimed.message.subject == "one"
    assert journal.held() == ()


def test_copies_of_attachments_go_with_what_is_dropped(journal: Journal, clock: Clock, tmp_path: Path) -> None:
    """No copy stays of what is over."""
    log = tmp_path / "night.log"
    log.write_text("text")
    (held,) = journal.hold(message("held", attachments=log), {"mail": (clock.now + 60, "quiet")}, "night")
    journal.take_attachments(held, take)
    copies, _ = journal.copies
    assert [each.name for each in (tmp_path / "state").rglob("night.log")]
    journal.drop_held([held.key])
    assert not [each.name for each in (tmp_path / "state").rglob("night.log")], copies


def test_mutes_end_by_themselves(journal: Journal, clock: Clock) -> None:
    """At their time; one without a time lasts until it is ended. A reader shows them too."""
    journal.mute("night", clock.now + 36_000)
    journal.mute("day", None, until_ok=True)
    assert list(journal.mutes()) == ["day", "night"]
    reader = open_reader(journal.directory)
    assert reader is not None
    assert {name: (each.until is None, each.until_ok) for name, each in reader.mutes().items()} == {
        "day": (True, True),
        "night": (False, False),
    }
    reader.close()
    clock.now += 36_000
    assert list(journal.mutes()) == ["day"]
    journal.mute("day", clock.now + 1)
    clock.now += 1
    assert journal.mutes() == {}


def test_a_time_without_end_can_be_stored(journal: Journal) -> None:
    """It comes back as the last instant that there is."""
    journal.hold(message("held"), {"mail": (float("inf"), "mute")}, "night")
    assert [each.until_s for each in journal.held()] == [NO_SET_TIME_S]
