"""Convert exceptions and facts about the process into plain values that can be kept, stored and sent.

In goes a live exception, a recorded value, or this process; out come an ``ErrorDetails``, bounded texts, and facts for
a report. What examines exceptions is imported when there is one.
"""

from __future__ import annotations

from supervisor._exceptions.facts import (
    command_line,
    error_details,
    host,
    process_facts,
    python_version,
    script_name,
    stem,
    used,
    user,
)
from supervisor._exceptions.plain import (
    MESSAGE_LIMIT,
    TRACEBACK_LIMIT,
    VALUE_LIMIT,
    plain_value,
    safe_text,
    type_name,
)

__all__ = [
    "MESSAGE_LIMIT",
    "TRACEBACK_LIMIT",
    "VALUE_LIMIT",
    "command_line",
    "error_details",
    "host",
    "plain_value",
    "process_facts",
    "python_version",
    "safe_text",
    "script_name",
    "stem",
    "type_name",
    "used",
    "user",
]
