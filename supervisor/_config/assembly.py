"""Make one configuration of files and environment variables: what each says, checked, the stronger over the weaker."""

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._config import checks, handler_specs
from supervisor._config.checks import (
    Key,
    Problem,
    ProblemCollector,
    dotted,
    suggestion,
    without_secrets,
)
from supervisor._config.configuration import Configuration
from supervisor._config.handler_specs import (
    WAYS,
    HandlerSpec,
    Secret,
    looks_like_reference,
    reference,
    without_table,
)
from supervisor._config.search import CONFIG, PREFIX, absolute
from supervisor._config.toml_file import ConfigFile, Origin, read_file
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from supervisor._config.search import CandidateFile
    from supervisor._fleet.fleet_settings import FleetSettings

INVALID = object()
"""Replaces an option of a handler that is wrong, until a stronger source gives another value."""

DEFAULTS, RUNS, HANDLERS, FLEET = "defaults", "runs", "handlers", "fleet"


class Layer:
    """The values of one source, or of several that were merged.

    Attributes:
        settings: The settings of all runs.
        runs: The settings of the runs of one name, by that name.
        handlers: The options of each handler, its type included, with ``INVALID`` for a wrong one.
        fleet: What stands in [fleet], with ``INVALID`` for what is wrong.
        origins: The source of each value, by a key that begins with "defaults", "runs", "handlers" or "fleet".
    """

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.handlers: dict[str, dict[str, Any]] = {}
        self.fleet: dict[str, Any] = {}
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
        whole.fleet.update(layer.fleet)
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
_TABLES = (DEFAULTS, FLEET, HANDLERS, RUNS)
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
        fleet = self._table(table, FLEET, key)
        if fleet:
            layer.fleet = self._handler(fleet, (*key, FLEET), (FLEET,), layer)
        return layer

    def _table(self, outer: Mapping[str, Any], name: str, key: Key) -> dict[str, Any]:
        table = outer.get(name, {})
        if isinstance(table, dict):
            return table
        example = (
            f"[{dotted((*key, name))}]" if name in {DEFAULTS, FLEET} else f"tables like [{dotted((*key, name))}.NAME]"
        )
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
                if name not in checks.FIELDS:
                    raise ConfigurationError(checks.unknown_setting(name))
                found[name] = checks.checked(name, value, self.source.folder)
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
        if isinstance(value, dict) and handler_specs.takes_text(name) and not looks_like_reference(value):
            keys = ", ".join(value) or "no keys"
            self._wrong(key, f"{name} must be a text, or say where it is by {WAYS}; got a table with {keys}")
            return INVALID
        try:
            hidden = handler_specs.hides(name)
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
        if handler_specs.is_credential(way, value):
            self._literals.append(key)
        return Secret("literal", value)

    def _wrong(self, key: Key, text: str) -> None:
        table = dotted(key[:-1])
        self._notes.problems.append(self.source.problem(key, f"[{table}] {text}" if table else text))


def _unknown_key(name: str, known: tuple[str, ...], key: Key) -> str:
    """Return the text of the problem of a key that does not exist at this place."""
    if name in checks.FIELDS:
        return f"{name} belongs under [{dotted((*key, DEFAULTS))}], or under [{dotted((*key, RUNS))}.NAME] for one run"
    if name in {PROFILE, PROFILES}:
        return f"{name} cannot stand in a profile"
    return f"there is no key {name!r} here; {suggestion(name, known)}"


def _type_name(value: Any) -> str:
    """Return the type of a value, for a message that must not quote it."""
    return {str: "a text", list: "a list", bool: "true or false", dict: "a table"}.get(
        type(value), "a number or a date"
    )


PROFILE_VARIABLE = "SUPERVISOR_PROFILE"
_CLOSE = 0.85


def layer_of(variables: Mapping[str, str], notes: ProblemCollector) -> Layer:
    """Return the layer of the environment variables. A blank variable counts as not set.

    A variable has the name of the setting, in capitals: ``SUPERVISOR_REPORT_ON=start,success`` for a list,
    ``SUPERVISOR_JOURNAL=false`` (also no, off, 0) for True or False, and ``none`` for None.

    Args:
        variables: Those that begin with ``SUPERVISOR_``, without the ones that are known to mean something else.
        notes: Collects wrong values, and a warning for each variable that is probably misspelt.
    """
    layer = Layer()
    known = {PREFIX + name.upper(): name for name in checks.FIELDS if checks.has_variable(name)}
    for variable, text in variables.items():
        name = known.get(variable)
        if variable.startswith(_FLEET_PREFIX):
            _add_fleet_variable(layer, variable, text.strip(), notes)
        elif name is None:
            _warn_if_misspelt(variable, {*known, PROFILE_VARIABLE, CONFIG, "SUPERVISOR_STATE"}, notes)
        elif text.strip():
            try:
                layer.settings[name] = checks.from_text(name, text.strip())
            except ConfigurationError as error:
                notes.problems.append(
                    Problem(f"environment variable {variable}: {without_secrets(str(error))}", key=variable)
                )
            else:
                layer.origins[DEFAULTS, name] = Origin(variable=variable)
    return layer


_FLEET_PREFIX = f"{PREFIX}FLEET_"


def _add_fleet_variable(layer: Layer, variable: str, text: str, notes: ProblemCollector) -> None:
    """Take a variable such as ``SUPERVISOR_FLEET_URL`` for what would stand in [fleet]."""
    from supervisor._fleet import fleet_settings

    known = {_FLEET_PREFIX + name.upper(): name for name in fleet_settings.FIELDS}
    name = known.get(variable)
    if name is None:
        _warn_if_misspelt(variable, set(known), notes)
    elif text:
        layer.fleet[name] = Secret("literal", text) if name == "url" else fleet_settings.from_text(name, text)
        layer.origins[FLEET, name] = Origin(variable=variable)


def _warn_if_misspelt(variable: str, known: set[str], notes: ProblemCollector) -> None:
    """Warn of a variable whose name is similar to a known one; any other may belong to another program."""
    if variable in known:
        return
    from difflib import get_close_matches

    plain = {each.removeprefix(PREFIX): each for each in known}
    for close in get_close_matches(variable.removeprefix(PREFIX), plain, n=1, cutoff=_CLOSE):
        text = f"environment variable {variable} means nothing; did you mean {plain[close]}?"
        notes.warnings.append(Problem(text, key=variable))


def assemble(
    fixed: Sequence[CandidateFile], upwards: Iterable[CandidateFile], variables: Mapping[str, str]
) -> Configuration:
    """Return the configuration of files and variables together.

    Args:
        fixed: The files of the machine and the user, the stronger last; all are read.
        upwards: The files above the script, the nearest first; the first with a table for us is read.
        variables: The environment variables that begin with ``SUPERVISOR_``.
    """
    notes = ProblemCollector()
    sources = _sources(fixed, upwards, notes)
    readers = [FileReader(each, notes) for each in sources]
    layers = [each.plain() for each in readers]
    profiles = [each.profiles() for each in readers]
    profile, origin = _profile(readers, variables)
    layers += [each[profile] for each in profiles if profile in each]
    layers.append(layer_of(variables, notes))
    for reader in readers:
        reader.warn_of_literals()
    whole = merged(layers)
    if origin is not None:
        whole.origins[PROFILE,] = origin
        _check_profile(profile, origin, {name for each in profiles for name in each}, sources, notes)
    return _configuration(whole, profile, sources, notes)


def _sources(
    fixed: Iterable[CandidateFile], upwards: Iterable[CandidateFile], notes: ProblemCollector
) -> list[ConfigFile]:
    found = {each.path: source for each in fixed if (source := read_file(each, notes)) is not None}
    for place in upwards:
        if place.path in found:  # the script is in the directory of the machine or the user
            found[place.path] = found.pop(place.path)
            break
        problems = len(notes.problems)
        source = read_file(place, notes)
        if source is not None:
            found[place.path] = source
        if source is not None or len(notes.problems) > problems:
            break  # files further up are not for this script, even if this one is wrong
    return list(found.values())


def _profile(readers: Iterable[FileReader], variables: Mapping[str, str]) -> tuple[str | None, Origin | None]:
    """Return the chosen profile and its origin: the variable, or else the strongest file."""
    chosen: tuple[str | None, Origin | None] = (None, None)
    for reader in readers:
        profile = reader.profile()
        if profile is not None:
            chosen = profile, Origin(reader.source, (*reader.source.base, PROFILE))
    named = variables.get(PROFILE_VARIABLE, "").strip()
    return (named, Origin(variable=PROFILE_VARIABLE)) if named else chosen


def _check_profile(
    profile: str | None, origin: Origin, known: set[str], sources: Sequence[ConfigFile], notes: ProblemCollector
) -> None:
    """Report a profile that no file has: with "development" misspelt, messages would go where production sends them."""
    if sources and profile is not None and profile not in known:
        text = f"there is no profile {profile!r}; {suggestion(profile, known)} (an empty {_header(profile)} is enough)"
        notes.problems.append(_problem_at(origin, text, PROFILE))


def _header(profile: str) -> str:
    return f"[{dotted(('profiles', profile))}]"


def _configuration(
    whole: Layer, profile: str | None, sources: Iterable[ConfigFile], notes: ProblemCollector
) -> Configuration:
    handlers = _handlers(whole, notes)
    unusable = frozenset(whole.handlers.keys() - handlers.keys())
    names = _HandlerNames(whole, handlers, unusable, notes)
    settings = names.known((DEFAULTS,), whole.settings)
    runs = {run: MappingProxyType(names.known((RUNS, run), each)) for run, each in whole.runs.items()}
    return Configuration(
        settings=MappingProxyType(settings),
        runs=MappingProxyType(runs),
        handlers=MappingProxyType(handlers),
        fleet=_fleet(whole, profile, notes) if whole.fleet else None,
        profile=profile,
        files=tuple(each.path for each in sources),
        origins=MappingProxyType({dotted(key): origin for key, origin in whole.origins.items()}),
        problems=tuple(notes.problems),
        warnings=tuple(notes.warnings),
        unusable=unusable,
    )


def _fleet(whole: Layer, profile: str | None, notes: ProblemCollector) -> FleetSettings | None:
    """Return what [fleet] says; None where there is a mistake in it."""
    from supervisor._fleet import fleet_settings

    known = fleet_settings.FIELDS
    faults = [
        (name, f"there is no key {name!r} here; {suggestion(name, known)}") for name in whole.fleet if name not in known
    ]
    if "url" not in whole.fleet:
        faults.append(("", 'url is missing: say where the database is, like url = "postgresql://user@host/fleet"'))
    given: dict[str, Any] = {"environment": profile or "default"} if profile else {}
    given |= whole.fleet
    if not faults and not any(each is INVALID for each in given.values()):
        try:
            return fleet_settings.FleetSettings(**given)
        except ConfigurationError as error:
            faults.append((str(error).partition(" ")[0], without_secrets(str(error))))
    for name, text in faults:
        origin = whole.origins.get((FLEET, name) if name else (FLEET,), whole.origins.get((FLEET,), Origin()))
        key = dotted((FLEET, name)) if name else FLEET
        where = f"environment variable {origin.variable}:" if origin.variable else f"[{FLEET}]"
        notes.problems.append(_problem_at(origin, f"{where} {text}", origin.variable or key))
    return None


def _handlers(whole: Layer, notes: ProblemCollector) -> dict[str, HandlerSpec]:
    """Return the handlers that have a type and no mistakes."""
    found = {}
    for name, options in whole.handlers.items():
        origin = whole.origins.get((HANDLERS, name), Origin())
        if "type" not in options:
            header = dotted((HANDLERS, name))
            text = f'[{header}] type is missing: say which kind of handler it is, like type = "email"'
            notes.problems.append(_problem_at(origin, text, header))
        elif not any(each is INVALID for each in options.values()):
            given = {key: value for key, value in options.items() if key != "type"}
            origins = {key: whole.origins[HANDLERS, name, key] for key in options}
            found[name] = HandlerSpec(
                name=name,
                type=options["type"],
                options=MappingProxyType(given),
                origin=origin,
                origins=MappingProxyType(origins),
            )
    return _without_wrong_fallbacks(_with_names_of_their_own(found, notes), whole, notes)


def _without_wrong_fallbacks(
    handlers: dict[str, HandlerSpec], whole: Layer, notes: ProblemCollector
) -> dict[str, HandlerSpec]:
    """Report each fallback that is no handler or leads back to its own, and leave the option out."""
    found = dict(handlers)
    for name, spec in handlers.items():
        text = _fault_of_fallback(name, handlers, {*handlers, *whole.handlers})
        if text:
            notes.problems.append(spec.problem(text, "fallback"))
            options = {key: value for key, value in spec.options.items() if key != "fallback"}
            found[name] = attrs.evolve(spec, options=MappingProxyType(options))
    return found


def _fault_of_fallback(name: str, handlers: Mapping[str, HandlerSpec], known: set[str]) -> str:
    """Return what is wrong with the fallback of a handler; "" for nothing."""
    way = [name]
    while (following := handlers[way[-1]].options.get("fallback") if way[-1] in handlers else None) is not None:
        if len(way) == 1 and not isinstance(following, str):
            return f"fallback must be the name of another handler, got {following!r}"
        if len(way) == 1 and following not in known and without_table(following) is None:
            return f"fallback: there is no handler {following!r}; {suggestion(following, known | {'console'})}"
        chain = " -> ".join((*way, str(following)))
        if following in way:
            return f"fallback: {chain} is a circle; let one of them have no fallback"
        way.append(following)
        if len(way) > _MOST_IN_A_ROW:
            return f"fallback: {chain} is too long; the fallback of a fallback is the last there may be"
    return ""


_MOST_IN_A_ROW = 3


def _with_names_of_their_own(handlers: dict[str, HandlerSpec], notes: ProblemCollector) -> dict[str, HandlerSpec]:
    """Leave out, and report, each handler whose option ``name`` another has: messages that wait are found by it."""
    owners = {name: name for name, spec in handlers.items() if "name" not in spec.options}
    found = {}
    for name, spec in handlers.items():
        given = spec.options.get("name", name)
        owner = owners.setdefault(given, name) if isinstance(given, str) else name
        if owner == name:
            found[name] = spec
            continue
        text = f"name {given!r} is that of [{dotted((HANDLERS, owner))}] too; give each handler a name of its own"
        notes.problems.append(spec.problem(text, "name"))
    return found


class _HandlerNames:
    """Checks that the handlers that settings name exist."""

    def __init__(
        self, whole: Layer, handlers: Mapping[str, HandlerSpec], unusable: frozenset[str], notes: ProblemCollector
    ) -> None:
        self._whole = whole
        self._handlers = handlers
        self._unusable = unusable
        self._notes = notes

    def known(self, key: Key, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings without handlers that do not exist; each of these is reported once."""
        if "handlers" not in settings:
            return dict(settings)
        usable = []
        for name in settings["handlers"]:
            if name in self._handlers or (name not in self._unusable and without_table(name) is not None):
                usable.append(name)
            elif name not in self._unusable:
                self._note((*key, "handlers"), name)
        return {**settings, "handlers": tuple(usable)}

    def _note(self, key: Key, name: str) -> None:
        known = {*self._handlers, *self._unusable, "console"}
        text = f"there is no handler {name!r}; {suggestion(name, known)} ([{dotted((HANDLERS, name))}] would make one)"
        origin = self._whole.origins[key]
        text = f"environment variable {origin.variable}: {text}" if origin.variable else f"[{dotted(key[:-1])}] {text}"
        self._notes.problems.append(_problem_at(origin, text, origin.variable or dotted(key)))


def _problem_at(origin: Origin, text: str, key: str) -> Problem:
    return Problem(text, origin.file, origin.line, key)
