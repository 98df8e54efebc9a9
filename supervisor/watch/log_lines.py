"""How a record stands in a run's own log."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING

from supervisor.compose.words import cut_middle

if TYPE_CHECKING:
    import logging

TRACEBACK_LIMIT = 60_000

_second: tuple[int, str] = (-1, "")


def formatted(record: logging.LogRecord) -> str:
    """Return a record as it is written: "2026-11-24 02:00:01.123 INFO parcels: text", and its traceback."""
    global _second  # noqa: PLW0603 - the text of the second at hand, which most records share
    second, stamp = _second
    now = int(record.created)
    if now != second:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        _second = (now, stamp)
    text = f"{stamp}.{int(record.msecs):03} {record.levelname} {record.name}: {_message(record)}"
    if record.exc_info and record.exc_info[1] is not None:
        text += f"\n{cut_middle(_traceback(record.exc_info[1]), TRACEBACK_LIMIT)}"
    elif record.exc_text:
        text += f"\n{record.exc_text}"
    return f"{text}\n{record.stack_info}" if record.stack_info else text


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
