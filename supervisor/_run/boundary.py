"""The boundary between a script and its supervision: what happens here never raises into the script.

What a run has to report goes from here to its :class:`~supervisor._run.reporter.Reporter`, which is loaded when a run
first has something to report.
"""

from __future__ import annotations

from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any

from supervisor import _log
from supervisor._run.state import creating, shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._alerts.rules import RunAlert
    from supervisor._run.reporter import Reporter
    from supervisor._run.state import RunState


def reporter_of(state: RunState) -> Reporter:
    """Return what reports for the run; it is made when the run first has something to report."""
    if state.reporter is None:
        make = reporter_class()
        with creating:
            state.reporter = state.reporter or make(state)
    reporter: Reporter = state.reporter
    return reporter


@cache  # when run again, an import statement takes as long as all that a run without handlers reports
def reporter_class() -> type[Reporter]:
    """Return the class Reporter, which is loaded when a run first has something to report."""
    from supervisor._run.reporter import Reporter

    return Reporter


def safely(state: RunState, step: Callable[..., Any], *args: Any) -> Any:
    """Do one step of supervision, ``step(state, *args)``; a fault in it is logged and never reaches the script."""
    try:
        return step(state, *args)
    except Exception:  # noqa: BLE001 - the run's boundary: the script's result wins over supervision
        note_fault(state)
        return None


def note_fault(state: RunState) -> None:
    """Log the exception at hand as a fault of supervision, without secrets."""
    try:
        from supervisor._redaction.run_redactor import RunRedactor

        fault = RunRedactor(state).fault()
    except Exception as error:  # noqa: BLE001 - the run's boundary: no file is left to load it with
        fault = f"its traceback cannot be shown ({type(error).__name__})"
    _log.warning("supervision of %r went on without one step\n%s", state.settings.name, fault)


# What happens to a run from outside of its block


def report_background_error(state: RunState, error: BaseException, thread: str) -> None:
    """Report at once an exception that nobody caught in a thread or task of the run; its outcome is then failure.

    Args:
        state: The run.
        error: The exception.
        thread: Where it came from, in words.
    """
    if state.forks == shared.forks:
        state.background_error = state.background_error or error
        safely(state, _report_background_error, error, thread)


def _report_background_error(state: RunState, error: BaseException, thread: str) -> None:
    reporter_of(state).report_background_error(error, thread)


def report_alert(state: RunState, alert: RunAlert) -> bool | None:
    """Report that the run stalls or takes too long; return True for a stall that is to be reported later."""
    held_back: bool | None = safely(state, lambda _: reporter_of(state).report_alert(alert))
    return held_back


def report_end_of_stall(state: RunState, lasted_s: float) -> None:
    """Report that the run makes progress again after it had stalled."""
    safely(state, lambda _: reporter_of(state).report_end_of_stall(lasted_s))


def set_child_pid(state: RunState, pid: int) -> None:
    """Note the process of the program that the run stands for: it may outlive this process."""
    if state.settings.journal:
        safely(state, lambda _: reporter_of(state).recorder.set_child_pid(pid))


def note_output(state: RunState, line: str) -> None:
    """Note what the program that the run stands for printed last, as a sign of life."""
    state.mark_alive()
    state.message = line
    safely(state, lambda _: reporter_of(state).record_output())


def pass_on_progress(state: RunState) -> None:
    """Show, log, keep or send the progress where that is due, and note when to look again."""
    now = monotonic()
    state.due_s = now + 1.0  # first, so that a second thread does not come here too
    safely(state, _pass_on_progress, now)


def _pass_on_progress(state: RunState, now: float) -> None:
    if state.parent is not None:
        state.parent.mark_alive()
    state.due_s = reporter_of(state).report_progress(now)
