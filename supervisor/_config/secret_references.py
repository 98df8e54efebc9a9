"""Secrets in the options of handlers: references to them, their values, and which options are secrets by their name."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._config.search import is_file
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MASK = "********"
WAYS = '{ env = "NAME" }, { file = "PATH" } or { keyring = "SERVICE", user = "NAME" }'
MOST_BYTES = 100_000
_WORDS = frozenset({"env", "file", "keyring", "user"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@attrs.frozen(repr=False)
class Secret:
    """A secret: its value, which is never shown, or the place where it is kept.

    Args:
        way: "literal", "env", "file" or "keyring".
        what: The value; the name of an environment variable; an absolute path; the service in the keyring.
        user: The user name in the keyring; "" otherwise.
    """

    way: str
    what: Any
    user: str = ""

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __str__(self) -> str:
        if self.way == "literal":
            return MASK
        from supervisor._config.problems import quoted

        user = f", user = {quoted(self.user)}" if self.user else ""
        return f"{{ {self.way} = {quoted(self.what)}{user} }}"

    def value(self, environ: Mapping[str, str]) -> Any:
        """Return the value, looked up now.

        Raises:
            ConfigurationError: It cannot be found; the message says what is missing.
        """
        return self.what if self.way == "literal" else _LOOK_UP[self.way](self, environ)


def looks_like_reference(table: Mapping[str, Any]) -> bool:
    """Tell whether a table is a reference to a secret, valid or not."""
    return bool(table) and table.keys() <= _WORDS


def reference(table: Mapping[str, Any], folder: str) -> Secret:
    """Return the secret that a table refers to.

    Args:
        table: A table that :func:`looks_like_reference` accepts.
        folder: The folder to which a path is relative.

    Raises:
        ConfigurationError: The table is no valid reference. Its values are not quoted: they may be the secret.
    """
    way, *others = [each for each in ("env", "file", "keyring") if each in table] or [""]
    if others or not way or ("user" in table) != (way == "keyring"):
        raise ConfigurationError(f"must be one of {WAYS}, got the keys {', '.join(sorted(table))}")
    if not all(isinstance(each, str) and each.strip() and "\0" not in each for each in table.values()):
        raise ConfigurationError(f"{' and '.join(sorted(table))} must be a text that is not blank")
    what = table[way]
    if way == "env" and not _VARIABLE.fullmatch(what):
        raise ConfigurationError("env takes the name of an environment variable, and what stands there is none")
    if way == "file":
        what = absolute(what, folder)
    return Secret(way, what, table.get("user", ""))


def absolute(path: str, folder: str) -> str:
    """Return the absolute path for a path in a file, which may begin with ``~`` or be relative to that file."""
    return os.path.abspath(os.path.join(folder, os.path.expanduser(path)))  # noqa: PTH100, PTH111, PTH118 - the result is to be text, not a Path


def _from_environment(secret: Secret, environ: Mapping[str, str]) -> str:
    value = environ.get(secret.what)
    if value is None or not value.strip():
        raise ConfigurationError(f"environment variable {secret.what} is {'not set' if value is None else 'blank'}")
    return value


def _from_file(secret: Secret, environ: Mapping[str, str]) -> str:
    path = secret.what
    try:
        if not is_file(path):
            os.stat(path)  # noqa: PTH116 - raises the reason
            raise OSError("is no regular file")
        with open(path, encoding="utf-8-sig", newline="") as file:  # noqa: PTH123 - the path is text
            value = file.read(MOST_BYTES + 1).rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError(f"file {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"file {path} is not UTF-8") from None  # the original error quotes the secret
    if not value.strip() or len(value) > MOST_BYTES:
        raise ConfigurationError(f"file {path} is {'larger than a secret is' if value.strip() else 'empty'}")
    return value


def _from_keyring(secret: Secret, environ: Mapping[str, str]) -> str:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError as error:
        raise ConfigurationError("the keyring needs keyring: pip install 'agrc-supervisor[keyring]'") from error
    service, user = secret.what, secret.user
    try:
        value: str | None = keyring.get_password(service, user)
    except (KeyringError, RuntimeError) as error:  # the backend is locked, or there is none
        raise ConfigurationError(f"the keyring cannot be used: {' '.join(str(error).split())}") from error
    if value is None or not value.strip():
        raise ConfigurationError(f"the keyring has nothing for {user!r} in {service!r}: keyring set {service} {user}")
    return value


_LOOK_UP: dict[str, Callable[[Secret, Mapping[str, str]], str]] = {
    "env": _from_environment,
    "file": _from_file,
    "keyring": _from_keyring,
}


_SECRET = frozenset(
    {
        "api_key", "headers", "oauth2_token", "password", "ping_key", "ping_url", "secret", "token", "url", "urls",
        "uuid", "webhook_url",
    }
)  # fmt: skip
_HARMLESS = frozenset(
    {
        "base_url", "bcc", "ca_file", "cc", "channel", "client_name", "client_version", "from_address", "host", "kinds",
        "late_after_s", "limit_bytes", "name", "prefix", "security", "slug", "smtp_port", "smtp_server", "smtpPort",
        "smtpServer", "stream", "timeout_s", "to_addresses", "type", "username", "verify_certificate",
    }
)  # fmt: skip
_CLOSE = 0.75
_LONG = 10


def hides(name: str) -> bool:
    """Tell whether an option is a secret, by its name or by a similar one, so that its value is never shown.

    The value of a misspelt ``api_kye`` is not shown either. A mapping counts as a whole: any of the ``headers`` may be
    secret.
    """
    if name in _HARMLESS or name in _SECRET:
        return name in _SECRET
    lower = name.lower()
    return lower.endswith(("url", "urls", "uri")) or _is_secret(name) or _is_nearly_secret(lower)


def is_credential(key: tuple[str, ...], value: object) -> bool:
    """Tell whether a hidden value is probably a secret, so that a file with it should not be readable by others.

    Args:
        key: The name of the option, and the names within it.
        value: The value.
    """
    name, *inner = key
    if value in {"", None}:
        return False
    if name == "headers" and inner:
        return _is_secret(inner[-1])
    return name != "url" or _has_more_than_a_path(str(value))


def _has_more_than_a_path(url: str) -> bool:
    """Tell whether a webhook's URL has a user, a query, or a path component that looks like a key."""
    parts = url.partition("://")[2].split("/")[1:]
    return "@" in url or "?" in url or any(len(each) >= _LONG and not each.isalpha() for each in parts)


def takes_text(name: str) -> bool:
    """Tell whether an option of our own handlers is a secret that must be a text."""
    return name in _SECRET and name != "headers"


def _is_secret(name: str) -> bool:
    from supervisor._redaction.secret_names import secret_kind

    return secret_kind(name) is not None


def _is_nearly_secret(name: str) -> bool:
    from difflib import get_close_matches

    return bool(get_close_matches(name, _SECRET, n=1, cutoff=_CLOSE))
