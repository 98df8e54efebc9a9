"""``supervised``: functions of every kind stay what they were, and each call of them is a run."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from recorders import Recorder

from supervisor import ConfigurationError, Run, current_run, supervise, supervised

if TYPE_CHECKING:
    from collections.abc import Callable

quietly = functools.partial(supervised, journal=False)


def name_of_the_run() -> str:
    """Return the name of the run that is current here."""
    run = current_run()
    return run.name if run is not None else "none"


@supervised
def bare(a: int, b: int = 2) -> tuple[int, int, str]:
    """Add nothing."""
    return a, b, name_of_the_run()


@supervised("with settings", journal=False)
def with_settings(a: int, b: int = 2) -> tuple[int, int, str]:
    """Add nothing."""
    return a, b, name_of_the_run()


@supervised(journal=False)
def without_name(a: int, b: int = 2) -> tuple[int, int, str]:
    """Add nothing."""
    return a, b, name_of_the_run()


@quietly()
def main() -> str:
    """Return the name of the run."""
    return name_of_the_run()


def test_bare_with_settings_and_without_name() -> None:
    """A decorator stands bare, with settings, and with settings but no name: then the function gives it."""
    assert bare(1) == (1, 2, "bare")
    assert with_settings(1, b=3) == (1, 3, "with settings")
    assert without_name(1, 5) == (1, 5, "without_name")
    assert current_run() is None


def test_main_is_called_what_its_file_is_called() -> None:
    """A function called ``main`` gives no name worth reading, so its file does."""
    assert main() == "test_wrapping"


def test_local_functions_and_methods_have_readable_names() -> None:
    """The name of a function in a function leaves out the way to it; that of a method has its class."""

    class Load:
        @quietly()
        def parcels(self) -> str:
            return name_of_the_run()

    @quietly()
    def work() -> str:
        return name_of_the_run()

    assert work() == "work"
    assert Load().parcels() == "Load.parcels"


def test_the_function_stays_what_it_was_to_look_at() -> None:
    """Name, docstring, module and wrapped function are the original's."""
    assert bare.__name__ == "bare"
    assert bare.__doc__ == "Add nothing."
    assert bare.__module__ == __name__
    assert str(inspect.signature(bare)) == "(a: 'int', b: 'int' = 2) -> 'tuple[int, int, str]'"
    assert pickle.loads(pickle.dumps(bare)) is bare


# Where the run goes


def takes_it_first(run: Run, a: int, b: int = 2) -> tuple[Any, ...]:
    """Take a run."""
    return run, a, b


def takes_it_in_the_middle(a: int, run: Run, b: int = 2) -> tuple[Any, ...]:
    """Take a run."""
    return run, a, b


def takes_it_last(a: int, b: int = 2, run: Run | None = None) -> tuple[Any, ...]:
    """Take a run."""
    return run, a, b


def takes_it_by_keyword(a: int, b: int = 2, *, run: Run) -> tuple[Any, ...]:
    """Take a run."""
    return run, a, b


def takes_it_by_position_only(run: Run, a: int, /, b: int = 2) -> tuple[Any, ...]:
    """Take a run."""
    return run, a, b


TAKERS = [takes_it_first, takes_it_in_the_middle, takes_it_last, takes_it_by_keyword, takes_it_by_position_only]


@pytest.mark.parametrize("function", TAKERS)
def test_a_parameter_named_run_receives_the_run(function: Callable[..., Any]) -> None:
    """Wherever the parameter stands, it gets the run of this call, and the others what the caller gave."""
    call: Callable[..., Any] = quietly()(function)
    run, a, b = call(1)
    assert isinstance(run, Run)
    assert run.name == function.__name__
    assert (a, b) == (1, 2)
    if function is not takes_it_last:
        assert call(1, 3)[1:] == (1, 3)
    assert call(1, b=3)[1:] == (1, 3)


@pytest.mark.parametrize("function", TAKERS[:-1])
def test_everything_by_keyword(function: Callable[..., Any]) -> None:
    """Arguments given by keyword reach their parameters beside the run."""
    run, a, b = quietly()(function)(b=4, a=3)
    assert isinstance(run, Run)
    assert (a, b) == (3, 4)


@pytest.mark.parametrize("function", TAKERS[:-1])
def test_a_run_that_the_caller_gives_goes_before(function: Callable[..., Any]) -> None:
    """A caller, a test for example, may give a run by keyword, and that one is taken."""
    with supervise("given", journal=False) as given:
        assert quietly()(function)(a=1, run=given) == (given, 1, 2)


def test_a_run_given_by_position_goes_before() -> None:
    """A caller may give a run in its place."""
    with supervise("given", journal=False) as given:
        assert quietly()(takes_it_first)(given, 1) == (given, 1, 2)
        assert quietly()(takes_it_by_position_only)(given, 1)[0] is given


@pytest.mark.parametrize("function", TAKERS)
def test_the_signature_hides_the_run(function: Callable[..., Any]) -> None:
    """What callers need not give does not stand in the signature."""
    parameters = inspect.signature(quietly()(function)).parameters
    assert list(parameters) == ["a", "b"]
    assert inspect.signature(function).parameters.keys() == {"run", "a", "b"}


def test_a_catch_all_named_run_is_no_run() -> None:
    """Parameters like ``*run`` or ``**run`` collect arguments and are left alone."""

    def collects(*run: int) -> tuple[int, ...]:
        return run

    assert quietly()(collects)(1, 2) == (1, 2)


def test_a_wrong_call_fails_as_it_would() -> None:
    """A missing argument is the function's own TypeError."""
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'a'"):
        quietly()(takes_it_first)()


class Load:
    """Has methods that are runs."""

    def __init__(self) -> None:
        self.rows = 7

    @quietly("method")
    def method(self, run: Run, more: int = 0) -> tuple[str, int]:
        """Take a run."""
        return run.name, self.rows + more

    @classmethod
    @quietly("of the class")
    def of_class(cls, run: Run) -> tuple[str, type]:
        """Take a run."""
        return run.name, cls

    @staticmethod
    @quietly("static")
    def static(run: Run, a: int) -> tuple[str, int]:
        """Take a run."""
        return run.name, a

    @property
    @quietly("property")
    def size(self) -> str:
        """Return the name of the run."""
        return name_of_the_run()

    def __call__(self, a: int) -> tuple[str, int]:
        """Return the name of the run."""
        return name_of_the_run(), a


def test_methods() -> None:
    """Methods of every kind work when the decorator stands next to the function."""
    assert Load().method() == ("method", 7)
    assert Load().method(more=2) == ("method", 9)
    assert Load.of_class() == ("of the class", Load)
    assert Load().static(3) == ("static", 3)
    assert Load().size == "property"


@pytest.mark.parametrize("outer", [classmethod, staticmethod])
def test_the_wrong_order_is_told(outer: Any) -> None:
    """Above a classmethod the decorator could not work: it says where it belongs."""
    with pytest.raises(ConfigurationError, match=f"above @{outer.__name__}: put it below"):
        supervised(outer(bare))
    with pytest.raises(ConfigurationError, match=f"above @{outer.__name__}: put it below"):
        quietly()(outer(bare))


def test_a_class_is_refused() -> None:
    """A class is nothing that runs."""
    with pytest.raises(ConfigurationError, match="functions and methods"):
        supervised(Load)
    with pytest.raises(ConfigurationError, match="functions and methods, got 5"):
        quietly()(5)


def test_partials_callables_and_builtins() -> None:
    """Whatever can be called can be a run."""
    assert quietly("partial")(functools.partial(with_settings, 1))(b=9) == (1, 9, "with settings")
    assert quietly("object")(Load())(4) == ("object", 4)
    assert quietly("bound")(Load().method)(more=1) == ("method", 8)
    assert quietly("builtin")(len)([1, 2]) == 2
    run, a, _ = quietly("partial")(functools.partial(takes_it_first, a=1))()
    assert (run.name, a) == ("partial", 1)
    run, a, _ = quietly()(functools.partial(functools.partial(takes_it_first), a=2))()
    assert (run.name, a) == ("takes_it_first", 2), "without a name it has that of the function within"


# What calls share


def test_each_call_has_a_run_of_its_own() -> None:
    """Calls of one decorated function share nothing: neither ids nor recorded values nor attachments."""
    runs: list[Run] = []

    @quietly()
    def work(run: Run, n: int) -> None:
        run.record(**{f"n{n}": n})
        run.attach(f"{n}.csv")
        runs.append(run)

    work(1)
    work(2)
    assert runs[0].id != runs[1].id
    assert [run.values for run in runs] == [{"n1": 1}, {"n2": 2}]
    assert [[each.name for each in run.attachments] for run in runs] == [["1.csv"], ["2.csv"]]


def test_recursive_calls_are_runs_in_runs() -> None:
    """A decorated function that calls itself has a run for each call, nested as the calls are."""

    @quietly()
    def count(run: Run, n: int) -> list[str | None]:
        assert current_run() is run
        parents = [run.parent.id if run.parent else None]
        below = count(n - 1) if n else []
        assert current_run() is run
        assert below[:1] in ([], [run.id])
        return parents + below

    chain = count(3)
    assert chain[0] is None
    assert len(set(chain)) == 4


def test_calls_in_threads_share_nothing() -> None:
    """Calls of one function in several threads at once each have their own run."""
    together = threading.Barrier(4)

    @quietly()
    def work(run: Run, n: int) -> tuple[str, int]:
        run.record(n=n)
        together.wait(30)
        assert current_run() is run
        return run.id, run.values["n"]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))
    assert len({one for one, _ in results}) == 4
    assert [n for _, n in results] == [0, 1, 2, 3]


def test_reraise_false_returns_none_and_tells() -> None:
    """With ``reraise=False`` an exception is reported, and the call returns None."""
    recorder = Recorder()

    @quietly("swallows", reraise=False, handlers=[recorder])
    def work() -> int:
        raise KeyError("apn")

    assert work() is None
    assert recorder.received == ["failure"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
def test_reraise_false_never_swallows_what_is_no_error(error: BaseException) -> None:
    """``SystemExit``, ``KeyboardInterrupt`` and a cancellation are requests to end, and always get through."""

    @quietly(reraise=False)
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        work()
    assert caught.value is error
