"""Where the journal lives, and how much it keeps."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from supervisor import _log
from supervisor._store.essentials import JournalUnavailable

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "SUPERVISOR_STATE"

_LIMITS = {
    "keep_runs": ("SUPERVISOR_KEEP_RUNS", 1),
    "keep_days": ("SUPERVISOR_KEEP_DAYS", 1),
    "copies_limit_bytes": ("SUPERVISOR_KEEP_COPIES_MB", 1024 * 1024),
}


def limits() -> dict[str, int]:
    """Return the limits that environment variables set; those that are missing or wrong are left out.

    ``SUPERVISOR_KEEP_RUNS`` runs of each name, for ``SUPERVISOR_KEEP_DAYS`` days, and copies of attachments of
    ``SUPERVISOR_KEEP_COPIES_MB`` megabytes; each a whole number above 0.
    """
    found = {}
    for limit, (variable, factor) in _LIMITS.items():
        text = os.environ.get(variable, "").strip()
        if text.isascii() and text.isdigit() and int(text):
            found[limit] = int(text) * factor
        elif text:
            _log.warning("%s must be a whole number above 0, got %r; it is left as it is by default", variable, text)
    return found


def state_directory() -> Path:
    """Return the directory of the journal, as an absolute path; nothing is created.

    It is what the environment variable ``SUPERVISOR_STATE`` says, else the platform's own place for the state
    of programs (``~/.local/state/supervisor`` on Linux). Without ``HOME`` the user database gives the home
    directory.

    Raises:
        JournalUnavailable: The user has no home directory at all, and ``SUPERVISOR_STATE`` is not set.
    """
    from pathlib import Path

    return Path(state_path())


def state_path() -> str:
    """Return what :func:`state_directory` does, as a text: every run asks, and pathlib takes 3 ms to load."""
    chosen = os.environ.get(VARIABLE, "").strip()
    try:
        path = os.path.expanduser(chosen) if chosen else _platform_directory()  # noqa: PTH111 - pathlib takes 3 ms to load
    except RuntimeError as error:
        raise _no_home() from error
    if path.startswith("~"):  # it would scatter journals over the working directories of scripts
        raise _no_home()
    return os.path.abspath(path)  # noqa: PTH100 - pathlib takes 3 ms to load


def _platform_directory() -> str:
    """Return the platform's place; on Linux by https://specifications.freedesktop.org/basedir-spec/latest/."""
    if sys.platform == "linux":
        return f"{os.environ.get('XDG_STATE_HOME', '').strip() or os.path.expanduser('~/.local/state')}/supervisor"  # noqa: PTH111 - pathlib takes 3 ms to load
    from platformdirs import user_state_dir  # it takes 5 ms to load

    return user_state_dir("supervisor", appauthor=False)


def _no_home() -> JournalUnavailable:
    return JournalUnavailable("~", "the user has no home directory", f"set {VARIABLE} to a directory")
