"""Texts that every service can take, whatever a script put into them."""

from __future__ import annotations


def whole(text: str) -> str:
    """Return a text in valid Unicode and without NUL, with U+FFFD for what had to go.

    Half characters (lone surrogates) come from file names that are not UTF-8; JSON parsers of other languages refuse
    them. Two halves that belong together become one character. NUL ends texts early in what is written in C, and
    databases refuse it.
    """
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return str(text).replace("\0", "\ufffd")
