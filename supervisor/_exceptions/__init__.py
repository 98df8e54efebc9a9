"""Convert exceptions and facts about the process into plain values that can be kept, stored and sent.

In goes a live exception, a recorded value, or this process; out come an ``ErrorDetails``, bounded texts, and facts for
a report. What examines exceptions is imported when there is one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from supervisor._exceptions.facts import (
    MESSAGE_LIMIT,
    TRACEBACK_LIMIT,
    VALUE_LIMIT,
    bases_of,
    boot,
    command_line,
    file_times,
    folder_times,
    host,
    is_in_workflow,
    least_surroundings,
    place,
    plain_value,
    process_facts,
    python_version,
    safe_text,
    script_name,
    script_path,
    stem,
    type_name,
    used,
    user,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._models.values import ErrorDetails
    from supervisor._redaction import Redactor

__all__ = [
    "MESSAGE_LIMIT",
    "TRACEBACK_LIMIT",
    "VALUE_LIMIT",
    "bases_of",
    "boot",
    "command_line",
    "error_details",
    "file_times",
    "folder_times",
    "host",
    "in_brief",
    "is_in_workflow",
    "least_surroundings",
    "place",
    "plain_value",
    "process_facts",
    "python_version",
    "safe_text",
    "script_name",
    "script_path",
    "stem",
    "type_name",
    "used",
    "user",
]

_MOST_FRAMES = 100


def error_details(
    error: BaseException, *, thread: str = "", show_locals: bool = False, redactor: Redactor | None = None
) -> ErrorDetails:
    """Return an exception as texts of bounded size. It never raises, whatever the exception does.

    The traceback is formatted as Python does it, but consecutive frames of libraries are folded into one line, a
    recursion is shown once, and what is too long is left out with a note. If the class of the exception has a method
    ``__supervisor_error_details__()`` that returns an ``ErrorDetails``, that is used; its texts are redacted and
    bounded like all others.

    Args:
        error: The exception, with its traceback.
        thread: The name of the thread or task that raised it; "" for the run's own.
        show_locals: Whether to show the local variables of the script's functions. No code of the script is executed
            for it: objects are shown by their attributes, large ones by type and size.
        redactor: Removes secrets from all texts before they are cut; None keeps them. The fingerprint does not
            depend on it.
    """
    try:
        from supervisor._exceptions.details import details_of

        return details_of(error, thread, redactor, show_locals=show_locals)
    except BaseException:  # noqa: BLE001 - the run's boundary: no memory, stack or file is left to import the module
        return _bare_details(error, thread, redactor)


_BRIEF = 300


def in_brief(error: ErrorDetails) -> ErrorDetails:
    """Return an error in a few words: its type, its message and its place."""
    from supervisor._models.values import ErrorDetails
    from supervisor._text import one_line

    message = one_line(error.message, _BRIEF)
    return ErrorDetails(type=error.type, message=message, where=error.where, fingerprint=error.fingerprint)


def _bare_details(error: BaseException, thread: str, redactor: Redactor | None) -> ErrorDetails:
    """Return details that need no further import: a script that has opened too many files cannot import anything."""
    from supervisor._models.values import ErrorDetails

    kind = type(error).__name__
    try:
        message = safe_text(error)
        lines = "Traceback (most recent call last):", *deque(_frames(error), maxlen=_MOST_FRAMES), f"{kind}: {message}"
        texts = message, "\n".join(lines), thread
        message, trace, thread = texts if redactor is None else map(redactor.text, texts)
    except BaseException:  # noqa: BLE001 - the run's boundary: redaction may lack memory or files, too
        return ErrorDetails(type=kind)
    return ErrorDetails(
        type=kind,
        message=message[:MESSAGE_LIMIT],
        traceback=trace[-TRACEBACK_LIMIT:],
        thread=thread,
        bases=bases_of(type(error)),
    )


def _frames(error: BaseException) -> Iterator[str]:
    """Yield one line for each frame, without its source code, since no file can be read."""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        yield f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}'
        trace = trace.tb_next
