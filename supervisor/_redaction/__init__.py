"""Takes secrets out of everything before it is stored or sent.

A hint is looked for first, by few walks over the bytes (:mod:`.sieve`); only where there is one, a closer look is taken
(:mod:`.keyed`, :mod:`.shapes`, :mod:`.urls`, :mod:`.pem`). So texts without hints cost little, and no pattern ever
runs over a whole log. All works on bytes: a log need not be valid in any encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._lazy import loads

if TYPE_CHECKING:
    from supervisor._redaction.credentials import secrets_of
    from supervisor._redaction.redactor import REDACTED, Redactor, redactor_for
    from supervisor._redaction.streaming import BytesFilter

__all__ = ["REDACTED", "BytesFilter", "Redactor", "redactor_for", "secrets_of"]

_MODULES = {
    "REDACTED": "redactor",
    "BytesFilter": "streaming",
    "Redactor": "redactor",
    "redactor_for": "redactor",
    "secrets_of": "credentials",
}

# Most runs only ask whether a name tells of a secret.
__getattr__ = loads(__name__, _MODULES)
