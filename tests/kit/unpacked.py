"""All that can be read in some bytes: what is packed, encoded or written in another way, layer by layer."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import sqlite3
import zipfile
from base64 import b64decode
from binascii import Error
from contextlib import closing, suppress
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]{40,}={0,2}\s*")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def layers(data: bytes) -> Iterator[str]:
    """Yield some bytes as text, and all that is in them: JSON's texts, a mail's parts, base64, gzip, zip, UTF-16."""
    yield data.decode("utf-8", "surrogateescape")
    for inner in _inside(data):
        yield from layers(inner)


def _inside(data: bytes) -> Iterator[bytes]:
    if data.startswith(b"\x1f\x8b\x08"):
        yield gzip.decompress(data)
    elif data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name.encode("utf-8", "surrogateescape")
                yield archive.read(name)
    elif data.startswith(_UTF16):
        yield data.decode("utf-16", "surrogatepass").encode("utf-8", "surrogatepass")
    elif b"\nMIME-Version:" in data[:4096] and b"\r\n\r\n" in data:
        yield from _mail(data)
    elif data[:1] in {b"{", b"[", b'"'}:
        with suppress(ValueError):
            yield from (each.encode("utf-8", "surrogatepass") for each in _texts(json.loads(data)))
    elif _BASE64.fullmatch(data):
        with suppress(Error):
            yield b64decode(data)


def _mail(data: bytes) -> Iterator[bytes]:
    for part in message_from_bytes(data, policy=policy.default).walk():
        yield "\n".join(f"{name} is {text}" for name, text in part.items()).encode("utf-8", "surrogateescape")
        if not part.is_multipart():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            yield content


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from _texts(each)


def everything_in(directory: Path) -> Iterator[str]:
    """Yield the names and contents of all files below a directory, and the columns of the databases among them."""
    for path in sorted(directory.rglob("*")):
        yield str(path.relative_to(directory))
        if path.is_file():
            yield from layers(path.read_bytes())
        if path.suffix == ".sqlite3":
            yield from (text for column in _columns(path) for text in layers(column))


def _columns(path: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in connection.execute(f'SELECT * FROM "{table.decode()}"'):
                yield from (each for each in row if isinstance(each, bytes))


def found_in(texts: Iterable[str], secrets: Iterable[str]) -> dict[str, str]:
    """Return the secrets of which the whole or a half is in some of the texts, each with what stands around it."""
    halves = [(each, half) for each in secrets for half in (each[: len(each) // 2], each[-len(each) // 2 :])]
    found = {}
    for text in texts:
        for secret, half in halves:
            at = text.find(half)
            if at >= 0:
                found[secret] = text[max(0, at - 80) : at + 80]
    return found
