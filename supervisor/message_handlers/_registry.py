"""The handlers of this package and of others, found by a scheme: a short word for use in configuration files.

A new handler of this package is a line in ``_HANDLERS``, and for type checkers an import and a name in ``__all__`` of
the package.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from supervisor.errors import ConfigurationError

GROUP = "supervisor.message_handlers"
"""The group of entry points in which other packages offer handlers; an entry's name is the scheme."""

_HANDLERS = (
    ("apprise", "AppriseHandler", "_apprise"),
    ("console", "ConsoleHandler", "_console"),
    ("email", "EmailHandler", "_email.handler"),
    ("healthchecks", "HealthchecksHandler", "_healthchecks"),
    ("sendgrid", "SendGridHandler", "_sendgrid.handler"),
    ("slack", "SlackHandler", "_slack.handler"),
    ("webhook", "WebhookHandler", "_webhook"),
)
BUILT_IN = {scheme: name for scheme, name, _ in _HANDLERS}
"""The classes of this package by scheme."""
MODULES = {name: module for _, name, module in _HANDLERS}
"""The modules of this package by class."""


def handler_class(scheme: str) -> Any:
    """Return the class of handlers for a scheme; another package may offer a function that returns a handler instead.

    Args:
        scheme: One of :data:`BUILT_IN`, or the name of an entry point in :data:`GROUP`. An entry point cannot replace
            a handler of this package.

    Raises:
        ConfigurationError: There is no such scheme (the text lists those that exist), or its handler cannot be loaded.
    """
    if scheme in BUILT_IN:
        name = BUILT_IN[scheme]
        return getattr(import_module(f"supervisor.message_handlers.{MODULES[name]}"), name)
    from importlib.metadata import entry_points

    offered = entry_points(group=GROUP)
    if scheme not in offered.names:
        raise _unknown(scheme, sorted({*BUILT_IN, *offered.names}))
    entry = offered[scheme]
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"the handler of type {scheme!r} ({entry.value}) cannot be loaded: {error}") from error


def _unknown(scheme: str, known: list[str]) -> ConfigurationError:
    from difflib import get_close_matches

    similar = get_close_matches(scheme, known, n=1)
    hint = f"did you mean {similar[0]!r}? " if similar else ""
    return ConfigurationError(f"there is no handler of type {scheme!r}; {hint}there are {', '.join(known)}")
