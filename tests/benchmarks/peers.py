"""Who is measured beside us, each in a virtual environment of its own.

ugrc-supervisor installs a package of our name, and each of the others is to be measured with what it brings along and
nothing else. The environments stay in the directory that is given, so that the next measuring is quick.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cached_property
from typing import TYPE_CHECKING

from tests.benchmarks.harness import CannotMeasureError, last_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

REQUIREMENTS = {
    "ugrc-supervisor": "ugrc-supervisor==3.3",
    "loguru": "loguru",
    "sentry-sdk": "sentry-sdk",
    "knockknock": "knockknock",
    "cronitor": "cronitor",
    "stamina": "stamina",
    "tenacity": "tenacity",
    "tqdm": "tqdm",
    "rich": "rich",
    "alive-progress": "alive-progress",
    "attrs": "attrs",
    "isal": "isal",
}
TOOLS = "pip"
TIMEOUT_S = 600


class Peers:
    """The peers' environments.

    Args:
        directory: Where they are; made when missing.
        install: Whether to install what is missing.
    """

    def __init__(self, directory: Path, *, install: bool = True) -> None:
        self.directory = directory
        self.install = install
        self._missing: dict[str, str] = {}

    def python(self, peer: str) -> Path:
        """Return a peer's interpreter; install the peer first where that is needed.

        Raises:
            CannotMeasureError: It cannot be installed.
        """
        if peer in self._missing:
            raise CannotMeasureError(self._missing[peer])
        if not self._is_installed(peer):
            try:
                self._make(peer)
            except (CannotMeasureError, OSError, subprocess.SubprocessError) as error:
                self._missing[peer] = f"not installable ({error})"
                raise CannotMeasureError(self._missing[peer]) from error
        return _python(self.directory / peer)

    def versions(self) -> dict[str, str]:
        """Return the versions of the peers that are installed."""
        code = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
        found = {}
        for peer in filter(self._is_installed, REQUIREMENTS):
            done = subprocess.run(
                [_python(self.directory / peer), "-c", code, peer], capture_output=True, text=True, check=False
            )
            found[peer] = done.stdout.strip()
        return found

    def _is_installed(self, peer: str) -> bool:
        stamp = self._stamp(peer)
        return stamp.exists() and stamp.read_text() == f"{sys.version}\n{REQUIREMENTS[peer]}\n"

    def _stamp(self, peer: str) -> Path:
        return self.directory / peer / "installed.txt"

    def _make(self, peer: str) -> None:
        if not self.install:
            raise CannotMeasureError("not to be installed: --offline")
        place = self.directory / peer
        print(f"installing {peer} ...", file=sys.stderr, flush=True)
        _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(place)])
        _run([*self._pip, "--python", str(_python(place)), "install", "--quiet", REQUIREMENTS[peer]])
        self._stamp(peer).write_text(f"{sys.version}\n{REQUIREMENTS[peer]}\n")

    @cached_property
    def _pip(self) -> list[str]:
        """Return the command that installs: the pip of an environment that has nothing else."""
        place = self.directory / TOOLS
        if not _python(place).exists():
            _run([sys.executable, "-m", "venv", "--clear", str(place)])
        quiet = ["--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "15"]
        return [str(_python(place)), "-m", "pip", *quiet]


def _python(place: Path) -> Path:
    return place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _run(command: Iterable[str]) -> None:
    done = subprocess.run(list(command), capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise CannotMeasureError(last_line("\n".join(lines) or done.stderr).removeprefix("ERROR: "))
