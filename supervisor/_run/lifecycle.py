"""The life of a run: it starts, is suspended and activated again, and finishes with an outcome.

What happens here never raises into the script. This module is on the path of every supervised call, so it loads and
does only what a run without anything to report needs: its :class:`~supervisor._run.reporter.Reporter` is loaded when a
run first has something to report.
"""

from __future__ import annotations

from functools import cache, partial
from time import monotonic, process_time
from typing import TYPE_CHECKING, Any

from supervisor import _log
from supervisor._models import Kind, Outcome
from supervisor._run import process_events
from supervisor._run.state import RunState, active_state, creating, is_skipped_by, shared
from supervisor._runtime import preparation
from supervisor.errors import RunSkipped, RunStateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._alerts import RunAlert
    from supervisor._run.reporter import Reporter

# Looked up once: on the path of an empty run, an enum's member costs as much as a clock.
_SUCCESS, _SKIPPED, _KIND_START, _KIND_SUCCESS = Outcome.SUCCESS, Outcome.SKIPPED, Kind.START, Kind.SUCCESS

_MOST_FAULTS = 5


# The boundary: what happens here never raises into the script


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
        add_fault(state, fault.strip().rpartition("\n")[2])
    except Exception as error:  # noqa: BLE001 - the run's boundary: no file is left to load it with
        fault = f"its traceback cannot be shown ({type(error).__name__})"
    _log.warning("supervision of %r went on without one step\n%s", state.settings.name, fault)


def add_fault(state: RunState, text: str) -> None:
    """Let the message about the end of the run say, in one line without secrets, what supervision did without."""
    if len(state.faults) < _MOST_FAULTS and text not in state.faults:
        state.faults = (*state.faults, text)


# The start


def enter(state: RunState) -> None:
    """Start a run and make it the current one; the beginning of a ``with`` block.

    Where another run of its name is under way and the settings do not allow that, ``state.refusal`` is to be raised.

    Raises:
        RunStateError: The run has been entered before.
    """
    if state.started_s is not None:
        raise RunStateError(f"the run {state.name!r} has been entered already: call supervise() once for each run")
    state.parent = active_state.get()
    if shared.offer is not None:
        safely(state, _take_offer)
    note_start(state)
    state.token = active_state.set(state)
    try:
        if state.needs.has_features:
            _begin_with_features(state)
        else:
            _begin(state)
    except Exception:  # noqa: BLE001 - the run's boundary
        note_fault(state)


def note_start(state: RunState, like: RunState | None = None) -> None:
    """Note the time as the start of the run, or the time at which another run started."""
    state.forks = shared.forks
    if like is None:
        state.started_at_s = state.runtime.clock()
        state.cpu_started_s = process_time()
        state.started_s = monotonic()
    else:
        state.started_at_s, state.cpu_started_s, state.started_s = like.started_at_s, like.cpu_started_s, like.started_s


def _take_offer(state: RunState) -> None:
    """Make the first run of this process the one of the `supervisor run` that started the process."""
    offer, shared.offer = shared.offer, None
    from supervisor._run.join import accept_offer

    joined = accept_offer(offer)
    if joined is not None:
        state.join(joined)


def _begin(state: RunState) -> None:
    if state.settings.log_format is not None:
        _log.lines.format = state.settings.log_format
    if not shared.has_hooks:
        _put_hooks_in_place()
    process_events.listen(state)
    if _log.is_followed():  # asked here, so that a run that nobody follows needs no id
        _log.info("run %r started (%s)", state.name, state.id)
    if state.parent is not None:
        state.parent.mark_alive()
    if state.settings.journal or _KIND_START in state.needs.announced:
        # Without the lock, which after a commit costs as much as making both: no other thread has the run yet.
        state.make_id()
        if state.reporter is None:
            state.reporter = reporter_class()(state)
        state.reporter.report_start()
    if state.settings.handlers:
        preparation().follow(state, partial(_prepare, state))


def _prepare(state: RunState) -> None:
    from supervisor._run.preparation import prepare

    if state.reporter is not None:
        state.reporter.recorder.look_around()  # first, since it takes a hundredth of the time
    prepare(state.settings.handlers, show_locals=state.settings.show_locals)


def _put_hooks_in_place() -> None:
    process_events.follow_threads_and_tasks(report_background_error)
    shared.has_hooks = True


def _begin_with_features(state: RunState) -> None:
    from supervisor._run.features import Features

    def other_run() -> str:  # the reporter is made only when there is another run
        return reporter_of(state).recorder.describe_other_run()

    state.features = features = Features(state)
    features.lock_name(other_run)
    if isinstance(state.refusal, RunSkipped):
        _skip(state)
        return
    if state.refusal is None:
        features.open_log_file(reporter_of(state).redact)
    _begin(state)
    if state.refusal is None:
        features.watch_limits(partial(report_alert, state), partial(report_end_of_stall, state))


def _skip(state: RunState) -> None:
    """End the run before its start: the journal records it, no message is sent."""
    state.ended_s, state.ended_at_s = state.started_s or 0.0, state.started_at_s
    state.has_ended, state.outcome = True, _SKIPPED
    suspend(state)
    if state.settings.journal:
        reporter_of(state).recorder.record_skipped()


def refuse(state: RunState, refusal: BaseException) -> BaseException:
    """End a run that was not allowed to start; return what is to be raised."""
    finish(state, refusal)
    process_events.stop_listening(state)
    return refusal


async def enter_async(state: RunState) -> None:
    """Do as :func:`enter` does, at the beginning of an ``async with`` block.

    Raises:
        OverlapError, RunSkipped: Another run of the name is under way, and the settings do not allow that.
    """
    enter(state)
    if state.refusal is not None:
        await leave_async(state, state.refusal)
        raise state.refusal
    process_events.enter_loop(state)


# While a generator waits for its consumer


def suspend(state: RunState) -> None:
    """Let the code around a generator be outside of the run while the generator waits."""
    token, state.token = state.token, None
    try:
        if token is not None:
            active_state.reset(token)
    except ValueError:
        pass  # set in another context: current_state() steps over ended runs


def activate(state: RunState) -> None:
    """Make a run the current one again after :func:`suspend`."""
    if state.token is None:
        state.token = active_state.set(state)


# The end


def leave(state: RunState, error: BaseException | None) -> bool:
    """Finish a run; the end of a ``with`` block.

    Args:
        state: The run.
        error: The exception that leaves the block.

    Returns:
        Whether that exception is suppressed.
    """
    try:
        ending = _ending(state, error)
    except KeyboardInterrupt:
        if state.overdue is None:
            raise
        ending = _ending(state, error)  # the run's own interrupt arrived after the block
    try:
        finish(state, ending)
    except KeyboardInterrupt:
        if error is None:  # otherwise the script's own exception takes precedence
            raise
    finally:
        process_events.stop_listening(state)
    return _is_suppressed(state, error, ending)


async def leave_async(state: RunState, error: BaseException | None) -> bool:
    """Do as :func:`leave` does at the end of an ``async with`` block, and let the event loop go on meanwhile."""
    process_events.leave_loop(state)
    ending = _ending(state, error)
    try:
        if state.outcome is not _SKIPPED:
            safely(state, _end, ending)
        if state.reporter is not None:
            await state.reporter.wait_async()
    except Exception:  # noqa: BLE001 - the run's boundary
        note_fault(state)
    except BaseException:  # cancelled or interrupted during the wait
        if error is None:
            raise
    finally:
        process_events.stop_listening(state)
    return _is_suppressed(state, error, ending)


def finish(state: RunState, error: BaseException | None) -> None:
    """Settle the outcome, report it, and wait until the messages are delivered."""
    try:
        if state.outcome is not _SKIPPED:
            _end(state, error)
        if state.reporter is not None:
            state.reporter.wait()
    except Exception:  # noqa: BLE001 - the run's boundary
        note_fault(state)


def _end(state: RunState, error: BaseException | None) -> None:
    """Settle the outcome and report it; nothing here waits."""
    state.ended_s = ended_s = monotonic()
    state.has_ended = True
    # A clock that was set back meanwhile must not let the run end before its start.
    state.ended_at_s = max(state.runtime.clock(), state.started_at_s + ended_s - (state.started_s or ended_s))
    is_skipped = isinstance(error, RunSkipped) and is_skipped_by(state, error)
    state.outcome, state.exit_code = (_SKIPPED, 0) if is_skipped else process_events.ending_of(error, state.signum)
    if state.outcome in (_SUCCESS, _SKIPPED) and state.background_error is not None:
        state.outcome, error = Outcome.FAILURE, None  # that it ended well is no error to report
    elif state.warnings is not None or state.log is not None or state.unheard or state.settings.warn_exit_codes:
        error = _settled_with_warnings(state, error)
    try:
        _report_end(state, error)
    finally:
        suspend(state)  # what is logged until here belongs into the run's own log
        if state.features is not None and not state.is_forked:
            state.features.close()


def _settled_with_warnings(state: RunState, error: BaseException | None) -> BaseException | None:
    from supervisor._run.run_warnings import settle

    return settle(state, reporter_of(state), error)


def _report_end(state: RunState, error: BaseException | None) -> None:
    if state.forks != shared.forks:
        return  # in a forked child: the run, and the report of its end, are its parent's
    if state.parent is not None:
        state.parent.mark_alive()
    if _log.is_followed():
        _log.info("run %r ended: %s after %.3f s (%s)", state.name, state.outcome, state.duration_s, state.id)
    if state.reporter is not None or state.joined is not None or _is_end_wanted(state):
        reporter_of(state).report_end(error)


def _is_end_wanted(state: RunState) -> bool:
    """Return whether a message about the end of the run may be due."""
    if state.outcome is _SUCCESS:
        return _KIND_SUCCESS in state.needs.announced
    if state.outcome is _SKIPPED:
        return Kind.SKIPPED in state.needs.announced
    return bool(state.settings.handlers or state.settings.logger or state.parent is not None)


def _ending(state: RunState, error: BaseException | None) -> BaseException | None:
    """Return the exception that ends the run; an interrupt because of a limit becomes that run's OverdueError."""
    if state.features is not None:
        state.features.unwatch_limits(error)
    if error is None or isinstance(error, Exception) or not process_events.is_interrupt(error):
        return error
    each: RunState | None = state
    while each is not None:
        if each.overdue is not None:
            return each.overdue.with_traceback(error.__traceback__)
        each = each.parent
    return error


def _is_suppressed(state: RunState, error: BaseException | None, ending: BaseException | None) -> bool:
    """Return whether the exception is suppressed.

    Raises:
        Terminated: The process was asked to end while the run reported its own end.
        OverdueError: The run was interrupted because of its limits.
    """
    if state.was_asked_late and error is None:
        raise process_events.Terminated(state.signum)
    if isinstance(error, RunSkipped) and ending is error:
        return error._run in (None, state)  # noqa: SLF001 - that of a run around goes on to that one
    overdue = state.overdue
    if overdue is None or ending is not overdue:  # also where an outer run is interrupted, and this one in it
        is_kept = state.settings.reraise or not isinstance(error, Exception) or process_events.is_for_queue(error)
        return not is_kept
    if state.settings.reraise:
        raise overdue from None
    return True


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
    """Note the process of the program that `supervisor run` started: it may outlive this process."""
    if state.settings.journal:
        safely(state, lambda _: reporter_of(state).recorder.set_child_pid(pid))


def note_output(state: RunState, line: str) -> None:
    """Note what the program under `supervisor run` printed last, as a sign of life."""
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
