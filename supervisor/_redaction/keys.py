"""Keys whose name tells that their value is secret, and what ties the value to them."""

from __future__ import annotations

import re
from typing import NamedTuple

from supervisor._redaction.names import LONGEST_NAME, kind_of
from supervisor._redaction.shapes import looks_random

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
_QUOTE = rb"""\\{0,16}(?:["'`]|&quot;|&\#(?:34|39|x27);)"""
# The rest of the name after a hint, and what ties a value to it.
_TIE = re.compile(
    rb"(?P<rest>[\w-]{0,80}+)(?:(?P<close>(?:" + _QUOTE + rb"){1,2})\]?)?"
    rb"""
    (?:\*{1,3}+(?=[ \t]*[:=]))?
    (?:
      (?:[ \t]+value)?[ \t]*(?P<equals>[:!=]=|=>|=|%3[dD])[ \t]*+
    | [ \t]*(?P<colon>:)(?!:|//)[ \t]*+
      (?P<typed>(?:str|bytes|SecretStr|Optional\[str\])(?:[ ]\|[ ]None)?[ \t]*=[ \t]*+)?
    | (?P<comma>,)[ \t]*(?=\\{0,16}(?:["']|&quot;|&\#(?:34|39|x27);))
    | (?P<tag>>|&gt;|</t[dh]>\s{0,40}<td\b[^<>\n]{0,200}>|&lt;/t[dh]&gt;\s{0,40}&lt;td\b[^<>\n]{0,200}?&gt;)
    | (?P<blank>[ \t])(?![ \t])
    )
    (?P<markup>(?:\*{1,3}[ \t]{1,8})?
      (?:(?:<|&lt;)/?(?:b|i|u|em|strong|code|kbd|tt|span|font|td|th|dd|br)\b[^<>\n]{0,200}?(?:>|&gt;)[ \t]{0,8}){0,4}+)
    """,
    re.VERBOSE,
)
_NEXT_TIE = re.compile(b"(?:" + _QUOTE + rb")?\]?[ \t]{0,8}(?:[:=]|%3[dD])", re.VERBOSE)
# What opens a pair, as in ('password', 'x'), but no call: f("password", "x").
_PAIR = re.compile(rb"(?:\\[nrt]|(?<![\w-]))\((?:" + _QUOTE + rb")\Z", re.VERBOSE)
_KEY = re.compile(rb"-{0,2}[A-Za-z_][\w-]*+")


class Key(NamedTuple):
    """A key, and how its value is tied to it.

    Args:
        name: Its name.
        kind: The kind of secret that the name tells of.
        start: Where the name begins.
        end: Where the value begins, with its quotes.
        tie: "=", ":", ",", ">" or " ".
        is_quoted: Whether the name is within quotes, as in JSON.
        is_spaced: Whether blanks stand behind the tie.
        in_query: Whether it is a parameter of a URL.
        in_url: Whether it stands in an address that is itself quoted in a URL.
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
        """Return whether what follows may as well be a sentence."""
        return self.tie == ":" and not self.is_quoted


def key_at(data: bytes, at: int) -> Key | None:
    """Return the key that has a hint in its name, or None where its value is no secret.

    Args:
        data: What to look at.
        at: Where the hint begins.
    """
    tie = _TIE.match(data, at)
    if tie is None:
        return None
    before = data[max(0, at - LONGEST_NAME) : at]
    start = at - len(before) + len(before.rstrip(_LETTERS))
    name = data[start : tie.end("rest")].decode("ascii")
    in_query = tie["equals"] == b"=" and data[start - 1 : start] in (b"?", b"&")
    kind = kind_of(name, in_query=in_query) or _kind_of_two_words(data, start, name)
    if kind is None or not _is_tied(data, start, name, tie):
        return None
    group = next(each for each in ("equals", "colon", "comma", "tag", "blank") if tie[each])
    return Key(
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


def is_key(data: bytes, end: int, text: bytes) -> bool:
    """Tell whether what looks like a value is the key of the next one: ``token = "password": "x"``.

    Args:
        data: What it stands in.
        end: Where it ends.
        text: What looks like a value.
    """
    name = text.rstrip(b" :=")
    is_name = len(name) <= LONGEST_NAME and _KEY.fullmatch(name) is not None and not looks_random(name)
    if not is_name or kind_of(name.decode("ascii")) is None:
        return False
    return name.startswith(b"-") or len(name) < len(text) or _NEXT_TIE.match(data, end) is not None


def _kind_of_two_words(data: bytes, start: int, name: str) -> str | None:
    """Return the kind of the only name of two words that is written so in prose: "API key"."""
    return "api_key" if name.lower() == "key" and data[max(0, start - 4) : start].lower() == b"api " else None


def _is_tied(data: bytes, start: int, name: str, tie: re.Match[bytes]) -> bool:
    """Tell whether a comma, a tag or a blank ties a value to the name."""
    if tie["comma"]:  # ('password', 'x') or ['--password', 'x']
        return bool(tie["close"]) and (
            name.startswith("-") or _PAIR.search(data, max(0, start - 40), start) is not None
        )
    if tie["tag"] in (b">", b"&gt;"):
        return data[start - 1 : start] in (b"<", b":") or data.startswith(b"&lt;", max(0, start - 4))
    return True
