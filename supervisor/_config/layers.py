"""One layer of a configuration: what one file says, checked, and how a stronger layer is merged over a weaker one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from supervisor._config import secret_references, setting_checks
from supervisor._config.problems import (
    Key,
    Problem,
    ProblemCollector,
    dotted,
    suggestion,
    without_secrets,
)
from supervisor._config.secret_references import WAYS, Secret, absolute, looks_like_reference, reference
from supervisor._config.toml_file import ConfigFile, Origin
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


INVALID = object()
"""Replaces an option of a handler that is wrong, until a stronger source gives another value."""

DEFAULTS, RUNS, HANDLERS = "defaults", "runs", "handlers"


class Layer:
    """The values of one source, or of several that were merged.

    Attributes:
        settings: The settings of all runs.
        runs: The settings of the runs of one name, by that name.
        handlers: The options of each handler, its type included, with ``INVALID`` for a wrong one.
        origins: The source of each value, by a key that begins with "defaults", "runs" or "handlers".
    """

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.handlers: dict[str, dict[str, Any]] = {}
        self.origins: dict[Key, Origin] = {}


def merged(layers: Iterable[Layer]) -> Layer:
    """Return several layers merged into one, each stronger than those before it.

    A setting for all runs in a stronger layer also replaces that setting for the runs of one name in a weaker one:
    whoever chooses the profile "development" or sets ``SUPERVISOR_HANDLERS`` means every run. The options of a handler
    are replaced one by one, or all together if its type changes.
    """
    whole = Layer()
    for layer in layers:
        _merge_settings(whole, layer)
        _merge_handlers(whole, layer)
        whole.origins.update(layer.origins)
    return whole


def _merge_settings(whole: Layer, layer: Layer) -> None:
    whole.settings.update(layer.settings)
    for run, settings in whole.runs.items():
        for name in settings.keys() & layer.settings.keys():
            del settings[name]
            whole.origins.pop((RUNS, run, name), None)
    for run, settings in layer.runs.items():
        whole.runs.setdefault(run, {}).update(settings)


def _merge_handlers(whole: Layer, layer: Layer) -> None:
    for name, options in layer.handlers.items():
        known = whole.handlers.setdefault(name, {})
        before, now = known.get("type", INVALID), options.get("type", INVALID)
        if before != now and INVALID not in {before, now}:
            for key in [key for key in whole.origins if key[:2] == (HANDLERS, name)]:
                del whole.origins[key]
            known.clear()
        known.update(options)


PROFILE, PROFILES = "profile", "profiles"
_TABLES = (DEFAULTS, HANDLERS, RUNS)
_OTHERS_READ = 0o044


class FileReader:
    """Checks the table of one file and makes layers of it.

    Args:
        source: The file.
        notes: Collects the mistakes.
    """

    def __init__(self, source: ConfigFile, notes: ProblemCollector) -> None:
        self.source = source
        self._notes = notes
        self._literals: list[Key] = []

    def plain(self) -> Layer:
        """Return the layer of the file without its profiles."""
        return self._layer(self.source.table, self.source.base, (PROFILE, PROFILES))

    def profiles(self) -> dict[str, Layer]:
        """Return the layer of each profile of the file; all are checked, chosen or not."""
        found = self._tables(self.source.table, PROFILES, self.source.base)
        return {name: self._layer(table, key) for name, table, key in found}

    def profile(self) -> str | None:
        """Return the profile that the file chooses, or None."""
        chosen = self.source.table.get(PROFILE)
        if chosen is None or (isinstance(chosen, str) and chosen.strip()):
            return chosen
        self._wrong((*self.source.base, PROFILE), f"profile must be the name of a profile, got {chosen!r}")
        return None

    def warn_of_literals(self) -> None:
        """Warn if other users can read secrets in the file; call it after all layers were read."""
        if sys.platform == "win32" or not self._literals or not self.source.mode & _OTHERS_READ:
            return
        path, first = self.source.path, self._literals[0]
        names = ", ".join(dict.fromkeys(map(dotted, self._literals)))
        text = f"holds secrets ({names}) and others can read it: chmod 600 {path}, or say where they are by {WAYS}"
        self._notes.warnings.append(Problem(text, path, self.source.line_of(first), dotted(first)))

    def _layer(self, table: Mapping[str, Any], key: Key, more: tuple[str, ...] = ()) -> Layer:
        layer = Layer()
        for name in table.keys() - {*_TABLES, *more}:
            self._wrong((*key, name), _unknown_key(name, (*_TABLES, *more), key))
        defaults = self._table(table, DEFAULTS, key)
        layer.settings.update(self._settings(defaults, (*key, DEFAULTS), (DEFAULTS,), layer))
        for name, settings, inner in self._tables(table, RUNS, key):
            layer.runs[name] = self._settings(settings, inner, (RUNS, name), layer)
        for name, options, inner in self._tables(table, HANDLERS, key, layer):
            layer.handlers[name] = self._handler(options, inner, (HANDLERS, name), layer)
        return layer

    def _table(self, outer: Mapping[str, Any], name: str, key: Key) -> dict[str, Any]:
        table = outer.get(name, {})
        if isinstance(table, dict):
            return table
        example = f"[{dotted((*key, name))}]" if name == DEFAULTS else f"tables like [{dotted((*key, name))}.NAME]"
        hint = f"; what runs use goes under [{dotted((*key, DEFAULTS))}]" if name == HANDLERS else ""
        self._wrong((*key, name), f"{name} must be {example}, got {_type_name(table)}{hint}")
        return {}

    def _tables(
        self, outer: Mapping[str, Any], name: str, key: Key, layer: Layer | None = None
    ) -> Iterator[tuple[str, dict[str, Any], Key]]:
        """Yield the tables in a table, with names and keys. A handler that is no table becomes invalid in ``layer``."""
        for each, table in self._table(outer, name, key).items():
            inner = (*key, name, each)
            if isinstance(table, dict):
                yield each, table, inner
                continue
            self._wrong(inner, f"{each} must be a table, got {_type_name(table)}")
            if layer is not None:
                layer.handlers[each] = {"type": INVALID}

    def _settings(self, table: Mapping[str, Any], key: Key, effective: Key, layer: Layer) -> dict[str, Any]:
        found = {}
        for name, value in table.items():
            try:
                if name not in setting_checks.FIELDS:
                    raise ConfigurationError(setting_checks.unknown_setting(name))
                found[name] = setting_checks.checked(name, value, self.source.folder)
            except ConfigurationError as error:
                self._wrong((*key, name), without_secrets(str(error)))
            else:
                layer.origins[*effective, name] = Origin(self.source, (*key, name))
        return found

    def _handler(self, table: Mapping[str, Any], key: Key, effective: Key, layer: Layer) -> dict[str, Any]:
        found: dict[str, Any] = {}
        layer.origins[effective] = Origin(self.source, key)
        for name, value in table.items():
            inner = (*key, name)
            layer.origins[*effective, name] = Origin(self.source, inner)
            found[name] = self._option(name, value, inner) if name != "type" else self._type(value, inner)
        return found

    def _type(self, value: Any, key: Key) -> Any:
        if isinstance(value, str) and value.strip():
            return value
        self._wrong(key, f'type must be the kind of handler, like "email", got {value!r}')
        return INVALID

    def _option(self, name: str, value: Any, key: Key) -> Any:
        """Return an option with its secrets hidden; ``INVALID`` if it is wrong."""
        if isinstance(value, dict) and secret_references.takes_text(name) and not looks_like_reference(value):
            keys = ", ".join(value) or "no keys"
            self._wrong(key, f"{name} must be a text, or say where it is by {WAYS}; got a table with {keys}")
            return INVALID
        try:
            hidden = secret_references.hides(name)
            found = self._plain(value, (name,), hidden, key)
        except ConfigurationError as error:
            self._wrong(key, f"{name} {error}")
            return INVALID
        is_path = isinstance(found, str) and name.endswith(("_file", "_path"))
        return absolute(found, self.source.folder) if is_path else found

    def _plain(self, value: Any, way: Key, hidden: bool, key: Key) -> Any:
        if isinstance(value, dict):
            if looks_like_reference(value):
                return reference(value, self.source.folder)
            return {each: self._plain(inner, (*way, each), hidden, key) for each, inner in value.items()}
        if isinstance(value, list):
            return [self._plain(each, way, hidden, key) for each in value]
        if not hidden:
            return value
        if secret_references.is_credential(way, value):
            self._literals.append(key)
        return Secret("literal", value)

    def _wrong(self, key: Key, text: str) -> None:
        table = dotted(key[:-1])
        self._notes.problems.append(self.source.problem(key, f"[{table}] {text}" if table else text))


def _unknown_key(name: str, known: tuple[str, ...], key: Key) -> str:
    """Return the text of the problem of a key that does not exist at this place."""
    if name in setting_checks.FIELDS:
        return f"{name} belongs under [{dotted((*key, DEFAULTS))}], or under [{dotted((*key, RUNS))}.NAME] for one run"
    if name in {PROFILE, PROFILES}:
        return f"{name} cannot stand in a profile"
    return f"there is no key {name!r} here; {suggestion(name, known)}"


def _type_name(value: Any) -> str:
    """Return the type of a value, for a message that must not quote it."""
    return {str: "a text", list: "a list", bool: "true or false", dict: "a table"}.get(
        type(value), "a number or a date"
    )
