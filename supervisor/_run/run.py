"""The handle of a run that a script has: ``Run``, and ``current_run`` that finds it."""

from __future__ import annotations

from collections.abc import AsyncIterable
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload
from weakref import ref

from supervisor._run import lifecycle
from supervisor._run.boundary import pass_on_progress, reporter_of, safely
from supervisor._run.state import RunState, current_state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from types import TracebackType

    from supervisor._models.kinds import Outcome
    from supervisor._models.values import Attachable, MessageDetails, RunReport
    from supervisor._runtime import Runtime
    from supervisor._settings import Settings

T = TypeVar("T")

_NUMBERS = (int, float, bool)


class Run:
    """One execution of a supervised function, block or command.

    ``supervise()`` makes it and ``with`` starts and ends it; a supervised function gets it as its parameter ``run``,
    and ``current_run()`` finds it elsewhere. It can be used from any thread. None of its methods raises.
    """

    __slots__ = ("__weakref__", "_state")

    def __init__(self, settings: Settings, runtime: Runtime | None = None) -> None:
        self._state = state = RunState(settings, runtime)
        state.handle = ref(self)  # weak, so that a run is freed as soon as nobody has it

    def __repr__(self) -> str:
        state = self._state
        stage = state.outcome or ("not started" if state.started_s is None else "under way")
        return f"<Run {state.name!r} {stage}>"

    # What it is

    @property
    def id(self) -> str:
        """Return the run's own id: it sorts by the time of its start, and is unique among all runs."""
        return self._state.id

    @property
    def name(self) -> str:
        """Return the name that the run was given, or the script's."""
        return self._state.name

    @property
    def settings(self) -> Settings:
        """Return the settings of the run."""
        return self._state.settings

    @property
    def parent(self) -> Run | None:
        """Return the run that this one is nested in, or None for an outermost one."""
        return handle_of(self._state.parent)

    @property
    def has_ended(self) -> bool:
        """Return whether the block of the run is over."""
        return self._state.has_ended

    @property
    def outcome(self) -> Outcome | None:
        """Return how the run ended, or None while it is under way."""
        return self._state.outcome

    @property
    def exit_code(self) -> int | None:
        """Return what the script gave to ``sys.exit()`` as a number, 143 after SIGTERM; None otherwise."""
        return self._state.exit_code

    @property
    def duration_s(self) -> float:
        """Return how long the run took, or has taken so far, in seconds; 0.0 before its start."""
        return self._state.duration_s

    @property
    def position(self) -> tuple[float, float | None, str]:
        """Return (done, total, message) of the last progress, whatever the script said made into numbers and text."""
        return self._state.position

    @property
    def values(self) -> dict[str, Any]:
        """Return a copy of what was recorded."""
        return dict(self._state.values or ())

    @property
    def attachments(self) -> tuple[Any, ...]:
        """Return what goes with the message about the end of the run."""
        return self._state.attachments

    @property
    def log_path(self) -> str | None:
        """Return the path of the log that belongs to the run, given or its own (``capture_logs``); None without one."""
        return self._state.log_path

    def report(self) -> RunReport:
        """Return what is known of the run at this moment."""
        report: RunReport | None = safely(self._state, _report)
        return report if report is not None else _shortest_report(self._state)

    # What a script says

    def notify(
        self,
        subject: str | MessageDetails,
        message: str = "",
        *,
        attachments: Attachable | Iterable[Attachable | None] | None = (),
        html: str | None = None,
        blocks: Iterable[Any] | None = None,
    ) -> None:
        """Send a message to every handler of the run, whatever ``report_on`` says.

        It returns when the message is accepted; the delivery goes on beside the script.

        Args:
            subject: The headline, or a whole ``MessageDetails``, whose fields then count instead of the others.
            message: The text.
            attachments: One path or many.
            html: The text as HTML; None lets handlers make their own.
            blocks: Slack Block Kit blocks; None lets the Slack handler make its own.
        """
        fields = {"attachments": attachments, "html": html, "blocks": blocks}
        safely(self._state, _notify, subject, message, fields)

    def record(self, /, **values: Any) -> None:
        """Keep values for the summary: they stand in reports, messages and the journal in the order given.

        Numbers, texts, dates and None are kept as they are; of anything else its text is kept, at most 1,000
        characters. A value recorded again replaces the one before.
        """
        safely(self._state, _record, values)

    def attach(self, path: Attachable) -> None:
        """Attach a file or directory to the message about the run's end; it is read then, not now."""
        safely(self._state, _attach, path)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until the messages that were accepted so far are delivered.

        Args:
            timeout_s: The most seconds to wait; None for ``delivery_deadline_s``. 0 does not wait.

        Returns:
            Whether all of them were delivered. What is not stays in the outbox.
        """
        if self._state.reporter is None:
            return True
        return bool(safely(self._state, _flush, timeout_s))

    def progress(self, done: float | None = None, total: float | None = None, message: str | None = None) -> None:
        """Say how far the run has come.

        Call it as often as you like (it takes a tenth of a microsecond): what it says goes on to a live bar on a
        terminal, otherwise to a log line every 10 % or 60 s, and to the handlers every ``progress_every_s``.

        Args:
            done: Items finished so far; None leaves it as it was.
            total: Items in all; None leaves it as it was. Without one there is no percentage.
            message: What the run is doing; None leaves it as it was.
        """
        state = self._state
        if done is not None:
            state.done = done
        if total is not None:
            state.total = total
        if message is not None:
            state.message = message
        if monotonic() >= state.due_s:
            pass_on_progress(state)

    @overload
    def track(self, iterable: Iterable[T], total: float | None = None, message: str | None = None) -> Iterator[T]: ...
    @overload
    def track(
        self, iterable: AsyncIterable[T], total: float | None = None, message: str | None = None
    ) -> AsyncIterator[T]: ...
    def track(
        self, iterable: Iterable[T] | AsyncIterable[T], total: float | None = None, message: str | None = None
    ) -> Iterator[T] | AsyncIterator[T]:
        """Loop over something and make progress with each item. Inside another ``track`` it only loops.

        Args:
            iterable: What to loop over; an asynchronous one is for ``async for``.
            total: How many items there are; None asks the iterable, and does without when it does not know.
            message: What the run is doing; None leaves it as it was.
        """
        progress = safely(self._state, _progress_module)
        if progress is None:  # it cannot be loaded: the loop runs, uncounted
            return aiter(iterable) if isinstance(iterable, AsyncIterable) else iter(iterable)

        def total_of() -> float | None:
            return total if total is not None else safely(self._state, progress.length_of, iterable)

        if isinstance(iterable, AsyncIterable):
            loop: AsyncIterator[T] = progress.track_async(self._state, iterable, total_of, message, pass_on_progress)
            return loop
        items: Iterator[T] = progress.track(self._state, iterable, total_of, message, pass_on_progress)
        return items

    # Its block

    def __enter__(self) -> Self:
        state = self._state
        lifecycle.enter(state)
        if state.refusal is not None:
            raise lifecycle.refuse(state, state.refusal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return lifecycle.leave(self._state, error)

    async def __aenter__(self) -> Self:
        await lifecycle.enter_async(self._state)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return await lifecycle.leave_async(self._state, error)


def current_run() -> Run | None:
    """Return the innermost run that is under way here, or None outside of runs.

    It is found in everything that the run calls, in the asyncio tasks made there, and in the threads started there.
    """
    return handle_of(current_state())


def handle_of(state: RunState | None) -> Run | None:
    """Return the handle of a run: the one that the script has, or another one when nobody has one any more."""
    if state is None:
        return None
    handle: Run | None = state.handle()
    if handle is None:
        handle = Run.__new__(Run)
        handle._state = state  # noqa: SLF001 - made here
        state.handle = ref(handle)
    return handle


def state_of(run: Run) -> RunState:
    """Return the state behind a handle, which supervisor's own code works on."""
    return run._state  # noqa: SLF001 - the handle is made here


def _progress_module(_: RunState) -> Any:
    from supervisor._run import progress  # a run without a loop does without

    return progress


def _report(state: RunState) -> RunReport:
    return reporter_of(state).report()


def _shortest_report(state: RunState) -> RunReport:
    """Return a report of what is certain, where making a whole one failed."""
    from datetime import UTC, datetime

    from supervisor._models.values import RunReport

    started_at_s = state.started_at_s if state.started_s is not None else state.runtime.clock()
    started_at = datetime.fromtimestamp(started_at_s, UTC)
    return RunReport(id=state.id, name=state.name, outcome=state.outcome, started_at=started_at)


def _notify(state: RunState, subject: str | MessageDetails, message: str, fields: dict[str, Any]) -> None:
    state.mark_alive()
    reporter_of(state).notify(subject, message, **fields)


def _flush(state: RunState, timeout_s: float | None) -> bool:
    flushed: bool = reporter_of(state).flush(timeout_s)
    return flushed


def _record(state: RunState, values: dict[str, Any]) -> None:
    plain = {
        name: value if type(value) in _NUMBERS else reporter_of(state).plain(name, value)
        for name, value in values.items()
    }
    state.values = {**(state.values or {}), **plain}
    state.mark_alive()


def _attach(state: RunState, path: Attachable) -> None:
    from supervisor._models.values import attachments_of

    given = attachments_of(path)  # first, so that no other thread comes between reading and writing
    state.attachments = (*state.attachments, *given)
