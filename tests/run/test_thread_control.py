"""The stacks of all threads, as a person reads them."""

from __future__ import annotations

import asyncio
import importlib
import json
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from waiting import PATIENCE_S, wait_until

from supervisor import supervise
from supervisor._run.thread_control import MOST_LINES, TEXT_LIMIT, stacks_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest


@contextmanager
def thread_in(work: Callable[[threading.Event, threading.Event], Any], name: str = "uploader") -> Iterator[None]:
    """Have a thread at work while the block lasts; ``work`` gets (is there, may go)."""
    there, go = threading.Event(), threading.Event()
    thread = threading.Thread(target=work, args=(there, go), name=name)
    thread.start()
    there.wait()
    try:
        yield
    finally:
        go.set()
        thread.join()


def wait_for_go(there: threading.Event, go: threading.Event) -> None:
    """Wait as a script does."""
    there.set()
    go.wait(PATIENCE_S)


def part(text: str, title: str) -> str:
    """Return what stands under a title."""
    _, found, rest = text.partition(f"{title}\n")
    assert found, text
    return rest.split("\nT")[0]


def test_the_main_thread_stands_first_with_the_lines_of_the_script() -> None:
    """The stack of the main thread comes first, each frame of the script with its file, line, function and code."""
    text = stacks_text()
    assert text.startswith("Thread MainThread\n")
    assert "test_thread_control.py:" in text
    assert "in test_the_main_thread_stands_first_with_the_lines_of_the_script\n    text = stacks_text()" in text


def test_other_threads_stand_by_their_names_outermost_frame_first() -> None:
    """Each thread has its name, and its frames in the order in which they were called."""
    with thread_in(wait_for_go):
        text = part(stacks_text(), "Thread uploader")
    assert "in wait_for_go\n    go.wait(PATIENCE_S)" in text
    assert text.index("in wait_for_go") < text.rindex("threading.py")


def test_frames_of_libraries_are_folded_but_for_what_is_waited_for() -> None:
    """Frames that are not the script's are one line; the innermost one tells what the thread waits for."""
    lines: list[str] = []

    class Row:
        def __repr__(self) -> str:
            lines.extend(stacks_text().splitlines())
            return ""

    json.dumps({"row": Row()}, default=repr)
    at = lines.index("    json.dumps({" + '"row": Row()}, default=repr)')
    assert lines[at + 1].startswith("  ... ")
    assert lines[at + 1].endswith(" in json")
    with thread_in(wait_for_go):
        inner = part(stacks_text(), "Thread uploader").splitlines()[-1]
    assert inner.startswith("  threading.py:")


def test_threads_at_the_same_place_share_one_entry() -> None:
    """Twenty idle workers of a pool are one entry, not twenty."""
    with ThreadPoolExecutor(20, "worker") as pool:
        barrier = threading.Barrier(20)
        list(pool.map(lambda _: barrier.wait(), range(20)))
        for _ in range(1000):
            text = stacks_text()
            if "and 17 more" in text:
                break
    assert "Thread worker_" in text
    assert text.count("worker_") == 3


def test_the_threads_of_supervisor_itself_are_left_out() -> None:
    """A thread that only supervisor has started is not shown."""
    from supervisor._run.watchdog import Watcher

    watcher = Watcher(idle_s=30)
    thread = threading.Thread(target=watcher._serve, name="supervisor limits", daemon=True)
    thread.start()
    text = stacks_text()
    watcher._idle_s = 0.0
    with watcher._changed:
        watcher._changed.notify_all()
    assert "supervisor limits" not in text


def test_a_thread_of_a_run_that_is_in_the_code_of_a_library_alone_is_shown() -> None:
    """A worker of a pool may have no frame of the script: it runs a function that is written in C."""
    times = queue.Queue[float]()
    with supervise("night"), ThreadPoolExecutor(1, "uploader") as pool:
        pool.submit(times.get, True, PATIENCE_S)
        try:
            wait_until(lambda: "Thread uploader_0\n" in stacks_text(), "the worker is not shown")
        finally:
            times.put(0.0)


def test_a_deep_stack_is_bounded_and_keeps_its_inner_end() -> None:
    """Of a thousand frames the first and the last are shown, and how many lines were left out."""

    def deeper(left: int) -> str:
        return deeper(left - 1) if left else stacks_text()

    main = part(deeper(800) + "\nT", "Thread MainThread").splitlines()
    assert len(main) <= MOST_LINES + 1
    assert any("lines left out" in line for line in main)
    assert "stacks_text()" in main[-1]


def test_many_threads_and_hostile_names_stay_bounded_text() -> None:
    """A hundred threads at different places, with line breaks in their names, make a text of bounded size."""
    go = threading.Event()
    there: queue.Queue[int] = queue.Queue()
    functions: dict[str, Any] = {"there": there, "go": go}
    exec("\n".join(f"def wait_{n}():\n    there.put({n})\n    go.wait()" for n in range(60)), functions)
    threads = [threading.Thread(target=functions[f"wait_{n}"], name=f"bad\nname\x1b[2J {n}" * 9) for n in range(60)]
    for thread in threads:
        thread.start()
        there.get()
    text = stacks_text()
    go.set()
    for thread in threads:
        thread.join()
    assert len(text) < TEXT_LIMIT + 100
    assert "... and " in text
    assert "\x1b" not in text
    assert "bad name" in text


def test_the_tasks_of_an_event_loop_stand_where_they_await() -> None:
    """With an event loop, each task that waits is shown with the whole chain of what it awaits."""

    async def fetch(event: asyncio.Event) -> None:
        await event.wait()

    async def load(event: asyncio.Event) -> None:
        await fetch(event)

    async def main() -> str:
        event = asyncio.Event()
        task = asyncio.create_task(load(event), name="loader")
        await asyncio.sleep(0)
        text = await asyncio.to_thread(stacks_text, asyncio.get_running_loop())
        event.set()
        await task
        return text

    loader = part(asyncio.run(main()), "Task loader")
    assert loader.index("in load\n    await fetch(event)") < loader.index("in fetch\n    await event.wait()")


def test_a_script_that_is_installed_is_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that holds the supervised block or function is shown in full, other packages are folded."""
    home = tmp_path / "site-packages"
    (home / "nightly").mkdir(parents=True)
    (home / "nightly" / "__init__.py").write_text(
        "from helper import call\n"
        "from supervisor import supervise, supervised\n"
        "from supervisor._run.thread_control import calling_package, stacks_text\n"
        "def inner():\n    return stacks_text()\n"
        "@supervised('night', journal=False)\ndef decorated():\n    return call(inner)\n"
        "def block():\n    own = calling_package()\n    return own, call(lambda: stacks_text(None, own))\n"
    )
    (home / "helper.py").write_text("def call(function):\n    return function()\n")
    monkeypatch.syspath_prepend(home)
    nightly = importlib.import_module("nightly")
    own, block = nightly.block()
    assert own == "nightly"
    for text in (nightly.decorated(), block):
        assert "__init__.py:" in text
        assert "  ... 1 in helper\n" in text
    assert "in decorated\n    return call(inner)" in nightly.decorated()
