"""Numbers and texts as a person says them."""

from __future__ import annotations

import os
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
_EXACT = 1e15  # beyond it floats skip whole numbers
_MOST_BITS = 4_000


def duration(seconds: float) -> str:
    """Return a duration with the two units that matter ("250 ms", "41 s", "6 min 3 s", "3 h", "2 d 4 h")."""
    if not isfinite(seconds):
        return "an unknown time"
    seconds = max(0.0, seconds)
    if seconds < 10:  # noqa: PLR2004 - below it, fractions matter
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
    """Return a number of bytes with three digits that matter ("812 B", "4.5 KB", "18 MB"), in steps of 1,024."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - three digits
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"  # noqa: PLR2004
        count /= KIB
    return f"{count:.3g} TB"


def number(value: float) -> str:
    """Return a number with thousands separated and no needless digits ("12,345", "0.25", "1.5")."""
    if isinstance(value, int) or value.is_integer():
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}"


def counted(count: int, noun: str) -> str:
    """Return a number of things ("1 run", "12 runs", "2 successes"); "more" stays as it is."""
    plural = "" if count == 1 or noun == "more" else "es" if noun.endswith("s") else "s"
    return f"{number(count)} {noun}{plural}"


def local_time(instant: datetime) -> str:
    """Return an instant in the machine's own time with its offset ("2026-03-01 02:00:03 -0700")."""
    return instant.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def value_text(value: object) -> str:
    """Return a recorded value as a person writes it: numbers with thousands separated, the rest as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if abs(value) < _EXACT:  # a NaN is not below it
        return number(value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:  # Python refuses to write more than 4,300 digits
        return f"about {'-' if value < 0 else ''}10^{int((value.bit_length() - 1) * log10(2))}"
    return str(value)


def number_range(low: float, high: float) -> str:
    """Return what lies between two numbers, no finer than what they differ by ("11,900-12,300", "29", "-3 to 4")."""
    step = 10.0 ** floor(log10((high - low) / 2)) if high - low > 0 and isfinite(high - low) else 0.0
    texts = dict.fromkeys(value_text(_stepped(each, step)) for each in (low, high))
    return (" to " if low < 0 else "-").join(texts)


def _stepped(value: float, step: float) -> float:
    """Return a number as a multiple of a power of ten."""
    if step == 0:
        return value
    if step >= 1:
        return round(value / step) * round(step)
    return value if isinstance(value, int) else round(value, -floor(log10(step)))


def duration_range(low_s: float, high_s: float) -> str:
    """Return what lies between two durations in one unit ("6-7 min", "41 s", "1.5-2 h")."""
    for unit_s, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min"), (1.0, "s")):
        if high_s >= 1.5 * unit_s:
            texts = dict.fromkeys(_short(each / unit_s) for each in (low_s, high_s))
            return f"{'-'.join(texts)} {unit}"
    return " to ".join(dict.fromkeys((duration(low_s), duration(high_s))))


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 3 else f"{value:.1f}".removesuffix(".0")  # noqa: PLR2004 - digits


def ordinal(count: int) -> str:
    """Return a place in a row ("third", "11th", "22nd")."""
    if 0 < count < len(_ORDINALS):
        return _ORDINALS[count]
    ending = "th" if 10 < count % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")  # noqa: PLR2004
    return f"{count:,}{ending}"


def rate(per_second: float) -> str:
    """Return a rate in the unit that has digits before the point ("1,204/s", "8.5/s", "3.2/min", "2/h")."""
    if not isfinite(per_second):
        return "an unknown rate"
    for factor, unit in ((1, "s"), (MINUTE_S, "min")):
        if per_second * factor >= 1:
            return f"{number(round(per_second * factor, 1 if per_second * factor < 10 else None))}/{unit}"  # noqa: PLR2004 - digits
    return f"{per_second * HOUR_S:.2g}/h"


def one_line(text: str, limit: int = 200) -> str:
    """Return a text fit for a headline: no line breaks or control characters, cut at ``limit`` characters."""
    # A lone surrogate (a file name that is no UTF-8) cannot be written anywhere: it becomes a question mark.
    whole = text[: 4 * limit].encode("utf-8", "replace").decode()
    line = " ".join(without_controls(whole).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def without_controls(text: str) -> str:
    """Return a text that can neither move a cursor nor ring a bell: tabs and control characters become blanks."""
    return text.translate(_BLANKS)


def plain(text: str) -> str:
    """Return a text of any number of lines that can be shown and encoded: only line feeds and tabs are left.

    Other line breaks become line feeds, colours of terminals go, and U+FFFD stands for what else cannot be shown:
    control characters and half characters (lone surrogates, from file names that are not UTF-8).
    """
    if _NOT_PLAIN.search(text) is None:
        return text
    text = _COLOURS.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _NOT_SHOWN.sub("\ufffd", whole)


def cut_middle(text: str, limit: int) -> str:
    """Return a text of at most about ``limit`` characters, saying how many were left out of its middle."""
    if len(text) <= limit:
        return text
    head = limit // 2
    tail = limit - head
    left_out = len(text) - limit
    return f"{text[:head].rstrip()}\n\n[... {left_out:,} characters left out ...]\n\n{text[-tail:].lstrip()}"


def file_name(path: str) -> str:
    """Return the last part of a path, whichever way its slashes lean."""
    return os.path.basename(path.replace("\\", "/"))  # noqa: PTH119 - a foreign path is text here
