"""Remove secrets from texts, values, logs, and the models: messages, reports, errors and progress."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._redaction.credentials import forms_of, secrets_of
from supervisor._redaction.scanner import CREDENTIAL, Scanner, may_have_login
from supervisor._redaction.secret_names import DOUBTFUL_KINDS, KINDS, secret_kind
from supervisor._redaction.shapes import PRIVATE_KEY, SHAPES, URL_PASSWORD, VENDOR_SHAPES
from supervisor._redaction.spans import marker, with_markers
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from supervisor._models.values import (
        Attachment,
        ErrorDetails,
        MessageDetails,
        MessageHandler,
        Progress,
        RunReport,
    )
    from supervisor._redaction.streaming import BytesFilter

REDACTED = KINDS | {each.label for each in (*SHAPES, *VENDOR_SHAPES)} | {URL_PASSWORD, PRIVATE_KEY, CREDENTIAL}
"""The names of everything that is looked for by default: the labels in markers, and what ``off`` accepts."""

_DEEPEST = 20
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
        spans = self._scanner.spans(data)
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
        """Return a command line without the secrets that only the program's name or an option like ``-u`` tells of."""
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
        from supervisor._redaction.streaming import BytesFilter

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
        if kind in DOUBTFUL_KINDS and not is_item and _is_plain_word(value):
            return text
        if kind == "connection_string" and (text != value or "[redacted: " in value):
            return text  # its password has been removed, and the name of the server is useful
        return marker(kind)

    def _bytes(self, key: str, value: bytes) -> bytes:
        kind = self._kind(key)
        if kind is not None and not _says_nothing(value):
            return marker(kind).encode()
        spans = self._scanner.spans(value)
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
    """Return whether an argument behind an option is an option itself, and no value that begins with a hyphen."""
    return re.fullmatch(r"--[a-z][a-z-]*(?:=.*)?|-[A-Za-z]", argument, re.DOTALL) is not None


def _says_nothing(value: bytes) -> bool:
    from supervisor._redaction.value_syntax import says_nothing

    return says_nothing(value)


def _is_plain_word(value: str) -> bool:
    from supervisor._redaction.value_syntax import is_plain_word

    return is_plain_word(value.encode("utf-8", "surrogatepass"))


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


# The models


def redacted_message(redactor: Redactor, details: MessageDetails) -> MessageDetails:
    """Return a message without secrets in its subject, text, HTML, blocks, parts, report and names of attachments.

    The contents of attachments are redacted when they are packed. Their paths are kept, since they are needed to
    find them.
    """
    return attrs.evolve(
        details,
        subject=redactor.text(details.subject),
        message=redactor.text(details.own_text),
        html=redactor.text(details.html) if details.html is not None else None,
        blocks=_blocks(redactor, details.blocks_json),
        attachments=tuple(_attachment(redactor, each) for each in details.attachments),
        report=redacted_report(redactor, details.report) if details.report is not None else None,
        parts=tuple(part.with_texts(redactor.text) for part in details.parts),
    )


def redacted_report(redactor: Redactor, report: RunReport) -> RunReport:
    """Return a report without secrets in its name, values, settings, progress, error and command line."""
    return attrs.evolve(
        report,
        name=redactor.text(report.name),
        values=redactor.mapping(report.values),
        settings=redactor.mapping(report.settings),
        progress=redacted_progress(redactor, report.progress) if report.progress is not None else None,
        error=redacted_error(redactor, report.error) if report.error is not None else None,
        argv=redactor.arguments(report.argv),
        log_tail=tuple(redactor.text(each) for each in report.log_tail),
    )


def redacted_progress(redactor: Redactor, progress: Progress) -> Progress:
    """Return progress without secrets in its message."""
    return attrs.evolve(progress, message=redactor.text(progress.message))


def redacted_error(redactor: Redactor, error: ErrorDetails) -> ErrorDetails:
    """Return an error without secrets in its texts; its fingerprint is computed from places and stays the same."""
    return attrs.evolve(
        error,
        message=redactor.text(error.message),
        source=redactor.text(error.source),
        excerpt=redactor.text(error.excerpt),
        notes=tuple(redactor.text(each) for each in error.notes),
        local_variables=tuple((name, redactor.value(name, text)) for name, text in error.local_variables),
        traceback=redactor.text(error.traceback),
        thread=redactor.text(error.thread),
    )


def _attachment(redactor: Redactor, attachment: Attachment) -> Attachment:
    return attrs.evolve(attachment, name=redactor.text(attachment.name), note=redactor.text(attachment.note))


def _blocks(redactor: Redactor, blocks_json: str | None) -> str | None:
    """Return Block Kit blocks without secrets, text by text, so that they are still JSON."""
    if blocks_json is None:
        return None
    try:
        blocks = json.loads(blocks_json)
    except ValueError:  # a text that the script gave as blocks; Slack would refuse it too
        return redactor.text(blocks_json)
    redacted = redactor.value("", blocks)
    return blocks_json if redacted == blocks else json.dumps(redacted)
