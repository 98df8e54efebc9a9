"""How one message is sent: noted in the outbox first, by a handler whose methods may be plain ones or coroutines.

Each worker has one event loop for its handler, in its own thread, so that a client with open connections can be kept
from one message to the next.
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

from supervisor._attachments.names import redacting_with
from supervisor._store.essentials import JournalUnavailable, warn_once
from supervisor.errors import DeliveryError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from supervisor._delivery.pool import Job
    from supervisor._models.values import MessageDetails, MessageHandler
    from supervisor._redaction import Redactor
    from supervisor._store import Outbox

ASK_GIVEN_UP_EVERY_S = 5.0
"""How long a sender does not ask again which messages were given up."""


class Sender:
    """Sends messages by one handler; one thread uses it.

    Args:
        handler: The handler.

    Attributes:
        was_handed_over: Whether the destination may have had the message of the last attempt.
    """

    def __init__(self, handler: MessageHandler) -> None:
        self._handler = handler
        self._call = HandlerCall(handler)
        self.was_handed_over = False
        self._asks_given_up_s = 0.0
        self._given_up: list[tuple[int, str, str]] = []

    def send(self, job: Job, redactor: Callable[[], Redactor]) -> None:
        """Let the handler send a message; the outbox knows of it before the destination can have it.

        Args:
            job: Whose message.
            redactor: Returns what redacts its attachments.

        Raises:
            DeliveryError: It was not accepted, or not within the deadline. A handler may raise anything else too.
        """
        from supervisor._messages import with_delay_note, with_given_up_note
        from supervisor._models.values import noting_handover

        self._given_up = self._unreported(job.outbox)
        self.was_handed_over = False

        def note() -> None:
            if not self.was_handed_over:
                self.was_handed_over = True
                job.renew(is_sent_now=True)

        if not getattr(self._handler, "notes_handover", False):
            note()
        with redacting_with(redactor), noting_handover(note):
            message = with_delay_note(job.delivery.message, datetime.now(UTC))
            self._call.send(with_given_up_note(message, [(handler, subject) for _, handler, subject in self._given_up]))

    def _unreported(self, outbox: Outbox) -> list[tuple[int, str, str]]:
        """Return the deliveries that were given up and that no message has named yet; asked every few seconds only."""
        now = monotonic()
        if now < self._asks_given_up_s:
            return []
        self._asks_given_up_s = now + ASK_GIVEN_UP_EVERY_S
        try:
            return outbox.given_up_unreported()
        except JournalUnavailable as error:
            warn_once(error)
            return []

    def mark_given_up_reported(self, outbox: Outbox) -> None:
        """Note that the deliveries that were given up are named in a message that was accepted."""
        given_up, self._given_up = self._given_up, []
        if given_up:
            try:
                outbox.mark_given_up_reported([key for key, _, _ in given_up])
            except JournalUnavailable as error:
                warn_once(error)

    def close(self) -> None:
        """Close the handler, and its event loop."""
        self._call.close()


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
