"""``supervisor check``: runs that died, hang or never started, and what waits to be delivered."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

import attrs
import click

from supervisor._cli import shared
from supervisor._cli.configured import safe_error_text
from supervisor._cli.outbox_command import rest_line
from supervisor._cli.shared import line
from supervisor._config import UnusableHandler, active
from supervisor._models import Kind
from supervisor._runtime import default_runtime
from supervisor._settings import SENT
from supervisor.errors import ConfigurationError, DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from supervisor._cli.checker import NewAlert, Result
    from supervisor._cli.replicate import Replication
    from supervisor._config.configuration import Configuration
    from supervisor._models.values import MessageHandler
    from supervisor._runtime import Runtime
    from supervisor._store import Journal
    from supervisor.message_handlers import HealthchecksHandler

_STYLES = {Kind.DIED: "bold red", Kind.RECOVERY: "bold green"}
_MOST_WAITING = 10
_MOST_NAMES = 5


@click.command(
    "check",
    epilog=shared.exit_codes(
        one="something new was found, or a message could not be delivered",
        two="wrong usage, mistakes in the configuration, or a journal that cannot be used",
    ),
)
@click.option(
    "--handler",
    "handlers",
    multiple=True,
    metavar="NAME",
    help="Notify this configured handler instead of those that are configured for each script; may be repeated.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print only what no handler has taken, and what goes wrong.")
@click.option(
    "--ping",
    metavar="URL",
    envvar="SUPERVISOR_PING_URL",
    help="Ping this URL at the end, as Healthchecks takes it, or URL/fail when the check could not do its work. "
    "By default what SUPERVISOR_PING_URL says.",
)
@click.option("--no-deliver", is_flag=True, help="Send nothing; what is new waits in the outbox.")
@shared.deadline("How long to wait for deliveries, at most; the rest stays in the outbox.", default_s=30.0)
@shared.as_json
def command(  # noqa: PLR0913, PLR0917 - one for each option
    handlers: tuple[str, ...], quiet: bool, ping: str | None, no_deliver: bool, deadline_s: float, as_json: bool
) -> None:
    """Find runs that died, hang or never started, notify people, and deliver what waits.

    Let a scheduler run it every few minutes; `supervisor schedule` prints the lines for that.

    It finds runs whose process is gone and that never ended; runs under way for longer than their max_duration_s, or
    without progress for their stall_after_s; and starts that were missed: a run's schedule, or the one in
    [runs."NAME"] of the configuration, passed by more than its grace_s, be it that the scheduler did not start the
    script or that the machine was off or asleep. The handlers that are configured for that script are notified once,
    and once more when it is over. Where no handler is configured it is printed, so that cron mails it.

    Where [fleet] is configured, it then brings the runs of the journal into the fleet's database. That it cannot be
    used is said once, and changes no exit code.

    Where the configuration says send = "console" or "off" it only prints what it finds: nothing is sent or pinged, and
    nothing is noted in the journal.
    """
    pinger = _pinger(ping) if ping else None
    with _log_shown() as shown:
        shown.is_quiet = quiet
        with redirect_stdout(sys.stderr) if as_json else nullcontext():  # a console handler prints to stdout
            result = _result(handlers, None if no_deliver else deadline_s, shown)
            if pinger is not None and result.send == SENT:
                result = _pinged(pinger, result)
    if result.fleet is not None:
        result.fleet.warn()
    if as_json:
        shared.print_json(result.document())
    else:
        _print(result, quiet=quiet)
    click.get_current_context().exit(result.code)


# What is done


def _result(handlers: Sequence[str], deadline_s: float | None, shown: _Shown) -> Result:
    """Check, and turn whatever keeps it from its work into faults."""
    from supervisor._cli.checker import Result
    from supervisor._store.essentials import JournalUnavailable

    runtime, configuration = default_runtime(), active().loaded
    faults = [str(each) for each in configuration.problems]
    journal, result = None, Result()
    try:
        chosen = tuple(_usable(configuration, name) for name in dict.fromkeys(handlers))
        journal = _journal(runtime, configuration)
        if journal is None:
            result = Result(note=shared.no_journal_yet())
        else:
            result = _checked(runtime, journal, configuration, chosen, deadline_s, shown)
    except (ConfigurationError, JournalUnavailable) as error:
        shared.print_problem(f"error: {error}")
        faults.append(str(error))
    except Exception as error:  # noqa: BLE001 - whoever waits for the ping must learn that no check was made
        fault = f"the check failed: {safe_error_text(error)}"
        shared.print_problem(f"error: {fault}")
        faults.append(fault)
    finally:
        if journal is not None:
            journal.close()
    return attrs.evolve(result, faults=tuple(faults), send=configuration.send_for(None))


def _checked(  # noqa: PLR0913, PLR0917 - all that a check needs
    runtime: Runtime,
    journal: Journal,
    configuration: Configuration,
    chosen: tuple[MessageHandler, ...],
    deadline_s: float | None,
    shown: _Shown,
) -> Result:
    from supervisor._cli.checker import Check, Result

    send = configuration.send_for(None)

    def handlers_of(name: str) -> tuple[MessageHandler, ...]:
        if send == SENT != configuration.send_for(name):
            return ()  # the messages of these runs alone are not to be sent
        return chosen or active().handlers_for(name)

    check = Check(journal, configuration, handlers_of, runtime=runtime)
    if send != SENT:
        checked = check.look()
        if send == "console":
            _print_messages(checked.new, handlers_of)
        return Result(checked=checked, delivered=check.deliver(checked.new, lambda _: None, None))
    checked = check.raise_alerts()
    with shown.muted():
        delivered = check.deliver(checked.new, _finder(configuration, chosen), deadline_s)
        check.pack_left()
    return Result(checked=checked, delivered=delivered, fleet=_replicated(runtime, journal, configuration))


def _replicated(runtime: Runtime, journal: Journal, configuration: Configuration) -> Replication | None:
    """Bring the runs into the fleet, last of all: messages do not wait for it."""
    if configuration.fleet is None:
        if not configuration.problems:
            journal.replication().forget()  # mostly there is nothing
        return None
    from supervisor._cli.replicate import replicate

    return replicate(runtime, journal, configuration)


def _print_messages(new: Sequence[NewAlert], handlers_of: Callable[[str], Sequence[MessageHandler]]) -> None:
    from supervisor._run.unsent import stand_in_for
    from supervisor._setting_values import ALWAYS_REPORTED

    for each in new:
        stand_in_for(handlers_of(each.alert.name), ALWAYS_REPORTED).send_message(each.message)


def _journal(runtime: Runtime, configuration: Configuration) -> Journal | None:
    """Return the journal; None where no run made one yet and no schedule is configured, so that none can be missed."""
    from supervisor._store.essentials import FILE_NAME, limits
    from supervisor._store.sqlite import open_journal

    directory = runtime.state_path()
    is_there = shared.check_place(directory) and os.path.lexists(os.path.join(directory, FILE_NAME))  # noqa: PTH118 - a text
    may_be_made = configuration.send_for(None) == SENT
    if not is_there and not (may_be_made and any(each.get("schedule") for each in configuration.runs.values())):
        return None
    return open_journal(directory, clock=runtime.clock, **limits())


def _usable(configuration: Configuration, name: str) -> MessageHandler:
    """Return the configured handler of a name.

    Raises:
        ConfigurationError: There is none, or it cannot be built.
    """
    configuration.spec(name)
    handler: Any = active().named(name)
    if isinstance(handler, UnusableHandler):
        raise ConfigurationError(f"the handler {name!r} cannot be used: {handler.reason}")
    return handler  # type: ignore[no-any-return]


def _finder(configuration: Configuration, chosen: tuple[MessageHandler, ...]) -> Callable[[str], MessageHandler | None]:
    """Return what finds the handler for which a message waits: by the name that the outbox has for it."""
    # Its table's name, unless it has an option for that; nothing is built that nothing waits for.
    tables = {str(each.options.get("name") or name): name for name, each in configuration.handlers.items()}
    tables.setdefault("console", "console")
    here = {each.name: each for each in chosen if hasattr(each, "name")}
    return lambda name: here.get(name) or (active().named(tables[name]) if name in tables else None)


def _pinger(url: str) -> HealthchecksHandler:
    from supervisor._cli.checker import pinger

    try:
        return pinger(url)
    except ConfigurationError:
        shared.fail("--ping takes a URL like https://hc-ping.com/your-uuid", shared.WRONG_USE)


def _pinged(pinger: HealthchecksHandler, result: Result) -> Result:
    from supervisor._cli.checker import ping

    text = "\n".join((*result.faults, *(each.message.subject for each in result.new)))
    try:
        ping(pinger, f"supervisor check: {result.headline}", text, works=not result.faults)
    except DeliveryError as error:
        shared.print_problem(f"the ping was not taken: {error}")
        return attrs.evolve(result, ping_error=str(error))
    return attrs.evolve(result, ping_error="")


class _Shown(logging.Handler):
    """Shows on stderr what supervisor logs meanwhile; in a quiet check not that a delivery has to be tried again."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.is_quiet = False
        self._is_delivering = False

    def emit(self, record: logging.LogRecord) -> None:
        if not (self.is_quiet and self._is_delivering):
            shared.print_problem(line(record.getMessage(), 1_000))

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Be quiet, where that is wanted, while messages are delivered: exit code and outbox show the outcome."""
        self._is_delivering = True
        try:
            yield
        finally:
            self._is_delivering = False


@contextmanager
def _log_shown() -> Iterator[_Shown]:
    shown, logger = _Shown(), logging.getLogger("supervisor")
    logger.addHandler(shown)
    try:
        yield shown
    finally:
        logger.removeHandler(shown)


# What is shown


def _print(result: Result, *, quiet: bool) -> None:
    for each in result.delivered.unnotified if quiet else result.new:
        shared.say(_alert_line(each))
    for failed in result.delivered.failed:
        reason = shared.reason(failed.last_error, 300)
        shared.say(
            f"{failed.handler} refused {line(failed.subject)!r}: {reason} (`supervisor flush --failed` sends it again)"
        )
    if quiet:
        return
    for known in result.open:
        shared.say(f"still     {line(result.labels[known.key])}: {known.kind} since {shared.local(known.since)}")
    for rest in result.delivered.rests:
        shared.say(f"resting   {rest_line(rest)}")
    rests = {each.handler for each in result.delivered.rests}
    waiting_alone = [each for each in result.delivered.waiting if each.handler not in rests]
    for waiting in waiting_alone[:_MOST_WAITING]:
        reason = f": {shared.reason(waiting.last_error, 300)}" if waiting.last_error else ""
        shared.say(f"waiting   {line(waiting.subject)!r} for {line(waiting.handler)}{reason}")
    without = result.checked.without_handlers if result.checked is not None else ()
    if without:
        names = ", ".join(line(each, 60) for each in without[:_MOST_NAMES])
        more = f" and {len(without) - _MOST_NAMES:,} more" if len(without) > _MOST_NAMES else ""
        shared.say(f"unheard   no handler is configured for {names}{more}: what a check finds of them is only printed")
    for name, paths in (result.checked.shared_names if result.checked is not None else {}).items():
        shared.say(f"one name  {shared_name_words(name, paths)}")
    if result.fleet is not None and not result.fleet.is_news:
        shared.say(result.fleet.line)
    shared.say(result.headline)


def shared_name_words(name: str, paths: Sequence[str]) -> str:
    """Return what is wrong where several scripts have one name, and the remedy."""
    several = " and ".join(line(each) for each in paths)
    return (
        f"{line(name, 60)} is the name of {several}, which recover each other and are not missed: give each its own "
        '(`supervise("...")`, name=, --name)'
    )


def _alert_line(new: NewAlert) -> str:
    alert = new.alert
    kind = shared.paint(f"{alert.kind.upper():<9}", _STYLES.get(alert.kind, "bold yellow"))
    since = f", since {shared.local(alert.since)}" if alert.kind in {Kind.STALLED, Kind.OVERDUE} else ""
    advice = f"; {alert.advice}" if alert.advice else ""
    return f"{kind} {line(new.message.subject)}{since}{advice}"
