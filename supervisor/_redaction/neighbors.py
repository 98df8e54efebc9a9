r"""Find the value of a key where no sign connects them: it is in the next field, cell, line or statement.

``{"name": "DB_PASSWORD", "value": "x"}``, ``| password | x |``, ``password:`` with the value in the next line,
``login me password x`` of .netrc, and ``INSERT INTO users (password) VALUES ('x')``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from supervisor._redaction.secret_names import DOUBTFUL_KINDS, LONGEST_NAME, secret_kind
from supervisor._redaction.shapes import looks_random
from supervisor._redaction.spans import MARKER, Span
from supervisor._redaction.value_syntax import (
    is_code,
    is_number,
    is_path,
    is_plain_word,
    is_word,
    quoted_value,
    says_nothing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPENING = b" \t\r\n\"'`\\;tbru"  # what may be between a sign and the name, as in ": b'" and ="&quot;"
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_QUOTE = rb"""\\{0,16}(?:["'`]|&quot;|&\#(?:34|39|x27);)"""
_BACK = 300
_REST_OF_NAME = re.compile(rb"[\w.-]{0,80}+")

# {"name": "DB_PASSWORD", "value": ...}, name: X and, in the next line, value:, <property name="X" value=...>
_NAMED = re.compile(
    rb"""(?i:\b\w{0,20}(?:name|key|id|type|variable|var|field|setting|option|parameter|column))"""
    rb"""(?:""" + _QUOTE + rb""")?\s{0,4}(?:=>|[:=])\s{0,4}(?:""" + _QUOTE + rb""")?\Z"""
)
_FIELD = rb"(?:[\s,;]{1,40}(?:" + _QUOTE + rb")?[\w.-]{1,40}(?:" + _QUOTE + rb")?\s{0,4}[:=]\s{0,4}[^\s,{}<>]{1,60})"
_VALUE = rb"(?i:\w{0,20}value|default|content|val)(?:" + _QUOTE + rb")?\s{0,4}(?:=>|[:=])[ \t]{0,4}"
_NEXT_VALUE = re.compile(
    rb"(?:" + _QUOTE + rb")?" + _FIELD + rb"{0,3}?[\s,;]{1,40}(?:-\s)?(?:" + _QUOTE + rb")?" + _VALUE
)
_VALUE_BEFORE = re.compile(
    rb"(?:" + _QUOTE + rb")?(?i:\w{0,20}value)(?:" + _QUOTE + rb")?\s{0,4}[:=]\s{0,4}(?P<q>" + _QUOTE + rb")"
    rb"(?P<v>(?:(?!(?P=q))[^\r\n]){1,200})(?P=q)[\s,;]{1,40}\Z"
)
# <property name="password">x</property>, and the same with a <value> or <string> around x
_ELEMENT = re.compile(
    rb"(?:"
    + _QUOTE
    + rb")?[^<>\r\n]{0,200}>(?:\s{0,40}<(?:value|string)>)?\s{0,40}(?P<v>[^<>\s][^<>\r\n]{0,500}?)\s{0,40}</"
)
_ELEMENT_NEXT = re.compile(
    rb"\s{0,40}</(?:dt|key|th|td|name)>\s{0,40}<(?:dd|string|td|value)>\s{0,40}(?P<v>[^<>\r\n]{1,500}?)\s{0,40}</"
)
# Cells of tables
_CELL = re.compile(rb"(?:\||\xe2\x94[\x82\x83]|\xe2\x95\x91)[ \t]*(?:[`*]{0,2})\Z")
_NEXT_CELL = re.compile(
    rb"(?:[`*]{0,2})[ \t]*(?:\||\xe2\x94[\x82\x83]|\xe2\x95\x91)[ \t]*"
    rb"(?P<v>[^\s|\xe2][^\r\n|\xe2]{0,300}?)[ \t]*(?=\||\xe2\x94|\xe2\x95)"
)
_NEXT_COLUMN = re.compile(
    rb"(?P<gap>\t[ \t]*|[ ]{2,40}|[ ])(?P<v>(?:" + MARKER + rb"|\S)+)(?=[ \t]*(?:\r?\n|\Z)|[ ]{2}|\t)"
)
_SETTER = re.compile(rb"(?i:\b(?:config set|configure set|setx|setenv|config:set|set-secret|add)[ \t]+)\Z")
_DIRECTIVES = frozenset(("requirepass", "masterauth"))  # of Redis
_INDENT = re.compile(rb"[ \t]*(?:-[ ])?(?:\\?[\"'`])?")
# "password": and the value in the next line, in quotes or deeper
_NEXT_LINE = re.compile(
    rb"(?:" + _QUOTE + rb")?[ \t]*(?:[:=]|:=|=>)[ \t]*(?:[|>][+-]?\d?|\\)?[ \t]*\r?\n(?P<indent>[ \t]*)(?:-[ ])?"
)
_WHOLE_LINE = re.compile(rb"(?P<v>(?:" + MARKER + rb"|[^\s\"'{}\[\](),])(?:" + MARKER + rb"|\S)*)[ \t]*(?=\r?\n|\Z)")
_ENTERS = re.compile(
    rb"(?:"
    + _QUOTE
    + rb")?>\s{0,80}(?:<!\[CDATA\[)?\s{0,80}(?P<v>[^<>\s\]][^<>\r\n]{0,500}?)\s{0,80}(?:\]\]>)?\s{0,80}</"
)
# .netrc, in one line and in several
_LOGIN = re.compile(
    rb"(?:(?:login|user|account)\s{1,8}(?:" + MARKER + rb"|\S){1,100}|machine\s{1,8}\S{1,200}|\bdefault)\s{1,40}\Z"
)
_NEXT_WORD = re.compile(rb"[ \t]{1,8}(?P<v>(?:" + MARKER + rb"|\S)+)")
_PARENTHESIS = re.compile(rb"""[ ]?\((?=['"])""")
_IN_SQL = re.compile(rb"(?i:[=,(]|\bset)[ ]{0,2}\Z")
_FOR_USER = re.compile(rb"(?i:[ ]+for[ ]+\S{1,100}(?:[ ]*@[ ]*\S{1,100})?[ ]*=[ ]*(?:password\()?)")
_PAIR = re.compile(rb"""(?:[\[(]|\bdefine\()[ ]?(?:[bru]?\\{0,8}["'])\Z""")
_SECOND = re.compile(rb"""\\{0,8}["'],[ ]{0,2}[bru]?(?=\\{0,8}["'])""")
_SECOND_PLAIN = re.compile(rb""",[ ](?P<v>[^\s,()'"]{4,100})\)""")


def find_neighbor(data: bytes, at: int) -> Span | None:
    """Return the value that belongs to the key with a trigger in its name, or None.

    Args:
        data: The bytes.
        at: Where the trigger begins.
    """
    before = data[max(0, at - LONGEST_NAME) : at]
    start = at - len(before) + len(before.rstrip(_LETTERS))
    rest = _REST_OF_NAME.match(data, at)
    end = rest.end() if rest is not None else at
    while data[end - 1 : end] in (b".", b"-") and end > at:
        end -= 1
    name = data[start:end].decode("ascii", "replace")
    kind = secret_kind(name)
    if kind is None or kind == "connection_string" or name.startswith("-"):
        return None
    head = data[max(0, start - _BACK) : start]
    for place, is_sure in _places(data, head, end, kind, name):
        if place is not None and _is_secret(data[place[0] : place[1]], kind, name, is_sure=is_sure):
            return Span(*place, kind, start)
    return None


def _places(data: bytes, head: bytes, end: int, kind: str, name: str) -> Iterator[tuple[tuple[int, int] | None, bool]]:
    """Yield where the value may be, and whether it surely is one. What is next to the name says where to look."""
    before, behind = head.rstrip(_OPENING)[-1:], data[end : end + 1]
    if before in (b":", b"=", b">"):
        yield _in_next_field(data, head, end), True
        yield _in_field_before(head, end - len(name) - len(head)), True
    if before in (b"[", b"("):
        yield _in_pair(data, head, end), True
    if behind in (b">", b"<", b'"', b"'", b" ", b"\n", b"\r"):
        yield _in_element(data, head, end), True
    if behind in (b" ", b"\t", b"|", b"\xe2", b"`", b"*"):
        yield _in_cell(data, head, end), False
        yield _in_column(data, head, end, name), False
    if behind in (b" ", b"\t") and kind == "password":
        yield _in_netrc(data, head, end), True
    if behind in (b" ", b"(") and kind == "password":
        yield _in_statement(data, head, end), True
    if behind in (b":", b"=", b'"', b"'", b" "):
        yield _in_next_line(data, head, end)


def _is_secret(text: bytes, kind: str, name: str, *, is_sure: bool) -> bool:
    """Return whether a text is a secret; ``is_sure`` means that it is the value of the key, whatever it looks like."""
    if b"[redacted: " in text or says_nothing(text) or is_word(text) or is_code(text, name):
        return False
    if kind == "password" or (is_sure and kind not in DOUBTFUL_KINDS and not (is_path(text) or is_number(text))):
        return text.lower() not in _TYPES
    is_other = is_path(text) or is_number(text) or (kind in DOUBTFUL_KINDS and is_plain_word(text))
    return looks_random(text) and not is_other


_TYPES = frozenset(
    (b"string", b"str", b"text", b"varchar", b"password", b"secret", b"char", b"type", b"value", b"bytes")
)


def _in_next_field(data: bytes, head: bytes, end: int) -> tuple[int, int] | None:
    if _NAMED.search(head) is None:
        return None
    field = _NEXT_VALUE.match(data, end, end + 600)
    if field is not None:
        return _value_at(data, field.end())
    element = _ELEMENT.match(data, end, end + 1000)
    return element.span("v") if element is not None and b"<" in head else None


def _value_at(data: bytes, at: int) -> tuple[int, int] | None:
    quoted = quoted_value(data, at)
    if quoted is not None:
        return quoted.start, quoted.end
    plain = _PLAIN.match(data, at)
    return plain.span() if plain is not None else None


_PLAIN = re.compile(rb"(?:" + MARKER + rb"|[^\s,;\"'{}()\[\]<>])++")


def _in_field_before(head: bytes, base: int) -> tuple[int, int] | None:
    """Return a value whose field is before the field with the name; the head begins at ``base``."""
    named = _NAMED.search(head)
    value = _VALUE_BEFORE.search(head[: named.start()].rstrip(b"\"'`\\") if named is not None else b"")
    return (base + value.start("v"), base + value.end("v")) if value is not None else None


def _in_element(data: bytes, head: bytes, end: int) -> tuple[int, int] | None:
    """Return the text of the element whose name the key is, or of the element behind the one that has the key."""
    element = _ELEMENT_NEXT.match(data, end, end + 800)
    if element is None and head[-1:] in (b"<", b":"):
        element = _ENTERS.match(data, end, end + 800)
    return element.span("v") if element is not None else None


def _in_cell(data: bytes, head: bytes, end: int) -> tuple[int, int] | None:
    cell = _NEXT_CELL.match(data, end, end + 500) if _CELL.search(head[-20:]) is not None else None
    return cell.span("v") if cell is not None else None


def _in_column(data: bytes, head: bytes, end: int, name: str) -> tuple[int, int] | None:
    """Return what is in the next column, or behind one blank where only that can be meant."""
    gap = data[end : end + 2]
    if gap != b"  " and gap[:1] != b"\t" and "_" not in name and name.lower() not in _DIRECTIVES:
        return None
    column = _NEXT_COLUMN.match(data, end, end + 500)
    if column is None:
        return None
    is_set = _SETTER.search(head[-40:]) is not None
    if not is_set and _indent(head) is None and head[-1:] != b"\t":
        return None
    if column["gap"] == b" " and name.lower() not in _DIRECTIVES and not looks_random(column["v"]):
        return None
    return column.span("v")


def _indent(head: bytes) -> int | None:
    """Return how far a name is indented; None if it is not the first word in its line."""
    line = head[max(head.rfind(b"\n"), head.rfind(b"\r")) + 1 :]
    return len(line) if _INDENT.fullmatch(line) is not None else None


def _in_next_line(data: bytes, head: bytes, end: int) -> tuple[tuple[int, int] | None, bool]:
    """Return where the value in the next line is, and whether it surely is one: quoted, or the line goes on."""
    line = _NEXT_LINE.match(data, end, end + 200)
    if line is None:
        return None, False
    quoted = quoted_value(data, line.end())
    if quoted is not None:
        return (quoted.start, quoted.end), True
    indent = _indent(head)
    is_continued = data[line.start() : line.end()].rstrip().endswith(b"\\")
    if not is_continued and (indent is None or len(line["indent"]) <= indent):
        return None, False
    whole = _WHOLE_LINE.match(data, line.end(), line.end() + 500)
    if whole is None or re.fullmatch(rb"[\w.-]+:", whole["v"]):
        return None, False
    return whole.span("v"), is_continued


def _in_netrc(data: bytes, head: bytes, end: int) -> tuple[int, int] | None:
    if not any(each in head for each in (b"login", b"user", b"machine", b"default")) or _LOGIN.search(head) is None:
        return None
    word = _NEXT_WORD.match(data, end, end + 300)
    return word.span("v") if word is not None else None


def _in_statement(data: bytes, head: bytes, end: int) -> tuple[int, int] | None:
    """Return the argument of SQL's PASSWORD('x'), and what SET PASSWORD FOR user = 'x' sets."""
    call = _PARENTHESIS.match(data, end)
    if call is not None and _IN_SQL.search(head[-10:]) is not None:
        return _value_at(data, call.end())
    user = _FOR_USER.match(data, end, end + 300)
    return _value_at(data, user.end()) if user is not None else None


def _in_pair(data: bytes, head: bytes, end: int) -> tuple[int, int] | None:
    """Return the second text of a pair, as in ["password", "x"] and define('DB_PASSWORD', 'x')."""
    if _PAIR.search(head[-20:]) is None:
        plain = _SECOND_PLAIN.match(data, end, end + 200) if head[-1:] == b"(" and not head[-2:-1].isalnum() else None
        return plain.span("v") if plain is not None else None
    second = _SECOND.match(data, end, end + 30)
    return _value_at(data, second.end()) if second is not None else None
