"""``supervisor test``: send a test message through each configured handler."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

import attrs
import click

from supervisor._cli import shared
from supervisor._cli.completion_command import handlers
from supervisor._cli.configured_handlers import (
    BuiltHandler,
    built_handler,
    configuration,
    error_text,
    handler_names,
    logging_silenced,
    remedy_for,
)
from supervisor._cli.shared import line, paint
from supervisor._forks import THREAD_PREFIX
from supervisor._text import duration
from supervisor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor._config.configuration import Configuration
    from supervisor._models.values import MessageDetails

DEADLINE_S = 60.0


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
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=0.1),
    default=DEADLINE_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each, at most.",
)
@shared.as_json
def command(names: tuple[str, ...], deadline_s: float, as_json: bool) -> None:
    """Send a test message through each configured handler, and show exactly what failed and its remedy.

    Messages are sent at once, without the outbox. Handlers that are only in a script's code cannot be tested here.
    """
    known = configuration()
    chosen = names or handler_names(known)
    _check(known, names, chosen)
    with logging_silenced(all_of_stdout=as_json):
        tests = [_HandlerTest(built_handler(known, name)) for name in dict.fromkeys(chosen)]
        for each in tests:
            each.start()
        tried = []
        for each in tests:
            tried.append(each.result(deadline_s))
            if not as_json:
                _say(tried[-1], max(len(line(each.name)) for each in tests))
    if as_json:
        shared.print_json([_document(each) for each in tried])
    if any(each.faults for each in tried):
        click.get_current_context().exit(shared.FOUND)


def _check(known: Configuration, names: Sequence[str], chosen: Sequence[str]) -> None:
    """End the command if there is nothing to test, or a name is unknown."""
    there = {*handler_names(known), "console"}
    for name in names:
        if name not in there:
            from supervisor._config.problems import suggestion

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
            self._ended = self._result(faults=(error_text(error),), remedy=remedy_for(error))
        else:
            self._ended = self._result(took_s=monotonic() - self._began_s)
        call.close()

    def _result(self, **facts: Any) -> TestResult:
        return TestResult(name=self.name, type=self._built.type, **facts)


def test_message(handler: BuiltHandler) -> MessageDetails:
    """Return the test message, which explains itself."""
    from supervisor import _exceptions
    from supervisor._models.values import MessageDetails
    from supervisor._store.processes import hostname
    from supervisor._text import local_time

    host = hostname() or "this machine"
    details = MessageDetails(f"supervisor test from {host}")
    by = f" by {_exceptions.user()}" if _exceptions.user() else ""
    text = (
        f"This is a test: `supervisor test` was called{by} on {host} at {local_time(details.created_at)}, and sent "
        f"this through the handler {handler.name!r} ({handler.type}). That you can read it shows that the handler "
        "works. There is nothing to do."
    )
    return attrs.evolve(details, message=text)


def _say(tried: TestResult, width: int) -> None:
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


def _document(tried: TestResult) -> dict[str, Any]:
    """Return the JSON document."""
    return {
        "handler": tried.name,
        "type": tried.type,
        "sent": not tried.faults,
        "took_s": tried.took_s,
        "faults": tried.faults,
        "remedy": tried.remedy,
    }
