"""The handlers of this package and of others, found by a scheme: a short word for use in configuration files.

Those of this package stand in its ``__init__.py``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from supervisor import message_handlers
from supervisor.errors import ConfigurationError
from supervisor.message_handlers import _HANDLERS

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP = "supervisor.message_handlers"
"""The group of entry points in which other packages offer handlers; an entry's name is the scheme."""

BUILT_IN = {scheme: name for scheme, name, _ in _HANDLERS}
"""The classes of this package by scheme."""


def handler_class(scheme: str) -> Any:
    """Return the class of handlers for a scheme; another package may offer a function that returns a handler instead.

    Args:
        scheme: One of :data:`BUILT_IN`, or the name of an entry point in :data:`GROUP`. An entry point cannot replace
            a handler of this package.

    Raises:
        ConfigurationError: There is no such scheme (the text lists those that exist), or its handler cannot be loaded.
    """
    if scheme in BUILT_IN:
        return getattr(message_handlers, BUILT_IN[scheme])
    from importlib.metadata import entry_points

    offered = entry_points(group=GROUP)
    if scheme not in offered.names:
        raise _unknown(scheme, sorted({*BUILT_IN, *offered.names}))
    entry = offered[scheme]
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"the handler of type {scheme!r} ({entry.value}) cannot be loaded: {error}") from error


def examples() -> Iterator[str]:
    """Yield the table of each handler of this package that needs one, for the configuration's template."""
    for _, _, module in _HANDLERS:
        example = getattr(import_module(f"{message_handlers.__name__}.{module}"), "EXAMPLE", None)
        if example is not None:
            yield example


def _unknown(scheme: str, known: list[str]) -> ConfigurationError:
    from difflib import get_close_matches

    similar = get_close_matches(scheme, known, n=1)
    hint = f"did you mean {similar[0]!r}? " if similar else ""
    return ConfigurationError(f"there is no handler of type {scheme!r}; {hint}there are {', '.join(known)}")
