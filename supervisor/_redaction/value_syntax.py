"""Where a value begins and ends, in all the ways in which values are written."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple


class Value(NamedTuple):
    """A place that holds a value.

    Args:
        start: Where it begins, behind an opening quote.
        end: Where it ends, before a closing quote.
        is_quoted: Whether it is within quotes.
        is_header: Whether it stands where a header has its credentials.
    """

    start: int
    end: int
    is_quoted: bool = False
    is_header: bool = False


# Two or three quotes open a value where something follows; alone they are an empty one.
_OPENING = re.compile(
    rb"""[bBrRuUfF]{0,2}+(?P<quote>\\{0,16}(?:"{2,3}|'{2,3})(?=[^\s,;:)\]}"'\\])"""
    rb"""|(?P<one>\\{1,16}["']|\\{0,16}&(?:quot|\#34|\#39|\#x27);)(?P=one){1,2}(?=[^\s,;:)\]}&\\])"""
    rb"""|\\{0,16}(?:["'`]|&quot;|&\#(?:34|39|x27);))"""
)
_MARKER = rb"\[redacted: [^\]\n]{1,60}\]"
# A value without quotes ends at a blank. Punctuation ends it where the next key follows or nothing does: passwords
# have punctuation, and so have query strings, connection strings and calls.
_ENDS = (
    rb"""[,;](?:[\s"'`\\)\]}]|\Z|["']?[A-Za-z_][\w.-]{0,40}+(?:[ ][\w.-]{1,40}+)?["']?[ \t]{0,3}"""
    rb"""(?:=(?![=\r\n]|\Z)|:[\s"']))"""
    rb"""|&(?:\s|\Z|[\w.-]{1,60}+=|(?:amp;)[\w.-]{1,60}+=)"""
    rb"""|&(?:quot|\#34|\#39|\#x27);(?:[\s,;:)\]}>.+\\<&]|\Z)|&gt;(?:[\s,;.:"'`\\<&]|\Z)"""
    rb"""|&lt;(?:/|(?:br|td|tr|p|div|span|b|i)\b)"""
    rb"""|[)\]}>]{1,8}+(?:[\s,;.:"'`\\]|\Z)"""
    rb"""|\\{0,16}["'`](?:[\s,;:)\]}>.+\\]|\Z)"""
    rb"""|\\(?:r|n)|<(?:/|(?:br|td|tr|p|div|span|b|i)\b)"""
)
_UNQUOTED = re.compile(rb"(?:" + _MARKER + rb"|(?!" + _ENDS + rb")\S)++")
_UNQUOTED_IN_URL = re.compile(rb"(?:" + _MARKER + rb"|(?!%26|" + _ENDS + rb")\S)++")
_IN_BRACKETS = re.compile(
    rb"(?!\[redacted: )"
    rb"(?:\((?P<a>[^()\n]{1,1000}+)\)|\[(?P<b>[^\[\]\n]{1,1000}+)\]|\{(?P<c>(?:[^{}\n]|\}\}){1,1000}+)\})"
)
_REST = re.compile(rb"(?:(?!\\[rn])[^\r\n])*+")
_NEXT_KEY = re.compile(rb"[\s,;&][\w.-]{1,60}+\s?[=:]")
_IN_TAGS = re.compile(rb"(?:(?!&lt;/)[^<\n]){1,512}+(?=</|&lt;/)")


def quoted(data: bytes, at: int) -> Value | None:
    """Return the value within quotes; it goes up to the end of the line where the closing quote is missing."""
    opening = _OPENING.match(data, at)
    if opening is None:
        return None
    body = _body(opening["quote"]).match(data, opening.end())
    return Value(opening.end(), body.end() if body is not None else opening.end(), is_quoted=True)


@cache
def _body(quote: bytes) -> re.Pattern[bytes]:
    """Return what stands within quotes of one kind: escaped and doubled ones belong to it."""
    closing = re.escape(quote)
    if quote.startswith(b"\\"):  # escaped by a text that this one stands in: inner ones have more backslashes
        backslashes = len(quote) - len(quote.lstrip(b"\\"))
        escaped = rb"\\{%d,%d}+[\"'`]" % (backslashes + 1, backslashes + 16)
        return re.compile(rb"(?:%s|(?!%s)[^\n]|%s)*+" % (escaped, closing, closing * 2))
    return re.compile(rb"(?:(?!%s)[^\\\n]|\\[^\n]|%s)*+" % (closing, closing * 2))


def unquoted(data: bytes, at: int, *, in_url: bool = False) -> Value | None:
    """Return the value up to a blank or to what cannot belong to it.

    Args:
        data: What to look at.
        at: Where the value begins.
        in_url: It stands in an address that is itself quoted in a URL, where ``%26`` is what separates.
    """
    match = (_UNQUOTED_IN_URL if in_url else _UNQUOTED).match(data, at)
    return Value(*match.span()) if match is not None else None


def bracketed(data: bytes, at: int) -> Value | None:
    """Return what is within brackets, on one line."""
    match = _IN_BRACKETS.match(data, at)
    return Value(*match.span(match.lastgroup or 0), is_quoted=True) if match is not None else None


def rest_of_line(data: bytes, at: int, *, alone: bool = False) -> Value | None:
    r"""Return all up to the end of the line, also one that is written out as ``\r\n``.

    Args:
        data: What to look at.
        at: Where it begins.
        alone: Return None where another key follows in the line.
    """
    match = _REST.match(data, at)
    if match is None or (alone and _NEXT_KEY.search(data, *match.span())):
        return None
    return Value(at, at + len(match[0].rstrip())) if match[0].strip() else None


def within_tags(data: bytes, at: int) -> Value | None:
    """Return the text of an XML element, which may itself be quoted as text."""
    match = _IN_TAGS.match(data, at)
    return Value(*match.span(), is_quoted=True) if match is not None else None
