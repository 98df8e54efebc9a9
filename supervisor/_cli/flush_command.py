"""``supervisor flush``: deliver the waiting messages; ``supervisor test``: send one through each configured handler."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

import attrs
import click

from supervisor._cli import shared
from supervisor._cli.completion_command import handlers
from supervisor._cli.configured import (
    BuiltHandler,
    built_handler,
    configuration,
    handler_names,
    logging_silenced,
    remedy_for,
    safe_error_text,
)
from supervisor._cli.outbox_command import MOST, SHOWN, counted_deliveries, delivery_document
from supervisor._cli.shared import Column, Styled, line, paint
from supervisor._forks import THREAD_PREFIX
from supervisor._models import DeliveryState
from supervisor._runtime import default_runtime
from supervisor._settings import SENT
from supervisor._text import duration
from supervisor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from supervisor._config.configuration import Configuration
    from supervisor._models.values import MessageDetails
    from supervisor._runtime import Runtime
    from supervisor._store import Store, WaitingDelivery
    from supervisor._store.records import DeliveryStatus
    from supervisor._store.sqlite import JournalReader


# flush

_STYLES = {"sent": "green", "passed": "green", "failed": "bold red", "left": "yellow"}
_WORDS = {"passed": "passed on"}


@attrs.frozen(kw_only=True)
class FlushResult:
    """The result of one delivery.

    Args:
        delivery: The delivery before the attempt.
        status: "sent", "passed" (on to another handler), "failed" (tried without success) or "left" (not tried).
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
@shared.deadline("How long to wait for it, at most.")
@shared.as_json
def command(names: tuple[str, ...], failed: bool, deadline_s: float, as_json: bool) -> None:
    """Deliver what waits in the outbox, through the handlers that are configured.

    Handlers are found by their names, from the working directory upwards and in the user's and the machine's
    configuration. What waits for a handler that stands only in a script's own code is delivered by that script's next
    run. Where the configuration says send = "console" or "off", nothing is sent, and all is left.
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
    if any(each.status not in ("sent", "passed") for each in results):
        click.get_current_context().exit(shared.FOUND)


def _chosen(waiting: Sequence[WaitingDelivery], names: Sequence[str]) -> list[WaitingDelivery]:
    """Return the deliveries that wait for these handlers, or for all; end the command for an unknown name."""
    known = {each.handler for each in waiting}
    missing = [each for each in names if each not in known]
    if missing:
        known.update(handler_names(configuration()))
        unknown = [each for each in missing if each not in known]
        if unknown:
            from supervisor._config.checks import suggestion

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
                senders = [found[name] for name in dict.fromkeys(each.handler for each in own)]
                _send_waiting(default_runtime(), journal, senders, own, deadline_s)
            finally:
                journal.close()
    after = reader.delivery_statuses([each.key for each in tried])
    return [_result(each, after.get(each.key), faults) for each in tried]


def _usable_handlers(wanted: set[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the handlers of these names, and the reason for each name that has none."""
    from supervisor._delivery import handler_name

    known = configuration()
    if (send := known.send_for(None)) != SENT:
        return {}, dict.fromkeys(wanted, f'send = "{send}" (`supervisor config` shows where that is set)')
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


def _send_waiting(
    runtime: Runtime, journal: Store, senders: Sequence[Any], own: Sequence[WaitingDelivery], deadline_s: float
) -> None:
    from supervisor._delivery import Dispatcher
    from supervisor._delivery.pool import pack_left

    # The user asks for it now, whatever the time of the next attempt.
    for name in dict.fromkeys(each.handler for each in own):
        journal.wake(name)
    now = datetime.now(UTC)
    with journal.one_commit():
        for each in own:
            if each.state is DeliveryState.FAILED or (each.due_at is not None and each.due_at > now):
                journal.retry(each.key)
    dispatcher = Dispatcher(
        senders,
        (),
        journal,
        runtime.workers,
        runtime.configuration.redactor,
        configured=runtime.configuration.with_names_resolved,
    )
    dispatcher.fetch_waiting()
    dispatcher.wait(deadline_s)
    pack_left(journal, runtime.configuration.redactor)


def _result(before: WaitingDelivery, after: DeliveryStatus | None, faults: dict[str, str]) -> FlushResult:
    if before.handler in faults:
        return FlushResult(delivery=before, status="left", why=faults[before.handler])
    if after is None or after.state in ("sent", "dropped"):
        return FlushResult(delivery=before, status="sent")
    if after.state == "passed":
        return FlushResult(delivery=before, status="passed", why=after.last_error)
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
        shared.say("Nothing waits.")
    if refused:
        shared.say(f"{counted_deliveries(refused)} failed for good before: `supervisor flush --failed` tries again.")


def _summary(results: Sequence[FlushResult]) -> str:
    counts = {status: sum(each.status == status for each in results) for status in _STYLES}
    parts = [
        shared.paint(f"{count:,} {_WORDS.get(status, status)}", _STYLES[status])
        for status, count in counts.items()
        if count
    ]
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
            Styled(_WORDS.get(each.status, each.status), _STYLES[each.status]),
            Styled(line(each.delivery.handler, 60), "bold"),
            Styled(line(each.delivery.subject), ""),
            Styled(shared.reason(each.why) if each.why else "", _STYLES[each.status]),
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


# test


@attrs.frozen(kw_only=True)
class TestResult:
    """The result of testing one handler.

    Args:
        name: The handler's name.
        type: Its type.
        took_s: The seconds that it took; None if nothing was sent.
        faults: The problems, a line for each; none if the message was sent.
        remedy: The remedy; "" if the faults contain it.
    """

    name: str
    type: str
    took_s: float | None = None
    faults: tuple[str, ...] = ()
    remedy: str = ""


@click.command(
    "test", epilog=shared.exit_codes(one="a handler failed", two="a handler of that name, or any, is not configured")
)
@click.argument("names", metavar="[HANDLER]...", nargs=-1, shell_complete=handlers)
@shared.deadline("How long to wait for each, at most.", least_s=0.1)
@shared.as_json
def test(names: tuple[str, ...], deadline_s: float, as_json: bool) -> None:
    """Send a test message through each configured handler, and show exactly what failed and its remedy.

    Messages are sent at once, without the outbox, also where the configuration says send = "console" or "off". Handlers
    that are only in a script's code cannot be tested here.
    """
    known = configuration()
    if (send := known.send_for(None)) != SENT:
        shared.print_problem(f'send = "{send}" keeps the messages of runs here; these tests are sent all the same')
    chosen = names or handler_names(known)
    _check_names(known, names, chosen)
    with logging_silenced(all_of_stdout=as_json):
        tests = [_HandlerTest(built_handler(known, name)) for name in dict.fromkeys(chosen)]
        for each in tests:
            each.start()
        tried = []
        for each in tests:
            tried.append(each.result(deadline_s))
            if not as_json:
                _say_result(tried[-1], max(len(line(each.name)) for each in tests))
    if as_json:
        shared.print_json([_result_document(each) for each in tried])
    if any(each.faults for each in tried):
        click.get_current_context().exit(shared.FOUND)


def _check_names(known: Configuration, names: Sequence[str], chosen: Sequence[str]) -> None:
    """End the command if there is nothing to test, or a name is unknown."""
    there = {*handler_names(known), "console"}
    for name in names:
        if name not in there:
            from supervisor._config.checks import suggestion

            raise click.BadParameter(f"there is no handler {name!r}; {suggestion(name, there)}", param_hint="HANDLER")
    if not chosen:
        problems = "".join(f"\n  {line(str(each), 500)}" for each in known.problems)
        files = ", ".join(known.files) or ("see below" if known.problems else "no configuration file was found")
        shared.fail(
            f"no handler is configured ({files}).{problems}\n"
            "`supervisor config init` writes a first file. Handlers in a script's own code are tried by its runs.",
            shared.WRONG_USE,
        )


class _HandlerTest:
    """Tests one handler in a thread of its own, so that one that hangs does not delay the others."""

    def __init__(self, handler: BuiltHandler) -> None:
        self.name = handler.name
        self._built = handler
        self._began_s = monotonic()
        self._ended: TestResult | None = None
        self._thread = threading.Thread(target=self._try, name=f"{THREAD_PREFIX}test {handler.name}", daemon=True)

    def start(self) -> None:
        self._began_s = monotonic()
        if self._built.handler is not None:
            self._thread.start()

    def result(self, deadline_s: float) -> TestResult:
        """Wait for the end of the test, at most until the deadline."""
        if self._built.handler is None:
            return self._result(faults=tuple(map(str, self._built.problems)))
        self._thread.join(max(0.0, self._began_s + deadline_s - monotonic()))
        if self._ended is not None:
            return self._ended
        return self._result(faults=(f"it did not come to an end within {duration(deadline_s)}",))

    def _try(self) -> None:
        from supervisor._delivery.handler_call import HandlerCall

        call = HandlerCall(self._built.handler)
        try:
            call.send(test_message(self._built))
        except DeliveryError as error:
            self._ended = self._result(faults=(str(error),), remedy=remedy_for(error))
        except BaseException as error:  # noqa: BLE001 - the handler's boundary: its class may be from another package
            self._ended = self._result(faults=(safe_error_text(error),), remedy=remedy_for(error))
        else:
            self._ended = self._result(took_s=monotonic() - self._began_s)
        call.close()

    def _result(self, **facts: Any) -> TestResult:
        return TestResult(name=self.name, type=self._built.type, **facts)


def test_message(handler: BuiltHandler) -> MessageDetails:
    """Return the test message, which explains itself."""
    from supervisor import _exceptions
    from supervisor._models.values import MessageDetails
    from supervisor._text import local_time

    host = _exceptions.host()
    details = MessageDetails(f"supervisor test from {host}")
    by = f" by {_exceptions.user()}" if _exceptions.user() else ""
    text = (
        f"This is a test: `supervisor test` was called{by} on {host} at {local_time(details.created_at)}, and sent "
        f"this through the handler {handler.name!r} ({handler.type}). That you can read it shows that the handler "
        "works. There is nothing to do."
    )
    return attrs.evolve(details, message=text)


def _say_result(tried: TestResult, width: int) -> None:
    head = f"{paint(f'{line(tried.name):<{width}}', 'bold')}  {tried.type:<12}"
    if not tried.faults:
        shared.say(f"{head}  {paint('sent', 'green')} in {duration(tried.took_s or 0.0)}")
        return
    shared.say(f"{head}  {paint('failed', 'bold red')}")
    columns = (shared.width() or 10_000) - 4
    for fault in tried.faults:
        for each in shared.wrapped(line(fault, 2_000), columns):
            shared.say(f"    {each}")
    for each in shared.wrapped(tried.remedy, columns):
        shared.say(f"    {paint(each, 'cyan')}")


def _result_document(tried: TestResult) -> dict[str, Any]:
    """Return the JSON document."""
    return {
        "handler": tried.name,
        "type": tried.type,
        "sent": not tried.faults,
        "took_s": tried.took_s,
        "faults": tried.faults,
        "remedy": tried.remedy,
    }
