"""Who hears, and when: ``alert_after``, reminders, one reason, mutes and quiet times, with a clock to set."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from destinations import Clockwork, Mailbox

from supervisor._alerts.audience import quiet_span
from supervisor._models import values
from supervisor._runtime import using
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers import ConsoleHandler
from supervisor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo
    from pathlib import Path

    from supervisor.models import MessageDetails

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC).timestamp()
ERROR = TimeoutError("the server did not answer")


class Refuses(Mailbox):
    """Refuses failures for good, and takes the rest."""

    def send_message(self, details: MessageDetails, /) -> None:
        """Refuse a failure."""
        if details.kind == "failure":
            raise DeliveryError("no such channel", permanent=True)
        super().send_message(details)


@pytest.fixture
def clock(state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clockwork]:
    """Return a machine at noon; its messages are dated by its clock."""
    found = Clockwork(state, NOON)

    class Dates(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # no subclass is wanted
            return datetime.fromtimestamp(found.now_s, tz)

    monkeypatch.setattr(values, "datetime", Dates)
    found.settings["timezone"] = "UTC"
    with using(found.runtime):
        yield found
    found.journal.close()


def text_of(message: MessageDetails) -> str:
    """Return a message as one line."""
    return " ".join(message.message.split())


# alert_after


def test_a_failure_is_told_when_it_is_the_second_in_a_row(clock: Clockwork) -> None:
    """Those before it are shown; what is told once in a row is not repeated, and only what was told recovers."""
    box = Mailbox()
    for ends in "FSFSFFFS":
        clock.run("night", ERROR if ends == "F" else None, handlers=box, alert_after=2)
    failure, recovery = box.messages
    assert (failure.kind, recovery.kind) == ("failure", "recovery")
    text = text_of(failure)
    assert "Second run in a row that failed" in text
    assert text.index("TimeoutError: the server") < text.index("The failures before it 2026-03-02 12:00")
    assert "  2026-03-02 12:00  TimeoutError the server did not answer after " in failure.message
    assert "Before it, 3 runs failed in a row" in text_of(recovery)
    clock.run("night", ERROR, handlers=box, alert_after=2)
    assert len(box.messages) == 2, "the next row begins anew"


def test_who_asks_for_successes_gets_them_where_nothing_recovers(clock: Clockwork) -> None:
    """An untold failure is no reason to say nothing of the success after it."""
    box = Mailbox(kinds=["success", "failure", "recovery"])
    clock.run("night", ERROR, handlers=box, alert_after=2)
    clock.run("night", handlers=box, alert_after=2)
    assert box.taken() == ["success night"]


def test_each_handler_is_told_once_in_a_row(clock: Clockwork) -> None:
    """One that the first failures did not concern is told of the first that does."""
    network, rest = Mailbox(name="network", errors="OSError"), Mailbox(name="rest", not_errors="OSError")
    for error in (ERROR, ERROR, KeyError(), KeyError()):
        clock.run("night", error, handlers=[network, rest], alert_after=2)
    assert (network.taken(), rest.taken()) == (["failure night"], ["failure night"])
    clock.run("night", handlers=[network, rest], alert_after=2)
    assert (network.taken(), rest.taken()) == (["recovery night"], ["recovery night"])


def test_a_check_tells_what_has_failed_for_so_long(clock: Clockwork) -> None:
    """Also when no further run comes; a row that ends before is told to nobody."""
    box = Mailbox()
    clock.run("night", ERROR, handlers=box, alert_after="6h")
    clock.now_s += 5 * HOUR
    clock.check(box)
    assert box.taken() == []
    clock.now_s += HOUR
    clock.check(box)
    clock.check(box)
    assert box.taken() == ["failure night"]
    clock.run("night", ERROR, handlers=box, alert_after="6h")
    clock.run("night", handlers=box, alert_after="6h")
    assert box.taken() == ["recovery night"]
    clock.run("night", ERROR, handlers=box, alert_after="6h")
    clock.run("night", handlers=box, alert_after="6h")
    clock.now_s += DAY
    clock.check(box)
    assert box.taken() == []


def test_the_newest_failure_is_told_when_the_row_is_old_enough(clock: Clockwork) -> None:
    """Further failures take the place of the one that waits; the next run of any script lets it go as well."""
    box = Mailbox()
    clock.run("night", ERROR, handlers=box, alert_after="6h")
    clock.now_s += 3 * HOUR
    clock.run("night", KeyError("apn"), handlers=box, alert_after="6h")
    clock.now_s += 4 * HOUR
    clock.run("another", handlers=box)
    assert [each.subject.rpartition(": ")[2] for each in box.messages] == ["KeyError 'apn'"]


def test_without_a_journal_each_failure_is_told(clock: Clockwork) -> None:
    """Nothing is known of the failures before it."""
    box = Mailbox()
    clock.run("night", ERROR, handlers=box, alert_after=2, journal=False)
    assert box.taken() == ["failure night"]


@pytest.mark.parametrize("wrong", [0, -1, True, "", "soon", "0h", 2.5, "6 fortnights", [2]])
def test_a_wrong_rule_is_refused(wrong: object) -> None:
    """With the name of the setting and what it takes."""
    with pytest.raises(ConfigurationError, match="alert_after must be a number of failures from 1 up, or a duration"):
        Settings("night", alert_after=wrong)


@pytest.mark.parametrize(("given", "kept"), [(2, 2), ("2", 2), ("6h", "6h"), ("90 min", "90 min"), (None, None)])
def test_what_a_rule_may_be(given: object, kept: object) -> None:
    """A count, also as the text of an environment variable, or a duration."""
    assert Settings("night", alert_after=given).alert_after == kept


# remind_every


def test_a_check_reminds_of_what_still_fails(clock: Clockwork) -> None:
    """Once in so much time, those who were told, by the kind of the first alarm, until it is over."""
    box, silent = Mailbox(), Mailbox(name="silent", errors="KeyError")
    clock.run("night", ERROR, handlers=[box, silent], remind_every="1d")
    assert box.taken() == ["failure night"]
    clock.now_s += DAY - MINUTE
    clock.check(box, silent)
    assert box.taken() == []
    clock.now_s += 2 * MINUTE
    clock.check(box, silent)
    clock.check(box, silent)
    (reminder,) = box.messages
    assert reminder.subject.partition(" on ")[0] == "night still fails"
    assert "1 run in a row since 2026-03-02 12:00" in text_of(reminder)
    assert box.taken() == ["failure night"]
    clock.now_s += DAY
    clock.check(box, silent)
    assert box.taken() == ["failure night"]
    clock.run("night", handlers=[box, silent], remind_every="1d")
    clock.now_s += 2 * DAY
    clock.check(box, silent)
    assert box.taken() == ["recovery night"]
    assert silent.taken() == []


def test_a_check_reminds_of_what_is_still_missed(clock: Clockwork) -> None:
    """The reminder says how many starts were missed by now; the configuration may say how often it comes."""
    box = Mailbox()
    clock.runs["night"] = {"remind_every": "2d"}
    clock.run("night", handlers=box, schedule="0 2 * * *", timezone="UTC")
    clock.now_s += DAY
    clock.check(box)
    assert [each.kind for each in box.messages] == ["missed"]
    box.messages.clear()
    clock.now_s += 2 * DAY
    clock.check(box)
    clock.check(box)
    (reminder,) = box.messages
    assert reminder.kind == "missed"
    assert reminder.subject.startswith("Reminder: night missed 3 starts")


# One reason


def test_several_scripts_that_fail_for_one_reason_are_told_together(clock: Clockwork) -> None:
    """Three are told one by one, those after them in one message, which also counts for their recoveries."""
    box = Mailbox()
    clock.check(box)
    names = ("parcels", "roads", "dem", "lakes", "rivers")
    for each in names:
        clock.run(each, ConnectionRefusedError(111, "Connection refused"), handlers=box)
    clock.run("bug", KeyError("apn"), handlers=box)
    assert box.taken() == ["failure parcels", "failure roads", "failure dem", "failure bug"]
    clock.now_s += 5 * MINUTE
    clock.check(box)
    clock.check(box)
    (together,) = box.messages
    assert together.kind == "failure"
    assert together.subject.startswith("2 more scripts failed on ")
    assert together.subject.endswith("(lakes and rivers)")
    assert "parcels, roads and dem failed with it too" in text_of(together)
    box.messages.clear()
    clock.run("lakes", handlers=box)
    assert box.taken() == ["recovery lakes"]


def test_one_more_script_is_told_by_its_own_message(clock: Clockwork) -> None:
    """A list of one would say less; what is over when its time has come is not told."""
    box = Mailbox()
    clock.check(box)
    for each in ("parcels", "roads", "dem", "lakes", "rivers"):
        clock.run(each, ConnectionRefusedError(111, "Connection refused"), handlers=box)
    clock.run("rivers", handlers=box)
    box.messages.clear()
    clock.now_s += 5 * MINUTE
    clock.check(box)
    assert box.taken() == ["failure lakes"]


def test_a_service_that_keeps_incidents_gets_each_failure(clock: Clockwork) -> None:
    """One message about several scripts would open an incident that no recovery of a script resolves."""

    class Service(Mailbox):
        keeps_incidents = True

    box = Service()
    clock.check(box)
    for each in ("parcels", "roads", "dem", "lakes", "rivers"):
        clock.run(each, ConnectionRefusedError(111, "Connection refused"), handlers=box)
    assert len(box.messages) == 5


def test_without_checks_each_failure_is_told_at_once(clock: Clockwork) -> None:
    """Nobody might come to tell the others; nor are failures alike that only have an exit code in common."""
    box = Mailbox()
    for each in ("parcels", "roads", "dem", "lakes", "rivers"):
        clock.run(each, ConnectionRefusedError(111, "Connection refused"), handlers=box)
    assert len(box.messages) == 5


# Quiet times


def test_what_is_still_so_when_a_quiet_time_ends_is_told_then(clock: Clockwork) -> None:
    """Once, the newest; what is over is not told, and neither is its recovery. All is recorded."""
    box, other = Mailbox(quiet="20:00-06:00"), Mailbox(name="other")
    clock.now_s = NOON + 10 * HOUR
    for name, ends in (("bad", "FF"), ("good", "FS")):
        for each in ends:
            clock.run(name, ERROR if each == "F" else None, handlers=[box, other], timezone="UTC")
    clock.check(box, other)
    assert box.taken() == []
    assert other.taken() == ["failure bad", "failure bad", "failure good", "recovery good"]
    clock.now_s = NOON + 18 * HOUR
    clock.check(box, other)
    clock.check(box, other)
    assert box.taken() == ["failure bad"]
    clock.run("bad", handlers=[box, other], timezone="UTC")
    assert box.taken() == ["recovery bad"]


def test_what_is_urgent_is_told_in_a_quiet_time_and_so_is_its_end(clock: Clockwork) -> None:
    """Who was woken may go back to sleep; the rest waits."""
    box = Mailbox(quiet=["20:00-06:00"], urgent="failure")
    clock.now_s = NOON + 10 * HOUR
    clock.run("night", ERROR, handlers=box, timezone="UTC")
    clock.run("night", handlers=box, timezone="UTC")
    assert box.taken() == ["failure night", "recovery night"]


def test_a_recovery_of_what_was_told_before_waits_for_the_end(clock: Clockwork) -> None:
    """It is told once it is morning, unless the script fails again."""
    box = Mailbox(quiet="20:00-06:00")
    for name in ("one", "two"):
        clock.run(name, ERROR, handlers=box, timezone="UTC")
    assert box.taken() == ["failure one", "failure two"]
    clock.now_s = NOON + 10 * HOUR
    for name in ("one", "two"):
        clock.run(name, handlers=box, timezone="UTC")
    clock.run("two", ERROR, handlers=box, timezone="UTC")
    clock.now_s = NOON + 18 * HOUR
    clock.check(box)
    assert box.taken() == ["recovery one", "failure two"]


def test_what_a_script_says_in_a_quiet_time_is_said_in_the_morning(clock: Clockwork) -> None:
    """Notices all, of successes the last; what only says that something begins is left out."""
    from supervisor import supervise

    box = Mailbox(quiet="20:00-06:00", kinds=["start", "success", "notice", "failure"])
    clock.now_s = NOON + 10 * HOUR
    for count in (1, 2):
        with supervise("night", handlers=box, timezone="UTC") as run:
            run.notify(f"notice {count}")
    assert box.taken() == []
    clock.now_s = NOON + 18 * HOUR
    clock.check(box)
    assert sorted(each.subject.partition(" on ")[0] for each in box.messages) == [
        "night succeeded",
        "notice 1",
        "notice 2",
    ]


def test_a_quiet_time_that_is_configured_no_more_holds_nothing_back(clock: Clockwork) -> None:
    """Nor does one for a kind that has become urgent meanwhile; the next check sends what waits for its end."""
    clock.now_s = NOON + 10 * HOUR
    for number, after in enumerate((Mailbox(), Mailbox(quiet="20:00-06:00", urgent="failure"))):
        clock.run(f"night {number}", ERROR, handlers=Mailbox(quiet="20:00-06:00"), timezone="UTC")
        clock.check(after)
        assert after.taken() == [f"failure night {number}"]


def test_the_time_zone_of_the_run_counts_until_the_end(clock: Clockwork) -> None:
    """Also where a check, which has the machine's zone, looks at what is held."""
    box = Mailbox(quiet="20:00-06:00")
    clock.run("night", ERROR, handlers=box, timezone="Asia/Tokyo")  # where it is 21:00
    clock.now_s += MINUTE
    clock.check(box)
    assert box.taken() == []
    clock.now_s = NOON + 9 * HOUR
    clock.check(box)
    assert box.taken() == []
    clock.now_s = NOON + 18 * HOUR
    clock.check(box)
    assert box.taken() == ["failure night"]


def test_a_recovery_that_was_held_follows_an_alarm_that_was_passed_on(clock: Clockwork) -> None:
    """The reserve got the alarm, so it gets the end of it too; the first handler gets neither."""
    reserve = Mailbox(name="reserve")
    box = Refuses(quiet="20:00-06:00", fallback=reserve)
    clock.run("night", ERROR, handlers=box, timezone="UTC")
    assert reserve.taken() == ["failure night"]
    clock.now_s = NOON + 10 * HOUR
    clock.run("night", handlers=box, timezone="UTC")
    clock.now_s = NOON + 18 * HOUR
    clock.check(box, reserve)
    assert (box.taken(), reserve.taken()) == ([], ["recovery night"])


@pytest.mark.parametrize(
    ("times", "at", "span"),
    [
        ("20:00-06:00", "2026-03-02T19:59", None),
        ("20:00-06:00", "2026-03-02T20:00", ("2026-03-02T20:00", "2026-03-03T06:00")),
        ("20:00-06:00", "2026-03-03T05:59", ("2026-03-02T20:00", "2026-03-03T06:00")),
        ("20:00-06:00", "2026-03-03T06:00", None),
        ("9:00-17:30", "2026-03-02T12:00", ("2026-03-02T09:00", "2026-03-02T17:30")),
        (["20:00-23:00", "22:00-06:00"], "2026-03-02T22:30", ("2026-03-02T22:00", "2026-03-03T06:00")),
    ],
)
def test_when_it_is_quiet(times: str | list[str], at: str, span: tuple[str, str] | None) -> None:
    """From the first time of the day up to the second, by the time zone; times may pass midnight, and be several."""
    handler = ConsoleHandler(quiet=times)
    zone = "America/Denver"
    from zoneinfo import ZoneInfo

    def instant(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()

    found = quiet_span(handler, instant(at), zone)
    assert found == (None if span is None else tuple(map(instant, span)))


@pytest.mark.parametrize("wrong", ["20:00", "20-06", "24:00-06:00", "20:00-20:00", "20:60-06:00", 20, [None]])
def test_a_wrong_time_is_refused(wrong: object) -> None:
    """With an example."""
    with pytest.raises(ConfigurationError, match='ConsoleHandler: quiet must be times of the day like "20:00-06:00"'):
        ConsoleHandler(quiet=wrong)


# Mutes


def test_a_mute_keeps_quiet_about_a_script_alone(clock: Clockwork) -> None:
    """What is still so when it ends is told then, once; other scripts go on."""
    box = Mailbox()
    clock.journal.mute("night", clock.now_s + 2 * HOUR)
    clock.run("night", ERROR, handlers=box)
    clock.run("other", ERROR, handlers=box)
    clock.check(box)
    assert box.taken() == ["failure other"]
    clock.now_s += 2 * HOUR
    clock.check(box)
    clock.check(box)
    assert box.taken() == ["failure night"]


def test_a_mute_until_ok_ends_with_the_next_success(clock: Clockwork) -> None:
    """Of what was told before the mute, the recovery is told; of what was not, nothing."""
    box = Mailbox()
    clock.run("told", ERROR, handlers=box)
    assert box.taken() == ["failure told"]
    for name in ("told", "night"):
        clock.journal.mute(name, None, until_ok=True)
        clock.run(name, ERROR, handlers=box)
    clock.now_s += 10 * DAY
    clock.check(box)
    assert box.taken() == []
    for name in ("told", "night"):
        clock.run(name, handlers=box)
    assert box.taken() == ["recovery told"]
    assert clock.journal.mutes() == {}
    clock.run("night", ERROR, handlers=box)
    clock.check(box)
    assert box.taken() == ["failure night"]


def test_what_was_muted_is_told_when_a_person_ends_the_mute(clock: Clockwork) -> None:
    """With the next check."""
    box = Mailbox()
    clock.journal.mute("night", None, until_ok=True)
    clock.run("night", ERROR, handlers=box)
    assert clock.journal.unmute("night")
    assert not clock.journal.unmute("night")
    clock.check(box)
    assert box.taken() == ["failure night"]


def test_a_missed_start_of_a_muted_script_is_told_if_it_is_still_missed(clock: Clockwork) -> None:
    """A check holds what it finds, as a run does."""
    box = Mailbox()
    for name in ("back", "gone"):
        clock.run(name, handlers=box, schedule="0 2 * * *", timezone="UTC")
        clock.journal.mute(name, clock.now_s + 2 * DAY)
    clock.now_s += DAY
    clock.check(box)
    clock.run("back", handlers=box, schedule="0 2 * * *", timezone="UTC")
    clock.check(box)
    assert box.messages == []
    clock.now_s += DAY + HOUR
    clock.run("back", handlers=box, schedule="0 2 * * *", timezone="UTC")
    clock.check(box)
    assert [each.kind for each in box.messages] == ["missed"]
    assert box.messages[0].subject.startswith("gone missed")
