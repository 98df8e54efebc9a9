"""Start a program on POSIX systems, and wait for it, send signals to it and to all that it starts.

The program gets a process group of its own, so that a signal reaches all that it has started and nobody else. Not on
a terminal: who is not in the terminal's own group may not read from it, and its Ctrl+C already reaches all who are.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from supervisor._cli.exec.exit_status import NOT_EXECUTABLE, NOT_FOUND, CannotStartError, Ended
from supervisor._exceptions import used
from supervisor._terminal import is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

if sys.platform == "win32":
    raise ImportError("this module starts programs on POSIX systems")

ASKED_BY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that ask a program to end, and are forwarded."""

_FOR_ONE = (signal.SIGUSR1, signal.SIGUSR2)
_FORWARDED = (*ASKED_BY, signal.SIGQUIT, *_FOR_ONE)
_OURS = (signal.SIGPIPE, signal.SIGXFSZ)
"""What Python ignores for itself; its children are not to inherit that."""

_SHELL = "/bin/sh"
_BINARY_BYTES = 256


class Signals:
    """Lets signals reach us while we wait.

    Args:
        forward: Is called for each that is to be forwarded, in the main thread.
    """

    def __init__(self, forward: Callable[[int], None]) -> None:
        self._forward = forward
        self._readable, self._writable = os.pipe()
        os.set_blocking(self._readable, False)
        os.set_blocking(self._writable, False)

    def listen(self) -> None:
        """Forward from now on. What was ignored before (by ``nohup``, say) stays so, for the program too."""
        # Python's handlers run between two instructions; the descriptor wakes us when it comes right before a wait.
        signal.set_wakeup_fd(self._writable, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _woken)
        for number in _FORWARDED:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:  # noqa: ARG002 - a signal handler's signature
        self._forward(number)

    def wait(self, timeout_s: float | None) -> None:
        """Wait for a signal, a child's end among them, but not longer than so many seconds; None for any time."""
        poll = select.poll()
        poll.register(self._readable, select.POLLIN)
        poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000)
        with suppress(BlockingIOError):
            while os.read(self._readable, 1024):
                pass


def _woken(number: int, frame: Any) -> None:
    """Do nothing: only a signal that is handled wakes us."""


class Child:
    """A program that runs.

    Args:
        pid: Its process.
        has_group: Whether it leads a process group of its own.
    """

    def __init__(self, pid: int, *, has_group: bool) -> None:
        self.pid = pid
        self._has_group = has_group
        _, ours_bytes = used()
        self._ours_bytes = ours_bytes or 0

    def ended(self) -> Ended | None:
        """Return how it ended, or None while it runs."""
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if not pid:
            return None
        code = os.waitstatus_to_exitcode(status)
        number = max(0, -code)
        cpu_s, peak_bytes = usage.ru_utime + usage.ru_stime, self._peak(usage.ru_maxrss)
        return Ended(128 + number if number else code, number, cpu_s, peak_bytes)

    def _peak(self, used: int) -> int | None:
        """Return the most memory that it had; Linux counts ours too, from before it became another program."""
        memory = used if sys.platform == "darwin" else used * 1024  # kibibytes, but bytes on macOS
        return memory if memory > self._ours_bytes or sys.platform == "darwin" else None

    def send(self, number: int, *, from_terminal: bool = False) -> None:
        """Send a signal to it and, unless it is one that each program understands as it likes, to all it has started.

        Args:
            number: The signal.
            from_terminal: It is one that a terminal sends to all in its group by itself.
        """
        if number in _FOR_ONE:
            with suppress(OSError):  # nobody is left, or those who are belong to somebody else
                os.kill(self.pid, number)
        elif self._has_group:
            with suppress(OSError):
                os.killpg(self.pid, number)
        elif not from_terminal:
            for pid in {self.pid, *_descendants()}:
                with suppress(OSError):
                    os.kill(pid, number)

    def ask(self) -> None:
        """Ask it, and all that it has started, to end; one that is stopped goes on, or it could not."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """End it, and all that it has started, without asking."""
        self.send(signal.SIGKILL)

    def has_left_some(self) -> bool:
        """Tell, after its end, whether something that it has started still runs, as far as that can be told."""
        if not self._has_group:
            return bool(_descendants())
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True


def _descendants() -> list[int]:
    """Return all processes that descend from this one; in the terminal's group they are told apart only by that."""
    import psutil

    with suppress(psutil.Error):
        return [each.pid for each in psutil.Process().children(recursive=True)]
    return []


def start(command: Sequence[str], stdout: int, stderr: int, variables: Mapping[str, str]) -> Child:
    """Start a program; its stdin is ours.

    Args:
        command: The program, looked for in ``PATH`` unless it has a slash, and its arguments. One without ``#!`` is
            run by ``/bin/sh``, as shells do.
        stdout: Where its output goes.
        stderr: Where its errors go.
        variables: What its environment has besides ours.

    Raises:
        CannotStartError: There is no such program, or it cannot be run.
    """
    has_group = not is_terminal(0)
    options: dict[str, Any] = {
        "file_actions": [(os.POSIX_SPAWN_DUP2, stdout, 1), (os.POSIX_SPAWN_DUP2, stderr, 2)],
        "setsigdef": _OURS,
        **({"setpgroup": 0} if has_group else {}),
    }
    environment = {**os.environ, **variables}
    try:
        return Child(_spawn(command, environment, options), has_group=has_group)
    except (OSError, ValueError) as error:
        raise _reason(command[0], error) from error


def _spawn(command: Sequence[str], environment: Mapping[str, str], options: Mapping[str, Any]) -> int:
    try:
        return os.posix_spawnp(command[0], tuple(command), environment, **options)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        path = _found(command[0])
        if path is None or _is_binary(path):
            raise
        return os.posix_spawn(_SHELL, (_SHELL, path, *command[1:]), environment, **options)


def _found(program: str) -> str | None:
    import shutil

    return shutil.which(program)


def _is_binary(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs 3 ms
            return b"\0" in file.read(_BINARY_BYTES)
    except OSError:
        return False


def _reason(program: str, error: OSError | ValueError) -> CannotStartError:
    """Return what shells say of a program that cannot be started."""
    if not program:
        return CannotStartError(NOT_FOUND, "command not found", "its name is empty")
    if not isinstance(error, OSError):  # a NUL in an argument
        return CannotStartError(NOT_EXECUTABLE, "command cannot be run", f"{program!r}: {error}")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.path.exists(program):  # noqa: PTH110 - pathlib costs 3 ms
            return CannotStartError(
                NOT_FOUND, "command not found", f"the interpreter that {program!r} names is missing"
            )
        where = "no such file" if "/" in program else f"not in PATH ({os.environ.get('PATH', os.defpath)})"
        return CannotStartError(NOT_FOUND, "command not found", f"{program!r} is {where}")
    if error.errno == errno.EACCES:
        is_directory = os.path.isdir(program)  # noqa: PTH112 - as above
        remedy = "it is a directory" if is_directory else "make it executable (chmod +x), or name its interpreter"
        return CannotStartError(NOT_EXECUTABLE, "command cannot be run", f"{program!r}: permission denied; {remedy}")
    return CannotStartError(NOT_EXECUTABLE, "command cannot be run", f"{program!r}: {error.strerror or error}")
