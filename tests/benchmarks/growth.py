"""Whether a row has become slower than it was: its ratio to the limit of the same run, beside the stored one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.benchmarks.table import Row

STORED = Path(__file__).with_name("ratios.json")
MOST = 4 / 3


def stored() -> dict[str, float]:
    """Return the ratios that later ones are compared with; none when nothing was stored."""
    ratios: dict[str, float] = json.loads(STORED.read_text()) if STORED.exists() else {}
    return ratios


def store(rows: Iterable[Row]) -> None:
    """Store the ratios of these rows, and keep those of the others."""
    ratios = stored() | {row.key: round(row.ratio, 3) for row in rows if row.ratio is not None}
    STORED.write_text(json.dumps(dict(sorted(ratios.items())), indent=4) + "\n")


def grown(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line for each row whose ratio has grown by more than a third."""
    before = stored()
    for row in rows:
        was = before.get(row.key)
        if row.ratio is not None and was and row.ratio > was * MOST:
            yield f"{row.key}: {row.ratio:.2f} times its limit, was {was:.2f} (at most {was * MOST:.2f} is let pass)"
