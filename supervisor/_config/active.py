"""What the configuration says, for the runs and commands of this process: it is looked for once.

Named handlers are built here. One that cannot be built stands in its own place and refuses every message, with the
reason: so the reason is in the log and in ``supervisor outbox``, the messages wait to be retried, and the other
handlers work.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from supervisor import _log
from supervisor._config import Configuration, load
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.settings import Settings, settings_from

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._models.values import MessageDetails, MessageHandler
    from supervisor._redaction import Redactor

_lock = threading.Lock()
_found: Configuration | None = None
_built: dict[str, Any] = {}
_is_command = False
_script_of_command: str | None = None


class UnusableHandler:
    """Stands for a named handler that cannot be built, and refuses every message with the reason.

    Args:
        name: The name of the handler.
        reason: What is wrong with it, and how to mend it.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    def __repr__(self) -> str:
        return f"<handler {self.name!r}, which cannot be built: {self.reason}>"

    def send_message(self, details: MessageDetails) -> None:  # noqa: ARG002 - a handler's signature
        """Refuse the message.

        Raises:
            DeliveryError: Always; the message stays in the outbox as failed.
        """
        raise DeliveryError(self.reason, permanent=True)


def configuration() -> Configuration:
    """Return what files and environment say to this process; what is wrong with it is logged, once."""
    global _found  # noqa: PLW0603 - the configuration of the process
    if _found is None:
        with _lock:
            if _found is None:
                found = load(_script())
                for problem in (*found.problems, *found.warnings):
                    _log.warning("configuration: %s", problem)
                _found = found
    return _found


def look_from_working_directory() -> None:
    """Search upwards from the working directory: for the commands, whose own file stands in no project."""
    global _is_command  # noqa: PLW0603 - as above
    _is_command = True
    forget()


def look_from(script: str | None) -> None:
    """Search upwards from a script that this process only starts; None means from the working directory."""
    global _script_of_command  # noqa: PLW0603 - as above
    _script_of_command = script
    look_from_working_directory()


def forget() -> None:
    """Look for the configuration again when it is next asked for."""
    global _found  # noqa: PLW0603 - as above
    with _lock:
        _found = None
        _built.clear()


def settings_for(arguments: tuple[Any, ...], options: dict[str, Any]) -> Settings:
    """Return the settings of a run: what the script says, over what is configured for runs of its name.

    Raises:
        ConfigurationError: The script names a setting that there is not, or gives one a wrong value.
    """
    known = configuration()
    if known.settings or known.runs:
        from supervisor._exceptions import script_name

        name = (arguments[0] if arguments else options.get("name")) or script_name()
        options = {**known.for_run(name if isinstance(name, str) else None), **options}
    if "handlers" in options:
        options = {**options, "handlers": with_names_resolved(options["handlers"])}
    return settings_from(arguments, options)


def with_names_resolved(handlers: Any) -> Any:
    """Return handlers with each text among them replaced by the handler of that name; the rest is left as it is."""
    if isinstance(handlers, str):
        return (named(handlers),)
    if not isinstance(handlers, (tuple, list, set, frozenset)):
        return handlers
    return tuple(named(each) if isinstance(each, str) else each for each in handlers)


def handlers_for(name: str | None) -> tuple[MessageHandler, ...]:
    """Return the handlers that are configured for the runs of a name, or for all runs with None."""
    names: Iterable[str] = configuration().for_run(name).get("handlers", ())
    return tuple(named(each) for each in names)


def named(name: str) -> MessageHandler:
    """Return the configured handler of a name; the same object each time, so that its connection is used again."""
    known = configuration()
    with _lock:
        if name not in _built:
            _built[name] = _build(known, name)
        handler: MessageHandler = _built[name]
    return handler


def redactor() -> Redactor:
    """Return what takes secrets out for commands: it knows all configured handlers, and the patterns of all runs.

    Raises:
        ConfigurationError: A pattern is no regular expression.
    """
    from supervisor._redaction import redactor_for

    known = configuration()
    patterns: dict[str, str] = {}
    for settings in (*known.runs.values(), known.settings):
        patterns |= settings.get("redact_patterns") or {}
    return redactor_for([named(name) for name in known.handlers], patterns, known.settings.get("redact_off") or ())


def _build(known: Configuration, name: str) -> Any:
    from supervisor._config import build
    from supervisor.message_handlers._schemes import handler_class

    try:
        return build(known.spec(name), handler_class)
    except ConfigurationError as error:
        _log.warning("the handler %r cannot be built: %s", name, error)
        return UnusableHandler(name, str(error))


def _script() -> str | None:
    """Return the file of the program that runs, or None where it has none, or is a command of ours."""
    if _is_command:
        return _script_of_command
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return path if isinstance(path, str) and os.path.isfile(path) else None  # noqa: PTH113 - pathlib costs 3 ms
