"""On which line each key of a TOML file stands, which ``tomllib`` does not tell."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._config.problems import Key

_MOST_LINES = 500


def lines_of_keys(text: str) -> dict[Key, int]:
    """Return the line where each table and each key first stands, counted from 1.

    It reads statement by statement, and only for where things are; what they are is up to ``tomllib``. At a statement
    of more than 500 lines it gives up, and knows only what came before.

    Args:
        text: A file that ``tomllib`` can read.
    """
    found: dict[Key, int] = {}
    table: Key = ()
    for line, statement, said in _statements(text.replace("\r\n", "\n").split("\n")):
        keys: Iterable[Key]
        if statement.lstrip().startswith("["):
            table = _key_of_header(said)
            keys = [table[: depth + 1] for depth in range(len(table))]
        else:
            keys = (table + each for each in _keys(said))
        for key in keys:
            found.setdefault(key, line)
    return found


def _statements(lines: list[str]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield each statement's line, its text, and what it says by itself.

    A statement is the fewest lines that can be read: a text or a list that goes on cannot before its last line.
    """
    start = 0
    while start < len(lines):
        for end in range(start + 1, min(start + _MOST_LINES, len(lines)) + 1):
            statement = "\n".join(lines[start:end])
            said = _read(statement)
            if said is not None:
                break
        else:
            return
        if said:
            yield start + 1, statement, said
        start = end


def _read(statement: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(statement)
    except (ValueError, RecursionError):
        return None


def _key_of_header(said: Any) -> Key:
    key: Key = ()
    while isinstance(said, dict) and said:
        ((name, said),) = said.items()
        key = (*key, name)
    return key


def _keys(said: dict[str, Any], outer: Key = ()) -> Iterator[Key]:
    for name, value in said.items():
        yield (*outer, name)
        if isinstance(value, dict):
            yield from _keys(value, (*outer, name))
