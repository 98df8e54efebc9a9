"""A runtime holds all that its runs share: two of them in one process have nothing to do with each other."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
from recorders import Recorder

from supervisor import (
    DeliveryError,
    MessageDetails,
    Run,
    Supervisor,
    supervise,
    supervised,
)
from supervisor._config import ActiveConfiguration
from supervisor._models import DeliveryState
from supervisor._runtime import Runtime, default_runtime, using
from supervisor._store import open_journal
from supervisor.message_handlers._registry import handler_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], Runtime]]:
    """Return what makes a runtime with a state directory of that name."""
    made: list[Runtime] = []

    def runtime(name: str) -> Runtime:
        made.append(Runtime(state_directory=tmp_path / name))
        return made[-1]

    yield runtime
    for each in made:
        each.close()


def names(runtime: Runtime) -> list[str]:
    """Return the names of the runs in the journal of a runtime, by a look from outside."""
    journal = open_journal(runtime.state_path())
    try:
        return sorted(record.report.name for record in journal.runs())
    finally:
        journal.close()


def deliveries(runtime: Runtime) -> dict[str, DeliveryState]:
    """Return the subjects in the outbox of a runtime that are not sent, by a look from outside."""
    journal = open_journal(runtime.state_path())
    try:
        return {each.subject: each.state for each in journal.deliveries()}
    finally:
        journal.close()


class Refuses(Recorder):
    """Refuses each message for good."""

    def send_message(self, details: MessageDetails, /) -> None:
        """Refuse it."""
        raise DeliveryError("closed", permanent=True)


def test_two_journals_in_one_process_hold_their_own_runs(make: Callable[[str], Runtime], state: Path) -> None:
    """Runs of two runtimes, one within the other, stand each in its own journal, and nothing in the default one."""
    one, other = make("one"), make("other")
    with using(one):
        first = supervise("first")
    with using(other):
        second = supervise("second")
    with first, second, Run(first.settings, other):
        pass
    assert (names(one), names(other)) == (["first"], ["first", "second"])
    assert not list(state.iterdir())


def test_deliveries_settle_in_the_journal_that_accepted_them(make: Callable[[str], Runtime]) -> None:
    """What one handler refuses from two runtimes at the same time is failed in the outbox that it came from."""
    one, other = make("one"), make("other")
    refuses = Refuses("refuses")
    with using(one):
        first = supervise("first", handlers=refuses)
    with using(other):
        second = supervise("second", handlers=refuses)
    with first, second:
        second.notify("of the other")
        first.notify("of the one")
    assert deliveries(one) == {"of the one": DeliveryState.FAILED}
    assert deliveries(other) == {"of the other": DeliveryState.FAILED}


def test_what_one_runtime_left_another_does_not_fetch(make: Callable[[str], Runtime], recorder: Recorder) -> None:
    """A run looks only in the outbox of its own runtime for what earlier runs left."""
    one, other = make("one"), make("other")
    journal = one.journal()
    assert journal is not None
    journal.put(MessageDetails("left"), ["recorder"])
    with using(other), supervise("night", handlers=recorder):
        pass
    assert recorder.subjects == []
    with using(one), supervise("night", handlers=recorder):
        pass
    assert recorder.subjects == ["left"]


def test_a_run_has_the_runtime_that_is_the_default_when_it_is_made(make: Callable[[str], Runtime]) -> None:
    """Decorated functions and a Supervisor find the default at each call, also in another thread."""
    one = make("one")

    @supervised("night", journal=True)
    def night() -> None:
        pass

    for_all = Supervisor("for all")
    with using(one):
        night()
        thread = threading.Thread(target=lambda: for_all.supervise().__enter__().__exit__(None, None, None))
        thread.start()
        thread.join()
    night()
    assert names(one) == ["for all", "night"]
    assert names(default_runtime()) == ["night"]


def test_the_locks_and_logs_of_runs_are_in_the_state_directory(make: Callable[[str], Runtime], state: Path) -> None:
    """What keeps runs apart, and their own logs, follow the runtime; so two of a name may run in two runtimes."""
    one, other = make("one"), make("other")
    with ExitStack() as runs:
        for runtime in (one, other):
            with using(runtime):
                runs.enter_context(supervise("night", overlap="fail", capture_logs=True))
    for runtime in (one, other):
        assert {each.name for each in runtime.state_directory().iterdir()} >= {"locks", "logs"}
    assert not list(state.iterdir())


def test_the_clock_dates_runs_and_the_journal(tmp_path: Path) -> None:
    """A runtime's clock is that of the reports of its runs, and of their entries."""
    with using(Runtime(state_directory=tmp_path, clock=lambda: 1e9)) as runtime, supervise("night") as run:
        run.progress(1, 2)
    assert run.report().started_at.timestamp() == 1e9
    with closing(open_journal(runtime.state_path())) as journal:
        (record,) = journal.runs()
    assert record.report.started_at.timestamp() == 1e9


def test_a_runtime_without_a_configuration_goes_by_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    """The core does without configuration files; with them, a runtime reads its own once."""
    (tmp_path / "supervisor.toml").write_text("[defaults]\ndelivery_deadline_s = 5\n")
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(tmp_path / "supervisor.toml"))
    with using(Runtime()):
        assert supervise("night", handlers=recorder).settings.delivery_deadline_s == 30
    with using(Runtime(ActiveConfiguration(handler_class=handler_class))):
        assert supervise("night", handlers=recorder).settings.delivery_deadline_s == 5


def test_a_closed_runtime_opens_its_journal_again(make: Callable[[str], Runtime]) -> None:
    """Closing lets go of the file; the next run has it again."""
    runtime = make("one")
    for name in ("first", "second"):
        with using(runtime), supervise(name):
            pass
    assert names(runtime) == ["first", "second"]


class IsDown(Recorder):
    """Takes nothing, and says in which thread it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[threading.Thread] = []

    def send_message(self, details: MessageDetails, /) -> None:
        """Refuse it for now."""
        self.threads.append(threading.current_thread())
        raise DeliveryError("down")


def test_a_closed_runtime_has_no_threads_and_its_messages_wait_for_anybody(make: Callable[[str], Runtime]) -> None:
    """A thread that was to try again ends with its runtime; what it had waits in the outbox, unclaimed."""
    runtime, handler = make("state"), IsDown()
    with using(runtime), supervise("night", handlers=[handler], delivery_deadline_s=0) as run:
        run.notify("first")
        run.flush(10)
        run.notify("second")
    assert handler.threads
    assert not any(thread.is_alive() for thread in handler.threads)
    with closing(open_journal(runtime.state_path())) as journal:
        assert [(each.subject, each.is_claimed) for each in journal.deliveries()] == [
            ("first", False),
            ("second", False),
        ]
