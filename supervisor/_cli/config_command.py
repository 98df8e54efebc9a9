"""``supervisor config``: show the values in force and their origins, write a first file, list the places of files."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from supervisor._cli import shared
from supervisor._cli.completion_command import run_names
from supervisor._cli.configured_handlers import built_handler, configuration, handler_names
from supervisor._cli.shared import Column, Styled, line
from supervisor._config.search import (
    CONFIG,
    FILE,
    PYPROJECT,
    _platform_directories,
    _xdg_directories,
    is_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from supervisor._config.configuration import Configuration
    from supervisor._config.problems import Problem
    from supervisor._config.shown_values import ConfiguredValue

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
    from supervisor._config.search import FILE

    if user and path is not None:
        raise click.UsageError("give either PATH or --user")
    if user:
        path = user_file()
        if path is None:
            shared.fail("this user has no home directory to put a configuration in: give PATH", shared.WRONG_USE)
    target = Path(FILE) if path is None else path / FILE if path.is_dir() else path
    _write_example(target, force=force)
    shared.say(f"{line(str(target))} was written: runs print their messages, and all else is there to be uncommented.")
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
    from supervisor._config.template import example
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
        from supervisor._config.shown_values import masked

        self.known = known
        self.run = run
        handlers = [name for name in handler_names(known) if name not in known.unusable]
        faults = [problem for name in handlers for problem in built_handler(known, name).problems]
        self.problems: tuple[Problem, ...] = tuple(dict.fromkeys([*known.problems, *faults]))
        entries = masked(known)
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
            "warnings": [_problem_document(each) for each in self.known.warnings],
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
        if self.problems or self.known.warnings:
            shared.say()
        for each in self.known.warnings:
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


def _values_for_run(known: Configuration, run: str, entries: Sequence[ConfiguredValue]) -> Iterable[ConfiguredValue]:
    """Yield the values for the runs of one name, and those of their handlers."""
    from supervisor._config.problems import dotted

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
        machine, user = _directories()
        looked = [(os.path.join(each, FILE), "machine") for each in machine]  # noqa: PTH118 - the same text as in search
        looked += [(os.path.join(each, FILE), "user") for each in user]  # noqa: PTH118 - the same text as in search
        looked += [(each, "project") for each in _upwards(script)]
    return [ConfigPlace(path, whose, _state(path, known)) for path, whose in dict(looked).items()]


def user_file() -> Path | None:
    """Return the configuration file of this user; None without a home directory."""
    _, user = _directories()
    return Path(user[-1], FILE) if user else None


def _directories() -> tuple[list[str], list[str]]:
    return _xdg_directories(os.environ) if sys.platform == "linux" else _platform_directories()


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
