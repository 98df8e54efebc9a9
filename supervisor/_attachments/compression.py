"""Compress a file as gzip, or a directory as zip, in bounded memory.

A file that is too large is cut to its last part that fits; a directory is never left by a link that points out of it.
"""

from __future__ import annotations

import os
import stat
import time
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import attrs

from supervisor import _text
from supervisor._attachments.names import detect_type, distinct, entry_name, new_redaction_filter, redacted_name
from supervisor._attachments.sources import Source, UnreadableFileError, as_unreadable, error_text, stat_readable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zipfile import ZipFile, ZipInfo

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


ZIP_TYPE = "application/zip"
ZIP_ENTRIES_LIMIT = 20_000  # keeps the archive's directory, which zipfile holds in memory, below 30 MB
_MAY_NEED_ZIP64_BYTES = 1 << 29
_NAMED_OMISSIONS = 3
_JUNCTION = 0xA0000003  # the reparse tag of Windows' directory junctions, which are no symbolic links


@attrs.frozen
class Entry:
    """Something found in a directory: a directory, a file to read, or something to leave out, with the reason."""

    name: str
    path: Path
    is_directory: bool = False
    size_bytes: int = 0
    mtime: float = 0.0
    left_out: str = ""


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

    try:
        os.scandir(directory).close()
    except OSError as error:
        raise as_unreadable(error) from error
    left_out = []
    with zipfile.ZipFile(output, "w") as archive:
        for entry in walk(directory, name):
            trouble = entry.left_out or _add(archive, entry, output, limit_bytes)
            if trouble:
                left_out.append(f"{_text.one_line(entry.name)} ({trouble})")
    if limit_bytes is not None and output.tell() > limit_bytes:
        raise TooBigError
    return omission_note(left_out)


def walk(directory: Path, name: str) -> Iterator[Entry]:
    """Yield a directory and everything in it, in a stable order, as entries of an archive.

    Args:
        directory: The directory.
        name: Its name in the archive.

    Raises:
        UnreadableError: The directory does not exist, or holds more than 20,000 files and folders.
    """
    root = Path(os.path.realpath(directory))
    folders = [Entry(name, directory, is_directory=True, mtime=stat_readable(directory).st_mtime)]
    taken: dict[str, int] = {}
    count = 0
    while folders:
        folder = folders.pop()
        yield folder
        for entry in _entries(folder, root, taken):
            count += 1
            if count > ZIP_ENTRIES_LIMIT:
                raise UnreadableFileError(f"left out, more than {ZIP_ENTRIES_LIMIT:,} files and folders")
            if entry.is_directory:
                folders.append(entry)
            else:
                yield entry


def directory_size_bytes(directory: Path) -> int:
    """Return the sizes of all files that would be packed."""
    return sum(entry.size_bytes for entry in walk(directory, ""))


def _entries(folder: Entry, root: Path, taken: dict[str, int]) -> Iterator[Entry]:
    try:
        with os.scandir(folder.path) as found:
            inside = sorted(islice(found, ZIP_ENTRIES_LIMIT + 1), key=lambda each: each.name)
    except OSError as error:
        yield Entry(folder.name, folder.path, left_out=f"not readable: {error_text(error)}")
        return
    for each in inside:
        # Names that differ only in characters that cannot be printed would be equal in the archive.
        name = distinct(f"{folder.name}/{entry_name(redacted_name(each.name))}", taken, key=str)
        try:
            yield _entry(each, name, root)
        except OSError as error:
            yield Entry(name, Path(each.path), left_out=f"not readable: {error_text(error)}")


def _entry(found: os.DirEntry[str], name: str, root: Path) -> Entry:
    path = Path(found.path)
    info = found.stat(follow_symlinks=False)
    if getattr(info, "st_reparse_tag", 0) == _JUNCTION:
        return Entry(name, path, left_out="a link to a directory")
    if stat.S_ISLNK(info.st_mode):
        return _link_target_entry(Path(os.path.realpath(path)), name, root)
    if stat.S_ISDIR(info.st_mode):
        return Entry(name, path, is_directory=True, mtime=info.st_mtime)
    return Entry(name, path, size_bytes=info.st_size, mtime=info.st_mtime)


def _link_target_entry(target: Path, name: str, root: Path) -> Entry:
    """Return the entry for a link: its target if that is a file within the directory, else an entry to leave out."""
    try:
        info = target.stat()
    except OSError:
        return Entry(name, target, left_out="a broken link")
    if stat.S_ISDIR(info.st_mode):
        return Entry(name, target, left_out="a link to a directory")
    if not target.is_relative_to(root):
        return Entry(name, target, left_out="a link to elsewhere")
    return Entry(name, target, size_bytes=info.st_size, mtime=info.st_mtime)


def _add(archive: ZipFile, entry: Entry, output: BinaryIO, limit_bytes: int | None) -> str:
    """Add one entry, and return a note about what was wrong with it."""
    if entry.is_directory:
        archive.writestr(_zip_info(f"{entry.name}/", entry.mtime), b"")
        return ""
    try:
        # Links were resolved before: a link that is here now was put here since, so it is not followed.
        source = Source.open(entry.path, follow=False)
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
