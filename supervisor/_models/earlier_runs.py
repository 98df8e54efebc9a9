"""What came before a run: the last runs of its name, and how many ended alike in a row."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from supervisor._models.kinds import Outcome

LAST_RUNS = 30
MOST_IN_A_ROW = 500
"""What ended alike in a row is counted no further."""


def _frozen(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


@attrs.frozen(kw_only=True)
class PastRun:
    """One earlier run.

    Args:
        outcome: How it ended.
        started_at: When it started, as an aware UTC datetime.
        duration_s: How long it took; of one that died, to its last sign of life.
        values: What it recorded.
        fingerprint: That of its error; "" without one.
    """

    outcome: Outcome
    started_at: datetime
    duration_s: float = 0.0
    values: Mapping[str, Any] = attrs.field(factory=dict, converter=_frozen, hash=False)
    fingerprint: str = ""


@attrs.frozen(kw_only=True)
class Past:
    """What came before a run. Runs that were under way at that moment are not in it.

    Args:
        runs: The last ended runs of the same name, newest first, 30 at most.
        successes: How many runs in a row went well right before; counted to 500.
        failures: How many runs in a row failed right before; those that were interrupted, cancelled or skipped
            neither count nor end the row.
        failing_since: When the first of those failures started; None without any.
    """

    runs: tuple[PastRun, ...] = ()
    successes: int = 0
    failures: int = 0
    failing_since: datetime | None = None
