"""What a configuration comes to.

- What is in force and from where, for people: no secret is shown.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._config.problems import ConfigurationProblems, dotted, quoted, suggestion
from supervisor._config.secret_references import Secret
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisor._config.handler_specs import HandlerSpec
    from supervisor._config.problems import Problem
    from supervisor._config.toml_file import Origin

_EMPTY: Mapping[str, Any] = MappingProxyType({})


def _names(value: Mapping[str, Any]) -> str:
    return f"<{', '.join(value)}>"  # a value may be a secret, a name is none


@attrs.frozen(kw_only=True)
class Configuration:
    """What files and environment say, as far as it is usable.

    Args:
        settings: Keyword arguments of :class:`supervisor.settings.Settings` for all runs; ``handlers`` are names here,
            to be looked up by :meth:`spec`.
        runs: The same for the runs of one name, less what a stronger source says for all: see :meth:`for_run`.
        handlers: The named handlers.
        profile: The chosen profile; None when none is.
        files: The files that were read, the strongest last.
        origins: Which file or variable each thing came from, by its key: ``defaults.report_on``,
            ``handlers.ops.api_key``, ``runs."nightly parcels".handlers``, ``profile``.
        problems: What is wrong. It is left out of everything else.
        warnings: What works, and should be mended all the same.
        unusable: Names of handlers that are there and have problems.
    """

    settings: Mapping[str, Any] = attrs.field(default=_EMPTY, repr=_names)
    runs: Mapping[str, Mapping[str, Any]] = attrs.field(default=_EMPTY, repr=_names)
    handlers: Mapping[str, HandlerSpec] = attrs.field(default=_EMPTY, repr=_names)
    profile: str | None = None
    files: tuple[str, ...] = ()
    origins: Mapping[str, Origin] = attrs.field(default=_EMPTY, repr=False, eq=False)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    unusable: frozenset[str] = frozenset()

    def for_run(self, name: str | None) -> dict[str, Any]:
        """Return the settings of the runs of a name, of all runs for None; arguments of the script go over them."""
        return {**self.settings, **self.runs.get(name or "", {})}

    def spec(self, name: str) -> HandlerSpec:
        """Return a named handler. "console" needs no table of its own.

        Raises:
            ConfigurationError: There is none of that name, or what the files say of it is wrong.
        """
        if name in self.handlers:
            return self.handlers[name]
        from supervisor._config.handler_specs import without_table

        bare = without_table(name) if name not in self.unusable else None
        if bare is None:
            raise self._missing(name)
        return bare

    def _missing(self, name: str) -> ConfigurationError:
        """Return the error for a handler that does not exist, or that has problems."""
        from supervisor._config.handler_specs import WITHOUT_SETTINGS

        key = dotted(("handlers", name))
        problems = [each for each in self.problems if f"{key}." in f"{each.key}."]
        if name in self.unusable and problems:
            return ConfigurationProblems(problems)
        known = {*self.handlers, *WITHOUT_SETTINGS}
        files = ", ".join(self.files) or "no configuration file was found"
        return ConfigurationError(f"there is no handler {name!r}; {suggestion(name, known)} ({files})")

    def checked(self) -> Configuration:
        """Return this configuration when nothing is wrong with it.

        Raises:
            ConfigurationProblems: Something is wrong; it tells all at once.
        """
        if self.problems:
            raise ConfigurationProblems(self.problems)
        return self


@attrs.frozen
class ConfiguredValue:
    """One thing that is configured.

    Args:
        key: Its key, as one would write it in TOML.
        value: Its value, as one would write it in TOML, with secrets masked; ``none`` for None.
        origin: Where it comes from: a file and line, or a variable.
    """

    key: str
    value: str
    origin: str


def masked(configuration: Configuration) -> tuple[ConfiguredValue, ...]:
    """Return all that is in force: profile, settings of all runs and of some, and handlers.

    A literal secret is shown as asterisks, one that is elsewhere by where it is. Secrets are known by the name of
    their option, and passwords in URLs and keys of well-known services by their looks.
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
