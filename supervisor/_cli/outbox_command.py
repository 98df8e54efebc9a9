"""``supervisor outbox``: list, retry and drop messages that wait to be delivered or were refused."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from supervisor._cli import shared
from supervisor._cli.completion_command import deliveries
from supervisor._cli.shared import Column, Styled, line
from supervisor._models import DeliveryState
from supervisor._places import is_terminal
from supervisor._text import duration, localized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from supervisor._store import DestinationRest, Store, WaitingDelivery

SHOWN = 20
MOST = 1_000_000
_WIDE = 100
_INDENT = 5
_FEWEST = 3

_EXIT_CODES = shared.exit_codes(one="a key is not in the outbox, or the journal cannot be used")
_all_option = click.option("--all", "every", is_flag=True, help="All of them.")


@click.group("outbox", invoke_without_command=True, epilog=shared.exit_codes(one="the journal cannot be read"))
@click.option("--all", "every", is_flag=True, help=f"Show all, not only the first {SHOWN}.")
@shared.as_json
@click.pass_context
def command(ctx: click.Context, every: bool, as_json: bool) -> None:
    """Show, retry or drop messages that were not delivered. Without a command it lists them.

    A delivery is one message to one handler. What is "pending" is tried again by the next run on this machine that
    has a handler of that name, by `supervisor flush` and by `supervisor check`. What is "failed" was refused for good,
    and stays until somebody says `supervisor outbox retry` or `drop`.
    """
    ctx.obj = {"every": every, "as_json": as_json}
    if ctx.invoked_subcommand is None:
        _list(every=every, as_json=as_json)


@command.command("list", epilog=shared.exit_codes(one="the journal cannot be read"))
@_all_option
@shared.as_json
@click.pass_obj
def list_(given: dict[str, bool], every: bool, as_json: bool) -> None:
    """List what waits and what was refused, oldest first, and why."""
    _list(every=every or given["every"], as_json=as_json or given["as_json"])


@command.command("retry", epilog=_EXIT_CODES)
@click.argument("keys", metavar="KEY...", type=int, nargs=-1, shell_complete=deliveries)
@_all_option
@click.pass_obj
def retry(given: dict[str, bool], keys: tuple[int, ...], every: bool) -> None:
    """Make deliveries due now, also those that were refused."""
    chosen = _chosen(keys, every=every or given["every"])
    done = _for_each(chosen, lambda journal, key: journal.retry(key))
    if done:
        verb = "is" if len(done) == 1 else "are"
        shared.say(
            f"{counted_deliveries(len(done))} {verb} due now; `supervisor flush` sends now, else the next run does."
        )
    _fail_for_missing(chosen, done)


@command.command("drop", epilog=_EXIT_CODES)
@click.argument("keys", metavar="KEY...", type=int, nargs=-1, shell_complete=deliveries)
@_all_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_obj
def drop(given: dict[str, bool], keys: tuple[int, ...], every: bool, yes: bool) -> None:
    """Forget deliveries for good; nobody will get these messages."""
    chosen = _chosen(keys, every=every or given["every"])
    known = [each for each in _waiting() if each.key in chosen]
    if known and not yes:
        _confirm_drop(known)
    done = _for_each(chosen, lambda journal, key: journal.drop(key)) if known else []
    if done:
        shared.say(f"{counted_deliveries(len(done))} dropped.")
    _fail_for_missing(chosen, done)


def counted_deliveries(count: int) -> str:
    """Return a number of deliveries ("1 delivery", "12 deliveries")."""
    return f"{count:,} {'delivery' if count == 1 else 'deliveries'}"


def delivery_document(delivery: WaitingDelivery) -> dict[str, Any]:
    """Return the JSON document of a delivery."""
    same = ("key", "handler", "state", "subject", "kind", "message_id", "created_at", "attempts", "last_error")
    return {
        **{name: getattr(delivery, name) for name in same},
        "next_try_at": delivery.due_at,
        "is_being_sent": delivery.is_claimed,
    }


def delivery_table(waiting: Sequence[WaitingDelivery], indent: int = 0) -> Iterable[str]:
    """Yield the lines of a table of deliveries.

    Args:
        waiting: The deliveries.
        indent: The width that the caller puts before each line.
    """
    columns = shared.width()
    heads: list[Column | str] = [
        Column("KEY", justify="right"),
        Column("HANDLER", gives="cut"),
        "STATE",
        "WRITTEN",
        Column("TRIED", justify="right"),
        "NEXT TRY",
        Column("SUBJECT", gives="cut"),
        "WHY",
    ]
    now = datetime.now(UTC)
    rows = [_row(each, now) for each in waiting]
    if columns is None:  # a pipe: one line for each, for grep
        yield from shared.drawn(heads, rows)
        return
    # In a narrow terminal the subject goes on a line of its own, where it need not be cut.
    kept = len(heads) - (1 if columns >= _WIDE else 2)
    head, *body = shared.drawn(heads[:kept], [row[:kept] for row in rows], columns - indent)
    yield head
    for text, row in zip(body, rows, strict=True):
        yield text
        for cell in row[kept:]:
            for each in shared.wrapped(cell.text, columns - indent - _INDENT):
                yield f"{'':{_INDENT}}{shared.paint(each, cell.style)}"


def rest_line(rest: DestinationRest) -> str:
    """Return one line on a destination that accepts nothing: since when, how many wait, when it is tried, and why."""
    return f"{line(rest.handler, 60)}: {_rest_words(rest)}: {shared.reason(rest.last_error, 300)}"


def _rest_words(rest: DestinationRest) -> str:
    since = localized(rest.since)
    is_today = since.date() == localized(datetime.now(UTC)).date()
    wait = "1 waits" if rest.waiting == 1 else f"{rest.waiting:,} wait"
    again = "being tried" if rest.is_tried else f"next try {_in(rest.next_in_s)}"
    return f"accepts nothing since {f'{since:%H:%M}' if is_today else shared.local(since)}, {wait}, {again}"


def _rests() -> dict[str, DestinationRest]:
    reader = shared.journal()
    with shared.journal_errors_shown():
        return {each.handler: each for each in reader.rests()} if reader is not None else {}


def _by_destination(waiting: Sequence[WaitingDelivery], *, every: bool) -> Iterator[str]:
    """Yield what waits for each destination: one line on it, why, and its messages below."""
    rests = _rests()
    by_handler: dict[str, list[WaitingDelivery]] = {}
    for each in waiting:
        by_handler.setdefault(each.handler, []).append(each)
    most = len(waiting) if every else max(_FEWEST, SHOWN // len(by_handler))
    for handler, theirs in by_handler.items():
        yield from _destination(handler, theirs, rests.get(handler))
        yield from _messages(theirs[:most])
        if len(theirs) > most:
            yield shared.paint(f"  and {len(theirs) - most:,} more: `supervisor outbox --all`", "dim")
        yield ""


def _destination(handler: str, theirs: Sequence[WaitingDelivery], rest: DestinationRest | None) -> Iterator[str]:
    """Yield the line on one destination, and the reason that its messages share."""
    columns = shared.width() or 10_000
    failed = [each for each in theirs if each.state is DeliveryState.FAILED]
    pending = len(theirs) - len(failed)
    words = [_rest_words(rest)] if rest is not None else [f"{pending:,} pending"] if pending else []
    words += [f"{len(failed):,} failed for good"] if failed else []
    style = "red" if failed and not pending else "yellow"
    first, *more = shared.wrapped(f"{line(handler, 60)}: {', '.join(words)}", columns - 2)
    name, _, state = first.partition(": ")
    yield f"{shared.paint(name, 'bold')}: {shared.paint(state, style)}"
    reason = rest.last_error if rest is not None else _shared_reason(theirs)
    for each in (*more, *shared.wrapped(shared.reason(reason, 600) if reason else "", columns - 2)):
        yield f"  {shared.paint(each, style)}"


def _shared_reason(theirs: Sequence[WaitingDelivery]) -> str:
    reasons = {each.last_error for each in theirs if each.last_error}
    return next(iter(reasons)) if len(reasons) == 1 else ""


def _messages(theirs: Sequence[WaitingDelivery]) -> Iterator[str]:
    """Yield the lines of the messages of one destination; a reason only where they have several."""
    now, columns = datetime.now(UTC), shared.width() or 10_000
    own_reasons = not _shared_reason(theirs)
    heads: list[Column | str] = [Column("", justify="right"), "", "", Column("", gives="cut")]
    rows: list[list[str | Styled]] = [
        [f"  {each.key}", Styled(shared.ago(each.created_at, now), "dim"), _tried(each, now), line(each.subject)]
        for each in theirs
    ]
    before = ""
    for text, each in zip(shared.drawn(heads, rows)[1:], theirs, strict=True):
        yield text
        if own_reasons and each.last_error and each.last_error != before:
            before = each.last_error
            for reason in shared.wrapped(shared.reason(before), columns - _INDENT):
                yield f"{'':{_INDENT}}{shared.paint(reason, 'red' if each.state is DeliveryState.FAILED else 'yellow')}"


def _tried(delivery: WaitingDelivery, now: datetime) -> Styled:
    if delivery.is_claimed:
        return Styled("being sent", "cyan")
    if delivery.state is DeliveryState.FAILED:
        return Styled("failed", "red")
    if not delivery.attempts:
        return Styled("not tried yet", "")
    return Styled(f"tried {_times(delivery.attempts)}", "yellow")


def _times(attempts: int) -> str:
    return "never" if not attempts else "once" if attempts == 1 else f"{attempts} times"


def _in(left_s: float) -> str:
    return f"in {duration(round(left_s))}" if left_s >= 1 else "now"


def _row(delivery: WaitingDelivery, now: datetime) -> list[Styled]:
    has_failed = delivery.state is DeliveryState.FAILED
    tried = _times(delivery.attempts)
    style = "red" if has_failed else "yellow"
    return [
        Styled(str(delivery.key), ""),
        Styled(line(delivery.handler, 60), "bold"),
        Styled(str(delivery.state), style),
        Styled(shared.ago(delivery.created_at, now), ""),
        Styled(tried, ""),
        Styled(_next_try(delivery, now), ""),
        Styled(line(delivery.subject), ""),
        Styled(shared.reason(delivery.last_error) if delivery.last_error else "", style),
    ]


def _next_try(delivery: WaitingDelivery, now: datetime) -> str:
    if delivery.is_claimed:
        return "being sent"
    if delivery.due_at is None:
        return "-"
    left_s = (delivery.due_at - now).total_seconds()
    return f"in {duration(round(left_s))}" if left_s >= 1 else "due"


def _waiting() -> list[WaitingDelivery]:
    reader = shared.journal()
    with shared.journal_errors_shown():
        return reader.deliveries(limit=MOST) if reader is not None else []


def _list(*, every: bool, as_json: bool) -> None:
    reader = shared.journal()
    if reader is None and not as_json:
        shared.say(shared.no_journal_yet())
        return
    waiting = _waiting()
    if as_json:
        shared.print_json([delivery_document(each) for each in waiting])
        return
    held = _held()
    if not waiting:
        shared.say("The outbox is empty: nothing waits." if not held else "Nothing waits to be sent now.")
        for each in held:
            shared.say(each)
        return
    if shared.width() is None:  # a pipe: one line for each, for grep
        shown = waiting if every else waiting[:SHOWN]
        for each in (*map(rest_line, _rests().values()), *delivery_table(shown), ""):
            shared.say(each)
        hidden = len(waiting) - len(shown)
    else:
        for each in _by_destination(waiting, every=every):
            shared.say(each)
        hidden = 0
    for each in (*_hints(waiting, hidden), *held):
        shared.say(each)


def _held() -> list[str]:
    """Return lines on the messages that are held, since a person or a setting wants it so."""
    from supervisor._cli.mute_command import held_lines, muted_lines

    reader = shared.journal()
    if reader is None:
        return []
    with shared.journal_errors_shown():
        mutes, held = reader.mutes(), reader.held_and_so()
    return [*muted_lines(list(mutes.values()), held), *held_lines(held, mutes)]


def _hints(waiting: Sequence[WaitingDelivery], hidden: int) -> Iterable[str]:
    failed = sum(each.state is DeliveryState.FAILED for each in waiting)
    if hidden:
        yield f"{counted_deliveries(hidden)} more: `supervisor outbox --all`."
    if failed < len(waiting):
        yield f"{counted_deliveries(len(waiting) - failed)} pending: `supervisor flush` sends now."
    if failed:
        yield f"{counted_deliveries(failed)} failed: mend the cause, then `supervisor flush --failed`."


def _chosen(keys: Sequence[int], *, every: bool) -> tuple[int, ...]:
    if bool(keys) == every:
        raise click.UsageError("give the keys of deliveries, as `supervisor outbox` shows them, or --all")
    return tuple(dict.fromkeys(keys)) if keys else tuple(each.key for each in _waiting())


def _for_each(keys: Sequence[int], act: Callable[[Store, int], bool]) -> list[int]:
    """Call ``act`` for each delivery, and return the keys of those that existed."""
    if shared.journal() is None:
        return []
    with shared.journal_errors_shown():
        journal = shared.writable_journal()
        try:
            return [key for key in keys if act(journal, key)]
        finally:
            journal.close()


def _confirm_drop(waiting: Sequence[WaitingDelivery]) -> None:
    """Ask whether to drop these, and end the command if not."""
    if not is_terminal(sys.stdin):
        raise click.UsageError("nobody is there to be asked whether to drop them: say --yes")
    for each in delivery_table(waiting[:SHOWN]):
        shared.say(each)
    if not click.confirm(f"Drop {counted_deliveries(len(waiting))} for good?"):
        shared.fail("nothing was dropped")


def _fail_for_missing(chosen: Sequence[int], done: Sequence[int]) -> None:
    """End the command with an error for keys that are not in the outbox."""
    missing = [str(key) for key in chosen if key not in done]
    if missing:
        shared.fail(
            f"not in the outbox: {', '.join(missing)} (delivered or dropped meanwhile?); see `supervisor outbox`"
        )
    if not chosen:
        shared.say("The outbox is empty.")
