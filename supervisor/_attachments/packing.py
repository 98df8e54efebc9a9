"""Packs all attachments of a message into one budget.

- Shares a budget of bytes among the attachments of one message.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from supervisor._attachments import gzip_file
from supervisor._attachments.file_types import detect_type
from supervisor._attachments.names import distinct, safe_name
from supervisor._attachments.single_attachment import PackedFile, PackingResult, not_packed, pack, size_bytes_of
from supervisor._attachments.sources import Source, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from supervisor._models.values import Attachment


@attrs.frozen(kw_only=True)
class PackedAttachments:
    """What became of all attachments of a message.

    Args:
        parts: The files to attach, in the order of the attachments.
        notes: One line for each attachment that something happened to, for the message's text
            ("parcels.log: missing", "big.log: the last 18 MB of 512 MB").
    """

    parts: tuple[PackedFile, ...] = ()
    notes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class SpaceRequest:
    """What one attachment needs.

    Args:
        need_bytes: Its size as a part, as far as it can be told before it is packed.
        may_cut: Whether its last part alone is of use.
    """

    need_bytes: int
    may_cut: bool


def serving_order(claims: Sequence[SpaceRequest]) -> list[int]:
    """Return the places of the claims in the order to serve them.

    What is whole or nothing comes before what can be cut, as cutting loses less than leaving out; small before large.
    """
    return sorted(range(len(claims)), key=lambda place: (claims[place].may_cut, claims[place].need_bytes))


def reserved_bytes(claims: Sequence[SpaceRequest], limit_bytes: int) -> int:
    """Return what nobody takes from what can be cut: half of an even share, where it needs as much."""
    return limit_bytes // (2 * len(claims)) if claims else 0


def allowance(claim: SpaceRequest, waiting: Sequence[SpaceRequest], left_bytes: int, sure_bytes: int) -> int:
    """Return the bytes that a claim may use.

    Args:
        claim: The one to be served now.
        waiting: Those that :func:`in_order` puts after it.
        left_bytes: What is left of the budget.
        sure_bytes: What :func:`sure_of_each` said of all claims.

    Returns:
        For what can be cut, an even share: what a small one leaves goes to the larger ones after it. For the rest,
        all that is left, except what is sure for those that can be cut.
    """
    if claim.may_cut:
        return left_bytes // (1 + len(waiting))
    return left_bytes - sum(min(each.need_bytes, sure_bytes) for each in waiting if each.may_cut)


@contextmanager
def packed(
    attachments: Iterable[Attachment],
    *,
    limit_bytes: int | None = None,
    file_limit_bytes: int | None = None,
    directory: Path | None = None,
) -> Iterator[PackedAttachments]:
    """Make attachments ready to be sent, for as long as the block lasts.

    Args:
        attachments: What shall be attached; one that stands here twice is attached once.
        limit_bytes: The most that all parts may have together, before base64; None for no bound.
        file_limit_bytes: The most that each may have; None for no bound.
        directory: Where the temporary directory is made; None for the system's usual place.

    Yields:
        The parts and what there is to say. Nothing about an attachment ever raises.
    """
    wanted = tuple(dict.fromkeys(attachments))
    with ExitStack() as stack:
        try:
            place = _make_directory(stack, directory) if wanted else Path()
        except OSError as error:
            results = [PackingResult(part=None, note=not_packed(error)) for _ in wanted]
        else:
            results = _pack_all(wanted, place, limit_bytes, file_limit_bytes)
        yield _collect(wanted, results)


def _make_directory(stack: ExitStack, directory: Path | None) -> Path:
    from tempfile import TemporaryDirectory

    # Without complaint: on Windows a file that a client library still holds open cannot be removed.
    temporary = TemporaryDirectory(prefix="supervisor-", dir=directory, ignore_cleanup_errors=True)
    return Path(stack.enter_context(temporary))


def _pack_all(
    wanted: Sequence[Attachment], place: Path, limit_bytes: int | None, file_limit_bytes: int | None
) -> list[PackingResult]:
    if limit_bytes is None:
        return [pack(each, place, limit_bytes=file_limit_bytes) for each in wanted]
    claims = _requests(wanted, limit_bytes, file_limit_bytes)
    results = [PackingResult(part=None)] * len(wanted)
    order, left, sure = serving_order(claims), limit_bytes, reserved_bytes(claims, limit_bytes)
    for at, which in enumerate(order):
        allowed = allowance(claims[which], [claims[later] for later in order[at + 1 :]], left, sure)
        if file_limit_bytes is not None:
            allowed = min(allowed, file_limit_bytes)
        results[which] = pack(wanted[which], place, limit_bytes=allowed)
        part = results[which].part
        left -= part.size_bytes if part else 0
    return results


def _requests(wanted: Sequence[Attachment], limit_bytes: int, file_limit_bytes: int | None) -> list[SpaceRequest]:
    """Return what each attachment needs. Content is looked into only where not all fit even uncompressed."""
    sizes = [size_bytes_of(each) for each in wanted]
    if sum(sizes) < limit_bytes:
        return [SpaceRequest(need_bytes=size, may_cut=False) for size in sizes]
    claims = [_request(each, size) for each, size in zip(wanted, sizes, strict=True)]
    if file_limit_bytes is None:
        return claims
    return [attrs.evolve(each, need_bytes=min(each.need_bytes, file_limit_bytes)) for each in claims]


def _request(attachment: Attachment, size_bytes: int) -> SpaceRequest:
    try:
        with Source.open(attachment.path) as source:
            file_type = detect_type(source, attachment.name)
            if file_type.compressed_as:
                return SpaceRequest(need_bytes=size_bytes, may_cut=False)
            return SpaceRequest(need_bytes=gzip_file.estimated_bytes(source), may_cut=file_type.is_text)
    except (UnreadableError, OSError):
        return SpaceRequest(need_bytes=size_bytes, may_cut=False)


def _collect(wanted: Sequence[Attachment], results: Sequence[PackingResult]) -> PackedAttachments:
    """Give each part a name of its own and each note the name that it is about."""
    taken: dict[str, int] = {}
    parts = [
        attrs.evolve(result.part, name=distinct(result.part.name, taken))
        for result in results
        if result.part is not None
    ]
    notes = [_line(each, result.note) for each, result in zip(wanted, results, strict=True) if result.note]
    return PackedAttachments(parts=tuple(parts), notes=tuple(notes))


def _line(attachment: Attachment, note: str) -> str:
    return f"{safe_name(attachment.name)}: {'the ' if note.startswith('last ') else ''}{note}"
