"""File names that are safe in headers and on the receiver's disk.

- What takes secrets out of the text that is attached, while it is copied.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor._redaction import BytesFilter, Redactor

# Leaves room for ".gz" and "-123", so that no name passes 120 characters.
LONGEST = 110
# Quotes, semicolons and slashes break headers; SendGrid refuses ";" and CR/LF in names
# (https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors). Windows cannot save the others.
_FORBIDDEN = frozenset("\"'`;:/\\<>|?*")
_EXTENSIONS = re.compile(r"(?<=.)(?:\.(?:[A-Za-z][A-Za-z0-9]{0,7}|7z)){0,2}(?:\.(?:gz|zip))?$")


def safe_name(name: str) -> str:
    """Return a name as one line of at most 110 printable characters with its extensions, letters of all scripts kept.

    Format characters vanish (among them those that reverse the reading direction, to pass "exe.png" for "gnp.exe");
    other unsafe ones become "_"; a name of nothing else becomes "attachment".
    """
    if len(name) > 10 * LONGEST:
        name = name[: 5 * LONGEST] + name[-LONGEST:]
    # Normalised first: a Greek question mark turns into a semicolon.
    kept = "".join(_safe(c) for c in unicodedata.normalize("NFC", name))
    kept = " ".join(kept.split()).rstrip(" .")
    stem, extensions = split(kept)
    stem = stem[: LONGEST - len(extensions)].rstrip(" .")
    return stem + extensions if stem.strip("_.") else f"attachment{extensions}"


def entry_name(name: str) -> str:
    """Return one part of a path inside an archive: printable, and no separator on any platform."""
    kept = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in name)
    return "_" if kept in {"", ".", ".."} else kept


def distinct(name: str, taken: dict[str, int], *, key: Callable[[str], str] = str.casefold) -> str:
    """Return a name that nobody took before: "a.log.gz", then "a-2.log.gz", "a-3.log.gz".

    Args:
        name: The name that is wanted.
        taken: What was taken before, by key, with the last number tried; the answer is added.
        key: What must differ; without upper and lower case by default, as some disks do not tell them apart.
    """
    stem, extensions = split(name)
    number = taken.get(key(name), 0)
    chosen = name
    while key(chosen) in taken:
        number = max(number, 1) + 1
        chosen = f"{stem}-{number}{extensions}"
    taken[key(name)] = number
    taken.setdefault(key(chosen), 0)
    return chosen


def split(name: str) -> tuple[str, str]:
    """Return a name as what may be cut and the extensions that tell what it is ("parcels", ".log.gz")."""
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
    """Let a redactor look at all text that is attached in the block.

    Args:
        redactor: Returns it; it is asked only when there is text to look at. None for one that knows no credentials.
    """
    token = _redactor.set(redactor)
    try:
        yield
    finally:
        _redactor.reset(token)


def new_redaction_filter() -> BytesFilter:
    """Return what redacts one text on its way through."""
    return _current_redactor().bytes_filter()


def redacted_name(name: str) -> str:
    """Return the name of a file without secrets."""
    return _current_redactor().text(name)


def _current_redactor() -> Redactor:
    chosen = _redactor.get()
    if chosen is not None:
        return chosen()
    from supervisor._redaction import Redactor

    return Redactor()
