"""What an exception bears, read past whatever its class puts in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor._exceptions.guard import attempt
from supervisor._exceptions.plain import safe_text, type_name

if TYPE_CHECKING:
    from types import TracebackType

CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"
MOST_NOTES = 20

_MOST_LINKS = 20
_LONGEST_CHAIN = 10_000
# An exception class may define properties of these names; what Python itself knows stands in the base.
_TRACE, _CAUSE, _CONTEXT, _SUPPRESSED = (
    vars(BaseException)[name] for name in ("__traceback__", "__cause__", "__context__", "__suppress_context__")
)
_EXCEPTIONS = vars(BaseExceptionGroup)["exceptions"]


class Link(NamedTuple):
    """One exception of a chain.

    Args:
        error: The exception.
        sentence: What stands between it and the one that came after it; "" for the last one.
    """

    error: BaseException
    sentence: str


def trace_of(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception."""
    trace: TracebackType | None = _TRACE.__get__(error)
    return trace


def group_of(error: BaseException) -> tuple[BaseException, ...] | None:
    """Return the exceptions of a group; None where it is none."""
    if not issubclass(type(error), BaseExceptionGroup):
        return None
    errors: tuple[BaseException, ...] = _EXCEPTIONS.__get__(error)
    return errors


def chain_of(error: BaseException, seen: set[int]) -> list[Link]:
    """Return an exception and what led to it, newest first; of a long chain the two ends.

    Args:
        error: The newest exception.
        seen: The ids of those that were shown, which are not shown again; these are added.
    """
    links: list[Link] = [Link(error, "")]
    seen.add(id(error))
    while len(links) < _LONGEST_CHAIN:
        earlier = before(error)
        if earlier is None or id(earlier.error) in seen:
            break
        seen.add(id(earlier.error))
        links.append(earlier)
        error = earlier.error
    if len(links) <= _MOST_LINKS:
        return links
    half = _MOST_LINKS // 2
    left_out = f"{links[half].sentence}\n\n[... {len(links) - _MOST_LINKS:,} exceptions between them left out ...]"
    return [*links[:half], links[-half]._replace(sentence=left_out), *links[-half + 1 :]]


def before(error: BaseException) -> Link | None:
    """Return the exception that led to another one; None where none did, or where it is not to be shown."""
    cause = _CAUSE.__get__(error)
    if cause is not None:
        return Link(cause, CAUSE)
    context = None if _SUPPRESSED.__get__(error) else _CONTEXT.__get__(error)
    return None if context is None else Link(context, CONTEXT)


def notes_of(error: BaseException) -> list[str]:
    """Return what was added to an exception with ``add_note``, at most twenty; a last one tells of more."""
    notes = attempt(_notes, error, otherwise=None)
    if notes is None:
        return []
    if not issubclass(type(notes), (list, tuple)):
        return [safe_text(notes)]
    size, texts = len(notes), [safe_text(each) for each in notes[:MOST_NOTES]]
    return texts if size <= MOST_NOTES else [*texts, f"... {size - MOST_NOTES:,} more notes"]


def _notes(error: BaseException) -> Any:
    """Return the notes of an exception; its class may give some to all."""
    return object.__getattribute__(error, "__notes__")


def kind_of(error: BaseException) -> str:
    """Return the name of an exception's class; "exception" where a metaclass does not tell."""
    return attempt(type_name, type(error), otherwise="exception")
