"""What a check finds and tells: once, and once that it is over. With a clock to set and processes to let die."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from recorders import Recorder

from supervisor._alerts import OF_A_CHECK
from supervisor._cli.checker import Check, Checked, Delivered, Result
from supervisor._config import UnusableHandler
from supervisor._config.configuration import Configuration
from supervisor._models import DeliveryState, Kind, Outcome
from supervisor._places import hostname
from supervisor._runtime import default_runtime
from supervisor._store import EndedRun, Journal, StartedRun, files
from supervisor._store.essentials import FILE_NAME
from supervisor._store.processes import this_process
from supervisor._store.sqlite import migrations
from supervisor.errors import DeliveryError
from supervisor.models import ErrorDetails, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from supervisor.models import MessageDetails, MessageHandler

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
NIGHTLY = "0 2 * * *"
TWO = datetime(2026, 3, 2, 2, 0, tzinfo=UTC).timestamp()
"""Two o'clock on a Monday; the machine's time is UTC here."""


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the machine's time be UTC."""
    monkeypatch.setenv("TZ", "UTC")
    if sys.platform != "win32":
        time.tzset()
    yield
    monkeypatch.undo()
    if sys.platform != "win32":
        time.tzset()


class Machine:
    """A machine with a clock to set, on which runs start and checks look.

    Attributes:
        now: Seconds since 1970.
        awake: Seconds in which it was awake.
        handlers: Who hears of all runs.
        runs: What is configured for the runs of each name.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.now = TWO - HOUR
        self.awake = 1_000.0
        self.handlers: Sequence[MessageHandler] = ()
        self.runs: dict[str, dict[str, Any]] = {}
        self.booted_at: datetime | None = None
        self._pid = 1_000
        self._gone: set[int] = set()
        self.journal = self.open()

    def open(self) -> Journal:
        """Open the journal as another process would."""
        return Journal(
            self.state,
            clock=lambda: self.now,
            this=lambda: this_process()._replace(pid=self._pid),
            gone=lambda process: process.pid in self._gone,
        )

    def goes_on(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.awake += seconds

    def sleeps(self, seconds: float) -> None:
        """Let time pass while the machine sleeps."""
        self.now += seconds

    def start(self, name: str = "nightly", **fields: Any) -> str:
        """Start a run in a process of its own, and return its id."""
        self._pid += 1
        run_id = f"run {self._pid}"
        self.journal.start_run(StartedRun(id=run_id, name=name, started_at_s=self.now, **fields))
        return run_id

    def kill(self) -> None:
        """Kill the process that was started last."""
        self._gone.add(self._pid)

    def end(self, run_id: str, outcome: Outcome = Outcome.SUCCESS, took_s: float = 60.0, **fields: Any) -> None:
        """Let a run end after so many seconds."""
        self.goes_on(took_s)
        self.journal.end_run(run_id, EndedRun(outcome=outcome, ended_at_s=self.now, duration_s=took_s, **fields))

    def run(self, name: str = "nightly", outcome: Outcome = Outcome.SUCCESS, **fields: Any) -> None:
        """Let a run start and end."""
        self.end(self.start(name, **fields), outcome)

    def check(self, journal: Journal | None = None) -> Check:
        """Return a check."""
        return Check(
            journal or self.journal,
            Configuration(runs=self.runs),
            lambda _: self.handlers,
            runtime=default_runtime(),
            clock=lambda: self.now,
            awake=lambda: self.awake,
            booted_at=lambda: self.booted_at,
        )

    def looks(self) -> list[MessageDetails]:
        """Check and deliver; return the messages that are new."""
        return [each.message for each in self.looked()[0].new]

    def looked(self) -> tuple[Checked, Delivered]:
        """Check and deliver; return what was seen and what became of it."""
        check = self.check()
        looked = check.raise_alerts()
        handlers = {getattr(each, "name", ""): each for each in self.handlers}
        return looked, check.deliver(looked.new, handlers.get, 30.0)


@pytest.fixture
def machine(state: Path) -> Iterator[Machine]:
    """Return a machine."""
    machine = Machine(state)
    yield machine
    machine.journal.close()


def kinds(messages: list[MessageDetails]) -> list[str]:
    """Return the kinds of messages."""
    return [str(each.kind) for each in messages]


# Died


def test_a_death_is_told_once(machine: Machine, recorder: Recorder) -> None:
    """A run whose process is gone is marked and told to the handlers, by one check and by no run after it."""
    machine.handlers = [recorder]
    run_id = machine.start()
    machine.journal.progress(run_id, Progress(done=3, total=10))
    assert machine.looks() == []
    machine.kill()
    machine.goes_on(MINUTE)
    notified = machine.looks()
    assert kinds(notified) == ["died"]
    assert "nightly died on" in notified[0].subject
    assert "3 of 10 (30 %)" in notified[0].message
    assert notified[0].report is not None
    assert notified[0].report.id == run_id
    assert machine.looks() == []
    assert recorder.received == ["died"]
    assert machine.journal.died_runs("nightly") == ()


def test_a_death_that_no_handler_hears_of_is_left_to_the_script(machine: Machine) -> None:
    """Without a handler a death is printed once, and the script's own next run can still tell it to its handlers."""
    machine.start()
    machine.kill()
    assert kinds(machine.looks()) == ["died"]
    looked, _ = machine.looked()
    assert looked.new == ()
    assert [each.kind for each in looked.open] == [Kind.DIED]
    assert [each.report.name for each in machine.journal.died_runs("nightly")] == ["nightly"]
    assert machine.journal.mark_died("run 1001")
    looked, _ = machine.looked()
    assert (looked.new, looked.open) == ((), ())


def test_a_death_is_told_with_its_log_and_its_past(machine: Machine, recorder: Recorder, tmp_path: Path) -> None:
    """A check tells of a death as the next run would: with the logs, the last lines, and what came before."""
    machine.handlers = [recorder]
    for outcome in (Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE, Outcome.FAILURE):
        machine.run(outcome=outcome)
        machine.goes_on(DAY - MINUTE)
    log = tmp_path / "parcels.log"
    log.write_text("by the script\n")
    run_id = machine.start(log_path=str(log))
    file = files.create(str(machine.state / "logs"), "nightly", run_id, machine.now)
    os.write(file.descriptor, b"loading\npassword=hunter2-hunter2\n")
    os.close(file.descriptor)
    machine.kill()
    (message,) = machine.looks()
    assert recorder.received == ["died"]
    assert [str(each.path) for each in message.attachments] == [str(log), file.path]
    assert "loading" in message.message
    assert "hunter2" not in message.message
    assert "Third night in a row that failed" in " ".join(message.message.split())
    assert "Of the 4 runs before it, 2 succeeded" in " ".join(message.message.split())


def test_a_death_is_told_by_whoever_may_not_read_the_log(machine: Machine, recorder: Recorder, tmp_path: Path) -> None:
    """A check that runs as another user tells of a death all the same, and says that the log cannot be read."""
    machine.handlers = [recorder]
    folder = tmp_path / "barred"
    folder.mkdir()
    machine.start(log_path=str(folder / "parcels.log"))
    machine.kill()
    folder.chmod(0)
    (machine.state / "logs").mkdir(mode=0)
    try:
        machine.looks()
    finally:
        folder.chmod(0o700)
        (machine.state / "logs").chmod(0o700)
    assert "nightly died on" in recorder.only.subject
    (attachment,) = recorder.only.attachments
    if sys.platform != "win32" and os.geteuid():
        assert attachment.note.startswith("not readable")


# Stalled and overdue


def test_a_stall_is_told_once_and_its_end_once(machine: Machine, recorder: Recorder) -> None:
    """A run without progress is told of, then that it makes progress again; the next stall is another."""
    machine.handlers = [recorder]
    run_id = machine.start(stall_after_s=10 * MINUTE)
    machine.goes_on(9 * MINUTE + 0.123_456_987)  # more digits than an instant keeps
    machine.journal.progress(run_id, Progress(done=3, total=10, message="copying"))
    machine.goes_on(10 * MINUTE + OF_A_CHECK.stalled_s - 0.1)
    assert machine.looks() == [], "a run that watches itself goes first"
    machine.goes_on(1)
    (stalled,) = machine.looks()
    assert stalled.kind is Kind.STALLED
    assert f"nightly stalled on {hostname()}: no progress for 10 min 31 s" in stalled.subject
    for wanted in ("Its last progress was at 2026-03-02 01:09:00", "copying", "every 10 min", f"process {1001}"):
        assert wanted in " ".join(stalled.message.split()), stalled.message
    assert stalled.report is not None
    assert stalled.report.duration_s == pytest.approx(19 * MINUTE + OF_A_CHECK.stalled_s + 1, abs=1)
    machine.goes_on(HOUR)
    assert machine.looks() == []
    machine.journal.progress(run_id, Progress(done=4, total=10))
    (recovery,) = machine.looks()
    assert recovery.kind is Kind.RECOVERY
    assert "nightly makes progress again on" in recovery.subject
    assert machine.looks() == []
    machine.goes_on(HOUR)
    assert kinds(machine.looks()) == ["stalled"]
    assert recorder.received == ["stalled", "recovery", "stalled"]


def test_a_run_that_is_overdue_is_told_of_once(machine: Machine) -> None:
    """A run under way for longer than it should is told of, and once more when it ends well."""
    run_id = machine.start(max_duration_s=HOUR)
    machine.goes_on(HOUR + OF_A_CHECK.overdue_s - 0.1)
    assert machine.looks() == []
    machine.goes_on(MINUTE)
    (overdue,) = machine.looks()
    assert overdue.kind is Kind.OVERDUE
    assert "nightly is overdue on" in overdue.subject
    assert "under way for 1 h 1 min" in overdue.subject
    assert "1 h at most" in overdue.message
    assert machine.looks() == []
    machine.end(run_id, took_s=HOUR)
    (recovery,) = machine.looks()
    assert recovery.subject == f"nightly recovered on {hostname()}: it was overdue"
    assert "it succeeded after 1 h. It was overdue." in " ".join(recovery.message.split())
    assert machine.looks() == []


def test_one_recovery_tells_all_that_is_over_with_a_run(machine: Machine, recorder: Recorder) -> None:
    """A run that had stalled and was overdue, after failures, ends well: one message of a check says all of it."""
    machine.handlers = [recorder]
    for _ in range(2):
        machine.run(outcome=Outcome.FAILURE)
    run_id = machine.start(stall_after_s=MINUTE, max_duration_s=HOUR)
    machine.goes_on(2 * HOUR)
    machine.looks()
    machine.end(run_id, took_s=2 * HOUR)
    machine.looks()
    assert machine.looks() == []
    assert recorder.received == ["stalled", "overdue", "recovery"]
    assert recorder.subjects[2] == f"nightly recovered on {hostname()}: it had stalled and was overdue"
    text = " ".join(recorder.messages[2].message.split())
    assert "It had stalled at 2026-03-02 01:02:00 +0000 and was overdue. Before it, 2 runs failed in a row" in text


def test_stalls_are_told_three_times_and_then_once_an_hour(machine: Machine, recorder: Recorder) -> None:
    """A run that flaps is told of once an hour, with the number of its stalls, and its end says how many there were."""
    machine.handlers = [recorder]
    run_id = machine.start(stall_after_s=MINUTE)

    def stalls(times: int) -> list[str]:
        """Let it stall for 9 of every 10 min, and return the subjects of what a check tells every 5 min."""
        notified = len(recorder.messages)
        for _ in range(times):
            machine.journal.progress(run_id, Progress(done=machine.now))
            machine.goes_on(1)
            machine.looks()
            for _ in range(2):
                machine.goes_on(5 * MINUTE - 0.5)
                machine.looks()
        return [f"{each.kind} {each.subject.rpartition(', ')[2]}" for each in recorder.messages[notified:]]

    host = hostname()
    first = f"nightly stalled on {host}: no progress for 5 min"
    over = f"recovery nightly makes progress again on {host}"
    assert stalls(3) == [f"stalled {first}", over, "stalled for the second time", over, "stalled for the third time"]
    assert "From now on at most one stall an hour is reported" in " ".join(recorder.messages[4].message.split())
    assert stalls(5) == []
    assert stalls(1) == ["stalled for the ninth time"]
    assert "It is the ninth stall of this run, and 5 stalls before it went unreported." in " ".join(
        recorder.messages[-1].message.split()
    )
    assert stalls(12) == ["stalled for the 15th time", "stalled for the 21st time"]
    machine.end(run_id)
    machine.looks()
    assert recorder.subjects[-1] == f"nightly recovered on {host}: it had stalled 21 times"
    assert machine.looks() == []


def test_a_stall_that_was_held_back_and_lasts_is_told(machine: Machine) -> None:
    """A run that hangs for good after three stalls is told once more when the hour is over, and not again."""
    run_id = machine.start(stall_after_s=MINUTE)
    for _ in range(4):
        machine.journal.progress(run_id, Progress(done=machine.now))
        machine.goes_on(2 * MINUTE)
        machine.looks()
    assert machine.looks() == []
    machine.goes_on(57 * MINUTE)
    assert machine.looks() == []
    machine.goes_on(1 * MINUTE)
    (stalled,) = machine.looks()
    assert stalled.subject.endswith("no progress for 1 h, for the fourth time")
    machine.goes_on(DAY)
    assert machine.looks() == []
    machine.kill()
    (died,) = machine.looks()
    assert "It had stalled 4 times." in died.message


def test_a_stall_of_another_one_between_two_checks(machine: Machine) -> None:
    """A run that went on and stalled again before a check looked has stalled again: it is not told to go on."""
    run_id = machine.start(stall_after_s=MINUTE)
    machine.goes_on(2 * MINUTE)
    assert kinds(machine.looks()) == ["stalled"]
    machine.journal.progress(run_id, Progress(done=1))
    machine.goes_on(2 * MINUTE)
    (again,) = machine.looks()
    assert again.kind is Kind.STALLED
    assert again.subject.endswith("for the second time")


def test_who_only_the_script_can_tell_hears_it_from_the_script(machine: Machine, recorder: Recorder) -> None:
    """Where the run told somebody whom the check does not know, it tells that it goes on itself."""
    machine.handlers = [recorder]
    run_id = machine.start(stall_after_s=MINUTE)
    machine.goes_on(2 * MINUTE)
    assert machine.journal.open_alert(Kind.STALLED, run_id)
    machine.journal.await_recovery(Kind.STALLED, run_id, ["of the script", "recorder"])
    machine.journal.progress(run_id, Progress(done=1))
    assert machine.looks() == []
    assert machine.journal.resolve_stall(run_id, only=["recorder"]) is None
    assert machine.journal.resolve_stall(run_id) == ("of the script", "recorder")
    assert machine.journal.resolve_stall(run_id) is None


def test_the_end_is_owed_until_all_have_heard_of_it(machine: Machine) -> None:
    """An alert is over when the last handler notified of it is notified of its end; each claim is good once."""
    run_id = machine.start(max_duration_s=MINUTE)
    assert machine.journal.open_alert(Kind.OVERDUE, run_id)
    machine.journal.await_recovery(Kind.OVERDUE, run_id, ["a", "b"])
    (found,) = machine.journal.open_alerts()
    assert found.awaiting_recovery == ("a", "b")
    heard = [machine.journal.mark_recovery_notified(found.key, [name]) for name in ("c", "a", "a", "b", "b")]
    assert heard == [False, True, False, True, False]
    assert machine.journal.open_alerts() == ()


@pytest.mark.parametrize("outcome", [Outcome.FAILURE, Outcome.TERMINATED, Outcome.INTERRUPTED])
def test_a_bad_end_is_no_recovery(machine: Machine, outcome: Outcome) -> None:
    """A stalled run that fails tells of that itself: no check calls it a recovery."""
    run_id = machine.start(stall_after_s=MINUTE)
    machine.goes_on(HOUR)
    assert kinds(machine.looks()) == ["stalled"]
    machine.end(run_id, outcome)
    looked, _ = machine.looked()
    assert (looked.new, looked.open) == ((), ())


def test_a_stalled_run_that_dies_is_told_as_that(machine: Machine, recorder: Recorder) -> None:
    """After a stall comes the death, and no recovery."""
    machine.handlers = [recorder]
    machine.start(stall_after_s=MINUTE)
    machine.goes_on(HOUR)
    machine.looks()
    machine.kill()
    machine.looks()
    machine.looks()
    assert recorder.received == ["stalled", "died"]
    assert machine.journal.open_alerts() == ()


@pytest.mark.parametrize("kind", [Kind.STALLED, Kind.OVERDUE])
def test_what_a_run_told_of_itself_is_not_told_again(machine: Machine, kind: Kind) -> None:
    """A run that notes its own stall keeps every check from telling it, and may tell itself that it is over."""
    run_id = machine.start(stall_after_s=MINUTE, max_duration_s=MINUTE)
    assert machine.journal.open_alert(kind, run_id)
    assert not machine.journal.open_alert(kind, run_id)
    machine.goes_on(HOUR)
    assert kinds(machine.looks()) == [str(each) for each in (Kind.STALLED, Kind.OVERDUE) if each is not kind]
    (found,) = (each for each in machine.journal.open_alerts() if each.kind is kind)
    assert machine.journal.resolve_alert(found.key)
    assert not machine.journal.resolve_alert(found.key)
    machine.end(run_id)
    assert not machine.journal.open_alert(kind, run_id), "it has ended"


def test_time_asleep_does_not_count(machine: Machine) -> None:
    """While a laptop sleeps nothing can make progress: neither that nor the length of the sleep is held against it."""
    machine.looks()
    machine.start(stall_after_s=HOUR, max_duration_s=2 * HOUR)
    machine.goes_on(MINUTE)
    machine.sleeps(8 * HOUR)
    for _ in range(12):
        assert machine.looks() == []
        machine.goes_on(4.9 * MINUTE)
    machine.goes_on(5 * MINUTE)
    assert kinds(machine.looks()) == ["stalled"]
    machine.goes_on(HOUR)
    assert kinds(machine.looks()) == ["overdue"]


def test_a_clock_set_back_finds_nothing(machine: Machine) -> None:
    """When the clock goes back to before the start, no run has taken long, and none was missed."""
    machine.run(schedule=NIGHTLY)
    machine.start(stall_after_s=MINUTE, max_duration_s=MINUTE)
    machine.looks()
    machine.now -= DAY
    assert machine.looks() == []


# Missed


def test_a_missed_start_is_told_once_and_its_recovery_once(machine: Machine, recorder: Recorder) -> None:
    """A schedule that passes by more than the grace is told of; more misses are no news; then the recovery says all."""
    machine.handlers = [recorder]
    machine.now = TWO
    machine.end(machine.start(schedule=NIGHTLY, grace_s=10 * MINUTE, argv=["parcels.py"]), Outcome.FAILURE, error=ERROR)
    machine.now = TWO + DAY + 10 * MINUTE - 1
    assert machine.looks() == []
    machine.goes_on(1)
    (missed,) = machine.looks()
    assert missed.kind is Kind.MISSED
    assert missed.subject == f"nightly missed its start at 02:00 on {hostname()}"
    text = " ".join(missed.message.split())
    for wanted in (
        "should have started", "2026-03-03 02:00:00", f"{NIGHTLY}, at most 10 min late", "failure after 1 min",
        "KeyError 'apn'", "parcels.py", "crontab -l", "whether the machine was on",
    ):  # fmt: skip
        assert wanted in text, text
    machine.goes_on(DAY)
    looked, _ = machine.looked()
    assert looked.new == ()
    assert [(each.kind, each.since.timestamp()) for each in looked.open] == [(Kind.MISSED, TWO + DAY)]
    machine.now = TWO + 3 * DAY
    machine.run(schedule=NIGHTLY)
    (recovery,) = machine.looks()
    assert recovery.kind is Kind.RECOVERY
    assert recovery.subject == f"nightly started again on {hostname()}: 2 starts were missed"
    assert "started again at 2026-03-05 02:00:00" in recovery.message
    assert machine.looks() == []
    assert recorder.received == ["missed", "recovery"]


ERROR = ErrorDetails(type="KeyError", message="'apn'")


def test_several_missed_starts_are_one_finding(machine: Machine) -> None:
    """Whoever was away for long is told once, with the number, and what is known of the machine meanwhile."""
    machine.now = TWO
    machine.run(schedule=NIGHTLY)
    machine.looks()
    machine.goes_on(3 * DAY + HOUR)
    machine.booted_at = datetime.fromtimestamp(machine.now - MINUTE, UTC)
    (missed,) = machine.looks()
    assert missed.subject == f"nightly missed 3 starts on {hostname()}, the last at 02:00"
    text = " ".join(missed.message.split())
    assert "3 times from 2026-03-03 02:00:00 +0000 to 2026-03-05 02:00:00 +0000" in text
    assert "No check ran either between 2026-03-02 02:01:00" in text
    assert "the machine was off then, or restarting; it has been up since 2026-03-05 03:00:00" in text


def test_a_start_before_a_missed_one_is_no_recovery(machine: Machine) -> None:
    """With a short interval, too, a miss is over by a start that came after it, not by the one that it counts from."""
    machine.end(machine.start(schedule="every 10 s", grace_s=0.0), took_s=0.1)
    machine.goes_on(15)
    assert kinds(machine.looks()) == ["missed"]
    assert machine.looks() == []
    machine.run(schedule="every 10 s", grace_s=0.0)
    assert kinds(machine.looks()) == ["recovery"]


def test_a_laptop_that_slept_is_told_as_that(machine: Machine) -> None:
    """A start that fell into the machine's sleep was missed, and the message says that it slept."""
    machine.now = TWO
    machine.run(schedule=NIGHTLY)
    machine.goes_on(20 * HOUR)
    machine.looks()
    machine.sleeps(9 * HOUR)
    (missed,) = machine.looks()
    assert "the machine slept for 9 h of that time" in missed.message


def test_a_late_start_is_no_miss(machine: Machine) -> None:
    """Within the grace nothing is said, and a start a little early is that start and no other."""
    machine.now = TWO - 20
    machine.end(machine.start(schedule=NIGHTLY), took_s=5)
    machine.now = TWO + HOUR
    assert machine.looks() == [], "it came 20 s early"
    machine.now = TWO + DAY + 9 * MINUTE
    assert machine.looks() == []
    machine.run(schedule=NIGHTLY)
    machine.goes_on(HOUR)
    assert machine.looks() == []


def test_a_start_by_hand_at_another_time_does_not_stand_for_the_next(machine: Machine) -> None:
    """Who starts a script by hand in the evening is still told that it did not start at night."""
    machine.run(schedule=NIGHTLY)
    machine.now = TWO + 11 * MINUTE
    assert kinds(machine.looks()) == ["missed"]


def test_a_script_that_never_started(machine: Machine) -> None:
    """A schedule in the configuration counts from when a check first saw it, even if the script never ran."""
    machine.runs = {"backup": {"schedule": "every 1 h", "grace_s": MINUTE}}
    machine.now = TWO
    looked, _ = machine.looked()
    assert (looked.new, looked.names) == ((), 1)
    machine.goes_on(HOUR + MINUTE - 1)
    assert machine.looks() == []
    machine.goes_on(1)
    (missed,) = machine.looks()
    assert missed.subject == f"backup missed its start at 03:00 on {hostname()}"
    assert "none since 2026-03-02 02:00:00 +0000, when it was first looked for" in " ".join(missed.message.split())
    assert machine.looks() == []
    machine.goes_on(30 * MINUTE)
    machine.run("backup")
    (recovery,) = machine.looks()
    assert "1 start was missed" in recovery.subject


def test_a_schedule_that_was_changed_raises_no_false_alarm(machine: Machine) -> None:
    """A new schedule in the configuration counts from when it was first seen; what the old one owed is forgotten."""
    machine.runs = {"nightly": {"schedule": NIGHTLY, "grace_s": MINUTE}}
    machine.now = TWO
    machine.run(schedule=NIGHTLY)
    machine.looks()
    machine.now = TWO + DAY + HOUR
    assert kinds(machine.looks()) == ["missed"]
    machine.runs = {"nightly": {"schedule": "0 5 * * *", "grace_s": MINUTE}}
    looked, _ = machine.looked()
    assert (looked.new, looked.open) == ((), ()), "that start is owed no more"
    machine.now = TWO + DAY + 3 * HOUR + 2 * MINUTE
    (missed,) = machine.looks()
    assert "0 5 * * *" in missed.message


def test_a_schedule_that_the_script_changed_is_known_from_its_next_run(machine: Machine) -> None:
    """What the newest run says counts, over what older ones said and over the configuration that it has seen."""
    machine.runs = {"nightly": {"schedule": "0 12 * * *"}}
    machine.looks()
    machine.now = TWO
    machine.run(schedule=NIGHTLY)
    machine.now = TWO + 11 * HOUR
    assert machine.looks() == [], "the script has a schedule of its own"
    machine.now = TWO + DAY + HOUR
    (missed,) = machine.looks()
    assert NIGHTLY in missed.message


def test_a_schedule_that_was_taken_out_is_watched_no_more(machine: Machine) -> None:
    """A script that lost its schedule in the configuration owes no start, until one of its runs has one again."""
    machine.runs = {"nightly": {"schedule": NIGHTLY}}
    machine.looks()
    machine.now = TWO
    machine.run(schedule=NIGHTLY)
    machine.looks()
    machine.goes_on(HOUR)
    machine.runs = {}
    machine.looks()
    machine.goes_on(3 * DAY)
    assert machine.looks() == []
    machine.run(schedule=NIGHTLY)
    machine.goes_on(3 * DAY)
    assert kinds(machine.looks()) == ["missed"]


def test_a_run_under_way_misses_nothing(machine: Machine) -> None:
    """While a run goes on, and for what was due meanwhile, no start is missed: no scheduler starts a second one."""
    machine.now = TWO
    run_id = machine.start(schedule="*/15 * * * *", grace_s=MINUTE)
    machine.goes_on(40 * MINUTE)
    assert machine.looks() == []
    machine.end(run_id, took_s=MINUTE)
    assert machine.looks() == []
    machine.goes_on(6 * MINUTE)
    (missed,) = machine.looks()
    assert "02:45" in missed.subject


def test_a_run_that_died_misses_what_comes_after_it(machine: Machine) -> None:
    """A run whose process is gone is not under way."""
    machine.now = TWO
    machine.start(schedule="*/15 * * * *", grace_s=MINUTE)
    machine.kill()
    machine.goes_on(HOUR)
    assert sorted(kinds(machine.looks())) == ["died", "missed"]


def test_a_skipped_run_is_a_start(machine: Machine) -> None:
    """A scheduler that starts a script which then skips, since an earlier run goes on, does its work."""
    machine.now = TWO
    machine.start(schedule="0 * * * *")
    for _ in range(3):
        machine.goes_on(HOUR)
        machine.journal.start_run(
            StartedRun(id=f"skipped {machine.now}", name="nightly", started_at_s=machine.now, schedule="0 * * * *")
        )
        machine.journal.end_run(
            f"skipped {machine.now}", EndedRun(outcome=Outcome.SKIPPED, ended_at_s=machine.now, duration_s=0.0)
        )
    machine.goes_on(5 * MINUTE)
    assert machine.looks() == []


def test_a_thousand_missed_starts_are_not_counted_further(machine: Machine) -> None:
    """A script that should run each minute and was away for a week is told of in no time."""
    machine.run(schedule="* * * * *")
    machine.goes_on(7 * DAY)
    (missed,) = machine.looks()
    assert "missed 1,000 starts or more on" in missed.subject


def test_a_schedule_that_cannot_be_read_stops_nothing(machine: Machine, log: pytest.LogCaptureFixture) -> None:
    """What a newer version wrote is warned of; the others are checked."""
    machine.run("odd", schedule="at full moon")
    machine.run("nightly", schedule=NIGHTLY)
    machine.goes_on(DAY)
    assert kinds(machine.looks()) == ["missed"]
    assert "the schedule of 'odd' cannot be checked" in log.text


# Told once, and never lost


def test_of_many_checks_at_once_one_tells(machine: Machine, state: Path) -> None:
    """Checks that see the same at the same moment tell it once together, and its recovery too."""
    recorders = [Recorder(f"recorder {number}") for number in range(6)]
    run_id = machine.start("stalled", stall_after_s=MINUTE)
    machine.run("nightly", schedule="every 10 min", grace_s=0.0)
    machine.start("killed")
    machine.kill()
    machine.goes_on(HOUR)

    def look_together() -> list[str]:
        barrier, notified = threading.Barrier(len(recorders)), []

        def look(recorder: Recorder) -> None:
            journal = machine.open()
            check = Check(
                journal,
                Configuration(),
                lambda _: (recorder,),
                runtime=default_runtime(),
                clock=lambda: machine.now,
                booted_at=lambda: None,
            )
            barrier.wait(30)
            looked = check.raise_alerts()
            notified.extend(kinds([each.message for each in looked.new]))
            check.deliver(looked.new, lambda _: None, 30.0)
            journal.close()

        threads = [threading.Thread(target=look, args=(each,)) for each in recorders]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
        return sorted(notified)

    assert look_together() == ["died", "missed", "stalled"]
    machine.journal.progress(run_id, Progress(done=1))
    machine.run("nightly", schedule="every 10 min", grace_s=0.0)
    assert look_together() == ["recovery", "recovery"]
    assert sorted(kind for each in recorders for kind in each.received) == [
        "died", "missed", "recovery", "recovery", "stalled",
    ]  # fmt: skip


def test_a_check_that_lags_behind_tells_nothing_stale(machine: Machine) -> None:
    """What changed after a check had looked counts: a script that started meanwhile, an alert reported and over."""
    machine.now = TWO
    machine.run(schedule=NIGHTLY)
    machine.goes_on(2 * DAY)

    def meanwhile(happens: Callable[[], object]) -> list[str]:
        to_happen = [happens]

        def handlers_of(_: str) -> Sequence[MessageHandler]:  # asked for between looking and telling
            if to_happen:
                to_happen.pop()()
            return ()

        check = machine.check()
        check._handlers_of = handlers_of
        return kinds([each.message for each in check.raise_alerts().new])

    assert meanwhile(lambda: machine.run(schedule=NIGHTLY)) == [], "it started"
    run_id = machine.start("other", stall_after_s=MINUTE)
    machine.goes_on(HOUR)

    def another_tells_and_it_is_over() -> None:
        assert machine.journal.open_alert(Kind.STALLED, run_id)
        assert machine.journal.resolve_stall(run_id) is not None

    assert meanwhile(another_tells_and_it_is_over) == []


def test_all_stalls_of_a_run_are_one_finding(machine: Machine) -> None:
    """A stall after progress, or one that its run says is another, counts; the same one does not."""
    run_id = machine.start(stall_after_s=MINUTE)
    assert machine.journal.open_alert(Kind.STALLED, run_id) == (1, 0)
    assert machine.journal.open_alert(Kind.STALLED, run_id) is None
    machine.goes_on(HOUR)
    machine.journal.progress(run_id, Progress(done=1))
    assert machine.journal.open_alert(Kind.STALLED, run_id) == (2, 0)
    assert machine.journal.open_alert(Kind.STALLED, run_id, is_new=True) == (3, 0)
    (found,) = machine.journal.open_alerts()
    assert found.times == 3


class Down(Recorder):
    """A handler whose server is down as long as it is told to be."""

    is_down = True

    def send_message(self, details: MessageDetails, /) -> None:
        """Refuse a message for now."""
        if self.is_down:
            raise DeliveryError("the server is down")
        super().send_message(details)


def test_a_server_that_is_down_loses_nothing(machine: Machine) -> None:
    """The alert is reported, its message waits, and a later check delivers it without reporting it anew."""
    machine.now = time.time()  # what is older than a week is given up
    down = Down()
    machine.handlers = [down]
    machine.start()
    machine.kill()
    check = machine.check()
    looked = check.raise_alerts()
    delivered = check.deliver(looked.new, lambda _: None, 0.5)
    assert [each.last_error for each in delivered.waiting] == ["the server is down"]
    assert [each.message.kind for each in delivered.unnotified] == [Kind.DIED]
    down.is_down = False
    machine.goes_on(HOUR)
    looked, delivered = machine.looked()
    assert looked.new == ()
    assert (delivered.waiting, delivered.failed) == ((), ())
    assert down.received == ["died"]


def test_what_is_refused_for_good_is_named_once(machine: Machine) -> None:
    """A delivery that fails for good during a check is in its outcome, and later ones say that there are such."""

    class Refuses(Recorder):
        def send_message(self, details: MessageDetails, /) -> None:
            raise DeliveryError("no such mailbox", permanent=True)

    machine.handlers = [Refuses()]
    machine.start()
    machine.kill()
    _, delivered = machine.looked()
    assert [each.last_error for each in delivered.failed] == ["no such mailbox"]
    assert len(delivered.unnotified) == 1
    _, delivered = machine.looked()
    assert delivered == Delivered(failed_before=1, refused_by=("recorder",))


def test_a_handler_that_cannot_be_built_here_keeps_its_messages(machine: Machine, recorder: Recorder) -> None:
    """A secret that is missing in cron's environment refuses nothing for good: the message waits for who has it."""
    machine.handlers = [UnusableHandler("mail", "MAIL_PASSWORD is not set"), recorder]
    machine.start()
    machine.kill()
    looked, delivered = machine.looked()
    assert [each.message.kind for each in looked.new] == [Kind.DIED]
    assert delivered.unnotified == ()
    assert [(each.handler, each.state, each.attempts) for each in machine.journal.deliveries()] == [
        ("mail", DeliveryState.PENDING, 0)
    ]
    assert recorder.received == ["died"]


def test_a_handler_that_does_not_want_the_kind_leaves_it_unheard(machine: Machine) -> None:
    """What no handler wants is said to be unheard, so that it is printed at least."""
    machine.handlers = [Recorder(kinds=["success"])]
    machine.start(stall_after_s=MINUTE)
    machine.goes_on(HOUR)
    looked, delivered = machine.looked()
    assert delivered.unnotified == looked.new
    assert len(looked.new) == 1


def test_what_is_not_to_be_delivered_waits(machine: Machine, recorder: Recorder) -> None:
    """Without delivery the message is in the outbox when the check ends, and the next check sends it."""
    machine.handlers = [recorder]
    machine.start()
    machine.kill()
    check = machine.check()
    delivered = check.deliver(check.raise_alerts().new, lambda _: None, None)
    assert [each.handler for each in delivered.waiting] == ["recorder"]
    assert recorder.received == []
    machine.goes_on(HOUR)
    machine.looked()
    assert recorder.received == ["died"]


@pytest.mark.parametrize(
    ("others", "said"),
    [(0, "nothing waits"), (1, "1 message waits for"), (500, "500 messages wait for")],
)
def test_the_headline_says_how_many_wait(machine: Machine, others: int, said: str) -> None:
    """It names messages that only their scripts can send, in a sentence that reads well for any number."""
    checked = machine.check().raise_alerts()
    assert said in Result(checked=checked, delivered=Delivered(others=others)).headline


def test_what_other_handlers_wait_for_is_counted(machine: Machine) -> None:
    """Messages for handlers that only a script knows are neither sent nor a failure."""
    machine.journal.put(_notice(), ["of a script"])
    _, delivered = machine.looked()
    assert delivered == Delivered(others=1)


def _notice() -> MessageDetails:
    from supervisor.models import MessageDetails

    return MessageDetails("Parcels loaded")


# The journal


def test_the_newest_run_of_each_name(machine: Machine) -> None:
    """Each name has its newest run, whatever is between, and none has one in an empty journal."""
    assert machine.journal.newest_runs() == {}
    for name in ("b", "a", "", "b", "ü"):
        machine.run(name, schedule=NIGHTLY, grace_s=5.0)
    newest = machine.journal.newest_runs()
    assert {name: each.id for name, each in newest.items()} == {
        "a": "run 1002", "": "run 1003", "b": "run 1004", "ü": "run 1005",
    }  # fmt: skip
    assert (newest["a"].schedule, newest["a"].grace_s, newest["a"].outcome) == (NIGHTLY, 5.0, "success")


def test_a_journal_of_the_first_version_is_brought_up(state: Path) -> None:
    """Runs that were kept before there were checks are kept, without a grace."""
    with closing(sqlite3.connect(state / FILE_NAME, isolation_level=None)) as connection:
        migrations.migrate(connection, migrations.MIGRATIONS[:1])
        connection.execute(
            "INSERT INTO run (id, name, outcome, started_at, host, pid, process_started, user, python, schedule) "
            "VALUES ('old', 'nightly', 'success', ?, 'host', 1, '', '', '', ?)",
            (TWO, NIGHTLY),
        )
    machine = Machine(state)
    record = machine.journal.last_run("nightly")
    assert record is not None
    assert (record.schedule, record.grace_s) == (NIGHTLY, None)
    machine.now = TWO + 2 * DAY
    assert kinds(machine.looks()) == ["missed"]
    machine.journal.close()


def test_a_finding_of_before_is_kept(state: Path) -> None:
    """Of an alert from before notifications were counted, the recovery is reported as it was then: to all."""
    with closing(sqlite3.connect(state / FILE_NAME, isolation_level=None)) as connection:
        migrations.migrate(connection, migrations.MIGRATIONS[:2])
        connection.execute(
            "INSERT INTO run (id, name, outcome, started_at, duration_s, host, pid, process_started, user, python) "
            "VALUES ('old', 'nightly', 'success', ?, 60, 'host', 1, '', '', '')",
            (TWO,),
        )
        connection.execute(
            "INSERT INTO finding (kind, name, run, run_id, since, told_at) "
            "VALUES ('stalled', 'nightly', 1, 'old', ?, ?)",
            (TWO, TWO),
        )
    machine = Machine(state)
    (recovery,) = machine.looks()
    assert recovery.subject == "nightly recovered on host: it had stalled"
    machine.journal.close()


def test_the_grace_is_kept_with_a_schedule(machine: Machine) -> None:
    """What a run says of its grace is in its record; without a schedule it means nothing, and is not kept."""
    machine.run("with", schedule=NIGHTLY, grace_s=42.0)
    machine.run("without", grace_s=42.0)
    found = {name: machine.journal.last_run(name) for name in ("with", "without")}
    assert [each and each.grace_s for each in found.values()] == [42.0, None]


def test_old_findings_are_forgotten(machine: Machine) -> None:
    """What has been over for longer than runs are kept is deleted."""
    machine.start(stall_after_s=MINUTE)
    for _ in range(2):
        machine.goes_on(HOUR)
        machine.looks()
        machine.journal.progress("run 1001", Progress(done=machine.now))
        machine.looks()
        machine.goes_on(500 * DAY)
    rows = machine.journal._database.rows("SELECT kind, resolved_at IS NULL FROM alert")
    assert rows == [("stalled", 0)]


def test_each_claim_is_one_commit_with_its_message(machine: Machine, recorder: Recorder) -> None:
    """When the message cannot be stored, the alert is not noted either, and the next check reports it."""
    machine.handlers = [recorder]
    machine.start()
    machine.kill()

    def breaks(*_: object, **__: object) -> Any:
        raise KeyboardInterrupt

    put: Callable[..., Any] = machine.journal.put
    machine.journal.put = breaks  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        machine.check().raise_alerts()
    machine.journal.put = put  # type: ignore[method-assign]
    machine.looked()
    assert recorder.received == ["died"]


def test_sleep_is_known_for_as_long_as_it_matters(machine: Machine) -> None:
    """Each sleep that a check noticed is remembered; a reboot, which starts the other clock anew, is none."""
    machine.looks()
    for _ in range(2):
        machine.sleeps(HOUR)
        machine.goes_on(MINUTE)
        machine.looks()
    machine.goes_on(DAY)
    machine.awake = 5.0
    last = machine.journal.note_check(machine.awake)
    assert [seconds for _, seconds in last.sleeps] == [HOUR, HOUR]
    assert last.at == datetime.fromtimestamp(machine.now, UTC) - timedelta(days=1)


def test_one_name_of_several_scripts_is_named(machine: Machine) -> None:
    """They recover each other; a script that was moved, or runs on as before, does not share its name."""
    for script in ("/a/main.py", "/b/main.py", "/a/main.py"):
        machine.run("main", script=script)
    for moved in ("/old/tiles.py", "/old/tiles.py", "/new/tiles.py", None):
        machine.run("tiles", script=moved)
    looked, _ = machine.looked()
    assert looked.shared_names == {"main": ("/a/main.py", "/b/main.py")}
