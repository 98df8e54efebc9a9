"""One run as it is seen while the journal is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor._store.sqlite.queries import StoredRun


@attrs.frozen(kw_only=True)
class Seen:
    """A run, and what was found out about it.

    Args:
        run: The run as it lies in the journal.
        code: How it ended, by its place in ``OUTCOMES``.
        duration_s: How long it took, or takes so far.
        values: What it recorded.
        note: What else there is to say of it; "" for nothing.
    """

    run: StoredRun
    code: int
    duration_s: float
    values: Mapping[str, Any]
    note: str = ""
