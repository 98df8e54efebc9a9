"""Where the journal lives."""

from __future__ import annotations

import os
from pathlib import Path

from supervisor.journal.errors import JournalUnavailable

VARIABLE = "SUPERVISOR_STATE"


def state_directory() -> Path:
    """Return the directory of the journal, as an absolute path; nothing is created.

    It is what the environment variable ``SUPERVISOR_STATE`` says, else the platform's own place for the state
    of programs (``~/.local/state/supervisor`` on Linux). Without ``HOME`` the user database tells the home.

    Raises:
        JournalUnavailable: The user has no home directory at all, and ``SUPERVISOR_STATE`` is not set.
    """
    chosen = os.environ.get(VARIABLE, "").strip()
    try:
        path = Path(chosen).expanduser() if chosen else _platform_directory()
    except RuntimeError as error:
        raise _homeless() from error
    if path.parts[:1] == ("~",):  # it would scatter journals over the working directories of scripts
        raise _homeless()
    return path.absolute()


def _platform_directory() -> Path:
    from platformdirs import user_state_path  # 5 ms that SUPERVISOR_STATE saves

    return user_state_path("supervisor", appauthor=False)


def _homeless() -> JournalUnavailable:
    return JournalUnavailable("~", "the user has no home directory", f"set {VARIABLE} to a directory")
