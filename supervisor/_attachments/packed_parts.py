"""What packing hands out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from pathlib import Path


@attrs.frozen(kw_only=True)
class Part:
    """One file, ready to be attached.

    Args:
        path: A regular file that nobody else writes to.
        name: What the receiver sees, safe in headers ("parcels.log.gz").
        content_type: Its media type, without parameters.
        size_bytes: The size of ``path``.
        note: What the receiver should know ("last 18 MB of 512 MB"); "" when all is well.
    """

    path: Path
    name: str
    content_type: str
    size_bytes: int
    note: str = ""


@attrs.frozen(kw_only=True)
class Result:
    """What became of one attachment.

    Args:
        part: The file to attach; None when there is none.
        note: What happened to it; "" when all is well, never "" without a part.
    """

    part: Part | None
    note: str = ""


@attrs.frozen(kw_only=True)
class Packed:
    """What became of all attachments of a message.

    Args:
        parts: The files to attach, in the order of the attachments.
        notes: One line for each attachment that something happened to, for the message's text
            ("parcels.log: missing", "big.log: the last 18 MB of 512 MB").
    """

    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
