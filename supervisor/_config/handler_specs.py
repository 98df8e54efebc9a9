"""Handlers as a configuration names them, before anything is made of them."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._config.origins import Origin
from supervisor._config.problems import ConfigurationProblems, Problem, dotted, meant
from supervisor._config.secret_references import Secret
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor._config.configuration import Configuration

WITHOUT_SETTINGS = frozenset({"console"})
"""Types of handlers that need no table: their name is their type."""


def _names(value: Mapping[str, Any]) -> str:
    return f"<{', '.join(value)}>"  # a value may be a secret, a name is none


@attrs.frozen(kw_only=True)
class HandlerSpec:
    """A named handler: what type it is of, and with which options.

    Args:
        name: Its name, which is that of its table.
        type: Its type: "email", "slack", or what another package offers.
        options: Keyword arguments for it, with a :class:`Secret` for each that is not shown.
        origin: Where its table stands.
        origins: Where each option and "type" come from.
    """

    name: str
    type: str
    options: Mapping[str, Any] = attrs.field(factory=lambda: MappingProxyType({}), repr=_names)
    origin: Origin = attrs.field(factory=Origin, repr=False, eq=False)
    origins: Mapping[str, Origin] = attrs.field(factory=lambda: MappingProxyType({}), repr=False, eq=False)

    def resolved(self, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
        """Return the options with their secrets, which are looked for now.

        Raises:
            ConfigurationProblems: Secrets are missing; all of them are told.
        """
        found: dict[str, Any] = {}
        problems = []
        for option, value in self.options.items():
            try:
                found[option] = _resolved(value, environ)
            except ConfigurationError as error:
                problems.append(self.problem(f"{option} is missing: {error}", option))
        if problems:
            raise ConfigurationProblems(problems)
        return found

    def problem(self, text: str, option: str = "") -> Problem:
        """Return what is wrong with this handler, with the place where the option stands, or its table."""
        key = dotted(("handlers", self.name))
        origin = self.origins.get(option, self.origin)
        return Problem(f"[{key}] {text}", origin.file, origin.line, f"{key}.{dotted((option,))}" if option else key)


def without_table(name: str) -> HandlerSpec | None:
    """Return the handler that needs no table of its own; None when there is none of that name."""
    return HandlerSpec(name=name, type=name) if name in WITHOUT_SETTINGS else None


def missing(configuration: Configuration, name: str) -> ConfigurationError:
    """Return the error for a handler that there is not, or that has problems."""
    key = dotted(("handlers", name))
    problems = [each for each in configuration.problems if f"{key}." in f"{each.key}."]
    if name in configuration.unusable and problems:
        return ConfigurationProblems(problems)
    known = {*configuration.handlers, *WITHOUT_SETTINGS}
    files = ", ".join(configuration.files) or "no configuration file was found"
    return ConfigurationError(f"there is no handler {name!r}; {meant(name, known)} ({files})")


def _resolved(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, Secret):
        return value.value(environ)
    if isinstance(value, dict):
        return {key: _resolved(inner, environ) for key, inner in value.items()}
    return [_resolved(each, environ) for each in value] if isinstance(value, list) else value
