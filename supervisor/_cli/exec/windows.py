"""Start a program on Windows, wait for it, ask it to end, and kill it with the processes that it started.

It gets a process group of its own, since Ctrl+Break can only be sent to a group
(https://learn.microsoft.com/windows/console/generateconsolectrlevent). Ctrl+C cannot be sent to a group, and is
forwarded as Ctrl+Break.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from supervisor._cli.exec.program import NOT_EXECUTABLE, NOT_FOUND, CannotStartError, ExitStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

if sys.platform != "win32":
    raise ImportError("this module starts programs on Windows")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGBREAK)
_LOOK_EVERY_S = 0.05  # a wait for a process cannot be interrupted by a signal
_CTRL_C_EXIT = 0xC000013A
_SPECIAL_TO_CMD = frozenset('"%!&|<>^\r\n')
"""What the shell of batch files acts upon, some of it within quotes too."""


class SignalForwarder:
    """Receives signals while we wait for the program.

    Args:
        forward: Called in the main thread with the number of each signal to forward.
    """

    def __init__(self, forward: Callable[[int], None]) -> None:
        self._forward = forward
        self.child: Child | None = None

    def listen(self) -> None:
        """Forward signals from now on; signals that were ignored before stay ignored."""
        for number in STOP_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:  # noqa: ARG002 - a signal handler's signature
        self._forward(number)

    def wait(self, timeout_s: float | None) -> None:
        """Wait a moment, or until the program ends."""
        import time

        wait_s = _LOOK_EVERY_S if timeout_s is None else max(0.0, min(timeout_s, _LOOK_EVERY_S))
        if self.child is None:
            time.sleep(wait_s)
        else:
            self.child.wait(wait_s)


class Child:
    """A running program.

    Args:
        process: Its process.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def wait(self, timeout_s: float) -> None:
        """Wait for its end, for at most ``timeout_s`` seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def ended(self) -> ExitStatus | None:
        """Return its exit status, or None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        return ExitStatus(code, signal.SIGINT if code == _CTRL_C_EXIT else 0)

    def send(self, number: int, *, from_terminal: bool = False) -> None:  # noqa: ARG002 - the signature of the POSIX module
        """Ask it, and all processes that it started, to end: Windows has one way for that, whatever the signal."""
        try:
            os.kill(self.pid, signal.CTRL_BREAK_EVENT)
        except OSError:  # it does not share our console, or there is none
            self.kill()

    def terminate(self) -> None:
        """Ask it, and all processes that it started, to end."""
        self.send(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, and all processes that it started."""
        import psutil

        with suppress(psutil.Error, OSError):  # where processes cannot be listed, it alone is killed
            for each in psutil.Process(self.pid).children(recursive=True):
                with suppress(psutil.Error, OSError):
                    each.kill()
        with suppress(OSError):
            self._process.kill()

    def has_leftovers(self) -> bool:
        """Return False: on Windows, processes that outlive their parent cannot be found."""
        return False


def start(command: Sequence[str], stdout: int, stderr: int, variables: Mapping[str, str]) -> Child:
    """Start a program; it shares our stdin.

    Args:
        command: The program and its arguments.
        stdout: The descriptor for its stdout.
        stderr: The descriptor for its stderr.
        variables: Environment variables to add to ours.

    Raises:
        CannotStartError: The program does not exist, or cannot be run, or its arguments would be executed.
    """
    flags = subprocess.CREATE_NEW_PROCESS_GROUP
    if sys.stdout is None:  # under pythonw no console window should open
        flags |= subprocess.CREATE_NO_WINDOW
    try:
        process = subprocess.Popen(  # noqa: S603 - it runs the command that the user gave
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

    program = shutil.which(command[0]) or command[0]
    if program.lower().endswith((".bat", ".cmd")):
        for each in command[1:]:
            if not _SPECIAL_TO_CMD.isdisjoint(each):
                reason = f"cmd.exe, which runs batch files, would take part of the argument {each!r} for a command"
                remedy = "hand it over in an environment variable, or run the program itself"
                raise CannotStartError(NOT_EXECUTABLE, "command cannot be run", f"{reason}: {remedy}")
    return [program, *command[1:]]
