"""Copies of the attachments of messages that wait in memory: in a private temporary directory, until they are settled.

Most runs have no such message, so this stands apart: what it needs takes a while to load.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from supervisor._models.values import Attachment, Delivery, MessageDetails
    from supervisor._store.essentials import Pack

_process_of: dict[str, int] = {}
"""The temporary directories that are there, and the process that made each."""


class MemoryAttachments:
    """Keep the copies that belong to one outbox in memory.

    Args:
        limit_bytes: The most bytes that one copy may have.

    Attributes:
        root: The temporary directory; "" before something is copied, and when none can be made.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._taken: dict[str, tuple[str, tuple[Attachment, ...]]] = {}
        self.root = ""

    def take(self, message: MessageDetails, take: Pack) -> None:
        """Copy the attachments of a message, unless that was done; the note of one without a copy says why."""
        if message.id in self._taken:
            return
        try:
            directory = tempfile.mkdtemp(dir=self._made_root())
        except OSError as error:
            self._taken[message.id] = ("", tuple(_not_copied(each, error) for each in message.attachments))
            return
        self._taken[message.id] = (
            directory,
            tuple(
                self._take_one(each, Path(directory, str(position)), take)
                for position, each in enumerate(message.attachments)
            ),
        )

    def _made_root(self) -> str:
        if not self.root:
            self.root = tempfile.mkdtemp(prefix="supervisor-")
            _process_of[self.root] = os.getpid()
        return self.root

    def _take_one(self, attachment: Attachment, directory: Path, take: Pack) -> Attachment:
        try:
            directory.mkdir(mode=0o700)
            return take(attachment, directory, self._limit_bytes) or attachment
        except OSError as error:
            return _not_copied(attachment, error)

    def in_place(self, delivery: Delivery) -> Delivery:
        """Return a delivery with the copies in the place of the originals."""
        _, taken = self._taken.get(delivery.message.id, ("", None))
        if taken is None:
            return delivery
        return attrs.evolve(delivery, message=attrs.evolve(delivery.message, attachments=taken))

    def forget(self, message_id: str) -> None:
        """Remove the copies of a message; the directory goes with the last of them."""
        directory, _ = self._taken.pop(message_id, ("", ()))
        if directory:
            shutil.rmtree(directory, ignore_errors=True)
        if self.root and not self._taken:
            root, self.root = self.root, ""
            _remove(root)


def _not_copied(attachment: Attachment, error: OSError) -> Attachment:
    reason = "too large" if error.errno == errno.EFBIG else error.strerror or str(error)
    return attrs.evolve(attachment, note="; ".join(filter(None, (attachment.note, f"no copy kept: {reason}"))))


def _remove(root: str) -> None:
    shutil.rmtree(root, ignore_errors=True)
    _process_of.pop(root, None)


def remove_all() -> None:
    """Remove what is left at the end of the process: what waits in memory ends with it."""
    for root, process in tuple(_process_of.items()):
        if process == os.getpid():
            _remove(root)
