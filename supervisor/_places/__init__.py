"""Where a process runs: on which machine, in which namespace, and before what terminal.

The machine and the PID namespace are identified so that no other one is taken for them. File systems and memory are
looked up in :mod:`.resources`, what people call the place in :mod:`.hosting`.

Only local files and the environment are read here. Nothing is kept of them but what cannot change in a process.
"""

# ruff: noqa: PTH115, PTH116, PTH123 - each run asks, and pathlib takes 3 ms to load
from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import Any, NamedTuple

_FIRST_NAMESPACE = "pid:[4026531836]"
"""The machine's own PID namespace: PROC_PID_INIT_INO in the kernel's ``include/linux/proc_ns.h``."""
_MACHINE_ID_LENGTH = 32


PLACE_VARIABLES = (
    "CLOUD_RUN_JOB", "K_SERVICE", "AWS_LAMBDA_FUNCTION_NAME", "GITHUB_ACTIONS", "GITLAB_CI", "KUBERNETES_SERVICE_HOST",
    "FUNCTIONS_WORKER_RUNTIME",
)  # fmt: skip
"""One of these is set wherever :mod:`~supervisor._places.hosting` knows more than the host's name."""


class Place(NamedTuple):
    """What runs this process.

    Args:
        label: What people call it; "" where the host's name is all there is.
        links: Addresses of pages about it, by their titles.
        facts: What the addresses of links may name in braces ("pod", "namespace", "project").
    """

    label: str = ""
    links: tuple[tuple[str, str], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


class Machine(NamedTuple):
    """One machine, and what of it a process sees.

    Args:
        id: Stays the same when the machine is restarted; "" where none can be had. On systems other than Linux, Windows
            and macOS it is the machine's name.
        boot: Names one start of its kernel; "" where that is not known.
        pid_namespace: The number of the PID namespace; "" for the machine's own, "?" where that is not known.
        shows_processes: True when the processes of this namespace can be looked up.
    """

    id: str
    boot: str = ""
    pid_namespace: str = ""
    shows_processes: bool = True

    @property
    def is_whole(self) -> bool:
        """Return whether any later process of this machine can tell if this process has ended."""
        return bool(self.id) and not self.pid_namespace and self.shows_processes


def this_machine() -> Machine:
    """Return the machine of this process; a forked child may be in another namespace."""
    return _machine_of(os.getpid())


@lru_cache(maxsize=1)
def can_be_looked_up(directory: str) -> bool:
    """Return whether each process that has the files of a directory, now and later, can look up this one."""
    if not this_machine().is_whole:
        return False
    if is_on_disk(directory):
        return True
    from supervisor._places.resources import file_system_of

    return not file_system_of(directory).is_shared


def outlasts_container(directory: str) -> bool:
    """Return False where a directory will be gone with the container that this process runs in."""
    if not this_machine().pid_namespace or is_on_disk(directory):
        return True
    from supervisor._places.resources import file_system_of

    return not file_system_of(directory).is_of_container


def is_on_disk(directory: str) -> bool:
    """Return whether a file system surely has a disk of its own; what is mounted without one has no driver's number."""
    if sys.platform != "linux":
        return False
    try:
        return os.major(os.stat(directory).st_dev) != 0
    except OSError:
        return False


@lru_cache(maxsize=1)
def _machine_of(pid: int) -> Machine:
    if sys.platform == "linux":
        return _linux(pid)
    return Machine(_windows_id() or (_mac_id() if sys.platform == "darwin" else "") or hostname())


def _linux(pid: int) -> Machine:
    boot = _first_line("/proc/sys/kernel/random/boot_id")
    try:
        namespace = os.readlink("/proc/self/ns/pid")
        # A new namespace may still have the /proc of the one around it, in which other processes have our numbers.
        is_ours = os.readlink("/proc/self") == str(pid)
    except OSError:
        return Machine(_linux_id(), boot, "?", shows_processes=False)
    number = "" if namespace == _FIRST_NAMESPACE else namespace.removeprefix("pid:[").removesuffix("]")
    return Machine(_linux_id(), boot, number, shows_processes=is_ours and bool(boot))


def _linux_id() -> str:
    """Return the machine's id (https://man7.org/linux/man-pages/man5/machine-id.5.html); "" where it has none."""
    return id_in("/etc/machine-id") or id_in("/var/lib/dbus/machine-id")


def id_in(path: str) -> str:
    """Return the id that stands in a file; "" for none, and for the "uninitialized" of an image never started."""
    found = _first_line(path)
    return found if len(found) == _MACHINE_ID_LENGTH else ""


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.readline(100).strip()
    except (OSError, ValueError):
        return ""


def _windows_id() -> str:
    if sys.platform == "win32":
        import winreg

        access = winreg.KEY_READ | winreg.KEY_WOW64_64KEY
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography", 0, access) as key:
                return str(winreg.QueryValueEx(key, "MachineGuid")[0])
        except OSError:
            pass
    return ""


_PATIENCE = (1, 0)
"""Seconds and nanoseconds."""


def _mac_id() -> str:
    """Return the UUID of a Mac's hardware, which no other name gives it; "" where there is none.

    ``gethostuuid`` takes room for 16 bytes, and how long to wait for them, as a ``timespec`` (``man 2 gethostuuid``,
    https://developer.apple.com/library/archive/documentation/System/Conceptual/ManPages_iPhoneOS/man2/gethostuuid.2.html).
    """
    import ctypes  # it takes 6 ms to load; a program that is asked instead takes longer

    try:
        found, patience = ctypes.create_string_buffer(16), (ctypes.c_long * 2)(*_PATIENCE)
        failed = ctypes.CDLL(None).gethostuuid(found, patience)
    except (AttributeError, OSError, TypeError):  # another system's library
        return ""
    return found.raw.hex() if not failed and any(found.raw) else ""


def hostname() -> str:
    """Return the machine's name; "" when it has none."""
    if sys.platform == "win32":
        name = os.environ.get("COMPUTERNAME") or _name_on_the_network()
    else:
        name = os.uname().nodename
    return name.encode("utf-8", "backslashreplace").decode()


def _name_on_the_network() -> str:
    """Return what Windows calls this machine, where an environment lacks its name."""
    import socket

    return socket.gethostname()


# The terminal


def is_terminal(stream: Any) -> bool:
    """Tell whether a stream, or a descriptor, is a terminal; a stream that is closed, missing or custom is none."""
    try:
        return os.isatty(stream) if isinstance(stream, int) else bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False


def shows_colour(stream: Any) -> bool:
    """Tell whether a stream is a terminal with colours, and the user did not turn them off (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and _can_move_cursor()


def is_watched() -> bool:
    """Tell whether a person may be watching a live display: stderr is a terminal that can move its cursor."""
    return is_terminal(sys.stderr) and _can_move_cursor()


def _can_move_cursor() -> bool:
    return os.environ.get("TERM") != "dumb"
