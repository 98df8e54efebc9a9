"""What tests of the commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hooks import Hook
from journalled import Past

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def past(state: Path) -> Iterator[Past]:
    """Return a journal to write into."""
    past = Past(state)
    yield past
    past.journal.close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    """Return a web server that takes what webhooks send."""
    hook = Hook()
    yield hook
    hook.close()
