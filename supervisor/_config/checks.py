"""Check what a configuration says of settings, and describe its mistakes, each with its place and its remedy."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._config.search import absolute
from supervisor._settings import Settings
from supervisor._text import one_line
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Key = tuple[str, ...]
"""The key of a value: the names of the tables around it, and its own."""

_LONGEST = 500
_ESCAPES = {code: f"\\u{code:04X}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_ESCAPES |= {ord('"'): '\\"', ord("\\"): "\\\\", ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


def _one_line(text: str) -> str:
    return one_line(text, _LONGEST)


@attrs.frozen
class Problem:
    """One mistake.

    Args:
        text: What is wrong, the evidence and the remedy, without secrets; it is shortened to one line.
        file: The file that it is in; "" for an environment variable.
        line: The line; None if unknown.
        key: The key as it is written in TOML, or the environment variable; "" for the whole file.
    """

    text: str = attrs.field(converter=_one_line)
    file: str = ""
    line: int | None = None
    key: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.text}" if place else self.text


class ConfigurationProblems(ConfigurationError):  # noqa: N818 - it holds several mistakes
    """All mistakes of a configuration at once.

    Args:
        problems: The mistakes, at least one.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(each) for each in self.problems]
        several = f"there are {len(lines)} mistakes in the configuration:"
        super().__init__(lines[0] if len(lines) == 1 else "\n- ".join((several, *lines)))


class ProblemCollector:
    """Collects mistakes and warnings while a configuration is read."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []


def dotted(key: Key) -> str:
    """Return a key as it is written in TOML: ``runs."nightly parcels".handlers``."""
    return ".".join(each if _is_bare(each) else quoted(each) for each in key)


def quoted(text: str) -> str:
    """Return a text as it is written in TOML, on one line."""
    return f'"{text.translate(_ESCAPES)}"'


def suggestion(name: str, known: Collection[str]) -> str:
    """Return a hint for a misspelt name: the most similar known name, or else all known names."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are {', '.join(sorted(known))}" if known else "there are none"


def without_secrets(text: str) -> str:
    """Return a text that quotes a user's input with everything that looks like a secret redacted."""
    from supervisor._redaction import Redactor

    return Redactor().text(text)


def _is_bare(text: str) -> bool:
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum()


NONE = "none"
FIELDS = {each.name: each for each in attrs.fields(Settings) if each.init and each.name != "name"}
"""All settings except the name: only the script gives it, since it selects one of ``[runs.NAME]``."""

_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0"})
_NUMBERS = frozenset({"float", "int"})
_SEVERAL = frozenset({"Collection", "Iterable", "Sequence", "frozenset", "list", "set", "tuple"})
_TABLES = frozenset({"Mapping", "dict"})


def checked(name: str, value: Any, folder: str | None = None) -> Any:
    """Return the value of a setting in the form that :class:`Settings` takes.

    Args:
        name: One of :data:`FIELDS`.
        value: The value in the file. "none" means None, for which TOML has no value, if the setting can be None.
        folder: The folder to which a path is relative; None for the working directory.

    Raises:
        ConfigurationError: ``Settings`` would refuse it.
    """
    if name == "handlers":
        return _names(value)
    if value == NONE and "None" in _words(name):
        return None
    if folder is not None and name.endswith("_path") and isinstance(value, str) and value:
        value = absolute(value, folder)
    value = tuple(value) if isinstance(value, list) else value
    try:
        Settings(**{name: value})
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name} cannot be {value!r}: {error}") from error
    return value


def from_text(name: str, text: str) -> Any:
    """Return the value of a setting from the text of an environment variable.

    Raises:
        ConfigurationError: The text has no such value, or ``Settings`` would refuse it.
    """
    words = _words(name)
    if text.lower() == NONE and "None" in words:
        return None
    if words & _SEVERAL:
        return checked(name, [each.strip() for each in text.split(",") if each.strip()])
    if "bool" in words:
        return checked(name, _yes_or_no(name, text))
    if words & _NUMBERS and "str" not in words:
        return checked(name, _number(name, text))
    if "Literal" in words:
        return checked(name, text.lower())
    return checked(name, os.path.expanduser(text) if name.endswith("_path") else text)  # noqa: PTH111 - the result is to be text, not a Path


def has_variable(name: str) -> bool:
    """Tell whether an environment variable can give a setting: a table does not fit into one."""
    return not _words(name) & _TABLES


def unknown_setting(name: str) -> str:
    """Return the text of the problem of a setting that does not exist."""
    if name == "name":
        return "name belongs where the run is, in the script; [runs.NAME] has the settings of one run"
    return f"there is no setting {name!r}; {suggestion(name, FIELDS)}"


def _words(name: str) -> frozenset[str]:
    """Return the words in the type of a setting: float and None for ``float | None``."""
    return frozenset(re.findall(r"\w+", str(FIELDS[name].type)))


def _names(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(each, str) and each.strip() for each in names):
        raise ConfigurationError(f'handlers must be names of handlers, like ["ops"], got {value!r}')
    return tuple(dict.fromkeys(names))


def _yes_or_no(name: str, text: str) -> bool:
    if text.lower() not in _YES | _NO:
        raise ConfigurationError(f"{name} must be true or false, got {text!r}")
    return text.lower() in _YES


def _number(name: str, text: str) -> float:
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be a number, got {text!r}") from None
