"""Handlers as a configuration names them, before anything is made of them.

- From a named handler to the handler itself. What makes it comes from the caller: handlers live on a higher floor.
"""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._config.problems import ConfigurationProblems, Problem, dotted, suggestion, without_secrets
from supervisor._config.secret_references import Secret
from supervisor._config.toml_file import Origin
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

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


def _resolved(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, Secret):
        return value.value(environ)
    if isinstance(value, dict):
        return {key: _resolved(inner, environ) for key, inner in value.items()}
    return [_resolved(each, environ) for each in value] if isinstance(value, list) else value


def build(spec: HandlerSpec, find: Callable[[str], Any], environ: Mapping[str, str] = os.environ) -> Any:
    """Return the handler that a configuration describes.

    It gets the name of its table as ``name``, unless it has an option ``name`` or takes none.

    Args:
        spec: What the configuration says.
        find: Returns what makes the handlers of a type, and raises ``ConfigurationError`` when nothing does.
        environ: Where secrets are looked for.

    Raises:
        ConfigurationProblems: The type is unknown, an option is misspelt, a secret is missing, or the handler refuses
            what it got, by whatever exception. Each is told with file and line.
    """
    try:
        maker = find(spec.type)
    except ConfigurationError as error:
        raise ConfigurationProblems([spec.problem(str(error), "type")]) from error
    names = options_of(maker)
    if names is not None:
        check_options(spec, names)
    options = spec.resolved(environ)
    if names is None or "name" in names:
        options.setdefault("name", spec.name)
    try:
        return maker(**options)
    except Exception as error:  # noqa: BLE001 - the handler's boundary: it may be anybody's class
        # Without its cause, whose text may quote a secret that this one does not.
        raise ConfigurationProblems([spec.problem(_without_secrets(error, spec, options))]) from None


def check_options(spec: HandlerSpec, fields: Iterable[str | attrs.Attribute[Any]]) -> None:
    """Refuse options that a handler does not take.

    Args:
        spec: What the configuration says.
        fields: The options that there are: names, or the fields of a class of attrs.

    Raises:
        ConfigurationProblems: There are others; each is told with what was probably meant.
    """
    known = set(_option_names(fields))
    problems = [
        spec.problem(f"there is no option {each!r} for handlers of type {spec.type!r}; {suggestion(each, known)}", each)
        for each in spec.options
        if each not in known
    ]
    if problems:
        raise ConfigurationProblems(problems)


def options_of(maker: Any) -> Collection[str] | None:
    """Return the options that a class or function takes by keyword; None when it takes any, or does not tell."""
    fields = getattr(maker, "__attrs_attrs__", None)
    if fields is not None:
        return tuple(_option_names(fields))
    import inspect

    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    return tuple(each.name for each in parameters if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY})


def _option_names(fields: Iterable[str | attrs.Attribute[Any]]) -> Iterator[str]:
    """Yield the names of options. A private field is one only when it was given a name for that on purpose."""
    for field in fields:
        if isinstance(field, str):
            yield field
        elif field.init and field.alias != (field.name.lstrip("_") if field.name.startswith("_") else None):
            yield field.alias or field.name


def _without_secrets(error: Exception, spec: HandlerSpec, options: Mapping[str, Any]) -> str:
    from supervisor._redaction import Redactor

    secrets = {text for name, value in spec.options.items() for text in _hidden(value, options[name])}
    return without_secrets(Redactor(frozenset(secrets)).text(str(error) or type(error).__name__))


def _hidden(described: Any, value: Any) -> Iterator[str]:
    """Yield the secrets among the values of an option, as the configuration describes them."""
    if isinstance(described, Secret):
        yield str(value)
    elif isinstance(described, dict):
        for key, inner in described.items():
            yield from _hidden(inner, value[key])
    elif isinstance(described, list):
        for inner, each in zip(described, value, strict=True):
            yield from _hidden(inner, each)
