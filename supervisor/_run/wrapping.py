"""Wrap functions of every kind so that each call is a run, and pass the run to those with a parameter ``run``."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from supervisor._run.lifecycle import activate, suspend
from supervisor._run.run import state_of
from supervisor.errors import ConfigurationError, OverlapError, RunSkipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._run.run import Run

    StartRun = Callable[[], Run]
    InsertRun = Callable[[Run, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]

_REFUSALS = (RunSkipped, OverlapError)


def is_decoratable(value: object) -> bool:
    """Return whether the argument of a decorator is the function to decorate, and not a setting."""
    return callable(value) or isinstance(value, (classmethod, staticmethod))


def name_of(function: Any) -> str:
    """Return the name for the runs of a function: its own, or that of its file if it is called ``main``."""
    name: str = getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2]
    if name == "main":
        from supervisor._exceptions import stem

        module = sys.modules.get(getattr(function, "__module__", None) or "")
        name = stem(getattr(module, "__file__", None) or "") or name
    return name


def wrap(function: Any, start: StartRun) -> Any:
    """Return a function that makes each call of ``function`` a run.

    Args:
        function: A function, coroutine function, generator function or async generator function.
        start: Makes a new run, with state of its own, for each call.

    Raises:
        ConfigurationError: ``function`` is a class, a classmethod or a staticmethod, or cannot be called.
    """
    if isinstance(function, (classmethod, staticmethod)):
        kind = type(function).__name__
        raise ConfigurationError(f"@supervised stands above @{kind}: put it below, next to the function")
    if isinstance(function, type) or not callable(function):
        raise ConfigurationError(f"@supervised wraps functions and methods, got {function!r}")
    insert = _inserting(function)
    wrapper = _wrapping(function)(function, start, insert or _unchanged)
    functools.update_wrapper(wrapper, function)
    if insert is not None:
        signature = inspect.signature(function)
        others = [each for each in signature.parameters.values() if each.name != "run"]
        wrapper.__signature__ = signature.replace(parameters=others)
    return wrapper


def _wrapping(function: Any) -> Callable[[Any, StartRun, InsertRun], Any]:
    call = getattr(function, "__call__", None)  # noqa: B004 - an object may have an async one
    if inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(call):
        return _async_generator
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):
        return _coroutine
    if inspect.isgeneratorfunction(function) or inspect.isgeneratorfunction(call):
        return _generator
    return _plain


def _plain(function: Any, start: StartRun, insert: InsertRun) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        run = start()
        try:
            with run:
                args, kwargs = insert(run, args, kwargs)
                return function(*args, **kwargs)
        except _REFUSALS as refusal:
            if not state_of(run).suppresses(refusal):
                raise
            return None

    return call


def _coroutine(function: Any, start: StartRun, insert: InsertRun) -> Any:
    async def call(*args: Any, **kwargs: Any) -> Any:
        run = start()
        try:
            async with run:
                args, kwargs = insert(run, args, kwargs)
                return await function(*args, **kwargs)
        except _REFUSALS as refusal:
            if not state_of(run).suppresses(refusal):
                raise
            return None

    return call


def _generator(function: Any, start: StartRun, insert: InsertRun) -> Any:
    """Wrap a generator: its run is current while it works, not while its consumer does."""

    def generate(*args: Any, **kwargs: Any) -> Any:
        run = start()
        try:
            with run:
                args, kwargs = insert(run, args, kwargs)
                generator, state = function(*args, **kwargs), state_of(run)
                step, given = generator.send, None
                while True:
                    try:
                        item = step(given)
                    except StopIteration as end:
                        return end.value
                    suspend(state)
                    try:
                        step, given = generator.send, (yield item)
                    except GeneratorExit:
                        activate(state)
                        generator.close()
                        raise
                    except BaseException as thrown:  # noqa: BLE001 - whatever the consumer throws goes into the generator
                        step, given = generator.throw, thrown
                    finally:
                        activate(state)
        except _REFUSALS as refusal:
            if not state_of(run).suppresses(refusal):
                raise
            return None

    return generate


def _async_generator(function: Any, start: StartRun, insert: InsertRun) -> Any:
    """Wrap an async generator as :func:`_generator` does a plain one."""

    async def generate(*args: Any, **kwargs: Any) -> Any:
        run = start()
        try:
            async with run:
                args, kwargs = insert(run, args, kwargs)
                generator, state = function(*args, **kwargs), state_of(run)
                step, given = generator.asend, None
                while True:
                    try:
                        item = await step(given)
                    except StopAsyncIteration:
                        return
                    suspend(state)
                    try:
                        step, given = generator.asend, (yield item)
                    except GeneratorExit:
                        activate(state)
                        await generator.aclose()
                        raise
                    except BaseException as thrown:  # noqa: BLE001 - whatever the consumer throws goes into the generator
                        step, given = generator.athrow, thrown
                    finally:
                        activate(state)
        except _REFUSALS as refusal:
            if not state_of(run).suppresses(refusal):
                raise

    return generate


def _unchanged(run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def _inserting(function: Any) -> InsertRun | None:
    """Return what inserts the run into the arguments of a function, or None if it has no parameter ``run``."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtins have no signature
        return None
    parameter = parameters.get("run")
    if parameter is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return None
    if parameter.kind is parameter.KEYWORD_ONLY:
        return _as_keyword
    return functools.partial(_at_position, list(parameters).index("run"))


def _as_keyword(run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, {"run": run, **kwargs}


def _at_position(
    index: int, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Insert the run at the position of its parameter, unless the caller passed a run, as a test may."""
    if len(args) > index and isinstance(args[index], type(run)):
        return args, kwargs
    run = kwargs.pop("run", run)
    if len(args) < index:
        return args, {"run": run, **kwargs}
    return (*args[:index], run, *args[index:]), kwargs
