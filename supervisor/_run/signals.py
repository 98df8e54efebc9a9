"""Turn a request to terminate (SIGTERM, on Windows SIGBREAK too) into an exception, so that it can be reported.

By default SIGTERM ends Python at once: no ``finally``, no report. While a run is under way in the main thread,
it raises :class:`Terminated` there instead, which unwinds the script and ends it with the exit code that a shell
shows for the signal: 143. A script with a handler of its own keeps it, and an ignored signal stays ignored.
"""

from __future__ import annotations

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
from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from types import FrameType

    from supervisor._models.kinds import Outcome
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
        """Return why, for whoever reads it at night: the code alone says nothing."""
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
