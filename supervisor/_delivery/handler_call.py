"""Calls of a handler's methods, which may be plain ones or coroutines: a coroutine is awaited until it ends.

A worker has one event loop for its handler, in its own thread, so that a client with open connections can be kept
from one message to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.errors import DeliveryError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

    from supervisor._models.values import MessageDetails, MessageHandler

AWAIT_DEADLINE_S = 60.0
CANCEL_DEADLINE_S = 5.0


class HandlerCall:
    """Calls a handler; one thread uses it.

    Args:
        handler: The handler.
        deadline_s: The most seconds that a coroutine of it may take; then it is cancelled.
    """

    def __init__(self, handler: MessageHandler, deadline_s: float = AWAIT_DEADLINE_S) -> None:
        self._handler = handler
        self._deadline_s = deadline_s
        self._loop: asyncio.AbstractEventLoop | None = None

    def send(self, message: MessageDetails) -> None:
        """Send a message, and return when the handler has done so.

        Raises:
            DeliveryError: It was not accepted, or not within the deadline.
        """
        self._finish("send_message", self._handler.send_message(message))

    def close(self) -> None:
        """Close the handler, if it has a ``close``, and the event loop."""
        close = getattr(self._handler, "close", None)
        try:
            if callable(close):
                self._finish("close", close())
        finally:
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.run_until_complete(_end_of(loop))
                loop.close()

    def _finish(self, what: str, returned: Any) -> None:
        """Await what a method has returned, if it can be awaited."""
        if not hasattr(type(returned), "__await__"):
            return
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._bounded(what, returned))

    async def _bounded(self, what: str, awaitable: Awaitable[Any]) -> None:
        import asyncio

        task = asyncio.ensure_future(awaitable)
        await asyncio.wait({task}, timeout=self._deadline_s)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_DEADLINE_S)
            raise DeliveryError(f"{what} did not come to an end within {self._deadline_s:g} s, and was cancelled")
        await task


async def _end_of(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what a handler has left behind in its loop, and wait a little for its end."""
    import asyncio

    left = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=CANCEL_DEADLINE_S)
    await loop.shutdown_asyncgens()
