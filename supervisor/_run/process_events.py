"""What reaches a run from the process around it: signals, and exceptions in its threads and tasks.

By default SIGTERM ends Python at once, and so do SIGHUP (its terminal is closed), SIGXCPU (its processor time is used
up) and on Windows SIGBREAK: no ``finally``, no report. While a run is under way in the main thread, they raise
:class:`Terminated` there instead, which unwinds the script and ends it with the exit code that a shell shows for the
signal, 143 for SIGTERM. A script's own handler stays in place, and an ignored signal stays ignored.

A plain ``threading.Thread`` starts with an empty context up to Python 3.13, and from 3.14 on too unless
``sys.flags.thread_inherit_context`` is set. Inside of runs, a thread runs in a copy of the context in which it was
started, and an exception that nobody in the thread caught is reported to the run before ``threading.excepthook`` gets
it.

asyncio reports exceptions that nobody retrieved in one place, whatever the event loop: its logger, when the task is
thrown away. That needs no patch, and works before asyncio is imported too. A loop with an exception handler of the
script's own keeps them to itself: they count as caught.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

try:
    # What the module signal is made of. That takes 0.5 ms to load, and 3 us to turn numbers into enums and back.
    import _signal as signal  # type: ignore[import-not-found]
except ImportError:
    import signal

from supervisor import _log
from supervisor._forks import defer
from supervisor._hooks import on_asyncio_record, on_fork, on_thread_start, set_signal_handler
from supervisor._models import Outcome
from supervisor._run.state import current_state
from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from types import FrameType

    from supervisor._models.values import ErrorDetails
    from supervisor._run.state import RunState

    Report = Callable[[RunState, BaseException, str], None]

# Requests to terminate become exceptions

_DEFAULT = int(signal.SIG_DFL)
_ALL = ("SIGTERM", "SIGHUP", "SIGXCPU", "SIGBREAK")
_NAMES = {int(getattr(signal, name)): name for name in _ALL if hasattr(signal, name)}
_SIGNALS = tuple(_NAMES)

_runs: list[RunState] = []


class Terminated(SystemExit):
    """Raised in the main thread when the process is asked to terminate; its code is 128 + the number of the signal."""

    def __init__(self, signum: int = signal.SIGTERM) -> None:
        super().__init__(128 + (signal.SIGTERM if sys.platform == "win32" else signum))
        self.signum = signum

    def __str__(self) -> str:
        """Return which signal ended the run: the exit code alone, such as 143, explains little."""
        return f"asked to end by {_NAMES.get(self.signum, self.signum)}"


class CommandError(SupervisorError):
    """Ends the run of a command that ``supervisor run`` has started and that did not end well; no script sees it.

    Args:
        outcome: How the run ended.
        exit_code: The exit code of ``supervisor run``; None where there is none.
        details: What is reported, instead of a traceback of supervisor's own.
    """

    def __init__(self, outcome: Outcome, exit_code: int | None, details: ErrorDetails) -> None:
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
    code = _exit_code_of(error)
    if code is not None:
        return (Outcome.FAILURE if code else Outcome.SUCCESS), code
    if isinstance(error, KeyboardInterrupt):
        return Outcome.INTERRUPTED, None
    if _is_answer(error):
        return _ENDED_WELL
    if is_for_queue(error):
        return Outcome.SKIPPED, None
    if _is_cancellation(error):
        # SIGTERM under asyncio.run() reaches the coroutine as a cancellation.
        return (Outcome.TERMINATED, 128 + signum) if signum else (Outcome.CANCELLED, None)
    return Outcome.FAILURE, None


def _exit_code_of(error: BaseException) -> int | None:
    """Return the exit code that an exception asks for; None where it asks for none."""
    if isinstance(error, SystemExit):  # without loading anything, since the installation may be gone by now
        return 0 if error.code is None else int(error.code) if isinstance(error.code, int) else 1
    if "click" not in sys.modules and "typer" not in sys.modules:
        return None
    with suppress(ImportError, OSError):
        from supervisor._exceptions.facts import exit_code_of

        return exit_code_of(error)
    return None


# Exceptions with which code under a web framework answers a request, and what holds the status of the answer.
_ANSWERS = (
    ("werkzeug.exceptions", "HTTPException", "code"),  # Flask, functions-framework
    ("starlette.exceptions", "HTTPException", "status_code"),  # FastAPI
    ("aiohttp.web_exceptions", "HTTPException", "status_code"),
)
_FIRST_SERVER_ERROR = 500


def _is_answer(error: BaseException) -> bool:
    """Return whether an exception is how a web framework refuses a request: with 4xx, not with 5xx."""
    for module, name, attribute in _ANSWERS:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            status = getattr(error, attribute, None)
            return isinstance(status, int) and status < _FIRST_SERVER_ERROR
    return False


# Responses of web frameworks, which functions in a cloud return. What is looked for was imported by the function.
_RESPONSES = (
    ("azure.functions", "HttpResponse"),
    ("werkzeug.wrappers", "Response"),
    ("starlette.responses", "Response"),
)
_TEXT_LIMIT = 200


class ServerError(CommandError):
    """Ends the run of a function that returns a response with a status of 500 or above; the function's caller gets it.

    Args:
        status: The status.
        text: What the response says, "" where that is not known.
    """

    def __init__(self, status: int, text: str) -> None:
        from supervisor._models.values import ErrorDetails

        message = "".join(text.strip().splitlines()[:1])[:_TEXT_LIMIT]
        super().__init__(Outcome.FAILURE, None, ErrorDetails(type=f"HTTP {status}", message=message))


def raise_for_status(answer: object) -> None:
    """Let a run fail that returns a response with which a web server says that it failed.

    Raises:
        ServerError: The status is 500 or above.
    """
    if answer is None or isinstance(answer, (str, int, dict, list)):
        return
    status, text = _status_of(answer)
    if isinstance(status, int) and status >= _FIRST_SERVER_ERROR:
        raise ServerError(status, text)


def _status_of(answer: object) -> tuple[object, str]:
    """Return the status of a response and what it says; None for what is no response."""
    try:
        if isinstance(answer, tuple):  # as Flask takes it: ("no rows", 503)
            flask = sys.modules.get("flask")
            is_response = flask is not None and len(answer) > 1 and flask.has_request_context()
            return (answer[1], answer[0] if isinstance(answer[0], str) else "") if is_response else (None, "")
        for module, name in _RESPONSES:
            kind = getattr(sys.modules.get(module), name, None)
            if kind is not None and isinstance(answer, kind):
                body = answer.get_body() if hasattr(answer, "get_body") else b""
                return getattr(answer, "status_code", None), bytes(body).decode("utf-8", "replace")
    except Exception as error:  # noqa: BLE001 - the run's boundary: what a function returns may raise anything
        _log.info("what a function returned could not be looked at: %s", type(error).__name__)
    return None, ""


# By their names, so that nothing is imported: https://docs.celeryq.dev/en/stable/userguide/tasks.html#semipredicates,
# https://huey.readthedocs.io/en/latest/api.html#exceptions, https://arq-docs.helpmanual.io/#retrying-jobs-and-cancellation
_QUEUES = frozenset({"celery", "huey", "arq", "rq", "dramatiq"})
_FOR_QUEUES = frozenset({"Retry", "Ignore", "Reject", "TaskPredicate", "RetryTask", "CancelExecution", "RetryJob"})


def is_for_queue(error: BaseException) -> bool:
    """Return whether an exception tells a queue of tasks what to do with the task, such as to try it again later."""
    return any(
        kind.__name__ in _FOR_QUEUES and kind.__module__.partition(".")[0] in _QUEUES for kind in type(error).__mro__
    )


def _is_cancellation(error: BaseException) -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def is_interrupt(error: BaseException) -> bool:
    """Return whether this is how a run is interrupted, by a person or for taking too long."""
    return isinstance(error, KeyboardInterrupt) or _is_cancellation(error)


# Threads and tasks belong to the run in which they are started

# The two texts that asyncio gives to an exception that was never retrieved, and the one of asyncio.run().
_UNCAUGHT = ("Task exception was never", "Future exception was never", "unhandled exception during asyncio.run()")

_runs_by_loop: dict[int, list[RunState]] = {}


def follow_threads_and_tasks(report: Report) -> None:
    """Follow the threads and the asyncio tasks of all runs of the process, unless that is done already.

    Args:
        report: Is called with a run, an exception that nobody caught in a thread or task of it, and that one's name.
    """
    on_thread_start(partial(_follow, report))
    on_asyncio_record(partial(_report_uncaught, report))


def _follow(report: Report, thread: threading.Thread) -> None:
    """Make a thread that is about to start inside of a run do its work in the context of that run."""
    run = current_state()
    if run is None:
        return
    target: Callable[[], Any] = thread.run
    context = copy_context()

    def follow() -> None:
        try:
            context.run(target)
        except Exception as error:
            report(run, error, thread.name)
            raise
        finally:
            # The thread object may live on; what it holds of the run must not.
            vars(thread).pop("run", None)

    thread.run = follow  # type: ignore[method-assign]


def _report_uncaught(report: Report, record: logging.LogRecord) -> None:
    """Report the exception in a log record of asyncio to the run of its task."""
    if record.exc_info and isinstance(record.exc_info[1], Exception) and record.getMessage().startswith(_UNCAUGHT):
        run = current_state() or _run_of_this_loop()
        if run is not None:
            report(run, record.exc_info[1], "an asyncio task")


def enter_loop(run: RunState) -> None:
    """Remember that ``run`` is under way in the event loop that is running here."""
    loop = _running_loop()
    if loop is not None:
        _runs_by_loop.setdefault(id(loop), []).append(run)


def leave_loop(run: RunState) -> None:
    """Forget what :func:`enter_loop` remembered."""
    for key, runs in list(_runs_by_loop.items()):
        if run in runs:
            runs.remove(run)
            if not runs:
                _runs_by_loop.pop(key, None)


def _run_of_this_loop() -> RunState | None:
    """Return the outermost run in this loop: a task is thrown away outside of any context of its own."""
    loop = _running_loop()
    runs = _runs_by_loop.get(id(loop), ()) if loop is not None else ()
    return next((run for run in runs if not run.has_ended), None)


def _running_loop() -> Any:
    """Return asyncio's running loop, or None under another library or none."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
