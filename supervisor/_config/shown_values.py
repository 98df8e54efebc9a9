"""What is configured, as people see it: each value with its origin, without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from supervisor._config.problems import dotted, quoted
from supervisor._config.secret_references import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisor._config.configuration import Configuration


@attrs.frozen
class ConfiguredValue:
    """One configured value.

    Args:
        key: Its key as it is written in TOML.
        value: Its value as it is written in TOML, with secrets masked; ``none`` for None.
        origin: A file and line, or a variable.
    """

    key: str
    value: str
    origin: str


def masked(configuration: Configuration) -> tuple[ConfiguredValue, ...]:
    """Return all values in force: the profile, settings and handlers.

    A literal secret is shown as asterisks, a reference to a secret as it is. Secrets are known by the name of their
    option; passwords in URLs and keys of well-known services by their form.
    """
    return tuple(
        ConfiguredValue(dotted(key), _shown(value), str(configuration.origins.get(dotted(key), "")))
        for key, value in _values(configuration)
    )


def _values(configuration: Configuration) -> Iterator[tuple[tuple[str, ...], Any]]:
    if configuration.profile is not None:
        yield ("profile",), configuration.profile
    for name, value in configuration.settings.items():
        yield ("defaults", name), value
    for run, settings in configuration.runs.items():
        for name, value in settings.items():
            yield ("runs", run, name), value
    for name, spec in configuration.handlers.items():
        yield ("handlers", name, "type"), spec.type
        for option, value in spec.options.items():
            yield ("handlers", name, option), value


def _shown(value: Any) -> str:
    if isinstance(value, Secret):
        return str(value)
    if isinstance(value, str):
        from supervisor._redaction import Redactor

        return quoted(Redactor().text(value))
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, dict):
        return _table(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"[{', '.join(map(_shown, value))}]"
    return str(value)


def _table(values: Mapping[str, Any]) -> str:
    inner = ", ".join(f"{dotted((key,))} = {_shown(value)}" for key, value in values.items())
    return f"{{ {inner} }}" if inner else "{}"
