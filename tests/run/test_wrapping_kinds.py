"""``supervised`` around coroutines, generators and async generators."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any

import pytest
from recorders import Recorder

from supervisor import Run, current_run, supervise, supervised

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

quietly = functools.partial(supervised, journal=False)


def name_of_the_run() -> str:
    """Return the name of the run that is current here."""
    run = current_run()
    return run.name if run is not None else "none"


# Coroutines


@quietly("coroutine")
async def coroutine(run: Run, a: int) -> tuple[str, int]:
    """Wait a little."""
    await asyncio.sleep(0)
    assert current_run() is run
    return run.name, a


class CallsLater:
    """An object whose call is a coroutine."""

    async def __call__(self, a: int) -> tuple[str, int]:
        """Return the name of the run."""
        await asyncio.sleep(0)
        return name_of_the_run(), a


def test_a_coroutine_function_stays_one() -> None:
    """A coroutine function stays one to look at, and its run lasts until it has returned."""
    assert inspect.iscoroutinefunction(coroutine)
    assert asyncio.run(coroutine(3)) == ("coroutine", 3)


def test_a_coroutine_that_nobody_awaits_starts_no_run() -> None:
    """Calling is not running: the run begins with the first step."""
    begun: list[str] = []

    @quietly()
    async def work() -> None:
        begun.append(name_of_the_run())

    waiting = work()
    assert begun == []
    waiting.close()
    assert begun == []


def test_an_object_with_an_async_call() -> None:
    """An object whose ``__call__`` is a coroutine function is wrapped as one."""
    assert asyncio.run(quietly("object")(CallsLater())(4)) == ("object", 4)


def test_an_async_method() -> None:
    """An async method gets itself and its run."""

    class Load:
        @quietly("async method")
        async def parcels(self, run: Run, a: int) -> tuple[str, int]:
            await asyncio.sleep(0)
            return run.name, a

    assert asyncio.run(Load().parcels(5)) == ("async method", 5)


def test_concurrent_tasks_share_nothing() -> None:
    """Tasks of one decorated coroutine, interleaved, each see their own run."""

    @quietly()
    async def work(run: Run, n: int) -> tuple[str, int]:
        for _ in range(3):
            run.record(n=n)
            await asyncio.sleep(0)
            assert current_run() is run
        return run.id, run.values["n"]

    async def many() -> list[tuple[str, int]]:
        results: list[tuple[str, int]] = await asyncio.gather(*(work(n) for n in range(5)))
        return results

    results = asyncio.run(many())
    assert len({one for one, _ in results}) == 5
    assert [n for _, n in results] == [0, 1, 2, 3, 4]


def test_the_exception_of_a_coroutine_leaves_it() -> None:
    """What a coroutine raises is reported and leaves it unchanged."""
    recorder, error = Recorder(), KeyError("apn")

    @quietly("fails", handlers=[recorder])
    async def work() -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(KeyError) as caught:
        asyncio.run(work())
    assert caught.value is error
    assert recorder.received == ["failure"]


def test_messages_of_a_coroutine_do_not_hold_up_the_loop() -> None:
    """While the end of a run waits for a slow handler, other tasks of the loop go on."""
    ticks = 0

    class Slow(Recorder):
        def send_message(self, details: Any, /) -> None:
            assert go_on.wait(30)
            super().send_message(details)

    go_on, slow = threading.Event(), Slow()

    @quietly("slow", handlers=[slow], report_on=["success"])
    async def work() -> None: ...

    async def tick() -> None:
        nonlocal ticks
        while ticks < 20:
            await asyncio.sleep(0.001)
            ticks += 1
        go_on.set()

    async def both() -> None:
        await asyncio.gather(work(), tick())

    asyncio.run(both())
    assert ticks == 20
    assert slow.received == ["success"]


# Generators


@quietly("generator")
def generator(run: Run, n: int) -> Generator[str, str | None, int]:
    """Yield what it was sent."""
    sent: str | None = "nothing"
    for _ in range(n):
        assert current_run() is run
        sent = yield f"{run.name} {sent}"
    return n


def test_a_generator_function_stays_one() -> None:
    """A generator function stays one to look at, and yields what it would."""
    assert inspect.isgeneratorfunction(generator)
    assert list(generator(2)) == ["generator nothing", "generator None"]


def test_sent_values_and_the_return_value_get_through() -> None:
    """What the consumer sends reaches the generator, and what it returns reaches ``yield from``."""
    one = generator(2)
    assert next(one) == "generator nothing"
    assert one.send("hello") == "generator hello"
    with pytest.raises(StopIteration) as end:
        one.send("bye")
    assert end.value.value == 2

    def delegate() -> Iterator[Any]:
        result = yield from generator(1)
        yield result

    assert list(delegate()) == ["generator nothing", 1]


def test_a_thrown_exception_gets_through_and_can_be_caught() -> None:
    """What the consumer throws is raised at the ``yield``, in the run, and may be handled there."""

    @quietly()
    def careful(run: Run) -> Iterator[str]:
        try:
            yield "first"
        except KeyError as error:
            assert current_run() is run
            yield f"caught {error}"

    one = careful()
    assert next(one) == "first"
    assert one.throw(KeyError("apn")) == "caught 'apn'"
    assert list(one) == []


def test_a_thrown_exception_that_is_not_caught_is_the_runs_failure() -> None:
    """What the consumer throws and nobody catches leaves by the consumer's call, and is reported."""
    recorder, error = Recorder(), KeyError("apn")

    @quietly("fails", handlers=[recorder])
    def work() -> Iterator[int]:
        yield 1

    one = work()
    next(one)
    with pytest.raises(KeyError) as caught:
        one.throw(error)
    assert caught.value is error
    assert recorder.received == ["failure"]


def test_closing_a_generator_ends_its_run_well() -> None:
    """A consumer that has had enough closes the generator: its ``finally`` runs in the run, which succeeded."""
    recorder, cleaned = Recorder(), []

    @quietly("closed", handlers=[recorder], report_on=["success"])
    def work(run: Run) -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            cleaned.append(current_run() is run)

    for _ in work():
        break
    one = work()
    next(one)
    one.close()
    assert cleaned == [True, True]
    assert recorder.received == ["success", "success"]


def test_a_generator_may_refuse_to_be_closed_as_before() -> None:
    """A generator that yields when it is closed is the RuntimeError that it is without us."""

    @quietly()
    def stubborn() -> Iterator[int]:
        while True:
            try:
                yield 1
            except GeneratorExit:
                yield 2

    one = stubborn()
    next(one)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        one.close()


def test_the_consumer_is_not_in_the_run() -> None:
    """Between two items, the code around a generator is outside of its run; so are the runs that it starts."""
    one = generator(3)
    with supervise("outer", journal=False) as outer:
        next(one)
        assert current_run() is outer
        next(one)
        assert current_run() is outer
    assert current_run() is None
    next(one)
    assert current_run() is None
    one.close()
    assert current_run() is None


def test_interleaved_generators_keep_their_runs_apart() -> None:
    """Two generators in turn each see their own run."""

    @quietly()
    def work(run: Run) -> Iterator[Run]:
        for _ in range(3):
            assert current_run() is run
            yield run

    pairs = list(zip(work(), work(), strict=True))
    assert len({one for one, _ in pairs}) == 1
    assert all(one is not two for one, two in pairs)
    assert current_run() is None


def test_a_generator_that_is_dropped_does_no_harm() -> None:
    """A generator that was begun and thrown away ends its run, and the run around it goes on."""
    with supervise("outer", journal=False) as outer:
        next(generator(3))
        assert current_run() is outer


# Async generators


@quietly("async generator")
async def async_generator(run: Run, n: int) -> AsyncIterator[str]:
    """Yield the name of the run."""
    for i in range(n):
        await asyncio.sleep(0)
        assert current_run() is run
        yield f"{run.name} {i}"


def test_an_async_generator_function_stays_one() -> None:
    """An async generator function stays one to look at, and its consumer is not in the run."""

    async def consume() -> list[str]:
        return [f"{item}, {name_of_the_run()}" async for item in async_generator(2)]

    assert inspect.isasyncgenfunction(async_generator)
    assert asyncio.run(consume()) == ["async generator 0, none", "async generator 1, none"]


def test_asend_athrow_and_aclose_get_through() -> None:
    """What the consumer sends and throws is found at the ``yield``; closing runs its ``finally`` in the run."""
    seen: list[Any] = []
    recorder = Recorder()

    @quietly("talks", handlers=[recorder], report_on=["success"])
    async def work(run: Run) -> Any:
        try:
            while True:
                try:
                    seen.append((yield len(seen)))
                except KeyError as error:
                    seen.append(str(error))
        finally:
            seen.append(current_run() is run)

    async def consume() -> list[int]:
        one = work()
        items = [await anext(one), await one.asend("hello"), await one.athrow(KeyError("apn"))]
        await one.aclose()
        return items

    assert asyncio.run(consume()) == [0, 1, 2]
    assert seen == ["hello", "'apn'", True]
    assert recorder.received == ["success"]


def test_the_exception_of_an_async_generator_leaves_it() -> None:
    """What an async generator raises is reported and reaches its consumer."""
    recorder = Recorder()

    @quietly("fails", handlers=[recorder])
    async def work() -> AsyncIterator[int]:
        yield 1
        raise KeyError("apn")

    async def consume() -> list[int]:
        return [item async for item in work()]

    with pytest.raises(KeyError):
        asyncio.run(consume())
    assert recorder.received == ["failure"]
