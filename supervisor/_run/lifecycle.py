"""The life of a run: it starts, is suspended and activated again, and finishes with an outcome.

This module is on the path of every supervised call, so it loads and does only what a run without anything to
report needs.
"""

from __future__ import annotations

from functools import partial
from time import monotonic, process_time

from supervisor import _log
from supervisor._models.kinds import Kind, Outcome
from supervisor._run import signals, threads
from supervisor._run.boundary import (
    note_fault,
    report_alert,
    report_background_error,
    report_end_of_stall,
    reporter_class,
    reporter_of,
    safely,
)
from supervisor._run.state import RunState, active_state, shared
from supervisor.errors import RunSkipped, RunStateError

# Looked up once: on the path of an empty run, an enum's member costs as much as a clock.
_SUCCESS, _SKIPPED, _KIND_START, _KIND_SUCCESS = Outcome.SUCCESS, Outcome.SKIPPED, Kind.START, Kind.SUCCESS


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
    start(state)
    state.token = active_state.set(state)
    try:
        if state.settings.has_features:
            _begin_with_features(state)
        else:
            _begin(state)
    except Exception:  # noqa: BLE001 - the run's boundary
        note_fault(state)


def start(state: RunState, like: RunState | None = None) -> None:
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
    from supervisor._run.join import take

    joined = take(offer)
    if joined is not None:
        state.join(joined)


def _begin(state: RunState) -> None:
    if not shared.has_hooks:
        _put_hooks_in_place()
    signals.listen(state)
    if _log.is_followed():  # asked here, so that a run that nobody follows needs no id
        _log.info("run %r started (%s)", state.name, state.id)
    if state.parent is not None:
        state.parent.mark_alive()
    if state.settings.journal or _KIND_START in state.settings.announced:
        # Without the lock, which after a commit costs as much as making both: no other thread has the run yet.
        state.make_id()
        if state.reporter is None:
            state.reporter = reporter_class()(state)
        state.reporter.report_start()


def _put_hooks_in_place() -> None:
    threads.follow_threads_and_tasks(report_background_error)
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
    signals.stop_listening(state)
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
    threads.enter_loop(state)


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
        signals.stop_listening(state)
    return _is_suppressed(state, error, ending)


async def leave_async(state: RunState, error: BaseException | None) -> bool:
    """Do as :func:`leave` does at the end of an ``async with`` block, and let the event loop go on meanwhile."""
    threads.leave_loop(state)
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
        signals.stop_listening(state)
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
    state.outcome, state.exit_code = signals.ending_of(error, state.signum)
    if state.outcome is _SUCCESS and state.background_error is not None:
        state.outcome = Outcome.FAILURE
    try:
        _report_end(state, error)
    finally:
        suspend(state)  # what is logged until here belongs into the run's own log
        if state.features is not None and not state.is_forked:
            state.features.close()


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
    settings = state.settings
    if state.outcome is _SUCCESS:
        return _KIND_SUCCESS in settings.announced
    return bool(settings.handlers or settings.logger)


def _ending(state: RunState, error: BaseException | None) -> BaseException | None:
    """Return the exception that ends the run; an interrupt because of a limit becomes that run's OverdueError."""
    if state.features is not None:
        state.features.unwatch_limits(error)
    if error is None or isinstance(error, Exception) or not signals.is_interrupt(error):
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
        raise signals.Terminated(state.signum)
    overdue = state.overdue
    if overdue is None or ending is not overdue:  # also where an outer run is interrupted, and this one in it
        return not state.settings.reraise and isinstance(error, Exception)
    if state.settings.reraise:
        raise overdue from None
    return True
