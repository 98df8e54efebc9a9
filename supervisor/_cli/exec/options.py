"""The options of ``supervisor run``, read without click.

Loading click takes as long as starting three programs. A correct command line is read here. For a wrong one, and for
``--help``, :func:`parse` returns None and click answers: ``supervisor._cli.run_command`` makes click's options of the
same table. The options of settings are those that ``Settings`` defines.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from supervisor._models.kinds import Kind
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
        is_quiet: Whether the output is shown only if the program fails.
    """

    command: tuple[str, ...]
    settings: dict[str, Any]
    timeout_s: float | None = None
    kill_after_s: float = KILL_AFTER_S
    is_quiet: bool = False


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
    if "Kind" in type_name:
        return _one_of(*Kind)
    if type_name.startswith("Literal"):
        return _one_of(*_QUOTED.findall(type_name))
    return seconds if name.endswith("_s") else _text_for(name)


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
        "--quiet",
        "is_quiet",
        "Show the program's output only if it fails, so that cron sends no other mail.",
        is_setting=False,
        short="-q",
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
    settings = {option.key: given[option.key] for option in OPTIONS if option.is_setting and option.key in given}
    return CommandLine(tuple(command), settings, **own)
