"""Packs all attachments of a message, and divides a budget of bytes among them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from supervisor._attachments import gzip_file
from supervisor._attachments.file_types import detect_type
from supervisor._attachments.names import distinct, safe_file_name
from supervisor._attachments.single_attachment import PackedFile, PackingResult, not_packed, pack, size_bytes_of
from supervisor._attachments.sources import Source, UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from supervisor._models.values import Attachment


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
            return SpaceRequest(need_bytes=gzip_file.estimated_bytes(source), may_cut=file_type.is_text)
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
