"""Which commit of a git repository is checked out, and its subject, read as files.

Git itself is never run: a repository's own configuration may name programs that git then runs. Nothing is read in a
repository of another owner, as git itself refuses it (https://git-scm.com/docs/git-config, safe.directory). The formats
are described at https://git-scm.com/docs/gitrepository-layout and https://git-scm.com/docs/gitformat-pack.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_LEVELS = 20
_MOST_EARLIER = 50
_SMALL_BYTES = 4096
_REFS_BYTES = 4 * 1024 * 1024
_COMMIT_BYTES = 64 * 1024
_ID_DIGITS = (40, 64)  # of SHA-1 and SHA-256
_INDEX_MAGIC = b"\xfftOc\x00\x00\x00\x02"
_FAN_OUT = 256
_COMMIT_TYPE = 1
_FAR = 0x8000_0000


class Commit(NamedTuple):
    """A commit that is checked out.

    Args:
        id: Its id, in hexadecimal digits.
        git: The folder of the work tree's HEAD.
        objects: The folder in which the repository keeps its objects.
    """

    id: str
    git: str
    objects: str


def commit_of(folder: str) -> Commit | None:
    """Return the commit that is checked out in a folder or in one above it; None where none is, or it is not known.

    A repository of another user is one of which it is not known.
    """
    for _ in range(_MOST_LEVELS):
        git = os.path.join(folder, ".git")  # noqa: PTH118 - a silent run never imports pathlib
        if os.path.lexists(git):
            if not (_is_ours(folder) and _is_ours(git)):
                return None
            tree, common = _folders(folder, git)
            return _checked_out(tree, common) if _is_ours(tree) and _is_ours(common) else None
        above = os.path.dirname(folder)  # noqa: PTH120 - a silent run never imports pathlib
        if above == folder:
            return None
        folder = above
    return None


def _is_ours(path: str) -> bool:
    """Return whether a file or folder belongs to the user of this process; Windows has no owner in its status."""
    if sys.platform == "win32":
        return True
    try:
        return os.stat(path).st_uid == os.geteuid()  # noqa: PTH116 - a silent run never imports pathlib
    except OSError:
        return False


def _folders(folder: str, git: str) -> tuple[str, str]:
    """Return the folder of a work tree's HEAD, and the one that several work trees share.

    ``.git`` is a file that names the folder in a submodule and in a second work tree.
    """
    named = _text(git)
    if named.startswith("gitdir:"):
        git = os.path.join(folder, named.removeprefix("gitdir:").strip())  # noqa: PTH118 - a silent run never imports pathlib
    common = _text(git, "commondir").strip()
    return git, os.path.join(git, common) if common else git  # noqa: PTH118 - a silent run never imports pathlib


def _checked_out(git: str, common: str) -> Commit | None:
    head = _text(git, "HEAD").strip()
    found = head
    if head.startswith("ref:"):
        name = head.removeprefix("ref:").strip()
        found = _text(git, *name.split("/")).strip() or _text(common, *name.split("/")).strip() or _packed(common, name)
    return Commit(found, git, os.path.join(common, "objects")) if _is_id(found) else None  # noqa: PTH118 - a silent run never imports pathlib


def _packed(common: str, name: str) -> str:
    """Return the id of a branch that has no file of its own."""
    for line in _text(common, "packed-refs", most=_REFS_BYTES).splitlines():
        found, _, of_name = line.partition(" ")
        if of_name == name:
            return found
    return ""


def _is_id(text: str) -> bool:
    return len(text) in _ID_DIGITS and not text.strip("0123456789abcdef")


def _text(*path: str, most: int = _SMALL_BYTES) -> str:
    """Return the beginning of a file; "" where there is none."""
    try:
        with open(os.path.join(*path), "rb") as file:  # noqa: PTH118, PTH123 - a silent run never imports pathlib
            return file.read(most).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def earlier_commits(commit: Commit) -> list[tuple[int, str]]:
    """Return when each of the last commits was checked out, in seconds since 1970, and its id, oldest first.

    Git notes that in a log for each work tree; there is none where that was switched off.
    """
    found = []
    for line in _text(commit.git, "logs", "HEAD", most=_REFS_BYTES).splitlines()[-_MOST_EARLIER:]:
        _, _, rest = line.partition(" ")
        after, _, who_and_when = rest.partition(" ")
        at, _, _ = who_and_when.rpartition("> ")[2].partition(" ")
        if _is_id(after) and at.isdigit():
            found.append((int(at), after))
    return found


# The subject


def subject_of(commit: Commit) -> str:
    """Return the first line of a commit's message; "" where it cannot be read, or is stored as a delta.

    Raises:
        Exception: The repository is damaged.
    """
    data = _loose(commit)
    if data is None:
        data = next(_in_packs(commit), b"")
    message = data.partition(b"\n\n")[2].decode("utf-8", "replace")
    return message.strip().partition("\n")[0]


def _loose(commit: Commit) -> bytes | None:
    """Return a commit that has a file of its own, without the header of the object; None where it has none."""
    import zlib

    try:
        with open(os.path.join(commit.objects, commit.id[:2], commit.id[2:]), "rb") as file:  # noqa: PTH118, PTH123 - texts
            data = zlib.decompressobj().decompress(file.read(_COMMIT_BYTES), _COMMIT_BYTES)
    except FileNotFoundError:
        return None
    kind, _, rest = data.partition(b"\0")
    return rest if kind.startswith(b"commit ") else b""


def _in_packs(commit: Commit) -> Iterator[bytes]:
    """Yield a commit from each pack that has it."""
    folder = os.path.join(commit.objects, "pack")  # noqa: PTH118 - a text
    try:
        names = os.listdir(folder)  # noqa: PTH208 - a text
    except FileNotFoundError:
        return
    for name in names:
        if not name.endswith(".idx"):
            continue
        path = os.path.join(folder, name)  # noqa: PTH118 - a text
        with open(path, "rb") as index:  # noqa: PTH123 - a text
            place = _place_in_pack(index, bytes.fromhex(commit.id))
        if place is not None:
            with open(f"{path.removesuffix('.idx')}.pack", "rb") as pack:  # noqa: PTH123 - a text
                yield _object_at(pack, place)


def _place_in_pack(index: BinaryIO, wanted: bytes) -> int | None:
    """Return where an object begins in the pack of an index of version 2; None where it is not in that."""
    if index.read(len(_INDEX_MAGIC)) != _INDEX_MAGIC:
        return None
    ends = [_number(index.read(4)) for _ in range(_FAN_OUT)]
    low, high, count = (ends[wanted[0] - 1] if wanted[0] else 0), ends[wanted[0]], ends[-1]
    names = index.tell()
    while low < high:
        middle = (low + high) // 2
        index.seek(names + middle * len(wanted))
        found = index.read(len(wanted))
        if found == wanted:
            return _place(index, names + count * (len(wanted) + 4), middle, count)
        low, high = (middle + 1, high) if found < wanted else (low, middle)
    return None


def _place(index: BinaryIO, places: int, which: int, count: int) -> int:
    index.seek(places + which * 4)
    place = _number(index.read(4))
    if place < _FAR:
        return place
    index.seek(places + count * 4 + (place - _FAR) * 8)  # of a pack beyond 2 GiB
    return _number(index.read(8))


def _object_at(pack: BinaryIO, place: int) -> bytes:
    """Return the commit at a place of a pack; b"" for a delta, which only the objects before it complete."""
    import zlib

    pack.seek(place)
    first = byte = pack.read(1)[0]
    while byte & 0x80:  # the size, seven bits in a byte
        byte = pack.read(1)[0]
    if first >> 4 & 0x07 != _COMMIT_TYPE:
        return b""
    return zlib.decompressobj().decompress(pack.read(_COMMIT_BYTES), _COMMIT_BYTES)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")
