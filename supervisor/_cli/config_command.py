"""``supervisor config``: show the values in force and their origins, write a first file, list the places of files."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
import click

from supervisor._cli import shared
from supervisor._cli.completion_command import run_names
from supervisor._cli.configured import built_handler, configuration, handler_names
from supervisor._cli.shared import Column, Styled, line
from supervisor._config.checks import dotted, quoted
from supervisor._config.handler_specs import Secret
from supervisor._config.search import CONFIG, FILE, PYPROJECT, is_file, places
from supervisor._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from supervisor._config.checks import Problem
    from supervisor._config.configuration import Configuration

_script = click.option(
    "--script",
    type=click.Path(exists=True),
    help="What holds for this script: it is looked for upwards from its folder.",
)


@click.group(
    "config",
    invoke_without_command=True,
    epilog=shared.exit_codes(two="wrong usage, or there are mistakes in the configuration"),
)
@_script
@click.option("--run", "run", metavar="NAME", shell_complete=run_names, help="What holds for the runs of this name.")
@shared.as_json
@click.pass_context
def command(ctx: click.Context, script: str | None, run: str | None, as_json: bool) -> None:
    """Show what is configured and from where, secrets masked, and what is wrong with it.

    Later wins: the machine's file, the user's, the nearest one upwards from the script (here: from the working
    directory), the chosen profile, SUPERVISOR_* variables. What a script itself says goes over all of these.
    """
    ctx.obj = {"script": script, "as_json": as_json}
    if ctx.invoked_subcommand is not None:
        return
    shown = _ConfigReport(configuration(script), run)
    shared.print_json(shown.document()) if as_json else shown.say()
    if shown.problems:
        ctx.exit(shared.WRONG_USE)


@command.command(
    "init", epilog=shared.exit_codes(one="the file cannot be written", two="wrong usage, or there is such a file")
)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--user", is_flag=True, help="Write the file of this user, for all scripts that they run.")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def init(path: Path | None, user: bool, force: bool) -> None:
    """Write a commented file to begin with: ./supervisor.toml, or PATH. Nobody else can read it."""
    from shlex import quote

    from supervisor._config.toml_file import group_of_several

    if user and path is not None:
        raise click.UsageError("give either PATH or --user")
    if user:
        path = user_file()
        if path is None:
            shared.fail("this user has no home directory to put a configuration in: give PATH", shared.WRONG_USE)
    target = Path(FILE) if path is None else path / FILE if path.is_dir() else path
    _write_example(target, force=force)
    shared.say(f"{line(str(target))} was written: runs print their messages, and all else is there to be uncommented.")
    group = group_of_several(str(target.absolute().parent))
    if group:
        name = quote(str(target))
        shared.say(f"To share it with the group {line(group)}: chgrp {quote(group)} {name} && chmod 640 {name}")
    shared.say("`supervisor config` shows what is in force; `supervisor test` tries the handlers.")


@command.command("path", epilog=shared.exit_codes())
@_script
@shared.as_json
@click.pass_obj
def path(given: dict[str, Any], script: str | None, as_json: bool) -> None:
    """List the files that are looked for, the strongest last, and which of them there are."""
    found = config_places(configuration(script or given["script"]), script or given["script"])
    if as_json or given["as_json"]:
        shared.print_json([{"path": each.path, "whose": each.whose, "state": each.state} for each in found])
        return
    styles = {"read": "green", "there": "yellow", "not there": "dim"}
    rows: list[list[str | Styled]] = [
        [
            each.whose,
            Styled("there, not read" if each.state == "there" else each.state, styles[each.state]),
            line(each.path, 1_000),
        ]
        for each in found
    ]
    for each in shared.drawn(["WHOSE", "STATE", Column("FILE", gives="wrap")], rows):
        shared.say(each)


def _write_example(target: Path, *, force: bool) -> None:
    """Write the example for its owner alone. An existing file is replaced only when the new one is complete."""
    from supervisor.message_handlers._registry import examples

    if not force and (target.exists() or target.is_symlink()):
        shared.fail(f"{line(str(target))} is there; --force overwrites it", shared.WRONG_USE)
    fresh = target.with_name(f"{target.name}.{os.getpid()}.new") if force else target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(example(examples()))
        if force:
            fresh.replace(target)
    except OSError as error:
        if force:
            with suppress(OSError):
                fresh.unlink()
        shared.fail(f"{line(str(target))} cannot be written: {error.strerror or error}")


class _ConfigReport:
    """The values in force, for all runs or for those of one name."""

    def __init__(self, known: Configuration, run: str | None) -> None:
        self.known = known
        self.run = run
        handlers = [name for name in handler_names(known) if name not in known.unusable]
        faults = [problem for name in handlers for problem in built_handler(known, name).problems]
        self.problems: tuple[Problem, ...] = tuple(dict.fromkeys([*known.problems, *faults]))
        entries = masked(known)
        self.warnings: tuple[Problem, ...] = (*known.warnings, *_open_directories())
        self.entries: tuple[ConfiguredValue, ...] = (
            tuple(_values_for_run(known, run, entries)) if run is not None else entries
        )

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "profile": self.known.profile,
            "run": self.run,
            "files": self.known.files,
            "entries": [{"key": each.key, "value": each.value, "origin": each.origin} for each in self.entries],
            "problems": [_problem_document(each) for each in self.problems],
            "warnings": [_problem_document(each) for each in self.warnings],
        }

    def say(self) -> None:
        """Print the values and the problems."""
        if self.entries:
            rows: list[list[str | Styled]] = [
                [Styled(line(e.key), "bold"), line(e.value, 1_000), Styled(_short_origin(e.origin), "dim")]
                for e in self.entries
            ]
            for text in shared.drawn(["KEY", Column("VALUE", gives="wrap"), Column("FROM", gives="wrap")], rows):
                shared.say(text)
        elif not self.problems:
            self._say_nothing()
        if self.problems or self.warnings:
            shared.say()
        for each in self.warnings:
            shared.print_problem(line(str(each), 2_000), "warning", "yellow")
        for each in self.problems:
            shared.print_problem(line(str(each), 2_000), "mistake")

    def _say_nothing(self) -> None:
        if self.run is not None and (self.known.files or self.known.settings):
            shared.say(f"Nothing is configured for runs named {line(self.run)}: what their script says holds.")
            return
        files = ", ".join(line(each, 500) for each in self.known.files)
        shared.say(f"Nothing is configured: {f'{files} says nothing' if files else 'no file was found'}.")
        shared.say("`supervisor config init` writes a first file; `supervisor config path` lists where it may be.")


def _open_directories() -> Iterator[Problem]:
    """Yield a warning for the state directory, and for that of logs, if others than their owner can use them."""
    from supervisor._config.checks import Problem
    from supervisor._runtime import default_runtime
    from supervisor._store.essentials import JournalUnavailable
    from supervisor._store.files import openness, replaceable_at

    with suppress(JournalUnavailable):
        state = default_runtime().state_path()
        for path in (state, os.path.join(state, "logs")):  # noqa: PTH118 - texts
            if found := openness(path):
                yield Problem(f"{path} is not private: {found}; chmod 700 it, unless that is meant")
        if found := replaceable_at(state):
            yield Problem(f"{state} can be replaced by every user, who may write to {found}: chmod o-w it")


def _values_for_run(known: Configuration, run: str, entries: Sequence[ConfiguredValue]) -> Iterable[ConfiguredValue]:
    """Yield the values for the runs of one name, and those of their handlers."""
    from supervisor._config.checks import dotted

    by_key = {each.key: each for each in entries}
    settings = known.for_run(run)
    for name in settings:
        own = by_key.get(dotted(("runs", run, name)))
        yield own if own is not None else by_key[dotted(("defaults", name))]
    for handler in settings.get("handlers", ()):
        start = f"{dotted(('handlers', handler))}."
        yield from (each for each in entries if each.key.startswith(start))


def _short_origin(origin: str) -> str:
    """Return an origin with its path relative to the working directory or the home directory."""
    text = line(origin, 1_000)
    for folder, instead in ((os.getcwd(), "."), (os.path.expanduser("~"), "~")):  # noqa: PTH109, PTH111 - the result is to be text, not a Path
        if len(folder) > 1 and text.startswith(folder + os.sep):
            return instead + text[len(folder) :]
    return text


def _problem_document(problem: Problem) -> dict[str, Any]:
    return {"text": problem.text, "file": problem.file, "line": problem.line, "key": problem.key}


class ConfigPlace(NamedTuple):
    """A place of a configuration file.

    Args:
        path: The path of the file.
        whose: "machine", "user", "project", or "SUPERVISOR_CONFIG".
        state: "read", "there" (but not read: a nearer file is, or it has no table for us) or "not there".
    """

    path: str
    whose: str
    state: str


def config_places(known: Configuration, script: str | None = None) -> list[ConfigPlace]:
    """Return the places that are searched for files, the strongest last.

    Args:
        known: The configuration, with the files that were read.
        script: Where the search upwards begins; None for the working directory.
    """
    chosen = os.environ.get(CONFIG, "").strip()
    if chosen:
        looked = [(str(Path(chosen).expanduser().absolute()), CONFIG)] if chosen != os.devnull else []
    else:
        machine, user = places(os.environ)
        looked = [(os.path.join(each, FILE), "machine") for each in machine]  # noqa: PTH118 - the same text as in search
        looked += [(os.path.join(each, FILE), "user") for each in user]  # noqa: PTH118 - the same text as in search
        looked += [(each, "project") for each in _upwards(script)]
    return [ConfigPlace(path, whose, _state(path, known)) for path, whose in dict(looked).items()]


def user_file() -> Path | None:
    """Return the configuration file of this user; None without a home directory."""
    _, user = places(os.environ)
    return Path(user[-1], FILE) if user else None


def _upwards(script: str | None) -> Iterator[str]:
    """Yield the files of the project, the weakest first: existing ones, and the nearest possible one."""
    start = Path(script).resolve() if script is not None else Path.cwd()
    nearest = start if start.is_dir() else start.parent
    for folder in reversed([nearest, *nearest.parents]):
        for name in (PYPROJECT, FILE):
            path = str(folder / name)
            if is_file(path) or (folder == nearest and name == FILE):
                yield path


def _state(path: str, known: Configuration) -> str:
    if path in known.files or os.path.realpath(path) in known.files:
        return "read"
    return "there" if os.path.lexists(path) else "not there"


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
    if configuration.fleet is not None:
        for name, value in attrs.asdict(configuration.fleet, recurse=False).items():
            if dotted(("fleet", name)) in configuration.origins:
                yield ("fleet", name), value


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


_WIDTH = 118
_IN_FORCE = "handlers"

_BEGIN = """\
# The settings of supervisor for scripts that do not give them.
#
# The strongest source is the last: the machine's supervisor.toml, the user's, the nearest supervisor.toml (or
# [tool.supervisor] in pyproject.toml) from the script's folder upwards, the chosen profile, SUPERVISOR_* variables,
# the script itself.
# `supervisor config` shows the values in force and their origins. Remove the "#" before what you want to use.

# The profile, unless SUPERVISOR_PROFILE names another; see [profiles] below.
#profile = "production"

# Settings of all runs. Each can also be given by a variable: SUPERVISOR_REPORT_ON=start,success
# The words are those of the script's settings: None is "none" here, True and False are true and false, a path is
# relative to the folder of this file, and handlers are the names of the tables [handlers.NAME] below.
[defaults]
"""
_HANDLERS = """\

# Handlers, with the options of the classes in supervisor.message_handlers. A secret is best kept elsewhere:
#   { env = "NAME" }                          an environment variable
#   { file = "PATH" }                         a file of its own
#   { file = "PATH", key = "NAME" }           a JSON or TOML file with several: "outer.inner" for what is within
#   { keyring = "SERVICE", user = "NAME" }    the system's keyring: pip install 'agrc-supervisor[keyring]'
# If you write a secret here, let nobody else read the file: chmod 600

"""
_END = """\
# Settings of the runs of one name, stronger than [defaults].
#[runs."nightly parcels"]
#handlers = ["ops", "chat"]
#report_on = ["start", "success"]
#schedule = "0 2 * * 1-5"
#overlap = "skip"

# The database in which the runs of many machines stand: pip install 'agrc-supervisor[fleet]'
#[fleet]
#url = { env = "FLEET_URL" }
#environment = "production"
#expect_every_s = 600

# A profile has the same tables, stronger than all of the above. SUPERVISOR_PROFILE=development chooses this one.
#[profiles.development.defaults]
#handlers = ["console"]

#[profiles.production]
"""


def example(handlers: Iterable[str]) -> str:
    """Return the example: runs print their messages, and everything else is commented out.

    Args:
        handlers: The table of each type of handler, as TOML; the configuration does not know the types itself.
    """
    tables = (re.sub(r"(?m)^(?=.)", "#", f"{table.strip()}\n\n") for table in handlers)
    return f"{_BEGIN}{''.join(map(''.join, _settings()))}{_HANDLERS}{''.join(tables)}{_END}"


def _settings() -> Iterator[tuple[str, str]]:
    """Yield each setting that a file can give: its explanation as a comment, and an example, commented out."""
    meanings = _meanings()
    for field in attrs.fields(Settings):
        value = field.metadata.get("example")
        if value is not None:
            mark = "" if field.name == _IN_FORCE else "#"
            meaning = meanings.get(field.name, "").replace("``", "`")
            yield "".join(f"# {each}\n" for each in wrap(meaning, _WIDTH)), f"{mark}{field.name} = {value}\n"


def _meanings() -> dict[str, str]:
    """Return what the docstring says of each setting, in one line each; nothing under ``python -OO``."""
    text = (Settings.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    parts = re.split(r"^        (\w+): ", text, flags=re.MULTILINE)
    return {name: " ".join(each.split()) for name, each in zip(parts[1::2], parts[2::2], strict=True)}
