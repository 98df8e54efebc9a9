"""Tables that a script shows with ``run.table()``: read from rows or from a data frame, bounded, and written as CSV.

Data frames are read by what they have in common; no library for them is imported. Loaded by the first table of a run.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from supervisor import _exceptions, _hooks, _log
from supervisor._models.parts import Table
from supervisor._models.values import Attachment
from supervisor._redaction.secret_names import secret_kind
from supervisor._text import counted, number, one_line, value_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._redaction import Redactor
    from supervisor._run.state import RunState

MOST_TABLES = 10
MOST_COLUMNS = 20
MOST_SHOWN = 20
MOST_ROWS = 100_000
CELL_LIMIT = 200
_TITLE_LIMIT = 120
_CSV_CELL_LIMIT = 32_767  # the most that a cell of a spreadsheet takes
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBERS = (int, float, Decimal)


def add_table(state: RunState, redactor: Redactor, title: object, rows: Any, columns: Iterable[object] | None) -> str:
    """Add a table to the messages about a run; return what is left out of it, "" for nothing."""
    if len(state.tables) >= MOST_TABLES:
        return f"of the tables that it shows, {MOST_TABLES} are kept"
    heading = one_line(redactor.text(_exceptions.safe_text(title)), _TITLE_LIMIT) or "Table"
    names, lines = _read(rows, columns)
    first = list(islice(lines, MOST_SHOWN))
    rest = list(islice(lines, MOST_ROWS - len(first)))
    is_more = bool(rest) and next(lines, None) is not None
    count = len(first) + len(rest)
    note = _note(count, is_more=is_more, columns=len(names))
    if rest:
        attached = _attached(state, redactor, heading, names, chain(first, rest))
        if attached is not None:
            state.attachments = (*state.attachments, attached)
            note = f"{note} All are in {attached.name}." if not is_more else f"{note} These are in {attached.name}."
    shown = names[:MOST_COLUMNS]
    state.tables = (*state.tables, _table(heading, shown, [row[: len(shown)] for row in first], note, redactor))
    return ""


def _note(count: int, *, is_more: bool, columns: int) -> str:
    notes = [] if count else ["No rows."]
    if count > MOST_SHOWN:
        whole = f"more than {number(count)}" if is_more else number(count)
        notes.append(f"The first {MOST_SHOWN} of {whole} rows.")
    if columns > MOST_COLUMNS:
        notes.append(f"{counted(columns - MOST_COLUMNS, 'column')} left out.")
    return " ".join(notes)


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]], note: str, redactor: Redactor) -> Table:
    cells = [[_shown(name, value, redactor) for name, value in zip(names, row, strict=True)] for row in rows]
    numeric = tuple(
        any(_is_number(row[index]) for row in rows)
        and all(row[index] is None or _is_number(row[index]) for row in rows)
        for index in range(len(names))
    )
    headings = tuple(one_line(redactor.text(name), CELL_LIMIT) for name in names)
    return Table(title, headings, tuple(map(tuple, cells)), numeric=numeric, note=note)


def _is_number(value: object) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


def _shown(name: str, value: Any, redactor: Redactor) -> str:
    if value is None or value != value:  # noqa: PLR0124 - a NaN, with which data frames mark what is missing
        return ""
    plain = _exceptions.plain_value(value, name=name, redactor=redactor)
    return one_line(value_text(plain), CELL_LIMIT)


# What is given


def _read(rows: Any, columns: Iterable[object] | None) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
    """Return the names of the columns, and the rows with a value for each of them.

    Raises:
        TypeError: It is nothing that has rows.
    """
    wanted = None if columns is None else tuple(columns)
    known, lines = _rows_of_frame(rows)
    if known is not None:
        return _picked(known, lines, wanted)
    if isinstance(rows, Mapping):
        return (
            _picked(("", " "), iter(rows.items()), None)
            if wanted is None
            else _picked(wanted, iter(rows.items()), wanted)
        )
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Iterable):
        raise TypeError(f"table takes rows (dicts or tuples) or a data frame, got {type(rows).__name__}")
    given = iter(rows)
    first = next(given, None)
    if isinstance(first, Mapping):
        head = [first, *islice(given, MOST_SHOWN)]  # a later row may have more columns than the first
        names = wanted or tuple(dict.fromkeys(chain.from_iterable(head)))
        return _texts(names), (tuple(_got(row, name) for name in names) for row in chain(head, given))
    every = () if first is None else chain((first,), given)
    width = len(wanted) if wanted is not None else len(_cells(first)) if first is not None else 0
    names = wanted or tuple(getattr(first, "_fields", ())) or tuple(f"{index + 1}" for index in range(width))
    return _texts(names), (_fitted(_cells(row), len(names)) for row in every)


def _got(row: Any, name: object) -> Any:
    return row.get(name) if isinstance(row, Mapping) else None


def _cells(row: Any) -> tuple[Any, ...]:
    return tuple(row) if isinstance(row, Iterable) and not isinstance(row, (str, bytes)) else (row,)


def _fitted(cells: tuple[Any, ...], width: int) -> tuple[Any, ...]:
    return (*cells, *(None,) * (width - len(cells)))[:width]


def _rows_of_frame(frame: Any) -> tuple[tuple[object, ...] | None, Iterator[tuple[Any, ...]]]:
    """Return the columns and rows of a data frame of pandas, polars or pyarrow; None for anything else."""
    names = getattr(frame, "columns", None)
    for method, options in (("itertuples", {"index": False, "name": None}), ("iter_rows", {})):
        if names is not None and callable(getattr(frame, method, None)):
            return tuple(names), iter(getattr(frame, method)(**options))
    if callable(getattr(frame, "to_batches", None)) and hasattr(frame, "column_names"):
        batches = (each.to_pylist() for each in frame.to_batches())
        return tuple(frame.column_names), (tuple(row.values()) for row in chain.from_iterable(batches))
    return None, iter(())


def _picked(
    known: tuple[object, ...], lines: Iterator[tuple[Any, ...]], wanted: tuple[object, ...] | None
) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
    if wanted is None or wanted == known:
        return _texts(known), (_fitted(tuple(line), len(known)) for line in lines)
    places = [known.index(name) for name in wanted]
    return _texts(wanted), (tuple(line[place] for place in places) for line in lines)


def _texts(names: Iterable[object]) -> tuple[str, ...]:
    return tuple(
        " / ".join(map(_exceptions.safe_text, name)) if isinstance(name, tuple) else _exceptions.safe_text(name)
        for name in names
    )


# CSV


def _attached(
    state: RunState, redactor: Redactor, title: str, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> Attachment | None:
    """Write a table as CSV, and return it as an attachment; None where that cannot be."""
    stem = re.sub(r"[^\w .()-]+", "_", title)[:60].strip(" .")
    name = f"{stem or 'table'}.csv"
    secret = [secret_kind(each) is not None for each in names]
    try:
        path, descriptor = _new_file(state)
        with open(descriptor, "w", encoding="utf-8", errors="replace", newline="") as file:  # noqa: PTH123 - a descriptor
            write = csv.writer(file).writerow
            write([_in_csv(each) for each in names])
            for row in rows:
                write(
                    [
                        redactor.value(column, _in_csv(cell)) if is_secret else _in_csv(cell)
                        for column, cell, is_secret in zip(names, row, secret, strict=True)
                    ]
                )
    except OSError as error:
        _log.warning("the table %r of %r is not attached: %s", title, state.name, error)
        return None
    return Attachment(path, name=name)


def _in_csv(value: Any) -> Any:
    """Return a value as CSV has it. A text that a spreadsheet would take for a formula gets an apostrophe before it.

    See https://owasp.org/www-community/attacks/CSV_Injection.
    """
    if value is None or value != value:  # noqa: PLR0124 - a NaN, with which data frames mark what is missing
        return ""
    if _is_number(value) or isinstance(value, (bool, date, time, timedelta)):
        return str(value)
    text = _exceptions.safe_text(value)[:_CSV_CELL_LIMIT]
    try:
        float(text)  # of a number of some library, such as numpy's
    except ValueError:
        return f"'{text}" if text.startswith(_FORMULA) else text
    return text


def _new_file(state: RunState) -> tuple[str, int]:
    """Return the path and descriptor of a new file: beside the logs of runs, where the oldest are deleted in time.

    Raises:
        OSError: None can be made.
    """
    if state.settings.journal:
        from supervisor._store import files
        from supervisor.errors import SupervisorError

        with suppress(SupervisorError):
            directory = os.path.join(state.runtime.state_path(), "logs")  # noqa: PTH118 - a text
            made = files.create(directory, state.name, f"{state.id}-table{len(state.tables) + 1}", state.started_at_s)
            files.prune(made.path)
            return made.path, made.descriptor
    import tempfile

    descriptor, path = tempfile.mkstemp(prefix="supervisor-table-", suffix=".csv")
    _hooks.at_exit(partial(_delete, path))  # nothing of this run is to stay on the disk
    return path, descriptor


def _delete(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - a text
