"""Takes secrets out of everything before it is stored or sent.

A hint is looked for first, by one walk over the bytes (:mod:`.sieve`); only where there is one, a closer look is taken
(:mod:`.keyed`, :mod:`.shapes`, :mod:`.urls`, :mod:`.pem`). So texts without hints cost little, and no pattern ever
runs over a whole log. All works on bytes: a log need not be valid in any encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.redaction.handlers import secrets_of
from supervisor.redaction.redactor import BUILT_IN, Redactor, redactor_for

if TYPE_CHECKING:
    from supervisor.redaction.streaming import BytesFilter

__all__ = ["BUILT_IN", "BytesFilter", "Redactor", "redactor_for", "secrets_of"]


def __getattr__(name: str) -> Any:
    """Load what redacts logs when it is first asked for."""
    if name != "BytesFilter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from supervisor.redaction.streaming import BytesFilter

    return BytesFilter
