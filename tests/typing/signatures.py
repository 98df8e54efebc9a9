"""What type checkers make of the public functions; mypy reads this, and ``test_typing.py`` lets it.

Nothing here is run. A line that mypy would take although it is wrong has a ``type: ignore``, which mypy itself
reports when there is nothing to ignore (``warn_unused_ignores``).
"""

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


supervise("block", handler=[])  # type: ignore[call-arg]  # misspelt
supervise(5)  # type: ignore[arg-type]  # no name
supervise("block", delivery_deadline_s="5")  # type: ignore[arg-type]  # no number
supervise("block", [])  # type: ignore[call-arg]  # only the name may come without its keyword
supervised("block", handler=[])  # type: ignore[call-overload]  # misspelt
supervised("block", delivery_deadline_s="5")  # type: ignore[call-overload]  # no number


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
