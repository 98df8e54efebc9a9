"""What of a traceback is shown: the script's frames, and of the libraries' those at the borders."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from supervisor._exceptions.frames import Owner, Seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
