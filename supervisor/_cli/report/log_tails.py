"""The last lines of the logs of runs, as far as they can still be read."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import attrs

from supervisor._cli.report.formatting import lines
from supervisor._cli.report.limits import LOG_CHARACTERS, LOG_FILES, Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LINES = 50
_READ_BYTES = 64 * 1024
_LINE_CHARACTERS = 500
_CLOCKS_APART_S = 5.0  # of a file server and this machine

# Nothing here may wait for the writer of a FIFO, and no terminal may become this process's own.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


@attrs.frozen
class Logged:
    """A run that had a log.

    Args:
        row: Its place in the list of runs.
        path: Where its log is.
        started_at_s: When it started.
        failed: True when it failed.
    """

    row: int
    path: str
    started_at_s: float
    failed: bool


@attrs.frozen
class Tail:
    """The end of a log, or why there is none.

    Args:
        text: The last lines; "" without any.
        note: Why there are none, or what the reader should know of them; "" when all is well.
    """

    text: str = ""
    note: str = ""


def tails(runs: Iterable[Logged], redact: Callable[[str], str]) -> Iterator[tuple[Logged, Tail]]:
    """Yield the ends of logs: of a file that several runs share only for its newest run, whose end it is.

    Args:
        runs: The runs that had a log, newest first.
        redact: Takes secrets out of a text.
    """
    newest: dict[str, Logged] = {}
    for run in runs:
        if newest.setdefault(run.path, run) is not run:
            yield run, Tail(note="A later run has the same log file, so its end is not this run's.")
    budget = Budget(LOG_CHARACTERS)
    # The order of ``newest`` is that of the runs; failures go first, since theirs are the ones that are read.
    for count, run in enumerate(sorted(newest.values(), key=lambda run: not run.failed)):
        tail = tail_of(run, redact) if count < LOG_FILES else None
        if tail is not None and budget.takes(len(tail.text)):
            yield run, tail
        else:
            yield run, Tail(note=LEFT_OUT)


LEFT_OUT = "Its log was not read, to keep this page small."


def tail_of(run: Logged, redact: Callable[[str], str]) -> Tail:
    """Return the last 50 lines of a run's log, without secrets."""
    try:
        data, changed_at_s = _end_of(run.path)
    except FileNotFoundError:
        return Tail(note="Its log is no longer there.")
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        return Tail(note=f"Its log cannot be read: {getattr(error, 'strerror', None) or error}.")
    if data is None:
        return Tail(note="Its log is no regular file.")
    if changed_at_s + _CLOCKS_APART_S < run.started_at_s:
        return Tail(note="The log file is older than this run, which wrote nothing to it.")
    return _tail(data, redact)


def _end_of(path: str) -> tuple[bytes | None, float]:
    """Return the end of a file and when it was last changed; None for what is no regular file."""
    number = os.open(path, _FLAGS)
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            return None, 0.0
        start = max(0, status.st_size - _READ_BYTES)
        os.lseek(number, start, os.SEEK_SET)
        data = os.read(number, _READ_BYTES)
    finally:
        os.close(number)
    # The first line is cut off in its middle, and half a secret would not be known as one.
    return (data.partition(b"\n")[2] if start else data), status.st_mtime


def _tail(data: bytes, redact: Callable[[str], str]) -> Tail:
    if b"\0" in data:
        return Tail(note="Its log is no text in UTF-8.")
    # Redacted as a whole: a private key spans lines.
    last = redact(data.decode("utf-8", "replace")).splitlines()[-LINES:]
    shown = (each if len(each) <= _LINE_CHARACTERS else f"{each[:_LINE_CHARACTERS]}…" for each in last)
    text = lines("\n".join(shown), LINES * (_LINE_CHARACTERS + 2))
    return Tail(text) if text.strip() else Tail(note="Its log is empty.")
