"""How things are measured: fresh processes that take turns, and medians of what they say.

A child is a program in ``children/``. It runs under the interpreter of whoever is measured, writes JSON into the file
that its first argument names, and finds nothing of this checkout but, if it is ours, the package. Its home is empty,
and no project stands above it: what it measures is what a user gets who has configured nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.benchmarks.peers import Peers

T = TypeVar("T")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# An interpreter that was told to write no byte code would compile the package anew in each child.
DROPPED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "NO_COLOR", "COLUMNS")
HOMES = ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")


class CannotMeasureError(Exception):
    """A row cannot be measured here; the text says why, for the table."""


@attrs.frozen
class Bench:
    """What the rows share.

    Args:
        rounds: How often each way takes its turn.
        peers: Where the peers are.
        scripts: Copies of ``children/``.
        disk: A directory on the disk that counts; what is in it goes at the end.
        log_mb: How large the log is that is attached.
        runs: How many runs the large journal has.
    """

    rounds: int
    peers: Peers
    scripts: Path
    disk: Path
    log_mb: int = 500
    runs: int = 1_000_000

    def home(self) -> Path:
        """Return a new empty home."""
        return Path(tempfile.mkdtemp(prefix="home-", dir=self.disk))

    def ours(self, script: str, *args: object, home: Path | None = None, terminal: bool = False) -> Any:
        """Run a child with our package, and return what it says."""
        return self.child(Path(sys.executable), script, *args, home=home, terminal=terminal, path=ROOT)

    def theirs(self, peer: str, script: str, *args: object, terminal: bool = False) -> Any:
        """Run a child under a peer's interpreter, and return what it says."""
        return self.child(self.peers.python(peer), script, *args, terminal=terminal)

    def child(
        self,
        python: Path,
        script: str,
        *args: object,
        home: Path | None = None,
        terminal: bool = False,
        path: Path | None = None,
    ) -> Any:
        """Run a child, and return what it says.

        Raises:
            CannotMeasureError: It failed.
        """
        out = Path(tempfile.mkstemp(prefix="out-", suffix=".json", dir=self.disk)[1])
        command = [str(python), str(self.scripts / script), str(out), *map(str, args)]
        own = home or self.home()
        env = environment(own, path)
        done = on_terminal(command, env) if terminal else into_files(command, env, self.scripts)
        if home is None:
            shutil.rmtree(own, ignore_errors=True)
        text = out.read_text()
        out.unlink()
        if done[0] or not text:
            raise CannotMeasureError(f"{script} {args[0] if args else ''} failed: {last_line(done[1])}")
        return json.loads(text)


def environment(home: Path, path: Path | None = None) -> dict[str, str]:
    """Return the environment of somebody who has configured nothing, with another home."""
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    kept = {name: value for name, value in kept.items() if not name.startswith(("SUPERVISOR_", "XDG_", "COV_"))}
    kept |= {name: str(home) for name in HOMES if name in kept or name == "HOME"}
    kept |= {"no_proxy": "127.0.0.1", "TERM": "xterm-256color"}
    return kept | ({"PYTHONPATH": str(path)} if path else {})


def into_files(command: list[str], env: Mapping[str, str], cwd: Path) -> tuple[int, str]:
    """Run a command without a terminal, as schedulers do; return its exit code and what it said on stderr."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        done = subprocess.run(
            command, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd=cwd, check=False
        )
        errors.seek(0)
        return done.returncode, errors.read().decode(errors="replace")


def on_terminal(command: list[str], env: Mapping[str, str]) -> tuple[int, str]:
    """Run a command on a terminal of 100 columns that somebody reads; return its exit code and what it printed."""
    if sys.platform == "win32":
        raise CannotMeasureError("Windows has no pseudo-terminals for this")
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    printed: list[bytes] = []
    process = subprocess.Popen(command, env=dict(env), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    reader = threading.Thread(target=_read, args=(ours, printed))
    reader.start()
    code = process.wait()
    reader.join()
    os.close(ours)
    return code, b"".join(printed)[-4000:].decode(errors="replace")


def _read(terminal: int, printed: list[bytes]) -> None:
    while True:
        try:
            some = os.read(terminal, 65_536)
        except OSError:  # Linux's way to say that the other side is closed
            return
        if not some:
            return
        printed.append(some)


def last_line(text: str) -> str:
    """Return the last line that says something, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "it said nothing"


def interleave(ways: Mapping[str, Callable[[], T]], rounds: int, *, warm: bool = False) -> dict[str, list[T]]:
    """Let each way take its turn in each round, beginning with another one each time.

    Args:
        ways: What to measure.
        rounds: How often.
        warm: Whether a first round, which compiles and fills caches, is thrown away.
    """
    names = list(ways)
    results: dict[str, list[T]] = {name: [] for name in names}
    for number in range(-1 if warm else 0, rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            result = ways[name]()
            if number >= 0:
                results[name].append(result)
    return results


def available(ways: Mapping[str, Callable[[], T]]) -> tuple[dict[str, Callable[[], T]], tuple[str, ...]]:
    """Try each way once; return those that work, and of the others why they do not."""
    working, missing = {}, []
    for name, way in ways.items():
        try:
            way()
        except CannotMeasureError as error:
            missing.append(f"{name}: {error}")
        else:
            working[name] = way
    return working, tuple(missing)


def medians(results: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the median of each way."""
    return {name: median(each) for name, each in results.items()}


def ratio(ours: list[float], limit: list[float]) -> float:
    """Return the median of the ratios within the rounds."""
    return median(mine / other for mine, other in zip(ours, limit, strict=True))


@contextmanager
def workshop(directory: Path | None) -> Iterator[tuple[Path, Path]]:
    """Make the directories that the children work in: copies of their scripts, and room on the disk that counts.

    The scripts are not run in this checkout, whose ``pyproject.toml`` supervisor would read for each of them.
    """
    where = directory or Path(sys.prefix)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as scripts,
        tempfile.TemporaryDirectory(prefix="bench-", dir=where if os.access(where, os.W_OK) else None) as disk,
    ):
        shutil.copytree(HERE / "children", scripts, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        yield Path(scripts), Path(disk)
