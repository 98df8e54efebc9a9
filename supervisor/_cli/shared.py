"""What the commands share: opening the journal, printing, formatting times, and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from supervisor._cli.tables import (
    Column,
    Styled,
    cut,
    drawn,
    line,
    lines,
    paint,
    showable,
    width,
    wrapped,
)
from supervisor._runtime import default_runtime
from supervisor._text import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from supervisor._store import Store
    from supervisor._store.sqlite.reader import JournalReader

__all__ = [
    "FINE",
    "FOUND",
    "WRONG_USE",
    "Column",
    "Styled",
    "ago",
    "as_json",
    "cut",
    "drawn",
    "exit_codes",
    "fail",
    "journal",
    "journal_errors_shown",
    "line",
    "lines",
    "local",
    "no_journal_yet",
    "paint",
    "plain",
    "print_json",
    "print_problem",
    "say",
    "table",
    "width",
    "wrapped",
    "writable_journal",
]

C = TypeVar("C", bound="Callable[..., Any]")

FINE, FOUND, WRONG_USE = 0, 1, 2
"""The exit codes: success; something was found or failed; wrong usage or configuration."""


def journal() -> JournalReader | None:
    """Return the journal for reading, or None if there is none yet. Ends the command if it cannot be read.

    It is closed when the command ends.
    """
    from supervisor._store.sqlite.reader import open_reader

    with journal_errors_shown():
        reader = open_reader(default_runtime().state_directory())
    context = click.get_current_context(silent=True)
    if reader is not None and context is not None:
        context.call_on_close(reader.close)
    return reader


def writable_journal() -> Store:
    """Return the journal for writing. Ends the command if it cannot be opened."""
    from supervisor._store import open_journal

    with journal_errors_shown():
        return open_journal(default_runtime().state_directory())


@contextmanager
def journal_errors_shown() -> Iterator[None]:
    """End the command with an error message if the block cannot read or write the journal."""
    from supervisor._store.essentials import JournalUnavailable

    try:
        yield
    except JournalUnavailable as error:
        fail(str(error))


def no_journal_yet() -> str:
    """Return the sentence that says that there is no journal yet."""
    return f"No run was journalled yet ({line(str(default_runtime().state_directory()))} has no journal)."


def say(text: str = "") -> None:
    """Print a text. Characters that the console cannot show are replaced; without a console nothing is printed."""
    _write(text, sys.stdout, err=False)


def print_problem(text: str, label: str = "", style: str = "bold red") -> None:
    """Print a problem to stderr, wrapped to the width of the terminal.

    Args:
        text: The problem; quoted input went through :func:`line`.
        label: The word before it, like "error"; "" for none.
        style: The style of the label.
    """
    label = f"{label}:" if label else ""
    first, *more = f"{label} {text}".lstrip().split("\n")
    columns = width(sys.stderr)
    head, *rest = (wrapped(first, columns) if columns is not None else None) or [first]
    painted = paint(head[: len(label)], style, sys.stderr) + head[len(label) :]
    _write("\n".join((painted, *rest, *more)), sys.stderr, err=True)


def fail(text: str, code: int = FOUND) -> NoReturn:
    """Print an error with its remedy, and end the command.

    Args:
        text: One line or several; quoted input went through :func:`line`.
        code: The exit code.
    """
    print_problem(text, "error")
    click.get_current_context().exit(code)


def print_json(value: Any) -> None:
    """Print one JSON document in ASCII, with times in UTC as ISO 8601, and NaN and infinity as texts."""
    import json

    say(json.dumps(plain(value), indent=2))


def plain(value: Any) -> Any:
    """Return a value converted to types that JSON has."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    return _instant(value) if isinstance(value, date) else str(value)


def _instant(value: date) -> str:
    is_aware = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC).isoformat() if is_aware else value.isoformat()  # type: ignore[attr-defined]  # a datetime


def table(columns: Sequence[Column | str], rows: Iterable[Sequence[str | Styled]]) -> None:
    """Print a table: fitted to the terminal, or complete if stdout is no terminal."""
    say("\n".join(drawn(columns, rows)))


def local(instant: datetime, *, seconds: bool = False) -> str:
    """Return a time in the machine's time zone ("2025-11-24 02:00")."""
    return instant.astimezone().strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def ago(instant: datetime, now: datetime | None = None) -> str:
    """Return how long ago a time was ("2 h 3 min ago")."""
    seconds = ((now or datetime.now(UTC)) - instant).total_seconds()
    return f"{duration(round(max(0.0, seconds)))} ago" if seconds >= 1 else "just now"


def as_json(command: C) -> C:
    """Give a command the option ``--json``, as the parameter ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")(command)


def exit_codes(*, zero: str = "fine", one: str = "", two: str = "wrong usage") -> str:
    """Return the description of a command's exit codes, for the end of its help.

    Args:
        zero: The meaning of 0.
        one: The meaning of 1; "" if it is not used.
        two: The meaning of 2.
    """
    described = "\n".join(f"  {code}  {text}" for code, text in enumerate((zero, one, two)) if text)
    return f"\b\nExit codes:\n{described}"


def _write(text: str, stream: Any, *, err: bool) -> None:
    if stream is None or getattr(stream, "closed", False):
        return
    click.echo(showable(text, stream), err=err)
