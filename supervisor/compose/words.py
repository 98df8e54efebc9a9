"""Numbers and texts as a person says them."""

from __future__ import annotations

import os
from math import isfinite

KIB = 1024
MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S


_BLANKS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")


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
    """Return a number of things ("1 run", "12 runs"); "more" stays as it is."""
    return f"{number(count)} {noun}" + ("" if count == 1 or noun == "more" else "s")


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
