"""The mistakes in a configuration, each with its place and its remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

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
    """Return a hint for a misspelt name: the most similar known name, or else all of them."""
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
