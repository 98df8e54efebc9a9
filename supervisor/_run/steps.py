"""The steps of a run: ``with run.step("load")`` and ``run.track(tables, step=str)``.

A run without steps never loads this. What happens here raises nothing into the script, and takes nothing from it but
an exception that the script wants to go on after (``on_error="continue"``).
"""

from __future__ import annotations

import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import attrs

from supervisor._exceptions import safe_text
from supervisor._hooks import on_fork
from supervisor._models import FAILED, Outcome
from supervisor._models.values import Progress, RunStep
from supervisor._run import process_events
from supervisor._run.lifecycle import pass_on_progress, reporter_of, safely
from supervisor._run.run_warnings import warn
from supervisor._text import cut_clean, one_line
from supervisor.errors import ConfigurationError, RunSkipped

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
    from types import CodeType, TracebackType

    from supervisor._models.values import ErrorDetails
    from supervisor._run.state import RunState

T = TypeVar("T")

MOST_STEPS = 200
"""So many steps of a run are kept, those that failed rather than others; what the rest did is summed."""

_MOST_GOOD = 180
_MOST_TRACEBACKS = 3
_TRACEBACK_LIMIT = 4_000
_NAME_LIMIT = 100
_MOST_VALUES = 30
_NOTED_AT_ONCE = 10  # so many beginnings are written to the journal at once, then one a second
_NOTE_EVERY_S = 1.0
_MOST_CAUSES = 20
_STEP = "__supervisor_step__"
_ON_ERROR = ("raise", "continue")


class _Changing:
    """Guards the steps of all runs; a signal handler may come in between."""

    lock = threading.RLock()

    @classmethod
    def renew(cls) -> None:
        """Give a forked child a lock of its own, since that of its parent may be held."""
        cls.lock = threading.RLock()


on_fork(in_child=_Changing.renew)

_active: ContextVar[StepState | None] = ContextVar("supervisor_step", default=None)


class Step:
    """One step of a run, from the beginning to the end of its block; ``run.step()`` makes it.

    Its methods do what those of the run do, for the step alone. None of them raises.
    """

    __slots__ = ("_state",)

    def __init__(self, state: StepState) -> None:
        self._state = state

    def __repr__(self) -> str:
        return f"<Step {self.name!r} {self._state.outcome or 'under way'}>"

    @property
    def name(self) -> str:
        """Return what the step is called."""
        return self._state.name

    def record(self, /, **values: Any) -> None:
        """Keep values of the step, at most 30: they stand with it in reports, messages and the journal."""
        safely(self._state.run, self._state.record, values)

    def warn(self, text: object, /, **values: Any) -> None:
        """Warn of something that the step goes on in spite of: a warning of the run, with the name of the step."""
        safely(self._state.run, self._state.warn, text, values)

    def progress(self, done: float | None = None, total: float | None = None, message: str | None = None) -> None:
        """Say how far the step has come; the run shows it, unless a loop of the run counts.

        Args:
            done: Items finished so far; None leaves it as it was.
            total: Items in all; None leaves it as it was.
            message: What the step is doing; None leaves it as it was.
        """
        state = self._state
        if done is not None:
            state.done = done
        if total is not None:
            state.total = total
        if message is not None:
            state.message = message
        if monotonic() >= state.run.due_s:
            safely(state.run, state.show)

    def track(self, iterable: Iterable[T], total: float | None = None, message: str | None = None) -> Iterator[T]:
        """Loop over something and make progress in the step with each item.

        Args:
            iterable: What to loop over.
            total: How many items there are; None asks the iterable, and does without when it does not know.
            message: What the step is doing; None leaves it as it was.
        """
        if total is None:
            total = safely(self._state.run, _length_of, iterable)
        self.progress(0, total, message)
        for done, item in enumerate(iterable, 1):
            yield item
            self.progress(done)

    def __enter__(self) -> Self:
        safely(self._state.run, self._state.begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return bool(safely(self._state.run, self._state.end, error))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self.__exit__(kind, error, trace)


class StepState:
    """All that is known of one step.

    Args:
        run: Its run.
        name: What it is called, as the script gave it.
        goes_on: Whether the script goes on after an exception in it.

    Attributes:
        around: The step that this one is nested in.
        depth: How many steps are around it.
        started_s: When it began, by the monotonic clock; None before.
        took_s: How long it took in seconds; None while it is under way.
        outcome: How it ended; None while it is under way.
        loop: Where the loop is whose item this is, see :func:`is_within`.
    """

    def __init__(self, run: RunState, name: object, *, goes_on: bool = False) -> None:
        self.run = run
        self.given_name = name
        self.name = "(no name)"
        self.goes_on = goes_on
        self.around: StepState | None = None
        self.depth = 0
        self.started_s: float | None = None
        self.started_at = datetime.now(UTC)
        self.took_s: float | None = None
        self.outcome: Outcome | None = None
        self.error: ErrorDetails | None = None
        self.values: dict[str, Any] = {}
        self.warned = 0
        self.done: Any = None
        self.total: Any = None
        self.message: Any = ""
        self.loop: tuple[int, CodeType, int] | None = None

    def begin(self, run: RunState) -> None:
        """Begin the step, within the one that is under way here."""
        shown = cut_clean(safe_text(self.given_name), _NAME_LIMIT, reporter_of(run).redact)
        self.name = one_line(shown, _NAME_LIMIT).strip() or "(no name)"
        around = _active.get()
        if around is not None and around.run is run and around.took_s is None:
            self.around, self.depth = around, around.depth + 1
        self.started_s, self.started_at = monotonic(), datetime.now(UTC)
        _active.set(self)
        run.mark_alive()
        steps_of(run).begin(self)

    def end(self, run: RunState, error: BaseException | None) -> bool:
        """End the step; return whether the script goes on after the error."""
        if self.started_s is None:
            return False
        _active.set(self.around)
        outcome = Outcome.SKIPPED if isinstance(error, RunSkipped) else process_events.ending_of(error, run.signum)[0]
        goes_on = self.goes_on and isinstance(error, Exception) and outcome is Outcome.FAILURE
        if error is not None and outcome is Outcome.FAILURE:
            self.keep_error(run, error, goes_on=goes_on)
        self.settle(run, outcome)
        return goes_on

    def keep_error(self, run: RunState, error: BaseException, *, goes_on: bool) -> None:
        """Keep an error that leaves the step; where the script goes on, warn the run of it."""
        reporter = reporter_of(run)
        if not goes_on:
            mark_step(error, self.name)
            self.error = reporter.brief_error(error)
            return
        details = reporter.step_error(error)
        self.error = steps_of(run).bounded(details)
        self.warned += 1
        where = f" at {details.where}" if details.where else ""
        warn(run, reporter, f"{details}{where}", step=self.name)

    def settle(self, run: RunState, outcome: Outcome) -> None:
        """Note how the step ended."""
        if self.done is not None:
            self._hand_on(run)
        self.took_s = monotonic() - (self.started_s or 0.0)
        self.outcome = Outcome.WARNING if outcome is Outcome.SUCCESS and self.warned else outcome
        run.mark_alive()
        steps_of(run).end(self)

    def record(self, run: RunState, values: dict[str, Any]) -> None:
        """Keep values."""
        plain = reporter_of(run).plain
        known = dict(self.values)
        for name, value in values.items():
            if name in known or len(known) < _MOST_VALUES:
                known[name] = plain(name, value)
        self.values = known
        run.mark_alive()

    def warn(self, run: RunState, text: object, values: dict[str, Any]) -> None:
        """Warn the run."""
        self.warned += 1
        warn(run, reporter_of(run), text, values, step=self.name)

    def show(self, run: RunState) -> None:
        """Let the run show the progress of its step; of several at a time, that of the one that began first."""
        run.mark_alive()
        self._hand_on(run)
        pass_on_progress(run)

    def _hand_on(self, run: RunState) -> None:
        if steps_of(run).leading() is self:
            run.message = f"{self.name}: {self.message}" if self.message else self.name
            if not run.is_tracking:
                run.done, run.total = self.done, self.total

    def report(self, run: RunState) -> RunStep:
        """Return what is known of the step."""
        progress = None
        if self.outcome is None and self.done is not None:
            done, total = (float(each) if isinstance(each, (int, float)) else None for each in (self.done, self.total))
            progress = Progress(done=done or 0.0, total=total, message=safe_text(self.message))
        took_s = self.took_s if self.took_s is not None else run.now_s - (self.started_s or run.now_s)
        return RunStep(
            name=self.name,
            outcome=self.outcome,
            started_at=self.started_at,
            duration_s=max(0.0, took_s),
            values=self.values,
            error=self.error,
            warning_count=self.warned,
            progress=progress,
            depth=self.depth,
        )


def _length_of(_: RunState, iterable: object) -> int | None:
    from operator import length_hint

    return length_hint(iterable, 0) or None


# The steps of a run


class RunSteps:
    """The steps of one run."""

    def __init__(self, run: RunState) -> None:
        self._run = run
        self._kept: list[StepState] = []
        self._under_way: dict[int, StepState] = {}
        self._good = 0
        self._rest_count = self._rest_failed = 0
        self._rest_s = 0.0
        self._rest_at: datetime | None = None
        self._tracebacks = 0
        self._notes = 0
        self._noted_s = 0.0
        self._is_due = False
        self._left: StepState | None = None

    def begin(self, step: StepState) -> None:
        """Add a step that begins, and let the journal have its name, so that others see what the run does."""
        with _Changing.lock:
            self._under_way[id(step)] = step
            if len(self._kept) < MOST_STEPS:
                self._kept.append(step)
        self._note()

    def end(self, step: StepState) -> None:
        """Settle a step; of too many good ones the last are only summed."""
        with _Changing.lock:
            self._under_way.pop(id(step), None)
            is_good = step.outcome in (Outcome.SUCCESS, Outcome.SKIPPED)
            if not is_good and step not in self._kept and len(self._kept) < MOST_STEPS:
                self._kept.append(step)
            is_kept = step in self._kept if len(self._kept) == MOST_STEPS or is_good else True
            if is_kept and is_good and self._good >= _MOST_GOOD:
                self._kept.remove(step)
                is_kept = False
            if is_kept:
                self._good += is_good
            else:
                self._sum(step)

    def _sum(self, step: StepState) -> None:
        self._rest_count += 1
        self._rest_failed += step.outcome in FAILED
        self._rest_s += step.took_s or 0.0
        self._rest_at = self._rest_at or step.started_at

    def leading(self) -> StepState | None:
        """Return the step under way that began first, or the one in it that did."""
        with _Changing.lock:
            steps = list(self._under_way.values())
        first = steps[0] if steps else None
        while first is not None and (inner := next((each for each in steps if each.around is first), None)):
            first = inner
        return first

    def bounded(self, details: ErrorDetails) -> ErrorDetails:
        """Return an error as it is kept: the first few with their tracebacks."""
        with _Changing.lock:
            self._tracebacks += 1
            has_traceback = self._tracebacks <= _MOST_TRACEBACKS
        if not has_traceback:
            return attrs.evolve(details, traceback="", excerpt="", local_variables=())
        from supervisor._text import cut_middle

        return attrs.evolve(details, traceback=cut_middle(details.traceback, _TRACEBACK_LIMIT))

    def left(self, step: StepState) -> None:
        """Note the step of an item whose loop was left early: by ``break``, or by an error that may end the run."""
        self._left = step

    def settle(self, error: BaseException | None) -> None:
        """Find out which step the error of a run comes from, where a loop over items was left with it."""
        left = self._left
        if left is not None and error is not None and is_within(error, left.loop):
            mark_step(error, left.name)
            left.error = reporter_of(self._run).brief_error(error)
            left.outcome = Outcome.FAILURE

    @staticmethod
    def step_of(error: BaseException | None) -> str:
        """Return the name of the step that an error comes from; "" for none."""
        return step_of(error)

    def report(self) -> tuple[RunStep, ...]:
        """Return what is known of all steps, each below the one around it; the sum of what is not kept is the last."""
        with _Changing.lock:
            kept = _nested(self._kept)
        found = [each.report(self._run) for each in kept]
        if self._rest_count:
            failed = self._rest_failed
            found.append(
                RunStep(
                    name=f"{self._rest_count:,} more" + (f", {failed:,} of them failed" if failed else ""),
                    outcome=Outcome.FAILURE if failed else Outcome.SUCCESS,
                    started_at=self._rest_at or datetime.now(UTC),
                    duration_s=self._rest_s,
                    count=self._rest_count,
                )
            )
        return tuple(found)

    def under_way(self) -> tuple[RunStep, ...]:
        """Return what is known of the steps under way."""
        with _Changing.lock:
            steps = list(islice(self._under_way.values(), MOST_STEPS))
        return tuple(each.report(self._run) for each in steps)

    def _note(self) -> None:
        """Write to the journal which steps are under way; of many in a short time, the last after a second."""
        if not self._run.settings.journal:
            return
        now = monotonic()
        if self._notes < _NOTED_AT_ONCE or now - self._noted_s >= _NOTE_EVERY_S:
            self._notes, self._noted_s = self._notes + 1, now
            reporter_of(self._run).recorder.steps(self.under_way())
        elif not self._is_due:
            self._is_due = True
            _later(_NOTE_EVERY_S, self._note_later)

    def _note_later(self) -> None:
        self._is_due = False
        if not self._run.has_ended and not self._run.is_forked:
            self._noted_s = monotonic()
            safely(self._run, lambda run: reporter_of(run).recorder.steps(self.under_way()))


def _nested(steps: Sequence[StepState]) -> list[StepState]:
    """Return steps with those within each directly below it: steps of several threads begin in any order."""
    within: dict[int, list[StepState]] = {}
    known = {id(each) for each in steps}
    for each in steps:
        around = each.around
        while around is not None and id(around) not in known:
            around = around.around
        within.setdefault(id(around), []).append(each)
    found: list[StepState] = []
    left = within.get(id(None), [])[::-1]
    while left:
        found.append(left.pop())
        left += within.pop(id(found[-1]), [])[::-1]
    return found


def _later(delay_s: float, call: Callable[[], None]) -> None:
    """Call something later, in a thread that belongs to no run and that nothing waits for."""
    from contextvars import Context

    timer = threading.Timer(delay_s, call)
    timer.name = "supervisor: notes steps"
    timer.daemon = True
    Context().run(timer.start)


def steps_of(run: RunState) -> RunSteps:
    """Return the steps of a run; made with the first."""
    if run.steps is None:
        with _Changing.lock:
            run.steps = run.steps or RunSteps(run)
    steps: RunSteps = run.steps
    return steps


def current_step(run: RunState) -> StepState | None:
    """Return the innermost step of a run that is under way here."""
    step = _active.get()
    while step is not None and (step.run is not run or step.took_s is not None):
        step = step.around
    return step


def new_step(run: RunState, name: object, on_error: Literal["raise", "continue"]) -> Step:
    """Return a step that is about to begin.

    Raises:
        ConfigurationError: ``on_error`` is neither "raise" nor "continue".
    """
    if on_error not in _ON_ERROR:
        raise ConfigurationError(f"run.step: on_error must be 'raise' or 'continue', got {on_error!r}")
    return Step(StepState(run, name, goes_on=on_error == "continue"))


# The items of a loop as steps


def each_as_step(run: RunState, items: Iterator[T], name_of: Callable[[T], object]) -> Iterator[T]:
    """Yield the items of a loop, each in a step of its own."""
    for item in items:
        step = safely(run, _begin_item, name_of, item)
        if step is None:
            yield item
            continue
        step.loop = _loop_of(sys._getframe().f_back)  # noqa: SLF001 - the loop that asks for the next item
        try:
            yield item
        except GeneratorExit:
            safely(run, _leave_item, step)
            raise
        safely(run, step.end, None)


async def each_as_step_async(
    run: RunState, items: AsyncIterable[T], name_of: Callable[[T], object]
) -> AsyncIterator[T]:
    """Do as :func:`each_as_step` does with something asynchronous."""
    async for item in items:
        step = safely(run, _begin_item, name_of, item)
        try:
            yield item
        except GeneratorExit:
            if step is not None:
                safely(run, _leave_item, step)
            raise
        if step is not None:
            safely(run, step.end, None)


def _begin_item(run: RunState, name_of: Callable[[T], object], item: T) -> StepState:
    try:
        name = name_of(item)
    except Exception as error:  # noqa: BLE001 - the run's boundary: what names an item is the script's
        name = f"(its name cannot be told: {type(error).__name__})"
    step = StepState(run, name)
    step.begin(run)
    return step


def _leave_item(run: RunState, step: StepState) -> None:
    step.end(run, None)
    steps_of(run).left(step)


def _loop_of(frame: Any) -> tuple[int, CodeType, int] | None:
    """Return what finds a loop again in the traceback of an error: its frame, its code, and where in it."""
    return None if frame is None else (id(frame), frame.f_code, frame.f_lasti)


def is_within(error: BaseException, loop: tuple[int, CodeType, int] | None) -> bool:
    """Return whether an error was raised within the body of a loop, and not after it was left by ``break``."""
    if loop is None:
        return False
    import dis

    frame_id, code, start = loop
    end = next(
        (each.argval for each in dis.get_instructions(code) if each.offset == start and each.opname == "FOR_ITER"), 0
    )
    trace = error.__traceback__
    while trace is not None:
        if id(trace.tb_frame) == frame_id and trace.tb_frame.f_code is code:
            return start <= trace.tb_lasti < end
        trace = trace.tb_next
    return False


# Which step an error comes from


def mark_step(error: BaseException, name: str) -> None:
    """Note on an exception in which step it was raised, unless an inner step has done so."""
    try:
        error.__dict__.setdefault(_STEP, name)
    except Exception:  # noqa: BLE001 - the run's boundary: an exception may refuse new attributes
        return


def step_of(error: BaseException | None) -> str:
    """Return the step that an exception, or one that it comes from, was raised in; "" for none."""
    for _ in range(_MOST_CAUSES):
        if error is None:
            break
        try:
            found = error.__dict__.get(_STEP)
        except Exception:  # noqa: BLE001 - the run's boundary: an exception may break whatever is asked of it
            return ""
        if found:
            return str(found)
        error = error.__cause__ or error.__context__
    return ""
