"""What every test has: a state directory of its own, so that nothing is ever written to the user's."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from recorders import Recorder

from supervisor._runtime import Runtime, using

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background has them ignore Ctrl+C, and all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the same for nohup

# No deadline, since others may use the machine at the same time.
settings.register_profile("supervisor", max_examples=50, deadline=None)
settings.load_profile("supervisor")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Let ``-n auto`` start two workers for each processor: many tests wait for processes and servers."""
    if sys.platform == "linux":
        return 2 * len(os.sched_getaffinity(0))
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape lone surrogates in what a worker of xdist reports: a log that holds one would end the worker."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_encodable(name): _encodable(each) for name, each in value.items()}
    return type(value)(map(_encodable, value)) if isinstance(value, list | tuple) else value


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep the journal in a directory of the test's own, for its child processes too."""
    directory = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("SUPERVISOR_STATE", str(directory))
    monkeypatch.setenv("SUPERVISOR_CONFIG", os.devnull)
    with using(_runtime()):
        yield directory


def _runtime() -> Runtime:
    try:
        from supervisor._config.active import ActiveConfiguration
    except ModuleNotFoundError:  # the core alone, as test_core.py has it
        return Runtime(None)
    from supervisor.message_handlers._registry import handler_class

    return Runtime(ActiveConfiguration(handler_class=handler_class))


@pytest.fixture
def recorder() -> Recorder:
    """Return a handler that keeps what it gets."""
    return Recorder()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return what supervisor logs, from INFO up."""
    caplog.set_level(logging.INFO, logger="supervisor")
    return caplog
