"""The table ``[fleet]`` of the configuration, and what each of its settings may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

SENDABLE = ("values", "error", "argv", "log_tail", "traceback")
"""What ``send`` may name. Of each run are sent its name, times and outcome, and what it used of the machine.

values: What it recorded, its progress, its steps. error: What went wrong and what it was warned of, without source code
and local variables. argv: Its command line, its user and the path of its log. log_tail: The last lines of its own log,
unless it succeeded. traceback: The traceback, and what else an error shows of source code and local variables.
"""
DEFAULT_SEND = ("values", "error", "argv", "log_tail")
REPLICATE = ("check", "end", "off")
TLS = ("verify-full", "verify-ca", "require", "disable")


class SecretText(Protocol):
    """A secret that is looked up when it is needed."""

    def value(self, environ: Mapping[str, str]) -> Any:
        """Return it.

        Raises:
            ConfigurationError: It is not where it should be.
        """


def _one_of(*known: str) -> Any:
    def check(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if value not in known:
            raise ConfigurationError(f"{field.name} must be one of {', '.join(map(repr, known))}, got {value!r}")

    return check


def _some_of(*known: str) -> Any:
    def check(_: Any, field: attrs.Attribute[Any], value: tuple[Any, ...]) -> None:
        for each in value:
            if each not in known:
                raise ConfigurationError(f"{field.name} must list some of {', '.join(known)}, got {each!r}")

    return check


def _texts(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _seconds(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is None and field.default is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 10 * 366 * 86_400:
        raise ConfigurationError(f"{field.name} must be a number of seconds above 0, got {value!r}")


def _name(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is None and field.default is None:
        return
    if not isinstance(value, str) or not value.strip() or len(value) > _NAME_LIMIT:
        raise ConfigurationError(f"{field.name} must be a text of 1-{_NAME_LIMIT} characters, got {value!r}")


_NAME_LIMIT = 200


@attrs.frozen(kw_only=True)
class FleetSettings:
    """Where the fleet's database is, and what of this machine goes there.

    Args:
        url: ``postgresql://user:password@host/database``; a secret.
        environment: Names of scripts are unique within one. Default: the profile, or "default".
        host: What people call this machine. Default None: its own name.
        replicate: When the journal's runs go there: "check" (by ``supervisor check``), "end" (of each run, too), "off".
        deadline_s: The longest that a job waits for the fleet, once, at its end, in seconds.
        tls: How the server must prove who it is: "verify-full", "verify-ca", "require" (not at all), "disable". A
            socket needs none.
        ca_file: The certificates that count. Default None: the system's.
        send: What may leave the machine: some of ``SENDABLE``.
        expect_every_s: How often this machine checks in, at least, in seconds. Default None: it is not missed.

    Raises:
        ConfigurationError: One of them is wrong.
    """

    url: Any = attrs.field(repr=False)
    environment: str = attrs.field(default="default", validator=_name)
    host: str | None = attrs.field(default=None, validator=_name)
    replicate: str = attrs.field(default="check", validator=_one_of(*REPLICATE))
    deadline_s: float = attrs.field(default=2.0, validator=_seconds)
    tls: str = attrs.field(default="verify-full", validator=_one_of(*TLS))
    ca_file: str | None = attrs.field(default=None, validator=_name)
    send: tuple[str, ...] = attrs.field(default=DEFAULT_SEND, converter=_texts, validator=_some_of(*SENDABLE))
    expect_every_s: float | None = attrs.field(default=None, validator=_seconds)

    def address(self, environ: Mapping[str, str]) -> str:
        """Return the URL, looked up now.

        Raises:
            ConfigurationError: It is not where it should be.
        """
        found = self.url.value(environ) if hasattr(self.url, "value") else self.url
        return str(found).strip()


FIELDS = tuple(each.name for each in attrs.fields(FleetSettings))
_NUMBERS = ("deadline_s", "expect_every_s")
_LISTS = ("send",)


def from_text(name: str, text: str) -> Any:
    """Return the value of a setting as an environment variable has it; a list has commas between its items."""
    if name in _LISTS:
        return [each.strip() for each in text.split(",") if each.strip()]
    if name in _NUMBERS:
        try:
            return float(text)
        except ValueError:
            return text  # which is refused by its name
    return text
