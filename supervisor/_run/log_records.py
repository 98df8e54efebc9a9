"""How a log record is written to a run's own log, and how private keys are kept out of it."""

from __future__ import annotations

import re
import time
import traceback
from functools import lru_cache
from typing import TYPE_CHECKING

from supervisor._text import cut_middle

if TYPE_CHECKING:
    import logging

TRACEBACK_LIMIT = 60_000

_KEY, _BEGIN, _END = "PRIVATE KEY", "-BEGIN ", "-END "
_KEY_LINE = re.compile(r"[A-Za-z0-9+/]{1,80}={0,2}\s*")
_LONGEST_KEY = 250  # lines of 64 characters: twice an RSA key of 16,384 bits


def formatted(record: logging.LogRecord) -> str:
    """Return a record as it is written: "2026-11-24 02:00:01.123 INFO parcels: text", and its traceback."""
    text = f"{_stamp(int(record.created))}.{int(record.msecs):03} {record.levelname} {record.name}: {_message(record)}"
    if record.exc_info and record.exc_info[1] is not None:
        text += f"\n{cut_middle(_traceback(record.exc_info[1]), TRACEBACK_LIMIT)}"
    elif record.exc_text:
        text += f"\n{record.exc_text}"
    return f"{text}\n{record.stack_info}" if record.stack_info else text


@lru_cache(maxsize=1)  # most records share the second of the one before
def _stamp(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


class KeyLines:
    """Leaves out a private key that is logged line by line: no line of it tells by itself what it is."""

    def __init__(self) -> None:
        self._left = 0  # how many more lines may belong to the key that has begun

    def without(self, text: str) -> str:
        """Return a record as it is written, without the line of a key that it is."""
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
    except Exception as fault:  # noqa: BLE001 - the run's boundary: the same for an exception
        return f"{type(error).__name__}: its traceback cannot be shown ({type(fault).__name__})"
