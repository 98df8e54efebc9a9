"""Runs of one name that overlap: let in, skipped or failed, in one process and in several."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from typing import TYPE_CHECKING, Any

import pytest
from recorders import Recorder
from scripts import Script, run

from supervisor import supervise, supervised
from supervisor._store import open_journal
from supervisor.errors import OverlapError, RunSkipped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

SKIPPING = """
@supervised("night", handlers=[recorder], overlap="skip", report_on=["success"])
def main():
    print("at work")

print(main())
"""
FAILING = SKIPPING.replace("skip", "fail")
HOLDING = """
import time
@supervised("night", handlers=[recorder], overlap="skip")
def main():
    ready()
    time.sleep(60)

main()
"""


def outcomes(state: Path, name: str = "night") -> list[str]:
    """Return how the runs of a name ended, oldest first; "" for one that has not."""
    journal = open_journal(state)
    found = [str(each.report.outcome or "") for each in journal.runs(name)][::-1]
    journal.close()
    return found


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Script]:
    """Return a run in a process of its own that is under way until it is killed."""
    (tmp_path / "holder").mkdir()
    script = Script(tmp_path / "holder", HOLDING)
    script.wait_until_ready()
    yield script
    script.process.kill()
    script.process.communicate()


class InAThread:
    """A run of a name that is under way in a thread that no run started, while the block lasts."""

    def __init__(self, name: str = "night", **settings: Any) -> None:
        self._there, self._go = threading.Event(), threading.Event()
        self._run = supervise(name, **{"overlap": "skip", **settings})
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        with self._run:
            self._there.set()
            self._go.wait()

    def __enter__(self) -> None:
        self._thread.start()
        self._there.wait()

    def __exit__(self, *error: object) -> None:
        self._go.set()
        self._thread.join()


# In several processes


def test_a_call_is_skipped_while_another_is_under_way(holder: Script, tmp_path: Path, state: Path) -> None:
    """With "skip" the function is not called, the call returns None, nobody is told, and the journal has it."""
    ended = run(tmp_path, SKIPPING)
    assert (ended.code, ended.stdout, ended.messages) == (0, "None\n", [])
    assert outcomes(state) == ["", "skipped"]


def test_a_call_fails_while_another_is_under_way(holder: Script, tmp_path: Path, state: Path) -> None:
    """With "fail" a failure is told that names the run under way, and OverlapError leaves the call."""
    ended = run(tmp_path, FAILING)
    assert ended.code == 1
    assert ended.kinds == ["failure"]
    assert ended.messages[0]["error"] == "OverlapError"
    said = f", process {holder.process.pid}, is still under way"
    assert said in ended.messages[0]["error_message"]
    assert f"OverlapError: another run, started {ended.messages[0]['error_message'][21:26]}{said}" in ended.stderr
    assert "at work" not in ended.stdout
    assert outcomes(state) == ["", "failure"]


def test_a_run_that_is_killed_lets_the_next_one_in(holder: Script, tmp_path: Path, state: Path) -> None:
    """After a SIGKILL the next run starts, is no overlap, and tells that the other died."""
    holder.process.kill()
    holder.process.wait()
    ended = run(tmp_path, SKIPPING)
    assert ended.stdout == "at work\nNone\n"
    assert sorted(ended.kinds) == ["died", "recovery"]
    assert outcomes(state) == ["died", "success"]


def test_a_block_is_skipped_with_exit_code_0(holder: Script, tmp_path: Path, state: Path) -> None:
    """A block cannot be skipped: RunSkipped leaves it, which ends a script quietly with exit code 0."""
    body = 'with supervise("night", handlers=[recorder], overlap="skip"):\n    print("at work")\nprint("behind")\n'
    ended = run(tmp_path, body)
    assert (ended.code, ended.stdout, ended.stderr, ended.messages) == (0, "", "", [])
    assert outcomes(state) == ["", "skipped"]


def test_allow_starts_another(holder: Script, tmp_path: Path, state: Path) -> None:
    """By default runs may overlap."""
    ended = run(tmp_path, SKIPPING.replace(', overlap="skip"', ""))
    assert ended.stdout == "at work\nNone\n"
    assert outcomes(state) == ["", "success"]


# In one process


def test_runs_in_several_threads_overlap() -> None:
    """A run in another thread is another run."""
    calls: list[int] = []
    work = supervised("night", overlap="skip", journal=False)(lambda: calls.append(1))
    with InAThread(journal=False):
        work()
    assert calls == []
    work()
    assert calls == [1]


def test_runs_of_other_names_do_not_overlap() -> None:
    """Only runs of one name overlap."""
    with InAThread("day", journal=False), supervise("night", overlap="fail", journal=False):
        pass


def test_a_run_within_one_of_its_name_is_let_in() -> None:
    """A function that calls itself, in its own thread or in one that it starts, does not wait for itself."""
    depths: list[int] = []

    @supervised("night", overlap="fail", journal=False)
    def work(depth: int) -> None:
        depths.append(depth)
        if depth == 2:
            thread = threading.Thread(target=work, args=(1,))
            thread.start()
            thread.join()
        elif depth:
            work(depth - 1)

    work(3)
    assert depths == [3, 2, 1, 0]
    work(0)


def test_the_lock_is_free_before_the_messages_are_delivered() -> None:
    """A mail server that hangs does not keep the next run out."""
    sending, release = threading.Event(), threading.Event()

    class Hanging(Recorder):
        def send_message(self, details: Any, /) -> None:
            sending.set()
            release.wait()

    first = threading.Thread(
        target=lambda: (
            supervise("night", overlap="skip", handlers=[Hanging()], report_on="success", journal=False)
            .__enter__()
            .__exit__(None, None, None)
        )
    )
    first.start()
    sending.wait()
    for _ in range(2000):
        try:
            with supervise("night", overlap="skip", journal=False):
                break
        except RunSkipped:
            threading.Event().wait(0.005)
    assert first.is_alive()
    release.set()
    first.join()


def test_a_skipped_call_leaves_another_skip_alone() -> None:
    """A block in a function that is skipped ends the function, not quietly the call around it."""

    @supervised("outer", overlap="skip", journal=False)
    def outer() -> None:
        with supervise("night", overlap="skip", journal=False):
            pass

    with InAThread(journal=False), pytest.raises(RunSkipped):
        outer()


def test_a_failed_call_is_swallowed_without_reraise(recorder: Recorder) -> None:
    """With ``reraise=False`` the overlap is told, and the call returns None."""
    work = supervised("night", overlap="fail", reraise=False, handlers=[recorder], journal=False)(lambda: 5)
    with InAThread(journal=False):
        assert work() is None
    assert recorder.received == ["failure"]
    assert work() == 5


def test_a_failed_block_is_told_and_raises(recorder: Recorder) -> None:
    """With "fail" the block is not entered."""
    with (
        InAThread(journal=False),
        pytest.raises(OverlapError, match="another run of this name is still under way"),
        supervise("night", overlap="fail", handlers=[recorder], journal=False),
    ):
        raise AssertionError("entered")
    assert recorder.only.subject.startswith("night failed on ")
    assert "still under way" in recorder.only.subject


# Other kinds of functions


def test_a_coroutine_awaits_to_none() -> None:
    """A skipped coroutine is not run; a failed one raises; afterwards the loop is as before."""

    async def five() -> int:
        return 5

    skipped = supervised("night", overlap="skip", journal=False)(five)
    failed = supervised("night", overlap="fail", journal=False)(five)
    with InAThread(journal=False):
        assert asyncio.run(skipped()) is None
        with pytest.raises(OverlapError):
            asyncio.run(failed())
    assert asyncio.run(skipped()) == asyncio.run(failed()) == 5


def test_coroutines_side_by_side_overlap() -> None:
    """Two tasks of one loop are two runs."""
    calls: list[int] = []

    @supervised("night", overlap="skip", journal=False)
    async def work(number: int) -> None:
        calls.append(number)
        await asyncio.sleep(0.01)

    async def main() -> None:
        await asyncio.gather(work(1), work(2), work(3))

    asyncio.run(main())
    assert calls == [1]


def test_generators_yield_nothing() -> None:
    """A skipped generator, plain or async, is empty."""

    @supervised("night", overlap="skip", journal=False)
    def rows() -> Iterator[int]:
        yield 1

    @supervised("night", overlap="skip", journal=False)
    async def async_rows() -> AsyncIterator[int]:
        yield 1

    async def collect() -> list[int]:
        return [each async for each in async_rows()]

    with InAThread(journal=False):
        assert list(rows()) == asyncio.run(collect()) == []
    assert list(rows()) == asyncio.run(collect()) == [1]


# Around it


def test_a_skipped_run_is_neither_failure_nor_success(recorder: Recorder, state: Path) -> None:
    """A skip between failures does not end their row, and the success after them tells of the failures alone."""
    fails = functools.partial(supervise, "night", handlers=[recorder], overlap="skip")
    work = supervised("night", handlers=[recorder], overlap="skip", report_on=["start", "success"])(lambda: None)
    for _ in range(2):
        with pytest.raises(KeyError), fails():
            raise KeyError("apn")
        with InAThread(journal=False):
            work()
    assert recorder.received == ["failure", "failure"]
    assert outcomes(state) == ["failure", "skipped", "failure", "skipped"]
    work()
    assert recorder.received[2:] == ["start", "recovery"]
    assert "2 runs failed in a row" in " ".join(recorder.messages[3].message.split())
    work()
    assert recorder.received[4:] == ["start", "success"]


def test_without_a_state_directory_runs_go_on_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    """Where no lock can be had there is one warning, and the runs are as with "allow"."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SUPERVISOR_STATE", str(tmp_path / "file"))
    for _ in range(2):
        with supervise("night", overlap="fail", journal=False), supervise("night", overlap="skip", journal=False):
            pass
    assert log.text.count("whether runs of 'night' overlap cannot be known") == 1


def test_allow_loads_and_does_nothing(tmp_path: Path, state: Path) -> None:
    """A run that does not ask for it loads no lock and leaves no file."""
    body = """
    with supervise("night"):
        pass
    print([each for each in sys.modules if "filelock" in each or "overlap" in each])
    """
    assert run(tmp_path, body).stdout == "[]\n"
    assert not (state / "locks").exists()


def test_the_recovery_from_a_refusal_is_told_once_and_by_a_later_run(recorder: Recorder) -> None:
    """The run that was under way has not failed before: the next one that succeeds tells the recovery, no other."""

    def is_refused() -> None:
        with pytest.raises(OverlapError), supervise("night", handlers=[recorder], overlap="fail"):
            pass

    with supervise("night", handlers=[recorder], overlap="fail"):
        contextvars.Context().run(is_refused)  # outside of the run, as another process is
    assert recorder.received == ["failure"]
    for _ in range(2):
        with supervise("night", handlers=[recorder], overlap="fail"):
            pass
    assert recorder.received == ["failure", "recovery"]
