"""What users write: ``supervise``, ``supervised``, ``Supervisor`` and ``current_run``."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any, overload

import attrs

from supervisor import _log
from supervisor._run import Run, current_run, flush_once, lifecycle, state_of
from supervisor._run.lifecycle import report_background_error
from supervisor._run.wrapping import can_be_tried_again, is_decoratable, name_of, wrap
from supervisor._runtime import default_runtime
from supervisor._settings import Settings
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Concatenate

    from supervisor._models.values import Attachable, MessageDetails, MessageHandler
    from supervisor._run.wrapping import (
        Decorator,
        F,
        MethodTakesRun,
        O_contra,
        P,
        R,
        S,
        SupervisorSettings,
        T,
        TakesRun,
        TakesRunByKeyword,
        TakesRunByKeywordAfterOne,
        TakesRunByKeywordAfterTwo,
        TakesRunByKeywordAlone,
    )
else:
    SupervisorSettings = Settings  # has handle_errors too, for type checkers and editors

__all__ = ["Run", "Supervisor", "current_run", "supervise", "supervised"]


def _takes_settings(settings: Callable[S, Settings]) -> Callable[[Callable[..., R]], Callable[S, R]]:
    """Give a function the parameters of :class:`Settings`, for type checkers, editors and ``help()``."""
    return _explained


def _method_takes_settings(
    settings: Callable[S, Settings],
) -> Callable[[Callable[Concatenate[T, ...], R]], Callable[Concatenate[T, S], R]]:
    """Give a method, after ``self``, the parameters of :class:`Settings`."""
    return _explained_method


_SETTINGS = inspect.signature(Settings)
_EXPLANATIONS = (Settings.__doc__ or "").partition("Args:")[2].partition("Raises:")[0]  # "" under python -OO
_HANDLE_ERRORS = inspect.Parameter("handle_errors", inspect.Parameter.KEYWORD_ONLY, default=False, annotation="bool")


def _explained(function: Any) -> Any:
    """Show the settings as parameters of a function, and explain them in its docstring before what it raises."""
    function.__signature__ = _SETTINGS.replace(return_annotation=function.__annotations__["return"])
    summary, raises, errors = (function.__doc__ or "").partition("Raises:")
    if _EXPLANATIONS and raises:
        function.__doc__ = f"{summary}Args:{_EXPLANATIONS}{raises}{errors}"
    return function


def _explained_method(method: Any) -> Any:
    """Show the settings as parameters of a method, after ``self``."""
    parameters = (inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *_SETTINGS.parameters.values())
    method.__signature__ = inspect.Signature(parameters, return_annotation=method.__annotations__["return"])
    return method


if _EXPLANATIONS:
    vars(Run)["settings"].__doc__ += f"\n{_EXPLANATIONS.rstrip()}"  # for help(Run)


@_takes_settings(Settings)
def supervise(*settings: Any, **more_settings: Any) -> Run:
    """Make a run, to be started and ended by ``with`` or ``async with``.

    The name may come first, without its keyword; what is not given comes from the configuration.

    Raises:
        ConfigurationError: A setting is unknown, of the wrong type or out of range; the message names it.
    """
    given = settings_for(settings, more_settings)
    _note_names(given, is_block=True)
    return Run(given if not given.retries else _for_one_attempt(given, "a block", more_settings))


@overload
def supervised(function: TakesRun[P, R], /) -> Callable[P, R]: ...
@overload
def supervised(function: MethodTakesRun[O_contra, P, R], /) -> Callable[Concatenate[O_contra, P], R]: ...
@overload
def supervised(function: F, /) -> F: ...
@overload
def supervised(function: TakesRunByKeyword[R], /) -> Callable[..., R]: ...
@overload
def supervised(function: TakesRunByKeywordAlone[R], /) -> Callable[..., R]: ...
@overload
def supervised(function: TakesRunByKeywordAfterOne[R], /) -> Callable[..., R]: ...
@overload
def supervised(function: TakesRunByKeywordAfterTwo[R], /) -> Callable[..., R]: ...
@overload
def supervised(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
@_takes_settings(Settings)
def supervised(*settings: Any, **more_settings: Any) -> Decorator: ...
@_explained
def supervised(*settings: Any, **more_settings: Any) -> Any:
    """Make each call of a function a run of its own: ``@supervised`` alone, or ``@supervised(...)`` with settings.

    Functions, coroutines, generators, async generators and methods keep their signatures. A parameter named
    ``run`` receives the run, and callers leave it out. The name may come first, without its keyword; what is not
    given comes from the configuration.

    Raises:
        ConfigurationError: A setting is unknown, of the wrong type or out of range, or the decorated object is not
            a function.
    """
    if len(settings) == 1 and not more_settings and is_decoratable(settings[0]):
        return _wrapped(settings[0], (), {})
    if settings or "name" in more_settings:
        given = settings_for(settings, more_settings)
        return lambda function: _runs_of(function, given, more_settings)
    settings_for((), more_settings)  # raises for a mistake where the decorator stands
    return lambda function: _wrapped(function, (), more_settings)


_WITH_DEADLINES = ("AWS_LAMBDA_FUNCTION_NAME", "FUNCTION_TIMEOUT_SEC")
"""Variables of platforms that kill a call which takes too long."""


def settings_for(arguments: tuple[Any, ...], options: dict[str, Any]) -> Settings:
    """Return the settings of a run: what the script says, over what is configured.

    Raises:
        ConfigurationError: A setting is unknown, of the wrong kind or out of range.
    """
    return default_runtime().configuration.settings_for(arguments, options)


def _note_names(settings: Settings, *, lasts: bool = False, is_block: bool = False) -> None:
    """Refuse a name that something else of the script gives to another destination.

    Args:
        settings: With the handlers.
        lasts: True for settings that serve many runs: their names are theirs until nothing holds them any more.
        is_block: True for those of one block, which stands in the middle of a script's work.

    Raises:
        ConfigurationError: There is such a name. In a block, and while a run is under way, it is logged instead.
    """
    names = default_runtime().names
    try:
        if lasts:
            names.add(settings, _line_of_script)
        else:
            names.refuse_others(settings, _line_of_script)
    except ConfigurationError as error:
        if not is_block and current_run() is None:
            raise
        _log.error("%s", error)


def _line_of_script() -> str:
    """Return the line that calls this package, to name it."""
    frame = sys._getframe()  # noqa: SLF001 - the module inspect does the same, and takes 10 ms to load
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "supervisor":
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _wrapped(function: Any, settings: tuple[Any, ...], more_settings: dict[str, Any]) -> Any:
    """Wrap a function; its runs have the function's name unless the settings give another."""
    return _runs_of(function, settings_for((name_of(function), *settings), more_settings), more_settings)


def _for_one_attempt(settings: Settings, what: str, said: Mapping[str, Any]) -> Settings:
    """Return settings without retries, for what cannot be called again; what is only configured does not hold for it.

    Raises:
        ConfigurationError: The script itself gives ``retries``.
    """
    if said.get("retries"):
        raise ConfigurationError(
            f"retries: {what} cannot be run again; put what is to be tried again into a function below "
            "@supervised(..., retries=...)"
        )
    return attrs.evolve(settings, retries=0)


def _runs_of(function: Any, settings: Settings, said: Mapping[str, Any]) -> Any:
    """Wrap a function; in a cloud function, whose time is limited, each call has its own limit."""
    _note_names(settings, lasts=True)
    if settings.retries and not can_be_tried_again(function):
        settings = _for_one_attempt(settings, "a generator", said)
    start = functools.partial(Run, settings)
    if not any(name in os.environ for name in _WITH_DEADLINES):
        return wrap(function, start)
    from supervisor._run.preparation import limited

    return wrap(function, start, lambda arguments: Run(limited(settings, arguments)))


class Supervisor:
    """The same settings for many runs, and for the whole process if it is asked to.

    Args:
        handle_errors: True reports each exception that nobody caught in the process, in the main thread or another,
            and then calls the hook that was there before. ``sys.exit()`` is not among them: Python calls no hook for
            it. Default False.
        name: The name of the run in messages and in the journal. Default None: the function's name, or the name of
            the script's file for blocks and for a function called ``main``.
        title: What people read instead of the name, in messages, lists and the report page; the journal and commands
            go by the name. Default None: the name.
        subject: The subject of the messages about the end of the run, with fields in braces: "{name} {outcome}
            ({values.rows:,} rows)". What is not known is shown as "?". Default None: supervisor's own subjects.
        handlers: One handler or several, or their names in the configuration; they get the messages. Default ():
            none, or those of the configuration.
        send: Where messages go. "console" prints them instead, with whom they are for; "off" drops them. Unlike for
            other settings, the configuration (``SUPERVISOR_SEND``, a profile) wins over the script, so that nothing
            is sent while a script is developed. The run is then kept in memory, unless ``journal`` is given. Default
            "handlers".
        logger: A logger, or the name of one, that gets uncaught exceptions at level ERROR with their traceback.
            Default None: no logger.
        log_path: The path of a log file to attach to failure messages. Default None: no file.
        report_on: More kinds of messages to send: "start", "success", "skipped", "progress", one or several. Warning,
            failure, recovery, stalled, overdue, died and missed are always sent, and so is what ``run.notify()`` is
            given.
            A handler that has ``kinds`` of its own gets those instead. Default (): no more kinds.
        reraise: False suppresses an exception after it was reported; the call then returns None. ``SystemExit``,
            ``KeyboardInterrupt``, SIGTERM and cancellations are never suppressed. Default True.
        progress_every_s: Seconds between two progress messages to the handlers. Default None: no progress messages,
            or one every 600 s if ``report_on`` has "progress".
        progress_bar: False shows no live bar on a terminal, and logs progress instead, as elsewhere. Default True.
        delivery_deadline_s: The most seconds that the end of a run waits for its messages to be delivered; 0 does
            not wait. Default 30.0.
        journal: True keeps the run, and the messages that wait, on disk in the state directory. False keeps them in
            memory: what is not delivered when the process ends is lost. Default True.
        repeat_after_s: Holds back a failure that equals one (same exception, same place) reported less than this
            many seconds ago; the next one that is sent says how many were held back. It needs the journal.
            Default 0.0: every failure is sent.
        alert_after: When failures are told: 2 says with the second failure in a row, "6h" when they have lasted so
            long. The message shows those before it, later failures of the row are not sent, and a recovery only if the
            failures were. It needs the journal. Default None: every failure is sent.
        remind_every: How often ``supervisor check`` reminds of what still fails or is still missed, by a message of the
            kind of the first ("1d"). Default None: never.
        capture_logs: True writes what all loggers let through, and warnings, to a log file of the run's own; the
            name of a logger, or several, limits it to those. "parcels=DEBUG" asks the logger ``parcels`` for more,
            "root=INFO" all loggers. The file is attached to failure messages and summaries. Default None: no log
            file.
        warn_on: Which records in the run's own log (``capture_logs``) make a warning of the run, as ``run.warn()``
            does: "error" for those from ERROR up, "warning" for those from WARNING up, None for none; what supervisor
            itself logs is no warning. Default "error".
        warn_exit_codes: Exit codes that end a run with a warning, and not as a failure: one or several of 1-255. The
            process still ends with the code. Default (): none.
        redact_patterns: More to remove from all that is stored or sent: regular expressions by the names that
            replace what they match. If one has a group called ``secret``, only that group is replaced. Default {}.
        redact_off: What to leave in although it looks like a secret: names from ``supervisor.plugins.REDACTED``
            ("token", "cookie", ...). Default ().
        show_locals: True shows the local variables of the script's own functions in failure messages, without
            secrets. Default False.
        stall_after_s: Sends a message (kind stalled) when the run has made no progress for this many seconds, with
            the stack of every thread. Default None: progress is not watched.
        max_duration_s: Sends a message (kind overdue) when the run takes longer than this many seconds, with the
            stack of every thread. Default None: no limit.
        on_overdue: What else happens when a run stalls or takes too long. "report" lets it continue; "interrupt"
            raises ``KeyboardInterrupt`` in the thread of the run (in asyncio it cancels the task), and the run ends
            with ``OverdueError``. Other threads than the main one are reached when they next run Python code, a
            coroutine that blocks its event loop when it next awaits. Default "report".
        retries: How often a function or coroutine is called again after an exception, at most 100; a block or generator
            cannot be. Default 0: never.
        retry_wait_s: Seconds to wait before it is called again; each further wait is twice as long, with up to a
            quarter of this on top by chance, and at most an hour. 0 does not wait. Default 60.0.
        retry_on: After which exceptions: one type or several, or their names. Whatever ends a run on purpose
            (``SystemExit``, ``KeyboardInterrupt``, cancellations, ``OverdueError``) is never among them. Default
            "Exception": any that is an error.
        schedule: When the run should start: a cron expression in the machine's time ("0 2 * * *") or an interval
            ("every 15 min"). ``supervisor check`` sends a message (kind missed) when it did not. Default None: no
            schedule.
        timezone: The time zone of the schedule, and of the times in the run's messages ("America/Denver"). Default
            None: the machine's, which in containers is UTC.
        grace_s: How many seconds late a scheduled start may be before it counts as missed. Default 600.0.
        links: Addresses of pages that go with each message, by their titles, besides those that are found:
            {"Runbook": "https://..."}. ``{run_id}``, ``{name}``, ``{host}``, ``{pod}``, ``{namespace}``,
            ``{project}`` and ``{region}`` in an address are filled in, as far as they are known. Default {}.
        host: Where the run runs, as messages, ``supervisor history`` and the page call it. Default None: what is found
            ("Cloud Run job parcels (execution parcels-x7k2), project example"), or the name of the machine.
        heartbeat_s: How often, in seconds, the run notes in the journal that it lives; 0 for never. It is reported as
            died when three of these signs of life are missing and 30 seconds more have passed. Default None: 60 s
            where a later process may not be able to look this one up (in a container, with a journal on a network
            file system, on a machine without an id), never elsewhere.
        log_format: How supervisor's own log lines are written to stderr where the script has set up no logging: "text",
            or "gcp", one JSON object a line as Google Cloud reads it. Default None: "gcp" in Cloud Run, else "text".
        overlap: What happens when a run of this name is still under way on this machine. "allow" starts another;
            "skip" does not call the function (a block cannot be skipped, it raises ``RunSkipped``); "fail" reports
            a failure and raises ``OverlapError``. Default "allow".

    Raises:
        ConfigurationError: A setting is unknown, of the wrong type or out of range; the message names it. Or only
            ``logger`` and ``log_path`` are given, without ``handle_errors``: whether the process is to be watched, as
            it was by default in version 3, must be said then.
    """

    __signature__ = inspect.Signature((*_SETTINGS.parameters.values(), _HANDLE_ERRORS))

    @_method_takes_settings(SupervisorSettings)
    def __init__(self, name: str | None = None, *, handle_errors: bool | None = None, **settings: Any) -> None:
        self._given: dict[str, Any] = {"name": name, **settings}
        self._settings = settings_for((), self._given)
        if handle_errors is None and name is None and settings and settings.keys() <= {"logger", "log_path"}:
            raise ConfigurationError(
                "Supervisor(logger=..., log_path=...) watched the whole process in version 3: write handle_errors=True "
                "for that; handle_errors=False where it is to watch only what it decorates"
            )
        _note_names(self._settings, lasts=True)
        self._process = Run(self._settings)
        lifecycle.note_start(state_of(self._process))
        if handle_errors:
            from supervisor._hooks import on_uncaught

            on_uncaught(self._tell_uncaught)

    @property
    def settings(self) -> Settings:
        """Return the settings in force."""
        return self._settings

    def add_message_handler(self, handler: MessageHandler | str) -> None:
        """Add a handler, or one of the configuration by its name, for the process and for runs that start from now on.

        Raises:
            ConfigurationError: It has no ``send_message``, or a name that was given to another destination too.
        """
        handlers = default_runtime().configuration.with_names_resolved((*self._settings.handlers, handler))
        settings = attrs.evolve(self._settings, handlers=handlers)
        _note_names(settings, lasts=True)
        self._settings = settings
        self._given["handlers"] = handlers
        process = Run(self._settings)
        lifecycle.note_start(state_of(process), like=state_of(self._process))
        self._process = process

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
        """Send a message to every handler, inside a run or outside of one; see :meth:`supervisor.Run.notify`.

        Inside a run it returns when the message is accepted. Outside it waits until the message is delivered, at most
        ``delivery_deadline_s``: no run's end waits for it, and a cloud function is frozen when it returns. A
        destination that was waited for in vain is waited for again once it has taken a message.
        """
        self._process.notify(subject, message, attachments=attachments, html=html, blocks=blocks, level=level)
        if current_run() is None:
            flush_once(self._process)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until the messages of :meth:`notify` are delivered.

        Args:
            timeout_s: The most seconds to wait; None for ``delivery_deadline_s``. 0 does not wait.

        Returns:
            Whether all of them were delivered. What is not stays in the outbox.
        """
        return self._process.flush(timeout_s)

    @_method_takes_settings(Settings)
    def supervise(self, name: str | None = None, **changes: Any) -> Run:
        """Make a run with these settings; those given here replace them for this run."""
        settings = self._changed(name, changes)
        _note_names(settings, is_block=True)
        return Run(settings if not settings.retries else _for_one_attempt(settings, "a block", self._given | changes))

    @overload
    def supervised(self, function: TakesRun[P, R], /) -> Callable[P, R]: ...
    @overload
    def supervised(self, function: MethodTakesRun[O_contra, P, R], /) -> Callable[Concatenate[O_contra, P], R]: ...
    @overload
    def supervised(self, function: F, /) -> F: ...
    @overload
    def supervised(self, function: TakesRunByKeyword[R], /) -> Callable[..., R]: ...
    @overload
    def supervised(self, function: TakesRunByKeywordAlone[R], /) -> Callable[..., R]: ...
    @overload
    def supervised(self, function: TakesRunByKeywordAfterOne[R], /) -> Callable[..., R]: ...
    @overload
    def supervised(self, function: TakesRunByKeywordAfterTwo[R], /) -> Callable[..., R]: ...
    @overload
    def supervised(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    @_method_takes_settings(Settings)
    def supervised(self, name: str | None = None, **changes: Any) -> Decorator: ...
    @_explained_method
    def supervised(self, name_or_function: Any = None, /, **changes: Any) -> Any:
        """Make each call of a function a run with these settings; those given here replace them for its runs."""
        if name_or_function is not None and is_decoratable(name_or_function):
            return self.supervised()(name_or_function)
        _note_names(self._changed(name_or_function, changes))  # raises for a mistake where the decorator stands

        def decorate(function: Any) -> Any:
            name = name_or_function or self._given["name"] or name_of(function)
            if self._changed(name, changes).retries and not can_be_tried_again(function):
                _for_one_attempt(self._settings, "a generator", self._given | changes)  # raises for a mistake
            return wrap(function, lambda: Run(self._changed(name, changes)))

        return decorate

    def _changed(self, name: str | None, changes: dict[str, Any]) -> Settings:
        if name is not None:
            changes = {**changes, "name": name}
        if not changes:
            return self._settings
        return settings_for((), self._given | changes)

    def _tell_uncaught(self, error: BaseException, thread: str) -> None:
        """Report an exception of the process as a run that began when this supervisor was made."""
        state = state_of(Run(self._settings))
        lifecycle.note_start(state, like=state_of(self._process))
        if thread:
            report_background_error(state, error, thread)
        else:
            lifecycle.finish(state, error)
