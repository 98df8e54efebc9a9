"""Texts and data that are safe in a page, whoever wrote them."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from math import isfinite
from typing import Any

from supervisor._text import cut_middle, number

_MAX_EXACT = 1 << 53  # beyond it, JavaScript's numbers are not exact

# A terminal's own words: colours, titles, cursor movements (ECMA-48). In a page they would only be noise.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,999}(?:\x07|\x1b\\)|[@-Z\\-_])")

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), 0xAD)
# They turn the direction of what follows, or show nothing: a name with one could pass for another.
# Joiners (U+200C, U+200D) stay: Persian and emoji need them.
_UNSEEN = (0x061C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
_SURROGATES = range(0xD800, 0xE000)
_VISIBLE = {code: f"\\x{code:02x}" for code in _CONTROLS} | {
    code: f"\\u{code:04x}" for code in (*_UNSEEN, *_SURROGATES)
}
_VISIBLE_LINES = {code: shown for code, shown in _VISIBLE.items() if code not in (0x09, 0x0A)}


def line(text: str, limit: int = 200) -> str:
    """Return a text for one line, cut at ``limit`` characters; what cannot be seen stands there as an escape."""
    text = text[: 4 * limit]
    if not (text.isascii() and text.isprintable()):
        text = " ".join(_ANSI.sub("", text).split()).translate(_VISIBLE)
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def lines(text: str, limit: int = 20_000) -> str:
    """Return a text of several lines, cut in its middle; what cannot be seen stands there as an escape."""
    text = cut_middle(text, limit)
    return _ANSI.sub("", text).replace("\r\n", "\n").translate(_VISIBLE_LINES)


def plain_number(value: Any) -> float | None:
    """Return a recorded value as a number that a chart can show, or None when it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    try:
        known = float(value)
    except (OverflowError, ValueError):
        return None
    return known if isfinite(known) else None


def shown_value(value: Any, limit: int = 200) -> float | str:
    """Return a recorded value as the page keeps it: numbers as numbers, all else as one line of text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -_MAX_EXACT < value < _MAX_EXACT else _long_number(value)
    known = plain_number(value)
    if known is not None:
        return known
    return line(value if isinstance(value, str) else _text(value), limit)


def _long_number(value: int) -> str:
    return number(value) if value.bit_length() < 1_000 else f"a number of {value.bit_length():,} bits"  # noqa: PLR2004 - Python refuses very long decimals


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        import reprlib  # what is nested may be of any size

        return reprlib.repr(value)
    return str(value)


def json_for_html(data: Any) -> str:
    """Return data as JSON that can stand in a ``script`` element: nothing in it can end the element.

    Raises:
        ValueError: A number is not finite, which JSON cannot say.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # https://html.spec.whatwg.org/multipage/scripting.html#restrictions-for-contents-of-script-elements
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
