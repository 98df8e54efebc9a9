"""What the commands share: the journal for reading, what is printed, times, exit codes."""

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

    from supervisor._store import Journal
    from supervisor._store.sqlite.reader import JournalReader

__all__ = [
    "FINE",
    "FOUND",
    "WRONG_USE",
    "Column",
    "Styled",
    "ago",
    "as_json",
    "complain",
    "cut",
    "drawn",
    "exit_codes",
    "fail",
    "faults_told",
    "journal",
    "line",
    "lines",
    "local",
    "no_journal_yet",
    "paint",
    "plain",
    "print_json",
    "say",
    "table",
    "width",
    "wrapped",
    "writable_journal",
]

C = TypeVar("C", bound="Callable[..., Any]")

FINE, FOUND, WRONG_USE = 0, 1, 2
"""The exit codes: all is well; something was found or failed; wrong usage or configuration."""


def journal() -> JournalReader | None:
    """Return the journal for reading, or None where none was begun yet. Ends the command when it cannot be read.

    It is closed at the end of the command.
    """
    from supervisor._store.sqlite.reader import open_reader

    with faults_told():
        reader = open_reader(default_runtime().state_directory())
    context = click.get_current_context(silent=True)
    if reader is not None and context is not None:
        context.call_on_close(reader.close)
    return reader


def writable_journal() -> Journal:
    """Return the journal that was just read, for writing. Ends the command when it cannot be opened."""
    from supervisor._store import open_journal

    with faults_told():
        return open_journal(default_runtime().state_directory())


@contextmanager
def faults_told() -> Iterator[None]:
    """End the command with what is wrong when the journal cannot be read or written in the block."""
    from supervisor._store.essentials import JournalUnavailable

    try:
        yield
    except JournalUnavailable as error:
        fail(str(error))


def no_journal_yet() -> str:
    """Return the sentence for a journal that was not begun yet."""
    return f"No run was journalled yet ({line(str(default_runtime().state_directory()))} has no journal)."


def say(text: str = "") -> None:
    """Print a text for people. What the console cannot show is replaced; without a console nothing happens."""
    _write(text, sys.stdout, err=False)


def complain(text: str, label: str = "", style: str = "bold red") -> None:
    """Print what is wrong to stderr, in as many lines as a terminal needs.

    Args:
        text: What is wrong; what others wrote in it went through :func:`line`.
        label: What stands before it, like "error"; "" for nothing.
        style: The label's style.
    """
    label = f"{label}:" if label else ""
    first, *more = f"{label} {text}".lstrip().split("\n")
    columns = width(sys.stderr)
    head, *rest = (wrapped(first, columns) if columns is not None else None) or [first]
    painted = paint(head[: len(label)], style, sys.stderr) + head[len(label) :]
    _write("\n".join((painted, *rest, *more)), sys.stderr, err=True)


def fail(text: str, code: int = FOUND) -> NoReturn:
    """Say what is wrong, and how to mend it, and end the command.

    Args:
        text: One line or several; what others wrote in it went through :func:`line`.
        code: The exit code.
    """
    complain(text, "error")
    click.get_current_context().exit(code)


def print_json(value: Any) -> None:
    """Print one JSON document: only ASCII, instants in UTC as ISO 8601, and no number that JSON does not have."""
    import json

    say(json.dumps(plain(value), indent=2))


def plain(value: Any) -> Any:
    """Return what a script recorded, or we, as what JSON knows."""
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
    """Print a table: as wide as the terminal allows, and whole where stdout is no terminal."""
    say("\n".join(drawn(columns, rows)))


def local(instant: datetime, *, seconds: bool = False) -> str:
    """Return an instant in the machine's zone ("2025-11-24 02:00")."""
    return instant.astimezone().strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def ago(instant: datetime, now: datetime | None = None) -> str:
    """Return how long ago something was ("2 h 3 min ago")."""
    seconds = ((now or datetime.now(UTC)) - instant).total_seconds()
    return f"{duration(round(max(0.0, seconds)))} ago" if seconds >= 1 else "just now"


def as_json(command: C) -> C:
    """Give a command the option ``--json``, as the parameter ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")(command)


def exit_codes(*, zero: str = "fine", one: str = "", two: str = "wrong usage") -> str:
    """Return what documents a command's exit codes at the end of its help.

    Args:
        zero: When it ends with 0.
        one: When it ends with 1; "" for never.
        two: When it ends with 2.
    """
    told = "\n".join(f"  {code}  {text}" for code, text in enumerate((zero, one, two)) if text)
    return f"\b\nExit codes:\n{told}"


def _write(text: str, stream: Any, *, err: bool) -> None:
    if stream is None or getattr(stream, "closed", False):
        return
    click.echo(showable(text, stream), err=err)
