"""Everything that can be said about a run in advance, written down once.

``supervise``, ``supervised`` and ``Supervisor`` all take exactly what :class:`Settings` takes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

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
# Words, and what is too short for the key of any vendor.
_WORDS = re.compile(r"(?:(?:[A-Za-z_.-]{1,80}|[\w.,()-]{1,19})(?=[ ]|\Z)[ ]*+)*+")


def _handlers(value: MessageHandler | str | Iterable[MessageHandler | str] | None) -> tuple[MessageHandler, ...]:
    """Return one handler or many as a tuple, and refuse what cannot send; names were looked up before."""
    if value is None:
        return ()
    if isinstance(value, (str, type)) or not (hasattr(value, "send_message") or isinstance(value, Iterable)):
        raise ConfigurationError(f"handlers takes objects that have send_message(details), got {value!r}")
    handlers: tuple[Any, ...] = (value,) if hasattr(value, "send_message") else tuple(value)
    for index, handler in enumerate(handlers):
        if isinstance(handler, type) or not callable(getattr(handler, "send_message", None)):
            hint = "an instance, not the class" if isinstance(handler, type) else "an object with send_message(details)"
            raise ConfigurationError(f"handlers[{index}] must be {hint}, got {handler!r}")
    return handlers


def _kinds(value: str | Iterable[str] | None) -> frozenset[Kind]:
    """Return the kinds to report: those that always are, and the ones named."""
    if not value:
        return ALWAYS_REPORTED
    named = (value,) if isinstance(value, str) else value
    try:
        return ALWAYS_REPORTED | {Kind(each) for each in named}
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"report_on got {value!r}: {error}; the kinds are {', '.join(Kind)}") from error


def _path(value: str | os.PathLike[str] | None) -> str | None:
    """Return the path as text, absolute: the script may change its directory before it fails."""
    if value is None or value == "":
        return None
    try:
        return os.path.abspath(os.fspath(value))  # noqa: PTH100 - pathlib costs 5 ms that most runs need not pay
    except TypeError as error:
        raise ConfigurationError(f"log_path must be a path (str or os.PathLike), got {value!r}") from error


def _clean_name(value: str | None) -> str | None:
    """Return a name without secrets: one that is made of a URL may have some, and goes into subjects and paths."""
    if not isinstance(value, str) or _WORDS.fullmatch(value):
        return value  # what is no text is refused below
    from supervisor._redaction import Redactor

    return Redactor().text(value)


def _name(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise ConfigurationError(f"name must be a text that is not blank, got {value!r}")


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is no positive number of seconds."""
    if value is None and attribute.default is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigurationError(f"{attribute.name} must be a number of seconds above 0, got {value!r}")


def _seconds_or_zero(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value != 0 or isinstance(value, bool):
        _seconds(instance, attribute, value)


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
    """Refuse what is no schedule: here, since the check that misses the run is nowhere near the script."""
    if value is not None:
        from supervisor._schedules import parse

        parse(value)


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
    """Refuse what cannot be redacted: later it would be too late to tell."""
    if value:
        from supervisor._redaction import Redactor

        Redactor(**{attribute.name.removeprefix("redact_"): value})


def _logger(value: logging.Logger | logging.LoggerAdapter[Any] | str | None) -> Any:
    """Return a logger; a text names one."""
    if isinstance(value, str):
        import logging

        return logging.getLogger(value)
    if value is not None and not callable(getattr(value, "error", None)):
        raise ConfigurationError(f"logger must be a logging.Logger or the name of one, got {value!r}")
    return value


@attrs.frozen
class Settings:
    """What a run is called, who hears of it, and how far supervision goes.

    Args:
        name: What messages and the journal call the run. None means the function's name, or for ``main`` and
            for blocks the script's.
        handlers: One handler or many, or their names in the configuration. None by default, or what is configured.
        logger: Gets uncaught exceptions at ERROR with their traceback: a logger or the name of one. None for none.
        log_path: A log file that goes with failure messages. None for none.
        report_on: Kinds of messages to send besides those that always are (failure, recovery, stalled, overdue,
            died, missed): "start", "success", "progress". What the script says with ``run.notify()`` always goes.
            A handler that has ``kinds`` gets those instead, start and success among them.
        reraise: False swallows exceptions after they were reported; the call then returns None. It never
            swallows ``SystemExit``, ``KeyboardInterrupt``, SIGTERM or a cancellation.
        progress_every_s: Seconds between two progress messages to the handlers. None sends none, unless
            ``report_on`` has "progress": then every 600 s.
        delivery_deadline_s: The most seconds that the end of a run waits for its messages to be delivered;
            0 does not wait.
        journal: True keeps the run, and the messages that wait, on disk in the state directory. False keeps them
            in memory: what is not delivered when the process ends is lost.
        repeat_after_s: Holds back a failure when an equal one (same exception, same place) was told less than so
            many seconds ago, and says with the next one how many there were. 0 tells every failure. It needs the
            journal.
        capture_logs: True gives the run a log file of its own with what all loggers say, a name or names with what
            those say; warnings are in it too. It goes with the messages of failures and summaries. None for none.
        redact_patterns: What else is to be taken out of all that is stored or sent, as regular expressions by the
            names that then stand in their place; of one with a group ``secret`` only that.
        redact_off: What is not to be taken out, though it looks like a secret: names of
            ``supervisor.plugins.REDACTED`` ("token", "cookie", ...).
        show_locals: True shows the local variables of the script's own functions in failure messages, redacted.
        stall_after_s: Tells (kind stalled) of a run that made no progress for so many seconds, with the stack of
            every thread. None does not watch.
        max_duration_s: Tells (kind overdue) of a run that takes longer than so many seconds, with the stack of every
            thread. None does not watch.
        on_overdue: What else is done about a run that stalls or takes too long: "report" lets it go on,
            "interrupt" raises KeyboardInterrupt where it is at work (in asyncio it cancels the task), and
            ``OverdueError`` leaves the run. A thread that is not the main one is reached when it next runs Python
            code, and a coroutine that blocks its event loop not before it awaits.
        schedule: When the run should start: a cron expression in the machine's time ("0 2 * * *") or an interval
            ("every 15 min"). ``supervisor check`` then tells (kind missed) when it did not. None for no schedule.
        grace_s: How many seconds late a scheduled start may be before it counts as missed.
        overlap: What is done when a run of this name is still under way on this machine: "allow" starts another,
            "skip" does not call the function (a block cannot be skipped: it raises ``RunSkipped``), "fail" tells a
            failure and raises ``OverlapError``.

    Raises:
        ConfigurationError: A setting is of the wrong kind or out of range; its text names it.
    """

    name: str | None = attrs.field(default=None, converter=_clean_name, validator=_name)
    handlers: tuple[MessageHandler, ...] = attrs.field(default=(), converter=_handlers, kw_only=True)
    logger: Any = attrs.field(default=None, converter=_logger, kw_only=True)
    log_path: str | None = attrs.field(default=None, converter=_path, kw_only=True)
    report_on: frozenset[Kind] = attrs.field(default=(), converter=_kinds, kw_only=True)
    reraise: bool = attrs.field(default=True, validator=_yes_or_no, kw_only=True)
    progress_every_s: float | None = attrs.field(default=None, validator=_seconds, kw_only=True)
    delivery_deadline_s: float = attrs.field(default=30.0, validator=_seconds_or_zero, kw_only=True)
    journal: bool = attrs.field(default=True, validator=_yes_or_no, kw_only=True)
    repeat_after_s: float = attrs.field(default=0.0, validator=_seconds_or_zero, kw_only=True)
    capture_logs: tuple[str, ...] | None = attrs.field(default=None, converter=_captured, kw_only=True)
    redact_patterns: Mapping[str, str] = attrs.field(
        factory=dict, converter=_patterns, validator=_redaction, kw_only=True, hash=False
    )
    redact_off: frozenset[str] = attrs.field(default=(), converter=_names, validator=_redaction, kw_only=True)
    show_locals: bool = attrs.field(default=False, validator=_yes_or_no, kw_only=True)
    stall_after_s: float | None = attrs.field(default=None, validator=_seconds, kw_only=True)
    max_duration_s: float | None = attrs.field(default=None, validator=_seconds, kw_only=True)
    on_overdue: Literal["report", "interrupt"] = attrs.field(
        default="report", validator=_one_of("report", "interrupt"), kw_only=True
    )
    schedule: str | None = attrs.field(default=None, validator=_schedule, kw_only=True)
    grace_s: float = attrs.field(default=600.0, validator=_seconds_or_zero, kw_only=True)
    overlap: Literal["allow", "skip", "fail"] = attrs.field(
        default="allow", validator=_one_of("allow", "skip", "fail"), kw_only=True
    )

    announced: frozenset[Kind] = attrs.field(init=False, eq=False, repr=False)
    """Start and success, where ``report_on`` or a handler asks for them."""

    @announced.default
    def _announced_to_somebody(self) -> frozenset[Kind]:
        wanted = self.report_on.union(*(kinds_of(handler) or () for handler in self.handlers))
        return wanted & {Kind.START, Kind.SUCCESS}

    has_extras: bool = attrs.field(init=False, eq=False, repr=False)
    """Whether the run has its own log, limits or a lock on its name: most runs never load what that takes."""

    @has_extras.default
    def _asks_for_more(self) -> bool:
        limits = self.stall_after_s is not None or self.max_duration_s is not None
        return limits or self.capture_logs is not None or self.overlap != "allow"

    @property
    def progress_interval_s(self) -> float | None:
        """Return the seconds between two progress messages, or None when handlers get none."""
        if self.progress_every_s is None and Kind.PROGRESS in self.report_on:
            return DEFAULT_PROGRESS_EVERY_S
        return self.progress_every_s


def kinds_of(handler: object) -> frozenset[Kind] | None:
    """Return the kinds that a handler asks for by itself, or None when it leaves that to the run.

    Raises:
        ConfigurationError: What it asks for are no kinds.
    """
    try:
        kinds = getattr(handler, "kinds", None)
        return None if kinds is None else frozenset(map(Kind, (kinds,) if isinstance(kinds, str) else kinds))
    except Exception as error:
        known = ", ".join(Kind)
        raise ConfigurationError(f"{type(handler).__name__}: kinds must be some of {known}; {error}") from error


def settings_from(arguments: tuple[Any, ...], options: dict[str, Any]) -> Settings:
    """Return the settings that a call gave.

    Raises:
        ConfigurationError: An option is unknown (its text says which was probably meant) or a value is wrong.
    """
    if not options:
        return _of_name(*arguments) if arguments and isinstance(arguments[0], str) else Settings(*arguments)
    known = [field.name for field in attrs.fields(Settings) if field.init]
    for name in options.keys() - set(known):
        from difflib import get_close_matches

        meant = get_close_matches(name, known, n=1)
        hint = f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(known)}"
        raise ConfigurationError(f"there is no setting {name!r}; {hint}")
    return Settings(*arguments, **options)


@lru_cache(maxsize=64)
def _of_name(*arguments: Any) -> Settings:
    """Return the settings of a name alone: they are frozen, and a block in a loop asks for them each time."""
    return Settings(*arguments)
