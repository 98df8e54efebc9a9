"""Remove secrets from everything that is stored or sent.

In go texts, values, models, or the bytes of a log; out come the same without secrets, see :class:`.redactor.Redactor`.
A trigger, a short text that is near every secret, is looked for first (:mod:`.scanner`); only where one is found are
patterns applied (:mod:`.key_values`, :mod:`.shapes`, ...). Everything works on bytes: a log need not be valid text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._lazy import loads

if TYPE_CHECKING:
    from supervisor._redaction.credentials import secrets_of
    from supervisor._redaction.redactor import REDACTED, BytesFilter, Redactor, redactor_for

__all__ = ["REDACTED", "BytesFilter", "Redactor", "redactor_for", "secrets_of"]

_MODULES = {
    "REDACTED": "redactor",
    "BytesFilter": "redactor",
    "Redactor": "redactor",
    "redactor_for": "redactor",
    "secrets_of": "credentials",
}

# Loaded when used: most runs only check whether a name means a secret.
__getattr__ = loads(__name__, _MODULES)
