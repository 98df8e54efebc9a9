"""What takes secrets out of all that a run stores or sends.

Most runs have nothing that could hold a secret: a path as their command line, numbers as their values. What looks for
secrets is loaded only when there is a text to look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.redaction.names import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.models import MessageDetails, Progress
    from supervisor.redaction import Redactor
    from supervisor.settings import Settings

_PLAIN = (int, float, type(None))


class RunRedactor:
    """Redacts for one run; it knows the credentials of its handlers.

    Args:
        settings: The run's.
    """

    __slots__ = ("_arguments", "_redactor", "_settings")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redactor: Redactor | None = None
        self._arguments: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    def __call__(self) -> Redactor:
        """Return what redacts."""
        if self._redactor is None:
            from supervisor.redaction import redactor_for

            settings = self._settings
            self._redactor = redactor_for(settings.handlers, settings.redact_patterns, settings.redact_off)
        return self._redactor

    def arguments(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command line without secrets; the program's own path is none."""
        if len(arguments) <= 1:
            return arguments
        if self._arguments is None or self._arguments[0] != arguments:
            self._arguments = arguments, self().arguments(arguments)
        return self._arguments[1]

    def values(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return recorded values without secrets."""
        if all(isinstance(each, _PLAIN) and kind_of(name) is None for name, each in values.items()):
            return values
        return self().mapping(values)

    def progress(self, progress: Progress | None) -> Progress | None:
        """Return progress without secrets in its message."""
        if progress is None or not progress.message:
            return progress
        from supervisor.redaction.told import redacted_progress

        return redacted_progress(self(), progress)

    def message(self, details: MessageDetails) -> MessageDetails:
        """Return a message of the script's own without secrets."""
        from supervisor.redaction.told import redacted_message

        return redacted_message(self(), details)
