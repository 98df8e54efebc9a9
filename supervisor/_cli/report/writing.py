"""Put a page where it belongs: whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600


def write_page(page: bytes, path: str | os.PathLike[str]) -> Path:
    """Write a page in the place of what is there, and return where it is.

    Who reads the old page meanwhile sees the old or the new one, never a part. A new file can be read only by its
    owner, since errors and logs may quote data; a page that its owner opened to others stays as open as it was.

    Args:
        page: The page.
        path: Where to; a link is followed, a device or FIFO is written to as it is.

    Raises:
        OSError: It cannot be written; what was there before is unchanged.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file() and not target.is_dir():
        target.write_bytes(page)
        return target
    number, name = tempfile.mkstemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent)
    try:
        with open(number, "wb") as file:  # noqa: PTH123 - of a number, not a path
            file.write(page)
        Path(name).chmod(_mode(target))
        Path(name).replace(target)
    finally:
        with suppress(OSError):  # when all went well, it has its new name
            Path(name).unlink()
    return target


def _mode(target: Path) -> int:
    """Return who may read the page: its owner, and whom its owner let read the page that it replaces."""
    try:
        status = target.stat()
    except OSError:
        return PRIVATE
    is_ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return stat.S_IMODE(status.st_mode) if is_ours else PRIVATE
