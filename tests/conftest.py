"""What tests have: each a state directory of its own, so that nothing is written to the user's; peers and folders."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from postgres import database, postgres  # noqa: F401 - fixtures
from recorders import Recorder

from supervisor._places import PLACE_VARIABLES, this_machine
from supervisor._runtime import Runtime, using

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from command_kit import Jobs
    from configuration_kit import Machine
    from http_peers import HttpPeer
    from journal_kit import Clock
    from smtp_peers import MailServer

    from supervisor._store import Outbox

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background has them ignore Ctrl+C, and all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the same for nohup

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

# Where the tests run is not where the runs of their scripts do.
for name in PLACE_VARIABLES:
    os.environ.pop(name, None)

# No deadline, since others may use the machine at the same time. The examples are the same in each run, so that a
# change is judged by what it changed; `--hypothesis-profile search` looks for new ones.
settings.register_profile("supervisor", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("search", max_examples=200, deadline=None)
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
    monkeypatch.delenv("SUPERVISOR_SEND", raising=False)  # a developer's, with which nothing would arrive
    for name in PROXIES:  # the machine's own; a test that tries one sets it
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if not this_machine().is_whole:  # the tests run in a container, where each run would have a thread more
        monkeypatch.setenv("SUPERVISOR_HEARTBEAT_S", "0")
    with using(_runtime()):
        yield directory


def _runtime() -> Runtime:
    try:
        from supervisor._config import ActiveConfiguration
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


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    """Run a web server for one test."""
    from http_peers import http_peer

    with http_peer() as it:
        yield it


@pytest.fixture
def server() -> Iterator[MailServer]:
    """Run a mail server without encryption and logins for one test."""
    from smtp_peers import MailServer

    with MailServer() as server:
        yield server


@pytest.fixture
def jobs(tmp_path: Path, state: Path) -> Jobs:
    """Return a folder for the programs of ``supervisor run``, with a configuration and a journal."""
    from command_kit import Jobs

    return Jobs(tmp_path, state)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine without any configuration."""
    from configuration_kit import Machine

    return Machine(tmp_path)


@pytest.fixture
def clock() -> Clock:
    """Return a clock that a test sets."""
    from journal_kit import Clock

    return Clock()


@pytest.fixture(params=["memory", "disk"])
def outbox(request: pytest.FixtureRequest, state: Path, clock: Clock) -> Iterator[Outbox]:
    """Return an empty outbox, of each sort."""
    from supervisor._store import Journal, MemoryOutbox

    outbox: Outbox = MemoryOutbox(clock=clock) if request.param == "memory" else Journal(state, clock=clock)
    yield outbox
    outbox.close()
