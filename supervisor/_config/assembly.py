"""Make one configuration of files and environment variables."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from supervisor._config import setting_checks
from supervisor._config.configuration import Configuration
from supervisor._config.handler_specs import HandlerSpec, without_table
from supervisor._config.layers import (
    DEFAULTS,
    HANDLERS,
    INVALID,
    PROFILE,
    RUNS,
    FileReader,
    Layer,
    merged,
)
from supervisor._config.problems import (
    Key,
    Problem,
    ProblemCollector,
    dotted,
    suggestion,
    without_secrets,
)
from supervisor._config.search import CONFIG, PREFIX
from supervisor._config.toml_file import ConfigFile, Origin, read_file
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from supervisor._config.search import CandidateFile

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
    known = {PREFIX + name.upper(): name for name in setting_checks.FIELDS if setting_checks.has_variable(name)}
    for variable, text in variables.items():
        name = known.get(variable)
        if name is None:
            _warn_if_misspelt(variable, {*known, PROFILE_VARIABLE, CONFIG, "SUPERVISOR_STATE"}, notes)
        elif text.strip():
            try:
                layer.settings[name] = setting_checks.from_text(name, text.strip())
            except ConfigurationError as error:
                notes.problems.append(
                    Problem(f"environment variable {variable}: {without_secrets(str(error))}", key=variable)
                )
            else:
                layer.origins[DEFAULTS, name] = Origin(variable=variable)
    return layer


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
        profile=profile,
        files=tuple(each.path for each in sources),
        origins=MappingProxyType({dotted(key): origin for key, origin in whole.origins.items()}),
        problems=tuple(notes.problems),
        warnings=tuple(notes.warnings),
        unusable=unusable,
    )


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
        """Return settings whose ``handlers`` all exist; each missing one is reported, unless it was before."""
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
