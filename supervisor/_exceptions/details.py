"""From an exception to plain facts that can be kept, stored and sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from supervisor._exceptions.chain import attempt, kind_of, notes_of, text_of, trace_of
from supervisor._exceptions.frames import fingerprint, frames_of, innermost, own_package, said
from supervisor._exceptions.plain import MESSAGE_LIMIT, TRACEBACK_LIMIT, fit, fit_line
from supervisor._exceptions.source import Sources
from supervisor._exceptions.traceback import Composer
from supervisor._exceptions.variables import Shower, local_variables
from supervisor._models.values import ErrorDetails

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor._exceptions.frames import Seen
    from supervisor._redaction import Redactor

OWN_DETAILS = "__supervisor_error_details__"

_NOTE_LIMIT = 1_000
_NAME_LIMIT = 300


def details_of(error: BaseException, thread: str, redactor: Redactor | None, *, show_locals: bool) -> ErrorDetails:
    """Return what went wrong; see :func:`supervisor._exceptions.error_details`."""
    package = attempt(own_package, trace_of(error), otherwise="")
    frames: Sequence[Seen] = attempt(frames_of, trace_of(error), package, otherwise=[])
    own = attempt(_own_details, error, frames, thread, redactor, otherwise=None)
    if own is not None:
        return own
    there, sources, nothing = innermost(frames), Sources(redactor), ("", "")
    source, excerpt = nothing if there is None else attempt(sources.excerpt, there, otherwise=nothing)
    composer = Composer(sources, redactor, package, there if show_locals else None)
    kind = kind_of(error)
    return ErrorDetails(
        type=kind,
        message=attempt(_message, error, redactor, otherwise="<its text cannot be shown>"),
        where=attempt(_line, said(there), redactor, otherwise=""),
        source=source,
        excerpt=excerpt,
        notes=attempt(_notes, error, redactor, otherwise=()),
        local_variables=attempt(_variables, there, redactor, otherwise=()) if show_locals else (),
        traceback=attempt(composer.compose, error, frames, otherwise=f"{kind}: its traceback cannot be shown"),
        thread=attempt(_line, thread, redactor, otherwise="a thread"),
        fingerprint=attempt(fingerprint, kind, frames, otherwise=""),
    )


def _message(error: BaseException, redactor: Redactor | None) -> str:
    text = text_of(error, redactor)
    return fit(text, MESSAGE_LIMIT, redactor) if text else ""


def _line(text: str, redactor: Redactor | None) -> str:
    return fit_line(text, _NAME_LIMIT, redactor) if text else ""


def _notes(error: BaseException, redactor: Redactor | None) -> tuple[str, ...]:
    return tuple(fit(each, _NOTE_LIMIT, redactor) for each in notes_of(error))


def _variables(there: Seen | None, redactor: Redactor | None) -> tuple[tuple[str, str], ...]:
    """Return the variables where it happened; those of libraries are none of the script's."""
    return (
        tuple(local_variables(there.trace.tb_frame, Shower(redactor))) if there is not None and there.is_script else ()
    )


def _own_details(
    error: BaseException, frames: Sequence[Seen], thread: str, redactor: Redactor | None
) -> ErrorDetails | None:
    """Return what an exception says of itself, where it knows better; None where it does not."""
    ask = getattr(type(error), OWN_DETAILS, None)
    details = ask(error) if callable(ask) else None
    if not isinstance(details, ErrorDetails):
        return None
    return attrs.evolve(
        _without_secrets(details, redactor),
        thread=_line(thread or details.thread, redactor),
        fingerprint=details.fingerprint or fingerprint(details.type, frames),
    )


def _without_secrets(details: ErrorDetails, redactor: Redactor | None) -> ErrorDetails:
    """Return details without secrets, each text within the bounds that hold for all."""
    if redactor is not None:
        from supervisor._redaction.redactor import redacted_error

        details = redacted_error(redactor, details)
    return attrs.evolve(
        details,
        message=fit(details.message, MESSAGE_LIMIT, redactor),
        where=_line(details.where, redactor),
        source=_line(details.source, redactor),
        excerpt=fit(details.excerpt, MESSAGE_LIMIT, redactor),
        notes=tuple(fit(each, _NOTE_LIMIT, redactor) for each in details.notes),
        local_variables=tuple((name, fit(text, _NOTE_LIMIT, redactor)) for name, text in details.local_variables),
        traceback=fit(details.traceback, TRACEBACK_LIMIT, redactor),
    )
