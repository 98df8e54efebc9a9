"""``supervisor flush``: deliver the waiting messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import click

from supervisor._cli import shared
from supervisor._cli.completion_command import handlers
from supervisor._cli.configured_handlers import built_handler, configuration, handler_names, logging_silenced
from supervisor._cli.outbox_command import MOST, SHOWN, counted, delivery_document
from supervisor._cli.shared import Column, Styled, line
from supervisor._models.kinds import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from supervisor._store import Store, WaitingDelivery
    from supervisor._store.records import DeliveryStatus
    from supervisor._store.sqlite.reader import JournalReader

DEADLINE_S = 60.0
_STYLES = {"sent": "green", "failed": "bold red", "left": "yellow"}


@attrs.frozen(kw_only=True)
class FlushResult:
    """The result of one delivery.

    Args:
        delivery: The delivery before the attempt.
        status: "sent", "failed" (tried without success) or "left" (not tried).
        why: The error, or why it was not tried; "" for one that was sent.
    """

    delivery: WaitingDelivery
    status: str
    why: str = ""


@click.command("flush", epilog=shared.exit_codes(one="something failed or is left, or the journal cannot be used"))
@click.option(
    "--handler",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=handlers,
    help="Only what waits for this handler; can be repeated.",
)
@click.option("--failed", is_flag=True, help="Also what was refused for good: after its cause is mended.")
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=0),
    default=DEADLINE_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for it, at most.",
)
@shared.as_json
def command(names: tuple[str, ...], failed: bool, deadline_s: float, as_json: bool) -> None:
    """Deliver what waits in the outbox, through the handlers that are configured.

    Handlers are found by their names, from the working directory upwards and in the user's and the machine's
    configuration. What waits for a handler that stands only in a script's own code is delivered by that script's next
    run.
    """
    reader = shared.journal()
    with shared.journal_errors_shown():
        waiting = reader.deliveries(limit=MOST) if reader is not None else []
        chosen = _chosen(waiting, names)
        results = (
            _deliver(reader, chosen, failed=failed, deadline_s=deadline_s, quiet=as_json) if reader is not None else []
        )
    refused = sum(each.state is DeliveryState.FAILED for each in chosen) if not failed else 0
    if as_json:
        shared.print_json(_document(results))
    elif reader is None:
        shared.say(shared.no_journal_yet())
    else:
        _say(results, refused)
    if any(each.status != "sent" for each in results):
        click.get_current_context().exit(shared.FOUND)


def _chosen(waiting: Sequence[WaitingDelivery], names: Sequence[str]) -> list[WaitingDelivery]:
    """Return the deliveries that wait for these handlers, or for all; end the command for an unknown name."""
    known = {each.handler for each in waiting}
    missing = [each for each in names if each not in known]
    if missing:
        known.update(handler_names(configuration()))
        unknown = [each for each in missing if each not in known]
        if unknown:
            from supervisor._config.problems import suggestion

            raise click.BadParameter(
                f"there is no handler {unknown[0]!r}; {suggestion(unknown[0], known)}", param_hint="--handler"
            )
    return [each for each in waiting if not names or each.handler in names]


def _deliver(
    reader: JournalReader, chosen: Sequence[WaitingDelivery], *, failed: bool, deadline_s: float, quiet: bool
) -> list[FlushResult]:
    """Try the waiting deliveries, and return the result of each."""
    tried = [each for each in chosen if failed or each.state is DeliveryState.PENDING]
    if not tried:
        return []
    found, faults = _usable_handlers({each.handler for each in tried})
    own = [each for each in tried if each.handler in found]
    if own:
        with logging_silenced(all_of_stdout=quiet):
            journal = shared.writable_journal()
            try:
                _send_waiting(
                    journal, [found[name] for name in dict.fromkeys(each.handler for each in own)], own, deadline_s
                )
            finally:
                journal.close()
    after = reader.delivery_statuses([each.key for each in tried])
    return [_result(each, after.get(each.key), faults) for each in tried]


def _usable_handlers(wanted: set[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the handlers of these names, and the reason for each name that has none."""
    from supervisor._delivery.dispatcher import handler_name

    known = configuration()
    found: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name in dict.fromkeys([*handler_names(known), *(wanted & {"console"})]):
        each = built_handler(known, name)
        if each.handler is not None:
            found.setdefault(handler_name(each.handler), each.handler)
        else:
            faults[name] = "; ".join(map(str, each.problems))
    for name in wanted - found.keys() - faults.keys():
        faults[name] = (
            f"no handler {name!r} is configured here; where it stands in a script's own code, that script's next run "
            "delivers this"
        )
    return {name: each for name, each in found.items() if name in wanted}, faults


def _send_waiting(journal: Store, senders: Sequence[Any], own: Sequence[WaitingDelivery], deadline_s: float) -> None:
    from supervisor._config.active import active
    from supervisor._delivery.dispatcher import Dispatcher
    from supervisor._runtime import default_runtime

    # The user asks for it now, whatever the time of the next attempt.
    for name in dict.fromkeys(each.handler for each in own):
        journal.wake(name)
    now = datetime.now(UTC)
    with journal.one_commit():
        for each in own:
            if each.state is DeliveryState.FAILED or (each.due_at is not None and each.due_at > now):
                journal.retry(each.key)
    dispatcher = Dispatcher(senders, (), journal, default_runtime().workers, active().redactor)
    dispatcher.fetch_waiting()
    dispatcher.wait(deadline_s)


def _result(before: WaitingDelivery, after: DeliveryStatus | None, faults: dict[str, str]) -> FlushResult:
    if before.handler in faults:
        return FlushResult(delivery=before, status="left", why=faults[before.handler])
    if after is None or after.state in ("sent", "dropped"):
        return FlushResult(delivery=before, status="sent")
    if after.attempts > before.attempts:
        return FlushResult(delivery=before, status="failed", why=after.last_error)
    if before.is_claimed:
        return FlushResult(delivery=before, status="left", why="another process is sending it")
    return FlushResult(delivery=before, status="left", why="not tried: what came before it failed, or time was up")


def _say(results: Sequence[FlushResult], refused: int) -> None:
    if results:
        for each in _table(results):
            shared.say(each)
        shared.say()
        shared.say(_summary(results))
    elif not refused:
        shared.say("Nothing waits: everything was delivered.")
    if refused:
        shared.say(f"{counted(refused)} failed for good before: `supervisor flush --failed` tries again.")


def _summary(results: Sequence[FlushResult]) -> str:
    counts = {status: sum(each.status == status for each in results) for status in _STYLES}
    parts = [shared.paint(f"{count:,} {status}", _STYLES[status]) for status, count in counts.items() if count]
    tail = "." if counts["failed"] + counts["left"] == 0 else "; what is left stays in the outbox."
    return f"{', '.join(parts)}{tail}"


def _table(results: Sequence[FlushResult]) -> Iterable[str]:
    """Yield a line for each result, with its reason below; of many that were sent only the last ones."""
    sent = [each for each in results if each.status == "sent"]
    hidden = {each.delivery.key for each in sent[:-SHOWN]}
    shown = [each for each in results if each.delivery.key not in hidden]
    columns = shared.width()
    rows = [
        [
            Styled(each.status, _STYLES[each.status]),
            Styled(line(each.delivery.handler, 60), "bold"),
            Styled(line(each.delivery.subject), ""),
            Styled(line(each.why, 1_000) if each.why else "", _STYLES[each.status]),
        ]
        for each in shown
    ]
    heads: list[Column | str] = ["", Column("", gives="cut"), Column("", gives="cut"), ""]
    if columns is None:
        yield from shared.drawn(heads, rows)[1:]
        return
    shown_reasons: set[tuple[str, str]] = set()
    for text, row in zip(shared.drawn(heads[:-1], [row[:-1] for row in rows])[1:], rows, strict=True):
        yield text
        reason = row[1].text, row[-1].text
        if reason not in shown_reasons:  # shown once for all deliveries of a handler
            shown_reasons.add(reason)
            for each in shared.wrapped(row[-1].text, columns - 8):
                yield f"        {shared.paint(each, row[-1].style)}"
    if hidden:
        yield f"and {len(hidden):,} more sent"


def _document(results: Sequence[FlushResult]) -> dict[str, Any]:
    """Return the JSON document."""
    return {
        status: [{**delivery_document(each.delivery), "why": each.why} for each in results if each.status == status]
        for status in _STYLES
    }
