"""Why a program failed, as a failure message says it where a Python script has a traceback."""

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

    from supervisor._cli.exec.exit_status import CannotStartError, ExitStatus
    from supervisor._cli.exec.shared_run import ChildReport

TIMED_OUT = 124
_LINE_LIMIT = 300
_TEXT_LIMIT = 50_000
_OUTCOMES = {signal.SIGINT: Outcome.INTERRUPTED, signal.SIGTERM: Outcome.TERMINATED}
if hasattr(signal, "SIGHUP"):
    _OUTCOMES[signal.SIGHUP] = Outcome.TERMINATED
if hasattr(signal, "SIGBREAK"):
    _OUTCOMES[signal.SIGBREAK] = Outcome.TERMINATED


def failed_to_start(error: CannotStartError) -> CommandError:
    """Return the failure of a program that could not be started."""
    return CommandError(Outcome.FAILURE, error.code, _details(error.reason, error.evidence))


def stopped_before_start(stop_signal: int) -> CommandError:
    """Return the failure of a program that was not started because a signal to stop came first."""
    text = f"ended by {_signal_name(stop_signal)} before it was started"
    return CommandError(_OUTCOMES[signal.Signals(stop_signal)], 128 + stop_signal, _details(text))


def failure_of(  # noqa: PLR0913 - the facts that decide on a failure
    ended: ExitStatus,
    *,
    stop_signal: int,
    overdue: str,
    timed_out_after_s: float | None,
    child: ChildReport | None,
    lines: Sequence[str],
    last_error: str,
) -> CommandError | None:
    """Return the failure of a program that has ended; None if it succeeded.

    Args:
        ended: Its exit status.
        stop_signal: The signal to stop that we received and forwarded; 0 for none.
        overdue: Why it was interrupted for taking too long or stalling; "" if it was not.
        timed_out_after_s: Its time limit, if it reached that; otherwise None.
        child: Its own report, if it is a Python program that joined the run.
        lines: The last lines of its output.
        last_error: The last line that it wrote to stderr; "" for none.
    """
    outcome, code, text = _outcome(ended, stop_signal, overdue, timed_out_after_s)
    report = child.report if child is not None and child.report.outcome is not Outcome.SUCCESS else None
    if report is None or report.outcome is None or report.error is None:
        return None if outcome is Outcome.SUCCESS else CommandError(outcome, code, _details(text, last_error, lines))
    error = report.error
    if overdue or timed_out_after_s is not None:
        error = attrs.evolve(error, type=text, message="")  # the program itself only knows that it was interrupted
    elif outcome in (Outcome.SUCCESS, Outcome.FAILURE):
        outcome = report.outcome
    return CommandError(outcome, code, attrs.evolve(error, fingerprint=_fingerprint(text, error.fingerprint)))


def _outcome(
    ended: ExitStatus, stop_signal: int, overdue: str, timed_out_after_s: float | None
) -> tuple[Outcome, int, str]:
    """Return outcome, exit code and description, as far as they can be seen from outside the program."""
    if timed_out_after_s is not None:
        return Outcome.FAILURE, TIMED_OUT, f"timed out after {duration(timed_out_after_s)}"
    if overdue:
        return Outcome.FAILURE, ended.code, f"interrupted: {overdue}"
    if stop_signal:
        return _OUTCOMES[signal.Signals(stop_signal)], ended.code, f"asked to end by {_signal_name(stop_signal)}"
    if ended.signal:
        return _OUTCOMES.get(ended.signal, Outcome.FAILURE), ended.code, f"killed by {_signal_name(ended.signal)}"  # type: ignore[call-overload]  # a signal is a number
    return Outcome.FAILURE if ended.code else Outcome.SUCCESS, ended.code, f"exit code {ended.code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _details(text: str, message: str = "", lines: Sequence[str] = ()) -> ErrorDetails:
    """Return a description and the last output as the error of a failure message."""
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
    """Return the text by which repeated failures are recognised: the same for equal failures.

    It differs from the fingerprint of a Python program's own error: the program holds back repeats from its own
    handlers, and ours are others.
    """
    return hashlib.sha256("\n".join(("command", *parts)).encode(errors="replace")).hexdigest()[:16]
