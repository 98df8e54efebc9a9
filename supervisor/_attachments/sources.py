"""Reads the files to attach, up to the size they had when they were opened, and never from pipes or devices."""

from __future__ import annotations

import os
import stat
import sys
import threading
from contextvars import copy_context
from io import FileIO
from queue import Full, Queue
from typing import TYPE_CHECKING, Any, Self

import attrs

from supervisor import _text
from supervisor._forks import THREAD_PREFIX
from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from supervisor._models.values import Attachment
    from supervisor._redaction import BytesFilter

CHUNK_BYTES = 256 * 1024
_AHEAD_FROM_BYTES = 8 * 1024 * 1024
_AHEAD_PIECES = 4
_AHEAD_POLL_S = 0.1
MISSING = "missing"
EMPTY = "empty"
DIRECTORY = "a directory"
_NOT_READABLE = "not readable"
_NOT_READ = ", not read"
# Of these, Windows knows O_BINARY alone. O_NONBLOCK: a named pipe may have replaced the file since it was checked.
_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_SHARE_ALL = 1 | 2 | 4  # FILE_SHARE_READ, _WRITE and _DELETE of CreateFile
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UnreadableFileError(SupervisorError):
    """Nothing of a file or directory can be attached; ``note`` says why."""

    def __init__(self, note: str) -> None:
        super().__init__(note)
        self.note = note


def describe(attachment: Attachment) -> Attachment:
    """Fill in an attachment's present size and note, without opening the file.

    Args:
        attachment: The attachment. Its own note is kept unless the file is missing, empty or not readable.

    Returns:
        The attachment with ``size_bytes`` (None where there is no file) and ``note``: "missing", "empty", "a
        directory", "a named pipe, not read", "not readable: ...", or "" otherwise. A file that may not be opened is
        only noticed when it is packed.
    """
    own_note = "" if describes_state(attachment.note) else attachment.note
    try:
        info = stat_readable(attachment.path)
    except UnreadableFileError as error:
        return attrs.evolve(attachment, size_bytes=None, note=error.note)
    if stat.S_ISDIR(info.st_mode):
        return attrs.evolve(attachment, size_bytes=None, note=own_note or DIRECTORY)
    return attrs.evolve(attachment, size_bytes=info.st_size, note=own_note if info.st_size else EMPTY)


def describes_state(note: str) -> bool:
    """Return whether a note describes a state of the file, which may have changed since."""
    return note in {MISSING, EMPTY, DIRECTORY} or note.startswith(_NOT_READABLE) or note.endswith(_NOT_READ)


def stat_readable(path: Path) -> os.stat_result:
    """Return the status of a directory or regular file; links are followed.

    Raises:
        UnreadableError: The path is neither, does not exist, or may not be accessed.
    """
    try:
        info = path.stat()
    except (OSError, ValueError) as error:
        raise as_unreadable(error) from error
    if not stat.S_ISDIR(info.st_mode):
        _refuse_special(info.st_mode)
    return info


def reason_of(error: Exception) -> str:
    """Return why the operating system refused, without the path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return _text.one_line(text)


def as_unreadable(error: Exception) -> UnreadableFileError:
    """Return an error of the operating system as an UnreadableError."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return UnreadableFileError(MISSING)
    return UnreadableFileError(f"{_NOT_READABLE}: {reason_of(error)}")


if sys.platform == "win32":

    def _open_number(path: Path, flags: int, folder: int | None) -> int:
        """Open a file for reading so that it can be deleted and renamed meanwhile: ``os.open`` would prevent that."""
        import _winapi  # it has no public name; asyncio opens its pipes with it
        import msvcrt

        if "\0" in str(path):
            raise ValueError("embedded null character")
        handle = _winapi.CreateFile(
            str(path), _winapi.GENERIC_READ, _SHARE_ALL, _winapi.NULL, _winapi.OPEN_EXISTING, 0, _winapi.NULL
        )
        try:
            return msvcrt.open_osfhandle(handle, flags | os.O_NOINHERIT)
        except OSError:
            _winapi.CloseHandle(handle)
            raise

else:

    def _open_number(path: Path, flags: int, folder: int | None) -> int:
        """Open a file for reading, by its path below a folder."""
        return os.open(path, flags, dir_fd=folder)


class Source:
    """A regular file, open for reading up to the size that it had when it was opened.

    Attributes:
        info: Its status when it was opened.
        size_bytes: Its size then.
        read_bytes: The number of bytes that the last iteration over :meth:`chunks` has read.
        trouble: A note about why that iteration ended early; "" when it did not.
        new_filter: Returns a filter that redacts the chunks of one iteration; None leaves them as they are.
    """

    def __init__(self, file: FileIO, info: os.stat_result) -> None:
        self._file = file
        self.info = info
        self.size_bytes = info.st_size
        self.read_bytes = 0
        self.trouble = ""
        self.new_filter: Callable[[], BytesFilter] | None = None

    @classmethod
    def open(cls, path: Path, *, follow: bool = True, folder: int | None = None) -> Self:
        """Open a regular file; pipes and devices are refused, because reading them may block or have effects.

        Args:
            path: The file.
            follow: False refuses a link as the last part of the path, where the platform supports that.
            folder: The descriptor of the directory that a relative path begins at; None for the working directory.

        Raises:
            UnreadableError: The path is no regular file, does not exist, or may not be read.
        """
        try:
            _refuse_special(os.stat(path, dir_fd=folder, follow_symlinks=follow).st_mode)
            number = _open_number(path, _FLAGS | (0 if follow else _NOFOLLOW), folder)
        except (OSError, ValueError) as error:
            raise as_unreadable(error) from error
        try:
            info = os.fstat(number)
            _refuse_special(info.st_mode)
            return cls(FileIO(number, "rb"), info)
        except (OSError, UnreadableFileError):
            os.close(number)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def chunks(self, start: int = 0) -> Iterator[memoryview | bytes]:
        """Yield the content piece by piece, redacted; a piece is valid until the next one is requested.

        The content of every attachment passes through this method, so redaction cannot be forgotten.

        Args:
            start: The offset to begin at, in bytes.
        """
        if self.new_filter is None:
            yield from self._raw_chunks(start)
            return
        redacted = self._redacted_chunks(self.new_filter(), start)
        yield from redacted if self.size_bytes - start < _AHEAD_FROM_BYTES else read_ahead(redacted)

    def _redacted_chunks(self, redact: BytesFilter, start: int) -> Iterator[bytes]:
        for chunk in self._raw_chunks(start):
            if redacted := redact.feed(chunk):
                yield redacted
        if rest := redact.flush():
            yield rest

    def _raw_chunks(self, start: int) -> Iterator[memoryview]:
        self.read_bytes, self.trouble = 0, ""
        buffer = memoryview(bytearray(CHUNK_BYTES))
        self._file.seek(start)
        while (left := self.size_bytes - start - self.read_bytes) > 0:
            try:
                count = self._file.readinto(buffer[:left])
            except OSError as error:
                self.trouble = self._broken_off(error)
                return
            if not count:
                self.trouble = f"truncated while it was read, {_text.size(self.read_bytes)} are left"
                return
            self.read_bytes += count
            yield buffer[:count]

    def keep_to(self, size_bytes: int | None) -> str:
        """Read no more than the size that the file had when it was attached.

        Args:
            size_bytes: That size; None or 0 when it is not known.

        Returns:
            A note when the file has fewer bytes by now; "" otherwise.
        """
        if not size_bytes or self.size_bytes == size_bytes:
            return ""
        if self.size_bytes < size_bytes:
            return f"shrank after it was attached, {_text.size(self.size_bytes)} of {_text.size(size_bytes)} are left"
        self.size_bytes = size_bytes
        return ""

    def sample(self, start: int, count: int) -> bytes:
        """Return some of the content, or less where it cannot be read; :meth:`chunks` notes the reason later."""
        try:
            self._file.seek(start)
            return self._file.read(min(count, max(0, self.size_bytes - start))) or b""
        except OSError:
            return b""

    def _broken_off(self, error: OSError) -> str:
        where = f" after {_text.size(self.read_bytes)}" if self.read_bytes else ""
        return f"{_NOT_READABLE}{where}: {reason_of(error)}"


def _refuse_special(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _SPECIAL.get(stat.S_IFMT(mode), DIRECTORY if stat.S_ISDIR(mode) else "no regular file")
        raise UnreadableFileError(kind + _NOT_READ)


def read_ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces of an iterator that runs in a thread, which is at most a few pieces ahead.

    Exceptions of the iterator are raised here. A consumer that stops early ends the thread.

    Args:
        pieces: The iterator; it is used in that thread alone.
    """
    queue: Queue[Any] = Queue(_AHEAD_PIECES)
    stopped = threading.Event()
    thread = threading.Thread(
        target=copy_context().run, args=(_make, pieces, queue, stopped), name=f"{THREAD_PREFIX}reads ahead", daemon=True
    )
    thread.start()
    try:
        while isinstance(piece := queue.get(), bytes):
            yield piece
        if piece is not None:
            raise piece
    finally:
        stopped.set()
        thread.join()


def _make(pieces: Iterator[bytes], queue: Queue[Any], stopped: threading.Event) -> None:
    end: BaseException | None = None
    try:
        for piece in pieces:
            _put(piece, queue, stopped)
            if stopped.is_set():
                return
    except BaseException as error:  # noqa: BLE001 - the consumer raises it in its own thread
        end = error
    _put(end, queue, stopped)


def _put(piece: Any, queue: Queue[Any], stopped: threading.Event) -> None:
    while not stopped.is_set():
        try:
            queue.put(piece, timeout=_AHEAD_POLL_S)
        except Full:
            continue
        return
