"""What bounds the page, and what was left out of it for that."""

from __future__ import annotations

import attrs

LISTED = 20_000
"""The most runs in the list; calendars and charts show all."""
CARDS = 100
"""The most scripts with calendar and charts; the table of scripts has all."""
ERROR_CHARACTERS = 4_000_000
LOG_CHARACTERS = 2_000_000
LOG_FILES = 400
FACT_CHARACTERS = 6_000_000


class Budget:
    """Characters that can be spent.

    Args:
        characters: How many there are.
    """

    def __init__(self, characters: int) -> None:
        self._left = characters

    def takes(self, characters: int) -> bool:
        """Spend characters and return True, or return False when there are not enough."""
        if characters > self._left:
            return False
        self._left -= characters
        return True


@attrs.define
class LeftOut:
    """How much of what there is does not stand in the page.

    Args:
        runs: Runs that are not in the list.
        errors: Failed runs whose traceback is not there.
        logs: Runs whose log was not read.
        values: Runs whose recorded values are not there.
        cards: Scripts without calendar and charts.
    """

    runs: int = 0
    errors: int = 0
    logs: int = 0
    values: int = 0
    cards: int = 0
