"""What takes secrets out of all that a run stores or sends.

Most runs have nothing that could hold a secret: a path as their command line, numbers as their values. What looks for
secrets is loaded only when there is a text to look at.
"""

from __future__ import annotations

import re
import weakref
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from supervisor._redaction.names import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from supervisor._models.values import MessageDetails, MessageHandler, Progress
    from supervisor._redaction import Redactor
    from supervisor._run.state import RunState

_PLAIN = (int, float, type(None))
# Names that are words; no key of any vendor is so short without a digit.
_WORDS = re.compile(r"[a-z_ ]{1,60}|[A-Za-z_ ]{1,19}")


class _Known:
    """The handlers of all runs of this process, as long as they live.

    A script that fails because of what one of them needs may do so in any run. The dictionary is replaced, never
    changed, so that it can be read without a lock.
    """

    handlers: ClassVar[dict[int, weakref.ref[Any]]] = {}


class RunRedactor:
    """Redacts for one run; it knows the credentials of its handlers and of those of other runs of the process.

    Own patterns hold for the runs within a run, too.

    Args:
        run: The run.
    """

    __slots__ = ("_redactor", "_run", "_seen")

    def __init__(self, run: RunState) -> None:
        self._run = run
        self._redactor: Redactor | None = None
        self._seen: dict[int, weakref.ref[Any]] | None = None
        if run.settings.handlers:
            _remember(run.settings.handlers)

    def __call__(self) -> Redactor:
        """Return what redacts."""
        if self._redactor is None or self._seen is not _Known.handlers:
            self._seen = _Known.handlers
            self._redactor = self._made()
        return self._redactor

    def _made(self) -> Redactor:
        settings, patterns = self._run.settings, self._patterns()
        handlers = {}
        if settings.handlers or _Known.handlers:
            handlers = {id(each): each for each in settings.handlers}  # most are among those of the process, too
            handlers |= {key: each for key, ref in _Known.handlers.items() if (each := ref()) is not None}
        if not (handlers or patterns or settings.redact_off):
            return _plain_redactor()
        from supervisor._redaction import redactor_for

        return redactor_for(handlers.values(), patterns, settings.redact_off)

    def _patterns(self) -> Mapping[str, Any]:
        """Return the patterns of the run and of those around it; of one name the innermost holds."""
        patterns: Mapping[str, Any] = self._run.settings.redact_patterns
        outer = self._run.parent
        while outer is not None:
            patterns = {**outer.settings.redact_patterns, **patterns}
            outer = outer.parent
        return patterns

    def arguments(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command line without secrets; the program's own path is none."""
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
        from supervisor._redaction.redacted_messages import redacted_progress

        return redacted_progress(self(), progress)

    def message(self, details: MessageDetails) -> MessageDetails:
        """Return a message of the script's own without secrets."""
        from supervisor._redaction.redacted_messages import redacted_message

        return redacted_message(self(), details)

    def fault(self) -> str:
        """Return the traceback of the exception at hand without secrets: it may show what the script failed of."""
        try:
            from traceback import format_exc

            return self().text(format_exc())
        except Exception as error:  # noqa: BLE001 - the run's boundary: whatever a script's exception does when shown
            return f"its traceback cannot be shown ({type(error).__name__})"


@cache
def _plain_redactor() -> Redactor:
    """Return what redacts where there are neither handlers nor wishes: one for all runs of the process."""
    from supervisor._redaction import Redactor

    return Redactor()


@lru_cache(maxsize=16)  # the command line, which is the same for all runs of a process
def _arguments(redactor: Redactor, arguments: tuple[str, ...]) -> tuple[str, ...]:
    return redactor.arguments(arguments)


def _is_word(name: str) -> bool:
    return _WORDS.fullmatch(name) is not None and kind_of(name) is None


def _remember(handlers: Iterable[MessageHandler]) -> None:
    """Note handlers, so that their credentials are known to all runs of the process."""
    fresh: dict[int, weakref.ref[Any]] = {}
    for handler in handlers:
        found = _Known.handlers.get(id(handler))
        if found is None or found() is not handler:
            try:
                fresh[id(handler)] = weakref.ref(handler)
            except TypeError:  # a class with __slots__; its own runs know it all the same
                continue
    if fresh:
        alive = {key: ref for key, ref in _Known.handlers.items() if ref() is not None}
        _Known.handlers = alive | fresh
