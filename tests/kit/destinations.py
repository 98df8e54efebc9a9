"""A handler with the options of this package's handlers that keeps its messages, and a machine whose clock is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from supervisor import supervise
from supervisor._cli.checker import Check
from supervisor._config.configuration import Configuration
from supervisor._runtime import Runtime
from supervisor._store import open_journal
from supervisor.message_handlers._options import Destination, kinds, only_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from supervisor._models import Kind
    from supervisor._store import Journal
    from supervisor.models import MessageDetails


@attrs.define(kw_only=True, eq=False)
class Mailbox(Destination):
    """Keeps its messages."""

    kinds: frozenset[Kind] | None = attrs.field(default=None, converter=kinds, validator=only_kinds)
    name: str = "mailbox"
    messages: list[MessageDetails] = attrs.field(factory=list, init=False)

    @property
    def _destination(self) -> tuple[object, ...]:
        return (self.name,)

    @property
    def _default_name(self) -> str:
        return "mailbox"

    def send_message(self, details: MessageDetails, /) -> None:
        """Keep one message."""
        self.messages.append(details)

    def taken(self) -> list[str]:
        """Return kind and name of the messages since the last call."""
        found = [f"{each.kind} {each.report.name if each.report is not None else ''}".strip() for each in self.messages]
        self.messages.clear()
        return found


class Clockwork:
    """Runs and checks at moments of its own.

    Args:
        state: Where the journal is.

    Attributes:
        now_s: The moment, in seconds since 1970.
        runs: What is configured for the runs of each name.
        settings: What is configured for all runs.
    """

    def __init__(self, state: Path, now_s: float) -> None:
        self.now_s = now_s
        self.runs: dict[str, dict[str, Any]] = {}
        self.settings: dict[str, Any] = {}
        self.runtime = Runtime(state_directory=state, clock=lambda: self.now_s)
        self.journal: Journal = open_journal(state, clock=lambda: self.now_s)

    def run(self, name: str, error: BaseException | None = None, **settings: Any) -> None:
        """Let a run end well, or with an error."""
        self.now_s += 1.0
        with supervise(name, reraise=False, **settings):
            self.now_s += 1.0
            if error is not None:
                raise type(error)(*error.args)  # a run notes on an exception who was told of it

    def check(self, *handlers: Any) -> None:
        """Let a check look and deliver."""
        check = Check(
            self.journal,
            Configuration(runs=self.runs, settings=self.settings),
            lambda _: handlers,
            runtime=self.runtime,
            clock=lambda: self.now_s,
        )
        check.deliver(check.raise_alerts().new, {each.name: each for each in handlers}.get, 30.0)

    def states(self) -> Iterator[tuple[str, str, str]]:
        """Yield the handler, the kind and the state of each delivery."""
        yield from self.journal._database.rows("SELECT handler, kind, state FROM delivery ORDER BY key")
