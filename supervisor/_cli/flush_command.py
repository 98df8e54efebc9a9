"""``supervisor flush``: deliver what waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import click

from supervisor._cli import shared
from supervisor._cli.completion_command import handlers
from supervisor._cli.configured_handlers import built, configuration, names_of, silence
from supervisor._cli.outbox_command import MOST, SHOWN, counted, delivery_document
from supervisor._cli.shared import Column, Styled, line
from supervisor._models.kinds import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from supervisor._store import Journal, WaitingDelivery
    from supervisor._store.records import DeliveryStatus
    from supervisor._store.sqlite.reader import JournalReader

DEADLINE_S = 60.0
_STYLES = {"sent": "green", "failed": "bold red", "left": "yellow"}


@attrs.frozen(kw_only=True)
class Result:
    """What became of a delivery.

    Args:
        delivery: As it waited.
        became: "sent", "failed" (tried without success) or "left" (not tried).
        why: What it failed of, or why it was not tried; "" for one that was sent.
    """

    delivery: WaitingDelivery
    became: str
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
    with shared.faults_told():
        waiting = reader.deliveries(limit=MOST) if reader is not None else []
        chosen = _chosen(waiting, names)
        results = (
            _flushed(reader, chosen, failed=failed, deadline_s=deadline_s, quiet=as_json) if reader is not None else []
        )
    refused = sum(each.state is DeliveryState.FAILED for each in chosen) if not failed else 0
    if as_json:
        shared.print_json(_document(results))
    elif reader is None:
        shared.say(shared.no_journal_yet())
    else:
        _say(results, refused)
    if any(each.became != "sent" for each in results):
        click.get_current_context().exit(shared.FOUND)


def _chosen(waiting: Sequence[WaitingDelivery], names: Sequence[str]) -> list[WaitingDelivery]:
    """Return what waits for these handlers, for all without any; end the command for a name that nobody knows."""
    known = {each.handler for each in waiting}
    missing = [each for each in names if each not in known]
    if missing:
        known.update(names_of(configuration()))
        strange = [each for each in missing if each not in known]
        if strange:
            from supervisor._config.problems import suggestion

            raise click.BadParameter(
                f"there is no handler {strange[0]!r}; {suggestion(strange[0], known)}", param_hint="--handler"
            )
    return [each for each in waiting if not names or each.handler in names]


def _flushed(
    reader: JournalReader, chosen: Sequence[WaitingDelivery], *, failed: bool, deadline_s: float, quiet: bool
) -> list[Result]:
    """Try what waits, and return what became of each."""
    tried = [each for each in chosen if failed or each.state is DeliveryState.PENDING]
    if not tried:
        return []
    found, faults = _handlers({each.handler for each in tried})
    own = [each for each in tried if each.handler in found]
    if own:
        with silence(all_of_stdout=quiet):
            journal = shared.writable_journal()
            try:
                _send(journal, [found[name] for name in dict.fromkeys(each.handler for each in own)], own, deadline_s)
            finally:
                journal.close()
    after = reader.delivery_statuses([each.key for each in tried])
    return [_result(each, after.get(each.key), faults) for each in tried]


def _handlers(wanted: set[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the handlers of these names, and for each name without one the reason."""
    from supervisor._delivery.dispatcher import handler_name

    known = configuration()
    found: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name in dict.fromkeys([*names_of(known), *(wanted & {"console"})]):
        each = built(known, name)
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


def _send(journal: Journal, senders: Sequence[Any], own: Sequence[WaitingDelivery], deadline_s: float) -> None:
    from supervisor._config.active import active
    from supervisor._delivery.dispatcher import Dispatcher
    from supervisor._runtime import default_runtime

    now = datetime.now(UTC)
    for each in own:
        if each.state is DeliveryState.FAILED or (each.due_at is not None and each.due_at > now):
            journal.retry(each.key)  # somebody is here and wants it now
    dispatcher = Dispatcher(senders, (), journal, default_runtime().workers, active().redactor)
    dispatcher.fetch_waiting()
    dispatcher.wait(deadline_s)


def _result(before: WaitingDelivery, after: DeliveryStatus | None, faults: dict[str, str]) -> Result:
    if before.handler in faults:
        return Result(delivery=before, became="left", why=faults[before.handler])
    if after is None or after.state in ("sent", "dropped"):
        return Result(delivery=before, became="sent")
    if after.attempts > before.attempts:
        return Result(delivery=before, became="failed", why=after.last_error)
    if before.is_claimed:
        return Result(delivery=before, became="left", why="another process is sending it")
    return Result(delivery=before, became="left", why="not tried: what came before it failed, or time was up")


def _say(results: Sequence[Result], refused: int) -> None:
    if results:
        for each in _table(results):
            shared.say(each)
        shared.say()
        shared.say(_sum(results))
    elif not refused:
        shared.say("Nothing waits: everything was delivered.")
    if refused:
        shared.say(f"{counted(refused)} failed for good before: `supervisor flush --failed` tries again.")


def _sum(results: Sequence[Result]) -> str:
    counts = {became: sum(each.became == became for each in results) for became in _STYLES}
    parts = [shared.paint(f"{count:,} {became}", _STYLES[became]) for became, count in counts.items() if count]
    tail = "." if counts["failed"] + counts["left"] == 0 else "; what is left stays in the outbox."
    return f"{', '.join(parts)}{tail}"


def _table(results: Sequence[Result]) -> Iterable[str]:
    """Yield a line for each, and below it why; of many that went well only the last ones."""
    sent = [each for each in results if each.became == "sent"]
    hidden = {each.delivery.key for each in sent[:-SHOWN]}
    shown = [each for each in results if each.delivery.key not in hidden]
    columns = shared.width()
    rows = [
        [
            Styled(each.became, _STYLES[each.became]),
            Styled(line(each.delivery.handler, 60), "bold"),
            Styled(line(each.delivery.subject), ""),
            Styled(line(each.why, 1_000) if each.why else "", _STYLES[each.became]),
        ]
        for each in shown
    ]
    heads: list[Column | str] = ["", Column("", gives="cut"), Column("", gives="cut"), ""]
    if columns is None:
        yield from shared.drawn(heads, rows)[1:]
        return
    told: set[tuple[str, str]] = set()
    for text, row in zip(shared.drawn(heads[:-1], [row[:-1] for row in rows])[1:], rows, strict=True):
        yield text
        if (row[1].text, row[-1].text) not in told:  # what holds for many of a handler is said once
            told.add((row[1].text, row[-1].text))
            for each in shared.wrapped(row[-1].text, columns - 8):
                yield f"        {shared.paint(each, row[-1].style)}"
    if hidden:
        yield f"and {len(hidden):,} more sent"


def _document(results: Sequence[Result]) -> dict[str, Any]:
    """Return what programs are told."""
    return {
        became: [{**delivery_document(each.delivery), "why": each.why} for each in results if each.became == became]
        for became in _STYLES
    }
