"""The settings of a run, defined once.

``supervise``, ``supervised`` and ``Supervisor`` take the parameters of :class:`Settings`, and show its explanations.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import attrs

from supervisor._models.kinds import Kind
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from supervisor._models.values import MessageHandler

T = TypeVar("T")

ALWAYS_REPORTED = frozenset({Kind.FAILURE, Kind.RECOVERY, Kind.STALLED, Kind.OVERDUE, Kind.DIED, Kind.MISSED})
DEFAULT_PROGRESS_EVERY_S = 600.0
# Words, and texts that are shorter than the key of any service.
_WORDS = re.compile(r"(?:(?:[A-Za-z_.-]{1,80}|[\w.,()-]{1,19})(?=[ ]|\Z)[ ]*+)*+")


def _handlers(value: MessageHandler | str | Iterable[MessageHandler | str] | None) -> tuple[MessageHandler, ...]:
    """Return one handler or several as a tuple, and refuse objects that cannot send; names are looked up before."""
    if value is None:
        return ()
    if isinstance(value, (str, type)) or not (hasattr(value, "send_message") or isinstance(value, Iterable)):
        raise ConfigurationError(f"handlers takes objects that have send_message(details), got {value!r}")
    handlers: tuple[Any, ...] = (value,) if hasattr(value, "send_message") else tuple(value)
    for index, handler in enumerate(handlers):
        if isinstance(handler, type) or not callable(getattr(handler, "send_message", None)):
            hint = "an instance, not the class" if isinstance(handler, type) else "an object with send_message(details)"
            raise ConfigurationError(f"handlers[{index}] must be {hint}, got {handler!r}")
        if fault := _fault_of(handler.send_message):
            raise ConfigurationError(f"handlers[{index}]: send_message of {type(handler).__qualname__} {fault}")
    return handlers


def _fault_of(send_message: Callable[..., object]) -> str:
    """Return why a ``send_message`` could never send, "" if nothing is wrong with it."""
    function = getattr(send_message, "__func__", None)
    return _fault_of_method(function) if function is not None else _fault_of_function(send_message, is_bound=False)


@lru_cache(maxsize=256)  # settings are built for each run
def _fault_of_method(function: Callable[..., object]) -> str:
    return _fault_of_function(function, is_bound=True)


def _fault_of_function(function: Callable[..., object], *, is_bound: bool) -> str:
    import inspect  # loaded by attrs

    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "contains yield, so calling it sends nothing; write it without"
    try:
        signature = inspect.signature(function, follow_wrapped=False)  # a decorator may give more arguments
    except (TypeError, ValueError):  # some functions written in C
        return ""
    try:
        signature.bind(*(None,) * (2 if is_bound else 1))
    except TypeError:
        return f"must take one argument, the message; its signature is {signature}"
    return ""


def _kinds(value: str | Iterable[str] | None) -> frozenset[Kind]:
    """Return the kinds to report: the named ones, and those that are always reported."""
    if not value:
        return ALWAYS_REPORTED
    named = (value,) if isinstance(value, str) else value
    try:
        return ALWAYS_REPORTED | {Kind(each) for each in named}
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"report_on got {value!r}: {error}; the kinds are {', '.join(Kind)}") from error


def _path(value: str | os.PathLike[str] | None) -> str | None:
    """Return the path as an absolute text: the script may change its directory before it fails."""
    if value is None or value == "":
        return None
    try:
        return os.path.abspath(os.fspath(value))  # noqa: PTH100 - pathlib costs 5 ms that most runs need not pay
    except TypeError as error:
        raise ConfigurationError(f"log_path must be a path (str or os.PathLike), got {value!r}") from error


def _clean_name(value: str | None) -> str | None:
    """Return a name without secrets: it goes into subjects and paths, and may be made of a URL that has some."""
    if not isinstance(value, str) or _WORDS.fullmatch(value):
        return value  # a value that is no text is refused by the validator
    from supervisor._redaction import Redactor

    return Redactor().text(value)


def _name(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise ConfigurationError(f"name must be a text that is not blank, got {value!r}")


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse a value that is no positive number of seconds."""
    if value is None and attribute.default is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigurationError(f"{attribute.name} must be a number of seconds above 0, got {value!r}")


def _seconds_or_zero(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ConfigurationError(f"{attribute.name} must be a number of seconds, 0 or more, got {value!r}")


def _yes_or_no(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):  # the text "False" would count as True
        raise ConfigurationError(f"{attribute.name} must be True or False, got {value!r}")


def _one_of(*known: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in known:
            raise ConfigurationError(f"{attribute.name} must be one of {', '.join(map(repr, known))}, got {value!r}")

    return check


def _captured(value: bool | str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Return the names of the loggers to capture, "" for the root logger; None for none."""
    if value is None or value is False:
        return None
    if value is True:
        return ("",)
    names = (value,) if isinstance(value, str) else value
    try:
        names = tuple(dict.fromkeys(names))
    except TypeError as error:
        raise ConfigurationError(f"capture_logs must be True, False or names of loggers, got {value!r}") from error
    if not names or not all(isinstance(each, str) for each in names):
        raise ConfigurationError(f"capture_logs must be True, False or names of loggers, got {value!r}")
    return names


def _schedule(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse an invalid schedule here, in the script: `supervisor check` could only report it later and elsewhere."""
    if value is not None:
        from supervisor._schedules import parse_schedule

        parse_schedule(value)


def _patterns(value: Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"redact_patterns must be patterns by their names, got {value!r}")
    return MappingProxyType(dict(value))


def _names(value: str | Iterable[str]) -> frozenset[str]:
    try:
        return frozenset((value,) if isinstance(value, str) else value)
    except TypeError as error:
        raise ConfigurationError(f"redact_off must be names of what is redacted, got {value!r}") from error


def _redaction(instance: Settings, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuse patterns and names that the redactor does not accept, before the run starts."""
    if value:
        from supervisor._redaction import Redactor

        Redactor(**{attribute.name.removeprefix("redact_"): value})


def _logger(value: logging.Logger | logging.LoggerAdapter[Any] | str | None) -> Any:
    """Return a logger; a text is the name of one."""
    if isinstance(value, str):
        import logging

        return logging.getLogger(value)
    if value is not None and not callable(getattr(value, "error", None)):
        raise ConfigurationError(f"logger must be a logging.Logger or the name of one, got {value!r}")
    return value


class RunOption(NamedTuple):
    """The option of ``supervisor run`` that gives a setting; ``_cli.exec.options`` reads its value.

    Args:
        flag: The option as it is written ("--log").
        metavar: The name of its value in ``--help``; "" for an option without a value, which sets the setting to False.
        help: The text in ``--help``.
    """

    flag: str
    metavar: str
    help: str


def _given_by(example: str | None, *option: str) -> dict[str, Any]:
    """Return the metadata of a setting: how others than the script give it.

    Args:
        example: A value for the configuration's template, as TOML; None if only the script can give the setting.
        option: The fields of the :class:`RunOption`; none if ``supervisor run`` has no option for the setting.
    """
    return {"example": example, "option": RunOption(*option) if option else None}


_KEPT = {"is_kept": True}
"""More metadata: the journal keeps the setting with each run, and reports have it."""


@attrs.frozen
class Settings:
    """What a run is called, who gets its messages, and how far supervision goes.

    Args:
        name: The name of the run in messages and in the journal. Default None: the function's name, or the name of
            the script's file for blocks and for a function called ``main``.
        handlers: One handler or several, or their names in the configuration; they get the messages. Default ():
            none, or those of the configuration.
        logger: A logger, or the name of one, that gets uncaught exceptions at level ERROR with their traceback.
            Default None: no logger.
        log_path: The path of a log file to attach to failure messages. Default None: no file.
        report_on: More kinds of messages to send: "start", "success", "progress", one or several. Failure,
            recovery, stalled, overdue, died and missed are always sent, and so is what ``run.notify()`` is given.
            A handler that has ``kinds`` of its own gets those instead. Default (): no more kinds.
        reraise: False suppresses an exception after it was reported; the call then returns None. ``SystemExit``,
            ``KeyboardInterrupt``, SIGTERM and cancellations are never suppressed. Default True.
        progress_every_s: Seconds between two progress messages to the handlers. Default None: no progress messages,
            or one every 600 s if ``report_on`` has "progress".
        delivery_deadline_s: The most seconds that the end of a run waits for its messages to be delivered; 0 does
            not wait. Default 30.0.
        journal: True keeps the run, and the messages that wait, on disk in the state directory. False keeps them in
            memory: what is not delivered when the process ends is lost. Default True.
        repeat_after_s: Holds back a failure that equals one (same exception, same place) reported less than this
            many seconds ago; the next one that is sent says how many were held back. It needs the journal.
            Default 0.0: every failure is sent.
        capture_logs: True writes what all loggers say, and warnings, to a log file of the run's own; the name of a
            logger, or several, limits it to those. The file is attached to failure messages and summaries.
            Default None: no log file.
        redact_patterns: More to remove from all that is stored or sent: regular expressions by the names that
            replace what they match. If one has a group called ``secret``, only that group is replaced. Default {}.
        redact_off: What to leave in although it looks like a secret: names from ``supervisor.plugins.REDACTED``
            ("token", "cookie", ...). Default ().
        show_locals: True shows the local variables of the script's own functions in failure messages, without
            secrets. Default False.
        stall_after_s: Sends a message (kind stalled) when the run has made no progress for this many seconds, with
            the stack of every thread. Default None: progress is not watched.
        max_duration_s: Sends a message (kind overdue) when the run takes longer than this many seconds, with the
            stack of every thread. Default None: no limit.
        on_overdue: What else happens when a run stalls or takes too long. "report" lets it continue; "interrupt"
            raises ``KeyboardInterrupt`` in the thread of the run (in asyncio it cancels the task), and the run ends
            with ``OverdueError``. Other threads than the main one are reached when they next run Python code, a
            coroutine that blocks its event loop when it next awaits. Default "report".
        schedule: When the run should start: a cron expression in the machine's time ("0 2 * * *") or an interval
            ("every 15 min"). ``supervisor check`` sends a message (kind missed) when it did not. Default None: no
            schedule.
        grace_s: How many seconds late a scheduled start may be before it counts as missed. Default 600.0.
        overlap: What happens when a run of this name is still under way on this machine. "allow" starts another;
            "skip" does not call the function (a block cannot be skipped, it raises ``RunSkipped``); "fail" reports
            a failure and raises ``OverlapError``. Default "allow".

    Raises:
        ConfigurationError: A setting is unknown, of the wrong type or out of range; the message names it.
    """

    name: str | None = attrs.field(
        default=None,
        converter=_clean_name,
        validator=_name,
        metadata=_given_by(
            None,
            "--name",
            "NAME",
            "The name of the run in messages and in the journal; by default that of the program, see below.",
        ),
    )
    handlers: tuple[MessageHandler, ...] = attrs.field(
        default=(),
        converter=_handlers,
        kw_only=True,
        metadata=_given_by(
            '["console"]',
            "--handler",
            "NAME",
            "Send messages to this configured handler instead of those for the run; may be repeated.",
        ),
    )
    logger: Any = attrs.field(default=None, converter=_logger, kw_only=True, metadata=_given_by('"nightly"'))
    log_path: str | None = attrs.field(
        default=None,
        converter=_path,
        kw_only=True,
        metadata=_given_by(
            '"logs/nightly.log"', "--log", "FILE", "A log file that the program writes, to attach to failure messages."
        ),
    )
    report_on: frozenset[Kind] = attrs.field(
        default=(),
        converter=_kinds,
        kw_only=True,
        metadata=_given_by(
            '["success"]',
            "--report-on",
            "KIND",
            "Report this too (start, success); may be repeated. Failures and recoveries are always reported.",
        ),
    )
    reraise: bool = attrs.field(default=True, validator=_yes_or_no, kw_only=True, metadata=_given_by("true"))
    progress_every_s: float | None = attrs.field(
        default=None, validator=_seconds, kw_only=True, metadata=_given_by("600")
    )
    delivery_deadline_s: float = attrs.field(
        default=30.0, validator=_seconds_or_zero, kw_only=True, metadata=_given_by("30")
    )
    journal: bool = attrs.field(
        default=True,
        validator=_yes_or_no,
        kw_only=True,
        metadata=_given_by("true", "--no-journal", "", "Keep the run, and messages that wait, in memory only."),
    )
    repeat_after_s: float = attrs.field(
        default=0.0, validator=_seconds_or_zero, kw_only=True, metadata=_given_by("3600")
    )
    capture_logs: tuple[str, ...] | None = attrs.field(
        default=None, converter=_captured, kw_only=True, metadata=_given_by("true")
    )
    redact_patterns: Mapping[str, str] = attrs.field(
        default={},
        converter=_patterns,
        validator=_redaction,
        kw_only=True,
        hash=False,
        metadata=_given_by("{ customer = 'customer no\\\\. (?P<secret>[0-9]+)' }"),
    )
    redact_off: frozenset[str] = attrs.field(
        default=(), converter=_names, validator=_redaction, kw_only=True, metadata=_given_by('["cookie"]')
    )
    show_locals: bool = attrs.field(default=False, validator=_yes_or_no, kw_only=True, metadata=_given_by("true"))
    stall_after_s: float | None = attrs.field(
        default=None,
        validator=_seconds,
        kw_only=True,
        metadata=_given_by("900", "--stall-after", "TIME", "Report a run without output or progress for so long."),
    )
    max_duration_s: float | None = attrs.field(
        default=None,
        validator=_seconds,
        kw_only=True,
        metadata=_given_by("7200", "--max-duration", "TIME", "Report a run that takes longer, and let it continue."),
    )
    on_overdue: Literal["report", "interrupt"] = attrs.field(
        default="report", validator=_one_of("report", "interrupt"), kw_only=True, metadata=_given_by('"report"') | _KEPT
    )
    schedule: str | None = attrs.field(
        default=None,
        validator=_schedule,
        kw_only=True,
        metadata=_given_by(
            '"0 2 * * *"',
            "--schedule",
            "WHEN",
            "When it should run ('0 2 * * *', 'every 15 min'): `supervisor check` reports when it did not.",
        ),
    )
    grace_s: float = attrs.field(default=600.0, validator=_seconds_or_zero, kw_only=True, metadata=_given_by("600"))
    overlap: Literal["allow", "skip", "fail"] = attrs.field(
        default="allow",
        validator=_one_of("allow", "skip", "fail"),
        kw_only=True,
        metadata=_given_by(
            '"allow"',
            "--overlap",
            "HOW",
            "What to do if an earlier run of the name is under way (allow, skip, fail).",
        )
        | _KEPT,
    )

    announced: frozenset[Kind] = attrs.field(init=False, eq=False, repr=False)
    """Which of start and success is sent, because ``report_on`` or a handler asks for it."""

    @announced.default
    def _announced_to_somebody(self) -> frozenset[Kind]:
        wanted = self.report_on.union(*(kinds_of(handler) or () for handler in self.handlers))
        return wanted & {Kind.START, Kind.SUCCESS}

    has_features: bool = attrs.field(init=False, eq=False, repr=False)
    """Whether the run has its own log, limits or a lock on its name; most runs never load the code for these."""

    @has_features.default
    def _asks_for_more(self) -> bool:
        limits = self.stall_after_s is not None or self.max_duration_s is not None
        return limits or self.capture_logs is not None or self.overlap != "allow"

    @property
    def kept(self) -> dict[str, Any]:
        """Return the settings that are kept with the run, without those that have their default."""
        given = ((name, getattr(self, name), default) for name, default in _kept_settings())
        return {name: value for name, value, default in given if value != default}

    @property
    def progress_interval_s(self) -> float | None:
        """Return the seconds between two progress messages, or None if handlers get none."""
        if self.progress_every_s is None and Kind.PROGRESS in self.report_on:
            return DEFAULT_PROGRESS_EVERY_S
        return self.progress_every_s


def kinds_of(handler: object) -> frozenset[Kind] | None:
    """Return the kinds that a handler asks for itself, or None if the run decides.

    Raises:
        ConfigurationError: One of them is no kind.
    """
    try:
        kinds = getattr(handler, "kinds", None)
        return None if kinds is None else frozenset(map(Kind, (kinds,) if isinstance(kinds, str) else kinds))
    except Exception as error:
        known = ", ".join(Kind)
        raise ConfigurationError(f"{type(handler).__name__}: kinds must be some of {known}; {error}") from error


def settings_from(arguments: tuple[Any, ...], options: dict[str, Any]) -> Settings:
    """Return the settings that the arguments of a call make.

    Raises:
        ConfigurationError: A setting is unknown (the message suggests a similar one) or a value is wrong.
    """
    if not options:
        return _of_name(*arguments) if arguments and isinstance(arguments[0], str) else Settings(*arguments)
    known = _setting_names()
    for name in options.keys() - known.keys():
        from difflib import get_close_matches

        meant = get_close_matches(name, known, n=1)
        hint = f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(known)}"
        raise ConfigurationError(f"there is no setting {name!r}; {hint}")
    return Settings(*arguments, **options)


@cache  # each run with settings of its own asks
def _setting_names() -> dict[str, None]:
    """Return the names of all settings in their order."""
    return dict.fromkeys(field.name for field in attrs.fields(Settings) if field.init)


@cache  # each run asks
def _kept_settings() -> tuple[tuple[str, Any], ...]:
    """Return the names and defaults of the settings that are kept with a run."""
    return tuple((field.name, field.default) for field in attrs.fields(Settings) if field.metadata.get("is_kept"))


@lru_cache(maxsize=64)
def _of_name(*arguments: Any) -> Settings:
    """Return the settings that have only a name; cached, since a block in a loop asks for them each time."""
    return Settings(*arguments)
