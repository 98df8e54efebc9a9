"""Remove secrets from everything that one run stores or sends.

Most runs have nothing that could contain a secret: a path as command line, numbers as values. The modules that look
for secrets are loaded only when there is a text to examine.
"""

from __future__ import annotations

import re
import weakref
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from supervisor._redaction.secret_names import secret_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from supervisor._models.values import (
        Attachment,
        ErrorDetails,
        MessageDetails,
        MessageHandler,
        Progress,
        RunReport,
    )
    from supervisor._redaction import Redactor

_PLAIN = (int, float, type(None))
# Names that are ordinary words; keys of vendors are longer, or have digits.
_WORDS = re.compile(r"[a-z_ ]{1,60}|[A-Za-z_ ]{1,19}")


class RedactionSettings(Protocol):
    """The settings that redaction needs."""

    @property
    def handlers(self) -> tuple[MessageHandler, ...]:
        """Return the handlers, whose credentials are secret."""

    @property
    def redact_patterns(self) -> Mapping[str, str]:
        """Return the user's own patterns by their labels."""

    @property
    def redact_off(self) -> frozenset[str]:
        """Return the names of what is not looked for."""


class RedactedRun(Protocol):
    """The properties of a run that redaction needs."""

    @property
    def settings(self) -> RedactionSettings:
        """Return the settings of the run."""

    @property
    def parent(self) -> RedactedRun | None:
        """Return the run that this one is nested in; None for an outermost run."""


class _KnownHandlers:
    """The handlers of all runs of this process, as long as they exist: an error in one run may quote any of them.

    ``by_id`` is replaced and never changed, so that it can be read without a lock.
    """

    by_id: dict[int, weakref.ref[Any]]

    def __init__(self) -> None:
        self.by_id = {}

    def add(self, handlers: Iterable[MessageHandler]) -> None:
        """Add handlers; those of a class with ``__slots__`` are known to their own runs only."""
        fresh: dict[int, weakref.ref[Any]] = {}
        for handler in handlers:
            found = self.by_id.get(id(handler))
            if found is None or found() is not handler:
                try:
                    fresh[id(handler)] = weakref.ref(handler)
                except TypeError:
                    continue
        if fresh:
            self.by_id = {key: ref for key, ref in self.by_id.items() if ref() is not None} | fresh


_known = _KnownHandlers()


class RunRedactor:
    """Redacts for one run. It knows the credentials of the run's handlers and of all others in this process.

    The user's patterns hold for nested runs, too.

    Args:
        run: The run.
    """

    __slots__ = ("_known_by_id", "_redactor", "_run")

    def __init__(self, run: RedactedRun) -> None:
        self._run = run
        self._redactor: Redactor | None = None
        self._known_by_id: dict[int, weakref.ref[Any]] | None = None
        if run.settings.handlers:
            _known.add(run.settings.handlers)

    def __call__(self) -> Redactor:
        """Return the redactor, built anew if handlers were added meanwhile."""
        if self._redactor is None or self._known_by_id is not _known.by_id:
            self._known_by_id = _known.by_id
            self._redactor = self._built(self._known_by_id)
        return self._redactor

    def _built(self, known: Mapping[int, weakref.ref[Any]]) -> Redactor:
        settings, patterns = self._run.settings, self._patterns()
        handlers = {id(each): each for each in settings.handlers}
        handlers |= {key: each for key, ref in known.items() if (each := ref()) is not None}
        if not (handlers or patterns or settings.redact_off):
            return _default_redactor()
        from supervisor._redaction import redactor_for

        return redactor_for(handlers.values(), patterns, settings.redact_off)

    def _patterns(self) -> Mapping[str, str]:
        """Return the patterns of the run and of those around it; of equal labels, the innermost counts."""
        patterns: Mapping[str, str] = self._run.settings.redact_patterns
        outer = self._run.parent
        while outer is not None:
            patterns = {**outer.settings.redact_patterns, **patterns}
            outer = outer.parent
        return patterns

    def arguments(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command line without secrets; the program's path alone has none."""
        if len(arguments) <= 1:
            return arguments
        return _arguments(self(), tuple(arguments))

    def values(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return recorded values without secrets."""
        if not values or all(isinstance(each, _PLAIN) and _is_word(name) for name, each in values.items()):
            return values
        return self().mapping(values)

    def progress(self, progress: Progress | None) -> Progress | None:
        """Return progress without secrets in its message."""
        if progress is None or not progress.message:
            return progress
        return redacted_progress(self(), progress)

    def message(self, details: MessageDetails) -> MessageDetails:
        """Return a message that the script wrote without secrets."""
        return redacted_message(self(), details)

    def fault(self) -> str:
        """Return the traceback of the current exception without secrets, for supervisor's own log."""
        try:
            from traceback import format_exc

            return self().text(format_exc())
        except Exception as error:  # noqa: BLE001 - the run's boundary: a script's exception may raise when it is shown
            return f"its traceback cannot be shown ({type(error).__name__})"


@cache
def _default_redactor() -> Redactor:
    """Return the redactor of runs without handlers and patterns, one for all of them."""
    from supervisor._redaction import Redactor

    return Redactor()


@lru_cache(maxsize=16)  # all runs of a process have the same command line
def _arguments(redactor: Redactor, arguments: tuple[str, ...]) -> tuple[str, ...]:
    return redactor.arguments(arguments)


def _is_word(name: str) -> bool:
    return _WORDS.fullmatch(name) is not None and secret_kind(name) is None


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
        retried=tuple(redacted_error(redactor, each) for each in report.retried),
        tables=tuple(each.with_texts(redactor.text) for each in report.tables),
        argv=redactor.arguments(report.argv),
        log_tail=tuple(redactor.text(each) for each in report.log_tail),
        log_warnings=tuple(redactor.text(each) for each in report.log_warnings),
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
    import json

    if blocks_json is None:
        return None
    try:
        blocks = json.loads(blocks_json)
    except ValueError:  # a text that the script gave as blocks; Slack would refuse it too
        return redactor.text(blocks_json)
    redacted = redactor.value("", blocks)
    return blocks_json if redacted == blocks else json.dumps(redacted)
