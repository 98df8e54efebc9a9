"""Where configuration files may be. Files that are missing or not accessible are no errors here."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    AnyPath = str | os.PathLike[str]

PREFIX = "SUPERVISOR_"
CONFIG = "SUPERVISOR_CONFIG"
UNRELATED = frozenset(
    {
        CONFIG,
        # Variables of the journal and of commands.
        "SUPERVISOR_STATE",
        "SUPERVISOR_KEEP_RUNS",
        "SUPERVISOR_KEEP_DAYS",
        "SUPERVISOR_COPY_AT_ONCE_MB",
        "SUPERVISOR_KEEP_COPIES_MB",
        "SUPERVISOR_KILL_GRACE_S",
        "SUPERVISOR_PING_URL",
        # Variables that the process manager of the same name sets for its children:
        # https://supervisord.org/subprocess.html#subprocess-environment
        "SUPERVISOR_ENABLED",
        "SUPERVISOR_PROCESS_NAME",
        "SUPERVISOR_GROUP_NAME",
        "SUPERVISOR_SERVER_URL",
    }
)
FILE = "supervisor.toml"
PYPROJECT = "pyproject.toml"
MOST_BYTES = 1_000_000
_NOBODY = -1


class CandidateFile(NamedTuple):
    """A file to read.

    Args:
        path: Its absolute path.
        of_machine: Whether it is for all users: a user who may not read it then gets a warning instead of an error.
        owner: Whom the file may belong to besides root and the current user: the owner of the script, or of the
            machine's or the user's directory. None trusts any owner: the user has named the file.
    """

    path: str
    of_machine: bool = False
    owner: int | None = None


def machine_and_user_files(
    environ: Mapping[str, str], directories: Sequence[AnyPath] | None = None
) -> Iterator[CandidateFile]:
    """Yield the existing files of the machine and of the user, the stronger last.

    Args:
        environ: Names the directories on Linux (``XDG_CONFIG_DIRS``, ``XDG_CONFIG_HOME``, ``HOME``).
        directories: The directories to search instead, the user's own last.
    """
    if directories is None:
        machine, user = places(environ)
        known = [*dict.fromkeys((*machine, *user))]
    else:
        known = [os.fspath(each) for each in directories]
        user = known[-1:]
    for folder in known:
        path = os.path.join(folder, FILE)  # noqa: PTH118 - pathlib costs 3 ms that most runs need not pay
        if is_file(path):
            yield CandidateFile(path, of_machine=folder not in user, owner=_owner(folder))


def files_upwards(script: AnyPath | None) -> Iterator[CandidateFile]:
    """Yield the existing files from the script's folder up to the root, the nearest first.

    Args:
        script: The script's file, or its folder. None for the working directory.
    """
    try:
        start = os.path.realpath(os.getcwd() if script is None else script)  # noqa: PTH109 - pathlib costs 3 ms
    except (OSError, ValueError):  # the working directory was removed
        return
    owner = _owner(start) if script is not None else _NOBODY
    folder = start if os.path.isdir(start) else os.path.dirname(start)  # noqa: PTH112, PTH120 - pathlib costs 3 ms
    while True:
        for name in (FILE, PYPROJECT):
            path = os.path.join(folder, name)  # noqa: PTH118 - pathlib costs 3 ms
            if is_file(path) and (name == FILE or _mentions_supervisor(path)):
                yield CandidateFile(path, owner=owner)
        above = os.path.dirname(folder)  # noqa: PTH120 - pathlib costs 3 ms
        if above == folder:
            return
        folder = above


def _owner(script: str) -> int:
    try:
        return os.stat(script).st_uid  # noqa: PTH116 - pathlib costs 3 ms
    except (OSError, ValueError):  # it has no file, as with python -c
        return _NOBODY


def _mentions_supervisor(path: str) -> bool:
    """Tell whether a pyproject.toml may have a table for us: most have none, and are not parsed."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs 3 ms
            return b"supervisor" in file.read(MOST_BYTES).replace(b"agrc-supervisor", b"")
    except OSError:
        return False


def is_file(path: str) -> bool:
    """Tell whether a path leads to a regular file; one that cannot be examined counts as missing."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - pathlib costs 3 ms
    except (OSError, ValueError):
        return False


def absolute(path: str, folder: str) -> str:
    """Return the absolute path for a path in a file, which may begin with ``~`` or be relative to that file."""
    return os.path.abspath(os.path.join(folder, os.path.expanduser(path)))  # noqa: PTH100, PTH111, PTH118 - the result is to be text, not a Path


def places(environ: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the directories of the machine and of the user that may hold a file, the strongest last."""
    return _xdg_directories(environ) if sys.platform == "linux" else _platform_directories()


def _xdg_directories(environ: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the directories of the machine and of the user, without the 8 ms that platformdirs takes to load.

    This follows https://specifications.freedesktop.org/basedir-spec/latest/: the first of
    ``XDG_CONFIG_DIRS`` is the strongest, and paths that are not absolute are ignored. A desktop session may put
    directories before ``/etc/xdg`` that cron does not know; all are read, so that both find ``/etc/xdg``.
    """
    machine = [each for each in environ.get("XDG_CONFIG_DIRS", "").split(":") if each.startswith("/")] or ["/etc/xdg"]
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - pathlib costs 3 ms
    user = environ.get("XDG_CONFIG_HOME", "")
    user = user if user.startswith("/") else f"{home}/.config"
    own = [user] if user.startswith("/") else []  # without a home directory there is none
    return [f"{each}/supervisor" for each in reversed(machine)], [f"{each}/supervisor" for each in own]


def _platform_directories() -> tuple[list[str], list[str]]:
    from platformdirs import site_config_path, user_config_path

    try:
        user = user_config_path("supervisor", appauthor=False)
    except RuntimeError:  # the user has no home; older versions return a path that begins with "~"
        own = []
    else:
        own = [str(user)] if user.is_absolute() else []
    return [str(site_config_path("supervisor", appauthor=False))], own
