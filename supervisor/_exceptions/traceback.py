"""Tracebacks as text, as Python writes them, but with library frames folded and nothing without bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._exceptions.chains import chain_of, group_of, kind_of, notes_of, trace_of
from supervisor._exceptions.exception_text import last_words
from supervisor._exceptions.folding import folded
from supervisor._exceptions.frames import Seen, frames_of
from supervisor._exceptions.guard import attempt
from supervisor._exceptions.plain import MESSAGE_LIMIT, TRACEBACK_LIMIT, fit, redacted
from supervisor._exceptions.variables import Shower
from supervisor._exceptions.variables_part import local_variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from supervisor._exceptions.folding import Step
    from supervisor._exceptions.source import Sources
    from supervisor._redaction import Redactor

_ROOM = 2 * TRACEBACK_LIMIT  # more is not composed, since it would be cut
_MOST_IN_GROUP = 15  # as many as Python shows, and as deep
_DEEPEST_GROUP = 10
_MOST_VARIABLES = 10
_CLOSING = "+------------------------------------"


class Composer:
    """Writes the traceback of one exception, with all that led to it.

    Args:
        sources: Where lines of code come from.
        redactor: Takes secrets out of each exception's part before anything of it is cut or indented.
        own: The installed package that is the script itself; "" for none.
        without_variables: The frame whose variables stand elsewhere; None shows no variables at all.
    """

    def __init__(
        self, sources: Sources, redactor: Redactor | None, own: str, without_variables: Seen | None = None
    ) -> None:
        self._sources = sources
        self._redactor = redactor
        self._shower = Shower(redactor)
        self._own = own
        self._without_variables = without_variables
        self._seen: set[int] = set()
        self._room = _ROOM

    def compose(self, error: BaseException, frames: Sequence[Seen]) -> str:
        """Return the traceback.

        Args:
            error: The exception.
            frames: Its frames.
        """
        lines: list[str] = []
        self._chain(error, 0, lines, frames)
        # What was cut already is longer than this only in a very long chain or group, and has no secrets any more.
        return fit("\n".join(lines), TRACEBACK_LIMIT, None).rstrip()

    def _chain(self, error: BaseException, depth: int, out: list[str], frames: Sequence[Seen] | None = None) -> bool:
        """Write an exception and what led to it; tell whether a group's closing line ended it.

        The newest is written first, so that it is the oldest for which no room is left.
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

    def _one(self, error: BaseException, depth: int, out: list[str], frames: Sequence[Seen] | None) -> bool:
        """Write one exception, with those in it if it is a group; tell whether a group's closing line ended it."""
        group = group_of(error)
        if group is not None and depth > _DEEPEST_GROUP:
            _emit([f"... (groups deeper than {_DEEPEST_GROUP} are left out)"], depth, out)
            return False
        if frames is None:
            frames = attempt(frames_of, trace_of(error), self._own, otherwise=list[Seen]())
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
        """Write the exceptions of a group, as many as there is room for, and the line that closes it."""
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

    def _block(self, error: BaseException, frames: Sequence[Seen], title: str) -> str:
        """Return one exception with its own traceback, without secrets."""
        unknown = f"{kind_of(error)}: its text cannot be shown"
        steps: Sequence[Step] = attempt(folded, frames, otherwise=frames[-1:])
        said = attempt(self._said, error, otherwise=unknown)
        text = self._joined(steps, title, said, marked=True)
        clean = attempt(redacted, text, self._redactor, otherwise=unknown)
        if clean is text or clean is unknown or "^" not in text:
            return clean
        # The marks do not fit a line any more that had a secret, and would tell how long it was.
        return attempt(redacted, self._joined(steps, title, said, marked=False), self._redactor, otherwise=unknown)

    def _said(self, error: BaseException) -> str:
        words = [last_words(error, self._redactor), *notes_of(error)]
        return "\n".join(
            fit(each, MESSAGE_LIMIT, self._redactor) if len(each) > MESSAGE_LIMIT else each for each in words
        )

    def _joined(self, steps: Sequence[Step], title: str, said: str, *, marked: bool) -> str:
        if not steps:
            return said
        shown = (attempt(self._step, each, marked, otherwise="  ... a frame that cannot be shown") for each in steps)
        return "\n".join([f"{title} (most recent call last):", *shown, said])

    def _step(self, step: Step, marked: bool) -> str:
        if not isinstance(step, Seen):
            return f"  ... {step.text}"
        lines = [f'  File "{step.path}", line {step.line}, in {step.function}']
        line = self._sources.line(step)
        if line:
            lines.append(f"    {self._sources.bounded(line)}")
            marks = self._sources.marks(step, line) if marked and step.is_script else ""
            lines += [f"    {marks}"] if marks else []
        lines += self._variables(step)
        return "\n".join(lines)

    def _variables(self, frame: Seen) -> Iterator[str]:
        apart = self._without_variables
        if apart is None or not frame.is_script or frame.trace is apart.trace:
            return
        for name, text in local_variables(frame.trace.tb_frame, self._shower, _MOST_VARIABLES):
            yield f"      {name} = {text}"


def _emit(lines: Sequence[str], depth: int, out: list[str], first_margin: str = "|") -> None:
    """Add lines, behind the margin that tells how deep in groups they are."""
    if not depth:
        out += lines
        return
    margin = f"{'  ' * depth}| "
    for number, line in enumerate(lines):
        out.append(f"{margin}{line}" if number or first_margin == "|" else f"{'  ' * depth}{first_margin} {line}")
