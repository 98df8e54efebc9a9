"""Remove secrets from texts, values and logs; a log arrives in pieces and is redacted in bounded memory."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._redaction.credentials import CREDENTIAL, forms_of, secrets_of
from supervisor._redaction.scanner import Scanner, may_have_login
from supervisor._redaction.secret_names import DOUBTFUL_KINDS, KINDS, secret_kind
from supervisor._redaction.shapes import PRIVATE_KEY, SHAPES, URL_PASSWORD, VENDOR_SHAPES
from supervisor._redaction.value_syntax import Span, looks_random, marker, with_markers
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from supervisor._models.values import MessageHandler

REDACTED = KINDS | {each.label for each in (*SHAPES, *VENDOR_SHAPES)} | {URL_PASSWORD, PRIVATE_KEY, CREDENTIAL}
"""The names of everything that is looked for by default: the labels in markers, and what ``off`` accepts."""

_DEEPEST = 20
_MOST_TRIGGERS = 25_000  # in one text, which takes half a second; a text of 1 MB rarely has 10,000
_LABEL = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}"


def _secrets(value: str | Iterable[str]) -> frozenset[str]:
    return frozenset((value,) if isinstance(value, str) else value)


def _patterns(value: Mapping[str, str | re.Pattern[str]]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((_label(name), _compiled(name, pattern)) for name, pattern in value.items())


def _label(name: object) -> str:
    if isinstance(name, str) and re.fullmatch(_LABEL, name):
        return name
    raise ConfigurationError(
        f"redaction: a pattern's name must be 1-40 letters, digits, blanks and . _ -, since it stands in the place of "
        f"what is found; got {name!r}"
    )


def _compiled(name: str, pattern: object) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern) if isinstance(pattern, str) else pattern
    except re.error as error:
        raise ConfigurationError(
            f"redaction: pattern {name!r} is no regular expression: {error}; for a text as it is, use re.escape(text)"
        ) from error
    if not isinstance(compiled, re.Pattern) or not isinstance(compiled.pattern, str):
        raise ConfigurationError(f"redaction: pattern {name!r} must be a regular expression for text, got {pattern!r}")
    return compiled


def _off(value: str | Iterable[str]) -> frozenset[str]:
    names = frozenset((value,) if isinstance(value, str) else value)
    for name in sorted(names - REDACTED, key=str):
        from difflib import get_close_matches

        meant = get_close_matches(str(name), REDACTED, n=1)
        hint = f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(sorted(REDACTED))}"
        raise ConfigurationError(f"redaction: there is no pattern {name!r} to switch off; {hint}")
    return names


@lru_cache(16)
def _scanner(
    secrets: frozenset[str], patterns: tuple[tuple[str, re.Pattern[str]], ...], off: frozenset[str]
) -> Scanner:
    known = () if CREDENTIAL in off else forms_of(secrets, REDACTED | {label for label, _ in patterns})
    return Scanner(known, patterns, off)


@attrs.frozen
class Redactor:
    """Removes secrets from what is stored or sent. Redacting twice changes nothing.

    A secret is replaced by its kind, ``[redacted: api_key]``, and no part of it is left. These are looked for:

    - ``secrets``, as they are, quoted for URLs, JSON, HTML and Python, and in base64;
    - values by their key (``password=x``, ``"token": "x"``, ``--api-key x``, ``Authorization:``, ``Cookie:``, XML);
    - passwords in URLs, and secrets of a known form: private keys, JWTs, the keys and webhooks of vendors;
    - ``patterns``.

    A secret that nothing indicates is not found: a password in a sentence, unless it is one of ``secrets``.

    Args:
        secrets: Known secrets. Those of fewer than six characters are not looked for by themselves, since they occur
            within ordinary words; nor is the word "password" itself.
        patterns: The user's own patterns, by the label that replaces what is found. If a pattern has a group
            ``secret``, only that group is replaced. In logs a pattern is applied to several lines at once, but not
            always to the same ones, so it should match within one line.
        off: Names from ``REDACTED`` that are not looked for.

    Raises:
        ConfigurationError: A pattern is no regular expression, or a name is wrong.
    """

    secrets: frozenset[str] = attrs.field(default=(), converter=_secrets, repr=False)
    patterns: tuple[tuple[str, re.Pattern[str]], ...] = attrs.field(factory=dict, converter=_patterns, repr=False)
    off: frozenset[str] = attrs.field(default=(), converter=_off)

    @cached_property
    def _scanner(self) -> Scanner:
        return _scanner(self.secrets, self.patterns, self.off)

    def text(self, text: str) -> str:
        """Return a text without secrets; the same object if it has none."""
        data = text.encode("utf-8", "surrogatepass")
        spans = self._scanner.spans(data, most=_MOST_TRIGGERS)
        if not spans:
            return text
        return with_markers(data, spans, 0, len(data)).decode("utf-8", "surrogatepass")

    def value(self, key: str, value: Any) -> Any:
        """Return a recorded value without secrets, or a marker if its key says that it is one.

        Texts, bytes, and the contents of lists, tuples, sets and mappings are examined. Anything else is returned
        unchanged, except for a number whose key means a password.

        Args:
            key: The name that it was recorded under; "" for none.
            value: The value.
        """
        return self._value(key, value, _DEEPEST)

    def mapping(self, values: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return values by their keys without secrets, each like :meth:`value`; keys are redacted too."""
        return self._mapping("", values, _DEEPEST)

    def arguments(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """Return a command line without secrets, the values of options like ``--password`` included."""
        result: list[str] = []
        option = ""
        for each in self._without_logins(arguments):
            result.append(self._value(option, each, 1) if option and not _is_next_option(each) else self.text(each))
            is_option = each.startswith("-") and "=" not in each
            option = each.lstrip("-") if is_option and self._kind(each) is not None else ""
        return tuple(result)

    def _without_logins(self, arguments: Sequence[str]) -> list[str]:
        """Return a command line without secrets in options that do not say so by name: ``mysql -pX``, ``-u user:X``."""
        if not any(map(may_have_login, arguments)):
            return list(arguments)
        from supervisor._redaction.command_lines import LABEL, in_arguments

        if LABEL in self.off:
            return list(arguments)
        result = [each.encode("utf-8", "surrogatepass") for each in arguments]
        for which, start, end in sorted(in_arguments(result), reverse=True):
            result[which] = result[which][:start] + marker(LABEL).encode() + result[which][end:]
        return [each.decode("utf-8", "surrogatepass") for each in result]

    def bytes_filter(self) -> BytesFilter:
        """Return a filter for one log, which is redacted piece by piece."""
        return BytesFilter(self._scanner)

    def _kind(self, key: str) -> str | None:
        kind = secret_kind(key)
        return None if kind in self.off else kind

    def _value(self, key: str, value: Any, depth: int, *, is_item: bool = False) -> Any:
        """Redact a value; ``is_item`` means that the key is that of the container in which it is."""
        if isinstance(value, str):
            return self._text(key, value, is_item=is_item)
        if isinstance(value, (bytes, bytearray)):
            return self._bytes(key, bytes(value))
        if isinstance(value, (Mapping, list, tuple, set, frozenset)):
            return self._container(key, value, depth - 1) if depth > 0 else marker("too deep")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        is_count = key[-1:] in ("s", "S")
        return marker("password") if is_number and self._kind(key) == "password" and not is_count else value

    def _text(self, key: str, value: str, *, is_item: bool) -> str:
        kind, text = self._kind(key), self.text(value)
        if kind is None or _says_nothing(value.encode("utf-8", "surrogatepass")):
            return text
        if kind in DOUBTFUL_KINDS and not is_item and _is_harmless(value, kind):
            return text
        if kind == "connection_string" and (text != value or "[redacted: " in value):
            return text  # its password has been removed, and the name of the server is useful
        return marker(kind)

    def _bytes(self, key: str, value: bytes) -> bytes:
        kind = self._kind(key)
        if kind is not None and not _says_nothing(value):
            return marker(kind).encode()
        spans = self._scanner.spans(value, most=_MOST_TRIGGERS)
        return with_markers(value, spans, 0, len(value)) if spans else value

    def _container(self, key: str, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(key, value, depth)
        items = [self._value(key, each, depth, is_item=True) for each in value]
        return items if isinstance(value, list) else type(value)(items) if type(value) in _PLAIN else tuple(items)

    def _mapping(self, outer: str, values: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
        """Redact values by their own keys, or by the key of the whole mapping if their own mean no secret."""
        result = {}
        for key, value in list(values.items()):
            name = key if isinstance(key, str) else ""
            is_item = self._kind(name) is None
            redacted = self._value(outer if is_item else name, value, depth, is_item=is_item)
            result[self.text(key) if isinstance(key, str) else key] = redacted
        return result


def _is_next_option(argument: str) -> bool:
    """Return whether what follows an option is another option, rather than a value that begins with a hyphen."""
    return re.fullmatch(r"--[a-z][a-z-]*(?:=.*)?|-[A-Za-z]", argument, re.DOTALL) is not None


def _says_nothing(value: bytes) -> bool:
    from supervisor._redaction.value_syntax import says_nothing

    return says_nothing(value)


def _is_harmless(value: str, kind: str) -> bool:
    """Return whether a value under a name that means other things too is a word, or the checksum of a file."""
    from supervisor._redaction.value_syntax import is_digest, is_plain_word

    data = value.encode("utf-8", "surrogatepass")
    return is_plain_word(data) or not looks_random(data) or (kind == "signature" and is_digest(data))


_PLAIN = (tuple, set, frozenset)


def redactor_for(
    handlers: Iterable[MessageHandler],
    patterns: Mapping[str, str | re.Pattern[str]] | None = None,
    off: Collection[str] = (),
) -> Redactor:
    """Return a redactor that knows the credentials of some handlers.

    Args:
        handlers: The handlers.
        patterns: The user's own patterns; None for none.
        off: Names of what is not looked for.

    Raises:
        ConfigurationError: As for :class:`Redactor`.
    """
    secrets = frozenset[str]().union(*(secrets_of(each) for each in handlers))
    return Redactor(secrets, patterns or {}, off)


# Logs

BLOCK_BYTES = 256 * 1024
"""How many bytes are collected before they are scanned; a longer line is scanned in parts."""

_OVERLAP_BYTES = 8 * 1024  # more than is needed to recognize any secret by its beginning
_MARGIN_BYTES = 256  # a secret that ends so close to the end of the data may continue after it
_CONTEXT_BYTES = 128  # so many bytes before a secret may be needed to recognize it
_LINES_BYTES = 1024  # so many bytes behind the name of a secret may have its value
_HELD_BYTES = 256 * 1024
_SAMPLE_BYTES = 64  # so many bytes at the beginning are enough to recognize the encoding
_FEWEST_BYTES = 8
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class BytesFilter:
    """Takes bytes in pieces of any size and returns them without secrets.

    Bytes without secrets are returned unchanged, whatever their encoding. Secrets are found across the borders of
    pieces, and private keys across lines. Text is assumed to be ASCII, UTF-8 or another encoding that extends ASCII;
    UTF-16 is recognized by its byte order mark, which PowerShell's ``>`` writes, or by every second byte being NUL. It
    is not meant for binary files, since replacing a secret moves everything after it.

    At most some 300 KB are held back, and 400 KB more of a secret that does not end: a longer one is shortened before
    it is replaced.

    Args:
        scanner: Finds the secrets.
    """

    def __init__(self, scanner: Scanner) -> None:
        self._blocks = _Blocks(scanner)
        self._start = b""
        self._transcoder: _Utf16 | None = None
        self._begun = False

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take a piece, and return the redacted bytes that are complete; b"" if none are yet."""
        if not self._begun:
            self._start += bytes(data)
            if len(self._start) < _SAMPLE_BYTES:
                return b""
            data = self._begin()
        piece = bytes(data)
        if self._transcoder is not None:
            return self._transcoder.encode(self._blocks.feed(self._transcoder.decode(piece)))
        return self._blocks.feed(piece)

    def flush(self) -> bytes:
        """Return the remaining bytes; no more pieces can be fed afterwards."""
        rest = b"" if self._begun else self._begin()
        if self._transcoder is None:
            return self._blocks.feed(rest) + self._blocks.flush()
        decoded = self._blocks.feed(self._transcoder.decode(rest)) + self._blocks.flush()
        return self._transcoder.encode(decoded, final=True) + self._transcoder.left_over()

    def _begin(self) -> bytes:
        self._begun = True
        encoding = _utf16_of(self._start[:_SAMPLE_BYTES])
        if encoding is not None:
            self._transcoder = _Utf16(encoding)
        return self._start


def _utf16_of(sample: bytes) -> str | None:
    """Return the form of UTF-16 in which a text begins; None for any other encoding."""
    marked = _UTF16.get(sample[:2])
    if marked is not None or len(sample) < _FEWEST_BYTES:
        return marked
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if 0 in (even, odd) and max(even, odd) > len(sample) // 4:  # of most characters, one of the two bytes is NUL
        return "utf-16-le" if odd else "utf-16-be"
    return None


class _Utf16:
    """Converts UTF-16 into UTF-8 and back without loss."""

    def __init__(self, encoding: str) -> None:
        self._from = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._from_utf8 = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        self._encoding = encoding

    def decode(self, data: bytes) -> bytes:
        return self._from.decode(data).encode("utf-8", "surrogatepass")

    def encode(self, data: bytes, *, final: bool = False) -> bytes:
        return self._from_utf8.decode(data, final).encode(self._encoding, "surrogatepass")

    def left_over(self) -> bytes:
        """Return the bytes of a character at the end that is incomplete."""
        return self._from.getstate()[0]


class _Blocks:
    """Collects pieces and redacts them block by block."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._pieces: list[bytes] = []
        self._size = 0
        self._due = BLOCK_BYTES
        self._context = 0  # so many bytes at the beginning have been returned already

    def feed(self, data: bytes) -> bytes:
        self._pieces.append(data)
        self._size += len(data)
        return self._advance(final=False) if self._size >= self._due else b""

    def flush(self) -> bytes:
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> bytes:
        data = b"".join(self._pieces)
        spans = self._scanner.spans(data, self._context, more=not final)
        cut = len(data) if final else self._cut(data, spans)
        done = with_markers(data, spans, self._context, cut)
        kept_from = max(0, cut - _CONTEXT_BYTES)
        self._context = cut - kept_from
        self._keep(data[kept_from:] if final else self._shortened(data, spans, kept_from, cut))
        return done

    def _keep(self, rest: bytes) -> None:
        self._pieces, self._size = [rest], len(rest)
        self._due = self._size + BLOCK_BYTES

    def _cut(self, data: bytes, spans: list[Span]) -> int:
        """Return up to where no secret can change any more.

        That is a line break before the last lines, since a value may be in the lines below its name; or, in a long
        line, before its end.
        """
        cut = data.rfind(b"\n", self._context, max(self._context, len(data) - _LINES_BYTES)) + 1
        margin = 0
        if not cut:
            cut, margin = max(self._context, len(data) - _OVERLAP_BYTES), _MARGIN_BYTES
        for span in reversed(spans):
            if span.origin < cut and span.end + margin >= len(data):
                cut = span.origin
            elif span.origin < cut < span.end:
                cut = span.end
        return max(cut, self._context)

    def _shortened(self, data: bytes, spans: list[Span], start: int, cut: int) -> bytes:
        """Return the bytes to keep, without the middle of a secret that is too long to be kept."""
        last = spans[-1] if spans else None
        if last is None or last.origin < cut or last.end - last.start <= _HELD_BYTES:
            return data[start:]
        head, tail = last.start + _HELD_BYTES // 4, last.end - _HELD_BYTES // 4
        while data[head - 1 : head] == b"\\" and head > last.start:
            head -= 1  # a backslash and the character that it escapes stay together
        while data[tail - 1 : tail] == b"\\" and tail < last.end:
            tail += 1
        return data[start:head] + data[tail:]
