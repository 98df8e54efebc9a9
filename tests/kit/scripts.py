"""Run scripts as cron does: no terminal, no environment to speak of, in another directory; with and without us."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import recorders
from waiting import PATIENCE_S

import supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping


PACKAGE = Path(supervisor.__file__).parent
PATHS = (str(PACKAGE.parent), str(Path(__file__).parent))

KILLED = 9 if sys.platform == "win32" else -9
"""The code of a process that ``os.kill(pid, 9)`` has ended: by SIGKILL, and on Windows by TerminateProcess."""

_HEADER = (
    # A shell that starts the tests in the background has them ignore Ctrl+C, and all that they start.
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "import sys; sys.path.insert(1, {package!r}); sys.path.append({tests!r}); "
    "from {module} import supervise, supervised, Supervisor; from recorders import FileRecorder; "
    "recorder = FileRecorder({messages!r}); ready = lambda: print('ready', flush=True)\n"
)
# From 3.12 on Python warns of a fork beside other threads, and a worker is one.
NO_WARNING_OF_FORKS = {"PYTHONWARNINGS": "ignore::DeprecationWarning"}
_FRAME = re.compile(r'([ |]*)File "([^"]*)", line ')


@attrs.frozen(kw_only=True)
class Ended:
    """How a script ended.

    Args:
        code: Its exit code; negative for the signal that ended it, as subprocess has it.
        stdout: What it printed.
        stderr: What it, or Python, complained of.
        messages: What its handler got.
    """

    code: int
    stdout: str
    stderr: str
    messages: list[dict[str, Any]]

    @property
    def shell_code(self) -> int:
        """Return the exit code as a shell shows it: 128 and the number of the signal."""
        return self.code if self.code >= 0 else 128 - self.code

    @property
    def complaint(self) -> str:
        """Return stderr less the frames that are supervisor's own."""
        return without_our_frames(self.stderr)

    @property
    def kinds(self) -> list[str]:
        """Return the kinds of the messages, in the order of their arrival."""
        return [each["kind"] for each in self.messages]


def bare_environment(**more: str) -> dict[str, str]:
    """Return what cron gives to a script, and the state directory of the test."""
    names = ("PATH", "SYSTEMROOT") if sys.platform == "win32" else ("PATH",)
    ours = ("SUPERVISOR_STATE", "SUPERVISOR_HEARTBEAT_S")
    return {name: os.environ[name] for name in (*names, *ours) if name in os.environ} | more


def write(folder: Path, body: str, *, plain: bool = False) -> tuple[Path, Path]:
    """Write a script, and return its path and that of the file in which its handler keeps what it is told."""
    place = folder / ("plain" if plain else "supervised")
    (place / "elsewhere").mkdir(parents=True)
    path, messages = place / "script.py", place / "messages"
    module = "unsupervised" if plain else "supervisor"
    header = _HEADER.format(package=PATHS[0], tests=PATHS[1], messages=str(messages), module=module)
    path.write_text(header + textwrap.dedent(body).lstrip("\n"), "utf-8")
    return path, messages


class Script:
    """A script that runs in a process of its own.

    Args:
        folder: Where it may leave its files.
        body: The source; ``supervised``, ``supervise``, ``Supervisor``, ``ready`` and ``recorder``, a handler, are
            there.
        plain: True lets it run without supervision.
        extra_env: What its environment has besides PATH and SUPERVISOR_STATE.
    """

    def __init__(self, folder: Path, body: str, *, plain: bool = False, extra_env: Mapping[str, str] = {}) -> None:
        self.path, self.messages_path = write(folder, body, plain=plain)
        self.process = subprocess.Popen(
            [sys.executable, str(self.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.path.parent / "elsewhere",
            env=bare_environment(**{"PYTHONFAULTHANDLER": "1", **extra_env}),
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
        )

    def wait_until_ready(self) -> None:
        """Return when the script has called ``ready()``."""
        assert self.process.stdout is not None
        watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        assert line == "ready\n", (line, self.end().stderr)

    def send_when_ready(self, number: int) -> None:
        """Send a signal when the script has called ``ready()`` and waits for what comes."""
        self.wait_until_ready()
        self._wait_until_asleep()
        self.process.send_signal(number)

    def _wait_until_asleep(self) -> None:
        """Return when the process does nothing, so that the signal finds it behind its ``ready()``."""
        state = Path(f"/proc/{self.process.pid}/stat")
        looks, until = 0, time.monotonic() + PATIENCE_S
        while looks < 3 and time.monotonic() < until:
            time.sleep(0.03)
            # "Z" is one that has ended already; what it left tells why.
            asleep = not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "SZ"
            looks = looks + 1 if asleep else 0

    def end(self) -> Ended:
        """Return how the script ended, when it has."""
        try:
            stdout, stderr = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # Python then writes where each thread is
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE_S / 10)
            self.process.kill()
            _, stderr = self.process.communicate()
            raise AssertionError(f"{self.path} hangs; its stderr so far:\n{stderr}") from None
        return Ended(
            code=self.process.returncode, stdout=stdout, stderr=stderr, messages=recorders.read(self.messages_path)
        )


@attrs.frozen(kw_only=True)
class Shown:
    """What a script did on a terminal.

    Args:
        code: Its exit code.
        screen: All that came to the terminal, with its escape sequences.
        stdout: What it printed, where stdout was no terminal.
    """

    code: int
    screen: str
    stdout: str

    @property
    def text(self) -> str:
        """Return what came to the terminal, less colours and movements, each return to the line's start a new line."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.screen).replace("\r", "\n")


def run_on_terminal(
    command: list[str], folder: Path, *, stdout_too: bool = True, extra_env: Mapping[str, str] = {}, columns: int = 120
) -> Shown:
    """Run a command on a terminal of its own: stderr is on it, and stdout too unless it goes into a pipe."""
    if sys.platform == "win32":
        raise NotImplementedError("there is no pty")
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs if stdout_too else subprocess.PIPE,
        stderr=theirs,
        cwd=folder,
        env=bare_environment(**{"TERM": "xterm-256color", **extra_env}),
        start_new_session=True,
    ) as process:
        os.close(theirs)
        watchdog = threading.Timer(PATIENCE_S, process.kill)
        watchdog.start()
        screen = _read_to_the_end(ours)
        stdout = process.stdout.read().decode() if process.stdout is not None else ""
        process.wait()
        watchdog.cancel()
    os.close(ours)
    return Shown(code=process.returncode, screen=screen, stdout=stdout)


def _read_to_the_end(terminal: int) -> str:
    """Return all that comes to a terminal until nobody has it open any more."""
    pieces = []
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # what Linux says at the end
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces).decode("utf-8", "replace")


def run(folder: Path, body: str, **options: Any) -> Ended:
    """Run a supervised script to its end."""
    return Script(folder, body, **options).end()


def both(folder: Path, body: str, number: int | None = None) -> tuple[Ended, Ended]:
    """Run a script with supervision and without, side by side, and return how each ended.

    Args:
        folder: Where they may leave their files.
        body: The source.
        number: A signal to send when the script has called ``ready()``; None for none.
    """
    watched, plain = Script(folder, body), Script(folder, body, plain=True)
    if number is not None:
        watched.send_when_ready(number)
        plain.send_when_ready(number)
    return watched.end(), plain.end()


def without_our_frames(text: str) -> str:
    """Return tracebacks less the frames that are supervisor's own, and less what differs from one start to the next."""
    kept, inside = [], None
    for line in text.splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            inside = f"{frame[1]}  " if frame[2].startswith(str(PACKAGE) + os.sep) else None
        elif inside is not None and not line.startswith(inside):
            inside = None
        if inside is None:
            kept.append(line)
    text = "\n".join(kept).replace(f"{os.sep}supervised{os.sep}script.py", f"{os.sep}plain{os.sep}script.py")
    return re.sub(r"repeated \d+ more times", "repeated N more times", text)
