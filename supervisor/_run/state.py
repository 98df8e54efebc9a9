"""The state of one run: what the run itself, its hooks, its reporter and its recorder work on.

A script holds a :class:`supervisor.Run`, a handle with one reference to this. The module is on the path of every
supervised call, so it loads nothing that an empty run can do without.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from math import isfinite
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from supervisor import _log
from supervisor._hooks import on_fork
from supervisor._runtime import default_runtime
from supervisor._settings import SENT, needs_of
from supervisor.errors import RunSkipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextvars import Token

    from supervisor._models import Kind, Outcome
    from supervisor._models.parts import Table
    from supervisor._models.values import ErrorDetails, MessageHandler
    from supervisor._run.join import Joined
    from supervisor._runtime import Runtime
    from supervisor._settings import Settings
    from supervisor.errors import OverdueError, OverlapError

_LONG_MESSAGE = 20_000
_NOTHING: Mapping[Any, Any] = MappingProxyType({})
creating = threading.Lock()
"""Held while something is created that a run has once: its id, its reporter."""


class _Shared:
    """What all runs of this process share.

    Attributes:
        forks: How many forks lie between the first process and this one: it tells a child apart from its parent
            without a system call at every run.
        offer: The run that `supervisor run` offers to the Python program that it starts; None when it is taken. It is
            removed from the environment, so that no program further down takes it.
        joined_id: The id of the run that was taken.
        replace_settings: Returns the settings that a run gets instead of its own, in tests of scripts; None otherwise.
        has_hooks: Whether the process-wide hooks are in place.
    """

    __slots__ = ("forks", "has_hooks", "joined_id", "offer", "replace_settings")

    def __init__(self) -> None:
        self.forks = 0
        self.offer = os.environ.pop("_SUPERVISOR_JOIN", None)
        self.joined_id: str | None = None
        self.replace_settings: Callable[[Settings], Settings] | None = None
        self.has_hooks = False

    def count_fork(self) -> None:
        """Note that this process is a child of the one so far."""
        self.forks += 1


shared = _Shared()

on_fork(in_child=shared.count_fork)


class RunState:
    """All that is known of one run while it lasts.

    Args:
        settings: The settings of the run.
        runtime: What the runs of the process share; None for that of this process.

    Attributes:
        needs: What the settings ask of the run, worked out.
        parent: The run that this one is nested in.
        handle: Returns the handle that the script has; None when the script has let go of it.
        started_s: When it started, by the monotonic clock; None before.
        started_at_s: The same, in seconds since 1970.
        cpu_started_s: The processor time of the process at that moment.
        ended_s: When it ended, by the monotonic clock.
        done: The last progress as the script gave it, of any type; so are ``total`` and ``message``.
        due_s: When, by the monotonic clock, progress is to be passed on again.
        is_tracking: Whether a loop over ``track`` counts.
        alive_s: When, by the monotonic clock, the script last called a method of the run other than ``progress``.
        signum: The signal that asked the process to end; 0 for none.
        terminated_s: When it came, by the monotonic clock; None before.
        was_asked_late: Whether that signal came after the end of the run.
        background_error: The first exception that nobody caught in a thread or task of the run.
        overdue: The error with which a run ends that was interrupted because of its limits.
        refusal: What is raised instead of starting the run, since another one of its name is under way.
        last_stall_s: For a run that was stalled when it ended, how long that stall had lasted; None for any other.
        facts: Fields of RunReport that describe another program, where this process only supervises that program.
        retried: The errors of the attempts that failed and were followed by another (``retries``), oldest first.
        tables: The tables that the script shows.
        notified: The handlers that the program itself has notified of the end, by the kind of the message.
        joined: The run of `supervisor run` that this one is; None for a run of its own.
        token: Restores the outer run as the current one; None while a generator's run is suspended.
        forks: The value of ``shared.forks`` when the run started: it differs in a forked child.
        reporter: The run's Reporter; None before the run has something to report.
        faults: What of supervision failed meanwhile, in a line each; the message about the end says it.
        features: The run's optional features; None for a run that asks for none.
        links: What the script gave to ``run.link()``; None for nothing.
        log: The run's own log (``capture_logs``), a RunLog; None without one.
        warnings: What the run was warned of, a RunWarnings; None for nothing.
        steps: Its steps, a RunSteps; None without any.
        unheard: The failures of inner runs that nobody was notified of.
    """

    __slots__ = (
        "_id",
        "alive_s",
        "attachments",
        "background_error",
        "cpu_started_s",
        "done",
        "due_s",
        "ended_at_s",
        "ended_s",
        "exit_code",
        "facts",
        "faults",
        "features",
        "forks",
        "handle",
        "has_ended",
        "is_tracking",
        "joined",
        "last_stall_s",
        "links",
        "log",
        "message",
        "needs",
        "notified",
        "outcome",
        "overdue",
        "parent",
        "refusal",
        "reporter",
        "retried",
        "runtime",
        "settings",
        "signum",
        "started_at_s",
        "started_s",
        "steps",
        "tables",
        "terminated_s",
        "token",
        "total",
        "unheard",
        "values",
        "warnings",
        "was_asked_late",
    )

    handle: Callable[[], Any]
    ended_s: float
    forks: int

    def __init__(self, settings: Settings, runtime: Runtime | None = None) -> None:
        self.runtime = runtime if runtime is not None else default_runtime()
        self.settings = settings if shared.replace_settings is None else shared.replace_settings(settings)
        if self.settings.send != SENT:
            from supervisor._run.unsent import without_sending

            self.settings = without_sending(self.settings, is_inner=current_state() is not None)
        self.needs = needs_of(self.settings)
        self.parent: RunState | None = None
        self._id: str | None = None
        self.started_s: float | None = None
        self.started_at_s = self.cpu_started_s = 0.0
        self.has_ended = self.was_asked_late = self.is_tracking = False
        self.ended_at_s: float | None = None
        self.outcome: Outcome | None = None
        self.exit_code: int | None = None
        self.values: dict[str, Any] | None = None
        self.links: dict[str, str] | None = None
        self.attachments: tuple[Any, ...] = ()
        self.done: Any = None
        self.total: Any = None
        self.message: Any = None
        self.due_s = self.alive_s = 0.0
        self.signum = 0
        self.terminated_s: float | None = None
        self.background_error: BaseException | None = None
        self.overdue: OverdueError | None = None
        self.refusal: OverlapError | RunSkipped | None = None
        self.last_stall_s: float | None = None
        self.facts: Mapping[str, Any] = _NOTHING
        self.notified: Mapping[Kind, tuple[MessageHandler, ...]] = _NOTHING
        self.joined: Joined | None = None
        self.faults: tuple[str, ...] = ()
        self.retried: tuple[ErrorDetails, ...] = ()
        self.tables: tuple[Table, ...] = ()
        self.token: Token[RunState | None] | None = None
        self.reporter: Any = None
        self.features: Any = None
        self.log: Any = None
        self.warnings: Any = None
        self.steps: Any = None
        self.unheard: tuple[Any, ...] = ()

    @property
    def id(self) -> str:
        """Return the run's own id, which is made when it is first asked for."""
        if self._id is None:
            with creating:
                self._id = self._id or self._new_id()
        return self._id

    def make_id(self) -> None:
        """Make the id without the lock, while nobody else has the run: after a commit the lock takes microseconds."""
        self._id = self._id or self._new_id()

    def join(self, joined: Joined) -> None:
        """Make this run the one of another process that this process is part of."""
        import attrs

        self.joined = joined
        self._id = shared.joined_id = joined.id
        changed: dict[str, Any] = {"name": joined.name}
        if joined.warn_exit_codes:
            changed["warn_exit_codes"] = (*self.settings.warn_exit_codes, *joined.warn_exit_codes)
        if joined.has_retries:
            changed["retries"] = 0
            self.retried = joined.retried()
        self.settings = attrs.evolve(self.settings, **changed)

    def _new_id(self) -> str:
        return f"{int((self.started_at_s or self.runtime.clock()) * 1000):011x}{os.urandom(5).hex()}"

    @property
    def name(self) -> str:
        """Return the name that the run was given, or the script's."""
        if self.settings.name is not None:
            return self.settings.name
        from supervisor._exceptions import script_name

        return script_name()

    @property
    def parent_id(self) -> str | None:
        """Return the id of the run that this one is nested in, or None for an outermost one."""
        if self.parent is not None:
            return self.parent.id
        return shared.joined_id if self.joined is None else None

    @property
    def now_s(self) -> float:
        """Return the monotonic clock's time; after the end of the run the time of its end, since reporting goes on."""
        return self.ended_s if self.has_ended else monotonic()

    @property
    def duration_s(self) -> float:
        """Return how long the run took, or has taken so far, in seconds; 0.0 before its start."""
        return 0.0 if self.started_s is None else self.now_s - self.started_s

    @property
    def log_path(self) -> str | None:
        """Return the log file that belongs to the run: the one of its settings, or its own; None without one."""
        if self.settings.log_path is None and self.log is not None:
            return self.log.path  # type: ignore[no-any-return]  # of a RunLog
        return self.settings.log_path

    @property
    def own_logs(self) -> tuple[str, ...]:
        """Return the path of the log that the run keeps itself, if it does."""
        return (self.log.path,) if self.log is not None and self.log.path is not None else ()

    @property
    def is_forked(self) -> bool:
        """Return whether this is the copy of a run that a forked child has of its parent."""
        return self.forks != shared.forks

    @property
    def is_suspended(self) -> bool:
        """Return whether the run is a generator's that waits for its consumer."""
        return self.token is None

    @property
    def position(self) -> tuple[float, float | None, str]:
        """Return (done, total, message) of the last progress as numbers and text, whatever types the script gave."""
        from supervisor._exceptions import safe_text

        message = "" if self.message is None else safe_text(self.message)
        if len(message) > _LONG_MESSAGE:
            message = message[:_LONG_MESSAGE].rpartition(" ")[0]  # at a blank, so that no half of a secret is left
        return _number(self.done) or 0, _number(self.total), message

    def mark_alive(self) -> None:
        """Note a sign of life of this run and of those that it is nested in."""
        now = monotonic()
        state: RunState | None = self
        while state is not None:
            state.alive_s = now
            state = state.parent

    def last_alive_s(self, now: float) -> float:
        """Return when, by the monotonic clock and to the second, the run last gave a sign of life."""
        # Progress at or after ``due_s`` moves ``due_s``.
        return max(self.started_s or 0.0, self.alive_s, min(now, self.due_s))

    def ask_to_terminate(self, signum: int) -> bool:
        """Note that the process is to end; return True when the run has ended and only waits for its messages."""
        self.signum = signum
        if self.terminated_s is None:
            self.terminated_s = monotonic()
        self.was_asked_late = self.has_ended
        if self.has_ended and self.reporter is not None:
            self.reporter.stop_waiting()
        return self.has_ended

    def suppresses(self, refusal: BaseException) -> bool:
        """Return whether a call returns None instead of raising, when its run was skipped or refused."""
        return self.refusal is refusal and (isinstance(refusal, RunSkipped) or not self.settings.reraise)


def skip_of(state: RunState, reason: str) -> RunSkipped:
    """Return what ends this run, and no other, as skipped."""
    skip = RunSkipped(reason)
    skip._run = state  # noqa: SLF001 - scripts have no use for it
    return skip


def is_skipped_by(state: RunState, error: BaseException | None) -> bool:
    """Return whether an exception says that this run, or one around it that it is part of, has nothing to do."""
    if not isinstance(error, RunSkipped):
        return False
    of_run = error._run  # noqa: SLF001 - scripts have no use for it
    return of_run is None or of_run is state or not (isinstance(of_run, RunState) and of_run.has_ended)


active_state: ContextVar[RunState | None] = ContextVar("supervisor_run", default=None)


def current_state() -> RunState | None:
    """Return the state of the innermost run that is under way here, or None outside of runs."""
    state = active_state.get()
    # A context can outlive its run (a thread pool's threads, a generator): what has ended is not under way.
    while state is not None and state.has_ended:
        state = state.parent
    return state


@contextmanager
def replacing_settings(replace: Callable[[Settings], Settings]) -> Iterator[None]:
    """Let the runs that are made in the block have other settings; for tests of scripts, which make their own runs.

    Args:
        replace: Returns the settings that a run gets, from those that it was to have.
    """
    before, shared.replace_settings = shared.replace_settings, replace
    try:
        yield
    finally:
        shared.replace_settings = before


def _run_of_line() -> tuple[str, str] | None:
    state = current_state()
    return (state.id, state.name) if state is not None else None


_log.lines.run = _run_of_line


def _number(value: Any) -> float | None:
    """Return what a script gave as a number, or None when it is not one."""
    try:
        value = getattr(value, "finished", value)  # while and after `track` it is a Count
        number = value if isinstance(value, (int, float)) else float(value)
        return number if isfinite(number) else None  # an int beyond all floats raises here
    except Exception:  # noqa: BLE001 - the run's boundary: a wrong total never raises
        return None
