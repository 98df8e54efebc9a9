"""What kind of file system a directory is on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from containers import containers

from supervisor._places.resources import UNKNOWN, FileSystem, file_system_of

SHOW = """
import subprocess, sys
from supervisor._places.resources import file_system_of
subprocess.run(["mount", "-t", "tmpfs", "a tmpfs", {path!r}], check=True)
print(file_system_of({path!r} + "/below/that/is/missing").type)
"""


def test_a_directory_that_is_missing_is_on_the_file_system_of_the_one_above(tmp_path: Path) -> None:
    """A state directory is asked for before it is created."""
    assert file_system_of(str(tmp_path / "a" / "b")) == file_system_of(str(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux and Windows tell")
def test_memory_has_a_type() -> None:
    """What is mounted without a disk is found among the mounts."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("there is no /dev/shm")
    found = file_system_of("/dev/shm")
    assert found.type
    assert not found.is_shared


def test_a_mount_of_its_own_namespace_is_found(tmp_path: Path) -> None:
    """What a container has mounted counts there."""
    with containers() as start:
        assert start(SHOW.format(path=str(tmp_path))).line() == "tmpfs"


@pytest.mark.parametrize(
    ("type_", "source", "options", "is_shared", "is_bucket", "has_locks"),
    [
        ("nfs4", "server:/export", "rw,vers=4.2", True, False, True),
        ("nfs", "server:/export", "rw,nolock", True, False, False),
        ("cifs", "//server/share", "rw", True, False, True),
        ("cifs", "//server/share", "rw,nobrl", True, False, False),
        ("9p", "drvfs", "rw", True, False, True),
        ("fuse.sshfs", "gis@host:", "rw", True, False, True),
        ("fuse.gcsfuse", "gcsfuse", "rw", True, True, False),
        ("fuse", "mountpoint-s3", "rw", True, True, False),
        ("fuse.blobfuse2", "blobfuse2", "rw", True, True, False),
        ("fuseblk", "/dev/sdb1", "rw", False, False, True),
        ("overlay", "overlay", "rw", False, False, True),
        ("", "", "", False, False, True),
    ],
)
def test_what_machines_share_and_what_is_a_bucket(  # noqa: PLR0917 - the columns of the table above
    type_: str, source: str, options: str, is_shared: bool, is_bucket: bool, has_locks: bool
) -> None:
    """Types as ``/proc/self/mountinfo`` shows them, with the options that turn locks off."""
    found = FileSystem(type_, source, frozenset(options.split(",")))
    assert (found.is_shared, found.is_bucket, found.has_locks) == (is_shared, is_bucket, has_locks)


def test_nothing_is_held_against_what_is_not_known() -> None:
    """Where no system tells, a directory counts as the machine's own."""
    assert not UNKNOWN.is_shared
    assert UNKNOWN.has_locks
