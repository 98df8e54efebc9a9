"""What a message holds of its run besides the report: how it compares with those before it.

It stands apart from the other parts because every message that a run sends of itself has one, and the rest is needed
only where it is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias

    from supervisor._messages.baseline import Usual

    Change: TypeAlias = Callable[[str], str]


def _numbers(value: Iterable[float]) -> tuple[float, ...]:
    return tuple(value)


@attrs.frozen
class Bars:
    """Durations of runs, the oldest first, for the eye.

    Args:
        durations_s: One for each run.
        marks: One character for each run: "." went well, "x" failed, "-" neither, "o" is still under way.
        first: When the first run started.
        last: When the last one started.
        text: The same in a sentence, for those who see no bars.
    """

    durations_s: tuple[float, ...] = attrs.field(converter=_numbers)
    marks: str
    first: str
    last: str
    text: str

    def with_texts(self, change: Change) -> Bars:
        """Return it with its texts changed."""
        return attrs.evolve(self, text=change(self.text))


def _frozen(value: Mapping[str, Usual]) -> Mapping[str, Usual]:
    from types import MappingProxyType

    return MappingProxyType(dict(value))


@attrs.frozen(kw_only=True)
class Account:
    """The account of a run: stands for all that the message's own report says.

    :func:`supervisor._messages.sections.parts_of` spells it out.

    Args:
        note: What else there is to say, behind the first sentence; "" for nothing.
        compared: How the run compares with those before it, in a sentence; "" where nothing is known of them.
        usual: What is usual for the numbers that were recorded, by their names.
        usual_duration: What is usual for its duration, in seconds; None where that is not known.
        bars: The durations of the last runs; None where there are too few.
    """

    note: str = ""
    compared: str = ""
    usual: Mapping[str, Usual] = attrs.field(factory=dict, converter=_frozen, hash=False)
    usual_duration: Usual | None = None
    bars: Bars | None = None

    def with_texts(self, change: Change) -> Account:
        """Return it with its texts changed; what else it says comes from the report, and is changed there."""
        usual = {change(name): each for name, each in self.usual.items()}
        return attrs.evolve(self, note=change(self.note), usual=usual)
