"""What is put in place in the process: by one module, once, with what was there still called, and documented."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scripts import PACKAGE, run

from supervisor import _hooks, supervise

if TYPE_CHECKING:
    from collections.abc import Callable

REFERENCE = Path(__file__).parent.parent / "api.md"
PUTS_IN_PLACE = re.compile(
    r"register_at_fork\(|atexit\.register|\bsignal\.signal\b|excepthook = |meta_path\.|Thread\.start = |addFilter\("
    r"|setLevel\(|\"showwarning\"|\"callHandlers\"|set_exception_handler|setattr\(os\b"
)


def test_one_module_puts_everything_in_place() -> None:
    """No other module of what runs in the user's process registers, wraps or replaces anything of the process."""
    commands = PACKAGE / "_cli"  # in a process of their own
    sources = [each for each in PACKAGE.rglob("*.py") if commands not in each.parents and each.name != "_hooks.py"]
    assert len(sources) > 50
    assert {each.name for each in sources if PUTS_IN_PLACE.search(each.read_text("utf-8"))} == set()


@pytest.mark.parametrize(
    "what",
    [
        "os.register_at_fork", "os.fork", "os.forkpty", "atexit", "threading.Thread.start", "asyncio", "sys.meta_path",
        "sys.excepthook", "threading.excepthook", "SIGTERM", "SIGBREAK", "logging.Logger.callHandlers",
        "warnings.showwarning", "_SUPERVISOR_JOIN", "sys.stdout", "getpass.getpass",
    ],
)  # fmt: skip
def test_users_are_told_of_all_that_is_wrapped(what: str) -> None:
    """The reference has a row for each, with when it is so and how to do without."""
    section = REFERENCE.read_text("utf-8").partition("\n## What is wrapped in the process\n")[2].partition("\n## ")[0]
    (row,) = [line for line in section.splitlines() if re.match(rf"\|[^|]*\b{re.escape(what)}\b", line)]
    assert all(cell.strip() for cell in row.strip("|").split("|"))
    assert len(row.strip("|").split("|")) == 4


def test_a_thread_starts_as_before_when_the_wrapper_is_taken_off() -> None:
    """What the reference says of doing without holds: the plain function is there, and stays for later runs."""
    with supervise("night", journal=False):
        pass
    ours: Any = threading.Thread.start
    try:
        threading.Thread.start = ours.__wrapped__  # type: ignore[method-assign]
        with supervise("night", journal=False):
            assert threading.Thread.start is ours.__wrapped__
    finally:
        threading.Thread.start = ours  # type: ignore[method-assign]


def test_importing_supervisor_wraps_nothing(tmp_path: Path) -> None:
    """After the import, and behind a run without threads, the process is as it was, but for ``Thread.start``."""
    body = """
        import os, signal, sys, threading
        def found():
            return (os.fork, sys.excepthook, threading.excepthook, signal.getsignal(signal.SIGTERM))
        before, start, finders = found(), threading.Thread.start, list(sys.meta_path)
        assert not hasattr(start, "__wrapped__") and not hasattr(os.fork, "__wrapped__")
        with supervise("night", journal=False):
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        print(found() == before, threading.Thread.start.__wrapped__ is start, flush=True)
    """
    if sys.platform == "win32":
        pytest.skip("there are no forks")
    ended = run(tmp_path, body)
    assert (ended.code, ended.stdout, ended.stderr) == (0, "True True\n", "")


def test_each_hook_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking again wraps nothing again; the first callback stays."""
    monkeypatch.setattr(threading.Thread, "start", _plain(threading.Thread.start))
    seen: list[str] = []
    _hooks.on_thread_start(lambda thread: seen.append(thread.name))
    wrapped = threading.Thread.start
    _hooks.on_thread_start(lambda thread: seen.append("again"))
    assert threading.Thread.start is wrapped
    thread = threading.Thread(target=int, name="one")
    thread.start()
    thread.join()
    assert seen == ["one"]


def _plain(function: Any) -> Callable[..., Any]:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    plain: Callable[..., Any] = function
    return plain
