"""Find a handler's class by its scheme: a short word, as configuration and other programs name it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from supervisor.errors import ConfigurationError

GROUP = "supervisor.message_handlers"
"""The group of entry points in which other packages offer handlers: the entry's name is the scheme."""

BUILT_IN = {
    "apprise": "AppriseHandler",
    "console": "ConsoleHandler",
    "email": "EmailHandler",
    "healthchecks": "HealthchecksHandler",
    "sendgrid": "SendGridHandler",
    "slack": "SlackHandler",
    "webhook": "WebhookHandler",
}


def handler_class(scheme: str) -> Any:
    """Return the class, or another maker of handlers, for a scheme.

    Args:
        scheme: One of :data:`BUILT_IN`, or the name of an entry point in :data:`GROUP`. A scheme of this package
            cannot be taken over by another one.

    Raises:
        ConfigurationError: Nobody offers the scheme (the text tells which there are), or what offers it cannot be
            loaded.
    """
    if scheme in BUILT_IN:
        return getattr(import_module("supervisor.message_handlers"), BUILT_IN[scheme])
    from importlib.metadata import entry_points

    offered = entry_points(group=GROUP)
    if scheme not in offered.names:
        from difflib import get_close_matches

        known = sorted({*BUILT_IN, *offered.names})
        meant = get_close_matches(scheme, known, n=1)
        hint = f"did you mean {meant[0]!r}? " if meant else ""
        raise ConfigurationError(f"there is no handler of type {scheme!r}; {hint}there are {', '.join(known)}")
    entry = offered[scheme]
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"the handler of type {scheme!r} ({entry.value}) cannot be loaded: {error}") from error
