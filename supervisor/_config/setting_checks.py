"""Which settings there are, and what they may be: as :class:`supervisor._settings.Settings` says, and nowhere else."""

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
"""All settings but the name, which belongs where the run is: it decides which of ``[runs.NAME]`` counts."""

_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0"})
_NUMBERS = frozenset({"float", "int"})
_SEVERAL = frozenset({"Collection", "Iterable", "Sequence", "frozenset", "list", "set", "tuple"})
_TABLES = frozenset({"Mapping", "dict"})


def checked(name: str, value: Any, folder: str | None = None) -> Any:
    """Return the value of a setting, as :class:`Settings` takes it.

    Args:
        name: One of :data:`FIELDS`.
        value: What a file says. "none" stands for None where a setting can be None, since TOML has no such value.
        folder: Where a relative path starts; None for the working directory.

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
    """Return the value of a setting that an environment variable gives as text.

    Raises:
        ConfigurationError: The text cannot be read as what the setting takes, or ``Settings`` would refuse it.
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
    return checked(name, os.path.expanduser(text) if name.endswith("_path") else text)  # noqa: PTH111 - a text


def has_variable(name: str) -> bool:
    """Tell whether the text of an environment variable can give a setting."""
    return not _words(name) & _TABLES


def unknown_setting(name: str) -> str:
    """Return the text for a setting that there is not."""
    if name == "name":
        return "name belongs where the run is, in the script; [runs.NAME] has the settings of one run"
    return f"there is no setting {name!r}; {suggestion(name, FIELDS)}"


def _words(name: str) -> frozenset[str]:
    """Return the words in the annotation of a setting, which is a text: ``float | None`` has float and None."""
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
