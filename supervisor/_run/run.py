"""The life of one run: it starts, makes progress, records, and ends with an outcome.

This module is on the path of every supervised call, so it loads and does only what a run without anything to
tell needs. What goes to people (reports, messages, deliveries) is in :mod:`supervisor._run.reporter`, which a run loads
when it first has something to say.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterable
from contextlib import contextmanager
from functools import cache
from math import isfinite
from time import monotonic, process_time, time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from supervisor import _log
from supervisor._models.kinds import Kind, Outcome
from supervisor._run import signals, tasks, threads
from supervisor._run.context import active_run, ending_of, is_interrupt
from supervisor._runtime import default_runtime
from supervisor.errors import RunSkipped, RunStateError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from contextvars import Token
    from types import TracebackType

    from supervisor._alerts.run_messages import Finding
    from supervisor._models.values import Attachable, MessageDetails, MessageHandler, RunReport
    from supervisor._run.features import Extras
    from supervisor._run.join import Joined
    from supervisor._run.log_capture import RunLog
    from supervisor._run.reporter import Teller
    from supervisor._runtime import Runtime
    from supervisor.errors import OverdueError
    from supervisor.settings import Settings

T = TypeVar("T")

# Looked up once: on the path of an empty run, an enum's member costs as much as a clock.
_SUCCESS, _SKIPPED, _TOLD_START, _TOLD_SUCCESS = Outcome.SUCCESS, Outcome.SKIPPED, Kind.START, Kind.SUCCESS
_NUMBERS = (int, float, bool)
_NOTHING: Mapping[Any, Any] = MappingProxyType({})
_creating = threading.Lock()
_forks = 0
# `supervisor run` offers its run to a Python program that it starts. Taken out, so that no program further down joins.
_offer = os.environ.pop("_SUPERVISOR_JOIN", None)
_joined_id: str | None = None


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - tells a child from its parent without asking the system on every run
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class Run:
    """One execution of a supervised function, block or command.

    ``supervise()`` makes it and ``with`` starts and ends it; a supervised function gets it as its parameter ``run``,
    and ``current_run()`` finds it elsewhere. It can be used from any thread. None of its methods raises.
    """

    __slots__ = (
        "__weakref__",
        "_aside",
        "_asked_late",
        "_attachments",
        "_done",
        "_due",
        "_ended",
        "_forks",
        "_id",
        "_message",
        "_outcome",
        "_sign_s",
        "_signum",
        "_started",
        "_teller",
        "_token",
        "_total",
        "_tracking",
        "_values",
        "cpu_started_s",
        "ended_at_s",
        "exit_code",
        "extras",
        "facts",
        "has_ended",
        "joined",
        "overdue",
        "parent",
        "runtime",
        "settings",
        "started_at_s",
        "told",
    )

    def __init__(self, settings: Settings, runtime: Runtime | None = None) -> None:
        self.runtime = runtime if runtime is not None else default_runtime()
        self.settings = settings if _stand_in is None else _stand_in(settings)
        self.parent: Run | None = None
        self.has_ended = False
        self._asked_late = False
        self._done: Any = None
        self._total: Any = None
        self._message: Any = None
        self._due = 0.0
        self._started: float | None = None
        self._token: Token[Run | None] | None = None
        self._id: str | None = None
        self._outcome: Outcome | None = None
        self.exit_code: int | None = None
        self.ended_at_s: float | None = None
        self._signum = 0
        self._aside: BaseException | None = None
        self._teller: Teller | None = None
        self._tracking = False
        self._values: dict[str, Any] | None = None
        self._attachments: list[Any] | None = None
        self._sign_s = 0.0
        self.extras: Extras | None = None
        self.overdue: OverdueError | None = None
        # What is so of the program that the run stands for, where that is not this process: fields of RunReport.
        self.facts: Mapping[str, Any] = _NOTHING
        # Who has heard of the end already, from the program itself.
        self.told: Mapping[Kind, tuple[MessageHandler, ...]] = _NOTHING
        self.joined: Joined | None = None

    def __repr__(self) -> str:
        return f"<Run {self.name!r} {self._outcome or ('not started' if self._started is None else 'under way')}>"

    # What it is

    @property
    def id(self) -> str:
        """Return the run's own id: it sorts by the time of its start, and is unique among all runs."""
        if self._id is None:
            with _creating:
                self._id = self._id or self._new_id()
        return self._id

    def _new_id(self) -> str:
        return f"{int((self.started_at_s if self._started else time()) * 1000):011x}{os.urandom(5).hex()}"

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
        return _joined_id if self.joined is None else None

    @property
    def outcome(self) -> Outcome | None:
        """Return how the run ended, or None while it is under way."""
        return self._outcome

    @property
    def duration_s(self) -> float:
        """Return how long the run took, or has taken so far, in seconds."""
        return 0.0 if self._started is None else self.now_s - self._started

    @property
    def now_s(self) -> float:
        """Return the monotonic clock's time, or what it was when the run ended: telling of that takes time too."""
        return self._ended if self.has_ended else monotonic()

    @property
    def position(self) -> tuple[float, float | None, str]:
        """Return (done, total, message) of the last progress, whatever the script said made into numbers and text."""
        from supervisor._exceptions import safe_text

        message = "" if self._message is None else safe_text(self._message)
        done = getattr(self._done, "finished", self._done)  # while and after `track` it is a Count
        return _number(done) or 0, _number(self._total), message

    @property
    def values(self) -> dict[str, Any]:
        """Return a copy of what was recorded."""
        return dict(self._values or ())

    @property
    def attachments(self) -> tuple[Any, ...]:
        """Return what goes with the message that tells of the end."""
        return tuple(self._attachments or ())

    @property
    def log(self) -> RunLog | None:
        """Return the run's own log (``capture_logs``), or None without one."""
        return self.extras.log if self.extras is not None else None

    @property
    def log_path(self) -> str | None:
        """Return the log that the run was told of, or its own; None without one."""
        if self.settings.log_path is None and self.log is not None:
            return self.log.path
        return self.settings.log_path

    @property
    def is_forked(self) -> bool:
        """Tell whether this is the copy of a run that a forked child has of its parent."""
        return self._forks != _forks

    @property
    def is_waiting(self) -> bool:
        """Tell whether the run is a generator's that waits for its consumer."""
        return self._token is None

    def last_sign_s(self, now: float) -> float:
        """Return when, by the monotonic clock and to the second, the script last said something to the run."""
        # Whoever says something at or after the moment that is due moves that moment.
        return max(self._started or 0.0, self._sign_s, min(now, self._due))

    def give_sign(self) -> None:
        """Note a sign of life of this run and of those that it is nested in."""
        now = monotonic()
        run: Run | None = self
        while run is not None:
            run._sign_s = now  # noqa: SLF001 - of the same class
            run = run.parent

    def note_sign(self, said: str) -> None:
        """Note a sign of life of the program that the run stands for: it has just said something."""
        self.give_sign()
        self._message = said
        self._guard(Run._keep_sign)

    def note_program(self, pid: int) -> None:
        """Note the process of the program that the run stands for: it may outlive us."""
        if self.settings.journal:
            self._guard(Run._keep_program, pid)

    def _keep_program(self, pid: int) -> None:
        self._telling().program(pid)

    def _keep_sign(self) -> None:
        self._telling().keep_sign()

    def report(self) -> RunReport:
        """Return what is known of the run at this moment."""
        return self._telling().report()

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
        try:
            self.give_sign()
            if attachments == () and html is None and blocks is None:
                self._telling().notice(subject, message)
            else:
                extras = {"attachments": attachments, "html": html, "blocks": blocks}
                given = {name: each for name, each in extras.items() if each is not None and each != ()}
                self._telling().notice(subject, message, **given)
        except Exception:  # noqa: BLE001 - the run's boundary, as in _guard, which takes its time
            self._note_fault()

    def record(self, **values: Any) -> None:
        """Keep values for the summary: they stand in reports, messages and the journal in the order given.

        Numbers, texts, dates and None are kept as they are; of anything else its text is kept, at most 1,000
        characters. A value recorded again replaces the one before.
        """
        self._guard(Run._record, values)

    def _record(self, values: dict[str, Any]) -> None:
        plain = {
            name: value if type(value) in _NUMBERS else self._telling().plain(name, value)
            for name, value in values.items()
        }
        self._values = {**(self._values or {}), **plain}
        self.give_sign()

    def attach(self, path: Attachable) -> None:
        """Attach a file or directory to the message that tells of the run's end; it is read then, not now."""
        self._guard(Run._attach, path)

    def _attach(self, path: Attachable) -> None:
        from supervisor._models.values import attachments_of

        given = attachments_of(path)
        self._attachments = [*(self._attachments or ()), *given]

    def progress(self, done: float | None = None, total: float | None = None, message: str | None = None) -> None:
        """Say how far the run has come.

        Call it as often as you like (it takes a tenth of a microsecond): what it says goes on to a live bar on a
        terminal, otherwise to a log line every 10 % or 60 s, and to the handlers every ``progress_every_s``.

        Args:
            done: Items finished so far; None leaves it as it was.
            total: Items in all; None leaves it as it was. Without one there is no percentage.
            message: What the run is doing; None leaves it as it was.
        """
        if done is not None:
            self._done = done
        if total is not None:
            self._total = total
        if message is not None:
            self._message = message
        if monotonic() >= self._due:
            self._tick()

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
        from supervisor._run import progress  # a run without a loop does without

        if isinstance(iterable, AsyncIterable):
            return progress.track_async(self, iterable, total, message)
        return progress.track(self, iterable, total, message)

    def _tick(self) -> None:
        """Pass the progress on to those who look at it, and note when they want to know again."""
        now = monotonic()
        self._due = now + 1.0  # first, so that a second thread does not come here too
        self._guard(Run._pass_on_progress, now)

    def _pass_on_progress(self, now: float) -> None:
        if self.parent is not None:
            self.parent.give_sign()
        self._due = self._telling().progress(now)

    # Its life

    def __enter__(self) -> Self:
        refusal = self._enter()
        if refusal is not None:
            self.conclude(refusal)
            signals.stop_listening(self)
            raise refusal
        return self

    def _enter(self) -> BaseException | None:
        """Start; return what is to be raised instead when the run may not."""
        if self._started is not None:
            raise RunStateError(f"the run {self.name!r} has been entered already: call supervise() once for each run")
        self.parent = active_run.get()
        if _offer is not None:
            self._guard(_take_offer)
        self.set_out()
        self._token = active_run.set(self)
        try:
            if self.settings.has_extras:
                self._begin_with_extras()
            else:
                self._begin()
        except Exception:  # noqa: BLE001 - the run's boundary
            self._note_fault()
        return self.extras.refusal if self.extras is not None else None

    def set_out(self, like: Run | None = None) -> None:
        """Take the time, or the time at which another run set out; the block of a ``with`` does it by itself."""
        self._forks = _forks
        if like is None:
            self.started_at_s: float = time()
            self.cpu_started_s: float = process_time()
            self._started = monotonic()
        else:
            self.started_at_s, self.cpu_started_s, self._started = like.started_at_s, like.cpu_started_s, like._started  # noqa: SLF001 - of the same class

    def conclude(self, error: BaseException | None) -> None:
        """Settle the outcome, tell of it, and wait for the messages; the block of a ``with`` does it by itself."""
        try:
            if self._outcome is not _SKIPPED:
                self._end(error)
            if self._teller is not None:
                self._teller.wait()
        except Exception:  # noqa: BLE001 - the run's boundary
            self._note_fault()

    def step_out(self) -> None:
        """Let the code around a generator be outside of the run while the generator waits."""
        token, self._token = self._token, None
        try:
            if token is not None:
                active_run.reset(token)
        except ValueError:
            pass  # set in another context: current_run() steps over ended runs

    def step_in(self) -> None:
        """Be the current run again after :meth:`step_out`."""
        if self._token is None:
            self._token = active_run.set(self)

    def _begin(self) -> None:
        if not _hooked:
            _hook()
        signals.listen(self)
        if _log.is_followed():  # asked here, so that a run that nobody follows needs no id
            _log.info("run %r started (%s)", self.name, self.id)
        if self.parent is not None:
            self.parent.give_sign()
        if self.settings.journal or _TOLD_START in self.settings.announced:
            # Without the lock, which right after a commit costs as much as making both: nobody else has the run yet.
            self._id = self._id or self._new_id()
            self._teller = self._teller or _teller_class()(self)
            self._teller.begin()

    def _begin_with_extras(self) -> None:
        from supervisor._run.features import Extras

        self.extras = extras = Extras(self)
        extras.keep_others_out(lambda: self._telling().other_run())
        if isinstance(extras.refusal, RunSkipped):
            self._skip()
            return
        if extras.refusal is None:
            extras.begin_log(self._telling().redact)
        self._begin()
        if extras.refusal is None:
            extras.mind_limits(self._found, self._goes_on)

    def _skip(self) -> None:
        """End before the start, and tell nobody but the journal."""
        self._ended, self.ended_at_s = self._started or 0.0, self.started_at_s
        self.has_ended, self._outcome = True, Outcome.SKIPPED
        self.step_out()
        if self.settings.journal:
            self._telling().skip()

    def swallows(self, refusal: BaseException) -> bool:
        """Tell whether a call ends quietly though this run was not let in: skipped, or failed without ``reraise``."""
        is_own = self.extras is not None and self.extras.refusal is refusal
        return is_own and (isinstance(refusal, RunSkipped) or not self.settings.reraise)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            ending = self._ending(error)
        except KeyboardInterrupt:
            if self.overdue is None:
                raise
            ending = self._ending(error)  # its own interrupt came when it had ended
        try:
            self.conclude(ending)
        except KeyboardInterrupt:
            if error is None:  # otherwise what the script itself ended with goes before
                raise
        finally:
            signals.stop_listening(self)
        return self._leave(error, ending)

    async def __aenter__(self) -> Self:
        refusal = self._enter()
        if refusal is not None:
            await self.__aexit__(None, refusal, None)
            raise refusal
        tasks.enter_loop(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        tasks.leave_loop(self)
        ending = self._ending(error)
        try:
            if self._outcome is not _SKIPPED:
                self._guard(Run._end, ending)
            if self._teller is not None:
                await self._teller.wait_async()
        except Exception:  # noqa: BLE001 - the run's boundary
            self._note_fault()
        except BaseException:  # cancelled or interrupted while it waited
            if error is None:
                raise
        finally:
            signals.stop_listening(self)
        return self._leave(error, ending)

    def _end(self, error: BaseException | None) -> None:
        """Settle the outcome and tell of it; nothing here waits."""
        self._ended = monotonic()
        self.has_ended = True
        # A clock that was set back meanwhile must not let the run end before its start.
        self.ended_at_s = max(time(), self.started_at_s + self.duration_s)
        self._outcome, self.exit_code = ending_of(error, self._signum)
        if self._outcome is _SUCCESS and self._aside is not None:
            self._outcome = Outcome.FAILURE
        try:
            self._tell_end(error)
        finally:
            self.step_out()  # what is said until here belongs into the run's own log
            if self.extras is not None and self._forks == _forks:
                self.extras.end()

    def _tell_end(self, error: BaseException | None) -> None:
        if self.is_forked:
            return  # in a forked child: the run, and the telling of it, are its parent's
        if self.parent is not None:
            self.parent.give_sign()
        if _log.is_followed():
            _log.info("run %r ended: %s after %.3f s (%s)", self.name, self._outcome, self.duration_s, self.id)
        if self._teller is not None or self.joined is not None or self._somebody_wants_to_know():
            self._telling().end(error)

    def _somebody_wants_to_know(self) -> bool:
        settings = self.settings
        if self._outcome is _SUCCESS:
            return _TOLD_SUCCESS in settings.announced
        return bool(settings.handlers or settings.logger)

    def _ending(self, error: BaseException | None) -> BaseException | None:
        """Return what the run ends with: of an interrupt because of its limits, or of an outer run's, what tells so."""
        if self.extras is not None:
            self.extras.leave_limits(error)
        if error is None or isinstance(error, Exception) or not is_interrupt(error):
            return error
        run: Run | None = self
        while run is not None:
            if run.overdue is not None:
                return run.overdue.with_traceback(error.__traceback__)
            run = run.parent
        return error

    def _leave(self, error: BaseException | None, ending: BaseException | None) -> bool:
        """Return whether the exception is swallowed; terminate now if that was asked while the run was reporting."""
        if self._asked_late and error is None:
            raise signals.Terminated(self._signum)
        overdue = self.overdue
        if overdue is None or ending is not overdue:  # also where an outer run is interrupted, and this one in it
            return not self.settings.reraise and isinstance(error, Exception)
        if self.settings.reraise:
            raise overdue from None
        return True

    # What the hooks say

    def fail_aside(self, error: BaseException, thread: str) -> None:
        """Tell at once of an exception that nobody caught in a thread or task of the run; its outcome is failure."""
        if self._forks == _forks:
            self._aside = self._aside or error
            self._guard(Run._tell_aside, error, thread)

    def _tell_aside(self, error: BaseException, thread: str) -> None:
        self._telling().aside(error, thread)

    def _found(self, finding: Finding) -> bool | None:
        """Tell that the run stalls or takes too long; return True for a stall that is to be told later."""
        return self._guard(Run._tell_finding, finding)  # type: ignore[no-any-return]

    def _tell_finding(self, finding: Finding) -> bool:
        return self._telling().found(finding)

    def _goes_on(self, lasted_s: float) -> None:
        """Tell that the run goes on after it had stalled for so long."""
        self._guard(Run._tell_that_it_goes_on, lasted_s)

    def _tell_that_it_goes_on(self, lasted_s: float) -> None:
        self._telling().goes_on(lasted_s)

    def ask_to_terminate(self, signum: int) -> bool:
        """Note that the process is to end; return True when the run has ended and only waits for its messages."""
        self._signum = signum
        self._asked_late = self.has_ended
        if self.has_ended and self._teller is not None:
            self._teller.stop_waiting()
        return self.has_ended

    # Inside

    def _telling(self) -> Teller:
        if self._teller is None:
            teller = _teller_class()
            with _creating:
                self._teller = self._teller or teller(self)
        return self._teller

    def _guard(self, step: Any, *args: Any, **kwargs: Any) -> Any:
        """Do one step of supervision; a fault in it is logged and never reaches the script."""
        try:
            return step(self, *args, **kwargs)
        except Exception:  # noqa: BLE001 - the run's boundary: the script's result wins over supervision
            self._note_fault()
            return None

    def _note_fault(self) -> None:
        try:
            from supervisor._redaction.run_redactor import RunRedactor

            fault = RunRedactor(self).fault()
        except Exception as error:  # noqa: BLE001 - the run's boundary: no file is left to load it with
            fault = f"its traceback cannot be shown ({type(error).__name__})"
        _log.warning("supervision of %r went on without one step\n%s", self.settings.name, fault)


@cache  # when run again, an import statement takes as long as all else that a run without handlers tells
def _teller_class() -> type[Teller]:
    from supervisor._run.reporter import Teller

    return Teller


def _take_offer(run: Run) -> None:
    """Let the first run of this process be the one of the `supervisor run` that started the process."""
    global _offer, _joined_id  # noqa: PLW0603 - there is one for the process
    offer, _offer = _offer, None
    from supervisor._run.join import take

    run.joined = take(offer)
    if run.joined is not None:
        import attrs

        run._id = _joined_id = run.joined.id  # noqa: SLF001 - of the same module
        run.settings = attrs.evolve(run.settings, name=run.joined.name)


_stand_in: Callable[[Settings], Settings] | None = None
_hooked = False


@contextmanager
def standing_in(stand_in: Callable[[Settings], Settings]) -> Iterator[None]:
    """Let other settings stand in for those of the runs that are made in the block; for tests of scripts."""
    global _stand_in  # noqa: PLW0603 - the script under test makes its runs itself
    before, _stand_in = _stand_in, stand_in
    try:
        yield
    finally:
        _stand_in = before


def _hook() -> None:
    """Put the process-wide hooks in place, once."""
    global _hooked  # noqa: PLW0603 - they are the process's, not a run's
    threads.follow_threads()
    tasks.follow_tasks()
    _hooked = True


def _number(value: Any) -> float | None:
    """Return what a script gave as a number, or None when it is not one."""
    try:
        number = value if isinstance(value, (int, float)) else float(value)
        return number if isfinite(number) else None  # an int beyond all floats raises here
    except Exception:  # noqa: BLE001 - the run's boundary: a wrong total never raises
        return None
