"""An exception as plain values: its message, place, notes, local variables, and the whole traceback as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from supervisor._exceptions.chain import (
    chain_of,
    class_name_of,
    exception_text,
    group_of,
    message_text,
    notes_of,
    safe_result,
    trace_of,
)
from supervisor._exceptions.frames import (
    Frame,
    fingerprint,
    folded_frames,
    frames_of,
    innermost,
    location_text,
    own_package,
)
from supervisor._exceptions.plain import MESSAGE_LIMIT, TRACEBACK_LIMIT, fit, fit_line, redacted_text
from supervisor._exceptions.source import Sources
from supervisor._exceptions.variables import ValueFormatter, local_variables
from supervisor._models.values import ErrorDetails

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from supervisor._exceptions.frames import Step
    from supervisor._redaction import Redactor

OWN_DETAILS = "__supervisor_error_details__"

_NOTE_LIMIT = 1_000
_NAME_LIMIT = 300
_ROOM = 2 * TRACEBACK_LIMIT  # a longer traceback is not written, since it would be cut
_MOST_IN_GROUP = 15  # the limits of Python's own tracebacks
_DEEPEST_GROUP = 10
_MOST_VARIABLES = 10
_CLOSING = "+------------------------------------"


def details_of(error: BaseException, thread: str, redactor: Redactor | None, *, show_locals: bool) -> ErrorDetails:
    """Return an exception as plain values; see :func:`supervisor._exceptions.facts.error_details`."""
    package = safe_result(own_package, trace_of(error), otherwise="")
    frames: Sequence[Frame] = safe_result(frames_of, trace_of(error), package, otherwise=[])
    own = safe_result(_own_details, error, frames, thread, redactor, otherwise=None)
    if own is not None:
        return own
    place, sources, nothing = innermost(frames), Sources(redactor), ("", "")
    source, excerpt = nothing if place is None else safe_result(sources.excerpt, place, otherwise=nothing)
    writer = TracebackWriter(sources, redactor, package, place if show_locals else None)
    kind = class_name_of(error)
    return ErrorDetails(
        type=kind,
        message=safe_result(_message, error, redactor, otherwise="<its text cannot be shown>"),
        where=safe_result(_line, location_text(place), redactor, otherwise=""),
        source=source,
        excerpt=excerpt,
        notes=safe_result(_notes, error, redactor, otherwise=()),
        local_variables=safe_result(_variables, place, redactor, otherwise=()) if show_locals else (),
        traceback=safe_result(writer.write, error, frames, otherwise=f"{kind}: its traceback cannot be shown"),
        thread=safe_result(_line, thread, redactor, otherwise="a thread"),
        fingerprint=safe_result(fingerprint, kind, frames, otherwise=""),
    )


def _message(error: BaseException, redactor: Redactor | None) -> str:
    text = message_text(error, redactor)
    return fit(text, MESSAGE_LIMIT, redactor) if text else ""


def _line(text: str, redactor: Redactor | None) -> str:
    return fit_line(text, _NAME_LIMIT, redactor) if text else ""


def _notes(error: BaseException, redactor: Redactor | None) -> tuple[str, ...]:
    return tuple(fit(each, _NOTE_LIMIT, redactor) for each in notes_of(error))


def _variables(place: Frame | None, redactor: Redactor | None) -> tuple[tuple[str, str], ...]:
    """Return the local variables of the innermost frame if it belongs to the script."""
    if place is None or not place.is_script:
        return ()
    return tuple(local_variables(place.trace.tb_frame, ValueFormatter(redactor)))


def _own_details(
    error: BaseException, frames: Sequence[Frame], thread: str, redactor: Redactor | None
) -> ErrorDetails | None:
    """Return the details that an exception's class provides itself; None if it provides none."""
    provide = getattr(type(error), OWN_DETAILS, None)
    details = provide(error) if callable(provide) else None
    if not isinstance(details, ErrorDetails):
        return None
    return attrs.evolve(
        _redacted_details(details, redactor),
        thread=_line(thread or details.thread, redactor),
        fingerprint=details.fingerprint or fingerprint(details.type, frames),
    )


def _redacted_details(details: ErrorDetails, redactor: Redactor | None) -> ErrorDetails:
    """Return details without secrets, each text within its usual limit."""
    if redactor is not None:
        from supervisor._redaction.redactor import redacted_error

        details = redacted_error(redactor, details)
    return attrs.evolve(
        details,
        message=fit(details.message, MESSAGE_LIMIT, redactor),
        where=_line(details.where, redactor),
        source=_line(details.source, redactor),
        excerpt=fit(details.excerpt, MESSAGE_LIMIT, redactor),
        notes=tuple(fit(each, _NOTE_LIMIT, redactor) for each in details.notes),
        local_variables=tuple((name, fit(text, _NOTE_LIMIT, redactor)) for name, text in details.local_variables),
        traceback=fit(details.traceback, TRACEBACK_LIMIT, redactor),
    )


class TracebackWriter:
    """Writes the traceback of one exception as Python does, with its chain and groups, but bounded and folded.

    Args:
        sources: Where lines of source code come from.
        redactor: Removes secrets from the part of each exception before it is cut or indented.
        own: The installed package that is the script itself; "" for none.
        without_variables: The frame whose variables are shown elsewhere; None shows no variables at all.
    """

    def __init__(
        self, sources: Sources, redactor: Redactor | None, own: str, without_variables: Frame | None = None
    ) -> None:
        self._sources = sources
        self._redactor = redactor
        self._formatter = ValueFormatter(redactor)
        self._own = own
        self._without_variables = without_variables
        self._seen: set[int] = set()
        self._room = _ROOM

    def write(self, error: BaseException, frames: Sequence[Frame]) -> str:
        """Return the traceback.

        Args:
            error: The exception.
            frames: Its frames.
        """
        lines: list[str] = []
        self._chain(error, 0, lines, frames)
        # All parts are redacted already, and only a very long chain or group exceeds the limit.
        return fit("\n".join(lines), TRACEBACK_LIMIT, None).rstrip()

    def _chain(self, error: BaseException, depth: int, out: list[str], frames: Sequence[Frame] | None = None) -> bool:
        """Write an exception and those that led to it; return whether it ended with the closing line of a group.

        The newest is written first, so that the oldest is left out when there is no more room.
        """
        parts: list[list[str]] = []
        is_closed = False
        for number, link in enumerate(chain_of(error, self._seen)):
            part: list[str] = []
            closes = self._one(link.error, depth, part, frames if number == 0 else None)
            is_closed = is_closed or (closes and number == 0)
            if link.sentence:
                _emit(["", *link.sentence.split("\n"), ""], depth, part)
            parts.append(part)
            if self._room <= 0:
                break
        for part in reversed(parts):
            out += part
        return is_closed

    def _one(self, error: BaseException, depth: int, out: list[str], frames: Sequence[Frame] | None) -> bool:
        """Write one exception, with its members if it is a group; return whether a group's closing line ended it."""
        group = group_of(error)
        if group is not None and depth > _DEEPEST_GROUP:
            _emit([f"... (groups deeper than {_DEEPEST_GROUP} are left out)"], depth, out)
            return False
        if frames is None:
            frames = safe_result(frames_of, trace_of(error), self._own, otherwise=list[Frame]())
        text = self._block(error, frames, "Exception Group Traceback" if group is not None else "Traceback")
        self._room -= len(text)
        if group is None:
            _emit(text.split("\n"), depth, out)
            return False
        is_outermost = depth == 0
        depth = max(depth, 1)
        _emit(text.split("\n"), depth, out, "+" if is_outermost and frames else "|")
        self._members(group, depth, out)
        return True

    def _members(self, group: Sequence[BaseException], depth: int, out: list[str]) -> None:
        """Write the exceptions of a group, as many as there is room for, and its closing line."""
        is_closed = False
        for number, error in enumerate(group):
            is_shown = number < _MOST_IN_GROUP and self._room > 0
            title = f"+---------------- {number + 1 if is_shown else '...'} ----------------"
            out.append(f"{'  ' * depth}{'  ' if number else '+-'}{title}")
            if not is_shown:
                left_out = len(group) - number
                _emit([f"and {left_out:,} more exception{'' if left_out == 1 else 's'}"], depth + 1, out)
                is_closed = False
                break
            is_closed = self._chain(error, depth + 1, out)
        if not is_closed:
            out.append(f"{'  ' * (depth + 1)}{_CLOSING}")

    def _block(self, error: BaseException, frames: Sequence[Frame], title: str) -> str:
        """Return one exception with its own traceback, without secrets."""
        unknown = f"{class_name_of(error)}: its text cannot be shown"
        steps: Sequence[Step] = safe_result(folded_frames, frames, otherwise=frames[-1:])
        last_lines = safe_result(self._last_lines, error, otherwise=unknown)
        text = self._joined(steps, title, last_lines, marked=True)
        clean = safe_result(redacted_text, text, self._redactor, otherwise=unknown)
        if clean is text or clean is unknown or "^" not in text:
            return clean
        # A line whose secret was replaced must not be underlined: the marks would show how long the secret was.
        text = self._joined(steps, title, last_lines, marked=False)
        return safe_result(redacted_text, text, self._redactor, otherwise=unknown)

    def _last_lines(self, error: BaseException) -> str:
        """Return what is below the frames: the type and message of an exception, and its notes."""
        texts = [exception_text(error, self._redactor), *notes_of(error)]
        return "\n".join(
            fit(each, MESSAGE_LIMIT, self._redactor) if len(each) > MESSAGE_LIMIT else each for each in texts
        )

    def _joined(self, steps: Sequence[Step], title: str, last_lines: str, *, marked: bool) -> str:
        if not steps:
            return last_lines
        shown = (
            safe_result(self._step, each, marked, otherwise="  ... a frame that cannot be shown") for each in steps
        )
        return "\n".join([f"{title} (most recent call last):", *shown, last_lines])

    def _step(self, step: Step, marked: bool) -> str:
        if not isinstance(step, Frame):
            return f"  ... {step.text}"
        lines = [f'  File "{step.path}", line {step.line}, in {step.function}']
        line = self._sources.line(step)
        if line:
            lines.append(f"    {self._sources.bounded(line)}")
            marks = self._sources.marks(step, line) if marked and step.is_script else ""
            lines += [f"    {marks}"] if marks else []
        lines += self._variables(step)
        return "\n".join(lines)

    def _variables(self, frame: Frame) -> Iterator[str]:
        shown_elsewhere = self._without_variables
        if shown_elsewhere is None or not frame.is_script or frame.trace is shown_elsewhere.trace:
            return
        for name, text in local_variables(frame.trace.tb_frame, self._formatter, _MOST_VARIABLES):
            yield f"      {name} = {text}"


def _emit(lines: Sequence[str], depth: int, out: list[str], first_margin: str = "|") -> None:
    """Append lines, each after the margin that shows how deep in groups they are."""
    if not depth:
        out += lines
        return
    margin = f"{'  ' * depth}| "
    for number, line in enumerate(lines):
        out.append(f"{margin}{line}" if number or first_margin == "|" else f"{'  ' * depth}{first_margin} {line}")
