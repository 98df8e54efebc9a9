"""What type checkers make of the public functions; ``test_typing.py`` has mypy and pyright read this file.

Nothing here is run. Each line that is wrong has a ``type: ignore``, and both report one that ignores nothing: so a
mistake that one of them no longer finds fails the test.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedFunction=false, reportUnusedExpression=false

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any, assert_type

from supervisor import (
    MessageDetails,
    Run,
    Supervisor,
    current_run,
    supervise,
    supervised,
)
from supervisor.message_handlers import ConsoleHandler
from supervisor.models import MessageDetails as OldMessageDetails
from supervisor.models import Outcome, RunReport
from supervisor.models import Supervisor as OldSupervisor

MYPY = False  # mypy takes a name like this for True


# Functions, bare and with settings


@supervised
def bare(a: int, b: str = "") -> bool:
    """Take no run."""
    return bool(a) and bool(b)


@supervised("named", handlers=[ConsoleHandler()], reraise=False)
def with_settings(a: int, *, b: str = "") -> bool:
    """Take no run."""
    return bool(a) and bool(b)


@supervised(report_on=["success"])
def takes_run(run: Run, a: int) -> str:
    """Take a run."""
    return f"{run.name} {a}"


@supervised
def bare_takes_run(run: Run, a: int = 1) -> str:
    """Take a run."""
    return f"{run.name} {a}"


@supervised
def takes_only_run(run: Run) -> str:
    """Take a run."""
    return run.name


@supervised()
def without_settings(a: int) -> int:
    """Take no run."""
    return a


assert_type(bare(1), bool)
assert_type(bare(1, b="x"), bool)
assert_type(with_settings(1, b="x"), bool)
assert_type(takes_run(1), str)
assert_type(takes_run(a=1), str)
assert_type(bare_takes_run(), str)
assert_type(bare_takes_run(5), str)
assert_type(takes_only_run(), str)
assert_type(without_settings(1), int)

bare("x")  # type: ignore[arg-type]  # the parameters are the function's own
bare()  # type: ignore[call-arg]  # the same
bare(1, "x", 3)  # type: ignore[call-arg]  # the same
with_settings(1, "x")  # type: ignore[call-arg]  # b takes its keyword
takes_run("x")  # type: ignore[arg-type]  # a stands first now
takes_run()  # type: ignore[call-arg]  # a is missing
callback: Callable[[int], str] = takes_run


# Methods


class Load:
    """Has methods that are runs."""

    @supervised
    def bare(self, a: int) -> bool:
        """Take no run."""
        return bool(a)

    @supervised("method")
    def takes_run(self, run: Run, a: int) -> str:
        """Take a run."""
        return f"{run.name} {a}"

    @supervised("async")
    async def coroutine(self, run: Run, a: int) -> str:
        """Take a run."""
        return f"{run.name} {a}"

    @staticmethod
    @supervised("static")
    def static(run: Run, a: int) -> str:
        """Take a run."""
        return f"{run.name} {a}"


assert_type(Load().bare(1), bool)
assert_type(Load().takes_run(1), str)
assert_type(Load.takes_run(Load(), 1), str)
assert_type(Load.static(1), str)
Load().takes_run("x")  # type: ignore[arg-type]  # a is a number
Load().bare()  # type: ignore[call-arg]  # a is missing


# What a return type with Any does to methods


class LoadsRows:
    """Has methods that return what holds Any."""

    @supervised
    def without_run(self, a: int) -> list[Any]:
        """Take no run."""
        return [a]

    @supervised
    def with_run(self, run: Run, a: int) -> list[Any]:
        """Take a run: pyright keeps the types, and mypy makes Any of them."""
        return [run, a]

    @supervised
    def finds_run(self, a: int) -> list[Any]:
        """Take no run, but find it: a way round for mypy."""
        return [current_run(), a]

    @supervised
    def returns_objects(self, run: Run, a: int) -> list[object]:
        """Return what holds no Any: the other way round."""
        return [run, a]


@supervised
def rows(run: Run, a: int) -> dict[str, Any]:
    """Take a run: a function keeps its types, whatever it returns."""
    return {run.name: a}


assert_type(LoadsRows().without_run(1), list[Any])
assert_type(LoadsRows().finds_run(1), list[Any])
assert_type(LoadsRows().returns_objects(1), list[object])
assert_type(rows(1), dict[str, Any])
if MYPY:
    assert_type(LoadsRows().with_run(1), Any)  # type: ignore[no-untyped-call]  # what the reference says of it
else:
    assert_type(LoadsRows().with_run(1), list[Any])
    LoadsRows().with_run("x")  # type: ignore[arg-type]  # a is a number
LoadsRows().finds_run("x")  # type: ignore[arg-type]  # a is a number
LoadsRows().returns_objects("x")  # type: ignore[arg-type]  # the same
rows("x")  # type: ignore[arg-type]  # the same


# A run that is not the first parameter


@supervised
def by_keyword(*, run: Run) -> str:
    """Take a run by its keyword."""
    return run.name


@supervised("named")
def by_keyword_after_one(a: int, *, run: Run) -> str:
    """Take a run by its keyword."""
    return f"{run.name} {a}"


@supervised
def by_keyword_after_more(a: int, b: str = "", *, run: Run) -> str:
    """Take a run by its keyword."""
    return f"{run.name} {a} {b}"


@supervised
async def by_keyword_and_async(a: int, *, run: Run) -> str:
    """Take a run by its keyword."""
    return f"{run.name} {a}"


class TakesRunByKeyword:
    """Has a method that takes its run by keyword."""

    @supervised
    def method(self, *, run: Run) -> str:
        """Take a run by its keyword."""
        return run.name


@supervised
def takes_keywords(a: int, **others: object) -> str:
    """Take no run: the parameters stay as they are."""
    return f"{a} {others}"


@supervised
def takes_any_keyword(a: int, **others: Any) -> str:
    """Take no run: pyright keeps the parameters, and mypy makes Any of them."""
    return f"{a} {others}"


assert_type(by_keyword, Callable[..., str])
assert_type(by_keyword_after_one, Callable[..., str])
assert_type(by_keyword_after_more, Callable[..., str])
assert_type(TakesRunByKeyword().method(), str)
assert_type(takes_keywords(1, b=2), str)
takes_keywords("x")  # type: ignore[arg-type]  # a is a number
if MYPY:
    assert_type(takes_any_keyword(1), Any)  # type: ignore[no-untyped-call]  # what the reference says of it
else:
    assert_type(takes_any_keyword(1, b=2), str)
    takes_any_keyword("x")  # type: ignore[arg-type]  # a is a number


# Coroutines and generators


@supervised
async def coroutine(run: Run, a: int) -> str:
    """Take a run."""
    return f"{run.name} {a}"


@supervised("generator")
def generator(run: Run, a: int) -> Generator[int, str, bool]:
    """Take a run."""
    yield a
    return bool(run)


@supervised
async def async_generator(a: int) -> AsyncIterator[int]:
    """Take no run."""
    yield a


async def use_them() -> None:
    """Await and loop."""
    assert_type(await coroutine(1), str)
    assert_type(await Load().coroutine(1), str)
    assert_type(await by_keyword_and_async(1), str)
    async for item in async_generator(1):
        assert_type(item, int)
    async with supervise("block") as run:
        assert_type(run, Run)
        async for thing in run.track(async_generator(1), total=3):
            assert_type(thing, int)


waiting: Callable[[int], Coroutine[Any, Any, str]] = coroutine
assert_type(generator(1), Generator[int, str, bool])
for number in generator(1):
    assert_type(number, int)


# Blocks


with supervise("block", handlers=[ConsoleHandler()], log_path="x.log", delivery_deadline_s=5, reraise=False) as block:
    assert_type(block, Run)
    assert_type(block.outcome, Outcome | None)
    assert_type(block.duration_s, float)
    assert_type(block.report(), RunReport)
    assert_type(block.track([1, 2]), Iterator[int])
    for text in block.track({"a": 1}, total=1, message="reading"):
        assert_type(text, str)
    block.notify("subject", "text", attachments=["one.log", None])
    block.notify(MessageDetails("subject", "text", "one.log"))
    block.notify(5)  # type: ignore[arg-type]  # no subject
    block.progress(1, total=2, message="reading")
    block.progress("x")  # type: ignore[arg-type]  # no number
    block.record(rows=1, county="Salt Lake")
assert_type(current_run(), Run | None)


# Settings that are wrong

anything: Any = None

supervise("block", handler=[])  # type: ignore[call-arg]  # misspelt
supervise(5)  # type: ignore[arg-type]  # no name
supervise("block", delivery_deadline_s="5")  # type: ignore[arg-type]  # no number
supervise("block", anything)  # type: ignore[call-arg]  # only the name may come without its keyword
supervise(handlers=3)  # type: ignore[arg-type]  # no handler
supervise(on_overdue="stop")  # type: ignore[arg-type]  # not among the texts that it takes
supervised("block", handler=[])  # type: ignore[call-overload]  # misspelt
supervised("block", delivery_deadline_s="5")  # type: ignore[call-overload]  # no number
supervised(handlers=3)  # type: ignore[call-overload]  # no handler
Supervisor("many", handler=[])  # type: ignore[call-arg]  # misspelt
Supervisor("many", max_duration_s="x")  # type: ignore[arg-type]  # no number
Supervisor("many", anything)  # type: ignore[call-arg]  # only the name may come without its keyword
Supervisor(handlers=3)  # type: ignore[arg-type]  # no handler
Supervisor(handle_errors="yes")  # type: ignore[arg-type]  # neither True nor False
Supervisor().supervise("block", handler=[])  # type: ignore[call-arg]  # misspelt
Supervisor().supervise("block", stall_after_s="x")  # type: ignore[arg-type]  # no number
Supervisor().supervise("block", handle_errors=True)  # type: ignore[call-arg]  # the process is not one run's
Supervisor().supervised("block", handler=[])  # type: ignore[call-overload]  # misspelt
Supervisor().supervised(grace_s="x")  # type: ignore[call-overload]  # no number
Supervisor().notify("subject", atachments="x.csv")  # type: ignore[call-arg]  # misspelt
Supervisor().notify("subject", html=5)  # type: ignore[arg-type]  # no text
Supervisor().notify(5)  # type: ignore[arg-type]  # no subject


# The same settings for many runs

details: OldMessageDetails = MessageDetails("subject", attachments="one.log", blocks=[{"type": "divider"}])
old: Supervisor = OldSupervisor(handle_errors=True)

sup = Supervisor("parcels", handlers=[ConsoleHandler()], handle_errors=False)
sup.notify("subject", "text")
sup.notify(MessageDetails("subject", "text"))
sup.add_message_handler(ConsoleHandler())
sup.add_message_handler(5)  # type: ignore[arg-type]  # it does not send
with sup.supervise("block") as of_supervisor:
    assert_type(of_supervisor, Run)


@sup.supervised
def of_supervisor_bare(run: Run, a: int) -> str:
    """Take a run."""
    return f"{run.name} {a}"


@sup.supervised("named", report_on=["success"])
def of_supervisor_named(a: int) -> bool:
    """Take no run."""
    return bool(a)


assert_type(of_supervisor_bare(1), str)
assert_type(of_supervisor_named(1), bool)
of_supervisor_bare("x")  # type: ignore[arg-type]  # a is a number
