"""Wrap functions of every kind so that each call is a run, and pass the run to those with a parameter ``run``."""

from __future__ import annotations

import functools
import inspect
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from supervisor._run import state_of
from supervisor._run.lifecycle import activate, suspend
from supervisor._run.process_events import ServerError, raise_for_status
from supervisor.errors import ConfigurationError, OverlapError, RunSkipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from supervisor._run import Run

    StartRun = Callable[[], Run]
    InsertRun = Callable[[Run, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]

_REFUSALS = (RunSkipped, OverlapError)


def is_decoratable(value: object) -> bool:
    """Return whether the argument of a decorator is the function to decorate, and not a setting."""
    return callable(value) or isinstance(value, (classmethod, staticmethod))


def name_of(function: Any) -> str:
    """Return the name for the runs of a function: its own, or that of its file if it is called ``main``."""
    if _is_command(function):
        function = function.callback or function
    while isinstance(function, functools.partial):
        function = function.func
    name: str = getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2]
    if name == "main":
        from supervisor._exceptions import stem

        module = sys.modules.get(getattr(function, "__module__", None) or "")
        name = stem(getattr(module, "__file__", None) or "") or name
    return name


def wrap(function: Any, start: StartRun, start_for: Callable[[Iterable[Any]], Run] | None = None) -> Any:
    """Return a function that makes each call of ``function`` a run.

    Args:
        function: A function, coroutine function, generator function or async generator function.
        start: Makes a new run, with state of its own, for each call.
        start_for: Makes the run of a call with these arguments, where they may say how much time it has; None where
            that makes no difference.

    Raises:
        ConfigurationError: ``function`` is a class, a classmethod or a staticmethod, or cannot be called.
    """
    if isinstance(function, (classmethod, staticmethod)):
        kind = type(function).__name__
        raise ConfigurationError(f"@supervised stands above @{kind}: put it below, next to the function")
    if _is_command(function):
        return _with_supervised_callback(function, start)
    if _is_registered(function):
        raise ConfigurationError(
            "@supervised stands above the decorators of an Azure app: put it below, next to the function"
        )
    if isinstance(function, type) or not callable(function):
        raise ConfigurationError(f"@supervised wraps functions and methods, got {function!r}")
    insert = _inserting(function)
    wrapping = _wrapping(function)
    wrapper = wrapping(function, start, insert or _unchanged)
    if start_for is not None and wrapping is _plain:
        wrapper = _by_arguments(function, start_for, insert or _unchanged)
    functools.update_wrapper(wrapper, function)
    if insert is not None:
        _hide_annotation_of_run(wrapper)
        signature = inspect.signature(function)
        others = [each for each in signature.parameters.values() if each.name != "run"]
        wrapper.__signature__ = signature.replace(parameters=others)
    return wrapper


def _hide_annotation_of_run(wrapper: Any) -> None:
    """Leave the run out of annotations that others evaluate: ``Run`` may be imported for type checkers only."""
    with suppress(NameError):  # in Python 3.14 they are evaluated here
        wrapper.__annotations__ = {name: each for name, each in wrapper.__annotations__.items() if name != "run"}


def _is_registered(value: object) -> bool:
    """Return whether this is a function that Azure's ``@app.route()`` and the like have registered by now."""
    kind = getattr(sys.modules.get("azure.functions.decorators.function_app"), "FunctionBuilder", None)
    return isinstance(kind, type) and isinstance(value, kind)


def _is_command(value: object) -> bool:
    """Return whether this is a command of click, of which typer's are made."""
    kind = getattr(sys.modules.get("click"), "Command", None)
    return isinstance(kind, type) and isinstance(value, kind)


def _with_supervised_callback(command: Any, start: StartRun) -> Any:
    """Make each call of a command's function a run, and return the command: ``--help`` and wrong usage are no runs."""
    part = "invoke" if hasattr(command, "list_commands") else "callback"  # a group's run has those of its commands
    setattr(command, part, wrap(getattr(command, part), start))
    return command


def can_be_tried_again(function: Any) -> bool:
    """Return whether a decorated object can be called again: a generator's consumer may have items of it by then."""
    if _is_command(function):
        function = function.invoke if hasattr(function, "list_commands") else function.callback
    return _wrapping(function) in (_plain, _coroutine)


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
        run, answer = start(), None
        try:
            with run:
                args, kwargs = insert(run, args, kwargs)
                if state_of(run).settings.retries:
                    answer = _attempts().call(state_of(run), function, args, kwargs)
                else:
                    answer = function(*args, **kwargs)
                raise_for_status(answer)
        except ServerError:
            pass  # the run has reported it, and the caller gets the response
        except _REFUSALS as refusal:
            if not state_of(run).suppresses(refusal):
                raise
        return answer

    return call


def _attempts() -> Any:
    from supervisor._run import attempts  # most runs have one attempt

    return attempts


def _by_arguments(function: Any, start_for: Callable[[Iterable[Any]], Run], insert: InsertRun) -> Any:
    """Wrap a function whose calls differ in the time that they have."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return _plain(function, lambda: start_for((*args, *kwargs.values())), insert)(*args, **kwargs)

    return call


def _coroutine(function: Any, start: StartRun, insert: InsertRun) -> Any:
    async def call(*args: Any, **kwargs: Any) -> Any:
        run, answer = start(), None
        try:
            async with run:
                args, kwargs = insert(run, args, kwargs)
                if state_of(run).settings.retries:
                    answer = await _attempts().call_async(state_of(run), function, args, kwargs)
                else:
                    answer = await function(*args, **kwargs)
                raise_for_status(answer)
        except ServerError:
            pass  # the run has reported it, and the caller gets the response
        except _REFUSALS as refusal:
            if not state_of(run).suppresses(refusal):
                raise
        return answer

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


# What type checkers and editors see of the decorators; a script that runs does not make these

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec, Protocol, TypeVar, overload

    import attrs

    from supervisor._settings import Settings

    S = ParamSpec("S")
    P = ParamSpec("P")
    R = TypeVar("R")
    R_co = TypeVar("R_co", covariant=True)
    T = TypeVar("T")
    O_contra = TypeVar("O_contra", contravariant=True)

    @attrs.frozen
    class SupervisorSettings(Settings):  # without a docstring: editors then show the one of Supervisor
        handle_errors: bool = attrs.field(default=False, kw_only=True)

    class TakesRun(Protocol[P, R_co]):
        """A function whose first parameter is named ``run``."""

        def __call__(self, run: Run, *args: P.args, **kwargs: P.kwargs) -> R_co:
            """Call it with a run."""

    class MethodTakesRun(Protocol[O_contra, P, R_co]):
        """A method whose first parameter after ``self`` is named ``run``."""

        def __call__(self, owner: O_contra, /, run: Run, *args: P.args, **kwargs: P.kwargs) -> R_co:
            """Call it with a run."""

    # A parameter ``run`` that is not the first cannot be taken out of a signature: ``ParamSpec`` has no way to say so,
    # and the function becomes ``(...) -> R``. Pyright needs one protocol for that. Mypy does not take ``*args: Any``
    # for any number of parameters where a keyword follows, so it needs one for each number of parameters before.

    class TakesRunByKeyword(Protocol[R_co]):
        """A function with a parameter ``run`` after others."""

        def __call__(self, *args: Any, run: Run, **kwargs: Any) -> R_co:
            """Call it with a run."""

    class TakesRunByKeywordAlone(Protocol[R_co]):
        """A function with a keyword ``run`` and nothing before it."""

        def __call__(self, *, run: Run) -> R_co:
            """Call it with a run."""

    class TakesRunByKeywordAfterOne(Protocol[R_co]):
        """A function with a keyword ``run`` after one parameter, such as ``self``."""

        def __call__(self, first: Any, /, *, run: Run) -> R_co:
            """Call it with a run."""

    class TakesRunByKeywordAfterTwo(Protocol[R_co]):
        """A function with a keyword ``run`` after two parameters."""

        def __call__(self, first: Any, second: Any, /, *, run: Run) -> R_co:
            """Call it with a run."""

    # What takes any keyword (``**kwargs``) takes ``run`` too, but does not ask for it: it keeps its signature.

    class TakesKeywords(Protocol):
        """A function that takes any keyword."""

        def __call__(self, *args: Any, any_keyword_at_all: Any, **kwargs: Any) -> Any:
            """Call it with a keyword that no function names."""

    class TakesKeywordsAlone(Protocol):
        """A function that takes any keyword and nothing before it."""

        def __call__(self, *, any_keyword_at_all: Any) -> Any:
            """Call it with a keyword that no function names."""

    class TakesKeywordsAfterOne(Protocol):
        """A function that takes any keyword after one parameter."""

        def __call__(self, first: Any, /, *, any_keyword_at_all: Any) -> Any:
            """Call it with a keyword that no function names."""

    class TakesKeywordsAfterTwo(Protocol):
        """A function that takes any keyword after two parameters."""

        def __call__(self, first: Any, second: Any, /, *, any_keyword_at_all: Any) -> Any:
            """Call it with a keyword that no function names."""

    F = TypeVar("F", bound=TakesKeywords | TakesKeywordsAlone | TakesKeywordsAfterOne | TakesKeywordsAfterTwo)

    class Decorator(Protocol):
        """Wraps a function and keeps its signature, less the parameter ``run`` that it fills in."""

        @overload
        def __call__(self, function: TakesRun[P, R], /) -> Callable[P, R]: ...
        @overload
        def __call__(self, function: MethodTakesRun[O_contra, P, R], /) -> Callable[Concatenate[O_contra, P], R]: ...
        @overload
        def __call__(self, function: F, /) -> F: ...
        @overload
        def __call__(self, function: TakesRunByKeyword[R], /) -> Callable[..., R]: ...
        @overload
        def __call__(self, function: TakesRunByKeywordAlone[R], /) -> Callable[..., R]: ...
        @overload
        def __call__(self, function: TakesRunByKeywordAfterOne[R], /) -> Callable[..., R]: ...
        @overload
        def __call__(self, function: TakesRunByKeywordAfterTwo[R], /) -> Callable[..., R]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...
