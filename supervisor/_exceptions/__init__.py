"""From a living exception and process to plain facts that can be kept, stored and sent.

What looks at exceptions is loaded when there is one: a run that goes well does without it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from supervisor._exceptions.plain import (
    MESSAGE_LIMIT,
    TRACEBACK_LIMIT,
    VALUE_LIMIT,
    plain_value,
    safe_text,
    type_name,
)
from supervisor._exceptions.process_facts import (
    command_line,
    host,
    process_facts,
    python_version,
    script_name,
    stem,
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

_MOST_FRAMES = 100


def error_details(
    error: BaseException, *, thread: str = "", show_locals: bool = False, redactor: Redactor | None = None
) -> ErrorDetails:
    """Return what went wrong, as text of bounded size. It never raises, whatever the exception does.

    The traceback is Python's, but frames of libraries between those of the script are told in one line, recursion is
    shown once, and what is too much is left out with a note. An exception whose class has a method
    ``__supervisor_error_details__()`` that returns an ``ErrorDetails`` speaks for itself; its words are redacted and
    bounded like all others.

    Args:
        error: The exception, with its traceback.
        thread: The name of the thread or task that it came from; "" for the run's own.
        show_locals: Whether to tell the local variables of the script's frames. No code of the script is run for it:
            objects are shown by their attributes, large ones by type and size.
        redactor: Takes secrets out of all texts, before anything is cut; None leaves them. The fingerprint does not
            depend on it.
    """
    try:
        from supervisor._exceptions.details import details_of

        return details_of(error, thread, redactor, show_locals=show_locals)
    except BaseException:  # noqa: BLE001 - the run's boundary: no memory, stack or file is left to load it with
        return _bare_details(error, thread, redactor)


def _bare_details(error: BaseException, thread: str, redactor: Redactor | None) -> ErrorDetails:
    """Return what can be told without loading anything: a script that has opened too many files needs this."""
    from supervisor._models.values import ErrorDetails

    kind = type(error).__name__
    try:
        message = safe_text(error)
        lines = "Traceback (most recent call last):", *deque(_frames(error), maxlen=_MOST_FRAMES), f"{kind}: {message}"
        texts = message, "\n".join(lines), thread
        message, trace, thread = texts if redactor is None else map(redactor.text, texts)
    except BaseException:  # noqa: BLE001 - the same
        return ErrorDetails(type=kind)
    return ErrorDetails(type=kind, message=message[:MESSAGE_LIMIT], traceback=trace[-TRACEBACK_LIMIT:], thread=thread)


def _frames(error: BaseException) -> Iterator[str]:
    """Yield a line for each frame, as Python has it; the code itself stands in files, which cannot be read."""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        yield f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}'
        trace = trace.tb_next
