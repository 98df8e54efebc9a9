"""Compress a file as gzip, or a directory as zip, in bounded memory.

A file that is too large is cut to its last part that fits. A directory is read, and nothing outside of it, whoever
changes it meanwhile: where the platform has them, all is opened by the descriptors of the directories above it, and no
link is followed on the way. So nobody who may write there can swap a folder for a link to what only another user may
read.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

import attrs

from supervisor import _text
from supervisor._attachments.names import detect_type, distinct, entry_name, new_redaction_filter, redacted_name
from supervisor._attachments.sources import Source, UnreadableFileError, as_unreadable, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from zipfile import ZipFile, ZipInfo

# Directories, read

ZIP_ENTRIES_LIMIT = 20_000  # keeps the archive's directory, which zipfile holds in memory, below 30 MB
_JUNCTION = 0xA0000003  # the reparse tag of Windows' directory junctions, which are no symbolic links
_ELSEWHERE = "a link to elsewhere"
_LINK_IN_THE_WAY = {errno.ELOOP, errno.ENOTDIR}
_HAS_DESCRIPTORS = os.open in os.supports_dir_fd and os.scandir in os.supports_fd and hasattr(os, "O_DIRECTORY")
_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


@attrs.frozen
class Entry:
    """Something found in a directory: a directory, a file to read, or something to leave out, with the reason.

    ``name`` is what it is called in an archive, ``parts`` are the names on the way to it from the directory.
    """

    name: str
    parts: tuple[str, ...] = ()
    is_directory: bool = False
    size_bytes: int = 0
    mtime: float = 0.0
    left_out: str = ""


class Tree:
    """A directory, opened: what is below it is found and read from there.

    Args:
        directory: The directory.

    Raises:
        UnreadableError: It cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        self._root = Path(os.path.realpath(directory))
        try:
            self._mtime = self._root.stat().st_mtime
            self._number = os.open(self._root, _FLAGS) if _HAS_DESCRIPTORS else None
        except OSError as error:
            raise as_unreadable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._number is not None:
            os.close(self._number)

    def walk(self, name: str) -> Iterator[Entry]:
        """Yield the directory and everything in it, in a stable order, as entries of an archive.

        Args:
            name: What the directory is called in the archive.

        Raises:
            UnreadableError: It holds more than 20,000 files and folders.
        """
        folders = [Entry(name, is_directory=True, mtime=self._mtime)]
        taken: dict[str, int] = {}
        count = 0
        while folders:
            folder = folders.pop()
            yield folder
            for entry in self._entries(folder, taken):
                count += 1
                if count > ZIP_ENTRIES_LIMIT:
                    raise UnreadableFileError(f"left out, more than {ZIP_ENTRIES_LIMIT:,} files and folders")
                if entry.is_directory:
                    folders.append(entry)
                else:
                    yield entry

    def open(self, entry: Entry) -> Source:
        """Open a file that was found. What became a link since is not followed.

        Raises:
            UnreadableError: It is no regular file any more, or may not be read.
        """
        if self._number is None:
            return Source.open(self._root.joinpath(*entry.parts), follow=False)
        try:
            with self._folder(entry.parts[:-1]) as folder:
                return Source.open(Path(entry.parts[-1]), follow=False, folder=folder)
        except OSError as error:
            is_link = error.errno in _LINK_IN_THE_WAY
            raise (UnreadableFileError(_ELSEWHERE) if is_link else as_unreadable(error)) from error

    def link(self, entry: Entry, target: Path) -> int | None:
        """Give a file that was found a second name, and return its size; None where that is not possible."""
        if self._number is None:
            return None
        try:
            with self._folder(entry.parts[:-1]) as folder:
                os.link(entry.parts[-1], target, src_dir_fd=folder, follow_symlinks=False)
        except (OSError, NotImplementedError):
            return None
        return size_of_link(target)

    @contextmanager
    def _folder(self, parts: tuple[str, ...]) -> Iterator[int]:
        """Open a folder below the directory: each on the way to it by the descriptor of the one above."""
        assert self._number is not None
        number = os.dup(self._number)
        try:
            for part in parts:
                below = os.open(part, _FLAGS | _NOFOLLOW, dir_fd=number)
                os.close(number)
                number = below
            yield number
        finally:
            os.close(number)

    def _entries(self, folder: Entry, taken: dict[str, int]) -> list[Entry]:
        """Return what is in a folder."""
        try:
            if self._number is None:
                return self._listed(self._root.joinpath(*folder.parts), folder, taken)
            with self._folder(folder.parts) as number:
                return self._listed(number, folder, taken)
        except OSError as error:
            reason = _ELSEWHERE if error.errno in _LINK_IN_THE_WAY else f"not readable: {reason_of(error)}"
            return [Entry(folder.name, folder.parts, left_out=reason)]

    def _listed(self, opened: int | Path, folder: Entry, taken: dict[str, int]) -> list[Entry]:
        entries = []
        with os.scandir(opened) as found:
            inside = sorted(islice(found, ZIP_ENTRIES_LIMIT + 1), key=lambda each: each.name)
        for each in inside:
            # Names that differ only in characters that cannot be printed would be equal in the archive.
            name = distinct(f"{folder.name}/{entry_name(redacted_name(each.name))}", taken, key=str)
            parts = (*folder.parts, each.name)
            try:
                entries.append(self._entry(each.stat(follow_symlinks=False), name, parts))
            except OSError as error:
                entries.append(Entry(name, parts, left_out=f"not readable: {reason_of(error)}"))
        return entries

    def _entry(self, info: os.stat_result, name: str, parts: tuple[str, ...]) -> Entry:
        if getattr(info, "st_reparse_tag", 0) == _JUNCTION:
            return Entry(name, parts, left_out="a link to a directory")
        if stat.S_ISLNK(info.st_mode):
            return self._link_target_entry(name, parts)
        if stat.S_ISDIR(info.st_mode):
            return Entry(name, parts, is_directory=True, mtime=info.st_mtime)
        return Entry(name, parts, size_bytes=info.st_size, mtime=info.st_mtime)

    def _link_target_entry(self, name: str, parts: tuple[str, ...]) -> Entry:
        """Return the entry for a link: its target if that is a file within the directory, else one to leave out."""
        target = Path(os.path.realpath(self._root.joinpath(*parts)))
        try:
            info = target.stat()
        except OSError:
            return Entry(name, parts, left_out="a broken link")
        if stat.S_ISDIR(info.st_mode):
            return Entry(name, parts, left_out="a link to a directory")
        if not target.is_relative_to(self._root):
            return Entry(name, parts, left_out=_ELSEWHERE)
        return Entry(name, target.relative_to(self._root).parts, size_bytes=info.st_size, mtime=info.st_mtime)


def size_of_link(path: Path) -> int | None:
    """Return the size of a file that was just linked; remove what is no file, and return None."""
    info = path.lstat()
    if stat.S_ISREG(info.st_mode):
        return info.st_size
    path.unlink()
    return None


def directory_size_bytes(directory: Path) -> int:
    """Return the sizes of all files that would be packed."""
    with Tree(directory) as tree:
        return sum(entry.size_bytes for entry in tree.walk(""))


# Files as gzip

GZIP_TYPE = "application/gzip"
# The best ratio of deflate is 1,032 to 1: https://zlib.net/zlib_tech.html
_MAX_RATIO = 1100
_SAMPLE_BYTES = 256 * 1024
_STEP_BYTES = 4 * _SAMPLE_BYTES
_TRIES = 4
_LINE_BYTES = 64 * 1024
_GZIP_WINDOW_BITS = 31  # tells zlib to write a gzip header without name and time, and a checksum at the end
_ZLIB_LEVEL = 4  # twice as fast as the default 6; a tenth larger, but still smaller than the output of isal


class TooBigError(Exception):
    """An attachment does not fit into the bytes that it may have."""


class _Compressor(Protocol):
    def compress(self, data: memoryview | bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


@attrs.frozen
class Compressed:
    """A source that was compressed, or its last part.

    Args:
        start: The offset in the source where the part begins; above 0 when only the last part fits.
        read_bytes: The number of bytes that were read from there.
        written_bytes: The size of the gzip file; above the limit where compression stopped because of it.
    """

    start: int
    read_bytes: int
    written_bytes: int


def compress(source: Source, output: BinaryIO, *, limit_bytes: int | None, may_cut: bool) -> Compressed:
    """Write a source as gzip: whole, or else the last lines that fit.

    Args:
        source: The file to compress.
        output: An empty file, open for writing.
        limit_bytes: The largest size of ``output``; None for no limit.
        may_cut: Whether the last part alone is of use.

    Raises:
        TooBigError: The source does not fit, and may not be cut.
        OSError: ``output`` cannot be written.
    """
    if limit_bytes is None:
        return _compress_from(source, output, 0, None)
    if _may_fit(source, limit_bytes, may_cut=may_cut):
        whole = _compress_from(source, output, 0, limit_bytes)
        if whole.written_bytes <= limit_bytes:
            return whole
    if not may_cut:
        raise TooBigError
    return _compress_tail(source, output, limit_bytes)


def estimated_bytes(source: Source) -> int:
    """Return the approximate size of a source as gzip, from samples of at most 2 MB."""
    steps = max(1, min(8, source.size_bytes // _SAMPLE_BYTES))
    return int(_density(source, [source.size_bytes * step // steps for step in range(steps)]) * source.size_bytes)


def _may_fit(source: Source, limit_bytes: int, *, may_cut: bool) -> bool:
    """Return whether the whole may fit. A try stops at the limit, so the estimate only has to exclude clear cases."""
    if not may_cut:
        return source.size_bytes <= limit_bytes * _MAX_RATIO
    return source.size_bytes <= limit_bytes or estimated_bytes(source) < 1.3 * limit_bytes


def _compress_from(source: Source, output: BinaryIO, start: int, limit_bytes: int | None) -> Compressed:
    compressor = _compressor()
    output.seek(0)
    output.truncate()
    written = 0
    for chunk in source.chunks(start):
        written += output.write(compressor.compress(chunk))
        if limit_bytes is not None and written > limit_bytes:
            return Compressed(start, source.read_bytes, written)
    written += output.write(compressor.flush())
    return Compressed(start, source.read_bytes, written)


def _compress_tail(source: Source, output: BinaryIO, limit_bytes: int) -> Compressed:
    start = _start_of_tail(source, limit_bytes)
    for tries_left in reversed(range(_TRIES)):
        start = _start_of_line(source, start)
        if start >= source.size_bytes:
            break
        tail = _compress_from(source, output, start, limit_bytes)
        if tail.written_bytes <= limit_bytes:
            return tail
        # The samples were too optimistic: take a tenth less than the part that this try has compressed. The last try
        # takes as many bytes as fit without any compression.
        kept = tail.read_bytes * limit_bytes // tail.written_bytes if tries_left > 1 else limit_bytes
        start = max(start, source.size_bytes - kept * 9 // 10)
    raise TooBigError


def _start_of_tail(source: Source, limit_bytes: int) -> int:
    """Return the offset from which on about ``limit_bytes`` of gzip are left.

    Goes back from the end in steps, and estimates the compressed size of each from a sample of a quarter.
    """
    start, left = source.size_bytes, limit_bytes * 0.98
    while start > 0:
        step = min(_STEP_BYTES, start)
        weight = _density(source, [start - step]) * step
        if weight > left:
            return start - int(step * left / weight)
        start, left = start - step, left - weight
    return 0


def _start_of_line(source: Source, start: int) -> int:
    """Return the offset of the next line, or of the next character where lines are longer than 64 KiB."""
    if start <= 0:
        return 0
    following = source.sample(start - 1, _LINE_BYTES)
    line = start + following.find(b"\n")
    if start <= line < source.size_bytes:
        return line
    beginning = following[1:5]
    return start + len(beginning) - len(beginning.lstrip(bytes(range(0x80, 0xC0))))


def _density(source: Source, offsets: list[int]) -> float:
    """Return the bytes of gzip per byte of content, from samples at some offsets."""
    read = written = 0
    for offset in offsets:
        sample = source.sample(offset, _SAMPLE_BYTES)
        compressor = _compressor()
        read += len(sample)
        written += len(compressor.compress(sample)) + len(compressor.flush())
    return written / read if read else 1.0


def _compressor() -> _Compressor:
    library, level = _library()
    compressor: _Compressor = library.compressobj(level, library.DEFLATED, _GZIP_WINDOW_BITS)
    return compressor


@cache
def _library() -> tuple[Any, int]:
    """Return isal, which is several times as fast, or else zlib, with the compression level to use."""
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return zlib, _ZLIB_LEVEL
    return isal_zlib, isal_zlib.ISAL_DEFAULT_COMPRESSION


# Directories as zip

ZIP_TYPE = "application/zip"
_MAY_NEED_ZIP64_BYTES = 1 << 29
_NAMED_OMISSIONS = 3


def zip_directory(directory: Path, name: str, output: BinaryIO, *, limit_bytes: int | None) -> str:
    """Write a directory as a zip file with all entries below the folder ``name``.

    Links to files within the directory are followed; other links, and everything but files, are left out and noted.

    Args:
        directory: The directory to pack.
        name: The folder that unpacking the archive creates.
        output: An empty file, open for writing.
        limit_bytes: The largest size of ``output``; None for no limit.

    Returns:
        A note about what was left out; "" when nothing was.

    Raises:
        UnreadableError: The directory cannot be opened, or holds more than 20,000 files and folders.
        TooBigError: The archive does not fit.
        OSError: ``output`` cannot be written.
    """
    import zipfile

    left_out = []
    with Tree(directory) as tree, zipfile.ZipFile(output, "w") as archive:
        for entry in tree.walk(name):
            trouble = entry.left_out or _add(archive, tree, entry, output, limit_bytes)
            if trouble:
                left_out.append(f"{_text.one_line(entry.name)} ({trouble})")
    if limit_bytes is not None and output.tell() > limit_bytes:
        raise TooBigError
    return omission_note(left_out)


def _add(archive: ZipFile, tree: Tree, entry: Entry, output: BinaryIO, limit_bytes: int | None) -> str:
    """Add one entry, and return a note about what was wrong with it."""
    if entry.is_directory:
        archive.writestr(_zip_info(f"{entry.name}/", entry.mtime), b"")
        return ""
    try:
        source = tree.open(entry)
    except UnreadableFileError as error:
        return error.note
    with source:
        if not os.path.samestat(source.info, os.fstat(output.fileno())):
            _add_file(archive, entry, source, output, limit_bytes)
        return source.trouble


def _add_file(archive: ZipFile, entry: Entry, source: Source, output: BinaryIO, limit_bytes: int | None) -> None:
    import zipfile

    info = _zip_info(entry.name, entry.mtime)
    info.file_size = source.size_bytes
    file_type = detect_type(source, entry.name)
    if not file_type.compressed_as:
        info.compress_type = zipfile.ZIP_DEFLATED
    if file_type.can_be_redacted:
        source.new_filter = new_redaction_filter
    # A text may grow while it is redacted, so its size does not decide whether the entry needs zip64.
    with archive.open(info, "w", force_zip64=source.size_bytes > _MAY_NEED_ZIP64_BYTES) as written:
        for chunk in source.chunks():
            written.write(chunk)
            if limit_bytes is not None and output.tell() > limit_bytes:
                raise TooBigError


def _zip_info(name: str, mtime: float) -> ZipInfo:
    from zipfile import ZipInfo

    info = ZipInfo(name, _date_time(mtime))
    is_directory = name.endswith("/")
    info.external_attr = ((stat.S_IFDIR | 0o755 if is_directory else stat.S_IFREG | 0o644) << 16) | 0x10 * is_directory
    return info


def _date_time(mtime: float) -> tuple[int, int, int, int, int, int]:
    """Return the local time in the form of zip files, within the years that they can hold."""
    try:
        moment = time.localtime(mtime)
    except (OverflowError, ValueError, OSError):
        return (1980, 1, 1, 0, 0, 0)
    if not 1980 <= moment.tm_year <= 2107:  # noqa: PLR2004 - the years that the zip format can hold
        return (1980, 1, 1, 0, 0, 0)
    return (moment.tm_year, moment.tm_mon, moment.tm_mday, moment.tm_hour, moment.tm_min, moment.tm_sec)


def omission_note(left_out: list[str]) -> str:
    if not left_out:
        return ""
    more = f" and {len(left_out) - _NAMED_OMISSIONS} more" if len(left_out) > _NAMED_OMISSIONS else ""
    return f"without {', '.join(left_out[:_NAMED_OMISSIONS])}{more}"
