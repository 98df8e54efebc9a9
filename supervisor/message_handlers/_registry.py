"""The handlers of this package and of others, found by a scheme: a short word for use in configuration files.

The class of this package's module ``_webhook`` whose name ends in "Handler" has the scheme "webhook".
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE = __name__.rpartition(".")[0]

GROUP = "supervisor.message_handlers"
"""The group of entry points in which other packages offer handlers; an entry's name is the scheme."""


def handler_class(scheme: str) -> Any:
    """Return the class of handlers for a scheme; another package may offer a function that returns a handler instead.

    Args:
        scheme: That of a handler of this package, or the name of an entry point in :data:`GROUP`. An entry point cannot
            replace a handler of this package.

    Raises:
        ConfigurationError: There is no such scheme (the text lists those that exist), or its handler cannot be loaded.
    """
    if found := built_in_class(scheme):
        return found
    from importlib.metadata import entry_points

    offered = entry_points(group=GROUP)
    if scheme not in offered.names:
        raise _unknown(scheme, sorted({*built_in(), *offered.names}))
    entry = offered[scheme]
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"the handler of type {scheme!r} ({entry.value}) cannot be loaded: {error}") from error


def built_in_class(scheme: str) -> Any:
    """Return the class of this package for a scheme, which configuration files call the type; None without one."""
    module_name = f"{_PACKAGE}._{scheme}"
    if not scheme.isidentifier():
        return None
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name:
            return None
        raise
    own = (value for name, value in vars(module).items() if name.endswith("Handler"))
    return next((each for each in own if getattr(each, "__module__", "") == module_name), None)


@cache
def built_in() -> dict[str, str]:
    """Return the names of all classes of this package by scheme; this loads all modules, but no client library."""
    from pkgutil import iter_modules

    schemes = sorted(each.name.removeprefix("_") for each in iter_modules(import_module(_PACKAGE).__path__))
    classes = {scheme: built_in_class(scheme) for scheme in schemes}
    return {scheme: found.__name__ for scheme, found in classes.items() if found is not None}


def examples() -> Iterator[str]:
    """Yield the table of each handler of this package that needs one, for the configuration's template."""
    for scheme in built_in():
        module = import_module(built_in_class(scheme).__module__)
        example: str | None = getattr(module, "EXAMPLE", None)
        if example is not None:
            yield example


def _unknown(scheme: str, known: list[str]) -> ConfigurationError:
    from difflib import get_close_matches

    similar = get_close_matches(scheme, known, n=1)
    hint = f"did you mean {similar[0]!r}? " if similar else ""
    return ConfigurationError(f"there is no handler of type {scheme!r}; {hint}there are {', '.join(known)}")
