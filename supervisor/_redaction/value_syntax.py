"""What secrets look like in some bytes: their spans, and what replaces them; and the syntax of values.

The syntax tells where a value begins and ends, and which values cannot be secrets, such as placeholders.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from supervisor._redaction.secret_names import LONGEST_NAME, secret_kind

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORTEST_TOKEN = 6
_LONGEST_WORD = 24

MARKER = rb"\[redacted: [^\]\n]{1,60}\]"
"""A pattern of what stands in the place of a secret."""

QUOTE = rb"""\\{0,16}(?:["'`]|&quot;|&\#(?:34|39|x27);)"""
"""A pattern of a quote, also of one within a quoted text or HTML."""

_HIDDEN = re.compile(rb"[(\[{]{0,3}" + MARKER + rb"|\*+\Z")


class Span(NamedTuple):
    """One secret.

    Args:
        start: Where it begins.
        end: Where it ends.
        label: What kind of secret it is: letters, digits, blanks and ``._-``.
        origin: Where a search must begin to find it again: the beginning of its key, or else ``start``.
    """

    start: int
    end: int
    label: str
    origin: int


def marker(label: str) -> str:
    """Return what stands in the place of a secret."""
    return f"[redacted: {label}]"


def is_hidden(value: bytes) -> bool:
    """Return whether a value begins with a marker or consists of asterisks: its secret has been removed already."""
    return _HIDDEN.match(value) is not None


def with_markers(data: bytes, spans: Iterable[Span], start: int, end: int) -> bytes:
    """Return a part of some bytes with markers in the place of secrets.

    Args:
        data: All of the bytes.
        spans: The secrets, in order and without overlaps; those outside of the part are ignored.
        start: Where the part begins.
        end: Where it ends; no secret reaches across it.
    """
    pieces: list[bytes] = []
    for span in spans:
        if start <= span.start and span.end <= end:
            pieces += (data[start : span.start], marker(span.label).encode())
            start = span.end
    pieces.append(data[start:end])
    return b"".join(pieces)


def merged_spans(spans: list[Span]) -> list[Span]:
    """Return spans in order; those that overlap become one, with the label of the first."""
    result: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        last = result[-1] if result else None
        if last is None or span.start >= last.end:
            result.append(span)
        elif span.end > last.end:
            result[-1] = last._replace(end=span.end, origin=min(last.origin, span.origin))
    return result


def looks_random(value: bytes) -> bool:
    """Return whether a value is no word: it has digits, mixes small and capital letters, or is very long."""
    value = value.rstrip(b".,:;")
    if len(value) < _SHORTEST_TOKEN:
        return False
    has_digit = re.search(rb"\d", value) is not None
    is_mixed = re.search(rb"[a-z][A-Z][A-Za-z]*[a-z][A-Z]|[A-Z]{2}[a-z]+[A-Z]", value) is not None
    return has_digit or is_mixed or len(value) >= _LONGEST_WORD


class Value(NamedTuple):
    """Where a value is.

    Args:
        start: Where it begins, after an opening quote.
        end: Where it ends, before a closing quote.
        is_quoted: Whether it is quoted.
        is_header: Whether it is the credentials of an HTTP header.
    """

    start: int
    end: int
    is_quoted: bool = False
    is_header: bool = False


# Two or three quotes begin a value if something follows them; otherwise they are an empty value.
_OPENING = re.compile(
    rb"""[bBrRuUfFN]{0,2}+(?P<quote>\\{0,16}(?:"{2,3}|'{2,3})(?=[^\s,;:)\]}"'\\])"""
    rb"""|(?P<one>\\{1,16}["']|\\{0,16}&(?:quot|\#34|\#39|\#x27);)(?P=one){1,2}(?=[^\s,;:)\]}&\\])"""
    rb"""|\\{0,16}(?:["'`]|&quot;|&\#(?:34|39|x27);))"""
)
# A value without quotes ends at a blank. Punctuation ends it only if the next key or nothing follows, since passwords
# contain punctuation, and values occur in query strings, connection strings and calls.
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
_UNQUOTED = re.compile(rb"(?:" + MARKER + rb"|(?!" + _ENDS + rb")\S)++")
_UNQUOTED_IN_URL = re.compile(rb"(?:" + MARKER + rb"|(?!%26|" + _ENDS + rb")\S)++")
_IN_BRACKETS = re.compile(
    rb"(?!\[redacted: )"
    rb"(?:\((?P<a>[^()\n]{1,1000}+)\)|\[(?P<b>[^\[\]\n]{1,1000}+)\]|\{(?P<c>(?:[^{}\n]|\}\}){1,1000}+)\})"
)
_REST = re.compile(rb"(?:(?!\\[rn])[^\r\n])*+")
_NEXT_KEY = re.compile(rb"[\s,;&][\w.-]{1,60}+\s?[=:]")
_IN_TAGS = re.compile(rb"(?:(?!&lt;/)[^<\n]){1,512}+(?=</|&lt;/)")


def quoted_value(data: bytes, at: int) -> Value | None:
    """Return the value within quotes, or None; without a closing quote it ends with its line."""
    opening = _OPENING.match(data, at)
    if opening is None:
        return None
    body = _body(opening["quote"]).match(data, opening.end())
    return Value(opening.end(), body.end() if body is not None else opening.end(), is_quoted=True)


@cache
def _body(quote: bytes) -> re.Pattern[bytes]:
    """Return a pattern of what is within quotes of one kind; escaped and doubled quotes are part of it."""
    closing = re.escape(quote)
    if quote.startswith(b"\\"):  # the value is part of a quoted text; quotes within it have more backslashes
        backslashes = len(quote) - len(quote.lstrip(b"\\"))
        escaped = rb"\\{%d,%d}+[\"'`]" % (backslashes + 1, backslashes + 16)
        return re.compile(rb"(?:%s|(?!%s)[^\n]|%s)*+" % (escaped, closing, closing * 2))
    return re.compile(rb"(?:(?!%s)[^\\\n]|\\[^\n]|%s)*+" % (closing, closing * 2))


def unquoted_value(data: bytes, at: int, *, in_url: bool = False) -> Value | None:
    """Return the value up to a blank or to what cannot belong to it, or None.

    Args:
        data: The bytes.
        at: Where the value begins.
        in_url: The value is in a URL that is itself quoted in a URL, where ``%26`` separates parameters.
    """
    match = (_UNQUOTED_IN_URL if in_url else _UNQUOTED).match(data, at)
    return Value(*match.span()) if match is not None else None


def bracketed_value(data: bytes, at: int) -> Value | None:
    """Return what is within brackets, on one line, or None."""
    match = _IN_BRACKETS.match(data, at)
    return Value(*match.span(match.lastgroup or 0), is_quoted=True) if match is not None else None


def rest_of_line(data: bytes, at: int, *, alone: bool = False) -> Value | None:
    r"""Return everything up to the end of the line, which may be an escaped ``\r\n``, or None if that is nothing.

    Args:
        data: The bytes.
        at: Where the value begins.
        alone: Return None if another key follows in the line.
    """
    match = _REST.match(data, at)
    if match is None or (alone and _NEXT_KEY.search(data, *match.span())):
        return None
    return Value(at, at + len(match[0].rstrip())) if match[0].strip() else None


def tagged_value(data: bytes, at: int) -> Value | None:
    """Return the text of an XML element, or None; its tags may be escaped."""
    match = _IN_TAGS.match(data, at)
    return Value(*match.span(), is_quoted=True) if match is not None else None


# Placeholders: what stands in the place of a value and is no secret

_NOTHING = re.compile(
    rb"""\s*|(?i:none|null|nil|true|false|yes|no|on|off|undefined|nan|n/a)|[xX]{3,}|(?:\xe2\x80\xa2)+"""
    rb"""|[\[<(]?(?i:redacted|filtered|hidden|masked|removed|empty|unset|not[ ]set)[\])>]?"""
    # Placeholders: ${X}, {{ x }}, <x>, %(x)s, %s, %X%, $X
    rb"""|(?:\$\{|\{\{)[\w .:!-]*\}{0,2}|<[\w -]*>|%\(\w+\)[srd]|%[srdi]|%[A-Z_]+%|\$[A-Z_]+|\?"""
    rb"""|[\[({})\]<>.,;:|&+*/=\\-]{1,3}"""
)
_WORDS = frozenset(
    b"a accepted an and are at authentication been by can cannot changed check default denied did disabled does empty "
    b"enabled end entered error expected expired failed failure for found from given has have in incorrect invalid is "
    b"its locked mismatch missing must needed needs no none not of ok on only optional or prompt provided rejected "
    b"absent available cached created deleted fetched loaded present refreshed renewed revoked rotated stored supplied "
    b"required reset sent set should that the to too unexpected unknown unset updated used was were will with wrong "
    b"your password passphrase".split()
)
_TYPES = frozenset(b"str bytes int bool object Any String SecretStr string str,".split())
# A value that begins like this is source code, as in tracebacks: password=self.password, token=os.environ["TOKEN"].
_CODE = re.compile(
    rb"""(?:self|cls|os|args?|opts?|options|config|cfg|conf|context|ctx|settings|environ|env|event|getpass|kwargs|params|"""
    rb"""secrets|st|keyring|request|response|resp|data|row|form|creds?|credentials|user|auth|payload|json|yaml)"""
    rb"""(?:\.[A-Za-z_]\w*[.(\[,)]|\.[a-z_]+\Z|\[["'\w]|\(["'\w)])"""
    rb"""|(?:Get|New|Read|Import|Invoke|Connect|ConvertTo|ConvertFrom)-[A-Z][A-Za-z]+\b"""  # commands of PowerShell
    rb"""|(?:[a-z_]\w*\.)*(?:\w*_)?(?:get|load|read|fetch|decrypt|getenv|getpass|input|ask|prompt|Field|field)\w*\("""
)
_IDENTIFIER = re.compile(rb"_?[A-Za-z]+(?:_[A-Za-z]+)*")
# OAuth2, nightly, v2, HMAC-SHA256
_PLAIN_WORD = re.compile(
    rb"(?:(?:[A-Z]{0,2}[a-z]+|[A-Z]+)\d{0,3}(?:[-_. ]|\Z)){1,8}|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?"
)
_PATH = re.compile(rb"(?:~|\.{1,2})?(?:/[a-z0-9._-]{1,40})+/?|[A-Za-z]:[\\/][^\r\n]*")
_LONGEST_PLAIN = 32
_DIGEST = re.compile(rb"(?i:md5|sha-?\d{1,3}|crc32):")
_NUMBER = re.compile(rb"[+-]?\d{1,5}|0[xX][0-9A-Fa-f]{1,8}|\d+(?:\.\d+)+")
# An assignment with blanks around "=", as in code: token = tokens.pop(0), signature = inspect.signature(f).
# Passwords may contain brackets too, but hardly after a plain word.
_CALL = re.compile(
    rb"(?:[a-z_]+\.){0,8}(?:[a-z_]{3,40}|[A-Z][A-Za-z]{2,60})(?:\((?:\Z|[\w\"')\[{(*])|\[(?:\Z|[\w\"':]))"
)
_ATTRIBUTE = re.compile(rb"[A-Za-z_]{1,40}(?:\.[A-Za-z_]{1,40}){1,8}[,)\]]?")


_KEY = re.compile(rb"-{0,2}[A-Za-z_][\w-]*+")
_NEXT_TIE = re.compile(b"(?:" + QUOTE + rb"){0,2}\]?[ \t]{0,8}(?:[:=]|%3[dD])")


def is_key(data: bytes, end: int, text: bytes) -> bool:
    """Return whether what looks like a value is the key of the next one: ``token = "password": "x"``.

    Args:
        data: The bytes.
        end: Where the supposed value ends.
        text: The supposed value.
    """
    name = text.rstrip(b" :=")
    is_name = len(name) <= LONGEST_NAME and _KEY.fullmatch(name) is not None and not looks_random(name)
    if not is_name or secret_kind(name.decode("ascii")) is None:
        return False
    return name.startswith(b"-") or len(name) < len(text) or _NEXT_TIE.match(data, end) is not None


def says_nothing(value: bytes) -> bool:
    """Return whether a value is empty, already removed, a constant or a placeholder."""
    return _NOTHING.fullmatch(value) is not None or is_hidden(value)


def is_path(value: bytes) -> bool:
    """Return whether a value is the path of a file; base64 may look similar, but rarely lacks capital letters."""
    return _PATH.fullmatch(value) is not None


def is_number(value: bytes) -> bool:
    """Return whether a value is a number of at most five digits, a small hexadecimal constant or a version."""
    return _NUMBER.fullmatch(value.rstrip(b".,:;")) is not None


def is_call(value: bytes) -> bool:
    """Return whether an assigned value is a call or an item of a container."""
    return _CALL.match(value[:200]) is not None


def is_attribute(value: bytes) -> bool:
    """Return whether an assigned value is an attribute; two words of a passphrase look the same."""
    return _ATTRIBUTE.fullmatch(value) is not None


def is_word(value: bytes) -> bool:
    """Return whether a value begins with an ordinary word, as where a sentence goes on after a colon."""
    return value.split(None, 1)[0].rstrip(b".,:;!").lower() in _WORDS


def is_plain_word(value: bytes) -> bool:
    """Return whether a value is a word, or some words, with at most three digits each."""
    return len(value) <= _LONGEST_PLAIN and _PLAIN_WORD.fullmatch(value) is not None


def is_digest(value: bytes) -> bool:
    """Return whether a value is the checksum of a file, with its algorithm before it."""
    return _DIGEST.match(value) is not None


def is_code(value: bytes, name: str) -> bool:
    """Return whether a value without quotes is source code.

    Args:
        value: The value.
        name: The name of its key: ``password=password`` and ``password=db_password`` are code.
    """
    word = value.split(None, 1)[0].rstrip(b".,:;!")
    if word in _TYPES or _CODE.match(value[:200]):
        return True
    if _IDENTIFIER.fullmatch(word) is None:
        return False
    text = word.decode("ascii")
    if _letters(text) == _letters(name):
        return True
    return "_" in text.strip("_") and secret_kind(text) is not None


def is_name(value: bytes) -> bool:
    """Return whether a value is the name of a variable that holds a secret, as within the braces of a template."""
    last = value.partition(b"!")[0].rpartition(b".")[2]
    return _IDENTIFIER.fullmatch(last) is not None and secret_kind(last.decode("ascii")) is not None


@lru_cache(1024)
def _letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalpha())
