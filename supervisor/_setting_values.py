"""What a script may give for a setting: how that is converted, and what is refused, with the setting's name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

from supervisor._models import Kind
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence
    from typing import TypeGuard

    import attrs

    from supervisor._models.values import ErrorDetails, MessageHandler

ALWAYS_REPORTED = frozenset(
    {Kind.WARNING, Kind.FAILURE, Kind.RECOVERY, Kind.STALLED, Kind.OVERDUE, Kind.DIED, Kind.MISSED}
)
DEFAULT_PROGRESS_EVERY_S = 600.0
LAST_EXIT_CODE = 255
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# Words, and texts that are shorter than the key of any service.
_WORDS = re.compile(r"(?:(?:[A-Za-z_.-]{1,80}|[\w.,()-]{1,19})(?=[ ]|\Z)[ ]*+)*+")


def handlers(value: MessageHandler | str | Iterable[MessageHandler | str] | None) -> tuple[MessageHandler, ...]:
    """Return the handlers as a tuple, and refuse objects that cannot send. No names are left among them by now."""
    if value is None:
        return ()
    if isinstance(value, (str, type)) or not (hasattr(value, "send_message") or isinstance(value, (tuple, Iterable))):
        raise ConfigurationError(f"handlers takes objects that have send_message(details), got {value!r}")
    handlers: tuple[Any, ...] = (value,) if hasattr(value, "send_message") else tuple(value)
    for index, handler in enumerate(handlers):
        if isinstance(handler, type) or not callable(getattr(handler, "send_message", None)):
            hint = "an instance, not the class" if isinstance(handler, type) else "an object with send_message(details)"
            raise ConfigurationError(f"handlers[{index}] must be {hint}, got {handler!r}")
        if fault := _fault_of(handler.send_message):
            raise ConfigurationError(f"handlers[{index}]: send_message of {type(handler).__qualname__} {fault}")
    if len(handlers) > 1:
        _refuse_shared_names(handlers)
    for handler in handlers:
        if fallback_of(handler) is not None:
            refuse_circle(
                handler, {each.name: each for each in handlers if isinstance(getattr(each, "name", None), str)}
            )
    return handlers


FALLBACK_AFTER = "1h"
_FALLBACK_AFTER_S = 3600.0


def fallback_of(handler: object) -> Any:
    """Return a handler's reserve, as it was given: a name, or a handler; None for none.

    What a handler of another package calls so may be something else, and a mock has attributes of any name.
    """
    from inspect import getattr_static  # loaded by attrs

    if not hasattr(type(handler), "_destination") and getattr_static(handler, "fallback", None) is None:
        return None
    with suppress(Exception):  # the handler's boundary: its attributes may do anything
        given = getattr(handler, "fallback", None)
        return given if isinstance(given, str) or hasattr(given, "send_message") else None
    return None


def fallback_after_s(handler: object) -> float:
    """Return for how many seconds a handler tries before its reserve gets a message; an hour for a wrong value."""
    given = getattr(handler, "fallback_after", FALLBACK_AFTER)
    try:
        if not isinstance(given, str):
            return float(given)
        if given != FALLBACK_AFTER:
            from supervisor._schedules import duration_s

            return duration_s(given)
    except (ImportError, TypeError, ValueError):  # the installation may be gone by now
        pass
    return _FALLBACK_AFTER_S


def refuse_circle(handler: Any, named: Mapping[str, Any]) -> None:
    """Refuse reserves that lead back to a handler, or are more than two in a row.

    Args:
        handler: The handler.
        named: Handlers that a reserve may be given as the name of.

    Raises:
        ConfigurationError: It has such reserves.
    """
    way: list[Any] = [handler]
    while (given := fallback_of(way[-1])) is not None:
        following = named.get(given) if isinstance(given, str) else given
        names = " -> ".join(
            str(getattr(each, "name", each)) for each in (*way, given if following is None else following)
        )
        if any(is_same_destination(each, following) for each in way) or given == getattr(way[-1], "name", None):
            raise ConfigurationError(f"fallback: {names} is a circle; let one of them have no fallback")
        if following is None:
            return  # it is in the configuration
        way.append(following)
        if len(way) > _MOST_IN_A_ROW:
            raise ConfigurationError(
                f"fallback: {names} is too long; the fallback of a fallback is the last there may be"
            )


_MOST_IN_A_ROW = 3


def _refuse_shared_names(handlers: tuple[Any, ...]) -> None:
    """Refuse a name that was given to two destinations: what waits for one would be sent to the other.

    Raises:
        ConfigurationError: Two handlers have such a name.
    """
    by_name: dict[str, Any] = {}
    for index, handler in enumerate(handlers):
        if hasattr(type(handler), "_destination"):
            first = by_name.setdefault(handler.name, handler)
            is_given = handler._is_named_by_hand or first._is_named_by_hand  # noqa: SLF001 - kept from users' sight
            is_one_place = type(first) is type(handler) and first._destination == handler._destination  # noqa: SLF001 - kept from the sight of users
            if is_one_place and first._filters != handler._filters:  # noqa: SLF001 - kept from the sight of users
                what = "kinds" if kinds_of(first) != kinds_of(handler) else "errors"
                raise ConfigurationError(
                    f"handlers[{index}]: {handler.name!r} is in this list with other {what} already; give one handler "
                    f"all the {what} that this destination is to get"
                )
            if is_given and not is_one_place:
                raise ConfigurationError(
                    f"handlers[{index}]: the name {handler.name!r} is that of another destination in this list: "
                    f"{_place_of(first)} and {_place_of(handler)}; {_GIVE_OTHERS}"
                )


_GIVE_OTHERS = "give each a name of its own, since stored messages are sent by that name"


def _place_of(handler: Any) -> str:
    """Return where a handler of this package sends to, without secrets."""
    return f"{type(handler).__name__} ({handler._default_name})"  # noqa: SLF001 - kept from the sight of users


class _HasHandlers(Protocol):
    """The settings of a run."""

    @property
    def handlers(self) -> Sequence[MessageHandler]: ...


class NamesInUse:
    """The names that were given by hand to handlers of decorated functions and supervisors, as long as these exist.

    One that is made anew where the first was made takes its place, as after a token was renewed.
    """

    def __init__(self) -> None:
        self._users: dict[str, list[tuple[ref[_HasHandlers], str]]] = {}

    def add(self, settings: _HasHandlers, line: Callable[[], str]) -> None:
        """Note that settings are in use, until nothing holds them any more.

        Args:
            settings: With the handlers.
            line: Returns where in the script they stand.

        Raises:
            ConfigurationError: Another destination has one of the names.
        """
        self.refuse_others(settings, line)
        for handler in settings.handlers:
            if _is_named_by_hand(handler):
                self._users.setdefault(handler.name, []).append((ref(settings), line()))

    def refuse_others(self, settings: _HasHandlers, line: Callable[[], str]) -> None:
        """Refuse a name that other settings give to another destination.

        Raises:
            ConfigurationError: A handler has such a name.
        """
        for handler in settings.handlers if self._users else ():
            if not (_is_named_by_hand(handler) and self._other(handler, line())):
                continue
            import gc

            gc.collect()  # what only a circle of references holds is gone for the script
            if found := self._other(handler, line()):
                first, its_line = found
                raise ConfigurationError(
                    f"handlers: the name {handler.name!r} is that of two destinations: {_place_of(first)}, in use "
                    f"since {its_line}, and {_place_of(handler)}; {_GIVE_OTHERS}"
                )

    def _other(self, handler: Any, line: str) -> tuple[Any, str] | None:
        """Return a handler of the same name that sends elsewhere, and the line where it stands."""
        users = self._users.get(handler.name, [])
        users[:] = [each for each in users if each[0]() is not None]
        for settings, its_line in users:
            for other in getattr(settings(), "handlers", ()) if its_line != line else ():
                if getattr(other, "name", None) == handler.name and _sends_elsewhere(other, handler):
                    return other, its_line
        return None


def _is_named_by_hand(handler: object) -> TypeGuard[Any]:
    return hasattr(type(handler), "_destination") and handler._is_named_by_hand  # type: ignore[attr-defined]  # noqa: SLF001 - kept from the sight of users


def _sends_elsewhere(one: Any, other: Any) -> bool:
    """Tell whether of two handlers with one name both know where they send to, and that is not the same."""
    if not hasattr(type(one), "_destination"):
        return False
    return type(one) is not type(other) or one._destination != other._destination  # noqa: SLF001 - kept from the sight of users


def is_same_destination(one: object, other: object) -> bool:
    """Return whether two handlers are one destination: one object, or built anew with the same settings.

    Handlers of other packages count as one only where they are one object: that they compare equal may say nothing.
    """
    return one is other or (hasattr(type(one), "_destination") and one == other)


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


def kinds(value: str | Iterable[str] | None) -> frozenset[Kind]:
    """Return the kinds to report: the named ones, and those that are always reported."""
    if not value:
        return ALWAYS_REPORTED
    named = (value,) if isinstance(value, str) else value
    try:
        return ALWAYS_REPORTED | {Kind(each) for each in named}
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"report_on got {value!r}: {error}; the kinds are {', '.join(Kind)}") from error


def path(value: str | os.PathLike[str] | None) -> str | None:
    """Return the path as an absolute text: the script may change its directory before it fails."""
    if value is None or value == "":
        return None
    try:
        return os.path.abspath(os.fspath(value))  # noqa: PTH100 - pathlib costs 5 ms that most runs need not pay
    except TypeError as error:
        raise ConfigurationError(f"log_path must be a path (str or os.PathLike), got {value!r}") from error


def clean_name(value: str | None) -> str | None:
    """Return a name without secrets: it goes into subjects and paths, and may be made of a URL that has some."""
    if not isinstance(value, str) or _WORDS.fullmatch(value):
        return value  # a value that is no text is refused by the validator
    from supervisor._redaction import Redactor

    return Redactor().text(value)


def name(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise ConfigurationError(f"{attribute.name} must be a text that is not blank, got {value!r}")


def subject(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse a subject that names what there is not."""
    if value is None:
        return
    name(instance, attribute, value)
    from supervisor._messages.own_subject import check

    try:
        check(str(value))
    except ValueError as error:
        raise ConfigurationError(f"{attribute.name} got {value!r}: {error}") from error


def seconds(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse a value that is no positive number of seconds."""
    if value is None and attribute.default is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigurationError(f"{attribute.name} must be a number of seconds above 0, got {value!r}")


def seconds_or_zero(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ConfigurationError(f"{attribute.name} must be a number of seconds, 0 or more, got {value!r}")


def seconds_or_zero_or_none(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        seconds_or_zero(instance, attribute, value)


def count_or_duration(value: Any) -> Any:
    """Return a count as a number, also where a text has it, as environment variables do."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def failures_or_duration(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse anything but how many failures, or how long they last."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if value is not None and not is_count and not _is_duration(value):
        expected = 'a number of failures from 1 up, or a duration like "6h"'
        raise ConfigurationError(f"{attribute.name} must be {expected}, got {value!r}")


def duration_or_none(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse anything but a duration as text."""
    if value is not None and not _is_duration(value):
        raise ConfigurationError(f'{attribute.name} must be a duration like "1d" or "12h", got {value!r}')


def _is_duration(value: object) -> bool:
    from supervisor._schedules import duration_s

    try:
        return isinstance(value, str) and duration_s(value) > 0
    except ValueError:
        return False


def yes_or_no(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):  # the text "False" would count as True
        raise ConfigurationError(f"{attribute.name} must be True or False, got {value!r}")


def one_of(*known: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in known:
            raise ConfigurationError(f"{attribute.name} must be one of {', '.join(map(repr, known))}, got {value!r}")

    return check


def one_of_or_none(*known: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
    """Return a validator that takes None besides some words."""
    check = one_of(*known)

    def check_unless_none(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None:
            check(instance, attribute, value)

    return check_unless_none


def none_by_word(value: Any) -> Any:
    """Return None for the word "none", since a configuration file and a variable have no other way to say so."""
    return None if value == "none" else value


def exit_codes(setting: str, value: int | Iterable[int] | None) -> tuple[int, ...]:
    """Return one or several exit codes as a tuple, each once.

    Args:
        setting: The name of the setting, for the error.
        value: What was given for it; numbers as texts are what environment variables hold.
    """
    if value is None or value == ():
        return ()
    codes: tuple[Any, ...] = (value,) if isinstance(value, (int, str)) or not isinstance(value, Iterable) else (*value,)
    codes = tuple(int(each) if isinstance(each, str) and each.isascii() and each.isdigit() else each for each in codes)
    if not all(type(each) is int and 0 < each <= LAST_EXIT_CODE for each in codes):
        raise ConfigurationError(f"{setting} must be exit codes of 1-{LAST_EXIT_CODE}, got {value!r}")
    return tuple(dict.fromkeys(codes))


def warn_exit_codes(value: int | Iterable[int] | None) -> tuple[int, ...]:
    """Return the exit codes that are a warning."""
    return exit_codes("warn_exit_codes", value)


def captured(value: bool | str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Return the loggers to capture, "root" for all, each with its level if it has one; None for none."""
    if value is None or value is False:
        return None
    if value is True:
        return ("root",)
    names = (value,) if isinstance(value, str) else value
    try:
        names = tuple(dict.fromkeys(each or "root" for each in names))
    except TypeError as error:
        raise ConfigurationError(f"capture_logs must be True, False or names of loggers, got {value!r}") from error
    if not names or not all(isinstance(each, str) for each in names):
        raise ConfigurationError(f"capture_logs must be True, False or names of loggers, got {value!r}")
    for name, _, level in (each.partition("=") for each in names if "=" in each):
        if not name or level not in _LEVELS:
            known = ", ".join(_LEVELS)
            raise ConfigurationError(f'capture_logs takes a level as "parcels=DEBUG", of {known}; got {value!r}')
    return names


MOST_RETRIES = 100


def retries(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is no number of retries."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_RETRIES:
        raise ConfigurationError(f"{attribute.name} must be a whole number from 0 to {MOST_RETRIES}, got {value!r}")


def retry_on(value: type[Exception] | str | Iterable[type[Exception] | str]) -> tuple[type[Exception] | str, ...]:
    """Return the types of exceptions after which a function is called again, or the names of types."""
    given: tuple[Any, ...] = (value,) if isinstance(value, (type, str)) else ()
    try:
        given = given or tuple(value)  # type: ignore[arg-type]  # what is no iterable raises
    except TypeError:
        given = (value,)
    for each in given:
        if isinstance(each, type) and issubclass(each, BaseException) and not issubclass(each, Exception):
            raise ConfigurationError(
                f"retry_on: {each.__name__} ends a run at once, so nothing is tried again after it"
            )
        is_type = isinstance(each, type) and issubclass(each, Exception)
        is_name = isinstance(each, str) and all(part.isidentifier() for part in each.split("."))
        if not (is_type or is_name):
            raise ConfigurationError(f"retry_on must be types of exceptions, or their names, got {each!r}")
    if not given:
        raise ConfigurationError("retry_on names no exception; retries=0 tries nothing again")
    return given


def schedule(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse an invalid schedule here, in the script: `supervisor check` could only report it later and elsewhere."""
    if value is not None:
        from supervisor._schedules import parse_schedule

        parse_schedule(value)


def timezone(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse a time zone that nobody knows."""
    if value is None:
        return
    from supervisor._schedules import zone_named

    try:
        zone_named(value if isinstance(value, str) else repr(value))
    except ValueError as error:
        raise ConfigurationError(f"timezone got {value!r}: {error}") from error


def patterns(value: Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(value, (dict, Mapping)):  # the first is asked in a tenth of the time
        raise ConfigurationError(f"redact_patterns must be patterns by their names, got {value!r}")
    return MappingProxyType(dict(value))


def links(value: Mapping[str, str]) -> Mapping[str, str]:
    """Return addresses by their titles; what an address may name in braces is filled in when the run starts."""
    if not isinstance(value, (dict, Mapping)):
        raise ConfigurationError(f"links must be addresses by their titles, got {value!r}")
    if not value:
        return value
    from supervisor._text import is_address

    for title, url in value.items():
        if not isinstance(title, str) or not title.strip() or not isinstance(url, str) or not is_address(url):
            raise ConfigurationError(f"links must be web addresses by their titles, got {title!r}: {url!r}")
    return MappingProxyType(dict(value))


def names(value: str | Iterable[str]) -> frozenset[str]:
    try:
        return frozenset((value,) if isinstance(value, str) else value)
    except TypeError as error:
        raise ConfigurationError(f"redact_off must be names of what is redacted, got {value!r}") from error


def redaction(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuse patterns and names that the redactor does not accept, before the run starts."""
    if value:
        from supervisor._redaction import Redactor

        Redactor(**{attribute.name.removeprefix("redact_"): value})


def logger(value: logging.Logger | logging.LoggerAdapter[Any] | str | None) -> Any:
    """Return a logger; a text is the name of one."""
    if isinstance(value, str):
        import logging

        return logging.getLogger(value)
    if value is not None and not callable(getattr(value, "error", None)):
        raise ConfigurationError(f"logger must be a logging.Logger or the name of one, got {value!r}")
    return value


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


def gets_error(handler: object, error: ErrorDetails | None) -> bool:
    """Return whether a handler of this package gets the failures with this error, by ``errors`` and ``not_errors``.

    A group of exceptions counts for ``errors`` if one of them is of these types, for ``not_errors`` if all are. What
    failed without an exception is of no type. Handlers of other packages may have attributes of these names that mean
    something else, so they are not asked.
    """
    if error is None or not hasattr(type(handler), "_destination"):
        return True
    named: Any = handler
    if not named.errors and not named.not_errors:
        return True
    bases = error.bases or _bases_by_type(error.type)
    if named.not_errors and _is_one_of(named.not_errors, bases):
        return False
    return not named.errors or _is_one_of(named.errors, (*bases, *error.some_bases))


def _is_one_of(names: Iterable[str], bases: Iterable[str]) -> bool:
    """Return whether one of some full names of classes is named, in full or by its last parts."""
    wanted = {each.removeprefix("builtins.") for each in names}
    return any(base in wanted or any(base.endswith(f".{each}") for each in wanted) for base in bases)


def _bases_by_type(name: str) -> tuple[str, ...]:
    """Return what is known of a type by its name alone, as runs of earlier versions have it."""
    import builtins

    kind = getattr(builtins, name, None)
    if not isinstance(kind, type):
        return (name,)
    return tuple(each.__qualname__ for each in kind.__mro__ if each is not object)
