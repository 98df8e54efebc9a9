"""Find values whose key says that they are secret: ``password=x``, ``"token": "x"``, ``--api-key x``, headers, XML."""

from __future__ import annotations

import re
from typing import NamedTuple

from supervisor._redaction.secret_names import DOUBTFUL_KINDS, LONGEST_NAME, secret_kind
from supervisor._redaction.shapes import looks_random
from supervisor._redaction.spans import MARKER, Span
from supervisor._redaction.value_syntax import (
    Value,
    bracketed_value,
    is_attribute,
    is_call,
    is_code,
    is_name,
    is_number,
    is_path,
    is_plain_word,
    is_word,
    quoted_value,
    rest_of_line,
    says_nothing,
    tagged_value,
    unquoted_value,
)

_TWO_WORDS = {b"api": "api_key", b"secret": "access_key", b"access": "access_key", b"account": "access_key"}
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
_QUOTE = rb"""\\{0,16}(?:["'`]|&quot;|&\#(?:34|39|x27);)"""
# The rest of the name after the trigger, and what connects the value to it.
_TIE = re.compile(
    rb"(?P<rest>[\w-]{0,80}+)(?:(?P<close>(?:" + _QUOTE + rb"){1,2})\]?)?"
    rb"""
    (?:\*{1,3}+(?=[ \t]*[:=]))?
    (?:
      (?:[ \t]+value)?[ \t]*(?P<equals>[:!=]=|=>|=|%3[dD])[ \t]*+
    | (?:[ \t]+is)?[ \t]*(?P<colon>:)(?!:|//)[ \t]*+
      (?P<typed>(?:str|bytes|SecretStr|Optional\[str\])(?:[ ]\|[ ]None)?[ \t]*=[ \t]*+)?
    | (?P<comma>,)[ \t]*(?=[bru]?\\{0,16}(?:["']|&quot;|&\#(?:34|39|x27);))
    | (?P<tag>>|&gt;|</t[dh]>\s{0,40}<td\b[^<>\n]{0,200}>|&lt;/t[dh]&gt;\s{0,40}&lt;td\b[^<>\n]{0,200}?&gt;)
    | (?P<blank>[ \t])(?![ \t])
    )
    (?P<markup>(?:\*{1,3}[ \t]{1,8})?
      (?:(?:<|&lt;)/?(?:b|i|u|em|strong|code|kbd|tt|span|font|td|th|dd|br)\b[^<>\n]{0,200}?(?:>|&gt;)[ \t]{0,8}){0,4}+)
    """,
    re.VERBOSE,
)
_NAME = re.compile(rb"[A-Za-z0-9_-]{0,80}+")
_NEXT_TIE = re.compile(b"(?:" + _QUOTE + rb")?\]?[ \t]{0,8}(?:[:=]|%3[dD])", re.VERBOSE)
# The beginning of a pair, as in ('password', 'x'), but not of a call: f("password", "x").
_PAIR = re.compile(rb"(?:\\[nrt]|(?<![\w-]))\((?:" + _QUOTE + rb")\Z", re.VERBOSE)
_KEY = re.compile(rb"-{0,2}[A-Za-z_][\w-]*+")


class SecretKey(NamedTuple):
    """A key, and how its value is connected to it.

    Args:
        name: Its name.
        kind: The kind of secret that the name means.
        start: Where the name begins.
        end: Where the value begins, with its quotes.
        tie: What connects them: "=", ":", ",", ">" or " ".
        is_quoted: Whether the name is quoted, as in JSON.
        is_spaced: Whether blanks follow the tie.
        in_query: Whether it is a parameter of a URL.
        in_url: Whether it is part of a URL that is itself quoted in a URL.
    """

    name: str
    kind: str
    start: int
    end: int
    tie: str
    is_quoted: bool = False
    is_spaced: bool = False
    in_query: bool = False
    in_url: bool = False

    @property
    def is_option(self) -> bool:
        """Return whether it is an option of a command line."""
        return self.name.startswith("-")

    @property
    def is_prose(self) -> bool:
        """Return whether a sentence may follow instead of a value."""
        return self.tie == ":" and not self.is_quoted


def key_at(data: bytes, at: int) -> SecretKey | None:
    """Return the key that has a trigger in its name, or None if its value is no secret.

    Args:
        data: The bytes.
        at: Where the trigger begins.
    """
    tie = _TIE.match(data, at)
    if tie is None:
        return None
    start, name = name_at(data, at)
    in_query = tie["equals"] == b"=" and data[start - 1 : start] in (b"?", b"&")
    kind = secret_kind(name, in_query=in_query) or _kind_of_two_words(data, start, name)
    if kind is None or not _is_tied(data, start, name, tie):
        return None
    group = next(each for each in ("equals", "colon", "comma", "tag", "blank") if tie[each])
    return SecretKey(
        name=name,
        kind=kind,
        start=start,
        end=tie.end(),
        tie="=" if tie["typed"] else {"equals": "=", "colon": ":", "comma": ",", "tag": ">", "blank": " "}[group],
        is_quoted=bool(tie["close"]),
        is_spaced=tie.end() > tie.end(group),
        in_query=in_query,
        in_url=tie["equals"] in (b"%3D", b"%3d"),
    )


def may_be_key(data: bytes, at: int) -> bool:
    """Return whether the name with a trigger in it may mean a secret; most do not, and need no closer look."""
    name = name_at(data, at)[1]
    return secret_kind(name, in_query=True) is not None or name[-3:].lower() == "key"


def name_at(data: bytes, at: int) -> tuple[int, str]:
    """Return where the name begins that has a trigger in it, and the name."""
    before = data[max(0, at - LONGEST_NAME) : at]
    start = at - len(before) + len(before.rstrip(_LETTERS))
    rest = _NAME.match(data, at)
    return start, data[start : rest.end() if rest is not None else at].decode("ascii")


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


def _kind_of_two_words(data: bytes, start: int, name: str) -> str | None:
    """Return the kind of a name that is written as two words, "API key" or "secret key"; None for any other."""
    if name.lower() != "key" or data[start - 1 : start] != b" ":
        return None
    return _TWO_WORDS.get(data[max(0, start - 8) : start - 1].lower().rpartition(b" ")[2].rpartition(b"\n")[2])


def _is_tied(data: bytes, start: int, name: str, tie: re.Match[bytes]) -> bool:
    """Return whether a comma, a tag or a blank really connects a value to the name."""
    if tie["comma"]:  # ('password', 'x') or ['--password', 'x']
        return bool(tie["close"]) and (
            name.startswith("-") or _PAIR.search(data, max(0, start - 40), start) is not None
        )
    if tie["tag"] in (b">", b"&gt;"):
        return data[start - 1 : start] in (b"<", b":") or data.startswith(b"&lt;", max(0, start - 4))
    return True


# A quote that ends the text which contains the key, as in getpass("Password: ") and "?token=" + token.
_CLOSES = re.compile(rb"""["'](?:\s*$|\ [+%]\ |\)(?:[\s,.)]|$)|\.format\(|,\ )""", re.MULTILINE)
_SCHEME = re.compile(
    rb"[bBrR]?\\{0,16}[\"']?"
    rb"(?i:(?P<one>bearer|basic|token|negotiate|ntlm|api-?key|key|splunk)|digest|oauth|hawk|sharedkey(?:lite)?|aws4-hmac-sha256)"
    rb" +"
)
_TOKEN = re.compile(rb"""(?:""" + MARKER + rb"""|[^\s"'\\,;])++""")
_LONGEST_WORD = 400
_SHORTEST_PIN = 3  # digits; a shorter number is no password
_LONGEST_INDENT = 20
_QUOTED_USER = re.compile(rb"""["'](?i:user(?:_?name)?|login|account)["']\s{0,4}[:=]""")
# For these kinds, even a single word in a sentence is taken for a secret ...
_CERTAIN = frozenset({"password", "api_key", "private_key", "access_key"})
# ... and for these names, as for doubtful kinds, only what looks random.
_DOUBTFUL_NAMES = frozenset({"key", "pass"})


def find_key_value(data: bytes, at: int) -> Span | None:
    """Return the secret value of the key that has a trigger in its name, or None.

    Args:
        data: The bytes. A value without an end reaches up to theirs.
        at: Where the trigger begins.
    """
    key = key_at(data, at)
    # The secrets in a connection string have keys of their own; after "?token=", a blank begins a sentence.
    if key is None or key.kind == "connection_string" or (key.in_query and key.is_spaced):
        return None
    value = _value(data, key)
    if value is None or not _is_secret(data, value, key):
        return None
    return Span(value.start, value.end, key.kind, key.start)


def _value(data: bytes, key: SecretKey) -> Value | None:
    """Return the value of a key, or None if it has none."""
    if key.tie == ">":
        return tagged_value(data, key.end)
    if key.tie == " " and not _is_tied_by_blank(data, key):
        return None
    header = _in_header(data, key)
    if header is not None:
        return header
    value = quoted_value(data, key.end)
    if value is not None:
        return value if key.is_quoted or not _CLOSES.match(data, key.end) else None
    if data[key.end : key.end + 1] in (b"(", b"[", b"{") and not data.startswith(b"[redacted: ", key.end):
        return _in_brackets(data, key)
    return _in_plain(data, key)


def _is_tied_by_blank(data: bytes, key: SecretKey) -> bool:
    """Return whether a blank separates key and value, as in ``--token x`` and SQL's PASSWORD 'x'."""
    if key.is_option:
        return data[key.end : key.end + 1] != b"-"  # a hyphen begins the next option
    return key.kind == "password" and quoted_value(data, key.end) is not None


def _in_plain(data: bytes, key: SecretKey) -> Value | None:
    if key.kind == "password" and key.is_spaced and _begins_line(data, key.start):
        value = rest_of_line(data, key.end, alone=True)
        if value is not None:
            return value
    return unquoted_value(data, key.end, in_url=key.in_url)


def _in_header(data: bytes, key: SecretKey) -> Value | None:
    """Return what follows the scheme of an Authorization header, or all of a Cookie header; None for other keys."""
    if key.kind not in ("authorization", "cookie"):
        return None
    scheme = _SCHEME.match(data, key.end) if key.kind == "authorization" else None
    if scheme is not None:
        token = _TOKEN.match(data, scheme.end()) if scheme["one"] else None
        value = Value(*token.span()) if token is not None else rest_of_line(data, scheme.end())
    elif key.is_prose and quoted_value(data, key.end) is None and _has_credentials(data, key):
        value = rest_of_line(data, key.end)
    else:
        return None
    return value and value._replace(is_header=True)


def _has_credentials(data: bytes, key: SecretKey) -> bool:
    """Return whether what follows is a header and no sentence, judging by its first words."""
    words = data[key.end : key.end + _LONGEST_WORD].partition(b"\n")[0].split(None, 6)[:6]
    return any(looks_random(each) or (key.kind == "cookie" and b"=" in each) for each in words)


def _in_brackets(data: bytes, key: SecretKey) -> Value | None:
    """Return the contents of a list, a pair or ODBC's braces; None for an object, since its own keys are found."""
    value = bracketed_value(data, key.end)
    if value is None:
        is_object = re.match(rb"\{\s*[\"']", data[key.end : key.end + 40]) is not None
        return None if is_object else unquoted_value(data, key.end)
    inner = data[value.start : value.end]
    if data[key.end : key.end + 1] == b"{":
        return None if key.tie == ":" or is_name(inner) else value
    is_code = b'"' not in inner and b"'" not in inner and not looks_random(inner)
    return None if is_code else value._replace(is_header=key.kind == "authorization")  # auth=("user", "password")


def _begins_line(data: bytes, start: int) -> bool:
    """Return whether a name is the first in its line, as in YAML and INI, where a value may contain blanks."""
    before = data[max(0, start - _LONGEST_INDENT) : start]
    line = before.rpartition(b"\n")[2]
    return (len(line) < len(before) or start < _LONGEST_INDENT) and line.strip() in (b"", b"-")


def _is_secret(data: bytes, value: Value, key: SecretKey) -> bool:
    """Return whether a value is a secret: not empty, a word, a number, a path or source code."""
    text = data[value.start : value.end]
    if len(text) > _LONGEST_WORD:
        return True  # no word is so long, and examining each key within it would take quadratic time
    is_tight = key.tie == "=" and not key.is_spaced and not value.is_quoted
    if (not is_tight and is_key(data, value.end, text)) or says_nothing(text) or _is_path_or_number(text, key):
        return False
    if not value.is_quoted and not value.is_header and _is_word_or_code(text, key):
        return False
    is_doubtful = key.kind in DOUBTFUL_KINDS or (key.name.lower() in _DOUBTFUL_NAMES and not _is_beside_user(data, key))
    if is_doubtful or (key.is_prose and key.kind not in _CERTAIN):
        is_random = looks_random(text) and b"://" not in text[:12]
        return value.is_header or (is_random and not (key.kind in DOUBTFUL_KINDS and is_plain_word(text)))
    return True


def _is_beside_user(data: bytes, key: SecretKey) -> bool:
    """Return whether a quoted key follows one for a user: in {"user": "me", "pass": "x"}, it is a password."""
    return key.is_quoted and _QUOTED_USER.search(data, max(0, key.start - _LONGEST_WORD), key.start) is not None


def _is_path_or_number(text: bytes, key: SecretKey) -> bool:
    """Return whether a value is a path or a number: no token looks like that, but passwords do, except in $PWD."""
    if key.kind != "password":
        return is_path(text) or is_number(text)
    is_directory = key.name.lower().endswith("pwd") and is_path(text)
    is_count = key.name.lower().endswith("s")
    return is_directory or ((is_count or len(text) < _SHORTEST_PIN) and is_number(text))


def _is_word_or_code(text: bytes, key: SecretKey) -> bool:
    if is_code(text, key.name) or (key.tie != "=" and is_word(text)):
        return True
    if not key.is_spaced:
        return False
    return is_word(text) or is_call(text) or (key.kind != "password" and is_attribute(text))
