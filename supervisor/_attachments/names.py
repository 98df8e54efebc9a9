"""Names of attachments that are safe in headers and on the receiver's disk, and the redactor for names and content."""

from __future__ import annotations

import re
import unicodedata
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
