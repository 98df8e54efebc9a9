"""What a receiver learns of an attached file: a safe name, and its type by its first bytes."""

from __future__ import annotations

import codecs
import re
import unicodedata
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor._attachments.sources import Source
    from supervisor._redaction import BytesFilter, Redactor

# With ".gz" and "-123" added, no name is longer than 120 characters.
LONGEST = 110
# Quotes, semicolons and slashes break headers; SendGrid refuses ";" and CR/LF in names
# (https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors). Windows cannot save the others.
_FORBIDDEN = frozenset("\"'`;:/\\<>|?*")
_EXTENSIONS = re.compile(r"(?<=.)(?:\.(?:[A-Za-z][A-Za-z0-9]{0,7}|7z)){0,2}(?:\.(?:gz|zip))?$")


def safe_file_name(name: str) -> str:
    """Return a name as one line of at most 110 printable characters with its extensions, letters of all scripts kept.

    Format characters are removed (some reverse the reading direction, which makes "gnp.exe" look like "exe.png"); other
    unsafe ones become "_"; a name that would be empty becomes "attachment".
    """
    if len(name) > 10 * LONGEST:
        name = name[: 5 * LONGEST] + name[-LONGEST:]
    # Normalised first, because NFC turns a Greek question mark into a semicolon.
    kept = "".join(_safe(c) for c in unicodedata.normalize("NFC", name))
    kept = " ".join(kept.split()).rstrip(" .")
    stem, extensions = split_extensions(kept)
    stem = stem[: LONGEST - len(extensions)].rstrip(" .")
    return stem + extensions if stem.strip("_.") else f"attachment{extensions}"


def entry_name(name: str) -> str:
    """Return one part of a path in an archive: printable, and without separators of any platform."""
    kept = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in name)
    return "_" if kept in {"", ".", ".."} else kept


def distinct(name: str, taken: dict[str, int], *, key: Callable[[str], str] = str.casefold) -> str:
    """Return a name that was not used before: "a.log.gz", then "a-2.log.gz", "a-3.log.gz".

    Args:
        name: The preferred name.
        taken: The keys of the names in use, each with the last number tried; the returned name is added.
        key: Returns what must differ; by default names in other upper and lower case count as equal, because some file
            systems do not distinguish them.
    """
    stem, extensions = split_extensions(name)
    number = taken.get(key(name), 0)
    chosen = name
    while key(chosen) in taken:
        number = max(number, 1) + 1
        chosen = f"{stem}-{number}{extensions}"
    taken[key(name)] = number
    taken.setdefault(key(chosen), 0)
    return chosen


def split_extensions(name: str) -> tuple[str, str]:
    """Return a name as its stem, which may be cut, and its extensions ("parcels", ".log.gz")."""
    found = _EXTENSIONS.search(name)
    at = found.start() if found else len(name)
    return name[:at], name[at:]


def _safe(character: str) -> str:
    if character.isspace():
        return " "
    if unicodedata.category(character) == "Cf":
        return ""
    return character if character.isprintable() and character not in _FORBIDDEN else "_"


_redactor: ContextVar[Callable[[], Redactor] | None] = ContextVar("supervisor_redactor", default=None)


@contextmanager
def redacting_with(redactor: Callable[[], Redactor] | None) -> Iterator[None]:
    """Redact all text that is attached within the block with this redactor.

    Args:
        redactor: Returns the redactor; it is called only when there is text to redact. None for a redactor without
            the handlers' credentials.
    """
    token = _redactor.set(redactor)
    try:
        yield
    finally:
        _redactor.reset(token)


def new_redaction_filter() -> BytesFilter:
    """Return a filter that redacts one file's content piece by piece."""
    return _current_redactor().bytes_filter()


def redacted_name(name: str) -> str:
    """Return a file's name without secrets."""
    return _current_redactor().text(name)


def _current_redactor() -> Redactor:
    chosen = _redactor.get()
    if chosen is not None:
        return chosen()
    from supervisor._redaction import Redactor

    return Redactor()


_SAMPLE_BYTES = 64 * 1024
_OFFICE = "application/vnd.openxmlformats-officedocument"
_OASIS = "application/vnd.oasis.opendocument"
# By suffix. Not from the ``mimetypes`` module, whose results differ between machines.
_TYPES = {
    "7z": "application/x-7z-compressed",
    "aac": "audio/aac",
    "apk": "application/vnd.android.package-archive",
    "avif": "image/avif",
    "br": "application/octet-stream",
    "bz2": "application/x-bzip2",
    "docx": f"{_OFFICE}.wordprocessingml.document",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "gif": "image/gif",
    "gz": "application/gzip",
    "heic": "image/heic",
    "jar": "application/java-archive",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "kmz": "application/vnd.google-earth.kmz",
    "lz4": "application/octet-stream",
    "lzma": "application/x-lzma",
    "m4a": "audio/mp4",
    "m4v": "video/mp4",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "odp": f"{_OASIS}.presentation",
    "ods": f"{_OASIS}.spreadsheet",
    "odt": f"{_OASIS}.text",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "parquet": "application/vnd.apache.parquet",
    "pdf": "application/pdf",
    "png": "image/png",
    "pptx": f"{_OFFICE}.presentationml.presentation",
    "rar": "application/vnd.rar",
    "tbz2": "application/x-bzip2",
    "tgz": "application/gzip",
    "txz": "application/x-xz",
    "webm": "video/webm",
    "webp": "image/webp",
    "whl": "application/zip",
    "xlsm": "application/vnd.ms-excel.sheet.macroEnabled.12",
    "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    "xz": "application/x-xz",
    "zip": "application/zip",
    "zst": "application/zstd",
}
# Text, by suffix, for which every desk has a program.
_OPENED = {
    "csv": "text/csv",
    "geojson": "application/geo+json",
    "htm": "text/html",
    "html": "text/html",
    "json": "application/json",
    "log": "text/plain",
    "md": "text/markdown",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "xml": "application/xml",
}
# By the first bytes, for files without a known suffix.
_BEGINNINGS = tuple(
    (re.compile(pattern, re.DOTALL), content_type)
    for pattern, content_type in (
        (rb"\x1f\x8b\x08", "application/gzip"),
        (rb"PK(?:\x03\x04|\x05\x06)", "application/zip"),
        (rb"\x28\xb5\x2f\xfd", "application/zstd"),
        (rb"\xfd7zXZ\x00", "application/x-xz"),
        (rb"BZh[1-9]1AY&SY", "application/x-bzip2"),
        (rb"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
        (rb"Rar!\x1a\x07", "application/vnd.rar"),
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF....WEBP", "image/webp"),
        (rb"....ftyp", "video/mp4"),
        (rb"%PDF-\d", "application/pdf"),
        (rb"PAR1", "application/vnd.apache.parquet"),
    )
)


@attrs.frozen
class FileType:
    """The type of a file.

    Args:
        compressed_as: The media type of a file that is compressed already; "" for one that is worth compressing.
        is_text: Whether its beginning, middle and end hold no NUL byte, so that its last lines alone are of use.
            (UTF-16 has NUL bytes, and is not cut.)
        can_be_redacted: Whether it is text, UTF-16 with a byte order mark included. In other files, a placeholder of
            another length than the secret would destroy the format.
        opened_as: The media type of text that people open with a click ("report.csv", "run.log"); "" for other files.
    """

    compressed_as: str
    is_text: bool
    can_be_redacted: bool
    opened_as: str = ""


def detect_type(source: Source, name: str) -> FileType:
    """Return the type of an open file, from its name and from samples of its content."""
    head = source.sample(0, _SAMPLE_BYTES)
    compressed_as = _by_suffix(name) or _by_beginning(head)
    if compressed_as:
        return FileType(compressed_as, is_text=False, can_be_redacted=False)
    offsets = (source.size_bytes // 2, max(0, source.size_bytes - _SAMPLE_BYTES))
    samples = (head, *(source.sample(offset, _SAMPLE_BYTES) for offset in offsets))
    is_text = not any(b"\0" in sample for sample in samples)
    is_in_letters = is_text or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    opened_as = _by_suffix(name, _OPENED) if is_in_letters else ""
    return FileType("", is_text, can_be_redacted=is_in_letters, opened_as=opened_as)


def _by_suffix(name: str, types: dict[str, str] = _TYPES) -> str:
    _, dot, suffix = name.lower().rpartition(".")
    return types.get(suffix, "") if dot else ""


def _by_beginning(head: bytes) -> str:
    return next((content_type for pattern, content_type in _BEGINNINGS if pattern.match(head)), "")
