"""What takes secrets out of texts, values and logs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._redaction.credentials import forms_of, secrets_of
from supervisor._redaction.names import KINDS, kind_of
from supervisor._redaction.scanner import CREDENTIAL, Scanner, marker, replaced
from supervisor._redaction.shapes import SHAPES
from supervisor._redaction.triggers import PRIVATE_KEY, URL_PASSWORD
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from supervisor._models.values import MessageHandler
    from supervisor._redaction.streaming import BytesFilter

REDACTED = KINDS | {each.label for each in SHAPES} | {URL_PASSWORD, PRIVATE_KEY, CREDENTIAL}
"""The names of all that is looked for without being asked: what markers say, and what ``off`` takes."""

_DEEPEST = 20
_APART = "\n\n"
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
    """Takes secrets out of whatever is stored or sent. Redacting twice changes nothing.

    In the place of a secret stands what it was, ``[redacted: api_key]``, and never a part of it. What is looked for:

    - ``secrets``, as they are, quoted for URLs, JSON, HTML and Python, and in base64;
    - values whose key tells (``password=x``, ``"token": "x"``, ``--api-key x``, ``Authorization:``, ``Cookie:``, XML);
    - passwords in URLs, and what is known by its look: private keys, JWTs, the keys and webhooks of vendors;
    - ``patterns``.

    A secret that nothing tells of stays: a bare password in a sentence, unless it is among ``secrets``.

    Args:
        secrets: Known secrets. Those of fewer than six characters are not looked for by themselves, since they would
            blank parts of ordinary words; nor is the mere word "password".
        patterns: Your own, by the name that stands in the place of what is found. Of a pattern with a group
            ``secret`` only that is replaced. In logs a pattern sees several lines at once, but not always the same
            ones, so it should not rely on more than one.
        off: Names of what is not to be looked for, of ``REDACTED``.

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
        """Return a text without secrets; the very same object where there are none."""
        data = text.encode("utf-8", "surrogatepass")
        spans = self._scanner.spans(data)
        if not spans:
            return text
        return replaced(data, spans, 0, len(data)).decode("utf-8", "surrogatepass")

    def texts(self, *texts: str) -> tuple[str, ...]:
        """Return several texts without secrets, each as :meth:`text` does."""
        # Mostly there is none in any of them, which one look at all tells.
        is_clean = self._scanner.is_clean(_APART.join(texts).encode("utf-8", "surrogatepass"))
        return texts if is_clean else tuple(map(self.text, texts))

    def value(self, key: str, value: Any) -> Any:
        """Return a recorded value without secrets, or a marker where the key tells that it is one.

        Texts, bytes, and what lists, tuples, sets and mappings hold are looked at; anything else stays as it is, but
        a number that is a password.

        Args:
            key: The name that it was recorded under; "" for none.
            value: The value.
        """
        return self._value(key, value, _DEEPEST)

    def mapping(self, values: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return several values by their keys, each as :meth:`value` does. Secrets in keys go too."""
        return self._mapping("", values, _DEEPEST)

    def arguments(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """Return a command line without secrets; what follows an option like ``--password`` is one."""
        result: list[str] = []
        option = ""
        for each in arguments:
            is_option = each.startswith("-")
            result.append(self._value(option, each, 1) if option and not is_option else self.text(each))
            option = each.lstrip("-") if is_option and "=" not in each and self._kind(each) is not None else ""
        return tuple(result)

    def bytes_filter(self) -> BytesFilter:
        """Return what redacts a log on its way through; each one is for one log."""
        from supervisor._redaction.streaming import BytesFilter

        return BytesFilter(self._scanner)

    def _kind(self, key: str) -> str | None:
        kind = kind_of(key)
        return None if kind in self.off else kind

    def _value(self, key: str, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(key, value)
        if isinstance(value, (bytes, bytearray)):
            return self._bytes(key, bytes(value))
        if isinstance(value, (Mapping, list, tuple, set, frozenset)):
            return self._container(key, value, depth - 1) if depth > 0 else marker("too deep")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return marker("password") if is_number and self._kind(key) == "password" else value

    def _text(self, key: str, value: str) -> str:
        kind, text = self._kind(key), self.text(value)
        if kind is None or _says_nothing(value.encode("utf-8", "surrogatepass")):
            return text
        if kind == "connection_string" and (text != value or "[redacted: " in value):
            return text  # the password in it is gone, and the server is worth knowing
        return marker(kind)

    def _bytes(self, key: str, value: bytes) -> bytes:
        kind = self._kind(key)
        if kind is not None and not _says_nothing(value):
            return marker(kind).encode()
        spans = self._scanner.spans(value)
        return replaced(value, spans, 0, len(value)) if spans else value

    def _container(self, key: str, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(key, value, depth)
        items = [self._value(key, each, depth) for each in value]
        return items if isinstance(value, list) else type(value)(items) if type(value) in _PLAIN else tuple(items)

    def _mapping(self, outer: str, values: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
        """Redact values by their own keys, and by the key of the whole where their own tell nothing."""
        result = {}
        for key, value in list(values.items()):
            name = key if isinstance(key, str) else ""
            own = name if self._kind(name) is not None else outer
            result[self.text(key) if isinstance(key, str) else key] = self._value(own, value, depth)
        return result


def _says_nothing(value: bytes) -> bool:
    from supervisor._redaction.placeholders import says_nothing

    return says_nothing(value)


_PLAIN = (tuple, set, frozenset)


def redactor_for(
    handlers: Iterable[MessageHandler],
    patterns: Mapping[str, str | re.Pattern[str]] | None = None,
    off: Collection[str] = (),
) -> Redactor:
    """Return what redacts for a run: it knows the credentials of its handlers.

    Args:
        handlers: The handlers of the run.
        patterns: The user's own patterns; None for none.
        off: Names of what is not to be looked for.

    Raises:
        ConfigurationError: As for :class:`Redactor`.
    """
    secrets = frozenset[str]().union(*(secrets_of(each) for each in handlers))
    return Redactor(secrets, patterns or {}, off)
