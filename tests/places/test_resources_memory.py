"""The memory of a control group: a real one where the kernel lets us make one, else its files."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from containers import memory_group
from journal_kit import PACKAGE

from supervisor._places.resources import MemoryUse, memory_use

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_BYTES = 64 * 1024 * 1024
SHOW = "from supervisor._places.resources import memory_use; print(*memory_use())"
GREEDY = "import sys; print('begins', flush=True); held = [bytearray(1 << 20) for _ in range(1000)]"


@pytest.fixture
def group() -> Iterator[Path]:
    """Return a real control group with a limit of 64 MiB."""
    if sys.platform == "win32":
        pytest.skip("control groups are Linux's; Wine shows their files, but runs no program in one")
    with memory_group(LIMIT_BYTES) as path:
        yield path


def python_in(group: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a control group, until it ends."""
    join = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'
    return subprocess.run(
        ["sh", "-c", join, "sh", str(group), sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_real_group_tells_its_limit_its_use_and_its_peak(group: Path) -> None:
    """What a container may have is the limit of its control group."""
    limit, used, peak, killed = python_in(group, SHOW).stdout.split()
    assert int(limit) == LIMIT_BYTES
    assert 0 < int(used) <= LIMIT_BYTES
    assert peak == "None" or int(used) <= int(peak) <= LIMIT_BYTES
    assert killed == "0"


def test_a_real_kill_for_want_of_memory_is_counted(group: Path) -> None:
    """Whoever lives in the group afterwards sees that the kernel has killed one of its processes."""
    ended = python_in(group, GREEDY)
    if ended.returncode != -9:
        pytest.skip("the kernel did not kill: there is swap, or it cannot count")
    *_, killed = python_in(group, SHOW).stdout.split()
    assert killed == "1"


def files(folder: Path, contents: dict[str, str]) -> None:
    """Write the files of a control group."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (folder / name).write_text(text)


def proc_of(folder: Path, cgroup: str, mountinfo: str) -> str:
    """Return a directory as a process has it in ``/proc``."""
    files(folder / "proc", {"cgroup": cgroup, "mountinfo": mountinfo})
    return str(folder / "proc")


def test_version_2_in_a_container(tmp_path: Path) -> None:
    """A container sees its own group as the root."""
    facts = {"memory.max": "3221225472\n", "memory.current": "3113851289\n", "memory.peak": "3221225472\n"}
    files(tmp_path / "fs", facts | {"memory.events": "low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\n"})
    mount = f"30 23 0:26 / {tmp_path}/fs ro,nosuid - cgroup2 cgroup rw\n"
    assert memory_use(proc_of(tmp_path, "0::/\n", mount)) == MemoryUse(3221225472, 3113851289, 3221225472, 2)


def test_version_2_takes_the_nearest_limit_above(tmp_path: Path) -> None:
    """A group without a limit of its own is bounded by those around it; older kernels know no peak."""
    files(tmp_path / "fs" / "pod" / "app", {"memory.max": "max\n", "memory.current": "5\n"})
    files(tmp_path / "fs" / "pod", {"memory.max": "1000\n", "memory.current": "900\n"})
    mount = f"30 23 0:26 / {tmp_path}/fs rw - cgroup2 cgroup2 rw\n"
    assert memory_use(proc_of(tmp_path, "0::/pod/app\n", mount)) == MemoryUse(1000, 900, None, 0)


def test_version_1_in_a_container(tmp_path: Path) -> None:
    """There the path of the group is the machine's, and the mount shows which part of it is here."""
    facts = {"memory.limit_in_bytes": "1000\n", "memory.usage_in_bytes": "900\n", "memory.max_usage_in_bytes": "950\n"}
    files(tmp_path / "fs", facts | {"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"})
    mount = f"31 23 0:26 /docker/ab {tmp_path}/fs ro - cgroup cgroup rw,memory\n"
    assert memory_use(proc_of(tmp_path, "4:memory:/docker/ab\n1:cpu:/x\n", mount)) == MemoryUse(1000, 900, 950, 1)


def test_without_a_limit_there_is_nothing_to_say(tmp_path: Path) -> None:
    """Neither version 1's huge number nor a system without control groups is a limit."""
    files(tmp_path / "fs", {"memory.limit_in_bytes": "9223372036854771712\n", "memory.usage_in_bytes": "900\n"})
    mount = f"31 23 0:26 / {tmp_path}/fs ro - cgroup cgroup rw,memory\n"
    assert memory_use(proc_of(tmp_path, "4:memory:/\n", mount)) is None
    assert memory_use(str(tmp_path / "missing")) is None
    assert memory_use(proc_of(tmp_path, "nonsense", "nonsense")) is None
