"""Remove secrets from everything that one run stores or sends.

Most runs have nothing that could contain a secret: a path as command line, numbers as values. The modules that look
for secrets are loaded only when there is a text to examine.
"""

from __future__ import annotations

import re
import weakref
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from supervisor._redaction.secret_names import secret_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from supervisor._models.values import MessageDetails, MessageHandler, Progress
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
        from supervisor._redaction.redactor import redacted_progress

        return redacted_progress(self(), progress)

    def message(self, details: MessageDetails) -> MessageDetails:
        """Return a message that the script wrote without secrets."""
        from supervisor._redaction.redactor import redacted_message

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
