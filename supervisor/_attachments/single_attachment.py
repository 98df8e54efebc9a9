"""Packs one attachment: a directory as zip, a file as gzip, or a copy of a file that is compressed already."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import attrs

from supervisor import _text
from supervisor._attachments import gzip_file, sources, zip_directory
from supervisor._attachments.file_types import detect_type
from supervisor._attachments.gzip_file import GZIP_TYPE, TooBigError
from supervisor._attachments.names import new_redaction_filter, safe_file_name, split_extensions
from supervisor._attachments.sources import Source, UnreadableFileError
from supervisor._attachments.zip_directory import ZIP_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._models.values import Attachment


@attrs.frozen(kw_only=True)
class PackedFile:
    """A file that is ready to be attached.

    Args:
        path: A regular file that nobody else writes to.
        name: The name that the receiver sees, safe in headers ("parcels.log.gz").
        content_type: Its media type, without parameters.
        size_bytes: The size of ``path``.
        note: What is different from the original ("last 18 MB of 512 MB"); "" when nothing is.
    """

    path: Path
    name: str
    content_type: str
    size_bytes: int
    note: str = ""


@attrs.frozen(kw_only=True)
class PackingResult:
    """The result of packing one attachment.

    Args:
        part: The file to attach; None when nothing can be attached.
        note: What is different from the original, or why nothing is attached; "" only with an unchanged part.
    """

    part: PackedFile | None
    note: str = ""


def pack_one(attachment: Attachment, directory: Path, *, limit_bytes: int | None = None) -> PackedFile | None:
    """Pack one attachment into a directory, where the packed file stays.

    Args:
        attachment: The attachment.
        directory: The directory for the packed file, which gets a new name and is readable for its owner alone.
        limit_bytes: The most bytes that the packed file may have; None for no limit.

    Returns:
        The packed file; None when nothing can be attached, and then no file is left in the directory. :func:`pack`
        returns the reason too.
    """
    return pack(attachment, directory, limit_bytes=limit_bytes).part


def pack(attachment: Attachment, directory: Path, *, limit_bytes: int | None = None) -> PackingResult:
    """Pack one attachment as :func:`pack_one` does, and return a note about it too.

    Args:
        attachment: The attachment.
        directory: The directory for the packed file.
        limit_bytes: The most bytes that the packed file may have; None for no limit.
    """
    try:
        info = sources.stat_readable(attachment.path)
        if stat.S_ISDIR(info.st_mode):
            part = _pack_directory(attachment, directory, limit_bytes)
        else:
            part = _pack_file(attachment, directory, limit_bytes)
    except UnreadableFileError as error:
        return PackingResult(part=None, note=error.note)
    except TooBigError:
        return PackingResult(part=None, note=_left_out(attachment, limit_bytes or 0))
    except OSError as error:
        return PackingResult(part=None, note=not_packed(error))
    note = "; ".join(filter(None, (_earlier_note(attachment.note), part.note)))
    return PackingResult(part=attrs.evolve(part, note=note), note=note)


def size_bytes_of(attachment: Attachment) -> int:
    """Return the size of an attachment before it is packed; 0 where nothing can be read."""
    try:
        info = sources.stat_readable(attachment.path)
        return zip_directory.directory_size_bytes(attachment.path) if stat.S_ISDIR(info.st_mode) else info.st_size
    except (UnreadableFileError, OSError):
        return 0


def _pack_directory(attachment: Attachment, directory: Path, limit_bytes: int | None) -> PackedFile:
    name = safe_file_name(attachment.name)
    with _new_file(directory, ".zip") as (path, output):
        note = zip_directory.zip_directory(attachment.path, name, output, limit_bytes=limit_bytes)
    return PackedFile(path=path, name=f"{name}.zip", content_type=ZIP_TYPE, size_bytes=path.stat().st_size, note=note)


def _pack_file(attachment: Attachment, directory: Path, limit_bytes: int | None) -> PackedFile:
    with Source.open(attachment.path) as source:
        if not source.size_bytes:
            raise UnreadableFileError(sources.EMPTY)
        file_type = detect_type(source, attachment.name)
        if file_type.compressed_as:
            return _copy(attachment, source, directory, limit_bytes, file_type.compressed_as)
        if file_type.can_be_redacted:
            source.new_filter = new_redaction_filter
        return _gzip(attachment, source, directory, limit_bytes, may_cut=file_type.is_text)


def _copy(
    attachment: Attachment, source: Source, directory: Path, limit_bytes: int | None, content_type: str
) -> PackedFile:
    if limit_bytes is not None and source.size_bytes > limit_bytes:
        raise TooBigError
    name = safe_file_name(attachment.name)
    with _new_file(directory, split_extensions(name)[1]) as (path, output):
        for chunk in source.chunks():
            output.write(chunk)
        _require_content(source)
    return PackedFile(
        path=path,
        name=name,
        content_type=content_type,
        size_bytes=source.read_bytes,
        note=source.trouble,
    )


def _gzip(
    attachment: Attachment, source: Source, directory: Path, limit_bytes: int | None, *, may_cut: bool
) -> PackedFile:
    with _new_file(directory, ".gz") as (path, output):
        compressed = gzip_file.compress(source, output, limit_bytes=limit_bytes, may_cut=may_cut)
        _require_content(source)
    last = f"last {_text.size(compressed.read_bytes)} of {_text.size(source.size_bytes)}" if compressed.start else ""
    return PackedFile(
        path=path,
        name=f"{safe_file_name(attachment.name)}.gz",
        content_type=GZIP_TYPE,
        size_bytes=compressed.written_bytes,
        note="; ".join(filter(None, (last, source.trouble))),
    )


def _require_content(source: Source) -> None:
    if not source.read_bytes:
        raise UnreadableFileError(source.trouble)


@contextmanager
def _new_file(directory: Path, suffix: str) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a new file that only its owner may read, and remove it when the block fails."""
    from tempfile import mkstemp

    number, name = mkstemp(suffix=suffix, dir=directory)
    path = Path(name)
    try:
        with os.fdopen(number, "wb") as output:
            yield path, output
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _left_out(attachment: Attachment, limit_bytes: int) -> str:
    size = _text.size(size_bytes_of(attachment))
    return f"left out, {size} is more than the {_text.size(max(0, limit_bytes))} that fit"


def not_packed(error: OSError) -> str:
    """Return the note for an error while packing: a full disk, or no temporary directory."""
    return f"left out, could not be packed: {sources.error_text(error)}"


def _earlier_note(note: str) -> str:
    """Return the note from when the message was written, or "" if it no longer matters."""
    if note == sources.DIRECTORY:
        return ""
    return f"{note} when the message was written" if sources.describes_state(note) else note
