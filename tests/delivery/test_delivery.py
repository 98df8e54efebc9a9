"""Dispatchers: each handler stands alone, gets what it wants in order, and no run waits longer than it should."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

import pytest
from faulty_handlers import Hangs, Prints, Raises, worker_threads
from recorders import Recorder
from waiting import PATIENCE_S, wait_until

from supervisor import DeliveryError, Supervisor, current_run, supervise
from supervisor._delivery import handler_name
from supervisor._store import open_journal
from supervisor.models import Kind

if TYPE_CHECKING:
    from pathlib import Path

quiet = functools.partial(supervise, journal=False)


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
    assert recorder.received == ["notice", "notice", "success"]
    assert len(raises.tried_s) >= 1
    raises.errors.clear()  # so that it is not tried for ever


def test_a_handler_that_hangs_stops_neither_the_next_nor_the_script(recorder: Recorder) -> None:
    """A handler that hangs delays nobody: the script goes on at once, and the run ends at its deadline."""
    hangs = Hangs()
    try:
        with quiet("night", handlers=[hangs, recorder], delivery_deadline_s=0.3) as run:
            run.notify("one")
            assert hangs.called.wait(PATIENCE_S)
            run.notify("two")
            wait_until(lambda: recorder.subjects == ["one", "two"])
            before_s = time.monotonic()
        waited_s = time.monotonic() - before_s
        assert 0.25 <= waited_s < 15
        assert hangs.messages == []
    finally:
        hangs.go_on.set()
    wait_until(lambda: hangs.subjects == ["one", "two"])


def test_a_deadline_of_zero_does_not_wait() -> None:
    """With ``delivery_deadline_s=0`` a run ends at once, and its messages are delivered afterwards."""
    hangs = Hangs()
    with quiet("night", handlers=[hangs], delivery_deadline_s=0) as run:
        run.notify("one")
    hangs.go_on.set()
    wait_until(lambda: hangs.subjects == ["one"])


def test_a_run_waits_for_its_messages(recorder: Recorder) -> None:
    """After the block of a run, all its messages have been delivered."""

    class Slow(Recorder):
        def send_message(self, details: Any, /) -> None:
            time.sleep(0.05)
            super().send_message(details)

    slow = Slow()
    with quiet("night", handlers=[slow], report_on=["success"]) as run:
        for i in range(5):
            run.notify(str(i))
    assert slow.received == ["notice"] * 5 + ["success"]


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
    """A handler that calls ``notify`` while it sends is refused: each message would lead to another one for ever."""

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


# Which messages, in which order, to whom


def good_and_bad(*handlers: Recorder, **settings: Any) -> None:
    """Run a run with a notice that succeeds, and one that fails."""
    with quiet("good", handlers=handlers, **settings) as run:
        run.notify("hello")
    with pytest.raises(KeyError), quiet("bad", handlers=handlers, **settings):
        raise KeyError("apn")


def test_a_handler_without_kinds_gets_what_the_run_reports() -> None:
    """A handler that does not say which kinds it wants gets what ``report_on`` says, failures and all notices."""
    default, more = Recorder("default"), Recorder("more")
    good_and_bad(default)
    good_and_bad(more, report_on=["start", "success"])
    assert default.received == ["notice", "failure"]
    assert more.received == ["start", "notice", "success", "start", "failure"]


@pytest.mark.parametrize("report_on", [(), ("start", "success")])
@pytest.mark.parametrize(
    ("kinds", "received"),
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
def test_a_handler_with_kinds_gets_those(kinds: Any, received: list[str], report_on: tuple[str, ...]) -> None:
    """A handler that has ``kinds`` gets those and no others, whatever ``report_on`` says; with none it gets nothing."""
    choosy, other = Recorder("choosy", kinds=kinds), Recorder("other")
    good_and_bad(choosy, other, report_on=report_on)
    assert choosy.received == received
    assert other.received == (
        ["start", "notice", "success", "start", "failure"] if report_on else ["notice", "failure"]
    )


def test_two_handlers_of_one_name_both_hear() -> None:
    """Handlers that share a name are distinguished, and each gets each message once."""
    one, two, three = Recorder("same"), Recorder("same"), Recorder("same")
    with quiet("night", handlers=[one, two, three]) as run:
        run.notify("hello")
        assert [len(worker_threads(name)) for name in ("same", "same#2", "same#3")] == [1, 1, 1]
    assert [each.subjects for each in (one, two, three)] == [["hello"]] * 3


def test_a_handler_given_twice_hears_once_each() -> None:
    """The same object given twice counts as two destinations, and gets each message twice."""
    one = Recorder()
    with quiet("night", handlers=[one, one]) as run:
        run.notify("hello")
    assert one.subjects == ["hello", "hello"]


def test_a_handlers_name_is_its_own_or_its_classes() -> None:
    """A handler is found again by its ``name``, or by its class when it has no usable one."""

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
    """A flood of messages reaches a slow handler in the order in which they were accepted."""

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
    """Messages beyond a burst are held back, and a message at the end says how many."""
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
    """A failure is sent even when the messages before it were held back."""
    with pytest.raises(KeyError), quiet("night", handlers=[recorder]) as run:
        for i in range(700):
            run.notify(f"number {i}")
        raise KeyError("apn")
    assert "failure" in recorder.received


# What waits under a former name of a handler


class Renamed(Recorder):
    """A handler that earlier versions gave another name."""

    def __init__(self, name: str, former: str) -> None:
        super().__init__(name)
        self._former_name = former


def test_what_waits_under_a_former_name_is_delivered_where_one_handler_can_have_had_it(state: Path) -> None:
    """The next run of the script takes its own messages; those of another script wait for that one's next run."""
    refuses = [DeliveryError("closed", retry_after_s=3600.0)]
    for name in ("night", "day"):
        with supervise(name, handlers=[Raises(*refuses, name="webhook:example.com")], delivery_deadline_s=0.5) as run:
            run.notify(f"hello from {name}")
    journal = open_journal(state)
    wait_until(lambda: [each.is_claimed for each in journal.deliveries()] == [False, False])
    today = Renamed("webhook:example.com#3f2a", "webhook:example.com")
    with supervise("night", handlers=[today]):
        pass
    assert today.subjects == ["hello from night"]
    assert [(each.handler, each.subject) for each in journal.deliveries()] == [
        ("webhook:example.com", "hello from day")
    ]
    journal.close()


def test_what_several_handlers_can_have_had_waits_and_is_named(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A message is not sent to a destination that it may not be meant for; the log says what to do."""
    refuses = DeliveryError("closed", retry_after_s=3600.0)
    with supervise("night", handlers=[Raises(refuses, name="webhook")], delivery_deadline_s=0.5) as run:
        run.notify("hello")
    both = [Renamed("webhook#1", "webhook"), Renamed("webhook#2", "webhook")]
    with supervise("night", handlers=both):
        pass
    assert [each.subjects for each in both] == [[], []]
    assert "the former name of 'webhook#1' and 'webhook#2'" in caplog.text
    journal = open_journal(state)
    assert [each.handler for each in journal.deliveries()] == ["webhook"]
    journal.close()
