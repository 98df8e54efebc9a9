"""The options of ``supervisor run``, read without click.

Loading click takes as long as starting three programs. What is right is read here; of all that is wrong, and of
``--help``, :func:`asked` knows only that, and leaves the answer to click, for which
``supervisor._cli.run_command`` makes its options of the same table.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor._models.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KILL_AFTER_S = 10.0
OVERLAPS = ("allow", "skip", "fail")

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


class Asked(NamedTuple):
    """What a command line asks for.

    Args:
        command: The program and its arguments.
        settings: What the run is to have of :class:`supervisor._settings.Settings`; the rest comes from the
            configuration.
        timeout_s: After how many seconds the program is asked to end; None for never.
        kill_after_s: How many seconds after that it is killed.
        is_quiet: Whether the output is shown only when the program fails.
    """

    command: tuple[str, ...]
    settings: dict[str, Any]
    timeout_s: float | None = None
    kill_after_s: float = KILL_AFTER_S
    is_quiet: bool = False


class Option(NamedTuple):
    """One option.

    Args:
        flag: What is written ("--name").
        key: What it sets: a setting of the run, or a field of :class:`Asked`.
        help: What it is for.
        metavar: How its value is called; "" when it takes none.
        read: Makes a value of a text, and raises ValueError, saying why, for what is none.
        is_many: It can be given several times.
        is_setting: It sets a setting of the run.
        short: A short form ("-q"); "" for none.
        sets: What it sets when it takes no value.
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
        ValueError: It is none.
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


def _named(text: str) -> str:
    if not text.strip():
        raise ValueError("it must not be blank")
    return text


def _one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"{text!r} is not one of {', '.join(known)}")
        return text

    return read


def _schedule(text: str) -> str:
    from supervisor._schedules import parse
    from supervisor.errors import ConfigurationError

    try:
        parse(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    return text


OPTIONS = (
    Option(
        "--name",
        "name",
        "What messages and the journal call the run; by default the program, see below.",
        "NAME",
        _named,
    ),
    Option(
        "--handler",
        "handlers",
        "Tell this configured handler, instead of those that are configured for the run; may be repeated.",
        "NAME",
        _named,
        is_many=True,
    ),
    Option("--log", "log_path", "A log file that the program writes, to go with failure messages.", "FILE", _named),
    Option(
        "--timeout",
        "timeout_s",
        "Ask the program to end when it takes longer (90, 10m, 1.5h), and fail with exit code 124.",
        "TIME",
        seconds,
        is_setting=False,
    ),
    Option(
        "--kill-after",
        "kill_after_s",
        f"How long after that it is killed with all that it started; by default {KILL_AFTER_S:.0f} s.",
        "TIME",
        seconds,
        is_setting=False,
    ),
    Option(
        "--quiet",
        "is_quiet",
        "Show the program's output only when it fails, so that cron mails nothing else.",
        is_setting=False,
        short="-q",
    ),
    Option(
        "--report-on",
        "report_on",
        "Tell of this too (start, success); may be repeated. Failures and recoveries are told in any case.",
        "KIND",
        _one_of(*Kind),
        is_many=True,
    ),
    Option("--no-journal", "journal", "Keep the run, and messages that wait, in memory only.", sets=False),
    Option("--max-duration", "max_duration_s", "Tell of a run that takes longer, and let it go on.", "TIME", seconds),
    Option("--stall-after", "stall_after_s", "Tell of a run that says nothing for so long.", "TIME", seconds),
    Option(
        "--schedule",
        "schedule",
        "When it should run ('0 2 * * *', 'every 15 min'): `supervisor check` tells when it did not.",
        "WHEN",
        _schedule,
    ),
    Option(
        "--overlap",
        "overlap",
        f"What to do while an earlier run of the name is under way ({', '.join(OVERLAPS)}).",
        "HOW",
        _one_of(*OVERLAPS),
    ),
)
_KNOWN = {flag: option for option in OPTIONS for flag in (option.flag, option.short) if flag}


def asked(arguments: Sequence[str]) -> Asked | None:
    """Return what a command line asks for; None when click is to say what is wrong with it, or to help.

    Args:
        arguments: What comes after ``supervisor run``. The command is what comes after ``--``, or begins with the
            first argument that is no option.
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
            _keep(given, option, value)
        except ValueError:
            return None
    return ask(rest, given) if rest else None


def _keep(given: dict[str, Any], option: Option, value: str) -> None:
    read = option.read(value) if option.metavar else option.sets
    given[option.key] = (*given.get(option.key, ()), read) if option.is_many else read


def ask(command: Sequence[str], given: dict[str, Any]) -> Asked:
    """Return what is asked for by options that were read, less those that were not given."""
    own = {option.key: given[option.key] for option in OPTIONS if not option.is_setting and option.key in given}
    settings = {option.key: given[option.key] for option in OPTIONS if option.is_setting and option.key in given}
    return Asked(tuple(command), settings, **own)
