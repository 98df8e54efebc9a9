"""The places where configuration files are looked for, whether there are any or not."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from supervisor._config.loading import CONFIG
from supervisor._config.search import FILE, PYPROJECT, _elsewhere, _linux, is_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._config import Configuration


class Looked(NamedTuple):
    """A file that is looked for.

    Args:
        path: Where it would be.
        whose: "machine", "user", "project", or "SUPERVISOR_CONFIG".
        state: "read", "there" (and not read: a nearer one wins, or it says nothing) or "not there".
    """

    path: str
    whose: str
    state: str


def places(known: Configuration, script: str | None = None) -> list[Looked]:
    """Return the files that are looked for, the strongest last.

    Args:
        known: The configuration, which tells which of them were read.
        script: Where the search upwards begins; None for the working directory.
    """
    chosen = os.environ.get(CONFIG, "").strip()
    if chosen:
        looked = [(str(Path(chosen).expanduser().absolute()), CONFIG)] if chosen != os.devnull else []
    else:
        machine, user = _directories()
        looked = [(os.path.join(each, FILE), "machine") for each in machine]  # noqa: PTH118 - as search has it
        looked += [(os.path.join(each, FILE), "user") for each in user]  # noqa: PTH118 - the same
        looked += [(each, "project") for each in _upwards(script)]
    return [Looked(path, whose, _state(path, known)) for path, whose in dict(looked).items()]


def user_file() -> Path | None:
    """Return the configuration file of this user; None where they have no home directory."""
    _, user = _directories()
    return Path(user[-1], FILE) if user else None


def _directories() -> tuple[list[str], list[str]]:
    return _linux(os.environ) if sys.platform == "linux" else _elsewhere()


def _upwards(script: str | None) -> Iterator[str]:
    """Yield the files of the project, the weakest first: those that there are, and the nearest that there could be."""
    start = Path(script).resolve() if script is not None else Path.cwd()
    nearest = start if start.is_dir() else start.parent
    for folder in reversed([nearest, *nearest.parents]):
        for name in (PYPROJECT, FILE):
            path = str(folder / name)
            if is_file(path) or (folder == nearest and name == FILE):
                yield path


def _state(path: str, known: Configuration) -> str:
    if path in known.files or os.path.realpath(path) in known.files:
        return "read"
    return "there" if os.path.lexists(path) else "not there"
