r"""Find the value of a key where no sign connects them: it is in the next field, cell, line or statement.

``{"name": "DB_PASSWORD", "value": "x"}``, ``| password | x |``, ``password:`` with the value in the next line,
``login me password x`` of .netrc, and ``INSERT INTO users (password) VALUES ('x')``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from supervisor._redaction.secret_names import DOUBTFUL_KINDS, LONGEST_NAME, secret_kind
from supervisor._redaction.value_syntax import (
    MARKER,
    QUOTE,
    Span,
    is_code,
    is_key,
    is_number,
    is_path,
    is_plain_word,
    is_word,
    looks_random,
    quoted_value,
    says_nothing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPENING = b" \t\r\n\"'`\\;tbru"  # what may be between a sign and the name, as in ": b'" and ="&quot;"
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_BACK = 300
_REST_OF_NAME = re.compile(rb"[\w.-]{0,80}+")

# {"name": "DB_PASSWORD", "value": ...}, name: X and, in the next line, value:, <property name="X" value=...>
_NAMED = re.compile(
    rb"""(?i:\b\w{0,20}(?:name|key|id|type|variable|var|field|setting|option|parameter|property|column))"""
    rb"""(?:""" + QUOTE + rb""")?\s{0,4}(?:=>|[:=])\s{0,4}(?:""" + QUOTE + rb""")?\Z"""
)
_NAMED_BYTES = 90  # more than the pattern takes
_FIELD = rb"(?:[\s,;]{1,40}(?:" + QUOTE + rb")?[\w.-]{1,40}(?:" + QUOTE + rb")?\s{0,4}[:=]\s{0,4}[^\s,{}<>]{1,60})"
_VALUE = rb"(?i:\w{0,20}value|default|content|val)(?:" + QUOTE + rb")?\s{0,4}(?:=>|[:=])[ \t]{0,4}"
_NEXT_VALUE = re.compile(
    rb"(?:" + QUOTE + rb")?" + _FIELD + rb"{0,3}?[\s,;]{1,40}(?:-\s)?(?:" + QUOTE + rb")?" + _VALUE
)
_VALUE_BEFORE = re.compile(
    rb"(?:" + QUOTE + rb")?(?i:\w{0,20}value)(?:" + QUOTE + rb")?\s{0,4}[:=]\s{0,4}(?P<q>" + QUOTE + rb")"
    rb"(?P<v>(?:(?!(?P=q))[^\r\n]){1,200})(?P=q)[\s,;]{1,40}\Z"
)
# <property name="password">x</property>, and the same with a <value> or <string> around x
_ELEMENT = re.compile(
    rb"(?:"
    + QUOTE
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
_LAST_CELL = re.compile(rb"[ \t]*\|[ \t]+(?P<v>[^\s|][^\r\n|]{0,300}?)[ \t]*(?=\r?\n|\Z)")
_NEXT_COLUMN = re.compile(
    rb"(?P<gap>\t[ \t]*|[ ]{2,40}|[ ])(?P<v>(?:" + MARKER + rb"|\S)+)(?=[ \t]*(?:\r?\n|\Z)|[ ]{2}|\t)"
)
_SETTER = re.compile(
    rb"(?:(?i:\b(?:config (?:--)?set|configure set|setx|setenv|config:set|set-secret|add))|\bENV)[ \t]+"
    rb"(?://[\w./-]{1,100}:)?\Z"
)
_DIRECTIVES = frozenset(("requirepass", "masterauth", "rootpw", "bindpw"))  # of Redis and LDAP
_INDENT = re.compile(rb"[ \t]*(?:-[ ])?(?:\\?[\"'`])?")
# "password": and the value in the next line, in quotes or deeper
_NEXT_LINE = re.compile(
    rb"(?:" + QUOTE + rb")?[ \t]*(?:[:=]|:=|=>)[ \t]*(?:[|>][+-]?\d?|\\)?[ \t]*\r?\n(?P<indent>[ \t]*)(?:-[ ])?"
)
_WHOLE_LINE = re.compile(rb"(?P<v>(?:" + MARKER + rb"|[^\s\"'{}\[\](),])(?:" + MARKER + rb"|\S)*)[ \t]*(?=\r?\n|\Z)")
_ENTERS = re.compile(
    rb"(?:"
    + QUOTE
    + rb")?>\s{0,80}(?:<!\[CDATA\[)?\s{0,80}(?P<v>[^<>\s\]][^<>\r\n]{0,500}?)\s{0,80}(?:\]\]>)?\s{0,80}</"
)
# .netrc, in one line and in several
_LOGIN = re.compile(
    rb"(?:(?:login|user|account)\s{1,8}(?:" + MARKER + rb"|\S){1,100}|machine\s{1,8}\S{1,200}|\bdefault)\s{1,40}\Z"
)
_NEXT_WORD = re.compile(rb"[ \t]{1,8}(?P<v>(?:" + MARKER + rb"|\S)+)")
# variable "db_password" { default = "x" }
_VARIABLE = re.compile(rb"""\b(?:variable|output)[ ]{1,4}["']\Z""")
_DEFAULT = re.compile(rb"""["'][ ]?\{[^{}]{0,400}?\b(?:default|value)[ ]{0,40}=[ ]{0,4}""")
# "db_password": {"sensitive": true, "value": "x"}, as in the outputs of Terraform
_OBJECT = re.compile(rb"""["']\s{0,4}:\s{0,4}\{[^{}]{0,300}?["']value["']\s{0,4}:\s{0,4}""")
# gh secret set DB_PASSWORD --body x, reg add KEY /v DefaultPassword /d x
_OPTION_BEHIND = re.compile(rb"[ ](?:\S{1,60}[ ]){0,4}?(?:--(?:value|body)[ =]|/[dD][ ])")
_SETS = re.compile(rb"(?i:\b(?:secret|config|variable|reg|ssm|parameters?)\b[^\r\n]{0,200}[ ])\Z")
_PARENTHESIS = re.compile(rb"""[ ]?\((?=['"])""")
_IN_SQL = re.compile(rb"(?i:[=,(]|\bset)[ ]{0,2}\Z")
_FOR_USER = re.compile(rb"(?i:[ ]+for[ ]+\S{1,100}(?:[ ]*@[ ]*\S{1,100})?[ ]*=[ ]*(?:password\()?)")
_PAIR = re.compile(rb"""(?:[\[(]|\bdefine\()[ ]?(?:[bru]?\\{0,8}["'])\Z""")
_SECOND = re.compile(rb"""\\{0,8}["'],[ ]{0,2}[bru]?(?=\\{0,8}["'])""")
_SECOND_PLAIN = re.compile(rb""",[ ](?P<v>[^\s,()'"]{4,100})\)""")


def find_neighbor(data: bytes, at: int, kind_of_two_words: str | None = None) -> Span | None:
    """Return the value that belongs to the key with a trigger in its name, or None.

    Args:
        data: The bytes.
        at: Where the trigger begins.
        kind_of_two_words: The kind of a name that is two words, "API key"; None for any other.
    """
    before = data[max(0, at - LONGEST_NAME) : at]
    start = at - len(before) + len(before.rstrip(_LETTERS))
    rest = _REST_OF_NAME.match(data, at)
    end = rest.end() if rest is not None else at
    while data[end - 1 : end] in (b".", b"-") and end > at:
        end -= 1
    if kind_of_two_words is not None:
        first = data[max(0, start - LONGEST_NAME) : start - 1]
        start += len(first.rstrip(_LETTERS)) - len(first) - 1
    name = data[start:end].decode("ascii", "replace")
    kind = kind_of_two_words or secret_kind(name)
    if kind is None or kind == "connection_string" or name.startswith("-"):
        return None
    head = data[max(0, start - _BACK) : start]
    for place, is_sure in _places(data, head, end, kind, name):
        if place is not None and _is_secret(data[place[0] : place[1]], kind, name, is_sure=is_sure):
            return Span(*place, kind, start)
    return None


def _places(data: bytes, head: bytes, end: int, kind: str, name: str) -> Iterator[tuple[tuple[int, int] | None, bool]]:
    """Yield where the value may be, and whether that is certain. The characters around the name say where to look."""
    before, behind = head.rstrip(_OPENING)[-1:], data[end : end + 1]
    if before in (b":", b"=", b">"):
        named = _NAMED.search(head, max(0, len(head) - _NAMED_BYTES))
        if named is not None:
            yield _in_next_field(data, head, end), True
            yield _in_field_before(head[: named.start()], end - len(name) - len(head)), True
    if before in (b"[", b"("):
        yield _in_pair(data, head, end), True
    if behind in (b'"', b"'", b" "):
        yield _in_definition(data, head, end), True
    if behind in (b">", b"<", b'"', b"'", b" ", b"\n", b"\r"):
        yield _in_element(data, head, end), True
    if behind in (b" ", b"\t", b"|", b"\xe2", b"`", b"*"):
        yield _in_cell(data, head, end), False
        yield _in_column(data, head, end, name), _SETTER.search(head[-140:]) is not None
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


def _in_definition(data: bytes, head: bytes, end: int) -> tuple[int, int] | None:
    """Return the value that a block, an object or a command gives to the variable whose name the key is."""
    if data[end : end + 1] == b" ":
        behind = _OPTION_BEHIND.match(data, end, end + 500) if _SETS.search(head) is not None else None
    elif _VARIABLE.search(head[-20:]) is not None:
        behind = _DEFAULT.match(data, end, end + 600)
    else:
        behind = _OBJECT.match(data, end, end + 500)
    return _value_at(data, behind.end()) if behind is not None else None


def _in_next_field(data: bytes, head: bytes, end: int) -> tuple[int, int] | None:
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
    """Return a value whose field is before the field with the name.

    Args:
        head: What is before that field.
        base: Where the head begins.
    """
    value = _VALUE_BEFORE.search(head.rstrip(b"\"'`\\"))
    return (base + value.start("v"), base + value.end("v")) if value is not None else None


def _in_element(data: bytes, head: bytes, end: int) -> tuple[int, int] | None:
    """Return the text of the element whose name the key is, or of the element behind the one that has the key."""
    element = _ELEMENT_NEXT.match(data, end, end + 800)
    if element is None and head[-1:] in (b"<", b":"):
        element = _ENTERS.match(data, end, end + 800)
    return element.span("v") if element is not None else None


def _in_cell(data: bytes, head: bytes, end: int) -> tuple[int, int] | None:
    if _CELL.search(head[-20:]) is not None:
        cell = _NEXT_CELL.match(data, end, end + 500)
    else:  # psql's \x
        cell = _LAST_CELL.match(data, end, end + 500) if _indent(head) is not None else None
    return cell.span("v") if cell is not None else None


def _in_column(data: bytes, head: bytes, end: int, name: str) -> tuple[int, int] | None:
    """Return what is in the next column, or behind one blank where only that can be meant."""
    gap, is_set = data[end : end + 2], _SETTER.search(head[-140:]) is not None
    is_one_blank = gap != b"  " and gap[:1] != b"\t"
    if is_one_blank and "_" not in name and name.lower() not in (*_DIRECTIVES, "password") and not is_set:
        return None
    column = _NEXT_COLUMN.match(data, end, end + 500)
    if column is None:
        return None
    if not is_set and _indent(head) is None and head[-1:] != b"\t":
        return None
    is_named = is_set or name.lower() in _DIRECTIVES
    if column["gap"] == b" " and not is_named and not looks_random(column["v"]):
        return None
    return column.span("v")


def _indent(head: bytes) -> int | None:
    """Return how far a name is indented; None if it is not the first word in its line."""
    line = head[max(head.rfind(b"\n"), head.rfind(b"\r")) + 1 :]
    return len(line) if _INDENT.fullmatch(line) is not None else None


def _in_next_line(data: bytes, head: bytes, end: int) -> tuple[tuple[int, int] | None, bool]:
    """Return where the value in the next line is, and whether that is certain: in quotes, or behind a backslash."""
    line = _NEXT_LINE.match(data, end, end + 200)
    if line is None:
        return None, False
    quoted = quoted_value(data, line.end())
    if quoted is not None:
        is_other = is_key(data, quoted.end, data[quoted.start : quoted.end])  # whose value is found by itself
        return (None if is_other else (quoted.start, quoted.end)), True
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


# What pydantic says of a field that is wrong: its name in one line, what is wrong and the input in the next
_FIELD_ABOVE = re.compile(rb"(?:\A|\n)(?P<name>[\w.-]{1,120})\r?\n[ ]{1,8}[^\r\n]{0,400}\Z")


def find_input_value(data: bytes, at: int) -> Span | None:
    """Return the input that pydantic shows for a field whose name means a secret, or None.

    Args:
        data: The bytes.
        at: Where "input_value=" begins.
    """
    field = _FIELD_ABOVE.search(data, max(0, at - 600), at)
    kind = secret_kind(field["name"].decode("utf-8", "replace")) if field is not None else None
    value = quoted_value(data, at + len(b"input_value=")) if kind is not None else None
    if field is None or kind is None or value is None or says_nothing(data[value.start : value.end]):
        return None
    return Span(value.start, value.end, kind, field.start("name"))


_HEADER = re.compile(rb"(?:\"?[\w.-]{1,60}\"?[,;\t]){1,60}\"?[\w.-]{1,60}\"?\r?")
_LONGEST_HEADER = 2_000
_ROWS_BYTES = 1_000  # so much behind a name is at hand where a log is redacted in pieces


def find_in_rows(data: bytes, start: int, name: str) -> list[Span] | None:
    """Return what is in the column of a secret in the thousand bytes below the first line of a CSV file, or None.

    Args:
        data: The bytes.
        start: Where the name of the column begins.
        name: The name.
    """
    kind = secret_kind(name)
    header = _header_at(data, start, start + len(name)) if kind is not None and kind not in DOUBTFUL_KINDS else None
    if kind is None or header is None:
        return None
    sign = next(each for each in (b"\t", b";", b",") if each in header[0])
    which, count = data.count(sign, header.start(), start), header[0].count(sign)
    found = []
    for begin, row in _rows(data, header.end()):
        fields = row.split(sign)
        text = fields[which] if len(fields) == count + 1 else b""
        if not text or secret_kind(text.decode("utf-8", "replace").strip('"')) is not None:  # another first line
            break
        value = text.strip(b'"')
        if _is_secret(value, kind, name, is_sure=False):
            at = begin + len(sign.join(fields[:which])) + (which > 0) + text.find(value)
            found.append(Span(at, at + len(value), kind, start))
    return found or None


def _header_at(data: bytes, start: int, end: int) -> re.Match[bytes] | None:
    """Return the line around a name if it is the first of a CSV file, names and separators alone."""
    if data[end : end + 1] not in (b'"', b",", b";", b"\t", b"\r", b"\n"):
        return None
    line_end = data.find(b"\n", end, end + _LONGEST_HEADER)
    begin = data.rfind(b"\n", max(0, start - _LONGEST_HEADER), start) + 1
    return _HEADER.fullmatch(data, begin, line_end) if line_end >= 0 else None


def _rows(data: bytes, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines behind the end of one: where each begins, and the line."""
    limit = min(len(data), end + _ROWS_BYTES)
    while (begin := end + 1) < limit:
        end = data.find(b"\n", begin, limit)
        end = end if end >= 0 else limit
        yield begin, data[begin:end].rstrip(b"\r")
