"""A letter as it goes over the wire, its files read and encoded on the way."""

from __future__ import annotations

from binascii import b2a_base64
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._attachments import Part

PIECE_BYTES = 65_536

_RAW_LINE_BYTES = 57  # becomes a line of 76 characters, the most that RFC 2045, 6.8 allows
_WIRE_LINE_BYTES = 78
_ROOM_PER_FILE_BYTES = 4_096  # for its headers, and for what is said of it in text and HTML


def in_base64(raw: bytes) -> bytes:
    """Return bytes in base64, in lines (RFC 2045, 6.8)."""
    line = b2a_base64(raw, newline=False)
    return b"".join(line[at : at + 76] + b"\r\n" for at in range(0, len(line), 76))


def encoded_bytes(count: int) -> int:
    """Return how long so many bytes are in base64."""
    return 4 * -(-count // 3) + 2 * -(-count // _RAW_LINE_BYTES)


@attrs.frozen
class EncodedFile:
    """A file that is read and encoded while it is sent, so that memory stays bounded."""

    part: Part

    @property
    def size_bytes(self) -> int:
        """Return how many bytes go over the wire."""
        return encoded_bytes(self.part.size_bytes)

    def pieces(self) -> Iterator[bytes]:
        """Read the file up to the size it was announced with: a file that grows meanwhile does not matter."""
        left = self.part.size_bytes
        with self.part.path.open("rb") as file:
            while left > 0 and (raw := file.read(min(left, 840 * _RAW_LINE_BYTES))):
                left -= len(raw)
                yield in_base64(raw)


Piece: TypeAlias = bytes | EncodedFile  # of a letter


@attrs.frozen
class Letter:
    """A letter in the form that follows DATA: dots doubled, and the closing dot in its place."""

    contents: tuple[Piece, ...]

    @property
    def size_bytes(self) -> int:
        """Return its size as SIZE counts it (RFC 1870); doubled dots make it a little larger than it is."""
        return sum(len(each) if isinstance(each, bytes) else each.size_bytes for each in self.contents)

    def pieces(self) -> Iterator[bytes]:
        """Return what is to be sent, at most 64 KiB at a time."""
        for each in self.contents:
            if isinstance(each, bytes):
                yield from (each[at : at + PIECE_BYTES] for at in range(0, len(each), PIECE_BYTES))
            else:
                yield from each.pieces()


def attachments_budget(letter: Letter, count: int, limit_bytes: int) -> int:
    """Return how many bytes of files fit into a letter besides its texts, before they are encoded.

    Args:
        letter: The letter without attachments.
        count: How many there will be; each takes some room besides its contents.
        limit_bytes: The most that the whole letter may have.
    """
    room = limit_bytes - letter.size_bytes - _ROOM_PER_FILE_BYTES * (count + 1)
    return max(0, room * _RAW_LINE_BYTES // _WIRE_LINE_BYTES)


def on_the_wire(pieces: Iterable[Piece]) -> Letter:
    """Return a letter as it follows DATA (RFC 5321, 4.5.2).

    Args:
        pieces: What it is made of. The first and the last are bytes, and the last ends with a line break.
    """
    contents: list[Piece] = []
    texts: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            texts.append(piece)
        else:
            contents += [_with_dots_doubled(texts), piece]
            texts = []
    return Letter((*contents, _with_dots_doubled(texts) + b".\r\n"))


def _with_dots_doubled(texts: Iterable[bytes]) -> bytes:
    return b"".join(texts).replace(b"\r\n.", b"\r\n..")
