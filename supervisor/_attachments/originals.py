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
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from supervisor import _log
from supervisor._attachments import compression
from supervisor._attachments.compression import Entry, Tree, directory_size_bytes, size_of_link
from supervisor._attachments.names import safe_file_name
from supervisor._attachments.sources import Source, UnreadableFileError, describes_state, reason_of, stat_readable
from supervisor._forks import THREAD_PREFIX, guard_forks
from supervisor._store.essentials import copy_at_once_bytes
from supervisor._text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from supervisor._models.values import Attachment

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_ROOM_FOR_A_PATH = {errno.ENAMETOOLONG, errno.ENOENT}  # the latter below a folder that was not made
_being_replaced: set[Path] = set()
_linked_bytes: dict[Path, int] = {}
"""How large the files in folders were when they were linked."""


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
        return _copy_content(source, target)


def _copy_content(source: Source, target: Path) -> int:
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
    return size_of_link(target)


def _take_directory(attachment: Attachment, target: Path, limit_bytes: int) -> Attachment:
    """Copy a directory, or link its files, without what would not be packed either; the note names that."""
    size_bytes = directory_size_bytes(attachment.path)
    if size_bytes > limit_bytes:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    take_file = _link_or_copy if size_bytes > copy_at_once_bytes() else _copy_entry
    left_out = []
    with Tree(attachment.path) as tree:
        for entry in tree.walk(target.name):
            trouble = entry.left_out or _take_entry(tree, entry, target.parent / entry.name, take_file)
            if trouble:
                left_out.append(f"{one_line(entry.name)} ({trouble})")
    if not left_out:
        return attrs.evolve(attachment, path=target)
    own_note = "" if describes_state(attachment.note) else attachment.note
    note = "; ".join(filter(None, (own_note, compression.omission_note(left_out))))
    return attrs.evolve(attachment, path=target, note=note)


def _take_entry(tree: Tree, entry: Entry, target: Path, take_file: Callable[[Tree, Entry, Path], None]) -> str:
    """Take one file or make one folder, and return a note about what was wrong with it."""
    try:
        if entry.is_directory:
            target.mkdir(mode=0o700)
        else:
            take_file(tree, entry, target)
    except UnreadableFileError as error:
        return error.note
    except OSError as error:
        if error.errno not in _NO_ROOM_FOR_A_PATH:
            raise
        return f"not copied: {reason_of(error)}"
    return ""


def _copy_entry(tree: Tree, entry: Entry, target: Path) -> None:
    with tree.open(entry) as source:
        _copy_content(source, target)
    os.utime(target, (entry.mtime, entry.mtime))


def _link_or_copy(tree: Tree, entry: Entry, target: Path) -> None:
    size_bytes = tree.link(entry, target)
    if size_bytes is None:
        _copy_entry(tree, entry, target)
    else:
        _linked_bytes[target] = size_bytes


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
    """Copy what links show, in the place of the links, unless another thread does.

    Args:
        attachment: One of what :func:`links_among` returned: a file, or a folder with links in it.
    """
    path = attachment.path
    if path in _being_replaced:
        return
    _being_replaced.add(path)
    try:
        for each in _links_in(path):
            size_bytes = attachment.size_bytes if each == path else _linked_bytes.pop(each, None)
            # Beside the folder: whoever packs it meanwhile must not find what is half copied.
            _replace(each, path.with_name(f".{os.urandom(8).hex()}"), size_bytes)
    except (OSError, UnreadableFileError) as error:
        _log.info("%s stays a link until it is sent: %s", attachment.name, error)
    finally:
        _being_replaced.discard(path)


def _replace(link: Path, copy: Path, size_bytes: int | None) -> None:
    """Copy what one link shows, in its place, with its time."""
    try:
        modified_ns = link.stat().st_mtime_ns
        _copy(link, copy, size_bytes)
        os.utime(copy, ns=(modified_ns, modified_ns))
        copy.replace(link)
    except BaseException:
        with suppress(OSError):
            copy.unlink()
        raise


def _links_in(path: Path) -> Iterator[Path]:
    """Yield the files with a second name at a path, or in the folder there."""
    for folder, _, names in os.walk(path) if path.is_dir() else ((path.parent, (), (path.name,)),):
        yield from (each for each in (Path(folder, name) for name in names) if _has_second_name(each.lstat()))


def _has_second_name(info: os.stat_result) -> bool:
    return stat.S_ISREG(info.st_mode) and info.st_nlink > 1


def _is_link(attachment: Attachment, limit_bytes: int) -> bool:
    """Tell whether what was taken has a second name, and may be copied."""
    try:
        return (attachment.size_bytes or 0) <= limit_bytes and next(_links_in(attachment.path), None) is not None
    except (OSError, ValueError):
        return False
