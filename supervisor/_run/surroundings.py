"""What is around a run and may be another in the next one: packages, the script's own files, its commit, and the like.

The *stamp* holds what is known at once: the times of the folders of packages, the times and sizes of the script's
files, the commit, names of variables. The *facts* behind it take longer to find out: versions of packages, hashes of
files, the subject of the commit. The journal keeps both once for all runs that have the same stamp, so that a run that
is like the one before costs next to nothing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from supervisor import _exceptions, _log
from supervisor._run.git_commit import Commit, commit_of, earlier_commits, subject_of
from supervisor._store.essentials import Surroundings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_MOST_FILES = 100
_MOST_PACKAGES = 3_000
_MOST_VARIABLES = 500
_HASHED_BYTES = 1024 * 1024  # a longer file is known by its time and size alone
_HASHED_IN_ALL = 8 * 1024 * 1024
_FIRST_ARGUMENTS = 4
_SUFFIXES = (".py", ".pyw", ".sh", ".bash", ".ps1", ".bat", ".cmd", ".pl", ".rb", ".r", ".js", ".sql")
_PACKAGES = ("site-packages", "dist-packages")
_LIBRARY = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - a silent run never imports pathlib
_SUPERVISOR = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120 - the same


def surroundings_of(command: Sequence[str] | None) -> Surroundings:
    """Return what is around a run of this moment, without facts.

    Args:
        command: The program that ``supervisor run`` has started; None for this process.
    """
    return Surroundings(_stamp(None if command is None else tuple(command), int(time.monotonic())), _exceptions.boot())


@lru_cache(maxsize=4)
def _stamp(command: tuple[str, ...] | None, _now_s: int) -> bytes:
    """Return the stamp of a run, as JSON; a process with thousands of short runs looks once a second."""
    paths = _own_files() if command is None else _named_files(command)
    commit = _commit(paths, command)
    parts = {
        "files": list(_exceptions.file_times(paths)),
        "packages": [] if command is not None else list(_exceptions.folder_times()),
        "python": sys.executable if command is None else "",
        "commit": commit.id if commit is not None else "",
        "variables": sorted(os.environ)[:_MOST_VARIABLES],
        "zone": _time_zone(),
    }
    return json.dumps(parts, separators=(",", ":")).encode()


# The script's own files


def _own_files() -> list[str]:
    """Return the paths of what was loaded and is neither Python's library nor an installed package."""
    names = tuple(sys.modules.keys() - sys.stdlib_module_names)
    others = (_LIBRARY, _SUPERVISOR, *(each for each in sys.path if each.endswith(_PACKAGES)))
    found, packages = set(), []
    for name in names:
        if "." not in name:
            path = _file_of(name)
            if path and not path.startswith(others):
                found.add(path)
            if (path in found or not path) and _is_package(name):
                packages.append(f"{name}.")
    if packages:
        inner = tuple(packages)
        found.update(path for name in names if name.startswith(inner) and (path := _file_of(name)))
    if getattr(sys, "frozen", False):
        found.add(sys.executable)
    own = sorted(each for each in found if not each.startswith(others) and not any(name in each for name in _PACKAGES))
    return list(_absolute(own))[:_MOST_FILES]


def _file_of(name: str) -> str:
    """Return the path of a module; "" of one that has none, and of what a script has put in the place of a module."""
    module = sys.modules.get(name)
    path = module.__dict__.get("__file__") if type(module) is ModuleType else None
    return path if type(path) is str else ""


def _is_package(name: str) -> bool:
    module = sys.modules.get(name)
    return type(module) is ModuleType and "__path__" in module.__dict__


def _absolute(paths: Iterable[str]) -> Iterator[str]:
    """Yield paths as absolute ones; relative ones are left out where the working directory is gone."""
    for path in paths:
        try:
            yield os.path.abspath(path)  # noqa: PTH100 - a silent run never imports pathlib
        except (OSError, ValueError):
            continue


def _named_files(command: Sequence[str]) -> list[str]:
    """Return the files of a program: itself, where it is named by its path, and the script that it is to run."""
    named = [each for each in command[:_FIRST_ARGUMENTS] if os.path.dirname(each) or each.lower().endswith(_SUFFIXES)]  # noqa: PTH120 - a silent run never imports pathlib
    return list(_absolute(each for each in named if os.path.isfile(each)))  # noqa: PTH113 - the same


def _commit(paths: Sequence[str], command: Sequence[str] | None) -> Commit | None:
    """Return the commit that is checked out where the script is."""
    script = _exceptions.script_path() if command is None else next(iter(paths), None)
    return commit_of(os.path.dirname(script)) if script else None  # noqa: PTH120 - a silent run never imports pathlib


def _time_zone() -> str:
    """Return the time zone of the process: what the variable TZ says, or the machine's."""
    if zone := os.environ.get("TZ", "").strip():
        return zone
    try:
        path = os.readlink("/etc/localtime")  # noqa: PTH115 - a silent run never imports pathlib
    except (OSError, AttributeError):
        path = ""
    return path.partition("/zoneinfo/")[2] or time.tzname[0]


# The facts


def with_facts(surroundings: Surroundings, command: Sequence[str] | None) -> Surroundings:
    """Return the surroundings of a run that ends now, with what takes some milliseconds to find out.

    Args:
        surroundings: What :func:`surroundings_of` has returned.
        command: The program that ``supervisor run`` has started; None for this process.
    """
    files = [tuple(each) for each in json.loads(surroundings.stamp)["files"]]
    facts: dict[str, Any] = {"files": _hashes(files)}
    if command is None:
        facts["packages"] = _versions([folder for folder, _ in _exceptions.folder_times()])
    if (commit := _commit([path for path, *_ in files], command)) is not None:
        facts["subject"] = _subject(commit)
        facts["commits"] = earlier_commits(commit)
    return surroundings._replace(facts=json.dumps(facts, separators=(",", ":")).encode())


def _subject(commit: Commit) -> str:
    try:
        return subject_of(commit)
    except Exception as error:  # noqa: BLE001 - a repository may be damaged in any way
        _log.info("the subject of commit %s cannot be read: %s", commit.id[:10], error)
        return ""


def _hashes(files: Iterable[tuple[str, int, int]]) -> dict[str, str]:
    """Return the hashes of files; those are left out that are too large or cannot be read."""
    from hashlib import blake2b

    hashes, left = {}, _HASHED_IN_ALL
    for path, _, size in files:
        if size > min(left, _HASHED_BYTES):
            continue
        left -= size
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - a text
                hashes[path] = blake2b(file.read(_HASHED_BYTES), digest_size=12).hexdigest()
        except (OSError, ValueError):
            continue
    return hashes


def _versions(folders: Collection[str]) -> dict[str, str]:
    """Return the versions of the installed distributions, by the names of the folders that installers make.

    https://packaging.python.org/en/latest/specifications/recording-installed-packages/ says what these are called.
    """
    versions: dict[str, str] = {}
    for folder in folders:
        try:
            names = os.listdir(folder)  # noqa: PTH208 - a text
        except (OSError, ValueError):
            continue
        for each in names:
            name, _, version = each.removesuffix(".dist-info").partition("-")
            if version and each.endswith(".dist-info"):
                versions.setdefault(name.lower().replace("_", "-"), version)
    return dict(sorted(versions.items())[:_MOST_PACKAGES])
