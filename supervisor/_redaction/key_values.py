"""Find values whose key says that they are secret: ``password=x``, ``"token": "x"``, ``--api-key x``, headers, XML."""

from __future__ import annotations

import re
from typing import NamedTuple

from supervisor._redaction.neighbors import find_in_rows, find_neighbor
from supervisor._redaction.secret_names import DOUBTFUL_KINDS, LONGEST_NAME, secret_kind
from supervisor._redaction.value_syntax import (
    MARKER,
    QUOTE,
    Span,
    Value,
    bracketed_value,
    is_attribute,
    is_call,
    is_code,
    is_digest,
    is_key,
    is_name,
    is_number,
    is_path,
    is_plain_word,
    is_word,
    looks_random,
    quoted_value,
    rest_of_line,
    says_nothing,
    tagged_value,
    unquoted_value,
)

_TWO_WORDS = {b"api": "api_key"} | dict.fromkeys(
    (b"secret", b"access", b"account", b"hmac", b"signing", b"encryption", b"license"),
    "access_key",
)
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
# The rest of the name after the trigger, and what connects the value to it.
_TIE = re.compile(
    rb"(?P<rest>[\w-]{0,80}+)(?:(?P<close>(?:" + QUOTE + rb"){1,2})\]?|\](?=[ ]=>))?"
    rb"""
    (?:\*{1,3}+(?=[ \t]*[:=]))?
    (?:
      (?:[ \t]+value)?[ \t]*(?P<equals>[:!=]=|=>(?:\s{0,20}string\(\d{1,6}\))?|=|%3[dD])[ \t]*+
    | (?:[ \t]+is|(?P<owner>[ ]for[ ][^\s:=]{1,60}))?[ \t]*(?P<colon>:)(?!:|//)[ \t]*+
      (?P<typed>(?:str|bytes|SecretStr|Optional\[str\])(?:[ ]\|[ ]None)?[ \t]*=[ \t]*+)?
    | (?P<comma>,)[ \t]*(?=[bru]?\\{0,16}(?:["']|&quot;|&\#(?:34|39|x27);))
    | (?P<tag>(?:[ ][\w:.-]{1,40}=["'][^<>\n]{0,200})?>|&gt;
      |</t[dh]>\s{0,40}<td\b[^<>\n]{0,200}>|&lt;/t[dh]&gt;\s{0,40}&lt;td\b[^<>\n]{0,200}?&gt;)
    | (?P<blank>[ \t])(?![ \t])
    )
    (?P<markup>(?:\*{1,3}[ \t]{1,8})?
      (?:(?:<|&lt;)/?(?:b|i|u|em|strong|code|kbd|tt|span|font|td|th|dd|br)\b[^<>\n]{0,200}?(?:>|&gt;)[ \t]{0,8}){0,4}+)
    """,
    re.VERBOSE,
)
_NAME = re.compile(rb"[A-Za-z0-9_-]{0,80}+")
# The beginning of a pair, as in ('password', 'x'), but not of a call: f("password", "x").
_PAIR = re.compile(rb"(?:\\[nrt]|(?<![\w-]))\((?:" + QUOTE + rb")\Z", re.VERBOSE)


# What follows a word in a sentence: nothing connects a value to it, unless it is an option or a variable.
_IN_SENTENCE = re.compile(rb" (?!(?:is|value)\b|[\w:]{1,40}=)[A-Za-z]")
_IN_PROGRAM = re.compile(r"^-|_")


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
        is_of_owner: Whether it says whose it is, as in "Password for me: ", behind which a sentence may go on.
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
    is_of_owner: bool = False

    @property
    def is_option(self) -> bool:
        """Return whether it is an option of a command line."""
        return self.name.startswith("-")

    @property
    def is_prose(self) -> bool:
        """Return whether a sentence may follow instead of a value."""
        return self.tie == ":" and not self.is_quoted


def find_value(data: bytes, at: int) -> Span | list[Span] | None:
    """Return the secret value of the key that has a trigger in its name, or None; two where it is being changed.

    Args:
        data: The bytes. A value without an end reaches up to theirs.
        at: Where the trigger begins.
    """
    start, name = _name_at(data, at)
    kind = secret_kind(name, in_query=True)
    if kind is None and name[-3:].lower() != "key":  # most names mean no secret
        return None
    if kind != "password" and _IN_SENTENCE.match(data, start + len(name)) and not _IN_PROGRAM.search(name):
        return None
    key = _key_at(data, at, start, name)
    found = _find_tied(data, key) if key is not None else None
    if found is None:
        return find_neighbor(data, at, _kind_of_two_words(data, start, name)) or find_in_rows(data, start, name)
    changed = _CHANGED.match(data, found.end)
    new = quoted_value(data, changed.end()) if changed is not None else None
    return found if new is None else [found, found._replace(start=new.start, end=new.end)]


def _key_at(data: bytes, at: int, start: int, name: str) -> SecretKey | None:
    """Return the key of a name, or None if its value is no secret.

    Args:
        data: The bytes.
        at: Where the trigger in the name begins.
        start: Where the name begins.
        name: The name.
    """
    tie = _TIE.match(data, at)
    if tie is None:
        return None
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
        is_of_owner=bool(tie["owner"]),
    )


def _name_at(data: bytes, at: int) -> tuple[int, str]:
    """Return where the name begins that has a trigger in it, and the name."""
    before = data[max(0, at - LONGEST_NAME) : at]
    start = at - len(before) + len(before.rstrip(_LETTERS))
    rest = _NAME.match(data, at)
    return start, data[start : rest.end() if rest is not None else at].decode("ascii")


def _kind_of_two_words(data: bytes, start: int, name: str) -> str | None:
    """Return the kind of a name that is written as two words, "API key" or "secret key"; None for any other."""
    if name.lower() != "key" or data[start - 1 : start] != b" ":
        return None
    before = data[max(0, start - 12) : start - 1].lower()
    return _TWO_WORDS.get(before[len(before.rstrip(_LETTERS)) :])


def _is_tied(data: bytes, start: int, name: str, tie: re.Match[bytes]) -> bool:
    """Return whether a comma, a tag or a blank really connects a value to the name."""
    if tie["comma"]:  # ('password', 'x') or ['--password', 'x']
        return bool(tie["close"]) and (
            name.startswith("-") or _PAIR.search(data, max(0, start - 40), start) is not None
        )
    if tie["tag"] and not tie["tag"].startswith((b"</", b"&lt;/")):
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
_HIDDEN_LOGIN = re.compile(rb"[^\s:]{1,100}:" + MARKER)  # --auth me:[redacted: password]
_LONGEST_WORD = 400
_SHORTEST_PIN = 3  # digits; a shorter number is no password
_LONGEST_INDENT = 20
_AND_USER = re.compile(rb"(?i:user(?:_?name)?|login)[ ]?/[ ]?\Z")  # username/password: me / x
_BOTH = re.compile(rb"[^\s/]{1,100}[ ]?/[ ]?(?P<v>(?:" + MARKER + rb"|\S)+)")
_QUOTED_USER = re.compile(rb"""["'](?i:user(?:_?name)?|login|account)["']\s{0,4}[:=]""")
_USER_LINE = re.compile(rb"(?m)^[ \t-]{0,20}(?i:user(?:_?name)?|login)[ \t]{0,8}[:=]")
_IN_HEADER = re.compile(rb"""(?:-H|--header)[ =]{0,2}\\?["'](?:[\w-]{1,60}-)?\Z""")
_COMPOUND = re.compile(r"[A-Za-z0-9][_-][A-Za-z0-9]|[a-z][A-Z]")  # no word of a sentence
# What follows the old value in a plan of Terraform: "old" -> "new"
_CHANGED = re.compile(rb"""\\{0,4}["'] -> (?=\\{0,4}["'])""")
# For these kinds, even a single word in a sentence is taken for a secret ...
_CERTAIN = frozenset({"password", "api_key", "private_key", "access_key"})
# ... and for these names, as for doubtful kinds, only what looks random.
_DOUBTFUL_NAMES = frozenset({"key", "pass"})


def _find_tied(data: bytes, key: SecretKey) -> Span | None:
    """Return the value that a sign connects to a key, if it is a secret."""
    # The secrets in a connection string have keys of their own; after "?token=", a blank begins a sentence.
    if key.kind == "connection_string" or (key.in_query and key.is_spaced):
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
    return (key.kind == "password" or key.name.isupper()) and quoted_value(data, key.end) is not None


def _in_plain(data: bytes, key: SecretKey) -> Value | None:
    if key.kind == "password" and _AND_USER.search(data, max(0, key.start - 20), key.start) is not None:
        both = _BOTH.match(data, key.end)
        if both is not None:
            return Value(*both.span("v"))
    if key.kind == "password" and key.is_spaced and not key.is_of_owner and _begins_line(data, key.start):
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
    if (
        _HIDDEN_LOGIN.fullmatch(text)
        or (not is_tight and is_key(data, value.end, text))
        or says_nothing(text)
        or _is_path_or_number(text, key)
    ):
        return False
    if not value.is_quoted and not value.is_header and _is_word_or_code(text, key):
        return False
    if key.kind == "signature" and is_digest(text):
        return False
    is_doubtful = (
        key.is_of_owner
        or key.kind in DOUBTFUL_KINDS
        or (key.name.lower() in _DOUBTFUL_NAMES and not _is_beside_user(data, key))
    )
    is_prose = key.is_prose and not _COMPOUND.search(key.name) and not _is_in_header(data, key)
    if is_doubtful or (is_prose and key.kind not in _CERTAIN):
        is_random = looks_random(text) and b"://" not in text[:12]
        return value.is_header or (is_random and not (key.kind in DOUBTFUL_KINDS and is_plain_word(text)))
    return True


def _is_in_header(data: bytes, key: SecretKey) -> bool:
    """Return whether a key is the name of a header in a command line, as in ``curl -H 'PRIVATE-TOKEN: x'``."""
    return _IN_HEADER.search(data, max(0, key.start - 80), key.start) is not None


def _is_beside_user(data: bytes, key: SecretKey) -> bool:
    """Return whether a key follows one for a user: in {"user": "me", "pass": "x"}, and in YAML, it is a password."""
    begin = max(0, key.start - _LONGEST_WORD)
    if key.is_quoted:
        return _QUOTED_USER.search(data, begin, key.start) is not None
    return _begins_line(data, key.start) and _USER_LINE.search(data, begin, key.start) is not None


def _is_path_or_number(text: bytes, key: SecretKey) -> bool:
    """Return whether a value is a path or a number: no token looks like that, but passwords do, except in $PWD."""
    if key.kind != "password":
        return is_path(text) or is_number(text)
    name = key.name.lower()
    may_be_count = len(text) < _SHORTEST_PIN or name.endswith("s")
    return (may_be_count and is_number(text)) or (name.endswith("pwd") and is_path(text))


def _is_word_or_code(text: bytes, key: SecretKey) -> bool:
    if is_code(text, key.name) or (key.tie != "=" and is_word(text)):
        return True
    if not key.is_spaced:
        return key.kind in DOUBTFUL_KINDS and is_call(text)  # auth=HTTPBasicAuth("me", "x")
    return is_word(text) or is_call(text) or (key.kind != "password" and is_attribute(text))
