"""Handlers that are written with async: what they return is awaited, within a deadline."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import TYPE_CHECKING

import pytest

from supervisor import DeliveryError, MessageDetails, supervise
from supervisor._delivery.handler_call import HandlerCall

if TYPE_CHECKING:
    from collections.abc import Awaitable

quiet = functools.partial(supervise, journal=False)


class Async:
    """Sends with a coroutine, and remembers what was sent, in which loop and thread."""

    def __init__(self, *faults: Exception) -> None:
        self.sent: list[str] = []
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self.threads: set[str] = set()
        self.is_closed = False
        self._faults = list(faults)

    async def send_message(self, details: MessageDetails, /) -> None:
        """Send one message."""
        await asyncio.sleep(0)
        self.loops.add(asyncio.get_running_loop())
        self.threads.add(threading.current_thread().name)
        if self._faults:
            raise self._faults.pop(0)
        self.sent.append(details.subject)

    async def close(self) -> None:
        """Remember it."""
        await asyncio.sleep(0)
        self.loops.add(asyncio.get_running_loop())
        self.is_closed = True


def test_a_coroutine_is_awaited() -> None:
    """An async send_message sends each message, all in one loop in the thread of its worker; an async close closes."""
    handler = Async()
    with quiet("night", handlers=handler) as run:
        run.notify("one")
        run.notify("two")
    assert handler.sent == ["one", "two"]
    assert handler.threads.isdisjoint({threading.current_thread().name})
    wait_until_closed(handler)
    assert len(handler.loops) == 1
    assert all(loop.is_closed() for loop in handler.loops)


def wait_until_closed(handler: Async) -> None:
    """Wait for the end of the worker's thread."""
    for thread in threading.enumerate():
        if thread.name in handler.threads:
            thread.join(30)
    assert handler.is_closed


def test_what_a_coroutine_raises_counts_as_ever(log: pytest.LogCaptureFixture) -> None:
    """A coroutine that raises is tried again, or refused for good, as a plain method is."""
    handler = Async(DeliveryError("busy", retry_after_s=0.0), DeliveryError("never", permanent=True))
    with quiet("night", handlers=handler) as run:
        run.notify("one")
    wait_until_closed(handler)
    assert handler.sent == []
    assert "busy" in log.text
    assert "refused 'one': never" in log.text


@pytest.mark.parametrize("is_loop_running", [False, True])
def test_a_script_with_a_loop_of_its_own(*, is_loop_running: bool) -> None:
    """A coroutine is awaited in the worker's loop, also while the script runs one."""
    handler = Async()

    def script() -> None:
        with quiet("night", handlers=handler) as run:
            run.notify("one")

    async def main() -> None:
        script()

    asyncio.run(main()) if is_loop_running else script()
    wait_until_closed(handler)
    assert handler.sent == ["one"]


def test_a_plain_method_that_returns_an_awaitable() -> None:
    """What a plain send_message returns is awaited, if it can be."""
    sent: list[str] = []

    class Later:
        def __init__(self, subject: str) -> None:
            self._subject = subject

        def __await__(self) -> object:
            yield from asyncio.sleep(0).__await__()
            sent.append(self._subject)

    class Plain:
        def send_message(self, details: MessageDetails, /) -> Awaitable[None]:
            return Later(details.subject)  # type: ignore[return-value]

    call = HandlerCall(Plain())
    call.send(MessageDetails("one"))
    call.close()
    assert sent == ["one"]


@pytest.mark.parametrize("is_stubborn", [False, True])
def test_a_coroutine_that_does_not_end_is_cancelled(monkeypatch: pytest.MonkeyPatch, *, is_stubborn: bool) -> None:
    """After the deadline a coroutine is cancelled, and what refuses to be cancelled is left behind."""
    monkeypatch.setattr("supervisor._delivery.handler_call.CANCEL_DEADLINE_S", 0.1)
    events: list[str] = []

    class Hangs:
        async def send_message(self, details: MessageDetails, /) -> None:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                events.append("cancelled")
                if not is_stubborn:
                    raise
                await asyncio.sleep(1)

    call = HandlerCall(Hangs(), deadline_s=0.05)
    with pytest.raises(DeliveryError, match=r"did not come to an end within 0.05 s, and was cancelled") as caught:
        call.send(MessageDetails("one"))
    assert not caught.value.permanent
    assert events[:1] == ["cancelled"]
    call.close()


def test_a_plain_handler_loads_no_asyncio() -> None:
    """A handler without coroutines has no loop."""

    class Plain:
        def send_message(self, details: MessageDetails, /) -> None:
            pass

    call = HandlerCall(Plain())
    call.send(MessageDetails("one"))
    assert call._loop is None
    call.close()
