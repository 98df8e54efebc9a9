"""Let the messages of a run be printed or dropped, where the setting ``send`` says that none is to be sent.

Whatever handlers a script has, one that prints, or that wants nothing, stands in for all of them. What waits in an
outbox for the handlers themselves is left alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs

from supervisor import _log
from supervisor._delivery import handler_name
from supervisor._models import Kind
from supervisor._redaction import secrets_of
from supervisor._setting_values import kinds_of
from supervisor.message_handlers._console import ConsoleHandler

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from supervisor._models.values import MessageDetails, MessageHandler
    from supervisor._settings import Settings

_DRY_RUN = "_SUPERVISOR_DRY_RUN"
IN_DRY_RUN = {"SUPERVISOR_SEND": "console", _DRY_RUN: "1"}
"""What ``supervisor run --dry-run`` has in the environment of its program: nothing is sent or kept by that either."""

_ALSO = frozenset({Kind.NOTICE, Kind.PROGRESS})
_noted: set[str] = set()


@attrs.frozen(kw_only=True, eq=False)
class StandIn(ConsoleHandler):
    """Prints the messages of some handlers, once for all of them, and says which of them would have got each.

    Args:
        wanted: The kinds that each handler wants, by its name.
        credentials: What must not be printed: the credentials of the handlers.
    """

    wanted: tuple[tuple[str, frozenset[Kind]], ...] = ()
    credentials: frozenset[str] = attrs.field(default=frozenset(), repr=False)

    @property
    def _destination(self) -> tuple[object, ...]:
        return self.wanted

    def names(self, kind: Kind) -> list[str]:
        """Return the names of the handlers that would have got a message of this kind."""
        return [name for name, kinds in self.wanted if kind in kinds]

    def _last_line(self, details: MessageDetails) -> str:
        names = self.names(details.kind)
        return f"not sent to {', '.join(names)}" if names else "not sent: no handler is given"


def stand_in_for(handlers: Iterable[MessageHandler], report_on: Collection[Kind], *, prints: bool = True) -> StandIn:
    """Return what stands in for some handlers.

    Args:
        handlers: The handlers.
        report_on: The kinds that a handler gets that does not say which it wants.
        prints: False drops the messages.
    """
    handlers, usual = tuple(handlers), _ALSO.union(report_on)
    wanted = tuple((handler_name(each), usual if (own := kinds_of(each)) is None else own) for each in handlers)
    kinds = frozenset[Kind]().union(*(each for _, each in wanted)) if wanted else usual
    return StandIn(
        name=f"console, for {', '.join(name for name, _ in wanted) or 'nobody'}",
        kinds=kinds if prints else frozenset(),
        wanted=wanted,
        credentials=frozenset[str]().union(*map(secrets_of, handlers)),
    )


def without_sending(settings: Settings, *, is_inner: bool) -> Settings:
    """Return the settings of a run whose messages are printed ("console") or dropped ("off").

    Args:
        settings: The settings that the script and the configuration give.
        is_inner: Whether the run is nested in another one: without handlers it leaves the report to that one.
    """
    prints = settings.send == "console"
    _note_once(settings.send)
    stands_in = stand_in_for(settings.handlers, settings.report_on, prints=prints)
    return attrs.evolve(
        settings,
        handlers=() if is_inner and not settings.handlers else (stands_in,),
        report_on=settings.report_on if prints else (),
        # A failure that nobody gets must not hold back the next one, which somebody gets.
        repeat_after_s=0.0,
        alert_after=None,
        journal=settings.journal and _DRY_RUN not in os.environ,
    )


def _note_once(send: str) -> None:
    if send not in _noted:
        _noted.add(send)
        what = "messages are printed, and none is sent" if send == "console" else "no message is sent"
        _log.info('send = "%s": %s (`supervisor config` shows where that is set)', send, what)
