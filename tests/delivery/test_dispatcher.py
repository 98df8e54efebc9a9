"""Delivery: each handler stands alone, what fails is tried again, and a run waits no longer than it was told to."""

from __future__ import annotations

import functools
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorders import Recorder
from scripts import NO_WARNING_OF_FORKS
from scripts import run as run_script

from supervisor import DeliveryError, MessageDetails, Supervisor, current_run, supervise
from supervisor._delivery.dispatcher import handler_name
from supervisor._delivery.job import LONGEST_RETRY_S, retry_delay_s
from supervisor.models import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_S = 60.0
quiet = functools.partial(supervise, journal=False)


class Raises(Recorder):
    """Raises, each time or only at first.

    Args:
        errors: What it raises, in turn; then it accepts.
    """

    def __init__(self, *errors: BaseException, name: str = "raises") -> None:
        super().__init__(name)
        self.errors = list(errors)
        self.tried_s: list[float] = []

    def send_message(self, details: MessageDetails, /) -> None:
        """Raise what comes next."""
        self.tried_s.append(time.monotonic())
        if self.errors:
            raise self.errors.pop(0)
        super().send_message(details)


class Hangs(Recorder):
    """Hangs until it is let go."""

    def __init__(self) -> None:
        super().__init__("hangs")
        self.go_on = threading.Event()
        self.called = threading.Event()

    def send_message(self, details: MessageDetails, /) -> None:
        """Hang."""
        self.called.set()
        self.go_on.wait(PATIENCE_S)
        super().send_message(details)


class Prints(Recorder):
    """Prints while it sends."""

    def send_message(self, details: MessageDetails, /) -> None:
        """Print."""
        print("sent", details.subject)
        super().send_message(details)


def wait_for(condition: Callable[[], object]) -> None:
    """Return when a condition holds."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)


def workers(name: str) -> list[str]:
    """Return the threads that deliver to a handler."""
    return [each.name for each in threading.enumerate() if each.name == f"supervisor {name}"]


# Each handler stands alone


@pytest.mark.parametrize(
    "error",
    [
        ValueError("text"),
        OSError(101, "network is unreachable"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        BaseException("text"),
        DeliveryError("refused", permanent=True),
        DeliveryError("not now"),
        MemoryError(),
        RecursionError("text"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_handler_that_raises_stops_neither_the_next_nor_the_script(error: BaseException, recorder: Recorder) -> None:
    """Whatever a handler raises, the other handlers and the script go on."""
    raises = Raises(*[error] * 10)
    with quiet("night", handlers=[raises, recorder], report_on=["success"], delivery_deadline_s=0.2) as run:
        run.notify("one")
        run.notify("two")
    assert recorder.subjects[:2] == ["one", "two"]
    assert recorder.told == ["notice", "notice", "success"]
    assert len(raises.tried_s) >= 1
    raises.errors.clear()  # so that it is not tried for ever


def test_a_handler_that_hangs_stops_neither_the_next_nor_the_script(recorder: Recorder) -> None:
    """A handler that hangs holds up nobody: the script goes on at once, and the run ends at its deadline."""
    hangs = Hangs()
    try:
        with quiet("night", handlers=[hangs, recorder], delivery_deadline_s=0.3) as run:
            run.notify("one")
            assert hangs.called.wait(PATIENCE_S)
            run.notify("two")
            wait_for(lambda: recorder.subjects == ["one", "two"])
            before_s = time.monotonic()
        waited_s = time.monotonic() - before_s
        assert 0.25 <= waited_s < 15
        assert hangs.messages == []
    finally:
        hangs.go_on.set()
    wait_for(lambda: hangs.subjects == ["one", "two"])


def test_a_deadline_of_zero_does_not_wait() -> None:
    """With ``delivery_deadline_s=0`` a run ends at once, and its messages are delivered behind it."""
    hangs = Hangs()
    with quiet("night", handlers=[hangs], delivery_deadline_s=0) as run:
        run.notify("one")
    hangs.go_on.set()
    wait_for(lambda: hangs.subjects == ["one"])


def test_a_run_waits_for_its_messages(recorder: Recorder) -> None:
    """Behind its block everything that a run said has been delivered."""

    class Slow(Recorder):
        def send_message(self, details: Any, /) -> None:
            time.sleep(0.05)
            super().send_message(details)

    slow = Slow()
    with quiet("night", handlers=[slow], report_on=["success"]) as run:
        for i in range(5):
            run.notify(str(i))
    assert slow.told == ["notice"] * 5 + ["success"]


def test_what_is_left_is_logged(log: pytest.LogCaptureFixture) -> None:
    """What could not be delivered in time is named in supervisor's log, with its handler."""
    raises = Raises(*[OSError("down")] * 50)
    with quiet("night", handlers=[raises], delivery_deadline_s=0.1) as run:
        run.notify("to be delivered")
    raises.errors.clear()  # so that it is not tried for ever
    assert "not delivered yet: 'to be delivered' to raises" in log.text
    assert "raises did not take 'to be delivered'" in log.text
    assert "OSError: down" in log.text


def test_a_handler_that_prints_does_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    """A handler may print."""
    with quiet("night", handlers=[Prints()]) as run:
        run.notify("one")
    assert capsys.readouterr().out == "sent one\n"


@pytest.mark.parametrize("how", ["current_run", "the run", "a supervisor"])
def test_a_handler_that_speaks_itself_makes_no_end_of_it(how: str, log: pytest.LogCaptureFixture) -> None:
    """A handler that calls notify while it sends is refused, so that one message does not beget another for ever."""

    class Speaks(Recorder):
        def send_message(self, details: Any, /) -> None:
            super().send_message(details)
            if how == "current_run":
                assert current_run() is None
                return
            (run if how == "the run" else sup).notify("echo")

    speaks = Speaks()
    sup = Supervisor("process", handlers=[speaks], journal=False)
    with quiet("night", handlers=[speaks]) as run:
        run.notify("one")
    assert speaks.subjects == ["one"]
    assert ("its message 'echo' is left out" in log.text) == (how != "current_run")


def test_a_handler_with_a_supervised_inside(recorder: Recorder) -> None:
    """A handler whose code is a supervised function of its own works: that run may fail and end."""

    class Deep(Recorder):
        def send_message(self, details: Any, /) -> None:
            with quiet("inside a handler", handlers=[recorder], reraise=False, delivery_deadline_s=1):
                raise KeyError("apn")
            super().send_message(details)

    deep = Deep()
    with quiet("night", handlers=[deep]) as run:
        run.notify("one")
    assert deep.subjects == ["one"]
    assert recorder.messages == []


def test_a_message_is_the_same_for_all_handlers(recorder: Recorder) -> None:
    """Every handler gets the same message with the same id."""
    other = Recorder("other")
    with quiet("night", handlers=[recorder, other]) as run:
        run.notify("one")
    assert recorder.only == other.only
    assert recorder.only.id == other.only.id


# Trying again


def test_a_temporary_failure_is_tried_again(log: pytest.LogCaptureFixture) -> None:
    """A message that was not taken is tried again until it is, with the same id, and the run waits for it."""
    raises = Raises(DeliveryError("busy", retry_after_s=0.0), OSError("down"))
    with quiet("night", handlers=[raises]) as run:
        run.notify("one")
    assert raises.subjects == ["one"]
    assert len(raises.tried_s) == 3
    assert raises.tried_s[2] - raises.tried_s[1] >= 0.9
    assert "busy" in log.text


def test_what_the_destination_asks_for_is_waited(log: pytest.LogCaptureFixture) -> None:
    """``retry_after_s`` is honoured: never sooner, whatever delivery would have chosen."""
    raises = Raises(DeliveryError("busy", retry_after_s=1.5))
    with quiet("night", handlers=[raises]) as run:
        run.notify("one")
    assert raises.tried_s[1] - raises.tried_s[0] >= 1.5
    assert raises.subjects == ["one"]


def test_a_run_does_not_wait_for_what_cannot_be_within_its_deadline() -> None:
    """A run that knows that the next attempt lies behind its deadline ends at once."""
    raises = Raises(DeliveryError("busy", retry_after_s=3600.0))
    before_s = time.monotonic()
    with quiet("night", handlers=[raises], delivery_deadline_s=50.0) as run:
        run.notify("one")
    assert time.monotonic() - before_s < 25


def test_a_permanent_failure_is_not_repeated(log: pytest.LogCaptureFixture) -> None:
    """What was refused for good is not tried again; it is logged as an error, and the run does not wait for it."""
    raises = Raises(DeliveryError("no such channel", permanent=True), name="slack")
    with quiet("night", handlers=[raises]) as run:
        run.notify("one")
        run.notify("two")
    assert raises.subjects == ["two"]
    assert len(raises.tried_s) == 2
    assert "slack refused 'one': no such channel" in log.text
    assert "not delivered yet" not in log.text


def test_one_message_that_fails_does_not_hold_up_the_next() -> None:
    """While one message waits for its next attempt, the messages after it go out."""

    class Picky(Recorder):
        def send_message(self, details: Any, /) -> None:
            if details.subject == "bad" and "good 2" not in self.subjects:
                raise DeliveryError("not this one", retry_after_s=0.2)
            super().send_message(details)

    picky = Picky()
    with quiet("night", handlers=[picky]) as run:
        for subject in ("bad", "good 1", "good 2"):
            run.notify(subject)
    assert picky.subjects == ["good 1", "good 2", "bad"]


@given(attempts=st.integers(1, 10_000), asked=st.none() | st.floats(0, 1e6), chance=st.floats(0, 1))
def test_waiting_grows_to_a_limit_and_is_never_too_short(attempts: int, asked: float | None, chance: float) -> None:
    """The wait doubles up to five minutes, differs by chance, and is at least what the destination asked for."""
    delay_s = retry_delay_s(attempts, asked, lambda: chance)
    longest = min(LONGEST_RETRY_S, 2.0 ** min(attempts - 1, 20))
    assert delay_s >= max(asked or 0.0, longest / 2)
    assert delay_s <= max(asked or 0.0, longest)


def test_a_message_that_is_too_old_is_given_up(log: pytest.LogCaptureFixture) -> None:
    """After a week of failures a message is given up."""
    raises = Raises(*[OSError("down")] * 3)
    details = attrs.evolve(MessageDetails("old"), created_at=datetime.now(UTC) - timedelta(days=8))
    with quiet("night", handlers=[raises]) as run:
        run.notify(details)
    assert len(raises.tried_s) == 1
    assert "raises refused 'old'" in log.text


def test_a_message_that_comes_late_says_so(recorder: Recorder) -> None:
    """A message that is delivered long after it was written tells when that was."""
    details = MessageDetails("old", "text", html="<p>text</p>", created_at=datetime.now(UTC) - timedelta(hours=5))
    with quiet("night", handlers=[recorder]) as run:
        run.notify(details)
    assert recorder.only.message.startswith("Delayed 5 h")
    assert recorder.only.message.endswith("\n\ntext")
    assert recorder.only.html is not None
    assert "Delayed 5 h" in recorder.only.html


# Which messages, in which order, to whom


def good_and_bad(*handlers: Recorder, **settings: Any) -> None:
    """Have a run that says something and succeeds, and one that fails."""
    with quiet("good", handlers=handlers, **settings) as run:
        run.notify("hello")
    with pytest.raises(KeyError), quiet("bad", handlers=handlers, **settings):
        raise KeyError("apn")


def test_a_handler_without_kinds_gets_what_the_run_reports() -> None:
    """A handler that does not say which kinds it wants gets what ``report_on`` says, failures and all notices."""
    default, more = Recorder("default"), Recorder("more")
    good_and_bad(default)
    good_and_bad(more, report_on=["start", "success"])
    assert default.told == ["notice", "failure"]
    assert more.told == ["start", "notice", "success", "start", "failure"]


@pytest.mark.parametrize("report_on", [(), ("start", "success")])
@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ({Kind.FAILURE}, ["failure"]),
        (["success"], ["success"]),
        (("start", "notice"), ["start", "notice", "start"]),
        pytest.param({"failure", "success", "start"}, ["start", "success", "start", "failure"], id="a set"),
        ((), []),
        (frozenset(), []),
    ],
    ids=str,
)
def test_a_handler_with_kinds_gets_those(kinds: Any, told: list[str], report_on: tuple[str, ...]) -> None:
    """A handler that has ``kinds`` gets those and no others, whatever ``report_on`` says; with none it gets nothing."""
    choosy, other = Recorder("choosy", kinds=kinds), Recorder("other")
    good_and_bad(choosy, other, report_on=report_on)
    assert choosy.told == told
    assert other.told == (["start", "notice", "success", "start", "failure"] if report_on else ["notice", "failure"])


def test_two_handlers_of_one_name_both_hear() -> None:
    """Handlers that share a name are told apart, and each gets each message once."""
    one, two, three = Recorder("same"), Recorder("same"), Recorder("same")
    with quiet("night", handlers=[one, two, three]) as run:
        run.notify("hello")
        assert [len(workers(name)) for name in ("same", "same#2", "same#3")] == [1, 1, 1]
    assert [each.subjects for each in (one, two, three)] == [["hello"]] * 3


def test_a_handler_given_twice_hears_once_each() -> None:
    """The same object given twice stands for two destinations, and hears twice: nobody is left out."""
    one = Recorder()
    with quiet("night", handlers=[one, one]) as run:
        run.notify("hello")
    assert one.subjects == ["hello", "hello"]


def test_a_handlers_name_is_its_own_or_its_classes() -> None:
    """A handler is found again by its ``name``, or by its class when it has none worth the word."""

    class Mine:
        def send_message(self, details: Any, /) -> None: ...

    class Blank(Mine):
        name = ""

    class Number(Mine):
        name = 5

    assert handler_name(Recorder("slack parcels")) == "slack parcels"
    for kind in (Mine, Blank, Number):
        assert handler_name(kind()) == f"{__name__}.{kind.__qualname__}"


def test_order_is_kept_however_slow_a_handler_is(recorder: Recorder) -> None:
    """A flood of messages reaches a slow handler in the order in which they were said."""

    class Slow(Recorder):
        def send_message(self, details: Any, /) -> None:
            time.sleep(0.0005)
            super().send_message(details)

    slow = Slow()
    with quiet("night", handlers=[slow, recorder]) as run:
        for i in range(300):
            run.notify(str(i))
    assert slow.subjects == recorder.subjects == [str(i) for i in range(300)]


def test_a_flood_is_bounded_and_told(recorder: Recorder) -> None:
    """A script that says too much is held back after a burst, and at its end it is told how many that were."""
    with quiet("night", handlers=[recorder]) as run:
        for i in range(3000):
            run.notify(f"number {i}")
    assert recorder.subjects[:500] == [f"number {i}" for i in range(500)]
    assert len(recorder.messages) < 600
    assert "held back" in recorder.subjects[-1]
    held_back = int(recorder.subjects[-1].partition(": ")[2].split()[0].replace(",", ""))
    assert held_back + len(recorder.messages) - 1 == 3000
    assert "number 2999" in recorder.messages[-1].message


def test_a_flood_of_failures_is_not_held_back(recorder: Recorder) -> None:
    """A failure is told also by a run that has said too much before."""
    with pytest.raises(KeyError), quiet("night", handlers=[recorder]) as run:
        for i in range(700):
            run.notify(f"number {i}")
        raise KeyError("apn")
    assert "failure" in recorder.told


@pytest.mark.parametrize("journal", [True, False])
def test_one_courier_serves_a_handler_at_a_time(journal: bool) -> None:
    """A handler needs no locks: messages of several threads, runs and supervisors reach it one at a time."""
    inside, most = 0, 0

    class Counts(Recorder):
        def send_message(self, details: Any, /) -> None:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            time.sleep(0.002)
            super().send_message(details)
            inside -= 1

    counts = Counts()
    sup = Supervisor(handlers=[counts], journal=journal)

    def speak(run: Any, n: int) -> None:
        for i in range(10):
            run.notify(f"{n} {i}")

    with sup.supervise("outer") as outer, sup.supervise("inner") as inner:
        speakers = [(outer, 0), (outer, 1), (inner, 2), (sup, 3)]
        threads = [threading.Thread(target=speak, args=speaker) for speaker in speakers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    wait_for(lambda: len(counts.messages) == 40)
    assert most == 1


# Threads


def test_workers_come_with_the_first_message_and_go_when_all_is_done() -> None:
    """One thread a handler starts at the first message, and is gone some time after the run."""
    with quiet("night", handlers=[Recorder("served"), Recorder("idle", kinds={"died"})]) as run:
        assert workers("served") == []
        run.notify("one")
        assert workers("served") == ["supervisor served"]
        run.notify("two")
        assert workers("served") == ["supervisor served"]
        assert workers("idle") == []
    wait_for(lambda: not workers("served"))


def test_a_handler_is_closed_when_all_is_done(recorder: Recorder) -> None:
    """A handler's ``close()`` is called when nothing is left to do, and the handler can be used again after it."""
    for subject in ("one", "two"):
        with quiet("night", handlers=[recorder]) as run:
            run.notify(subject)
        wait_for(lambda: recorder.closed == len(recorder.messages))
    assert recorder.subjects == ["one", "two"]


def test_a_close_that_raises_does_no_harm() -> None:
    """Whatever ``close()`` raises, or if it is no method at all, the run has ended well."""

    class Rude(Recorder):
        def close(self) -> None:
            super().close()
            raise OSError("already gone")

    rude = Rude()
    with quiet("night", handlers=[rude]) as run:
        run.notify("one")
    wait_for(lambda: rude.closed)
    odd = Recorder()
    odd.close = None  # type: ignore[assignment, method-assign]  # on purpose
    with quiet("night", handlers=[odd]) as run:
        run.notify("one")
    assert odd.subjects == ["one"]


def test_a_handler_is_not_in_the_run(recorder: Recorder) -> None:
    """What a handler does is not done in the run: neither its context nor its threads are the run's."""
    seen: list[Any] = []

    class Looks(Recorder):
        def send_message(self, details: Any, /) -> None:
            thread = threading.Thread(target=lambda: seen.append(current_run()))
            thread.start()
            thread.join()
            seen.append(current_run())

    with quiet("night", handlers=[Looks()]) as run:
        run.notify("one")
    assert seen == [None, None]


def test_a_process_that_ends_waits_for_a_bounded_time(tmp_path: Path) -> None:
    """A process whose run gave up waiting ends without waiting again: the handler that hangs does not keep it."""
    body = """
        import threading
        class Hangs:
            def send_message(self, details): threading.Event().wait(60)
        with supervise("night", handlers=[Hangs()], delivery_deadline_s=0.1) as run:
            run.notify("one")
    """
    before_s = time.monotonic()
    ended = run_script(tmp_path, body)
    assert ended.code == 0
    assert time.monotonic() - before_s < 25


def test_a_child_delivers_its_own_and_not_its_parents(tmp_path: Path) -> None:
    """After a fork the parent's messages stay the parent's, also those on their way, and the child can send its own."""
    body = """
        import os, time
        class Slow:
            name = "slow"
            def send_message(self, details):
                time.sleep(0.2)
                told.send_message(details)
        slow = Slow()
        with supervise("parent", handlers=[slow]) as outer:
            outer.notify("parent 1")
            outer.notify("parent 2")
            pid = os.fork()
            if pid == 0:
                with supervise("child", handlers=[slow]) as inner:
                    inner.notify("child 1")
                os._exit(0)
            os.waitpid(pid, 0)
    """
    ended = run_script(tmp_path, body, extra_env=NO_WARNING_OF_FORKS)
    assert (ended.code, ended.stderr) == (0, "")
    assert sorted(each["subject"] for each in ended.told) == ["child 1", "parent 1", "parent 2"]
    pids = {each["subject"].split()[0]: each["pid"] for each in ended.told}
    assert pids["child"] != pids["parent"]
