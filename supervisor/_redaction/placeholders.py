"""What stands where a secret would, and is none: nothing, words, placeholders, paths, pieces of code."""

from __future__ import annotations

import re

from supervisor._redaction.names import kind_of
from supervisor._redaction.scanner import is_marked

_NOTHING = re.compile(
    rb"""\s*|(?i:none|null|nil|true|false|undefined|nan|n/a)|[xX]{3,}|(?:\xe2\x80\xa2)+"""
    rb"""|[\[<(]?(?i:redacted|filtered|hidden|masked|removed|empty|unset|not[ ]set)[\])>]?"""
    # Placeholders: ${X}, {{ x }}, <x>, %(x)s, %s, %X%, $X
    rb"""|(?:\$\{|\{\{)[\w .:!-]*\}{0,2}|<[\w -]*>|%\(\w+\)[srd]|%[srdi]|%[A-Z_]+%|\$[A-Z_]+|\?"""
    rb"""|[\[({})\]<>.,;:|&+*/=-]{1,3}"""
)
_WORDS = frozenset(
    b"a accepted an and are at authentication been by can cannot changed check default denied did disabled does empty "
    b"enabled end entered error expected expired failed failure for found from given has have in incorrect invalid is "
    b"its locked mismatch missing must needed needs no none not of ok on only optional or prompt provided rejected "
    b"required reset sent set should that the to too unexpected unknown unset updated used was were will with wrong "
    b"your".split()
)
_TYPES = frozenset(b"str bytes int bool object Any String SecretStr string str,".split())
# A value that begins so is code, as tracebacks quote it: password=self.password, token=os.environ["TOKEN"].
_CODE = re.compile(
    rb"""(?:self|cls|os|args?|opts?|options|config|cfg|conf|context|ctx|settings|environ|env|event|getpass|kwargs|params|"""
    rb"""secrets|st|keyring|request|response|resp|data|row|form|creds?|credentials|user|auth|payload|json|yaml)"""
    rb"""(?:\.[A-Za-z_]\w*[.(\[,)]|\.[a-z_]+\Z|\[["'\w]|\(["'\w)])"""
    rb"""|(?:[a-z_]\w*\.)*(?:\w*_)?(?:get|load|read|fetch|decrypt|getenv|getpass|input|ask|prompt|Field|field)\w*\("""
)
_IDENTIFIER = re.compile(rb"_?[A-Za-z]+(?:_[A-Za-z]+)*")
_PATH = re.compile(rb"(?:~|\.{1,2})?(?:/[a-z0-9._-]{1,40})+/?|[A-Za-z]:[\\/][^\r\n]*")
_NUMBER = re.compile(rb"[+-]?\d{1,5}|0[xX][0-9A-Fa-f]{1,8}|\d+(?:\.\d+)+")
# An assignment, with the blanks that code has around "=": token = tokens.pop(0), signature = inspect.signature(f).
# Passwords have brackets too, but hardly behind a plain word.
_CALL = re.compile(
    rb"(?:[a-z_]+\.){0,8}(?:[a-z_]{3,40}|(?:[A-Z][a-z]+){1,8})(?:\((?:\Z|[\w\"')\[{(*])|\[(?:\Z|[\w\"':]))"
)
_ATTRIBUTE = re.compile(rb"[A-Za-z_]{1,40}(?:\.[A-Za-z_]{1,40}){1,8}[,)\]]?")


def says_nothing(value: bytes) -> bool:
    """Tell whether a value is empty, hidden already, a constant or a placeholder."""
    return _NOTHING.fullmatch(value) is not None or is_marked(value)


def is_path(value: bytes) -> bool:
    """Tell whether a value is the path of a file. Base64 may look alike, but hardly without capital letters."""
    return _PATH.fullmatch(value) is not None


def is_number(value: bytes) -> bool:
    """Tell whether a value is a number of at most five digits, a constant or a version: a count, not a token."""
    return _NUMBER.fullmatch(value.rstrip(b".,:;")) is not None


def is_call(value: bytes) -> bool:
    """Tell whether what is assigned is a call or an item."""
    return _CALL.match(value[:200]) is not None


def is_attribute(value: bytes) -> bool:
    """Tell whether what is assigned is an attribute; two words of a passphrase look alike."""
    return _ATTRIBUTE.fullmatch(value) is not None


def is_word(value: bytes) -> bool:
    """Tell whether what stands behind a colon goes on with a sentence."""
    return value.split(None, 1)[0].rstrip(b".,:;!").lower() in _WORDS


def is_code(value: bytes, name: str) -> bool:
    """Tell whether a value without quotes is a piece of a program.

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
    return "_" in text.strip("_") and kind_of(text) is not None


def is_name(value: bytes) -> bool:
    """Tell whether a value is the name of a variable that holds a secret, as within the braces of a template."""
    last = value.partition(b"!")[0].rpartition(b".")[2]
    return _IDENTIFIER.fullmatch(last) is not None and kind_of(last.decode("ascii")) is not None


def _letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalpha())
