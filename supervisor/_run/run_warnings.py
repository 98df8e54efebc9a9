"""What a run is warned of: by the script, by its exit code, by inner runs that nobody was notified of, and by its log.

A run without warnings never loads this.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import islice, repeat
from operator import length_hint
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from supervisor import _log
from supervisor._exceptions import safe_text
from supervisor._models import FAILED, SUCCEEDED, Outcome
from supervisor._models.values import RunWarning
from supervisor._text import cut_clean
from supervisor.errors import RunSkipped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._models.values import ErrorDetails
    from supervisor._run.state import RunState

MOST_WARNINGS = 10
"""So many warnings of a run are kept; the others are counted."""

_TEXT_LIMIT = 1_000
_MOST_VALUES = 30


class Cleaner(Protocol):
    """What takes secrets out of a run's texts and values: its reporter."""

    def plain(self, name: str, value: Any) -> Any:
        """Return a value as something frozen, without secrets."""

    def redact(self, text: str) -> str:
        """Return a text without secrets."""


class RunWarnings:
    """The warnings of one run, which any thread may add to; a signal handler may do so within another call.

    Attributes:
        first: The first ten.
    """

    __slots__ = ("_left", "first")

    def __init__(self) -> None:
        self.first: tuple[RunWarning, ...] = ()
        self._left = repeat(None, sys.maxsize)  # one is taken for each, without a lock

    @property
    def count(self) -> int:
        """Return how many there were in all."""
        return sys.maxsize - length_hint(self._left)

    def is_next_kept(self) -> bool:
        """Count one more; return whether it is among those that are kept."""
        next(self._left, None)
        return len(self.first) < MOST_WARNINGS

    def keep(self, warning: RunWarning) -> None:
        """Keep one that was counted."""
        self.first = (*self.first, warning)[:MOST_WARNINGS]

    def add_all(self, first: Iterable[RunWarning], count: int) -> None:
        """Add the warnings of another program or run, of which only the first may be known."""
        for _ in islice(self._left, count):
            pass
        for each in first:
            self.keep(each)


def warn(state: RunState, clean: Cleaner, text: object, values: dict[str, Any] | None = None, step: str = "") -> None:
    """Add a warning to a run that is under way.

    Args:
        state: The run.
        clean: Takes secrets out of what is kept.
        text: What is wrong; an exception is shown with its type.
        values: What the script gave with it.
        step: The step, or the inner run, that it comes from; "" for the run itself.
    """
    state.mark_alive()
    if state.has_ended:
        _log.warning("the run %r has ended, and was warned afterwards: %s", state.name, _shown(clean, text))
        return
    known = warnings_of(state)
    if known.is_next_kept():
        known.keep(_made(clean, text, values or {}, step))
    _log.info("%s: warning: %s", state.name, _shown(clean, text))


def warnings_of(state: RunState) -> RunWarnings:
    """Return what the warnings of a run are added to."""
    if state.warnings is None:
        state.warnings = RunWarnings()
    known: RunWarnings = state.warnings
    return known


def _made(clean: Cleaner, text: object, values: dict[str, Any], step: str) -> RunWarning:
    kept = {name: clean.plain(name, value) for name, value in islice(values.items(), _MOST_VALUES)}
    return RunWarning(text=_shown(clean, text), values=kept, step=step)


def _shown(clean: Cleaner, text: object) -> str:
    """Return a text without secrets and of bounded length, and of an exception its type with it."""
    said = safe_text(text)
    if isinstance(text, BaseException):
        said = f"{type(text).__name__}: {said}".removesuffix(": ")
    return cut_clean(said, _TEXT_LIMIT, clean.redact).strip() or "(no text)"


# What nobody was notified of


class UnheardError:
    """The failure of an inner run that nobody was notified of; the run around it may swallow it.

    Args:
        name: The name of the inner run.
        details: Its error.
        mark: What is noted on the exception, so that it is known again.
    """

    __slots__ = ("details", "mark", "name")

    def __init__(self, name: str, details: ErrorDetails, mark: object) -> None:
        self.name = name
        self.details = details
        self.mark = mark


def hand_to_outer(run: RunState, error: BaseException | None, details: ErrorDetails | None) -> None:
    """Let the run around one without handlers know of its warnings, and of its failure, which it may swallow."""
    outer = run.parent
    if outer is None or outer.has_ended or outer.is_forked:
        return
    name = run.name
    if run.outcome in SUCCEEDED:
        first, count = all_of(run)
        if count:
            warnings_of(outer).add_all((attrs.evolve(each, step=each.step or name) for each in first), count)
        return
    if details is not None and run.outcome in FAILED and len(outer.unheard) < MOST_WARNINGS:
        unheard = UnheardError(name, details, object())
        if error is not None:
            _mark(error, unheard.mark)
        outer.unheard = (*outer.unheard, unheard)


def warn_of_unheard(state: RunState, clean: Cleaner, error: BaseException | None) -> None:
    """Warn a run that ends of the failures of its inner runs that it swallowed; its own error shows all others."""
    unheard, state.unheard = state.unheard, ()
    shown = _marks_of(error)
    for each in unheard:
        if each.mark in shown:
            continue
        where = f" at {each.details.where}" if each.details.where else ""
        known = warnings_of(state)
        if known.is_next_kept():
            known.keep(RunWarning(text=_shown(clean, f"failed: {each.details}{where}"), step=each.name))


_MARK = "__supervisor_unheard__"
_MOST_CAUSES = 50


def _mark(error: BaseException, mark: object) -> None:
    with suppress(Exception):  # an exception may refuse new attributes: it is then shown twice rather than never
        error.__dict__[_MARK] = (*error.__dict__.get(_MARK, ()), mark)


def _marks_of(error: BaseException | None) -> set[object]:
    """Return the marks on an exception and on all that it comes from."""
    found: set[object] = set()
    left, seen = [error], 0
    while left and seen < _MOST_CAUSES:
        each, seen = left.pop(), seen + 1
        if each is None:
            continue
        with suppress(Exception):  # an exception may break whatever is asked of it
            found.update(each.__dict__.get(_MARK, ()))
        left += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions
    return found


# What a report and the journal have of them


def all_of(state: RunState) -> tuple[tuple[RunWarning, ...], int]:
    """Return the first ten warnings of a run, those of its log last, and how many there are in all."""
    first: tuple[RunWarning, ...] = ()
    count = 0
    if state.warnings is not None:
        first, count = state.warnings.first, state.warnings.count
    if state.log is not None and state.log.warned:
        count += state.log.warned
        logged = (RunWarning(text=each, is_logged=True) for each in state.log.warned_lines)
        first = (*first, *logged)[:MOST_WARNINGS]
    return first, count


# The end


def settle(state: RunState, clean: Cleaner, error: BaseException | None) -> BaseException | None:
    """Let a run that ended well, but with warnings, have the outcome warning; so too by its exit code.

    Returns:
        The exception that is reported with the end; None for one that says that the run ended well.
    """
    if state.unheard:
        warn_of_unheard(state, clean, error)
    if state.outcome is Outcome.FAILURE and state.exit_code in state.settings.warn_exit_codes and _exits(error):
        state.outcome = Outcome.WARNING
        _warn_of_exit(state, clean, error)
        return error
    if state.outcome is Outcome.WARNING:
        if not all_of(state)[1]:  # a program that joined the run has said so itself
            _warn_of_exit(state, clean, error)
        return error
    if state.outcome in (Outcome.SUCCESS, Outcome.SKIPPED) and all_of(state)[1]:
        state.outcome = Outcome.WARNING
        return error if isinstance(error, RunSkipped) else None
    return error


def _exits(error: BaseException | None) -> bool:
    """Return whether the script itself asked for its exit code; a command says by its outcome what its code means."""
    return not hasattr(error, "__supervisor_error_details__")


def _warn_of_exit(state: RunState, clean: Cleaner, error: BaseException | None) -> None:
    details = getattr(error, "__supervisor_error_details__", None)
    text = f"exit code {state.exit_code}"
    if details is not None:
        text = str(details())
    elif isinstance(error, SystemExit) and isinstance(error.code, str):
        text = f"{text}, {safe_text(error.code)}"
    known = warnings_of(state)
    known.is_next_kept()
    known.keep(RunWarning(text=_shown(clean, text)))
