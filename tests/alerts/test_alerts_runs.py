"""How a run that stalled or took too long is told at its end, once, and how often its stalls are: with real watches."""

from __future__ import annotations

import functools
import re
import threading
import time
from typing import TYPE_CHECKING

import pytest
from recorders import Recorder
from scripts import Script, run
from waiting import PATIENCE_S, let_time_pass, wait_until

from supervisor import supervise
from supervisor._cli.checker import Check
from supervisor._config.configuration import Configuration
from supervisor._models import Kind, parts
from supervisor._run import watchdog
from supervisor._runtime import default_runtime
from supervisor._store import open_journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from supervisor._run import Run
    from supervisor._store import Journal
    from supervisor.models import MessageDetails


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    """Return the journal as another process opens it."""
    journal = open_journal(state)
    yield journal
    journal.close()


def text_of(message: MessageDetails) -> str:
    """Return a message as one line."""
    return " ".join(message.message.split())


def fail(recorder: Recorder) -> None:
    """Let a run fail."""
    with pytest.raises(KeyError), supervise("night", handlers=[recorder]):
        raise KeyError("apn")


def looks(journal: Journal, *handlers: Recorder, later_s: float = 0.0) -> list[str]:
    """Let a check look, and return the subjects of what it tells."""
    clock = lambda: time.time() + later_s  # noqa: E731 - one word for one use
    check = Check(journal, Configuration(), lambda _: handlers, runtime=default_runtime(), clock=clock)
    looked = check.raise_alerts()
    check.deliver(looked.new, {each.name: each for each in handlers}.get, PATIENCE_S)
    return [each.message.subject for each in looked.new]


def wait_for(recorder: Recorder, *kinds: str) -> None:
    """Return when a handler has heard of all of these kinds."""
    wait_until(lambda: set(kinds) <= set(recorder.received))


# The end


def test_one_message_tells_all_of_a_good_end(recorder: Recorder, journal: Journal) -> None:
    """After failures, a stall and too long a time, a recovery tells of all of it; no success and no check does too."""
    fail(recorder)
    with supervise(
        "night", handlers=[recorder], report_on="success", stall_after_s=0.05, max_duration_s=0.6, log_path=None
    ):
        wait_for(recorder, "stalled", "overdue")
    assert looks(journal, recorder) == []
    assert recorder.received == ["failure", "stalled", "overdue", "recovery"]
    message = recorder.messages[-1]
    assert message.subject.startswith("night recovered on ")
    assert message.subject.endswith(": it had stalled and was overdue")
    text = text_of(message)
    assert "it succeeded after" in text
    assert "It had stalled at 20" in text
    assert " ms and was overdue. The run before it failed, which started at" in text
    assert journal.open_alerts() == ()


def test_a_success_says_that_the_run_had_stalled(recorder: Recorder, journal: Journal) -> None:
    """Without failures before it, the success that is told anyway is the end of the finding."""
    with supervise("night", handlers=[recorder], report_on="success", stall_after_s=0.05):
        wait_for(recorder, "stalled")
    assert looks(journal, recorder) == []
    assert recorder.received == ["stalled", "success"]
    assert recorder.messages[1].subject.endswith(": it had stalled")
    assert "It had stalled at 20" in text_of(recorder.messages[1])


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_finding_has_an_end_also_where_no_success_is_told(recorder: Recorder, is_kept: bool) -> None:
    """Who heard that a run takes too long hears that it has ended well, with and without a journal."""
    with supervise("night", handlers=[recorder], max_duration_s=0.05, journal=is_kept):
        wait_for(recorder, "overdue")
    assert recorder.received == ["overdue", "recovery"]
    assert recorder.messages[1].subject.endswith(": it was overdue")


def test_each_handler_hears_one_ending_by_its_kinds(journal: Journal) -> None:
    """A handler that does not take the kind that says it all gets what it takes, and none hears of the end twice."""
    all_kinds = Recorder("all", ["stalled", "recovery", "success"])
    no_success = Recorder("no success", ["stalled", "recovery"])
    no_recovery = Recorder("no recovery", ["stalled", "success"])
    neither = Recorder("neither", ["stalled"])
    not_told = Recorder("not told", ["recovery"])
    handlers = [all_kinds, no_success, no_recovery, neither, not_told]
    for _ in range(2):
        with supervise("night", handlers=handlers, stall_after_s=0.05):
            wait_until(lambda: all(each.received[-1:] == ["stalled"] for each in handlers[:4]))
        with pytest.raises(KeyError), supervise("night"):
            raise KeyError("apn")
    assert looks(journal, *handlers) == []
    assert all_kinds.received == ["stalled", "success", "stalled", "recovery"]
    assert no_success.received == ["stalled", "recovery"] * 2
    assert no_recovery.received == ["stalled", "success"] * 2
    assert neither.received == ["stalled"] * 2
    assert not_told.received == ["recovery"]
    assert all("It had stalled at" in text_of(each.messages[-1]) for each in (*handlers[:3], not_told))


def test_a_failure_says_that_the_run_had_stalled(recorder: Recorder) -> None:
    """A failure is told as ever, and has one more sentence."""
    with (
        pytest.raises(KeyError),
        supervise("night", handlers=[recorder], stall_after_s=0.05, max_duration_s=0.05, journal=False),
    ):
        wait_for(recorder, "stalled", "overdue")
        raise KeyError("apn")
    assert sorted(recorder.received) == ["failure", "overdue", "stalled"]
    message = recorder.messages[2]
    assert message.subject.endswith(": KeyError 'apn'")
    assert " ms. It had stalled at 20" in text_of(message)
    assert "and was overdue." in text_of(message)


def test_a_death_says_that_the_run_had_stalled(tmp_path: Path, journal: Journal) -> None:
    """The next run that tells of a death says so too."""
    body = """
    import time
    with supervise("night", handlers=[recorder], stall_after_s=0.05):
        ready()
        time.sleep(60)
    """
    script = Script(tmp_path, body)
    script.wait_until_ready()
    wait_until(journal.open_alerts)
    script.process.kill()
    script.end()
    ended = run(tmp_path / "next", "with supervise('night', handlers=[recorder]): pass")
    (died,) = (each["message"] for each in ended.messages if each["kind"] == "died")
    assert "It had stalled at 20" in " ".join(died.split())


def test_who_heard_of_it_from_a_check_hears_of_the_end(recorder: Recorder, journal: Journal) -> None:
    """A handler that the script does not know gets the same one message, by the next check."""
    ops = Recorder("ops")
    with supervise("night", handlers=[recorder], max_duration_s=60):
        assert len(looks(journal, recorder, ops, later_s=3_600)) == 1
    assert (recorder.received, ops.received) == (["overdue", "recovery"], ["overdue"])
    assert looks(journal, recorder, ops) == []
    assert (recorder.received, ops.received) == (["overdue", "recovery"], ["overdue", "recovery"])
    assert recorder.messages[1].subject == ops.messages[1].subject


def test_what_a_check_has_only_printed_it_prints_the_end_of(recorder: Recorder, journal: Journal) -> None:
    """Where a check told no handler, the script's own are not bothered, and the check says that it is over."""
    with supervise("night", handlers=[recorder], max_duration_s=60):
        assert len(looks(journal, later_s=3_600)) == 1
    assert recorder.received == []
    (subject,) = looks(journal)
    assert subject.startswith("night recovered on ")
    assert subject.endswith(": it was overdue")


def test_a_run_that_nobody_follows_leaves_the_telling_to_checks(recorder: Recorder, journal: Journal) -> None:
    """A run whose handlers do not want to hear of stalls claims nothing: a check tells, and that it is over."""
    silent = Recorder("silent", ["failure"])
    for handlers in ([], [silent]):
        with supervise("night", handlers=handlers, stall_after_s=0.05, max_duration_s=0.05):
            let_time_pass(0.2, "it stalls, and tells nobody")
            assert len(looks(journal, recorder, later_s=3_600)) == 2
        looks(journal, recorder)
    assert recorder.received == ["stalled", "overdue", "recovery"] * 2
    assert recorder.messages[-1].subject.endswith(": it had stalled and was overdue")
    assert silent.received == []


@pytest.mark.parametrize("number", range(5))
def test_of_a_run_and_checks_at_once_one_tells_the_end(journal: Journal, state: Path, number: int) -> None:
    """However they race, the end of a finding is told once."""
    recorder = Recorder()
    others = [open_journal(state) for _ in range(2)]
    is_over = threading.Event()

    def check(other: Journal) -> None:
        while not is_over.is_set():
            looks(other, recorder)
        looks(other, recorder)

    threads = [threading.Thread(target=check, args=(each,)) for each in others]
    with supervise("night", handlers=[recorder], max_duration_s=0.05 + number / 100):
        wait_for(recorder, "overdue")
        for each in threads:
            each.start()
    is_over.set()
    for each in threads:
        each.join(PATIENCE_S)
    for other in others:
        other.close()
    assert recorder.received == ["overdue", "recovery"]
    assert journal.open_alerts() == ()


# Stall after stall


def flap(run: Run, log: pytest.LogCaptureFixture, times: int) -> None:
    """Stall so many times, at least."""

    def has_stalled(number: int) -> bool:
        return log.text.count("made no progress") >= number

    def goes_on(number: int) -> bool:
        run.record(number=number)  # all the time, or it stalls again before it is seen to go on
        return log.text.count("goes on after") >= number

    for number in range(1, times + 1):
        wait_until(functools.partial(has_stalled, number))
        wait_until(functools.partial(goes_on, number))


def times_in(text: str) -> int:
    """Return how often a message says that the run had stalled."""
    found = re.search(r"t had stalled (\d+) times\b", text)
    assert found is not None, text
    return int(found[1])


def test_that_a_run_goes_on_is_told_to_those_who_heard_of_the_stall(
    recorder: Recorder, journal: Journal, log: pytest.LogCaptureFixture
) -> None:
    """The run tells it, as a check would, and at its end there is nothing left to tell."""
    other = Recorder("other", ["recovery"])
    with supervise("night", handlers=[recorder, other], stall_after_s=0.5) as run:
        flap(run, log, 1)
    assert (recorder.received, other.received) == (["stalled", "recovery"], [])
    assert recorder.messages[1].subject.startswith("night makes progress again on ")
    assert "after it had made none for" in text_of(recorder.messages[1])
    assert looks(journal, recorder) == []


@pytest.mark.parametrize("is_kept", [True, False])
def test_the_stalls_of_a_run_are_told_three_times(
    recorder: Recorder, journal: Journal, log: pytest.LogCaptureFixture, is_kept: bool
) -> None:
    """A run that stalls again and again is told three times for now, and its end says how often it was."""
    with supervise("night", handlers=[recorder], stall_after_s=0.05, journal=is_kept) as run:
        flap(run, log, 6)
    assert recorder.received == ["stalled", "recovery", "stalled", "recovery", "stalled", "recovery"]
    second, third, end = (recorder.messages[each] for each in (2, 4, 5))
    assert second.subject.endswith(", for the second time")
    assert third.subject.endswith(", for the third time")
    assert "From now on at most one stall an hour is reported" in text_of(third)
    assert times_in(end.subject) == times_in(text_of(end)) >= 6
    assert looks(journal, recorder) == []


def test_a_failure_says_how_often_the_run_had_stalled(recorder: Recorder, log: pytest.LogCaptureFixture) -> None:
    """The number goes into a failure too."""
    with pytest.raises(KeyError), supervise("night", handlers=[recorder], stall_after_s=0.05) as run:
        flap(run, log, 4)
        raise KeyError("apn")
    assert recorder.received[-1] == "failure"
    assert times_in(text_of(recorder.messages[-1])) >= 4


def test_a_stall_that_was_held_back_is_told_when_its_time_has_come(
    recorder: Recorder, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that hangs for good after three stalls is told, once more, when an hour is over."""
    monkeypatch.setattr(watchdog, "LOOK_AGAIN_S", 0.05)
    with supervise("night", handlers=[recorder], stall_after_s=0.05) as run:
        flap(run, log, 4)
        wait_until(lambda: log.text.count("made no progress") >= 5)
        assert recorder.received == ["stalled", "recovery"] * 2 + ["stalled"]
        monkeypatch.setattr(parts, "NOTIFY_AGAIN_AFTER_S", 0.0)  # the hour is over
        wait_until(lambda: len(recorder.received) == 6)
        let_time_pass(0.2, "it is told no second time")
    assert recorder.received == ["stalled", "recovery"] * 2 + ["stalled", "stalled", "recovery"]
    again = text_of(recorder.messages[5])
    assert re.search(r"It is the \w+ stall of this run, and \d+ stalls? before it went unreported\.", again)
    assert times_in(recorder.messages[6].subject) >= 5


def test_kinds_of_findings_are_kept_once_for_a_run(
    recorder: Recorder, journal: Journal, log: pytest.LogCaptureFixture
) -> None:
    """However often a run stalls, the journal keeps one finding of it."""
    with supervise("night", handlers=[recorder], stall_after_s=0.05) as run:
        flap(run, log, 5)
        (found,) = journal.alerts_of(run.id)
        assert (found.kind, found.awaiting_recovery) == (Kind.STALLED, ("recorder",))
        assert found.times == found.skipped + 3 >= 5
