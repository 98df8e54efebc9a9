"""Copies of the attachments of waiting messages: beside the journal or, of those in memory, in a temporary directory.

A script may delete or rewrite its files as soon as a message is accepted. So each is taken at once, as it is; when the
message goes on waiting in the journal after an attempt, a packed copy replaces that. The copies are bounded in all; a
message whose copy was deleted for that is sent with a note in its place.

Most runs have no such message: this is loaded when there is one, since what it needs takes a while to load.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import attrs

from supervisor._store.files import give_to_owner, make_directory
from supervisor._store.serialization import UnreadableError, dump, load, load_message

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from supervisor._models.values import Attachment, Delivery, MessageDetails
    from supervisor._store.essentials import Pack

Row: TypeAlias = "tuple[Any, ...]"

FOLDER = "outbox"
_AS_IT_IS = "-as-it-is"
"""What the folder of a copy ends with that was neither compressed nor redacted."""
ORPHAN_AFTER_S = 3_600.0

_WAITS = "SELECT 1 FROM delivery WHERE key = ? AND message_id = ? AND body IS NOT NULL"
_LACKS_COPIES = (
    f"{_WAITS} AND NOT EXISTS (SELECT 1 FROM attachment_copy WHERE attachment_copy.message_id = delivery.message_id)"  # noqa: S608 - made of constants alone
)
_COPIES = "SELECT position, attachment FROM attachment_copy WHERE message_id = ?"
_TO_PACK = """
SELECT position, folder, bytes, is_log, attachment FROM attachment_copy WHERE message_id = ? AND folder LIKE ?
"""
_TAKEN = "SELECT DISTINCT message_id FROM attachment_copy WHERE folder LIKE ?"
_IS_THERE = "SELECT 1 FROM attachment_copy WHERE message_id = ? AND position = ? AND folder = ?"
_REPLACE = "UPDATE attachment_copy SET folder = ?, bytes = ?, attachment = ? WHERE message_id = ? AND position = ?"
# Whose lease has ended may be sending all the same.
_IS_SENT_BY_ANOTHER = "SELECT 1 FROM delivery WHERE message_id = ? AND key <> ? AND lease_until IS NOT NULL LIMIT 1"


class _Copy(NamedTuple):
    """What becomes of one attachment; ``folder`` is None when there is no copy."""

    folder: str | None
    size_bytes: int
    is_log: bool
    attachment: Attachment


class _File(Protocol):
    """The journal's file, which knows which copies belong to which message."""

    directory: str

    def rows(self, sql: str, parameters: Sequence[Any] = (), /) -> list[Row]:
        """Return what one query finds."""

    def write(self) -> AbstractContextManager[sqlite3.Connection]:
        """Do several things in one commit."""


class AttachmentStore:
    """Keep copies in the folder ``outbox`` (mode 0700, files 0600) of the journal's directory.

    What is taken at once survives power loss, as the message does.

    Args:
        database: The journal's file.
        limit_bytes: The most that all copies may take.
        clock: Returns seconds since 1970.

    Attributes:
        root: The folder.
    """

    def __init__(self, database: _File, *, limit_bytes: int, clock: Callable[[], float]) -> None:
        self._database = database
        self._limit_bytes = limit_bytes
        self._clock = clock
        self.root = Path(database.directory, FOLDER)

    def take(self, delivery: Delivery, take: Pack) -> Delivery:
        """Copy or link the attachments of an accepted delivery as they are, once for all handlers."""
        return self._copy_once(delivery, take, ending=_AS_IT_IS) if self._waits(delivery) else delivery

    def keep(self, delivery: Delivery, pack: Pack) -> Delivery:
        """Pack the attachments of a waiting delivery, once for all handlers, and return it with the copies."""
        self.pack_taken(delivery.message.id, delivery.key, pack)
        return self._copy_once(delivery, pack) if self._waits(delivery) else delivery

    def in_place(self, delivery: Delivery) -> Delivery:
        """Return a delivery with the copies that there are in the place of the originals."""
        copies = self._database.rows(_COPIES, (delivery.message.id,))
        return attrs.evolve(delivery, message=self.put_in_place(delivery.message, copies))

    def _waits(self, delivery: Delivery) -> bool:
        message = delivery.message
        return bool(message.attachments and self._database.rows(_WAITS, (delivery.key, message.id)))

    def _copy_once(self, delivery: Delivery, copy: Pack, *, ending: str = "") -> Delivery:
        message_id = delivery.message.id
        if not self._database.rows("SELECT 1 FROM attachment_copy WHERE message_id = ? LIMIT 1", (message_id,)):
            self._note(delivery.key, message_id, self._make(delivery.key, delivery.message, copy, ending))
            self._stay_within_limit()
        return self.in_place(delivery)

    def taken(self) -> list[str]:
        """Return the ids of the messages with copies that are neither compressed nor redacted yet."""
        return [message_id for (message_id,) in self._database.rows(_TAKEN, (f"%{_AS_IT_IS}",))]

    def pack_taken(self, message_id: str, key: int, pack: Pack) -> None:
        """Replace what was taken by packed copies, unless somebody is sending it.

        Args:
            message_id: The message.
            key: The delivery that the caller has in hand; 0 for none.
            pack: Makes one packed copy.
        """
        rows = self._database.rows(_TO_PACK, (message_id, f"%{_AS_IT_IS}"))
        is_used = (message_id, key)
        if not rows or self._database.rows(_IS_SENT_BY_ANOTHER, is_used):
            return
        top = _new_folder(key)
        for position, folder, size_bytes, is_log, data in rows:
            taken = self._with_path(load(data))
            packed = self._copy(taken, f"{top}/{position}", pack, is_log=bool(is_log))
            with self._database.write() as connection:
                is_there = connection.execute(_IS_THERE, (message_id, position, folder)).fetchone() is not None
                is_ours = is_there and connection.execute(_IS_SENT_BY_ANOTHER, is_used).fetchone() is None
                if is_ours and packed.folder is not None:
                    new = (packed.folder, packed.size_bytes, dump(packed.attachment), message_id, position)
                    connection.execute(_REPLACE, new)
                elif is_ours and not size_bytes:  # a link to more than may be copied, which must not stay
                    self._give_up(connection, message_id, position)
                else:
                    is_ours = False
            self.remove([each for each in ((folder,) if is_ours else (packed.folder,)) if each is not None])

    def _with_path(self, attachment: Attachment) -> Attachment:
        return attrs.evolve(attachment, path=Path(self._database.directory, attachment.path))

    def rows(self, connection: sqlite3.Connection, message_id: str) -> list[Row]:
        """Return the copies of a message, for :meth:`put_in_place`."""
        return connection.execute(_COPIES, (message_id,)).fetchall()

    def put_in_place(self, message: MessageDetails, copies: Iterable[Row]) -> MessageDetails:
        """Return a message with the copies in the place of the originals."""
        attachments = dict(enumerate(message.attachments))
        for position, data in copies:
            try:
                attachment = load(data)
            except UnreadableError:  # the original may still be there
                continue
            attachments[position] = self._with_path(attachment)
        if not attachments:
            return message
        return attrs.evolve(message, attachments=tuple(attachments[each] for each in sorted(attachments)))

    def forget(self, connection: sqlite3.Connection, message_id: str) -> list[str]:
        """Forget a message's copies once no delivery needs them.

        Returns:
            Their folders, for :meth:`remove` after the commit.
        """
        rows = connection.execute("SELECT folder FROM attachment_copy WHERE message_id = ?", (message_id,)).fetchall()
        # Few messages have copies: scanning the deliveries here is better than an index that each of them maintains.
        needed = "SELECT 1 FROM delivery WHERE message_id = ? AND state IN ('pending', 'failed', 'held') LIMIT 1"
        if not rows or connection.execute(needed, (message_id,)).fetchone():
            return []
        connection.execute("DELETE FROM attachment_copy WHERE message_id = ?", (message_id,))
        return [folder for (folder,) in rows if folder is not None]

    def remove(self, folders: Iterable[str]) -> None:
        """Delete copies. :meth:`sweep` deletes later what cannot be deleted now, such as open files on Windows."""
        for folder in folders:
            shutil.rmtree(self.root / folder, ignore_errors=True)
            with suppress(OSError):  # another copy of the same message is still in it
                (self.root / folder).parent.rmdir()

    def sweep(self) -> None:
        """Delete folders that belong to no message, an hour after a kill left them."""
        known = {
            folder.partition("/")[0]
            for (folder,) in self._database.rows("SELECT folder FROM attachment_copy WHERE folder > ''")
        }
        before = self._clock() - ORPHAN_AFTER_S
        try:
            found = list(os.scandir(self.root))
            orphans = [each.path for each in found if each.name not in known and each.stat().st_mtime < before]
        except OSError:
            return
        for orphan in orphans:
            shutil.rmtree(orphan, ignore_errors=True)

    def _make(self, key: int, message: MessageDetails, pack: Pack, ending: str) -> list[_Copy]:
        """Copy each attachment into a folder of its own, which no other process uses."""
        top = _new_folder(key)
        log_path = message.report.log_path if message.report is not None else None
        return [
            self._copy(attachment, f"{top}/{position}{ending}", pack, is_log=_is_log(attachment, log_path))
            for position, attachment in enumerate(message.attachments)
        ]

    def _copy(self, attachment: Attachment, folder: str, pack: Pack, *, is_log: bool) -> _Copy:
        directory = self.root / folder
        reason = ""
        try:
            make_directory(str(directory))
            copy = pack(attachment, directory, self._limit_bytes)
            size_bytes = _make_private(directory)
        except OSError as error:
            copy, size_bytes, reason = None, 0, f"no copy kept: {error.strerror or error}"
            if error.errno == errno.EFBIG:
                reason = self._dropped()
        if size_bytes > self._limit_bytes:
            if copy is not None and folder.endswith(_AS_IT_IS):  # a link, which takes no room
                size_bytes = 0
            else:
                copy, reason = None, self._dropped()
        if copy is None:
            self.remove([folder])
            return _Copy(None, 0, is_log, _with_note(attachment, reason))
        relative = Path(os.path.relpath(copy.path, self._database.directory))
        return _Copy(folder, size_bytes, is_log, attrs.evolve(copy, path=relative))

    def _note(self, key: int, message_id: str, copies: list[_Copy]) -> None:
        """Write down what was copied, unless the message was sent or another process was faster."""
        with self._database.write() as connection:
            is_wanted = connection.execute(_LACKS_COPIES, (key, message_id)).fetchone()
            if is_wanted:
                connection.executemany(
                    "INSERT INTO attachment_copy (message_id, position, delivery, folder, bytes, is_log, attachment) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [
                        (message_id, position, key, each.folder, each.size_bytes, each.is_log, dump(each.attachment))
                        for position, each in enumerate(copies)
                    ],
                )
        if not is_wanted:
            self.remove(each.folder for each in copies if each.folder is not None)

    def _stay_within_limit(self) -> None:
        """Give copies up until the rest is within the limit: logs first, the oldest first."""
        folders: list[str] = []
        with self._database.write() as connection:
            total = connection.execute("SELECT coalesce(sum(bytes), 0) FROM attachment_copy").fetchone()[0]
            while total > self._limit_bytes:
                message_id, position, folder, size_bytes = connection.execute(
                    "SELECT message_id, position, folder, bytes FROM attachment_copy WHERE folder IS NOT NULL "
                    "ORDER BY is_log DESC, delivery, position LIMIT 1"
                ).fetchone()
                self._give_up(connection, message_id, position)
                folders.append(folder)
                total -= size_bytes
        self.remove(folders)

    def _give_up(self, connection: sqlite3.Connection, message_id: str, position: int) -> None:
        of_any = "SELECT body FROM delivery WHERE message_id = ? AND body IS NOT NULL LIMIT 1"
        (body,) = connection.execute(of_any, (message_id,)).fetchone() or (None,)
        try:
            original = dump(_with_note(load_message(body).attachments[position], self._dropped()))
        except UnreadableError:
            original = b""
        connection.execute(
            "UPDATE attachment_copy SET folder = NULL, bytes = 0, attachment = ? WHERE message_id = ? AND position = ?",
            (original, message_id, position),
        )

    def _dropped(self) -> str:
        from supervisor._text import size

        return f"copy dropped: waiting messages may keep {size(self._limit_bytes)} of copies"


def _new_folder(key: int) -> str:
    """Return the name of a folder that no other process uses."""
    return f"{key}-{os.urandom(4).hex()}"


def _is_log(attachment: Attachment, log_path: Path | None) -> bool:
    return attachment.path == log_path or attachment.path.suffix.lower() == ".log"


def _with_note(attachment: Attachment, note: str) -> Attachment:
    return attrs.evolve(attachment, note="; ".join(filter(None, (attachment.note, note))))


def _make_private(directory: Path) -> int:
    """Let only the owner read the files of a directory, and return their size in bytes."""
    size_bytes = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118 - walk gives texts
            info = os.lstat(path)
            if info.st_nlink == 1:  # what a link shows is the script's, and so is its mode
                os.chmod(path, 0o600)  # noqa: PTH101 - the path is a text, and pathlib costs 3 ms
                give_to_owner(path, str(directory))
            size_bytes += info.st_size
    return size_bytes


# Of messages that wait in memory

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
        self._lock = threading.Lock()  # no directory is made in one that is being removed
        self.root = ""

    def take(self, message: MessageDetails, take: Pack) -> None:
        """Copy the attachments of a message, unless that was done; the note of one without a copy says why."""
        import tempfile

        with self._lock:
            if message.id in self._taken:
                return
            try:
                directory = tempfile.mkdtemp(dir=self._made_root())
            except OSError as error:
                self._taken[message.id] = ("", tuple(_not_copied(each, error) for each in message.attachments))
                return
            self._taken[message.id] = (directory, message.attachments)
        self._taken[message.id] = (
            directory,
            tuple(
                self._take_one(each, Path(directory, str(position)), take)
                for position, each in enumerate(message.attachments)
            ),
        )

    def _made_root(self) -> str:
        if not self.root:
            import tempfile

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
        with self._lock:
            if self.root and not self._taken:
                root, self.root = self.root, ""
                _remove(root)


def _not_copied(attachment: Attachment, error: OSError) -> Attachment:
    reason = "too large" if error.errno == errno.EFBIG else error.strerror or str(error)
    return _with_note(attachment, f"no copy kept: {reason}")


def _remove(root: str) -> None:
    shutil.rmtree(root, ignore_errors=True)
    _process_of.pop(root, None)


def remove_all() -> None:
    """Remove what is left at the end of the process: what waits in memory ends with it."""
    for root, process in tuple(_process_of.items()):
        if process == os.getpid():
            _remove(root)
