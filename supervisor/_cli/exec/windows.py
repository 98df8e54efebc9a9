"""Start a program on Windows, and wait for it, ask it to end and end all that it has started.

It gets a process group of its own, since Ctrl+Break can be sent to a group only
(https://learn.microsoft.com/windows/console/generateconsolectrlevent). Ctrl+C cannot, so that it is forwarded as
Ctrl+Break too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from supervisor._cli.exec.exit_status import NOT_EXECUTABLE, NOT_FOUND, CannotStartError, Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

if sys.platform != "win32":
    raise ImportError("this module starts programs on Windows")

ASKED_BY = (signal.SIGTERM, signal.SIGINT, signal.SIGBREAK)
_LOOK_EVERY_S = 0.05  # a wait for a process cannot be interrupted by a signal
_CTRL_C_EXIT = 0xC000013A


class Signals:
    """Lets signals reach us while we wait.

    Args:
        forward: Is called for each that is to be forwarded, in the main thread.
    """

    def __init__(self, forward: Callable[[int], None]) -> None:
        self._forward = forward
        self.child: Child | None = None

    def listen(self) -> None:
        """Forward from now on; what was ignored before stays so."""
        for number in ASKED_BY:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:  # noqa: ARG002 - a signal handler's signature
        self._forward(number)

    def wait(self, timeout_s: float | None) -> None:
        """Wait a moment, or until the program has ended."""
        import time

        wait_s = _LOOK_EVERY_S if timeout_s is None else max(0.0, min(timeout_s, _LOOK_EVERY_S))
        if self.child is None:
            time.sleep(wait_s)
        else:
            self.child.wait(wait_s)


class Child:
    """A program that runs.

    Args:
        process: Its process.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def wait(self, timeout_s: float) -> None:
        """Wait for its end, but not longer than so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def ended(self) -> Ended | None:
        """Return how it ended, or None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        return Ended(code, signal.SIGINT if code == _CTRL_C_EXIT else 0)

    def send(self, number: int, *, from_terminal: bool = False) -> None:  # noqa: ARG002 - as on POSIX systems
        """Ask it, and all that it has started, to end; Windows knows one way for that."""
        try:
            os.kill(self.pid, signal.CTRL_BREAK_EVENT)
        except OSError:  # it has no console in common with us
            with suppress(OSError):
                self._process.terminate()

    def ask(self) -> None:
        """Ask it, and all that it has started, to end."""
        self.send(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and all that it has started, without asking."""
        import psutil

        with suppress(psutil.Error):
            for each in psutil.Process(self.pid).children(recursive=True):
                with suppress(psutil.Error):
                    each.kill()
        with suppress(OSError):
            self._process.kill()

    def has_left_some(self) -> bool:
        """Return False: what outlives its parent cannot be found here."""
        return False


def start(command: Sequence[str], stdout: int, stderr: int, variables: Mapping[str, str]) -> Child:
    """Start a program; its stdin is ours.

    Args:
        command: The program and its arguments.
        stdout: Where its output goes.
        stderr: Where its errors go.
        variables: What its environment has besides ours.

    Raises:
        CannotStartError: There is no such program, or it cannot be run.
    """
    flags = subprocess.CREATE_NEW_PROCESS_GROUP
    if sys.stdout is None:  # under pythonw nobody wants to see a console come up
        flags |= subprocess.CREATE_NO_WINDOW
    try:
        process = subprocess.Popen(  # noqa: S603 - what it runs is what it is asked to run
            _resolved(command), stdout=stdout, stderr=stderr, env={**os.environ, **variables}, creationflags=flags
        )
    except FileNotFoundError as error:
        raise CannotStartError(NOT_FOUND, "command not found", f"{command[0]!r} is not in PATH") from error
    except (OSError, ValueError) as error:
        raise CannotStartError(NOT_EXECUTABLE, "command cannot be run", f"{command[0]!r}: {error}") from error
    return Child(process)


def _resolved(command: Sequence[str]) -> list[str]:
    """Return a command with its program looked up: Windows finds .exe by itself, but not .cmd and .bat."""
    import shutil

    return [shutil.which(command[0]) or command[0], *command[1:]]
