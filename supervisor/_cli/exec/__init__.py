"""``supervisor run -- COMMAND``: any program as a supervised run.

In: a command line. Out: the program's output, passed through as it comes, its exit code, and a run that fails as the
program does. :mod:`.supervise_command` puts the parts together. What only a program that fails needs is loaded when it
fails.

A correct command line is read here, since loading click takes as long as starting three programs. For a wrong one,
and for ``--help``, :func:`parse` returns None and click answers: ``supervisor._cli.main`` makes click's options
of the same table. The options of settings are those that ``Settings`` defines.
"""

from __future__ import annotations

import os
import re
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from supervisor._models import Kind
from supervisor._setting_values import LAST_EXIT_CODE
from supervisor._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

KILL_AFTER_S = 10.0
_SEVERAL = ("tuple", "frozenset")
_QUOTED = re.compile(r"""['"](\w+)['"]""")

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


class CommandLine(NamedTuple):
    """A command line of ``supervisor run``.

    Args:
        command: The program and its arguments.
        settings: The settings of the run (:class:`supervisor._settings.Settings`) that the command line gives; the
            others come from the configuration.
        timeout_s: Seconds after which the program is asked to end; None for no limit.
        kill_after_s: Seconds from that request until the program is killed.
        retry_codes: The exit codes after which the program is started again; () for all but 126 and 127, with which
            it could not be started.
        is_quiet: Whether the output is shown only if the program fails.
        is_dry_run: Whether messages are printed instead of sent, and nothing is kept.
    """

    command: tuple[str, ...]
    settings: dict[str, Any]
    timeout_s: float | None = None
    kill_after_s: float = KILL_AFTER_S
    is_quiet: bool = False
    retry_codes: tuple[int, ...] = ()
    is_dry_run: bool = False


class Option(NamedTuple):
    """One option.

    Args:
        flag: The option as it is written ("--name").
        key: The setting of the run, or the field of :class:`CommandLine`, that it sets.
        help: The text in ``--help``.
        metavar: The name of its value in ``--help``; "" if it takes no value.
        read: Converts the text of a value; raises ValueError with the reason for an invalid one.
        is_many: Whether it can be given several times.
        is_setting: Whether it sets a setting of the run.
        short: A short form ("-q"); "" for none.
        sets: The value that it sets if it takes none.
    """

    flag: str
    key: str
    help: str
    metavar: str = ""
    read: Callable[[str], Any] = str
    is_many: bool = False
    is_setting: bool = True
    short: str = ""
    sets: bool = True


def seconds(text: str) -> float:
    """Return a number of seconds above 0, given alone or with a unit: "90", "1.5h", "10m", "2d".

    Raises:
        ValueError: The text is no such number.
    """
    number = text.strip().lower().rstrip("smhd")
    unit = text.strip().lower()[len(number) :]
    try:
        value = float(number) * _UNITS_S[unit]
    except (ValueError, KeyError):
        value = 0.0
    if not (isfinite(value) and value > 0):
        raise ValueError(f"{text!r} is no number of seconds above 0, like 90, 1.5h, 10m or 2d")
    return value


def seconds_or_zero(text: str) -> float:
    """Return a number of seconds as :func:`seconds` does, or 0.

    Raises:
        ValueError: The text is no such number.
    """
    return 0.0 if text.strip().rstrip("smhdSMHD") == "0" else seconds(text)


def _whole_number(setting: str) -> Callable[[str], int]:
    """Return the reader of a setting that is a whole number, which ``Settings`` checks."""

    def read(text: str) -> int:
        from supervisor.errors import ConfigurationError

        given: dict[str, Any] = {setting: int(text) if text.isascii() and text.isdigit() else text}
        try:
            Settings(**given)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return int(text)

    return read


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("it must not be blank")
    return text


def _one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"{text!r} is not one of {', '.join(known)}")
        return text

    return read


def _text_for(setting: str) -> Callable[[str], str]:
    """Return the reader of a setting that is a text, which ``Settings`` checks."""

    def read(text: str) -> str:
        from supervisor.errors import ConfigurationError

        given: dict[str, Any] = {setting: _not_blank(text)}
        try:
            Settings(**given)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return text

    return read


def _reader(name: str, type_name: str) -> Callable[[str], Any]:
    """Return how the text of a setting's value is read, by the setting's type."""
    if name == "handlers":
        return _not_blank  # a name in the configuration, which is looked up when the run begins
    if type_name.startswith("tuple[int"):
        return _exit_codes
    if "Kind" in type_name:
        return _one_of(*Kind)
    if type_name.startswith("Literal"):
        return _one_of(*_QUOTED.findall(type_name))
    if name.endswith("_s"):
        return seconds_or_zero if name == "retry_wait_s" else seconds
    return _whole_number(name) if type_name == "int" else _text_for(name)


def _exit_codes(text: str) -> tuple[int, ...]:
    """Return exit codes that are given with commas between them.

    Raises:
        ValueError: One of them is none.
    """
    codes = tuple(each.strip() for each in text.split(","))
    if not all(each.isascii() and each.isdigit() and 0 < int(each) <= LAST_EXIT_CODE for each in codes):
        raise ValueError(f"{text!r} is no exit code of 1-{LAST_EXIT_CODE}, nor several with commas between them")
    return tuple(map(int, codes))


def _of_settings() -> Iterator[Option]:
    """Yield the options that ``Settings`` defines."""
    for field in attrs.fields(Settings):
        option = field.metadata.get("option")
        if option is not None:
            type_name = str(field.type)
            yield Option(
                option.flag,
                field.name,
                option.help,
                option.metavar,
                _reader(field.name, type_name),
                is_many=type_name.startswith(_SEVERAL),
                sets=bool(option.metavar),
            )


OPTIONS = (
    *_of_settings(),
    Option(
        "--timeout",
        "timeout_s",
        "Ask the program to end if it takes longer (90, 10m, 1.5h), and fail with exit code 124.",
        "TIME",
        seconds,
        is_setting=False,
    ),
    Option(
        "--kill-after",
        "kill_after_s",
        f"The time from that until it and all that it started are killed; by default {KILL_AFTER_S:.0f} s.",
        "TIME",
        seconds,
        is_setting=False,
    ),
    Option(
        "--retry-codes",
        "retry_codes",
        "Start it again only after these exit codes (75,111); by default after any that it fails with.",
        "CODES",
        _exit_codes,
        is_setting=False,
    ),
    Option(
        "--quiet",
        "is_quiet",
        "Show the program's output only if it fails, so that cron sends no other mail.",
        is_setting=False,
        short="-q",
    ),
    Option(
        "--dry-run",
        "is_dry_run",
        "Run the program, print its messages and whom they are for instead of sending them, and keep nothing.",
        is_setting=False,
    ),
)
_KNOWN = {flag: option for option in OPTIONS for flag in (option.flag, option.short) if flag}


def parse(arguments: Sequence[str]) -> CommandLine | None:
    """Return the command line that the arguments make; None if click is to report a mistake or print help.

    Args:
        arguments: The arguments after ``supervisor run``. The command begins after ``--``, or with the first argument
            that is no option.
    """
    given: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        first = rest.pop(0)
        if first == "--":
            break
        if not first.startswith("-") or first == "-":
            rest.insert(0, first)
            break
        flag, has_value, value = first.partition("=")
        option = _KNOWN.get(flag)
        if option is None or (has_value and (not option.metavar or option.short == flag)):
            return None
        if option.metavar and not has_value:
            if not rest:
                return None
            value = rest.pop(0)
        try:
            _set(given, option, value)
        except ValueError:
            return None
    return command_line(rest, given) if rest else None


def _set(given: dict[str, Any], option: Option, value: str) -> None:
    read = option.read(value) if option.metavar else option.sets
    given[option.key] = (*given.get(option.key, ()), read) if option.is_many else read


def command_line(command: Sequence[str], given: dict[str, Any]) -> CommandLine:
    """Return the command line that a command and the values of the given options make."""
    own = {option.key: given[option.key] for option in OPTIONS if not option.is_setting and option.key in given}
    settings = {option.key: _flat(given[option.key]) for option in OPTIONS if option.is_setting and option.key in given}
    return CommandLine(tuple(command), settings, **own)


def _flat(value: Any) -> Any:
    """Return several values without the tuples that hold those of one option."""
    if not isinstance(value, tuple):
        return value
    return tuple(one for each in value for one in (each if isinstance(each, tuple) else (each,)))


_PYTHONS = {"python", "pythonw", "pypy", "py", "pyw"}
_INTERPRETERS = {
    *_PYTHONS,
    "sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "csh", "tcsh", "fish", "perl", "ruby", "node", "bun", "deno",
    "php", "rscript", "lua", "tclsh", "julia", "osascript", "pwsh", "powershell",
}  # fmt: skip
"""Programs that run the file given as their first argument, after options; a version may end their names."""

_BEFORE_ANOTHER = {
    "env": "-u --unset -C --chdir",
    "nice": "-n --adjustment",
    "ionice": "-c --class -n --classdata",
    "nohup": "",
    "setsid": "",
    "time": "-f --format -o --output",
    "timeout": "-k --kill-after -s --signal",
    "stdbuf": "-i -o -e",
    "chrt": "",
    "caffeinate": "-t -w",
    "sudo": "-u --user -g --group -h --host -p --prompt -C -D -R -T",
    "doas": "-u -C",
    "xvfb-run": "-n -s -e -f -p -w",
    "chronic": "",
}
"""Programs that run the rest of their command line, each with those of its options that take a value."""

_TAKE_A_NUMBER = {"timeout", "chrt"}
_RUNNERS = {"uv", "poetry", "pipenv", "pdm", "hatch", "rye", "pixi"}
_VALUES_OF_PYTHON = ("-W", "-X", "--check-hash-based-pycs")
_CODE = ("-c", "-e", "-s", "--eval", "-Command", "-")


class Program(NamedTuple):
    """The program or script that a command runs.

    Args:
        name: Its name, without folder and ending.
        file: Its file; None for a program that is looked for in ``PATH``.
    """

    name: str
    file: str | None


def program_of(command: tuple[str, ...]) -> Program:
    """Return the program or script that a command runs, behind programs like ``nice`` that only prepare it.

    ``/opt/jobs/backup.sh --full`` is "backup", ``python -u nightly.py`` is "nightly", ``python -m app.nightly`` is
    "nightly" too, ``nice -n 10 rsync -a x y`` is "rsync". Code on the command line has no name: ``sh -c '...'`` is
    "sh".

    Args:
        command: The program and its arguments.
    """
    words = list(command)
    while words:
        program = _stem(words[0])
        rest = _what_it_runs(program.lower(), words[1:])
        if rest is None:
            return _script(program, words[1:]) or Program(program or "command", _file(words[0], in_path=True))
        if not rest:
            return Program(program, None)
        words = rest
    return Program("command", None)


def _what_it_runs(program: str, arguments: list[str]) -> list[str] | None:
    """Return the command that a program like ``nice`` runs, or None for any other program."""
    if program in _RUNNERS and "run" in arguments[:1]:
        return _without_options(arguments[1:], ())
    values = _BEFORE_ANOTHER.get(program)
    if values is None:
        return None
    rest = _without_options(arguments, tuple(values.split()))
    if program == "env":
        while rest and "=" in rest[0]:
            rest.pop(0)
    return rest[1:] if program in _TAKE_A_NUMBER else rest


def _without_options(arguments: list[str], values: tuple[str, ...]) -> list[str]:
    """Return the arguments that follow the leading options and their values."""
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        if option in values and rest:
            rest.pop(0)
    return rest


def _script(program: str, arguments: list[str]) -> Program | None:
    """Return the script that an interpreter runs; None if there is none, or the program is no interpreter."""
    interpreter = program.lower().rstrip("0123456789.")
    is_python = interpreter in _PYTHONS
    if interpreter not in _INTERPRETERS:
        return None
    rest = list(arguments)
    while rest:
        first = rest.pop(0)
        if is_python and first.startswith("-m"):
            name = _module(first[2:] or next(iter(rest), ""))
            return Program(name, None) if name else None
        if first in _CODE:
            return None
        if not first.startswith("-"):
            name = _stem(first, is_script=True)
            return Program(name, _file(first, in_path=False)) if name else None
        if is_python and first in _VALUES_OF_PYTHON and rest:
            rest.pop(0)
    return None


def _module(name: str) -> str:
    """Return the last part of a module's name; for a package's ``__main__``, that of the package."""
    parts = [each for each in name.split(".") if each and each != "__main__"]
    return parts[-1] if parts else ""


def _stem(path: str, *, is_script: bool = False) -> str:
    """Return the name of a file without folder and ending; for a package's ``__main__.py``, the name of its folder."""
    folder, name = os.path.split(path.rstrip(os.sep))
    stem, dot, ending = name.rpartition(".")
    stem = stem if dot and stem and ending.isalpha() else name
    if is_script and stem == "__main__":
        return _stem(os.path.abspath(folder))  # noqa: PTH100 - pathlib costs 3 ms
    return stem.strip()


def _file(word: str, *, in_path: bool) -> str | None:
    """Return a word of the command if it is a file; None for a program that is looked for in ``PATH``."""
    if in_path and not os.path.dirname(word):  # noqa: PTH120 - pathlib costs 3 ms
        return None
    return word if os.path.isfile(word) else None  # noqa: PTH113 - pathlib costs 3 ms
