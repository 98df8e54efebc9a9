"""Tracebacks as text, as Python writes them, but with library frames folded and nothing without bounds.

- What of a traceback is shown: the script's frames, and of the libraries' those at the borders.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from supervisor._exceptions.chain import (
    attempt,
    chain_of,
    group_of,
    kind_of,
    last_words,
    notes_of,
    trace_of,
)
from supervisor._exceptions.frames import Owner, Seen, frames_of
from supervisor._exceptions.plain import MESSAGE_LIMIT, TRACEBACK_LIMIT, fit, redacted
from supervisor._exceptions.variables import Shower, local_variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from supervisor._exceptions.source import Sources
    from supervisor._redaction import Redactor

_MOST_STEPS = 200
_MOST_PACKAGES = 4
_LONGEST_PERIOD = 12
_LEAST_REPEATED = 3


class Left(NamedTuple):
    """Frames that are not shown.

    Args:
        frames: How many.
        text: What stands in their place.
    """

    frames: int
    text: str


Step: TypeAlias = "Seen | Left"


def folded(frames: Sequence[Seen]) -> list[Step]:
    """Return what is shown of a traceback, outermost first.

    All frames of the script are, the one that each of them called, and the one where it was raised. What is between
    them in libraries is told in a line. A recursion is shown once, and of a very long traceback its two ends.
    """
    return _bounded(_without_repeats(list(_without_libraries(frames))))


def _without_libraries(frames: Sequence[Seen]) -> Iterator[Step]:
    last = len(frames) - 1
    has_script = any(each.is_script for each in frames)
    hidden: list[Seen] = []
    follows_script = not has_script  # then the first one shows where it began
    for number, frame in enumerate(frames):
        if not (frame.is_script or follows_script or number == last):
            hidden.append(frame)
            continue
        if hidden:
            yield from _line_for(hidden)
            hidden = []
        yield frame
        follows_script = frame.is_script


def _line_for(hidden: list[Seen]) -> Sequence[Step]:
    """Return a line for several frames; a single one is as well shown itself."""
    return hidden if len(hidden) == 1 else [Left(len(hidden), f"{len(hidden)} frames in {_packages(hidden)}")]


def _packages(frames: Iterable[Seen]) -> str:
    """Return where frames are ("sqlalchemy, pandas (site-packages), asyncio (standard library)")."""
    names = list(dict.fromkeys((each.owner is Owner.PYTHON, each.package) for each in frames))
    kept = sorted(names[:_MOST_PACKAGES], key=lambda name: name[0])  # libraries first, each kind in order of calls
    parts = []
    for is_python, some in groupby(kept, key=lambda name: name[0]):
        place = Owner.PYTHON if is_python else Owner.LIBRARY
        parts.append(f"{', '.join(package for _, package in some)} ({place.value})")
    more = len(names) - len(kept)
    return ", ".join(parts) + (f" and {more} more" if more else "")


def _without_repeats(steps: list[Step]) -> list[Step]:
    """Return steps of which each sequence that follows upon itself stands there once, with a line that says so."""
    ids: dict[object, int] = {}
    keys = [ids.setdefault((id(each.code), each.line) if isinstance(each, Seen) else each, len(ids)) for each in steps]
    if len(ids) == len(steps):
        return steps
    shown: list[Step] = []
    at = 0
    while at < len(steps):
        period, times = _repeated(keys, at)
        shown += steps[at : at + period]
        if times:
            count = sum(_count(each) for each in steps[at : at + period])
            what = "the last frame" if count == 1 else f"the last {count} frames"
            shown.append(Left(count * times, f"{what} repeated {times:,} times"))
        at += period * (times + 1)
    return shown


def _repeated(keys: list[int], at: int) -> tuple[int, int]:
    """Return how long what is repeated from a step on is, and how many times more it stands there; (1, 0) for none."""
    for period in range(1, _LONGEST_PERIOD + 1):
        end = at + period
        if end >= len(keys) or keys[at] != keys[end]:
            continue
        block = keys[at:end]
        while keys[end : end + period] == block:
            end += period
        times = (end - at) // period - 1
        if times * period >= _LEAST_REPEATED:
            return period, times
    return 1, 0


def _bounded(steps: list[Step]) -> list[Step]:
    if len(steps) <= _MOST_STEPS:
        return steps
    half = _MOST_STEPS // 2
    count = sum(_count(each) for each in steps[half:-half])
    return [*steps[:half], Left(count, f"{count:,} more frames"), *steps[-half:]]


def _count(step: Step) -> int:
    return 1 if isinstance(step, Seen) else step.frames


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
