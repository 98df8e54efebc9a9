"""The named handlers of a configuration, the secrets in their options, and how a handler is built of them.

A secret is a reference to where its value is, which is looked up when the handler is built; some options are secrets by
their name. The caller hands in the registry of handler types: the configuration does not import the handlers.
"""

from __future__ import annotations

import os
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._config.checks import ConfigurationProblems, Problem, dotted, suggestion, without_secrets
from supervisor._config.search import absolute, is_file
from supervisor._config.toml_file import Origin
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

# Secrets

MASK = "********"
WAYS = '{ env = "NAME" }, { file = "PATH" }, { file = "PATH", key = "NAME" } or { keyring = "SERVICE", user = "NAME" }'
MOST_BYTES = 100_000
_WORDS = frozenset({"env", "file", "key", "keyring", "user"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@attrs.frozen(repr=False)
class Secret:
    """A secret: its value, which is never shown, or the place where it is kept.

    Args:
        way: "literal", "env", "file" or "keyring".
        what: The value; the name of an environment variable; an absolute path; the service in the keyring.
        user: The user name in the keyring; "" otherwise.
        key: Where in the file it is, if that is JSON or TOML: keys from the outside in, with dots between; "" for a
            file that holds nothing else.
    """

    way: str
    what: Any
    user: str = ""
    key: str = ""

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __str__(self) -> str:
        if self.way == "literal":
            return MASK
        from supervisor._config.checks import quoted

        more = (("user", self.user), ("key", self.key))
        others = "".join(f", {name} = {quoted(text)}" for name, text in more if text)
        return f"{{ {self.way} = {quoted(self.what)}{others} }}"

    def value(self, environ: Mapping[str, str]) -> Any:
        """Return the value, looked up now.

        Raises:
            ConfigurationError: It cannot be found; the message says what is missing.
        """
        return self.what if self.way == "literal" else _LOOK_UP[self.way](self, environ)


def looks_like_reference(table: Mapping[str, Any]) -> bool:
    """Tell whether a table is a reference to a secret, valid or not."""
    return bool(table) and table.keys() <= _WORDS and table.keys() != {"key"}


def reference(table: Mapping[str, Any], folder: str) -> Secret:
    """Return the secret that a table refers to.

    Args:
        table: A table that :func:`looks_like_reference` accepts.
        folder: The folder to which a path is relative.

    Raises:
        ConfigurationError: The table is no valid reference. Its values are not quoted: they may be the secret.
    """
    way, *others = [each for each in ("env", "file", "keyring") if each in table] or [""]
    if others or not way or ("user" in table) != (way == "keyring") or ("key" in table and way != "file"):
        raise ConfigurationError(f"must be one of {WAYS}, got the keys {', '.join(sorted(table))}")
    if not all(isinstance(each, str) and each.strip() and "\0" not in each for each in table.values()):
        raise ConfigurationError(f"{' and '.join(sorted(table))} must be a text that is not blank")
    what = table[way]
    if way == "env" and not _VARIABLE.fullmatch(what):
        raise ConfigurationError("env takes the name of an environment variable, and what stands there is none")
    if way == "file":
        what = absolute(what, folder)
    return Secret(way, what, table.get("user", ""), table.get("key", ""))


def _from_environment(secret: Secret, environ: Mapping[str, str]) -> str:
    value = environ.get(secret.what)
    if value is None or not value.strip():
        raise ConfigurationError(f"environment variable {secret.what} is {'not set' if value is None else 'blank'}")
    return value


def _from_file(secret: Secret, environ: Mapping[str, str]) -> str:
    path = secret.what
    text = _text_of(path)
    if not secret.key:
        return text
    found = _at(_document(path, text), secret.key)
    if isinstance(found, bool) or not isinstance(found, (str, int, float)) or not str(found).strip():
        what = "has nothing" if found is None else "has no text, or a blank one,"
        raise ConfigurationError(f"file {path} {what} at the key {secret.key!r}")
    return str(found)


def _text_of(path: str) -> str:
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


def _document(path: str, text: str) -> Any:
    """Return what a file with several secrets holds, by the ending of its name."""
    ending = path.rpartition(".")[2].lower()
    try:
        if ending == "json":
            import json

            return json.loads(text)
        if ending == "toml":
            import tomllib

            return tomllib.loads(text)
    except (ValueError, RecursionError):
        raise ConfigurationError(f"file {path} is no valid {ending.upper()}") from None  # the error quotes the secret
    raise ConfigurationError(f"file {path} must end in .json or .toml, since a key of it is asked for")


def _at(document: Any, key: str) -> Any:
    """Return what a document has at a key; of a key with dots, what has that very name comes first."""
    if not isinstance(document, dict):
        return None
    if key in document:
        return document[key]
    head, dot, rest = key.partition(".")
    while dot:
        if head in document and (found := _at(document[head], rest)) is not None:
            return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None


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


# Which options are secrets

_SECRET = frozenset(
    {
        "api_key", "headers", "oauth2", "oauth2_token", "password", "ping_key", "ping_url", "secret", "token", "url",
        "urls", "uuid", "webhook_url",
    }
)  # fmt: skip
_HARMLESS = frozenset(
    {
        "base_url", "bcc", "ca_file", "cc", "channel", "client_name", "client_version", "errors", "fallback",
        "fallback_after", "from_address", "host", "kinds", "late_after_s", "limit_bytes", "name", "not_errors",
        "prefix", "quiet", "security", "slug", "smtpPort", "smtpServer", "smtp_port", "smtp_server", "stream",
        "timeout_s", "to_addresses", "type", "urgent", "username", "verify_certificate",
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
    if name in {"headers", "oauth2"} and inner:
        return _is_secret(inner[-1])
    return name != "url" or _has_more_than_a_path(str(value))


def _has_more_than_a_path(url: str) -> bool:
    """Tell whether a webhook's URL has a user, a query, or a path component that looks like a key."""
    parts = url.partition("://")[2].split("/")[1:]
    return "@" in url or "?" in url or any(len(each) >= _LONG and not each.isalpha() for each in parts)


def takes_text(name: str) -> bool:
    """Tell whether an option of our own handlers is a secret that must be a text."""
    return name in _SECRET and name not in {"headers", "oauth2"}


def _is_secret(name: str) -> bool:
    from supervisor._redaction.secret_names import secret_kind

    return secret_kind(name) is not None


def _is_nearly_secret(name: str) -> bool:
    from difflib import get_close_matches

    return bool(get_close_matches(name, _SECRET, n=1, cutoff=_CLOSE))


# Handlers

WITHOUT_SETTINGS = frozenset({"console"})
"""The types of handlers that need no table: their type serves as their name."""


def _names(value: Mapping[str, Any]) -> str:
    return f"<{', '.join(value)}>"  # a value may be a secret, a name is not


@attrs.frozen(kw_only=True)
class HandlerSpec:
    """A named handler: its type and options.

    Args:
        name: Its name: that of its table.
        type: Its type: "email", "slack", or one that another package offers.
        options: Its keyword arguments, with a :class:`Secret` for each secret.
        origin: The place of its table.
        origins: The place of each option, and of "type".
    """

    name: str
    type: str
    options: Mapping[str, Any] = attrs.field(factory=lambda: MappingProxyType({}), repr=_names)
    origin: Origin = attrs.field(factory=Origin, repr=False, eq=False)
    origins: Mapping[str, Origin] = attrs.field(factory=lambda: MappingProxyType({}), repr=False, eq=False)

    def resolved(self, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
        """Return the options with the values of their secrets, which are looked up now.

        Raises:
            ConfigurationProblems: Secrets are missing; it names all of them.
        """
        found: dict[str, Any] = {}
        problems = []
        for option, value in self.options.items():
            try:
                found[option] = _resolved(value, environ)
            except ConfigurationError as error:
                problems.append(self.problem(f"{option} is missing: {error}", option))
        if problems:
            raise ConfigurationProblems(problems)
        return found

    def problem(self, text: str, option: str = "") -> Problem:
        """Return a problem of this handler, with the place of the option, or else of its table."""
        key = dotted(("handlers", self.name))
        origin = self.origins.get(option, self.origin)
        return Problem(f"[{key}] {text}", origin.file, origin.line, f"{key}.{dotted((option,))}" if option else key)


def without_table(name: str) -> HandlerSpec | None:
    """Return the handler of a type that needs no table; None if the name is no such type."""
    return HandlerSpec(name=name, type=name) if name in WITHOUT_SETTINGS else None


def _resolved(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, Secret):
        return value.value(environ)
    if isinstance(value, dict):
        return {key: _resolved(inner, environ) for key, inner in value.items()}
    return [_resolved(each, environ) for each in value] if isinstance(value, list) else value


def build(spec: HandlerSpec, find: Callable[[str], Any], environ: Mapping[str, str] = os.environ) -> Any:
    """Build the handler that a configuration describes.

    Its ``name`` is that of its table, unless it has an option ``name`` or takes no name.

    Args:
        spec: The type and the options.
        find: Returns the class of a type, and raises ``ConfigurationError`` for an unknown one.
        environ: The environment in which secrets are looked up.

    Raises:
        ConfigurationProblems: The type is unknown, an option is misspelt, a secret is missing, or the class raised an
            exception. Each has its file and line.
    """
    try:
        maker = find(spec.type)
    except ConfigurationError as error:
        raise ConfigurationProblems([spec.problem(str(error), "type")]) from error
    names = options_of(maker)
    if names is not None:
        check_options(spec, names)
    options = spec.resolved(environ)
    if names is None or "name" in names:
        options.setdefault("name", spec.name)
    try:
        return maker(**options)
    except Exception as error:  # noqa: BLE001 - the handler's boundary: its class may be from another package
        # Without the cause: its text may quote a secret that was removed from this one.
        raise ConfigurationProblems([spec.problem(_without_secrets(error, spec, options))]) from None


def check_options(spec: HandlerSpec, fields: Iterable[str | attrs.Attribute[Any]]) -> None:
    """Refuse options that a handler does not take.

    Args:
        spec: The type and the options.
        fields: The known options: names, or the fields of an attrs class.

    Raises:
        ConfigurationProblems: There are unknown options; it suggests similar ones.
    """
    known = set(_option_names(fields))
    problems = [
        spec.problem(f"there is no option {each!r} for handlers of type {spec.type!r}; {suggestion(each, known)}", each)
        for each in spec.options
        if each not in known
    ]
    if problems:
        raise ConfigurationProblems(problems)


def options_of(maker: Any) -> Collection[str] | None:
    """Return the options that a class or function takes by keyword; None if it takes any, or has no signature."""
    fields = getattr(maker, "__attrs_attrs__", None)
    if fields is not None:
        return tuple(_option_names(fields))
    import inspect

    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    return tuple(each.name for each in parameters if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY})


def _option_names(fields: Iterable[str | attrs.Attribute[Any]]) -> Iterator[str]:
    """Yield the names of options. A private field is an option only if it has an explicit alias."""
    for field in fields:
        if isinstance(field, str):
            yield field
        elif field.init and field.alias != (field.name.lstrip("_") if field.name.startswith("_") else None):
            yield field.alias or field.name


def _without_secrets(error: Exception, spec: HandlerSpec, options: Mapping[str, Any]) -> str:
    from supervisor._redaction import Redactor

    secrets = {text for name, value in spec.options.items() for text in _hidden(value, options[name])}
    return without_secrets(Redactor(frozenset(secrets)).text(str(error) or type(error).__name__))


def _hidden(described: Any, value: Any) -> Iterator[str]:
    """Yield the values of an option that the configuration marks as secrets."""
    if isinstance(described, Secret):
        yield str(value)
    elif isinstance(described, dict):
        for key, inner in described.items():
            yield from _hidden(inner, value[key])
    elif isinstance(described, list):
        for inner, each in zip(described, value, strict=True):
            yield from _hidden(inner, each)
