"""Processes in namespaces of their own, as containers have them: their own process numbers and host name."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from journal_kit import PACKAGE
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ALONE = ("unshare", "--pid", "--uts", "--mount-proc", "--fork", "--kill-child")
"""What stands before a command that is to be process 1 of a namespace of its own."""


@cache
def _why_not() -> str:
    """Return why there can be no containers here, "" if there can."""
    if sys.platform != "linux":
        return "only Linux has namespaces"
    try:
        tried = subprocess.run([*ALONE, "hostname", "pod"], capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        return f"unshare cannot be started: {error}"
    return tried.stderr.strip() if tried.returncode else ""


def need_containers() -> None:
    """Skip the test where the kernel, or this user's rights, allow no namespaces."""
    if reason := _why_not():
        pytest.skip(f"no namespaces here: {reason}")


def _environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if name != "SUPERVISOR_HEARTBEAT_S"}


class Container:
    """A script that runs as process 1 of a PID namespace of its own.

    Args:
        code: The script.
        hostname: The name of its machine.
        group: The directory of its control group; None for that of the test.
        environment: More environment variables.
    """

    def __init__(
        self, code: str, *, hostname: str = "localhost", group: Path | None = None, **environment: str
    ) -> None:
        join = f'echo 0 > "{group}/cgroup.procs" && ' if group is not None else ""
        name = f'{join}hostname "{hostname}" && exec "$@"'
        self.process = subprocess.Popen(
            [*ALONE, "sh", "-c", name, "sh", sys.executable, "-u", "-c", code],
            env={**_environment(), "PYTHONPATH": f"{PACKAGE.parent}:{Path(__file__).parent}", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """Wait for the next line that the script prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, self.process.communicate(timeout=60)[1]
        return line

    def script(self) -> psutil.Process:
        """Return the script's process, as this side sees it."""
        wait_until(lambda: psutil.Process(self.process.pid).children())
        return psutil.Process(self.process.pid).children()[0]

    def kill(self) -> None:
        """Kill the script as the kernel does for want of memory."""
        self.script().kill()
        self.process.communicate(timeout=60)

    def end(self, said: str = "") -> tuple[str, str]:
        """Let the script go on with a line on its standard input; return what it printed on both streams."""
        return self.process.communicate(f"{said}\n", timeout=60)


@contextmanager
def containers(**common: Any) -> Iterator[Any]:
    """Give what starts containers, and end those after the block that still run."""
    need_containers()
    started: list[Container] = []

    def start(code: str, **options: Any) -> Container:
        started.append(Container(code, **{**common, **options}))
        return started[-1]

    try:
        yield start
    finally:
        for each in started:
            each.process.kill()
            each.process.communicate(timeout=60)


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Path]:
    """Give the directory of a real control group whose processes may have so much memory together."""
    top = Path("/sys/fs/cgroup/memory")
    version_2 = Path("/sys/fs/cgroup/cgroup.controllers")
    if version_2.is_file() and "memory" in version_2.read_text().split():
        top = version_2.parent
    elif not top.is_dir():
        pytest.skip("no memory controller is mounted here")
    path = top / f"supervisor-test-{uuid.uuid4().hex[:8]}"
    try:
        path.mkdir()
        name = "memory.max" if top == version_2.parent else "memory.limit_in_bytes"
        (path / name).write_text(str(limit_bytes))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield path
    wait_until(lambda: not (path / "cgroup.procs").read_text())
    path.rmdir()
