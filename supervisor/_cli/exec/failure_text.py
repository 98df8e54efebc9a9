"""How a program ended, in words: what a failure message says instead of a traceback."""

from __future__ import annotations

import hashlib
import signal
from typing import TYPE_CHECKING

import attrs

from supervisor._models.kinds import Outcome
from supervisor._models.values import ErrorDetails
from supervisor._run.signals import CommandError
from supervisor._text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor._cli.exec.exit_status import CannotStartError, Ended
    from supervisor._cli.exec.offer import Note

TIMED_OUT = 124
_LINE_LIMIT = 300
_TEXT_LIMIT = 50_000
_STOPPED = {signal.SIGINT: Outcome.INTERRUPTED, signal.SIGTERM: Outcome.TERMINATED}
if hasattr(signal, "SIGHUP"):
    _STOPPED[signal.SIGHUP] = Outcome.TERMINATED
if hasattr(signal, "SIGBREAK"):
    _STOPPED[signal.SIGBREAK] = Outcome.TERMINATED


def not_started(error: CannotStartError) -> CommandError:
    """Return what is told of a program that could not be started."""
    return CommandError(Outcome.FAILURE, error.code, _details(error.reason, error.evidence))


def never_started(asked_by: int) -> CommandError:
    """Return what is told of a program that was not started, since we were asked to end first."""
    text = f"ended by {_named(asked_by)} before it was started"
    return CommandError(_STOPPED[signal.Signals(asked_by)], 128 + asked_by, _details(text))


def ending_of(  # noqa: PLR0913 - all that an ending is made of
    ended: Ended,
    *,
    asked_by: int,
    overdue: str,
    timed_out_after_s: float | None,
    note: Note | None,
    lines: Sequence[str],
    last_error: str,
) -> CommandError | None:
    """Return what is told of a program's end; None when it ended well.

    Args:
        ended: Its exit status.
        asked_by: The signal that we got and forwarded; 0 for none.
        overdue: Why it was interrupted, when it took too long or stood still; "" when it was not.
        timed_out_after_s: The time that it had and took; None when that was enough.
        note: What it said itself at its end, as a Python program that uses supervisor does.
        lines: The last of its output.
        last_error: The last line that went to stderr; "" for none.
    """
    outcome, code, text = _verdict(ended, asked_by, overdue, timed_out_after_s)
    report = note.report if note is not None and note.report.outcome is not Outcome.SUCCESS else None
    if report is None or report.outcome is None or report.error is None:
        return None if outcome is Outcome.SUCCESS else CommandError(outcome, code, _details(text, last_error, lines))
    error = report.error
    if overdue or timed_out_after_s is not None:
        error = attrs.evolve(error, type=text, message="")  # the program only knows that it was interrupted
    elif outcome in (Outcome.SUCCESS, Outcome.FAILURE):
        outcome = report.outcome
    return CommandError(outcome, code, attrs.evolve(error, fingerprint=_fingerprint(text, error.fingerprint)))


def _verdict(ended: Ended, asked_by: int, overdue: str, timed_out_after_s: float | None) -> tuple[Outcome, int, str]:
    """Return outcome, exit code and words for what can be seen from outside."""
    if timed_out_after_s is not None:
        return Outcome.FAILURE, TIMED_OUT, f"timed out after {duration(timed_out_after_s)}"
    if overdue:
        return Outcome.FAILURE, ended.code, f"interrupted: {overdue}"
    if asked_by:
        return _STOPPED[signal.Signals(asked_by)], ended.code, f"asked to end by {_named(asked_by)}"
    if ended.signal:
        return _STOPPED.get(ended.signal, Outcome.FAILURE), ended.code, f"killed by {_named(ended.signal)}"  # type: ignore[call-overload]  # a signal is a number
    return Outcome.FAILURE if ended.code else Outcome.SUCCESS, ended.code, f"exit code {ended.code}"


def _named(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _details(text: str, message: str = "", lines: Sequence[str] = ()) -> ErrorDetails:
    """Return words and output as what a failure message shows."""
    output = "\n".join(lines)
    if len(output) > _TEXT_LIMIT:
        output = f"[...]\n{output[-_TEXT_LIMIT:].partition(chr(10))[2]}"
    return ErrorDetails(
        type=text,
        message=message[:_LINE_LIMIT],
        traceback=f"The last of its output:\n{output}" if output else "",
        fingerprint=_fingerprint(text),
    )


def _fingerprint(*parts: str) -> str:
    """Return the same text for equal endings.

    It differs from the one by which a Python program holds back its own repeats: it has told its own handlers, and
    what we tell is for the others.
    """
    return hashlib.sha256("\n".join(("command", *parts)).encode(errors="replace")).hexdigest()[:16]
