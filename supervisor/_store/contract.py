"""What delivery asks of the place where messages wait.

- The one way in which the journal fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from supervisor import _log
from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from supervisor._models.kinds import DeliveryState
    from supervisor._models.values import Attachment, Delivery, MessageDetails
    from supervisor._store.records import WaitingDelivery

LEASE_S = 300.0
"""How long a claimed delivery belongs to its claimer, if the claimer's process lives that long."""

COPIES_LIMIT_BYTES = 200 * 1024 * 1024
"""The most that the copies of waiting messages' attachments may take."""


class Pack(Protocol):
    """Makes one copy of an attachment."""

    def __call__(self, attachment: Attachment, directory: Path, /) -> Attachment | None:
        """Write a compressed copy into an empty directory.

        Args:
            attachment: The original.
            directory: Where the copy belongs; it is private, and empty.

        Returns:
            The attachment that the copy is, its ``path`` in ``directory``; None when no copy can be had.

        Raises:
            OSError: The copy cannot be read or written; the message then goes without one, and says why.
        """


class Outbox(Protocol):
    """The deliveries that are not settled yet: on disk (:class:`Journal`) or in memory (:class:`MemoryOutbox`).

    The promise: accepted = sent + pending + failed (+ dropped by a person). A delivery is claimed before it is
    sent and settled after it, so that no two threads or processes send it at once; a repeat is possible only when
    the claimer was killed between sending and settling, or took longer than its lease, and bears the same message
    id. All methods can be called from any thread. After a fork, a child has none of what its parent claimed.

    Every method raises JournalUnavailable when the file cannot be read or written; nothing was changed then.
    """

    def put(self, message: MessageDetails, handlers: Sequence[str], *, claimed: bool = False) -> tuple[Delivery, ...]:
        """Accept one message for several handlers in one commit; it is durable when this returns.

        Attachments are not copied here, only named: see :meth:`keep_attachments`.

        Args:
            message: What is to be sent. Relative paths of attachments are fixed to the working directory.
            handlers: The names of the handlers; with none, nothing is stored.
            claimed: True leases each delivery to the caller at once, who sends it without another claim.

        Returns:
            One pending delivery for each handler, in their order.
        """

    def claim(self, handler: str, *, own: Collection[int] = ()) -> Delivery | None:
        """Lease the next delivery of a handler that is due.

        A leased delivery is invisible to every other claim, of this process too, until it is settled, its lease
        ends (300 s by default), or its claimer's process is gone.

        Args:
            handler: The name of the handler.
            own: Keys that go first, in the order of acceptance: the messages of this process.

        Returns:
            The delivery, with kept copies of its attachments in the place of the originals where there are some;
            None when nothing is due. After the keys in ``own`` comes what waits longest.
        """

    def renew(self, delivery: Delivery) -> bool:
        """Begin the lease of a delivery anew that this process claimed, right before sending it late.

        Returns:
            False when it is ours no more: another process has claimed it meanwhile, or it is settled.
        """

    def settle(self, delivery: Delivery, state: DeliveryState, *, error: str = "", due_in_s: float = 0.0) -> None:
        """Note how an attempt ended, count it, and end the lease.

        SENT is noted for good whoever says it. What one says who has lost the lease meanwhile is otherwise
        ignored, and so is what is said of a delivery that is settled already.

        Args:
            delivery: What was claimed.
            state: SENT; FAILED, not to be tried again unless a person says so; PENDING, to be tried again.
            error: Why it was not sent.
            due_in_s: Seconds until a PENDING one may be claimed again.
        """

    def state_of(self, delivery: Delivery) -> DeliveryState | None:
        """Return where a delivery stands; None when it is not here, as in a file that was begun anew."""

    def next_due_s(self, handler: str) -> float | None:
        """Return the seconds until something of a handler can be claimed.

        0 means now; None that nothing is waiting. A delivery that a living process has claimed counts from the
        end of its lease.
        """

    def waiting(self, handlers: Sequence[str]) -> set[str]:
        """Return which of these handlers have pending deliveries, due or not, claimed or not."""

    def keep_attachments(self, delivery: Delivery, pack: Pack) -> Delivery:
        """Copy the attachments of a delivery that goes on waiting, so that they can be sent when they are gone.

        Copies are made once for a message, however many handlers wait for it. They are bounded in all (200 MB by
        default): logs are given up first, the oldest first, and the attachment's note then tells
        ("copy dropped: ..."). Does nothing in memory: what waits there does not outlive the originals.

        Args:
            delivery: A pending one; neither its lease nor its state changes.
            pack: Makes one copy.

        Returns:
            The delivery with the copies in the place of the originals.
        """

    def deliveries(self, *, limit: int = 1_000) -> list[WaitingDelivery]:
        """Return what is pending or failed, oldest first, without the messages' texts."""

    def retry(self, key: int) -> bool:
        """Make a failed or waiting delivery due now; return False when there is none with this key.

        One that is claimed at the moment stays with its claimer.
        """

    def drop(self, key: int) -> bool:
        """Forget a failed or waiting delivery for good; return False when there is none with this key."""

    def close(self) -> None:
        """Let go of the file. What is used after it opens it again."""


class JournalUnavailable(SupervisorError):  # noqa: N818 - it tells a state of the machine, not a mistake of the caller
    """Tell that the journal cannot be read or written, and why.

    What was committed before stays as it is; the operation that raised left nothing behind. Whoever catches
    it goes on with a :class:`~supervisor._store.MemoryOutbox`.

    Args:
        path: The journal's file, or the directory where it should be.
        reason: What was found there ("disk I/O error", "Permission denied").
        remedy: What a person can do about it.
    """

    def __init__(self, path: str, reason: str, remedy: str = "") -> None:
        remedy = remedy or "make room and check its permissions, or set SUPERVISOR_STATE to another directory"
        super().__init__(f"journal {path!r}: {reason}; {remedy}")
        self.path = path
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[JournalUnavailable], tuple[str, str, str]]:
        return (type(self), (self.path, self.reason, self.remedy))


_warned: set[tuple[str, str]] = set()


def warn_once(error: JournalUnavailable) -> None:
    """Log that the journal is out of use, once in a process for each file and reason."""
    if (error.path, error.reason) not in _warned:
        _warned.add((error.path, error.reason))
        _log.warning("%s; runs and messages are kept in memory meanwhile", error)
