"""How a run ends: requests to terminate become exceptions, and exceptions stand for an outcome.

By default SIGTERM (on Windows SIGBREAK too) ends Python at once: no ``finally``, no report. While a run is under way in
the main thread, it raises :class:`Terminated` there instead, which unwinds the script and ends it with the exit code
that a shell shows for the signal: 143. A script's own handler stays in place, and an ignored signal stays ignored.
"""

from __future__ import annotations

import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

try:
    # What the module signal is made of. That takes 0.5 ms to load, and 3 us to turn numbers into enums and back.
    import _signal as signal  # type: ignore[import-not-found]
except ImportError:
    import signal

from supervisor._forks import defer
from supervisor._hooks import on_fork, set_signal_handler
from supervisor._models.kinds import Outcome
from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from types import FrameType

    from supervisor._models.values import ErrorDetails
    from supervisor._run.state import RunState

_DEFAULT = int(signal.SIG_DFL)
_NAMES = {int(getattr(signal, name)): name for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name)}
_SIGNALS = tuple(_NAMES)

_runs: list[RunState] = []


class Terminated(SystemExit):
    """Raised in the main thread when the process is asked to terminate; its code is 128 + 15."""

    def __init__(self, signum: int = signal.SIGTERM) -> None:
        super().__init__(128 + signal.SIGTERM)
        self.signum = signum

    def __str__(self) -> str:
        """Return which signal ended the run: the exit code alone, such as 143, explains little."""
        return f"asked to end by {_NAMES.get(self.signum, self.signum)}"


class CommandError(SupervisorError):
    """Ends the run of a command that ``supervisor run`` has started and that did not end well; no script sees it.

    Args:
        outcome: How the run ended.
        exit_code: The exit code of ``supervisor run``.
        details: What is reported, instead of a traceback of supervisor's own.
    """

    def __init__(self, outcome: Outcome, exit_code: int, details: ErrorDetails) -> None:
        super().__init__(str(details))
        self.outcome = outcome
        self.exit_code = exit_code
        self.details = details

    def __supervisor_error_details__(self) -> ErrorDetails:
        """Return what is reported."""
        return self.details


def listen(run: RunState) -> bool:
    """Let a request to terminate reach ``run``; return False where that cannot be (another thread, other handlers)."""
    if threading.get_ident() != threading.main_thread().ident:
        return False
    if _runs:
        _runs.append(run)
        return True
    listening = False
    for number in _SIGNALS:
        found = set_signal_handler(number, _terminate)
        if found == _DEFAULT:
            listening = True
        else:
            _put_back(number, found)
    if listening:
        _runs.append(run)
    return listening


def stop_listening(run: RunState) -> None:
    """Undo :func:`listen`. A handler that the script installed meanwhile stays."""
    if not _runs or run not in _runs:
        return
    _runs.remove(run)
    if _runs or threading.get_ident() != threading.main_thread().ident:
        return
    for number in _SIGNALS:
        found = set_signal_handler(number, _DEFAULT)
        if found is not _terminate:
            _put_back(number, found)


def _put_back(number: int, found: Any) -> None:
    # None stands for a handler that was not installed from Python: it cannot be put back, and was not ours.
    if found is not None:
        set_signal_handler(number, found)


def _terminate(signum: int, frame: FrameType | None) -> None:
    """Tell the runs, outermost first, and unwind the script, unless its innermost run has ended and only reports."""
    if defer(partial(_terminate, signum, frame)):
        return
    waiting = False
    for run in tuple(_runs):
        waiting = run.ask_to_terminate(signum)
    if not waiting:
        raise Terminated(signum)


# A request that reaches a forked child before it has handlers of its own must find it afterwards: Python drops it.
class _Fork(threading.local):
    """What the thread that forks let through before; None while it holds nothing back."""

    mask: Any = None


_fork = _Fork()


def _hold_back() -> None:
    if _runs:
        _fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _let_through() -> None:
    mask, _fork.mask = _fork.mask, None
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _forget_in_child() -> None:
    """Give a forked child the handlers that it would have had: its runs are its parent's."""
    if _runs:
        _runs.clear()
        for number in _SIGNALS:
            if signal.getsignal(number) is _terminate:
                set_signal_handler(number, _DEFAULT)
    _let_through()


on_fork(before=_hold_back, in_parent=_let_through, in_child=_forget_in_child)


# How an exception ends a run

# Looked up once: on the path of an empty run, an enum's member costs as much as a clock.
_ENDED_WELL = Outcome.SUCCESS, None


def ending_of(  # noqa: PLR0911 - one return for each kind of ending
    error: BaseException | None, signum: int
) -> tuple[Outcome, int | None]:
    """Return the outcome that an exception stands for, and the exit code that the script asked for."""
    if error is None or isinstance(error, GeneratorExit):
        return _ENDED_WELL
    if isinstance(error, CommandError):
        return error.outcome, error.exit_code
    if isinstance(error, Terminated):
        return Outcome.TERMINATED, error.code  # type: ignore[return-value]  # it is a number there
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code if isinstance(error.code, int) else 1
        return (Outcome.FAILURE if code else Outcome.SUCCESS), int(code)
    if isinstance(error, KeyboardInterrupt):
        return Outcome.INTERRUPTED, None
    if _is_cancellation(error):
        # SIGTERM under asyncio.run() reaches the coroutine as a cancellation.
        return (Outcome.TERMINATED, 128 + signum) if signum else (Outcome.CANCELLED, None)
    return Outcome.FAILURE, None


def _is_cancellation(error: BaseException) -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def is_interrupt(error: BaseException) -> bool:
    """Return whether this is how a run is interrupted, by a person or for taking too long."""
    return isinstance(error, KeyboardInterrupt) or _is_cancellation(error)
