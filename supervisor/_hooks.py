"""What supervisor puts in place in the process of a script, all but one: rich replaces streams while a bar is shown.

====================================  ================================================================================
What                                  When
====================================  ================================================================================
``os.fork``, ``os.forkpty``           from the first thread of ours on (``_forks``)
``os.register_at_fork``               when a module that needs it is loaded
``atexit``                            from the first run with a journal or handlers on (``_delivery.pool``,
                                      ``_store.sqlite.database``, ``_runtime``)
``threading.Thread.start``            from the first run on (``_run.process_events``)
a filter on the logger ``asyncio``    from the first run on, once logging or asyncio is loaded (``_run.process_events``)
a finder in ``sys.meta_path``         from the first run on, where logging is not loaded yet
``sys.excepthook`` and                from a ``Supervisor(handle_errors=True)`` on (``_run.process_events``)
``threading.excepthook``
handlers of SIGTERM, SIGHUP, SIGXCPU  while a run is under way in the main thread (``_run.process_events``)
and SIGBREAK
``Logger.callHandlers``,              while a run has ``capture_logs`` (``_run.log_capture``)
``warnings.showwarning``, and the
level of loggers
``input`` and ``getpass.getpass``     while a live bar is on a terminal (``_run.progress_bar``)
``sys.stdout`` and ``sys.stderr``     while a live bar is on a terminal: by rich, not here (``_run.progress_bar``)
====================================  ================================================================================

The process of ``supervisor run`` handles its own signals besides (``_cli.exec``).

Who needs one of these registers a callback here. Each hook calls what it found in its place, and is there once however
often it is asked for. The list for users, with how to do without each, is in ``api.md``.
"""

from __future__ import annotations

import atexit
import builtins
import functools
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

try:
    # What the module signal is made of. That takes 0.5 ms to load, and 3 us to turn numbers into enums and back.
    import _signal as signal  # type: ignore[import-not-found]
except ImportError:
    import signal

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

set_signal_handler: Callable[[int, Any], Any] = signal.signal
"""Set the handler of a signal, and return the one that was there."""


def _is_ours(function: Any) -> bool:
    return getattr(function, "_is_of_supervisor", False)


def _as_ours(wrapper: Any, wrapped: Any) -> Any:
    functools.update_wrapper(wrapper, wrapped)
    wrapper._is_of_supervisor = True  # noqa: SLF001 - our own mark on our own function
    return wrapper


# Processes


def on_fork(
    *,
    before: Callable[[], None] | None = None,
    in_parent: Callable[[], None] | None = None,
    in_child: Callable[[], None] | None = None,
) -> None:
    """Call functions around each fork of the process, however it is made. What they raise is lost."""
    if hasattr(os, "register_at_fork"):
        given = {"before": before, "after_in_parent": in_parent, "after_in_child": in_child}
        os.register_at_fork(**{name: each for name, each in given.items() if each is not None})


def wrap_fork(around: Callable[[Callable[[], Any]], Any]) -> None:
    """Let a function carry out each ``os.fork()`` and ``os.forkpty()``.

    Unlike what :func:`on_fork` calls, it comes before other packages take their locks for the fork, and may raise.

    Args:
        around: Gets what forks, calls it and returns its result.
    """
    for name in ("fork", "forkpty"):
        plain = getattr(os, name, None)
        if plain is not None and not _is_ours(plain):
            setattr(os, name, _wrapped_fork(plain, around))


def _wrapped_fork(plain: Callable[[], Any], around: Callable[[Callable[[], Any]], Any]) -> Any:
    def fork() -> Any:
        return around(plain)

    return _as_ours(fork, plain)


def at_exit(call: Callable[[], None]) -> None:
    """Call a function at the end of the process, after the main program and before its threads are abandoned."""
    atexit.register(call)


# Threads, and exceptions that nobody caught


def on_thread_start(call: Callable[[threading.Thread], None]) -> None:
    """Call a function with each thread that is about to start, in the thread that starts it."""
    plain = threading.Thread.start
    if _is_ours(plain):
        return

    def start(thread: threading.Thread) -> None:
        call(thread)
        plain(thread)

    threading.Thread.start = _as_ours(start, plain)  # type: ignore[method-assign]


def on_uncaught(report: Callable[[BaseException, str], None]) -> None:
    """Call ``report(error, thread_name)`` for each uncaught exception, then the hook that was there before.

    ``thread_name`` is "" for the main thread. ``SystemExit`` never comes here: Python does not call its hooks for it.
    """
    found_in_main, found_in_threads = sys.excepthook, threading.excepthook

    def in_main(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        try:
            report(error.with_traceback(trace), "")
        finally:
            found_in_main(kind, error, trace)
            if kind is KeyboardInterrupt:
                _remember_interrupt()

    def in_thread(uncaught: threading.ExceptHookArgs) -> None:
        try:
            if uncaught.exc_value is not None and not isinstance(uncaught.exc_value, SystemExit):
                report(uncaught.exc_value, uncaught.thread.name if uncaught.thread else "a thread")
        finally:
            found_in_threads(uncaught)

    sys.excepthook = in_main
    threading.excepthook = in_thread


def _remember_interrupt() -> None:
    """Let Python end with the exit code of an interrupt (130), as it would without us.

    It notes an interrupt that leaves the code it runs from text, and forgets it when more code is run from text
    meanwhile, as each import of a named tuple does.
    """
    with suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")  # noqa: S102 - a constant text; only an interrupt from compiled text is noted


# asyncio


def on_asyncio_record(look: Callable[[logging.LogRecord], None]) -> None:
    """Call a function with each record of asyncio's logger, where it reports exceptions that nobody retrieved.

    Where that would load ``logging`` for nothing, the filter is added when asyncio, which loads it, is imported.
    """
    if "logging" in sys.modules:
        _add_filter(look)
    elif not any(isinstance(each, _AsyncioWatch) for each in sys.meta_path):
        sys.meta_path.insert(0, _AsyncioWatch(look))


class _AsyncioWatch:
    """Stands first among the finders of modules; it finds none, but notices when asyncio is looked for."""

    def __init__(self, look: Callable[[logging.LogRecord], None]) -> None:
        self._look = look

    def find_spec(self, name: str, *_: object) -> None:
        """Add the filter before asyncio logs anything."""
        if name == "asyncio":
            _add_filter(self._look)


def _add_filter(look: Callable[[logging.LogRecord], None]) -> None:
    import logging

    logger = logging.getLogger("asyncio")
    if not any(_is_ours(each) for each in logger.filters):
        logger.addFilter(_passing_all(look))


def _passing_all(look: Callable[[logging.LogRecord], None]) -> Any:
    def let_pass(record: logging.LogRecord) -> bool:
        look(record)
        return True

    return _as_ours(let_pass, look)


# Records of loggers, and warnings

_wrappers: list[tuple[Any, Any]] = []  # (ours, what it found); one for each function that was ever found


def wrap_logging(call_handlers: Callable[[Any], Any], show_warning: Callable[[Any], Any]) -> None:
    """Wrap what hands records to handlers and what shows warnings, unless that is done already.

    Args:
        call_handlers: Returns the replacement for the ``Logger.callHandlers`` that it gets.
        show_warning: Returns the replacement for the ``warnings.showwarning`` that it gets.
    """
    for (owner, name), wrap in zip(_logging_functions(), (call_handlers, show_warning), strict=True):
        now = getattr(owner, name)
        if not any(now is ours for ours, _ in _wrappers):
            setattr(owner, name, _wrapper_of(now, wrap))


def unwrap_logging() -> None:
    """Undo :func:`wrap_logging`; what somebody else has wrapped meanwhile stays, and calls our wrapper."""
    for owner, name in _logging_functions():
        now = getattr(owner, name)
        for ours, found in _wrappers:
            if now is ours:
                setattr(owner, name, found)


def _logging_functions() -> tuple[tuple[Any, str], tuple[Any, str]]:
    import logging
    import warnings

    return (logging.Logger, "callHandlers"), (warnings, "showwarning")


def _wrapper_of(now: Any, wrap: Callable[[Any], Any]) -> Any:
    for ours, found in _wrappers:
        if found is now:
            return ours
    _wrappers.append((wrap(now), now))
    return _wrappers[-1][0]


# What reads from the terminal


def wrap_reading(around: Callable[[], AbstractContextManager[None]]) -> None:
    """Carry out ``input()``, by which ``breakpoint()`` reads too, and ``getpass.getpass()`` inside of a context."""
    for owner, name in _reading_functions():
        plain = getattr(owner, name)
        if not _is_ours(plain):
            setattr(owner, name, _reading_within(plain, around))


def unwrap_reading() -> None:
    """Undo :func:`wrap_reading`; what somebody else has wrapped meanwhile stays."""
    for owner, name in _reading_functions():
        now = getattr(owner, name)
        if _is_ours(now):
            setattr(owner, name, now.__wrapped__)


def _reading_functions() -> list[tuple[Any, str]]:
    found = [(builtins, "input")]
    return [*found, (sys.modules["getpass"], "getpass")] if "getpass" in sys.modules else found


def _reading_within(plain: Callable[..., Any], around: Callable[[], AbstractContextManager[None]]) -> Any:
    def read(*args: Any, **kwargs: Any) -> Any:
        with around():
            return plain(*args, **kwargs)

    return _as_ours(read, plain)


# Levels of loggers


class _Level(int):
    """A level that only this module sets: so one that the script sets is distinguished, and stays."""


# For each logger, the level that was found, and how many callers want it lower. Changed under the lock of the caller.
_found_levels: dict[logging.Logger, list[int]] = {}


def lower_levels(levels: Mapping[str, int]) -> list[logging.Logger]:
    """Give loggers lower levels, where those in force for them are higher.

    Args:
        levels: The levels, by the names of the loggers; "root" for the root logger.

    Returns:
        What :func:`restore_levels` takes.
    """
    import logging

    changed = []
    for name, level in levels.items():
        logger = logging.getLogger(None if name == "root" else name)
        if logger in _found_levels or _level_as_found(logger) > level:
            changed.append(logger)
            _found_levels.setdefault(logger, [logger.level, 0])[1] += 1
            now = logger.level if isinstance(logger.level, _Level) else _level_as_found(logger)
            if now > level:
                logger.setLevel(_Level(level))
    return changed


def restore_levels(loggers: Iterable[logging.Logger]) -> None:
    """Undo :func:`lower_levels`; a level that the script set meanwhile stays."""
    for logger in loggers:
        entry = _found_levels[logger]
        entry[1] -= 1
        if not entry[1]:
            del _found_levels[logger]
            if isinstance(logger.level, _Level):
                logger.setLevel(entry[0])


def would_pass(logger: logging.Logger, level: int) -> bool:
    """Tell whether a logger would let a record through if no level had been lowered."""
    return not _found_levels or level >= _level_as_found(logger)


def _level_as_found(logger: logging.Logger) -> int:
    """Return the level in force for a logger, as the script has it."""
    each: logging.Logger | None = logger
    while each is not None:
        level = each.level
        if isinstance(level, _Level):
            level = _found_levels.get(each, [level])[0]
        if level:
            return level
        each = each.parent
    return 0
