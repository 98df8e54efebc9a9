"""Start a program on POSIX systems, and wait for it, send signals to it and to all that it starts.

The program gets a process group of its own, so that a signal reaches it, the processes that it started, and no other.
On a terminal it stays in ours: only the terminal's foreground group may read from it, and its Ctrl+C already reaches
all processes of that group.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from supervisor._cli.exec.program import NOT_EXECUTABLE, NOT_FOUND, CannotStartError, ExitStatus, shell_advice
from supervisor._exceptions import used
from supervisor._places import is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

if sys.platform == "win32":
    raise ImportError("this module starts programs on POSIX systems")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The signals that ask a program to end; they are forwarded."""

_USER_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
_FORWARDED = (*STOP_SIGNALS, signal.SIGQUIT, *_USER_SIGNALS)
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""The signals that Python ignores for itself; its children must not inherit that."""

_SHELL = "/bin/sh"
_FOR_A_SHELL = frozenset(" \t\n|&;<>()$`*?")
_BINARY_BYTES = 256


class SignalForwarder:
    """Receives signals while we wait for the program.

    Args:
        forward: Called in the main thread with the number of each signal to forward.
    """

    def __init__(self, forward: Callable[[int], None]) -> None:
        self._forward = forward
        self._readable, self._writable = os.pipe()
        os.set_blocking(self._readable, False)
        os.set_blocking(self._writable, False)

    def listen(self) -> None:
        """Forward signals from now on. Signals that were ignored before, by ``nohup`` for example, stay ignored."""
        # Python's handlers run between two instructions; the descriptor ends a wait that begins right after a signal.
        signal.set_wakeup_fd(self._writable, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake_up)
        for number in _FORWARDED:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:  # noqa: ARG002 - a signal handler's signature
        self._forward(number)

    def wait(self, timeout_s: float | None) -> None:
        """Wait for a signal (SIGCHLD too), for at most ``timeout_s`` seconds; None waits without limit."""
        poll = select.poll()
        poll.register(self._readable, select.POLLIN)
        poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000)
        with suppress(BlockingIOError):
            while os.read(self._readable, 1024):
                pass


def _wake_up(number: int, frame: Any) -> None:
    """Do nothing: only a signal that has a handler ends the wait."""


class Child:
    """A running program.

    Args:
        pid: Its process id.
        has_group: Whether it leads a process group of its own.
    """

    def __init__(self, pid: int, *, has_group: bool) -> None:
        self.pid = pid
        self._has_group = has_group
        _, own_bytes = used()
        self._own_bytes = own_bytes or 0

    def ended(self) -> ExitStatus | None:
        """Return its exit status, or None while it runs."""
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if not pid:
            return None
        code = os.waitstatus_to_exitcode(status)
        number = max(0, -code)
        cpu_s, peak_bytes = usage.ru_utime + usage.ru_stime, self._peak(usage.ru_maxrss)
        return ExitStatus(128 + number if number else code, number, cpu_s, peak_bytes)

    def _peak(self, used: int) -> int | None:
        """Return its peak memory. Linux counts ours too, from before the exec: then the peak is unknown."""
        memory = used if sys.platform == "darwin" else used * 1024  # kibibytes, but bytes on macOS
        return memory if memory > self._own_bytes or sys.platform == "darwin" else None

    def send(self, number: int, *, from_terminal: bool = False) -> None:
        """Send a signal to it and, except SIGUSR1 and SIGUSR2, to all processes that it started.

        Args:
            number: The signal.
            from_terminal: Whether a terminal sends this signal to its whole foreground group by itself.
        """
        if number in _USER_SIGNALS:
            with suppress(OSError):  # it has ended, or belongs to another user now
                os.kill(self.pid, number)
        elif self._has_group:
            with suppress(OSError):
                os.killpg(self.pid, number)
        elif not from_terminal:
            for pid in {self.pid, *_descendants()}:
                with suppress(OSError):
                    os.kill(pid, number)

    def terminate(self) -> None:
        """Ask it, and all processes that it started, to end; suspended ones are resumed so that they can."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, and all processes that it started."""
        self.send(signal.SIGKILL)

    def has_leftovers(self) -> bool:
        """Tell, after its end, whether a process that it started is known to be still running."""
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
    """Return the processes that descend from this one: in a shared process group, only that tells them apart."""
    import psutil

    with suppress(psutil.Error):
        return [each.pid for each in psutil.Process().children(recursive=True)]
    return []


def start(command: Sequence[str], stdout: int, stderr: int, variables: Mapping[str, str]) -> Child:
    """Start a program; it shares our stdin.

    Args:
        command: The program, looked for in ``PATH`` unless it has a slash, and its arguments. A script without ``#!``
            is run by ``/bin/sh``, as in a shell.
        stdout: The descriptor for its stdout.
        stderr: The descriptor for its stderr.
        variables: Environment variables to add to ours.

    Raises:
        CannotStartError: The program does not exist, or cannot be run.
    """
    has_group = not is_terminal(0)
    options: dict[str, Any] = {
        "file_actions": [(os.POSIX_SPAWN_DUP2, stdout, 1), (os.POSIX_SPAWN_DUP2, stderr, 2)],
        "setsigdef": _IGNORED_BY_PYTHON,
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
        path = _path_of(command[0])
        if path is None or _is_binary(path):
            raise
        return os.posix_spawn(_SHELL, (_SHELL, path, *command[1:]), environment, **options)


def _path_of(program: str) -> str | None:
    import shutil

    return shutil.which(program)


def _is_binary(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs 3 ms
            return b"\0" in file.read(_BINARY_BYTES)
    except OSError:
        return False


def _reason(program: str, error: OSError | ValueError) -> CannotStartError:
    """Return the error of a program that cannot be started, with the exit code of shells."""
    if not program:
        return CannotStartError(NOT_FOUND, "command not found", "its name is empty")
    if not isinstance(error, OSError):  # an argument contains a NUL character
        return CannotStartError(NOT_EXECUTABLE, "command cannot be run", f"{program!r}: {error}")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return CannotStartError(NOT_FOUND, "command not found", _not_found(program))
    if error.errno == errno.EACCES:
        is_directory = os.path.isdir(program)  # noqa: PTH112 - pathlib costs 3 ms
        remedy = "it is a directory" if is_directory else "make it executable (chmod +x), or name its interpreter"
        return CannotStartError(NOT_EXECUTABLE, "command cannot be run", f"{program!r}: permission denied; {remedy}")
    return CannotStartError(NOT_EXECUTABLE, "command cannot be run", f"{program!r}: {error.strerror or error}")


def _not_found(program: str) -> str:
    if os.path.exists(program):  # noqa: PTH110 - pathlib costs 3 ms
        return f"the interpreter that {program!r} names is missing"
    if _FOR_A_SHELL & set(program):
        return shell_advice(program, "sh -c")
    where = "no such file" if "/" in program else f"not in PATH ({os.environ.get('PATH', os.defpath)})"
    return f"{program!r} is {where}"
