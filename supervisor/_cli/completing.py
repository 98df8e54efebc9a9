"""What a shell completes: names of runs and handlers, ids of runs, keys of deliveries. Faults are passed over."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from supervisor._cli.shared import line
from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import click
    from click.shell_completion import CompletionItem

    from supervisor._store.sqlite.reader import Reader

_LOOK_S = 0.5  # somebody has pressed a key and waits
_MOST = 50


def run_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of runs that begin so."""
    with suppress(SupervisorError), _reading() as reader:
        return _items(((name, "") for name in reader.names()), incomplete)
    return []


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names and the ids of runs that begin so."""
    from supervisor._cli.run_facts import SHORT_ID

    with suppress(SupervisorError), _reading() as reader:
        names = _items(((name, "the newest run") for name in reader.names()), incomplete)
        reports = [each.report for each in reader.some_runs(limit=_MOST)]
        ids = ((each.id[:SHORT_ID], f"{each.name}, {each.outcome or 'under way'}") for each in reports)
        return [*names, *_items(ids, incomplete)]
    return []


def handlers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of the configured handlers that begin so."""
    from supervisor._config import load

    known = load().handlers
    return _items(((name, spec.type) for name, spec in known.items()), incomplete)


def deliveries(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the keys of the deliveries that wait or have failed and begin so."""
    with suppress(SupervisorError), _reading() as reader:
        waiting = reader.deliveries(limit=_MOST)
        return _items(((str(each.key), f"{each.handler}: {each.subject}") for each in waiting), incomplete)
    return []


@contextmanager
def _reading() -> Iterator[Reader]:
    """Open the journal for a moment.

    Raises:
        SupervisorError: There is none, or it cannot be read.
    """
    from supervisor._store import state_directory
    from supervisor._store.sqlite.reader import look

    reader = look(state_directory(), busy_s=_LOOK_S)
    if reader is None:
        raise SupervisorError("there is no journal yet")
    try:
        yield reader
    finally:
        reader.close()


def _items(offered: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    """Return what begins so. What holds control characters cannot be typed, and is not offered."""
    from click.shell_completion import CompletionItem

    return [
        CompletionItem(text, help=line(told, 60) if told else None)
        for text, told in offered
        if text.startswith(incomplete) and text == line(text, 10_000)
    ]
