"""What is configured, for commands: schedules, handlers built one by one, and the remedies for errors in sending."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

import attrs

from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from supervisor._alerts.evaluation import ConfiguredSchedule, View
    from supervisor._config.checks import Problem
    from supervisor._config.configuration import Configuration
    from supervisor._store.sqlite import JournalReader


@attrs.frozen(kw_only=True)
class BuiltHandler:
    """A configured handler, or the problems that keep it from being built.

    Args:
        name: The name of its table.
        type: Its type ("email"); "" if unknown.
        handler: The handler; None if it cannot be built.
        problems: Why it cannot be built.
    """

    name: str
    type: str = ""
    handler: Any = attrs.field(default=None, repr=False)
    problems: tuple[Problem, ...] = ()


def configuration(script: str | None = None) -> Configuration:
    """Return the configuration of files and environment.

    Args:
        script: The script to search upwards from. None searches from the working directory: the folder of the running
            program, `supervisor` itself, is of no interest.
    """
    from supervisor._config import load

    return load(script)


def current_view(reader: JournalReader, now: datetime) -> View:
    """Return what a check would know now of runs and schedules; nothing is written to the journal."""
    from time import monotonic

    from supervisor._alerts.evaluation import view_of
    from supervisor._config import active

    return view_of(reader, configured_schedules(active().loaded), now, monotonic())


def configured_schedules(configuration: Configuration) -> dict[str, ConfiguredSchedule]:
    """Return the schedules that the configuration has, by the names of the runs."""
    from supervisor._alerts.evaluation import ConfiguredSchedule
    from supervisor._schedules import with_zone

    settings = {name: configuration.for_run(name) for name in configuration.runs}
    return {
        name: ConfiguredSchedule(
            schedule=with_zone(each["schedule"], each.get("timezone")), grace_s=each.get("grace_s")
        )
        for name, each in settings.items()
        if each.get("schedule")
    }


def handler_names(known: Configuration) -> tuple[str, ...]:
    """Return the names of all handlers that are configured or referred to, invalid ones included."""
    asked = [name for each in (known.settings, *known.runs.values()) for name in each.get("handlers", ())]
    return tuple(dict.fromkeys([*known.handlers, *sorted(known.unusable), *asked]))


def built_handler(known: Configuration, name: str) -> BuiltHandler:
    """Build a handler of the configuration; the result has the handler, or its problems."""
    from supervisor._config.checks import ConfigurationProblems, Problem
    from supervisor._config.handler_specs import build
    from supervisor.message_handlers._registry import handler_class

    kind = known.handlers[name].type if name in known.handlers else ""
    try:
        spec = known.spec(name)
        kind = spec.type
        return BuiltHandler(name=name, type=kind, handler=build(spec, handler_class))
    except ConfigurationProblems as error:
        return BuiltHandler(name=name, type=kind, problems=error.problems)
    except ConfigurationError as error:
        return BuiltHandler(name=name, type=kind, problems=(Problem(str(error)),))
    except Exception as error:  # noqa: BLE001 - the handler's boundary: its class may be from another package
        text = f"the handler {name!r} cannot be built: {safe_error_text(error)}"
        return BuiltHandler(name=name, type=kind, problems=(Problem(text),))


def safe_error_text(error: BaseException) -> str:
    """Return the text of any exception, with everything that looks like a secret redacted."""
    from supervisor._exceptions import safe_text
    from supervisor._redaction import Redactor

    text = safe_text(error)
    return Redactor().text(f"{type(error).__name__}: {text}" if text else type(error).__name__)


@contextmanager
def logging_silenced(*, all_of_stdout: bool = False) -> Iterator[None]:
    """Keep the log of supervisor off the terminal while a command reports results itself.

    Args:
        all_of_stdout: True sends what handlers print to stderr, because stdout is for one JSON document.
    """
    logger, nobody = logging.getLogger("supervisor"), logging.NullHandler()
    logger.addHandler(nobody)  # without any handler, Python prints warnings to stderr
    try:
        with redirect_stdout(sys.stderr) if all_of_stdout else nullcontext():
            yield
    finally:
        logger.removeHandler(nobody)


_REMEDIES: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "The name of the host is not known here: check its spelling, and this machine's DNS."),
    (
        ssl.SSLCertVerificationError,
        "The certificate is not trusted: check the host's name, or trust your own authority (ca_file, SSL_CERT_FILE).",
    ),
    (ssl.SSLError, "The two could not agree on TLS: check the port, and for e-mail `security`."),
    (ConnectionRefusedError, "Nothing listens there: check host and port, and whether the server runs."),
    (TimeoutError, "No answer came: check host and port; a firewall may block connections from this machine."),
    (ConnectionResetError, "The other side hung up: check the port, and whether it expects TLS."),
    (ImportError, "Install what is missing."),
)
_BY_WORDS = (
    ("535", "Check the user name and the password."),
    ("401", "Check the key or token: it may be misspelt, revoked or expired."),
    ("403", "Check what the key or token is allowed to do, and the address of the sender."),
)
_MOST = 20


def remedy_for(error: BaseException) -> str:
    """Return the remedy for the cause of an error; "" if its own text has to suffice."""
    causes = list(_causes(error))
    for kind, text in _REMEDIES:
        if any(isinstance(each, kind) for each in causes):
            return text
    said = str(error)
    if ";" in said:  # the text contains a remedy
        return ""
    return next((text for word, text in _BY_WORDS if word in said.split()), "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    each: BaseException | None = error
    for _ in range(_MOST):
        if each is None:
            return
        yield each
        each = each.__cause__ or each.__context__
