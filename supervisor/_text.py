"""Format numbers, durations and texts for people."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from math import floor, isfinite, log10
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime, tzinfo

KIB = 1024
MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S


_BLANKS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")
_UNSEEN_ONES = (0xAD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
_TAGS = range(0xE0000, 0xE0080)
UNSEEN = {code: f"\\u{code:04x}" for code in _UNSEEN_ONES} | {code: f"\\U{code:08x}" for code in _TAGS}
"""What turns the direction of a text, or shows nothing, and the escape that is shown instead: with one of these, a name
could pass for another. Joiners (U+200C, U+200D) are not among them: Persian and emoji need them."""

ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,999}(?:\x07|\x1b\\)|[()*+][0-9A-Z]|[@-Z\\-_])")
"""What terminals take as orders: colours, titles, links, movements of the cursor (ECMA-48)."""

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
_MARGIN = 20_000  # a secret at the border of a piece is shorter than this


class Fit(NamedTuple):
    """How a text is to fit.

    Args:
        limit: The most characters, about.
        is_line: Whether it becomes one line, whose end is left out; otherwise the middle of the text is.
    """

    limit: int
    is_line: bool = False


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


def is_address(text: str) -> bool:
    """Return whether a text is the address of a web page, and nothing else."""
    scheme, _, rest = text.partition("://")
    has_host = rest[:1].isalnum() or rest.startswith("[")  # a name, or a number of IPv6
    return scheme in ("https", "http") and has_host and text.isprintable() and " " not in text


_zone: ContextVar[str | None] = ContextVar("supervisor_zone", default=None)


@contextmanager
def in_zone(name: str | None) -> Iterator[None]:
    """Show instants in a time zone in the block; None leaves it as it is."""
    if name is None:
        yield
        return
    token = _zone.set(name)
    try:
        yield
    finally:
        _zone.reset(token)


class _Configured:
    """What is configured for this process.

    Attributes:
        zone: Returns the time zone that the configuration names; None where commands have set none.
    """

    zone: Callable[[], str | None] | None = None


def show_times_in(zone: Callable[[], str | None] | None) -> None:
    """Show instants that belong to no run's zone in another one; for commands.

    Args:
        zone: Returns its name, or None for the machine's; called when a time is first shown. None ends it.
    """
    _Configured.zone = cache(zone) if zone is not None else None


def shown_zone() -> tzinfo | None:
    """Return the zone that people are shown: a run's, that of the configuration, or None for the machine's."""
    configured = _Configured.zone() if _Configured.zone is not None else None
    name = _zone.get() or configured or os.environ.get("SUPERVISOR_TIMEZONE", "").strip()
    return _zone_of(name) if name else None


def localized(instant: datetime) -> datetime:
    """Return an aware instant in the zone that people are shown, see :func:`shown_zone`."""
    return instant.astimezone(shown_zone())


@lru_cache(maxsize=8)
def _zone_of(name: str) -> tzinfo | None:
    """Return a zone by its name; None, which is the machine's, for one that is not known."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a message is better in another zone than not at all
        return None


def local_time(instant: datetime) -> str:
    """Return an instant in local time with its offset from UTC ("2026-03-01 02:00:03 -0700")."""
    return localized(instant).strftime("%Y-%m-%d %H:%M:%S %z")


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
    return _ORDINALS[count] if 0 < count < len(_ORDINALS) else nth(count)


def nth(count: int) -> str:
    """Return an ordinal number in digits ("1st", "3rd", "11th")."""
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
    """Return a text for a headline, of at most ``limit`` characters.

    Line breaks and control characters become blanks, and what would not be seen is shown as an escape.
    """
    # A lone surrogate (from a file name that is no UTF-8) cannot be encoded: it becomes a question mark.
    whole = text[: 4 * limit].encode("utf-8", "replace").decode()
    line = " ".join(whole.translate(_BLANKS).split())
    if not line.isascii():
        line = line.translate(UNSEEN)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def fitted(texts: Iterable[str], fits: Iterable[Fit]) -> list[str]:
    """Return texts of bounded length, each as it is to fit."""
    return [
        one_line(text, fit.limit) if fit.is_line else cut_middle(text, fit.limit)
        for text, fit in zip(texts, fits, strict=True)
    ]


def without_controls(text: str) -> str:
    """Return a text that is safe to print on a terminal, like :func:`one_line` but with all of its blanks."""
    return text.translate(_BLANKS | UNSEEN)


def printable(text: str) -> str:
    """Return a text that can be shown and encoded; of control characters, it contains only line feeds and tabs.

    Other line breaks become line feeds, escape sequences of terminals are removed, and U+FFFD replaces other control
    characters and lone surrogates (from file names that are not UTF-8). What would not be seen is shown as an escape.
    """
    if not text.isascii():
        text = text.translate(UNSEEN)
    if _NOT_PLAIN.search(text) is None:
        return text
    text = ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _NOT_SHOWN.sub("\ufffd", valid_unicode(text))


def all_printable(texts: Iterable[str]) -> list[str]:
    """Return texts that can be shown and encoded, see :func:`printable`."""
    return [printable(each) for each in texts]


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


def cut_clean(text: str, limit: int, clean: Callable[[str], str]) -> str:
    """Return what ``clean`` makes of a text, cut in its middle to about ``limit`` characters.

    Of a text that is much longer, only as much is cleaned as is shown, and a margin: what is cut at the border of a
    piece, such as half a secret, is not shown.
    """
    if len(text) <= limit + 2 * _MARGIN:
        return cut_middle(clean(text), limit)
    half = limit // 2
    head, tail = clean(text[: half + _MARGIN]), clean(text[-half - _MARGIN :])
    # What is cleaned may be far shorter than it was, so that its first half million characters would have the border.
    head, tail = head[: min(half, max(len(head) - _MARGIN, 0))], tail[max(len(tail) - half, _MARGIN) :]
    return f"{head.rstrip()}\n\n[... {len(text) - 2 * half:,} characters left out ...]\n\n{tail.lstrip()}"
