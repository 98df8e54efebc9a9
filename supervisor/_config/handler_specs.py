"""The named handlers of a configuration, and how a handler is built of one.

The caller hands in the registry of handler types: the configuration does not import the handlers.
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
"""The types of handlers that need no table: their type serves as their name."""


def _names(value: Mapping[str, Any]) -> str:
    return f"<{', '.join(value)}>"  # a value may be a secret, a name is not


@attrs.frozen(kw_only=True)
class HandlerSpec:
    """A named handler: its type and options.

    Args:
        name: Its name: that of its table.
        type: Its type: "email", "slack", or one that another package offers.
        options: Its keyword arguments, with a :class:`Secret` for each secret.
        origin: The place of its table.
        origins: The place of each option, and of "type".
    """

    name: str
    type: str
    options: Mapping[str, Any] = attrs.field(factory=lambda: MappingProxyType({}), repr=_names)
    origin: Origin = attrs.field(factory=Origin, repr=False, eq=False)
    origins: Mapping[str, Origin] = attrs.field(factory=lambda: MappingProxyType({}), repr=False, eq=False)

    def resolved(self, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
        """Return the options with the values of their secrets, which are looked up now.

        Raises:
            ConfigurationProblems: Secrets are missing; it names all of them.
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
        """Return a problem of this handler, with the place of the option, or else of its table."""
        key = dotted(("handlers", self.name))
        origin = self.origins.get(option, self.origin)
        return Problem(f"[{key}] {text}", origin.file, origin.line, f"{key}.{dotted((option,))}" if option else key)


def without_table(name: str) -> HandlerSpec | None:
    """Return the handler of a type that needs no table; None if the name is no such type."""
    return HandlerSpec(name=name, type=name) if name in WITHOUT_SETTINGS else None


def _resolved(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, Secret):
        return value.value(environ)
    if isinstance(value, dict):
        return {key: _resolved(inner, environ) for key, inner in value.items()}
    return [_resolved(each, environ) for each in value] if isinstance(value, list) else value


def build(spec: HandlerSpec, find: Callable[[str], Any], environ: Mapping[str, str] = os.environ) -> Any:
    """Build the handler that a configuration describes.

    Its ``name`` is that of its table, unless it has an option ``name`` or takes no name.

    Args:
        spec: The type and the options.
        find: Returns the class of a type, and raises ``ConfigurationError`` for an unknown one.
        environ: The environment in which secrets are looked up.

    Raises:
        ConfigurationProblems: The type is unknown, an option is misspelt, a secret is missing, or the class raised an
            exception. Each has its file and line.
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
    except Exception as error:  # noqa: BLE001 - the handler's boundary: its class may be from another package
        # Without the cause: its text may quote a secret that was removed from this one.
        raise ConfigurationProblems([spec.problem(_without_secrets(error, spec, options))]) from None


def check_options(spec: HandlerSpec, fields: Iterable[str | attrs.Attribute[Any]]) -> None:
    """Refuse options that a handler does not take.

    Args:
        spec: The type and the options.
        fields: The known options: names, or the fields of an attrs class.

    Raises:
        ConfigurationProblems: There are unknown options; it suggests similar ones.
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
    """Return the options that a class or function takes by keyword; None if it takes any, or has no signature."""
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
    """Yield the names of options. A private field is an option only if it has an explicit alias."""
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
    """Yield the values of an option that the configuration marks as secrets."""
    if isinstance(described, Secret):
        yield str(value)
    elif isinstance(described, dict):
        for key, inner in described.items():
            yield from _hidden(inner, value[key])
    elif isinstance(described, list):
        for inner, each in zip(described, value, strict=True):
            yield from _hidden(inner, each)
