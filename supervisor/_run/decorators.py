"""What users write: ``supervise``, ``supervised``, ``Supervisor`` and ``current_run``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, overload

import attrs

from supervisor._run.context import current_run
from supervisor._run.run import Run
from supervisor._run.wrapping import looks_decorated, name_of, wrap
from supervisor._runtime import default_runtime
from supervisor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Concatenate

    from supervisor._models.values import MessageDetails, MessageHandler
    from supervisor._run.signatures import (
        BareOrWithSettings,
        Decorator,
        MethodTakesRun,
        O_contra,
        P,
        R,
        S,
        TakesRun,
    )

__all__ = ["Run", "Supervisor", "current_run", "supervise", "supervised"]


def _takes_settings(settings: Callable[S, Settings]) -> Callable[[Callable[..., R]], Callable[S, R]]:
    """Give a function the parameters of :class:`Settings`, for type checkers, editors and ``help()``."""

    def give(function: Callable[..., R]) -> Callable[S, R]:
        function.__wrapped__ = settings  # type: ignore[attr-defined]  # inspect.signature follows it
        return function

    return give


def _takes_function_or_settings(
    settings: Callable[S, Settings],
) -> Callable[[Callable[..., Any]], BareOrWithSettings[S]]:
    """Do what :func:`_takes_settings` does for a decorator that may also stand bare."""
    return _takes_settings(settings)  # type: ignore[return-value]  # the overloads are what the body does


@_takes_settings(Settings)
def supervise(*settings: Any, **more_settings: Any) -> Run:
    """Make a run, to be started and ended by ``with`` or ``async with``.

    Args:
        settings: What :class:`supervisor.settings.Settings` takes; the name may come first, without its keyword.
        more_settings: The others, by keyword.

    Raises:
        ConfigurationError: A setting is unknown, of the wrong kind or out of range; its text names it.
    """
    return Run(settings_for(settings, more_settings))


@_takes_function_or_settings(Settings)
def supervised(*settings: Any, **more_settings: Any) -> Any:
    """Make each call of a function a run of its own. Stands bare or takes settings.

    Functions, coroutines, generators, async generators and methods keep their signatures. A parameter named
    ``run`` receives the run, and callers leave it out.

    Args:
        settings: What :class:`supervisor.settings.Settings` takes; the name may come first, without its keyword.
        more_settings: The others, by keyword.

    Raises:
        ConfigurationError: A setting is unknown, of the wrong kind or out of range, or what is decorated is no
            function.
    """
    if len(settings) == 1 and not more_settings and looks_decorated(settings[0]):
        return _wrapped(settings[0], (), {})
    if settings or "name" in more_settings:
        given = settings_for(settings, more_settings)
        return lambda function: wrap(function, functools.partial(Run, given))
    settings_for((), more_settings)  # so that a mistake is told at the decorator
    return lambda function: _wrapped(function, (), more_settings)


def settings_for(arguments: tuple[Any, ...], options: dict[str, Any]) -> Settings:
    """Return the settings of a run: what the script says, over what is configured.

    Raises:
        ConfigurationError: A setting is unknown, of the wrong kind or out of range.
    """
    return default_runtime().configuration.settings_for(arguments, options)


def _wrapped(function: Any, settings: tuple[Any, ...], more_settings: dict[str, Any]) -> Any:
    """Wrap a function whose runs are called as it is."""
    return wrap(function, functools.partial(Run, settings_for((name_of(function), *settings), more_settings)))


class Supervisor:
    """The same settings for many runs, and for the whole process if it is asked to.

    Args:
        name: What its runs are called unless they say otherwise.
        handle_errors: True reports each exception that nobody caught in the process, main thread or other, then
            calls the hook that was there before. ``sys.exit()`` is not among them: Python calls no hook for it.
        settings: What :class:`supervisor.settings.Settings` takes.

    Raises:
        ConfigurationError: A setting is unknown, of the wrong kind or out of range; its text names it.
    """

    def __init__(self, name: str | None = None, *, handle_errors: bool = False, **settings: Any) -> None:
        self._given: dict[str, Any] = {"name": name, **settings}
        self._settings = settings_for((), self._given)
        self._process = Run(self._settings)
        self._process.set_out()
        if handle_errors:
            from supervisor._run.threads import on_uncaught

            on_uncaught(self._tell_uncaught)

    @property
    def settings(self) -> Settings:
        """Return the settings in force."""
        return self._settings

    def add_message_handler(self, handler: MessageHandler | str) -> None:
        """Let one more handler have the messages of the runs that start from now on, and of the process.

        Raises:
            ConfigurationError: It has no ``send_message``.
        """
        handlers = default_runtime().configuration.with_names_resolved((*self._settings.handlers, handler))
        self._settings = attrs.evolve(self._settings, handlers=handlers)
        self._given["handlers"] = handlers
        process = Run(self._settings)
        process.set_out(like=self._process)
        self._process = process

    def notify(self, subject: str | MessageDetails, message: str = "", **extras: Any) -> None:
        """Send a message to every handler, in a run or outside of one; see :meth:`supervisor.Run.notify`."""
        self._process.notify(subject, message, **extras)

    def supervise(self, name: str | None = None, **changes: Any) -> Run:
        """Make a run with these settings; those given here replace them for this run."""
        return Run(self._changed(name, changes))

    @overload
    def supervised(self, function: TakesRun[P, R], /) -> Callable[P, R]: ...
    @overload
    def supervised(self, function: MethodTakesRun[O_contra, P, R], /) -> Callable[Concatenate[O_contra, P], R]: ...
    @overload
    def supervised(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def supervised(self, name: str | None = None, /, **changes: Any) -> Decorator: ...
    def supervised(self, name_or_function: Any = None, /, **changes: Any) -> Any:
        """Make each call of a function a run with these settings, bare or with changes to them."""
        if name_or_function is not None and looks_decorated(name_or_function):
            return self.supervised()(name_or_function)
        self._changed(name_or_function, changes)  # so that a mistake is told now and not in the night

        def decorate(function: Any) -> Any:
            name = name_or_function or self._given["name"] or name_of(function)
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
        run = Run(self._settings)
        run.set_out(like=self._process)
        if thread:
            run.fail_aside(error, thread)
        else:
            run.conclude(error)
