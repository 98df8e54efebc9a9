"""What the tests of ``supervisor run`` share: jobs that run as real processes, and what was told of them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import recorders
from scripts import PATHS
from waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SUPERVISOR = (sys.executable, "-m", "supervisor")
# A shell that starts the tests in the background has them ignore Ctrl+C, and all that they start.
_FRESH = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); {before}\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
_ENTRY_POINTS = "[supervisor.message_handlers]\nrecording = recorders:FileRecorder\n"


@attrs.frozen(kw_only=True)
class Done:
    """How ``supervisor`` ended.

    Args:
        code: Its exit code; negative for the signal that ended it.
        stdout: What came to its stdout.
        stderr: What came to its stderr.
    """

    code: int
    stdout: bytes
    stderr: bytes


class Jobs:
    """A folder with programs, a configuration with the handlers "ops" and "dev", and a journal.

    Args:
        folder: Where it is.
        state: Where the journal is.
    """

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder = folder
        self._state = state
        installed = folder / "installed" / "recording-1.0.dist-info"
        installed.mkdir(parents=True)
        (installed / "METADATA").write_text("Name: recording\nVersion: 1.0\n")
        (installed / "entry_points.txt").write_text(_ENTRY_POINTS)
        self.config = folder / "conf.toml"
        self.configure('[defaults]\nhandlers = ["ops"]\n')

    def configure(self, text: str) -> None:
        """Write the configuration: a text, and the two handlers."""
        for name in ("ops", "dev"):
            path = str(self.folder / f"messages-{name}")
            text += f'\n[handlers.{name}]\ntype = "recording"\npath = {path!r}\n'
        self.config.write_text(text)
        self.config.chmod(0o600)

    @property
    def environment(self) -> dict[str, str]:
        """Return what cron gives to a job, and where the test's own things are."""
        names = ("PATH", "SYSTEMROOT") if sys.platform == "win32" else ("PATH",)
        return {name: os.environ[name] for name in names} | {
            "SUPERVISOR_STATE": str(self._state),
            "SUPERVISOR_CONFIG": str(self.config),
            "PYTHONPATH": os.pathsep.join((*PATHS, str(self.folder / "installed"))),
            "TMPDIR": str(self.folder),
        }

    def write(self, name: str, body: str, mode: int = 0o755) -> str:
        """Write a program and return its path."""
        path = self.folder / name
        path.write_text(textwrap.dedent(body).lstrip("\n"))
        path.chmod(mode)
        return str(path)

    def python(self, body: str, name: str = "job.py") -> tuple[str, str]:
        """Write a Python program and return the command that runs it."""
        header = (
            "import os, signal, sys, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from recorders import FileRecorder\nfrom supervisor import *\n"
            f"recorder = lambda name: FileRecorder({str(self.folder)!r} + '/messages-' + name, name)\n"
        )
        return sys.executable, self.write(name, header + textwrap.dedent(body))

    def start(
        self, *arguments: str, env: Mapping[str, str] = {}, before: str = "", **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start ``supervisor run`` with some arguments.

        Args:
            arguments: What comes after ``supervisor run``.
            env: What the environment has besides.
            before: Python code that the process runs before it becomes the command.
            options: For ``subprocess.Popen``.
        """
        plain: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "cwd": self.folder,
            "env": self.environment | dict(env),
        }
        fresh = [sys.executable, "-I", "-S", "-c", _FRESH.format(before=before)]
        return subprocess.Popen([*fresh, *SUPERVISOR[1:], "run", *arguments], **(plain | options))

    def run(self, *arguments: str, **options: Any) -> Done:
        """Run ``supervisor run`` with some arguments to its end."""
        return end(self.start(*arguments, **options))

    def messages(self, by: str = "ops") -> list[dict[str, Any]]:
        """Return what a handler got."""
        return recorders.read(self.folder / f"messages-{by}")

    def kinds(self, by: str = "ops") -> list[str]:
        """Return the kinds of the messages that a handler got."""
        return [each["kind"] for each in self.messages(by)]

    def runs(self) -> list[dict[str, Any]]:
        """Return what the journal has of all runs, oldest first."""
        if not (self._state / "journal.sqlite3").exists():
            return []
        with closing(sqlite3.connect(self._state / "journal.sqlite3")) as connection:
            connection.row_factory = sqlite3.Row
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                return []  # it is being made
            return [dict(row) for row in connection.execute("SELECT * FROM run ORDER BY key")]

    def leftovers(self) -> list[Path]:
        """Return the directories in which programs were to leave their notes."""
        return list(self.folder.glob("supervisor-run-*"))


def end(process: subprocess.Popen[bytes]) -> Done:
    """Return how a process ended, when it has."""
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"it hangs; so far it said {stdout!r} {stderr!r}") from None
    return Done(code=process.returncode, stdout=stdout or b"", stderr=stderr or b"")


def send_ctrl_break(process: subprocess.Popen[Any]) -> None:
    """Send Ctrl+Break to a process of Windows that leads a group; skip the test where there is no console for it."""
    try:
        process.send_signal(1)  # CTRL_BREAK_EVENT, a name that other systems lack
    except OSError as error:
        process.kill()
        process.communicate()
        pytest.skip(f"Ctrl+Break needs a console, which Wine has none of here: {error}")


def wait_for(line: bytes, process: subprocess.Popen[bytes]) -> None:
    """Return when a process has said a line."""
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    try:
        found = process.stdout.readline()
    finally:
        watchdog.cancel()
    assert found.strip() == line, (found, end(process))


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def number_in(path: Path) -> int:
    """Return the number that a program has written into a file, when it is whole."""
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"), f"{path} is not written")
    return int(path.read_text())


def kill(pids: Sequence[int]) -> None:
    """End what a test has left running."""
    if sys.platform != "win32":
        for pid in pids:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
