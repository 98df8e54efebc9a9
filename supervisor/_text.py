"""Format numbers, durations and texts for people."""

from __future__ import annotations

import re
from math import floor, isfinite, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

KIB = 1024
MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S


_BLANKS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NOT_PLAIN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_SHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_EXACT = 1e15  # floats above cannot represent all whole numbers
_MOST_BITS = 4_000
_FRACTIONS_BELOW_S = 10  # durations below are shown with fractions of a second
_FRACTIONS_BELOW = 10  # and so are rates
_WHOLE_FROM = 3  # numbers in a range of durations from this on are shown without fractions
_THREE_DIGITS, _FOUR_DIGITS = 100, 1000
_TEENS = range(11, 20)


def duration(seconds: float) -> str:
    """Return a duration in at most two units ("250 ms", "41 s", "6 min 3 s", "3 h", "2 d 4 h")."""
    if not isfinite(seconds):
        return "an unknown time"
    seconds = max(0.0, seconds)
    if seconds < _FRACTIONS_BELOW_S:
        thousandths = seconds * 1000
        return f"{seconds:.3g} s" if seconds >= 1 else f"{thousandths:.3g} ms" if thousandths >= 1 else "less than 1 ms"
    whole = round(seconds)
    for unit_s, unit, smaller_s, smaller in (
        (DAY_S, "d", HOUR_S, "h"),
        (HOUR_S, "h", MINUTE_S, "min"),
        (MINUTE_S, "min", 1, "s"),
    ):
        if whole >= unit_s:
            rest = whole % unit_s // smaller_s
            return f"{whole // unit_s} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def size(count: float) -> str:
    """Return a number of bytes with three significant digits ("812 B", "4.5 KB", "18 MB"); a KB is 1,024 bytes."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < _FOUR_DIGITS:
            return f"{count:.0f} {unit}" if unit == "B" or count >= _THREE_DIGITS else f"{count:.3g} {unit}"
        count /= KIB
    return f"{count:.3g} TB"


def number(value: float) -> str:
    """Return a number with thousands separated and no redundant digits ("12,345", "0.25", "1.5")."""
    if isinstance(value, int) or value.is_integer():
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}"


def counted(count: int, noun: str) -> str:
    """Return a number with a noun ("1 run", "12 runs", "2 successes"); the word "more" has no plural."""
    plural = "" if count == 1 or noun == "more" else "es" if noun.endswith("s") else "s"
    return f"{number(count)} {noun}{plural}"


def local_time(instant: datetime) -> str:
    """Return an instant in local time with its offset from UTC ("2026-03-01 02:00:03 -0700")."""
    return instant.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def value_text(value: object) -> str:
    """Return a recorded value as text: numbers with thousands separated, anything else by ``str``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if abs(value) < _EXACT:  # False for a NaN
        return number(value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:  # Python refuses to write more than 4,300 digits
        return f"about {'-' if value < 0 else ''}10^{int((value.bit_length() - 1) * log10(2))}"
    return str(value)


def number_range(low: float, high: float) -> str:
    """Return a range of numbers, rounded by the size of their difference ("11,900-12,300", "29", "-3 to 4")."""
    step = 10.0 ** floor(log10((high - low) / 2)) if high - low > 0 and isfinite(high - low) else 0.0
    texts = dict.fromkeys(value_text(_stepped(each, step)) for each in (low, high))
    return (" to " if low < 0 else "-").join(texts)


def _stepped(value: float, step: float) -> float:
    """Return a number rounded to a multiple of a power of ten; unchanged for a step of 0."""
    if step == 0:
        return value
    if step >= 1:
        return round(value / step) * round(step)
    return value if isinstance(value, int) else round(value, -floor(log10(step)))


def duration_range(low_s: float, high_s: float) -> str:
    """Return a range of durations in one unit ("6-7 min", "41 s", "1.5-2 h")."""
    for unit_s, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min"), (1.0, "s")):
        if high_s >= 1.5 * unit_s:
            texts = dict.fromkeys(_short(each / unit_s) for each in (low_s, high_s))
            return f"{'-'.join(texts)} {unit}"
    return " to ".join(dict.fromkeys((duration(low_s), duration(high_s))))


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= _WHOLE_FROM else f"{value:.1f}".removesuffix(".0")


def ordinal(count: int) -> str:
    """Return an ordinal number ("third", "11th", "22nd")."""
    if 0 < count < len(_ORDINALS):
        return _ORDINALS[count]
    ending = "th" if count % 100 in _TEENS else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count:,}{ending}"


def rate(per_second: float) -> str:
    """Return a rate in the largest unit in which it is at least 1 ("1,204/s", "8.5/s", "3.2/min", "2/h")."""
    if not isfinite(per_second):
        return "an unknown rate"
    for factor, unit in ((1, "s"), (MINUTE_S, "min")):
        if per_second * factor >= 1:
            digits = 1 if per_second * factor < _FRACTIONS_BELOW else None
            return f"{number(round(per_second * factor, digits))}/{unit}"
    return f"{per_second * HOUR_S:.2g}/h"


def one_line(text: str, limit: int = 200) -> str:
    """Return a text for a headline: without line breaks and control characters, at most ``limit`` characters."""
    # A lone surrogate (from a file name that is no UTF-8) cannot be encoded: it becomes a question mark.
    whole = text[: 4 * limit].encode("utf-8", "replace").decode()
    line = " ".join(without_controls(whole).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def without_controls(text: str) -> str:
    """Return a text that is safe to print on a terminal: tabs and control characters become blanks."""
    return text.translate(_BLANKS)


def printable(text: str) -> str:
    """Return a text that can be shown and encoded; of control characters, it contains only line feeds and tabs.

    Other line breaks become line feeds, the colours of terminals are removed, and U+FFFD replaces other control
    characters and lone surrogates (from file names that are not UTF-8).
    """
    if _NOT_PLAIN.search(text) is None:
        return text
    text = _COLOURS.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _NOT_SHOWN.sub("\ufffd", valid_unicode(text))


def valid_unicode(text: str) -> str:
    """Return a text in valid Unicode and without NUL; U+FFFD replaces what is not allowed.

    Lone surrogates come from file names that are not UTF-8; JSON parsers of other languages refuse them. A pair of
    surrogates becomes the character that it stands for. NUL ends a text early in programs written in C, and databases
    refuse it.
    """
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return str(text).replace("\0", "\ufffd")


def cut_middle(text: str, limit: int) -> str:
    """Return a text of about ``limit`` characters at most; a note says how many were left out of its middle."""
    if len(text) <= limit:
        return text
    head = limit // 2
    tail = limit - head
    left_out = len(text) - limit
    return f"{text[:head].rstrip()}\n\n[... {left_out:,} characters left out ...]\n\n{text[-tail:].lstrip()}"


def file_name(path: str) -> str:
    """Return the last part of a path of any platform, with slashes or backslashes."""
    return path.replace("\\", "/").rpartition("/")[2]
