"""Test what your own scripts send: a handler that keeps messages, and the pytest fixture ``supervised_run``.

The fixture comes with the package, pytest finds it by itself::

    def test_a_parcel_without_apn_is_named(supervised_run):
        with pytest.raises(KeyError):
            main()
        assert supervised_run.outcome == "failure"
        assert "apn" in supervised_run.message("failure").subject
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from supervisor._models import Outcome
    from supervisor._models.values import MessageDetails, RunReport
    from supervisor._settings import Settings

__all__ = ["RecordingHandler", "SupervisedRun", "recording", "supervised_run"]


def __dir__() -> list[str]:
    offered = (*__all__, "pytest_configure")  # by which pytest finds its hook; without it there is no fixture either
    return sorted(each for each in offered if each in globals())


@attrs.define(eq=False)
class RecordingHandler:
    """Keeps the messages that it gets, instead of sending them anywhere.

    Args:
        error: Raised for each message, after it was kept, to see what a script does without its channel.
        kinds: The kinds it wants; None takes all.
        name: Its name in logs and in the outbox.
    """

    error: BaseException | None = attrs.field(default=None, kw_only=True)
    kinds: Collection[str] | None = attrs.field(default=None, kw_only=True)
    name: str = attrs.field(default="recording", kw_only=True)
    messages: list[MessageDetails] = attrs.field(factory=list, init=False)

    def send_message(self, details: MessageDetails, /) -> None:
        """Keep one message.

        Raises:
            BaseException: The one that was given as ``error``.
        """
        self.messages.append(details)
        if self.error is not None:
            raise self.error


class SupervisedRun:
    """The messages of the runs of a test and how they ended; the value of the fixture ``supervised_run``."""

    def __init__(self) -> None:
        self._recorder = RecordingHandler(name="supervised_run")
        self._reports: dict[str, RunReport] = {}

    @property
    def messages(self) -> tuple[MessageDetails, ...]:
        """Return what the script's handlers would have got, in that order."""
        return tuple(self._recorder.messages)

    @property
    def reports(self) -> tuple[RunReport, ...]:
        """Return the reports of the runs that have ended, in that order."""
        return tuple(self._reports.values())

    @property
    def report(self) -> RunReport:
        """Return the report of the run that ended last.

        Raises:
            LookupError: No run has ended.
        """
        if not self._reports:
            raise LookupError("no supervised run has ended in this test: call the decorated function first")
        return self.reports[-1]

    @property
    def outcome(self) -> Outcome | None:
        """Return how the run that ended last did so."""
        return self.report.outcome

    def message(self, kind: str = "notice") -> MessageDetails:
        """Return the only message of a kind.

        Raises:
            LookupError: There is none, or more than one; its text lists what there is.
        """
        found = [each for each in self.messages if each.kind == kind]
        if len(found) != 1:
            listing = "\n".join(f"  {each.kind}: {each.subject}" for each in self.messages) or "  nothing"
            raise LookupError(f"{len(found)} messages of kind {kind!r}; the script sent:\n{listing}")
        return found[0]


def _with_recorders(seen: SupervisedRun, settings: Settings) -> Settings:
    """Return the settings of a run with handlers that keep its messages and reports, instead of its own."""
    from supervisor._models import Kind
    from supervisor._settings import SENT

    ends = _EndWatcher(seen._reports)  # noqa: SLF001 - of this module
    handlers: tuple[Any, ...] = (ends,)
    if settings.handlers:
        handlers = (_OfKinds(seen._recorder, settings.report_on | {Kind.NOTICE}), ends)  # noqa: SLF001 - of this module
    return attrs.evolve(settings, handlers=handlers, report_on=tuple(Kind), journal=False, send=SENT, retry_wait_s=0.0)


class _OfKinds:
    """Keeps the messages of the kinds that the run would have sent."""

    name = "supervised_run"

    def __init__(self, handler: RecordingHandler, kinds: Collection[str]) -> None:
        self.kinds = kinds
        self.send_message = handler.send_message


class _EndWatcher:
    """Keeps the reports of runs that have ended."""

    name = "supervised_run ends"

    def __init__(self, reports: dict[str, RunReport]) -> None:
        self._reports = reports

    def send_message(self, details: MessageDetails, /) -> None:
        if details.report is not None and details.report.outcome is not None:
            self._reports[details.report.id] = details.report


@contextmanager
def recording() -> Iterator[SupervisedRun]:
    """Keep the messages of runs in the block, instead of sending them and writing the journal."""
    from supervisor._run.state import replacing_settings

    seen = SupervisedRun()
    with replacing_settings(partial(_with_recorders, seen)):
        yield seen


try:
    import pytest
except ImportError:
    pass
else:

    def pytest_configure(config: pytest.Config) -> None:
        """Search for the configuration from the folder of the tests: the script that runs is pytest's own."""
        try:
            from supervisor._config import active
        except ModuleNotFoundError:  # the core alone, without configuration
            return
        first = config.invocation_params.dir / (config.args or ["."])[0].partition("::")[0]
        active().look_from(str(first if first.exists() else config.rootpath))

    @pytest.fixture
    def supervised_run() -> Iterator[SupervisedRun]:
        """Keep the messages of supervised functions in this test, instead of sending them."""
        with recording() as seen:
            yield seen
