"""Take the files that go with a message before the script goes on: it may delete or rewrite them at once.

A file is copied as it is; compressing and redacting takes longer, and is done where the message is sent. A large file
is linked, and a thread copies it in the place of the link. A file that is rewritten in place before, without changing
its size, goes as it is then.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING

import attrs

from supervisor import _log
from supervisor._attachments import compression
from supervisor._attachments.names import safe_file_name
from supervisor._attachments.sources import Source, UnreadableFileError, describes_state, stat_readable
from supervisor._forks import THREAD_PREFIX, guard_forks
from supervisor._store.essentials import copy_at_once_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from supervisor._models.values import Attachment

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_being_replaced: set[Path] = set()


def take(attachment: Attachment, directory: Path, limit_bytes: int) -> Attachment | None:
    """Copy or link what is to be attached into an empty directory.

    Args:
        attachment: The attachment.
        directory: Where the copy belongs.
        limit_bytes: The most bytes that may be copied.

    Returns:
        The attachment with the copy's path and size; None where there is nothing to copy: it is missing, empty, or
        neither a file nor a directory.

    Raises:
        OSError: Nothing can be copied; with ``errno.EFBIG`` because it has more bytes than the limit.
    """
    target = directory / safe_file_name(attachment.name)
    try:
        info = stat_readable(attachment.path)
        if stat.S_ISDIR(info.st_mode):
            return _take_directory(attachment, target, limit_bytes)
        if not info.st_size:
            return None
        size_bytes = _take_file(attachment.path, target, info.st_size, limit_bytes)
    except UnreadableFileError:
        return None
    return attrs.evolve(attachment, path=target, size_bytes=size_bytes)


def _take_file(path: Path, target: Path, size_bytes: int, limit_bytes: int) -> int:
    """Copy or link a file, and return its size."""
    if size_bytes > min(copy_at_once_bytes(), limit_bytes):
        linked_bytes = _link(path, target)
        if linked_bytes is not None:
            return linked_bytes
        if size_bytes > limit_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    try:
        return _copy(path, target)
    except OSError:  # the disk is full, say: a link needs no room
        linked_bytes = _link(path, target)
        if linked_bytes is None:
            raise
        return linked_bytes


def _copy(path: Path, target: Path, size_bytes: int | None = None) -> int:
    """Copy a file so that the copy survives power loss, and return the number of bytes.

    Args:
        path: The file.
        target: The copy, a new file.
        size_bytes: How many bytes to copy at most; None for as many as there are.
    """
    with Source.open(path) as source:
        source.keep_to(size_bytes)
        try:
            with os.fdopen(os.open(target, _NEW_FILE, 0o600), "wb", buffering=0) as output:
                for chunk in source.chunks():
                    _write_all(output.fileno(), chunk)
                os.fsync(output.fileno())
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return source.read_bytes


def _write_all(number: int, data: memoryview | bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(number, left) :]


def _link(path: Path, target: Path) -> int | None:
    """Give a file a second name, and return its size; None where that is not possible."""
    if sys.platform == "win32":  # a file with an open second name cannot be deleted there
        return None
    try:
        os.link(os.path.realpath(path), target)
    except OSError:
        return None
    info = target.lstat()
    if stat.S_ISREG(info.st_mode):
        return info.st_size
    target.unlink()
    return None


def _take_directory(attachment: Attachment, target: Path, limit_bytes: int) -> Attachment:
    """Copy a directory, without what would not be packed either; the note names that."""
    if compression.directory_size_bytes(attachment.path) > limit_bytes:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    left_out = []
    for entry in compression.walk(attachment.path, target.name):
        trouble = entry.left_out or _take_entry(entry, target.parent / entry.name)
        if trouble:
            left_out.append(f"{entry.name} ({trouble})")
    if not left_out:
        return attrs.evolve(attachment, path=target)
    own_note = "" if describes_state(attachment.note) else attachment.note
    note = "; ".join(filter(None, (own_note, compression.omission_note(left_out))))
    return attrs.evolve(attachment, path=target, note=note)


def _take_entry(entry: compression.Entry, target: Path) -> str:
    """Copy one file or make one folder, and return a note about what was wrong with it."""
    if entry.is_directory:
        target.mkdir(mode=0o700)
        return ""
    try:
        _copy(entry.path, target)
        os.utime(target, (entry.mtime, entry.mtime))
    except UnreadableFileError as error:
        return error.note
    return ""


def links_among(attachments: Iterable[Attachment], directory: str, limit_bytes: int) -> list[Attachment]:
    """Return the attachments that were linked and can be copied by now.

    Args:
        attachments: Attachments of a message, some of which were taken.
        directory: Where everything is that was taken: other files may have a second name too.
        limit_bytes: The most bytes that may be copied; a link to a larger file stays until the message is sent.
    """
    return [each for each in attachments if each.path.is_relative_to(directory) and _is_link(each, limit_bytes)]


def replace_in_thread(links: list[Attachment]) -> None:
    """Copy what links show, in the place of the links, while the script goes on.

    Args:
        links: What :func:`links_among` returned.
    """
    if not links:
        return
    guard_forks()
    thread = threading.Thread(
        target=_replace_all, args=(links,), name=f"{THREAD_PREFIX}copies attachments", daemon=True
    )
    with suppress(RuntimeError):  # no threads any more: the interpreter is shutting down, and the links do as well
        Context().run(thread.start)


def _replace_all(links: Iterable[Attachment]) -> None:
    for each in links:
        replace_link(each)


def replace_link(attachment: Attachment) -> None:
    """Copy what a link shows, in the place of the link, unless another thread does.

    Args:
        attachment: One of what :func:`links_among` returned.
    """
    path = attachment.path
    if path in _being_replaced:
        return
    _being_replaced.add(path)
    copy = path.with_name(f".{os.urandom(8).hex()}")
    try:
        _copy(path, copy, attachment.size_bytes)
        copy.replace(path)
    except (OSError, UnreadableFileError) as error:
        _log.info("%s stays a link until it is sent: %s", attachment.name, error)
        with suppress(OSError):
            copy.unlink()
    finally:
        _being_replaced.discard(path)


def _is_link(attachment: Attachment, limit_bytes: int) -> bool:
    """Tell whether a file that was taken has a second name, and may be copied."""
    try:
        info = attachment.path.lstat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(info.st_mode) and info.st_nlink > 1 and (attachment.size_bytes or 0) <= limit_bytes
