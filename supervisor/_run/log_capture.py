"""``capture_logs``: a run's own log, with the records of the loggers that it names and with warnings.

No handler is added to any logger: ``logging.basicConfig()`` in the script would then do nothing, and Python's
handler of last resort would be silent. Records are taken where a logger passes them to its handlers, by wrapping
``Logger.callHandlers`` while a run asks for it; so filters, ``propagate`` and handlers stay as the script has them.

What a logger lets through is taken, and levels stay as the script has them. Where the setting names a level for a
logger ("parcels=DEBUG"), the logger has that level while the run lasts, and what it would have dropped goes to the
run's log only.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
import traceback
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from supervisor import _log
from supervisor._hooks import (
    lower_levels,
    on_fork,
    restore_levels,
    unwrap_logging,
    would_pass,
    wrap_logging,
)
from supervisor._run.state import active_state
from supervisor._store import files
from supervisor._store.files import LINE_LIMIT, TAIL_LINES, last_lines
from supervisor._text import cut_clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from supervisor._run.state import RunState

_WARNINGS = "py.warnings"
_OWN_LOGGER = "supervisor"
_WARNS_FROM = {"error": logging.ERROR, "warning": logging.WARNING}


class _Changing:
    """Guards the logs that are open; a signal handler may begin a run while its thread holds it."""

    lock = threading.RLock()


_open: dict[int, RunLog] = {}
_warned: set[str] = set()


class RunLog:
    """The log of one run, from :func:`open_log` to :meth:`close`.

    Args:
        run: The run.
        names: The loggers whose records it takes, with all below them; "root" for all. Each may have a level
            ("parcels=DEBUG").
        file: Where it is written; None keeps only counts and the last lines.
        redact: Takes secrets out of a record's text before it is written or kept.

    Attributes:
        warned: How many records make a warning of the run, by its setting ``warn_on``.
        warned_lines: The first lines of the first of these, at most ten.
    """

    def __init__(
        self, run: RunState, names: Iterable[str], file: files.LogFile | None, redact: Callable[[str], str]
    ) -> None:
        self.run = run
        self.path = file.path if file is not None else None
        self.lock = threading.RLock()  # a signal handler or a finalizer may log while its thread is in here
        found = [(name, level) for name, _, level in (each.partition("=") for each in names)]
        self.names = tuple(name for name, _ in found)
        self.levels = {name: logging.getLevelNamesMapping()[level] for name, level in found if level}
        self._takes_all = "root" in self.names
        self._below = tuple(f"{name}." for name in self.names)
        self._descriptor = file.descriptor if file is not None else None
        self._redact = redact
        self._key_lines = KeyLines()
        self._counts: dict[tuple[int, str], int] = {}
        self._last: deque[str] = deque(maxlen=TAIL_LINES)
        self._warnings: dict[int, list[str]] = {}
        self._has_warned = False
        self._warns_from = _WARNS_FROM.get(run.settings.warn_on or "", logging.CRITICAL + 1_000_000)
        self.warned = 0
        self.warned_lines: list[str] = []
        self.lowered: list[logging.Logger] = []

    @property
    def counts(self) -> dict[str, int]:
        """Return how many records of each level there were, from WARNING up, the worst level first."""
        with self.lock:
            return {name: count for (_, name), count in sorted(self._counts.items(), reverse=True)}

    @property
    def tail(self) -> tuple[str, ...]:
        """Return the last 20 lines, oldest first, each of at most 500 characters."""
        with self.lock:
            texts = tuple(self._last)
        return last_lines(texts)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the first lines of records from WARNING up, the worst level first, at most ten."""
        with self.lock:
            lines = [line for level in sorted(self._warnings, reverse=True) for line in self._warnings[level]]
        return tuple(lines[:MOST_WARNINGS])

    def takes(self, name: str) -> bool:
        """Return whether the records of a logger belong here."""
        return self._takes_all or name in self.names or name.startswith(self._below) or name == _WARNINGS

    def write(self, record: logging.LogRecord) -> None:
        """Write one record. It never raises: a log that is full must not stop the script."""
        try:
            text = self._redact(self._key_lines.without(formatted(record, self._redact)))
            self._keep(text, record)
        except OSError as error:
            # It is tried again with the next record: there may be room by then.
            self._warn("the log %r cannot be written: %s; the run goes on", self.path, error)
        except Exception as fault:  # noqa: BLE001 - the run's boundary: a record holds whatever a script put into it
            self._warn("a record of %r could not be written to the log of its run: %r", record.name, fault)

    def _keep(self, text: str, record: logging.LogRecord) -> None:
        """Count a text and write it.

        Raises:
            OSError: It cannot be written; it is counted all the same, and among the last lines.
        """
        with self.lock:
            if record.levelno >= logging.WARNING:
                level = (record.levelno, record.levelname)
                self._counts[level] = self._counts.get(level, 0) + 1
                lines = self._warnings.setdefault(record.levelno, [])
                line = text[:LINE_LIMIT].partition("\n")[0]
                if len(lines) < MOST_WARNINGS:
                    lines.append(line)
                self._count_warning(record, line)
            self._last.append(text if len(text) <= TAIL_LINES * LINE_LIMIT else text[-TAIL_LINES * LINE_LIMIT :])
            if self._descriptor is not None:
                _write(self._descriptor, f"{text}\n".encode("utf-8", "replace"))

    def _count_warning(self, record: logging.LogRecord, line: str) -> None:
        """Count a record that makes a warning of the run; what supervisor itself logs is about supervision."""
        if record.levelno >= self._warns_from and record.name.partition(".")[0] != _OWN_LOGGER:
            self.warned += 1
            if len(self.warned_lines) < MOST_WARNINGS:
                self.warned_lines.append(line)

    def _warn(self, text: str, *facts: object) -> None:
        """Log what is wrong with this log, once: the warning comes by here, too."""
        if not self._has_warned:
            self._has_warned = True
            _log.warning(text, *facts)

    def close(self) -> None:
        """End the log, put logging back as it was found, and delete logs that are too old."""
        with _Changing.lock:
            if _open.pop(id(self.run), None) is None:
                return
            restore_levels(self.lowered)
            if not _open:
                unwrap_logging()
        with self.lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and self.path is not None:
            os.close(descriptor)
            files.prune(self.path)


def open_log(
    run: RunState, names: Iterable[str], directory: str | None, redact: Callable[[str], str] = lambda text: text
) -> RunLog:
    """Begin the log of a run.

    A record belongs to the innermost run at hand that takes it. One from a thread that belongs to no run, because
    it was started before any, goes to every run that takes it.

    Args:
        run: The run.
        names: The loggers whose records it takes, with all below them; "root" for all. Each may have a level
            ("parcels=DEBUG"). Warnings are always taken.
        directory: Where all logs are; None for no file. Where it cannot be written, a warning is logged, and counts
            and the last lines are kept all the same.
        redact: Takes secrets out of a record's text before it is written or kept.
    """
    file = None
    if directory is not None:
        try:
            file = files.create(directory, run.name, run.id, run.started_at_s)
        except OSError as error:
            if directory not in _warned:
                _warned.add(directory)
                _log.warning("no log can be written in %r: %s; the run goes on", directory, error.strerror or error)
    opened = RunLog(run, names, file, redact)
    with _Changing.lock:
        opened.lowered = lower_levels(opened.levels)
        _open[id(run)] = opened
        wrap_logging(_wrapped_handlers, _wrapped_warnings)
    return opened


def _takers(name: str) -> Iterable[RunLog]:
    """Return the logs that a record from a logger belongs to."""
    run = active_state.get()
    is_in_run = False
    while run is not None:
        found = _open.get(id(run))
        if found is not None and found.takes(name):
            return (found,)
        is_in_run = is_in_run or not run.has_ended
        run = run.parent
    return () if is_in_run else [each for each in tuple(_open.values()) if each.takes(name)]


def _write(descriptor: int, data: bytes) -> None:
    # Without a buffer, so that the log of a run that is killed is complete.
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, data[written:])


# What is wrapped


class _Handing(threading.local):
    """The record that this thread hands on: it is written once, even if our wrapper is called twice for it."""

    record: logging.LogRecord | None = None


_handing = _Handing()


def _wrapped_handlers(found: Any) -> Any:
    def callHandlers(self: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        outer = _handing.record
        if not _open or outer is record:
            found(self, record)
            return
        for each in _takers(self.name):
            each.write(record)
        if would_pass(self, record.levelno):
            _handing.record = record
            try:
                found(self, record)
            finally:
                _handing.record = outer

    return callHandlers


def _wrapped_warnings(found: Any) -> Any:
    def showwarning(  # noqa: PLR0913, PLR0917 - the signature of warnings.showwarning
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        # logging.captureWarnings(True) makes a record of it, which comes by anyway.
        if _open and file is None and found is not getattr(logging, "_showwarning", None):
            text = f"{os.path.basename(filename)}:{lineno}: {category.__name__}: {message}"  # noqa: PTH119 - a text
            record = logging.LogRecord(_WARNINGS, logging.WARNING, filename, lineno, text, None, None)
            for each in _takers(_WARNINGS):
                each.write(record)
        found(message, category, filename, lineno, file, line)

    return showwarning


def _renew_locks_in_child() -> None:
    """Give a forked child new locks, since its parent's may be held; it goes on writing to its parent's files."""
    _Changing.lock = threading.RLock()
    for each in _open.values():
        each.lock = threading.RLock()


on_fork(in_child=_renew_locks_in_child)


# How a record is written

TRACEBACK_LIMIT = 60_000
RECORD_LIMIT = 1_000_000
MOST_WARNINGS = 10

_KEY, _BEGIN, _END = "PRIVATE KEY", "-BEGIN ", "-END "
_KEY_LINE = re.compile(r"[A-Za-z0-9+/]{1,80}={0,2}\s*")
_LONGEST_KEY = 250  # lines of 64 characters: twice an RSA key of 16,384 bits


def formatted(record: logging.LogRecord, redact: Callable[[str], str] = lambda text: text) -> str:
    """Return a record as it is written: "2026-11-24 02:00:01.123 INFO parcels: text", and its traceback.

    Args:
        record: The record.
        redact: Takes secrets out of a text that is cut since it is too long.
    """

    def bounded(text: str, limit: int = TRACEBACK_LIMIT) -> str:
        return text if len(text) <= limit else cut_clean(text, limit, redact)

    message = bounded(_message(record), RECORD_LIMIT)
    text = f"{_stamp(int(record.created))}.{int(record.msecs):03} {record.levelname} {record.name}: {message}"
    if record.exc_info and record.exc_info[1] is not None:
        text += f"\n{bounded(_traceback(record.exc_info[1]))}"
    elif record.exc_text:
        text += f"\n{bounded(record.exc_text)}"
    return f"{text}\n{bounded(record.stack_info)}" if record.stack_info else text


@lru_cache(maxsize=1)  # most records share the second of the one before
def _stamp(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


class KeyLines:
    """Leaves out a private key that is logged line by line: no single line of it can be recognised."""

    def __init__(self) -> None:
        self._left = 0  # how many more lines may belong to the key that has begun

    def without(self, text: str) -> str:
        """Return a formatted record, redacted if it is a line of a private key that is logged line by line."""
        if self._left:
            beginning, _, line = text.rpartition(": ")
            if _END in text:
                self._left = 0
            elif _KEY_LINE.fullmatch(line):
                self._left -= 1
                return f"{beginning}: [redacted: private_key]"
        elif _KEY in text and _BEGIN in text and _END not in text:
            self._left = _LONGEST_KEY
        return text


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as fault:  # noqa: BLE001 - the run's boundary: what is logged may raise anything in its str()
        return f"{record.msg!r} cannot be filled in ({type(fault).__name__})"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error)).rstrip("\n")
    except Exception as fault:  # noqa: BLE001 - the run's boundary: an exception may raise anything when it is formatted
        return f"{type(error).__name__}: its traceback cannot be shown ({type(fault).__name__})"
