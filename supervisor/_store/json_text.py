"""Texts as SQLite can hold them. On every run's path, so it loads no more than that needs."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def text(value: str) -> str:
    r"""Return a text that a column of SQLite can hold: lone surrogates become escapes (``\udcff``)."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")


def dump_texts(values: Sequence[str]) -> bytes:
    """Return several texts as JSON, in bytes that hold every text of Python."""
    return _dumped(tuple(values))


@lru_cache(maxsize=16)  # the command line, which is the same for all runs of a process
def _dumped(values: tuple[str, ...]) -> bytes:
    return json.dumps(list(values), ensure_ascii=False).encode("utf-8", "surrogatepass")


def load_texts(data: bytes | None) -> tuple[str, ...]:
    """Return what :func:`dump_texts` was given; nothing for None."""
    return tuple(json.loads(data.decode("utf-8", "surrogatepass"))) if data is not None else ()
