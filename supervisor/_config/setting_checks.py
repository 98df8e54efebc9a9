"""Read and check the settings of a file or a variable, by the fields of :class:`supervisor._settings.Settings`."""

from __future__ import annotations

import os
import re
from typing import Any

import attrs

from supervisor._config.problems import suggestion
from supervisor._config.secret_references import absolute
from supervisor._settings import Settings
from supervisor.errors import ConfigurationError

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
    if words & _NUMBERS:
        return checked(name, _number(name, text))
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
