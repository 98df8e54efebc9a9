"""What the place of a run gives it: the file system of a directory, and the memory of this container.

A file system is the machine's own, one that machines share, or a bucket. How much memory the processes of a container
have, may have, and were killed for is read from control groups v1 and v2:
https://docs.kernel.org/admin-guide/cgroup-v2.html and https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

# ruff: noqa: PTH100, PTH116, PTH118, PTH120, PTH123 - runs ask, and pathlib takes 3 ms to load
from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# File systems

_NETWORK = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
    "prl_fs", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
})  # fmt: skip
_BUCKETS = ("blobfuse", "gcsfuse", "geesefs", "goofys", "mountpoint-s3", "mount-s3", "rclone", "s3fs", "ossfs")
_OF_CONTAINERS = frozenset({"aufs", "overlay", "ramfs", "rootfs", "tmpfs"})
_REMOTE_DRIVE = 4
"""What ``GetDriveTypeW`` returns for a network drive."""


class FileSystem(NamedTuple):
    """A mounted file system.

    Args:
        type: Its type ("ext4", "nfs4", "fuse.gcsfuse"); "" where that is not known.
        source: What is mounted ("server:/export").
        options: How it is mounted.
    """

    type: str = ""
    source: str = ""
    options: frozenset[str] = frozenset()

    @property
    def is_bucket(self) -> bool:
        """Return whether it is a bucket of a cloud: files are written as a whole, and locks mean nothing."""
        names = f"{self.type} {self.source}".lower()
        return self.type.startswith("fuse") and any(each in names for each in _BUCKETS)

    @property
    def is_shared(self) -> bool:
        """Return whether other machines may have it too."""
        return self.type in _NETWORK or (self.type.startswith("fuse") and self.type != "fuseblk")

    @property
    def is_of_container(self) -> bool:
        """Return whether it may be gone with the container that has it."""
        return self.type in _OF_CONTAINERS

    @property
    def has_locks(self) -> bool:
        """Return whether a lock that one machine takes holds for others; True where nothing is known against it."""
        without = {"nolock", "nobrl", "local_lock=all", "local_lock=posix"}
        return not self.is_bucket and not self.options & without


UNKNOWN = FileSystem()


def file_system_of(directory: str) -> FileSystem:
    """Return the file system of a directory, or of the nearest directory above it that exists.

    Linux and Windows tell; elsewhere it is :data:`UNKNOWN`.
    """
    if sys.platform == "win32":
        return _of_drive(directory)
    if sys.platform != "linux":
        return UNKNOWN
    device = _device_of(directory)
    # A disk has a driver with a number of its own; what is mounted without one has 0 (network, FUSE, memory, overlays).
    return UNKNOWN if device is None or os.major(device) else _of_device(f"{os.major(device)}:{os.minor(device)}")


def _device_of(directory: str) -> int | None:
    while True:
        try:
            return os.stat(directory).st_dev
        except OSError:
            above = os.path.dirname(directory)
            if above == directory:
                return None
            directory = above


def _of_device(number: str) -> FileSystem:
    """Find a device in ``/proc/self/mountinfo`` (https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html)."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            lines = file.readlines()
    except OSError:
        return UNKNOWN
    for line in lines:
        mount, separator, rest = line.partition(" - ")
        if separator and mount.split()[2] == number:
            return _file_system(mount.split(), rest.split())
    return UNKNOWN


def _file_system(mount: list[str], rest: list[str]) -> FileSystem:
    kind, source, *more = (*rest, "", "")
    return FileSystem(kind, source, frozenset(f"{mount[5]},{','.join(more)}".split(",")))


def _of_drive(directory: str) -> FileSystem:
    if sys.platform == "win32":
        import ctypes

        drive = os.path.splitdrive(os.path.abspath(directory))[0]
        if drive.startswith("\\\\") or ctypes.windll.kernel32.GetDriveTypeW(f"{drive}\\") == _REMOTE_DRIVE:
            return FileSystem("smb3", drive)
    return UNKNOWN


# Memory

_UNLIMITED_BYTES = 2**60
"""Version 1 shows a number near 2**63 where there is no limit."""
_FILES = {
    "cgroup2": ("memory.max", "memory.current", "memory.peak", "memory.events"),
    "cgroup": ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"),
}


class MemoryUse(NamedTuple):
    """The memory of a control group that has a limit.

    Args:
        limit_bytes: The most that it may have.
        used_bytes: What it has now.
        peak_bytes: The most that it has had; None where the kernel does not say.
        oom_kills: How many of its processes the kernel has killed because there was no more.
    """

    limit_bytes: int
    used_bytes: int
    peak_bytes: int | None = None
    oom_kills: int = 0


def memory_use(proc: str = "/proc/self") -> MemoryUse | None:
    """Return the memory of the nearest control group of this process that has a limit; None without one.

    Args:
        proc: The directory in ``/proc`` of the process.
    """
    try:
        found = next((use for version, group in _groups(proc) if (use := _use(version, group)) is not None), None)
    except (OSError, ValueError, IndexError):  # no Linux, or it hides them
        return None
    return found


def _groups(proc: str) -> Iterator[tuple[str, str]]:
    """Yield the version and the directory of each control group that the process is in, the innermost first."""
    own = dict(_own_groups(proc))
    for line in _lines(f"{proc}/mountinfo"):
        mount, _, rest = line.partition(" - ")
        version, _, options = (*rest.split(), "", "")[:3]
        if version not in own or (version == "cgroup" and "memory" not in options.split(",")):
            continue
        root, top = mount.split()[3:5]
        inside = own[version].removeprefix(root.rstrip("/")).strip("/")
        directory = os.path.join(top, inside) if not inside.startswith("..") else top
        while directory.startswith(top):
            yield version, directory
            directory = os.path.dirname(directory)


def _own_groups(proc: str) -> Iterator[tuple[str, str]]:
    for line in _lines(f"{proc}/cgroup"):
        number, controllers, path = line.rstrip("\n").split(":", 2)
        if number == "0":
            yield "cgroup2", path
        elif "memory" in controllers.split(","):
            yield "cgroup", path


def _use(version: str, group: str) -> MemoryUse | None:
    limit, used, peak, events = (os.path.join(group, each) for each in _FILES[version])
    limit_bytes = _number(limit)
    if limit_bytes is None or limit_bytes >= _UNLIMITED_BYTES:
        return None
    return MemoryUse(limit_bytes, _number(used) or 0, _number(peak), _oom_kills(events))


def _number(path: str) -> int | None:
    """Return the number in a file; None for "max", and where there is no such file."""
    try:
        return int(next(iter(_lines(path)), ""))
    except (OSError, ValueError):
        return None


def _oom_kills(path: str) -> int:
    try:
        counts = dict(line.split(maxsplit=1) for line in _lines(path))
        return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0


def _lines(path: str) -> list[str]:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readlines()
