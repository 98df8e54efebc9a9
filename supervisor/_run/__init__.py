"""Runs: started by a decorator or ``with supervise()``; they end with an outcome, a record and messages.

The handle that scripts get is here: ``Run``, and ``current_run`` that finds it. ``state`` has what is known of a run,
``lifecycle`` its start and end, and what keeps faults away from the script. ``reporter`` sends messages, ``recorder``
writes the journal. All else is loaded when a run asks for it: logs of its own, limits, progress.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeVar, overload
from weakref import ref

from supervisor._run import lifecycle
from supervisor._run.lifecycle import add_fault, pass_on_progress, reporter_of, safely
from supervisor._run.state import RunState, current_state, skip_of
from supervisor.errors import RunStateError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from types import TracebackType

    from supervisor._models import Outcome
    from supervisor._models.values import Attachable, MessageDetails, RunReport
    from supervisor._run.steps import Step
    from supervisor._runtime import Runtime
    from supervisor._settings import Settings

T = TypeVar("T")

_NUMBERS = (int, float, bool)
_MOST_VALUES = 2_000


class Run:
    """One execution of a supervised function, block or command.

    ``supervise()`` makes it and ``with`` starts and ends it; a supervised function gets it as its parameter ``run``,
    and ``current_run()`` finds it elsewhere. It can be used from any thread. None of its methods raises, but ``skip``.
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

    def notify(  # noqa: PLR0913 - each is one independent part of a message
        self,
        subject: str | MessageDetails,
        message: str = "",
        *,
        attachments: Attachable | Iterable[Attachable | None] | None = (),
        html: str | None = None,
        blocks: Iterable[Any] | None = None,
        level: str = "info",
    ) -> None:
        """Send a message to every handler of the run, whatever ``report_on`` says.

        It returns when the message is accepted; the delivery goes on beside the script.

        Args:
            subject: The headline, or a whole ``MessageDetails``, whose fields then count instead of the others.
            message: The text.
            attachments: One path or many.
            html: The text as HTML; None lets handlers make their own.
            blocks: Slack Block Kit blocks; None lets the Slack handler make its own.
            level: How serious it is, for colours, signs and severities: "info", "warning", "error" or "critical".
        """
        fields = {"attachments": attachments, "html": html, "blocks": blocks, "level": level}
        safely(self._state, _notify, subject, message, fields)

    def record(self, /, **values: Any) -> None:
        """Keep values for the summary: they stand in reports, messages and the journal in the order given.

        Numbers, texts, dates and None are kept as they are; of anything else its text is kept, at most 1,000
        characters. A value recorded again replaces the one before.
        """
        safely(self._state, _record, values)

    def warn(self, text: object, /, **values: Any) -> None:
        """Warn of something that the run went on in spite of: the run then ends as ``warning`` instead of success.

        The first ten stand in the message about the end, which is sent by default; the others are counted. The exit
        code is 0 as after a success. A run that fails all the same has its warnings in the message of the failure.

        Args:
            text: What is wrong, at most 1,000 characters; an exception is shown with its type.
            values: Facts that belong to it, kept as ``record`` keeps them; at most 30.
        """
        safely(self._state, _warn, text, values)

    def skip(self, reason: str = "") -> NoReturn:
        """End the block here, since there is nothing to do: the run is recorded as skipped, and no failure.

        The function of the run then returns None. To be called in the run's own thread.

        Args:
            reason: Why, for history and for the message of kind skipped, which is sent if it is asked for.

        Raises:
            RunSkipped: Always: it ends the block, which takes it.
            RunStateError: The run is not under way.
        """
        state = self._state
        if state.started_s is None or state.has_ended:
            raise RunStateError(f"the run {state.name!r} is not under way, so there is nothing to skip")
        from supervisor._exceptions import safe_text

        raise skip_of(state, safe_text(reason))

    def attach(self, path: Attachable, *, inline: bool = False) -> None:
        """Attach a file or directory to the message about the run's end; it is read then, not now.

        Args:
            path: The file or directory.
            inline: True shows a picture (PNG, JPEG, GIF, WebP) in the text of mails. Elsewhere it is a file.
        """
        safely(self._state, _attach, path, inline)

    def table(self, title: str, rows: Any, *, columns: Iterable[object] | None = None) -> None:
        """Show a table in the messages about the run, of at most 20 rows; all rows of a longer one are attached as CSV.

        Args:
            title: Its heading.
            rows: The rows: dicts, or tuples or lists; or a data frame of pandas, polars or pyarrow. It is read now.
            columns: Which columns to show, or what to call those of tuples; None for all, as they are called.
        """
        safely(self._state, _table, title, rows, columns)

    def link(self, title: str, url: str) -> None:
        """Add the address of a page to the messages about the run that come from now on.

        Args:
            title: What people are to read ("Runbook"); a title given again replaces the one before.
            url: Its address, http:// or https://; anything else is left out, and the log says so.
        """
        safely(self._state, _link, title, url)

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

    def step(self, name: object, *, on_error: Literal["raise", "continue"] = "raise") -> Step:
        """Return a part of the run to be timed and reported by itself: ``with run.step("load") as step:``.

        Its outcome, its time and what ``step.record()`` keeps stand in messages, reports and the journal. Steps can be
        nested, and used in several threads and tasks at a time.

        Args:
            name: What it is called.
            on_error: What happens after an exception in it: "raise" lets it go on to the script, unchanged; "continue"
                makes it a warning of the run, and the script goes on after the block. ``SystemExit``,
                ``KeyboardInterrupt``, cancellations and ``run.skip()`` always go on to the script.

        Raises:
            ConfigurationError: ``on_error`` is something else.
        """
        from supervisor._run.steps import new_step

        return new_step(self._state, name, on_error)

    @overload
    def track(
        self,
        iterable: Iterable[T],
        total: float | None = None,
        message: str | None = None,
        *,
        step: Callable[[T], object] | None = None,
    ) -> Iterator[T]: ...
    @overload
    def track(
        self,
        iterable: AsyncIterable[T],
        total: float | None = None,
        message: str | None = None,
        *,
        step: Callable[[T], object] | None = None,
    ) -> AsyncIterator[T]: ...
    def track(
        self,
        iterable: Iterable[T] | AsyncIterable[T],
        total: float | None = None,
        message: str | None = None,
        *,
        step: Callable[[T], object] | None = None,
    ) -> Iterator[T] | AsyncIterator[T]:
        """Loop over something and make progress with each item. Inside another ``track`` it only loops.

        Args:
            iterable: What to loop over; an asynchronous one is for ``async for``.
            total: How many items there are; None asks the iterable, and does without when it does not know.
            message: What the run is doing; None leaves it as it was.
            step: Returns the name of an item, which makes each item a step of the run; ``str`` will often do. None
                makes no steps.
        """
        progress = safely(self._state, _progress_module)
        if progress is None:  # it cannot be loaded: the loop runs, uncounted
            return aiter(iterable) if isinstance(iterable, AsyncIterable) else iter(iterable)

        def total_of() -> float | None:
            return total if total is not None else safely(self._state, progress.length_of, iterable)

        if isinstance(iterable, AsyncIterable):
            loop: AsyncIterator[T] = progress.track_async(self._state, iterable, total_of, message, pass_on_progress)
            return loop if step is None else safely(self._state, _async_steps, loop, step) or loop
        items: Iterator[T] = progress.track(self._state, iterable, total_of, message, pass_on_progress)
        return items if step is None else safely(self._state, _steps, items, step) or items

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


def flush_once(run: Run) -> None:
    """Wait as :meth:`Run.flush` does, but not for a destination for which it was waited in vain already."""
    state = state_of(run)
    if state.reporter is not None:
        safely(state, lambda known: reporter_of(known).flush(None, anew=False))


def _record(state: RunState, values: dict[str, Any]) -> None:
    known = state.values or {}
    if len(known) + len(values) > _MOST_VALUES:
        room = _MOST_VALUES - len(known)
        values = {**{name: values[name] for name in values if name in known}, **dict(islice(values.items(), room))}
        add_fault(state, f"of the values that it records, {_MOST_VALUES:,} are kept")
    plain = {
        name: value if type(value) in _NUMBERS else safely(state, _plain, name, value) for name, value in values.items()
    }
    if plain:  # none where the run keeps no more: thousands are not copied for nothing
        state.values = {**(state.values or {}), **plain}  # in one step: another thread may have recorded meanwhile
    state.mark_alive()


def _plain(state: RunState, name: str, value: Any) -> Any:
    if isinstance(value, str) and type(value) is not str:  # a text of the script's own type may raise when it is used
        from supervisor._exceptions import safe_text

        value = safe_text(value)
    return reporter_of(state).plain(name, value)


def _warn(state: RunState, text: object, values: dict[str, Any]) -> None:
    from supervisor._run.run_warnings import warn

    step = None
    if state.steps is not None:
        from supervisor._run.steps import current_step

        step = current_step(state)
    if step is not None:
        step.warn(state, text, values)
    else:
        warn(state, reporter_of(state), text, values)


def _steps(state: RunState, items: Iterator[T], name_of: Callable[[T], object]) -> Iterator[T]:
    from supervisor._run.steps import each_as_step

    return each_as_step(state, items, name_of)


def _async_steps(state: RunState, items: AsyncIterator[T], name_of: Callable[[T], object]) -> AsyncIterator[T]:
    from supervisor._run.steps import each_as_step_async

    return each_as_step_async(state, items, name_of)


def _table(state: RunState, title: str, rows: Any, columns: Iterable[object] | None) -> None:
    from supervisor._run.tables import add_table

    left_out = add_table(state, reporter_of(state).redactor(), title, rows, columns)
    if left_out:
        add_fault(state, left_out)
    state.mark_alive()


def _link(state: RunState, title: str, url: str) -> None:
    from supervisor._exceptions import safe_text
    from supervisor._text import is_address, one_line

    title, url = one_line(safe_text(title)), safe_text(url).strip()
    if not title or not is_address(url):
        add_fault(state, f"the link {title!r} is left out: its address must begin with http:// or https://")
        return
    state.links = {**(state.links or {}), title: url}
    reporter_of(state).record_links()


def _attach(state: RunState, path: Attachable, inline: bool) -> None:
    from supervisor._models.values import attachments_of

    given = attachments_of(path)  # first, so that no other thread comes between reading and writing
    if inline:
        import attrs

        given = tuple(attrs.evolve(each, is_inline=True) for each in given)
    state.attachments = (*state.attachments, *given)
