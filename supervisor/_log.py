"""Supervisor's own log, on the logger ``supervisor``.

A log that cannot be written (a full disk, a handler that raises) must stop neither the script nor its messages.

``logging`` is imported for the first warning, unless the script has imported it. Before that, nobody can have set the
level of the logger, so that information below a warning is not logged; a script without warnings never imports it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache
from sys import modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

_INFO, _WARNING, _ERROR = 20, 30, 40  # the numbers that logging documents for its levels

_SEVERITIES = {_INFO: "INFO", _WARNING: "WARNING", _ERROR: "ERROR"}


def is_followed() -> bool:
    """Return whether information below warnings is logged."""
    return "logging" in modules and _loaded().isEnabledFor(_INFO)


def info(text: str, *facts: object) -> None:
    """Log at level INFO."""
    if is_followed():
        _log(_INFO, text, facts)


def warning(text: str, *facts: object) -> None:
    """Log at level WARNING: something to correct at some time."""
    _log(_WARNING, text, facts)


def error(text: str, *facts: object) -> None:
    """Log at level ERROR: something that must be corrected."""
    _log(_ERROR, text, facts)


def _log(level: int, text: str, facts: tuple[object, ...]) -> None:
    with suppress(Exception):
        try:
            from supervisor._forks import delaying_forks

            logger = _loaded()
        except (ImportError, OSError, MemoryError):  # a script that has opened too many files cannot import anything
            if sys.stderr is not None:
                print(text % facts if facts else text, file=sys.stderr)  # noqa: T201 - what logging does without a handler
        else:
            with delaying_forks():
                if _writes_json(logger):
                    _write_json(logger, level, text, facts)
                elif logger.disabled and level >= _WARNING:
                    _log_though_disabled(logger, level, text, facts)
                else:
                    logger.log(level, text, *facts, stacklevel=3)


class _Lines:
    """How lines are written where the script has set up no logging.

    Attributes:
        format: "gcp" or "text", as a run's settings say; None for what the environment says.
        run: Returns the id and the name of the run that is under way; None outside of runs.
    """

    format: str | None = None
    run: Callable[[], tuple[str, str] | None] | None = None


lines = _Lines()


def _writes_json(logger: logging.Logger) -> bool:
    """Return whether nobody but Google Cloud reads our lines."""
    wanted = os.environ.get("SUPERVISOR_LOG_FORMAT", "").strip() or lines.format
    if wanted is None:
        wanted = "gcp" if "CLOUD_RUN_JOB" in os.environ or "K_SERVICE" in os.environ else "text"
    return wanted == "gcp" and not logger.hasHandlers()


def _write_json(logger: logging.Logger, level: int, text: str, facts: tuple[object, ...]) -> None:
    """Write one line as Google Cloud reads it: https://cloud.google.com/logging/docs/structured-logging."""
    if level < logger.getEffectiveLevel() or sys.stderr is None:
        return
    import json
    from datetime import UTC, datetime

    line: dict[str, object] = {
        "severity": _SEVERITIES[level],
        "message": text % facts if facts else text,
        "time": datetime.now(UTC).isoformat(),
        "logger": "supervisor",
    }
    run = lines.run() if lines.run is not None else None
    if run is not None:
        line["logging.googleapis.com/labels"] = {"run_id": run[0], "run": run[1]}
    if trace := _trace():
        line["logging.googleapis.com/trace"] = trace
    print(json.dumps(line), file=sys.stderr, flush=True)  # noqa: T201 - where Cloud Run reads the log


def _trace() -> str:
    """Return the trace of the web request at hand, "" for none: https://cloud.google.com/trace/docs/trace-context."""
    flask = modules.get("flask")
    if flask is None or not flask.has_request_context():
        return ""
    trace = str(flask.request.headers.get("X-Cloud-Trace-Context", "")).partition("/")[0]
    project = os.environ.get("GOOGLE_CLOUD_PROJECT", "")
    return f"projects/{project}/traces/{trace}" if trace and project else ""


def _log_though_disabled(logger: logging.Logger, level: int, text: str, facts: tuple[object, ...]) -> None:
    """Hand a record to the handlers that are there, though the logger is disabled.

    By default, ``logging.config.dictConfig()`` disables all loggers that it does not name. A script does not mean to
    hide with it that its messages are refused.
    """
    record = logger.makeRecord(logger.name, level, "supervisor", 0, text, facts, None)
    if level >= logger.getEffectiveLevel() and level > logger.manager.disable and logger.filter(record):
        logger.callHandlers(record)


@cache  # each run asks for the level
def _loaded() -> logging.Logger:
    import logging

    return logging.getLogger("supervisor")
