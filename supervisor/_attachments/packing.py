"""Pack the attachments of a message, and divide a budget of bytes among them.

A directory becomes a zip file and a file a gzip file; one that is compressed already is copied, and so is a small one
of a type that people open.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import attrs

from supervisor import _text
from supervisor._attachments import compression, sources
from supervisor._attachments.compression import GZIP_TYPE, ZIP_TYPE, TooBigError, directory_size_bytes
from supervisor._attachments.names import detect_type, distinct, new_redaction_filter, safe_file_name, split_extensions
from supervisor._attachments.sources import Source, UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from supervisor._attachments.names import FileType
    from supervisor._models.values import Attachment

AS_IT_IS_BYTES = 1_000_000
"""Up to this size, a file that people open with a click is attached as it is."""


@attrs.frozen(kw_only=True)
class PackedFile:
    """A file that is ready to be attached.

    Args:
        path: A regular file that nobody else writes to.
        name: The name that the receiver sees, safe in headers ("parcels.log.gz").
        content_type: Its media type, without parameters.
        size_bytes: The size of ``path``.
        note: What is different from the original ("last 18 MB of 512 MB"); "" when nothing is.
        is_inline: Whether it is a picture to be shown in the text of mails.
    """

    path: Path
    name: str
    content_type: str
    size_bytes: int
    note: str = ""
    is_inline: bool = False


PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""The pictures that mail programs show."""


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
    is_inline = attachment.is_inline and part.content_type in PICTURES
    return PackingResult(part=attrs.evolve(part, note=note, is_inline=is_inline), note=note)


def size_bytes_of(attachment: Attachment) -> int:
    """Return the size of an attachment before it is packed; 0 where nothing can be read."""
    try:
        info = sources.stat_readable(attachment.path)
        if stat.S_ISDIR(info.st_mode):
            return directory_size_bytes(attachment.path)
        return min(info.st_size, attachment.size_bytes or info.st_size)
    except (UnreadableFileError, OSError):
        return 0


def _pack_directory(attachment: Attachment, directory: Path, limit_bytes: int | None) -> PackedFile:
    name = safe_file_name(attachment.name)
    with _new_file(directory, ".zip") as (path, output):
        note = compression.zip_directory(attachment.path, name, output, limit_bytes=limit_bytes)
    return PackedFile(path=path, name=f"{name}.zip", content_type=ZIP_TYPE, size_bytes=path.stat().st_size, note=note)


def _pack_file(attachment: Attachment, directory: Path, limit_bytes: int | None) -> PackedFile:
    with Source.open(attachment.path) as source:
        shrank = source.keep_to(attachment.size_bytes)
        if not source.size_bytes:
            raise UnreadableFileError(shrank or sources.EMPTY)
        file_type = detect_type(source, attachment.name)
        if file_type.can_be_redacted:
            source.new_filter = new_redaction_filter
        part = _pack_content(attachment, source, file_type, directory, limit_bytes)
        return attrs.evolve(part, note="; ".join(filter(None, (shrank, part.note))))


def _pack_content(
    attachment: Attachment, source: Source, file_type: FileType, directory: Path, limit_bytes: int | None
) -> PackedFile:
    """Copy what is compressed already, and what is small and opened by a click; compress the rest."""
    if file_type.compressed_as:
        return _copy(attachment, source, directory, limit_bytes, file_type.compressed_as)
    if file_type.opened_as and source.size_bytes <= AS_IT_IS_BYTES:
        with suppress(TooBigError):  # as gzip it may fit
            return _copy(attachment, source, directory, limit_bytes, file_type.opened_as)
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
        size_bytes = output.tell()  # what is redacted may be longer
        if limit_bytes is not None and size_bytes > limit_bytes:
            raise TooBigError
    return PackedFile(
        path=path,
        name=name,
        content_type=content_type,
        size_bytes=size_bytes,
        note=source.trouble,
    )


def _gzip(
    attachment: Attachment, source: Source, directory: Path, limit_bytes: int | None, *, may_cut: bool
) -> PackedFile:
    with _new_file(directory, ".gz") as (path, output):
        compressed = compression.compress(source, output, limit_bytes=limit_bytes, may_cut=may_cut)
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
    return f"left out, could not be packed: {sources.reason_of(error)}"


def _earlier_note(note: str) -> str:
    """Return the note from when the message was written, or "" if it no longer matters."""
    if note == sources.DIRECTORY:
        return ""
    return f"{note} when the message was written" if sources.describes_state(note) else note


@attrs.frozen(kw_only=True)
class PackedAttachments:
    """All attachments of a message, packed.

    Args:
        parts: The files to attach, in the order of the attachments.
        notes: A line for the message's text about each attachment that is changed or left out
            ("parcels.log: missing", "big.log: the last 18 MB of 512 MB").
    """

    parts: tuple[PackedFile, ...] = ()
    notes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class SpaceRequest:
    """The space that one attachment needs.

    Args:
        need_bytes: Its packed size, as far as it is known before packing.
        may_cut: Whether its last part alone is of use.
    """

    need_bytes: int
    may_cut: bool


def serving_order(requests: Sequence[SpaceRequest]) -> list[int]:
    """Return the indexes of the requests in the order in which they get space.

    Attachments that cannot be cut come first, because cutting loses less than leaving out; small ones before large.
    """
    return sorted(range(len(requests)), key=lambda index: (requests[index].may_cut, requests[index].need_bytes))


def reserved_bytes(requests: Sequence[SpaceRequest], limit_bytes: int) -> int:
    """Return the bytes that stay reserved for each attachment that can be cut: half of an even share."""
    return limit_bytes // (2 * len(requests)) if requests else 0


def allowance(request: SpaceRequest, waiting: Sequence[SpaceRequest], left_bytes: int, reserve_bytes: int) -> int:
    """Return the bytes that an attachment may use.

    Args:
        request: The request of this attachment.
        waiting: The requests that :func:`serving_order` puts after it.
        left_bytes: The bytes that are left of the budget.
        reserve_bytes: The result of :func:`reserved_bytes` for all requests.

    Returns:
        If it can be cut, an even share: the bytes that a small one leaves go to the larger ones after it. Otherwise all
        that is left, except the bytes that are reserved for those that can be cut.
    """
    if request.may_cut:
        return left_bytes // (1 + len(waiting))
    return left_bytes - sum(min(each.need_bytes, reserve_bytes) for each in waiting if each.may_cut)


@contextmanager
def packed(
    attachments: Iterable[Attachment],
    *,
    limit_bytes: int | None = None,
    file_limit_bytes: int | None = None,
    directory: Path | None = None,
) -> Iterator[PackedAttachments]:
    """Pack attachments into a temporary directory, which is removed at the end of the block.

    Args:
        attachments: The attachments; one that is given twice is attached once.
        limit_bytes: The most bytes of all packed files together, before base64; None for no limit.
        file_limit_bytes: The most bytes of each packed file; None for no limit.
        directory: The parent of the temporary directory; None for the system's.

    Yields:
        The packed files and the notes. A bad attachment never raises.
    """
    wanted = tuple(dict.fromkeys(attachments))
    with ExitStack() as stack:
        try:
            folder = _make_directory(stack, directory) if wanted else Path()
        except OSError as error:
            results = [PackingResult(part=None, note=not_packed(error)) for _ in wanted]
        else:
            results = _pack_all(wanted, folder, limit_bytes, file_limit_bytes)
        yield _collect(wanted, results)


def _make_directory(stack: ExitStack, directory: Path | None) -> Path:
    from tempfile import TemporaryDirectory

    # Errors are ignored: on Windows a file that a client library still has open cannot be removed.
    temporary = TemporaryDirectory(prefix="supervisor-", dir=directory, ignore_cleanup_errors=True)
    return Path(stack.enter_context(temporary))


def _pack_all(
    wanted: Sequence[Attachment], folder: Path, limit_bytes: int | None, file_limit_bytes: int | None
) -> list[PackingResult]:
    if limit_bytes is None:
        return [pack(each, folder, limit_bytes=file_limit_bytes) for each in wanted]
    requests = _requests(wanted, limit_bytes, file_limit_bytes)
    results = [PackingResult(part=None)] * len(wanted)
    order, left, reserve = serving_order(requests), limit_bytes, reserved_bytes(requests, limit_bytes)
    for position, index in enumerate(order):
        allowed = allowance(requests[index], [requests[later] for later in order[position + 1 :]], left, reserve)
        if file_limit_bytes is not None:
            allowed = min(allowed, file_limit_bytes)
        results[index] = pack(wanted[index], folder, limit_bytes=allowed)
        part = results[index].part
        left -= part.size_bytes if part else 0
    return results


def _requests(wanted: Sequence[Attachment], limit_bytes: int, file_limit_bytes: int | None) -> list[SpaceRequest]:
    """Return the requests of all attachments. Content is read only if they may not all fit uncompressed."""
    sizes = [size_bytes_of(each) for each in wanted]
    if sum(sizes) < limit_bytes:
        return [SpaceRequest(need_bytes=size, may_cut=False) for size in sizes]
    requests = [_request(each, size) for each, size in zip(wanted, sizes, strict=True)]
    if file_limit_bytes is None:
        return requests
    return [attrs.evolve(each, need_bytes=min(each.need_bytes, file_limit_bytes)) for each in requests]


def _request(attachment: Attachment, size_bytes: int) -> SpaceRequest:
    try:
        with Source.open(attachment.path) as source:
            file_type = detect_type(source, attachment.name)
            if file_type.compressed_as:
                return SpaceRequest(need_bytes=size_bytes, may_cut=False)
            return SpaceRequest(need_bytes=compression.estimated_bytes(source), may_cut=file_type.is_text)
    except (UnreadableFileError, OSError):
        return SpaceRequest(need_bytes=size_bytes, may_cut=False)


def _collect(wanted: Sequence[Attachment], results: Sequence[PackingResult]) -> PackedAttachments:
    """Return the packed files with distinct names, and the notes with the names of their attachments."""
    taken: dict[str, int] = {}
    parts = [
        attrs.evolve(result.part, name=distinct(result.part.name, taken))
        for result in results
        if result.part is not None
    ]
    notes = [_note_line(each, result.note) for each, result in zip(wanted, results, strict=True) if result.note]
    return PackedAttachments(parts=tuple(parts), notes=tuple(notes))


def _note_line(attachment: Attachment, note: str) -> str:
    return f"{safe_file_name(attachment.name)}: {'the ' if note.startswith('last ') else ''}{note}"
