"""The configuration of a process. Most processes have none: they load this module of the package and no other."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._settings import SENT
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor._config.checks import Problem
    from supervisor._config.handler_specs import HandlerSpec
    from supervisor._config.toml_file import Origin
    from supervisor._fleet.fleet_settings import FleetSettings

_EMPTY: Mapping[str, Any] = MappingProxyType({})


def _names(value: Mapping[str, Any]) -> str:
    return f"<{', '.join(value)}>"  # a value may be a secret, a name is not


@attrs.frozen(kw_only=True)
class Configuration:
    """The valid part of what files and environment configure.

    Args:
        settings: Keyword arguments of :class:`supervisor.settings.Settings` for all runs; ``handlers`` are names here,
            to be looked up by :meth:`spec`.
        runs: The same for the runs of one name, without settings that a stronger source gives for all runs.
        handlers: The named handlers.
        fleet: Where the fleet's database is, and what goes there; None where there is no fleet.
        profile: The chosen profile, or None.
        files: The files that were read, the strongest last.
        origins: The file or variable of each value, by its key: ``defaults.report_on``,
            ``handlers.ops.api_key``, ``runs."nightly parcels".handlers``, ``profile``.
        problems: The mistakes. The values that they concern are left out.
        warnings: What works, but should be changed.
        unusable: The names of handlers that have problems.
    """

    settings: Mapping[str, Any] = attrs.field(default=_EMPTY, repr=_names)
    runs: Mapping[str, Mapping[str, Any]] = attrs.field(default=_EMPTY, repr=_names)
    handlers: Mapping[str, HandlerSpec] = attrs.field(default=_EMPTY, repr=_names)
    fleet: FleetSettings | None = None
    profile: str | None = None
    files: tuple[str, ...] = ()
    origins: Mapping[str, Origin] = attrs.field(default=_EMPTY, repr=False, eq=False)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    unusable: frozenset[str] = frozenset()

    def for_run(self, name: str | None) -> dict[str, Any]:
        """Return the settings for runs of a name, or for all runs with None; the script's own are stronger."""
        return {**self.settings, **self.runs.get(name or "", {})}

    def send_for(self, name: str | None) -> str:
        """Return where the messages of runs of a name go ("handlers", "console", "off"), or of all runs with None."""
        return str(self.for_run(name).get("send", SENT))

    def spec(self, name: str) -> HandlerSpec:
        """Return a named handler. "console" needs no table.

        Raises:
            ConfigurationError: It does not exist, or has problems.
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
        from supervisor._config.checks import ConfigurationProblems, dotted, suggestion
        from supervisor._config.handler_specs import WITHOUT_SETTINGS

        key = dotted(("handlers", name))
        problems = [each for each in self.problems if f"{key}." in f"{each.key}."]
        if name in self.unusable and problems:
            return ConfigurationProblems(problems)
        known = {*self.handlers, *WITHOUT_SETTINGS}
        files = ", ".join(self.files) or "no configuration file was found"
        return ConfigurationError(f"there is no handler {name!r}; {suggestion(name, known)} ({files})")

    def checked(self) -> Configuration:
        """Return this configuration if it has no mistakes.

        Raises:
            ConfigurationProblems: All of its mistakes.
        """
        if self.problems:
            from supervisor._config.checks import ConfigurationProblems

            raise ConfigurationProblems(self.problems)
        return self
