"""What takes secrets out of the text that is attached, while it is copied.

Who sends a message says what redacts it, by :func:`cleaned_by`; a handler that somebody calls directly redacts what is
known by its look.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor._redaction import BytesFilter, Redactor

_redactor: ContextVar[Callable[[], Redactor] | None] = ContextVar("supervisor_redactor", default=None)


@contextmanager
def cleaned_by(redactor: Callable[[], Redactor] | None) -> Iterator[None]:
    """Let a redactor look at all text that is attached in the block.

    Args:
        redactor: Returns it; it is asked only when there is text to look at. None for one that knows no credentials.
    """
    token = _redactor.set(redactor)
    try:
        yield
    finally:
        _redactor.reset(token)


def new_filter() -> BytesFilter:
    """Return what redacts one text on its way through."""
    return _chosen().bytes_filter()


def clean_name(name: str) -> str:
    """Return the name of a file without secrets."""
    return _chosen().text(name)


def _chosen() -> Redactor:
    chosen = _redactor.get()
    if chosen is not None:
        return chosen()
    from supervisor._redaction import Redactor

    return Redactor()
