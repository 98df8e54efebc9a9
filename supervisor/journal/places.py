"""Where the journal lives."""

from __future__ import annotations

import os
from pathlib import Path

from supervisor import log
from supervisor.journal.errors import JournalUnavailable

VARIABLE = "SUPERVISOR_STATE"


_LIMITS = {
    "keep_runs": ("SUPERVISOR_KEEP_RUNS", 1),
    "keep_days": ("SUPERVISOR_KEEP_DAYS", 1),
    "copies_limit_bytes": ("SUPERVISOR_KEEP_COPIES_MB", 1024 * 1024),
}


def limits() -> dict[str, int]:
    """Return how much the environment says is to be kept; what it does not say, or says wrongly, is left out.

    ``SUPERVISOR_KEEP_RUNS`` runs of each name, for ``SUPERVISOR_KEEP_DAYS`` days, and copies of attachments of
    ``SUPERVISOR_KEEP_COPIES_MB`` megabytes; each a whole number above 0.
    """
    found = {}
    for limit, (variable, factor) in _LIMITS.items():
        text = os.environ.get(variable, "").strip()
        if text.isascii() and text.isdigit() and int(text):
            found[limit] = int(text) * factor
        elif text:
            log.warning("%s must be a whole number above 0, got %r; it is left as it is by default", variable, text)
    return found


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
