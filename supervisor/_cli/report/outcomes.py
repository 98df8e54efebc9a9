"""How runs and days turned out, in the words, codes and shapes of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._models import kinds
from supervisor._models.kinds import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNNING = "running"
OUTCOMES: tuple[str, ...] = (RUNNING, *map(str, Outcome))
"""All outcomes; a run's code is its place in here."""
CODES = {outcome: code for code, outcome in enumerate(OUTCOMES)}

FAILED = tuple(CODES[each] for each in kinds.FAILED)
"""The codes of what makes a streak of failures longer."""
SUCCESS = CODES["success"]

DAYS: dict[str, str] = {
    "good": "all went well",
    "part": "some failed",
    "bad": "failed",
    "died": "died",
    "stopped": "stopped or cancelled",
    "skipped": "skipped",
    "running": "still running",
}
"""How a day can turn out, and what the legend says of it."""


def code_of(outcome: str | None) -> int:
    """Return the code of an outcome; one that this version does not know counts as a failure."""
    return CODES[RUNNING] if outcome is None else CODES.get(outcome, CODES["failure"])


def day_of(counts: Sequence[int]) -> str:
    """Return how a day turned out by how many of its runs had each outcome."""
    have = {outcome for outcome, count in zip(OUTCOMES, counts, strict=True) if count}
    if have & {"failure", "terminated", "died"}:
        if "success" in have:
            return "part"
        return "died" if "died" in have and "failure" not in have else "bad"
    for day, outcomes in (("good", {"success"}), ("stopped", {"interrupted", "cancelled"}), ("running", {"running"})):
        if have & outcomes:
            return day
    return "skipped"
