"""The source code at the frames of a traceback, and the marks below the part of a line that failed."""

from __future__ import annotations

import linecache
from itertools import islice
from typing import TYPE_CHECKING

from supervisor._exceptions.plain import fit_line

if TYPE_CHECKING:
    from supervisor._exceptions.frames import Frame
    from supervisor._redaction import Redactor

SOURCE_LINE_LIMIT = 200
AROUND = 2
"""How many lines are shown before and after the one that failed."""

_NEAR = 5  # so many lines around are redacted together, since a value may be on another line than its key
_FAR = 80  # so many in a file with a private key, which has many lines
_FAR_LIMIT = 100_000
_KEY = "-----BEGIN "


class Sources:
    """The source files of one traceback; each is read once.

    Args:
        redactor: Removes secrets from lines; None keeps them.
    """

    def __init__(self, redactor: Redactor | None) -> None:
        self._redactor = redactor
        self._files: dict[str, tuple[list[str], int]] = {}

    def line(self, frame: Frame) -> str:
        """Return the source line of a frame; "" if it cannot be read.

        It may contain secrets, but none that can be recognized only by the lines around it.
        """
        lines, reach = self._file(frame)
        if not 0 < frame.line <= len(lines):
            return ""
        if reach == _FAR:
            return _clean(lines, frame.line, frame.line, self._redactor, reach)[0]
        return lines[frame.line - 1].rstrip()

    def bounded(self, line: str) -> str:
        """Return a line without its indentation; only the beginning of a long one, without secrets."""
        text = line.strip()
        return text if len(text) <= SOURCE_LINE_LIMIT else fit_line(text, SOURCE_LINE_LIMIT, self._redactor)

    def marks(self, frame: Frame, line: str) -> str:
        """Return the marks below the part of a line that failed; "" if that is all of it or not known."""
        if len(line) > SOURCE_LINE_LIMIT:
            return ""
        columns = _columns(frame, line)
        if columns is None:
            return ""
        start, end = columns
        indentation = len(line) - len(line.lstrip())
        if start <= indentation and end >= len(line):
            return ""
        return " " * _width(line[indentation:start]) + "^" * _width(line[start:end])

    def excerpt(self, frame: Frame) -> tuple[str, str]:
        """Return the source line of a frame, and the same with the lines around it, numbered; both without secrets."""
        lines, reach = self._file(frame)
        if not 0 < frame.line <= len(lines):
            return "", ""
        first, last = max(1, frame.line - AROUND), min(len(lines), frame.line + AROUND)
        while first < frame.line and not lines[first - 1].strip():
            first += 1
        while last > frame.line and not lines[last - 1].strip():
            last -= 1
        shown = _clean(lines, first, last, self._redactor, reach)
        there, line = shown[frame.line - first], lines[frame.line - 1].rstrip()
        marks = self.marks(frame, line) if there == line.expandtabs() else ""
        return there.strip(), _numbered(shown, first, frame.line, marks)

    def _file(self, frame: Frame) -> tuple[list[str], int]:
        """Return the lines of a frame's file, and how many lines around one are needed to recognize a secret."""
        found = self._files.get(frame.path)
        if found is None:
            lines = _read(frame)
            has_key = self._redactor is not None and any(_KEY in each for each in lines)
            found = self._files[frame.path] = lines, _FAR if has_key else _NEAR
        return found


def _read(frame: Frame) -> list[str]:
    """Return the current lines of a frame's file; [] if they cannot be read."""
    try:
        linecache.checkcache(frame.path)
        if frame.path not in linecache.cache:
            linecache.lazycache(frame.path, frame.trace.tb_frame.f_globals)  # for a module in a ZIP file
        return linecache.getlines(frame.path)
    except Exception:  # noqa: BLE001 - the run's boundary: a module's own loader may raise, and a path may be invalid
        return []


def _columns(frame: Frame, line: str) -> tuple[int, int] | None:
    """Return the beginning and end of the part of a line that failed, in characters; None if not known."""
    position = next(islice(frame.code.co_positions(), frame.trace.tb_lasti // 2, None), None)
    if position is None:
        return None
    first, last, start, end = position
    if first != frame.line or last is None or start is None or end is None:
        return None
    if not line.isascii():  # Python gives the columns in bytes
        data = line.encode("utf-8", "surrogatepass")
        start, end = (len(data[:at].decode("utf-8", "replace")) for at in (start, end))
    if last != first:
        end = len(line)
    return (start, end) if start < end <= len(line) else None


def _width(text: str) -> int:
    """Return how many columns a text takes; East Asian characters take two."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(each) in "WF" else 1 for each in text)


def _clean(lines: list[str], first: int, last: int, redactor: Redactor | None, reach: int) -> list[str]:
    """Return lines without secrets, bounded; they are redacted together with the lines around them."""
    shown = [each.rstrip() for each in lines[first - 1 : last]]
    if redactor is not None:
        start = max(0, first - 1 - reach)
        around = "\n".join(each.rstrip() for each in lines[start : last + reach])
        if len(around) > _FAR_LIMIT:  # generated code
            shown = [fit_line(each, SOURCE_LINE_LIMIT, redactor) for each in shown]
        else:
            shown = _clean_within(around, first - 1 - start, shown, redactor)
    return [fit_line(each.expandtabs(), SOURCE_LINE_LIMIT, None) for each in shown]


def _clean_within(around: str, at: int, shown: list[str], redactor: Redactor) -> list[str]:
    """Return lines without the secrets that are found in the whole text around them.

    Args:
        around: The lines around, including these.
        at: The number of lines before these.
        shown: The lines.
        redactor: Removes the secrets.
    """
    redacted = redactor.text(around)
    after = redacted.split("\n")
    if len(after) == around.count("\n") + 1:
        return after[at : at + len(shown)]
    # A secret of several lines was replaced by one marker; only lines that still occur were not part of it.
    left = set(after)
    return [each if each in left else "[redacted]" for each in shown]


def _numbered(lines: list[str], first: int, failed: int, marks: str) -> str:
    """Return lines with their numbers, without common indentation; ">" marks the one that failed."""
    shared = min((len(each) - len(each.lstrip()) for each in lines if each.strip()), default=0)
    digits = len(str(first + len(lines) - 1))
    numbered = []
    for number, line in enumerate(lines, first):
        sign = ">" if number == failed else " "
        numbered.append(f"{sign} {number:>{digits}} | {line[shared:]}".rstrip())
        if number == failed and marks:
            indentation = len(line) - len(line.lstrip()) - shared
            numbered.append(f"  {'':>{digits}} | {' ' * indentation}{marks}")
    return "\n".join(numbered)
