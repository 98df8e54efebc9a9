"""For writers of handlers: a message as HTML or in its parts, the kinds of redacted secrets, and handlers by scheme.

Another package offers a handler by an entry point in the group ``supervisor.message_handlers``; its name is the scheme.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._lazy import loads

if TYPE_CHECKING:
    from supervisor._messages.rendering import as_html
    from supervisor._messages.sections import parts_of
    from supervisor._models.parts import (
        Bars,
        Code,
        Facts,
        Part,
        Row,
        Table,
        Text,
        as_data,
    )
    from supervisor._models.values import note_handover
    from supervisor._redaction.redactor import REDACTED
    from supervisor.message_handlers._registry import handler_class

__all__ = [
    "REDACTED",
    "Bars",
    "Code",
    "Facts",
    "Part",
    "Row",
    "Table",
    "Text",
    "as_data",
    "as_html",
    "handler_class",
    "note_handover",
    "parts_of",
]

_MODULES = {
    "REDACTED": "_redaction.redactor",
    "Bars": "_models.parts",
    "Code": "_models.parts",
    "Facts": "_models.parts",
    "Part": "_models.parts",
    "Row": "_models.parts",
    "Table": "_models.parts",
    "Text": "_models.parts",
    "as_data": "_models.parts",
    "as_html": "_messages.rendering",
    "handler_class": "message_handlers._registry",
    "note_handover": "_models.values",
    "parts_of": "_messages.sections",
}

# A handler that only sends texts loads none of it.
__getattr__ = loads("supervisor", _MODULES)


def __dir__() -> list[str]:
    return sorted(__all__)
