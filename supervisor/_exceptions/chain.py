"""Read exceptions safely: their chain, groups, notes and texts, even if their class raises when it is examined."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from supervisor._exceptions.plain import MESSAGE_LIMIT, fit, safe_text, type_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from supervisor._redaction import Redactor

T = TypeVar("T")


def safe_result(make: Callable[..., T], *arguments: Any, otherwise: T) -> T:
    """Return what a function returns, or another value if it raises.

    The function examines objects of the script, which may raise anything; memory or stack may be exhausted, too.

    Args:
        make: The function.
        arguments: Its arguments.
        otherwise: What is returned if it raises.
    """
    try:
        return make(*arguments)
    except BaseException:  # noqa: BLE001 - the run's boundary: a fault of a report must not replace the error itself
        return otherwise


CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"
MOST_NOTES = 20

_MOST_LINKS = 20
_LONGEST_CHAIN = 10_000
# The class of an exception may override these attributes; the base class has the values that Python uses.
_TRACE, _CAUSE, _CONTEXT, _SUPPRESSED = (
    vars(BaseException)[name] for name in ("__traceback__", "__cause__", "__context__", "__suppress_context__")
)
_EXCEPTIONS = vars(BaseExceptionGroup)["exceptions"]


class Link(NamedTuple):
    """One exception of a chain.

    Args:
        error: The exception.
        sentence: The text between it and the exception that it led to; "" for the last one.
    """

    error: BaseException
    sentence: str


def trace_of(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception."""
    trace: TracebackType | None = _TRACE.__get__(error)
    return trace


def group_of(error: BaseException) -> tuple[BaseException, ...] | None:
    """Return the exceptions of a group; None if it is no group."""
    if not issubclass(type(error), BaseExceptionGroup):
        return None
    errors: tuple[BaseException, ...] = _EXCEPTIONS.__get__(error)
    return errors


def chain_of(error: BaseException, seen: set[int]) -> list[Link]:
    """Return an exception and those that led to it, newest first; only the two ends of a long chain.

    Args:
        error: The newest exception.
        seen: The ids of exceptions that are not shown again; those of the chain are added.
    """
    links: list[Link] = [Link(error, "")]
    seen.add(id(error))
    while len(links) < _LONGEST_CHAIN:
        earlier = previous(error)
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


def previous(error: BaseException) -> Link | None:
    """Return the exception that led to another one; None if none did or if it is suppressed."""
    cause = _CAUSE.__get__(error)
    if cause is not None:
        return Link(cause, CAUSE)
    context = None if _SUPPRESSED.__get__(error) else _CONTEXT.__get__(error)
    return None if context is None else Link(context, CONTEXT)


def notes_of(error: BaseException) -> list[str]:
    """Return the notes that were added with ``add_note``, at most twenty; if there are more, a last one says so."""
    notes = safe_result(_notes_attribute, error, otherwise=None)
    if notes is None:
        return []
    if not issubclass(type(notes), (list, tuple)):
        return [safe_text(notes)]
    size, texts = len(notes), [safe_text(each) for each in notes[:MOST_NOTES]]
    return texts if size <= MOST_NOTES else [*texts, f"... {size - MOST_NOTES:,} more notes"]


def _notes_attribute(error: BaseException) -> Any:
    """Return the notes of an exception or of its class."""
    return object.__getattribute__(error, "__notes__")


def class_name_of(error: BaseException) -> str:
    """Return the name of an exception's class; "exception" if its metaclass raises."""
    return safe_result(type_name, type(error), otherwise="exception")


_LONGEST_CODE = 1_000
_LONGEST_NAME_ERROR = 1_000


def message_text(error: BaseException, redactor: Redactor | None) -> str:
    """Return the message of an exception, in which no secret is hidden by quoting.

    A ``KeyError`` and exceptions with several arguments show the ``repr`` of their arguments, so secrets are removed
    from the arguments first. Other secrets may still be in the message.
    """
    text = None if redactor is None else safe_result(_of_arguments, error, redactor, otherwise=None)
    return safe_text(error) if text is None else text


def _of_arguments(error: BaseException, redactor: Redactor) -> str | None:
    """Return the message built from redacted arguments as Python does it; None if there is nothing to redact."""
    arguments = vars(BaseException)["args"].__get__(error)
    is_key = type(error).__str__ is KeyError.__str__ and len(arguments) == 1
    if not is_key and not (type(error).__str__ is BaseException.__str__ and len(arguments) > 1):
        return None
    clean = tuple(fit(each, MESSAGE_LIMIT, redactor) if type(each) is str else each for each in arguments)
    if all(one is other for one, other in zip(clean, arguments, strict=True)):
        return None
    return repr(clean[0] if is_key else clean)


def exception_text(error: BaseException, redactor: Redactor | None) -> str:
    """Return an exception as Python shows it below the traceback: type and message, and the place of a syntax error.

    Args:
        error: The exception.
        redactor: As for :func:`message_text`.
    """
    kind, text = class_name_of(error), message_text(error, redactor)
    line = f"{kind}: {text}" if text else kind
    if issubclass(type(error), SyntaxError):
        return safe_result(_syntax, error, line, otherwise=line)
    if sys.version_info >= (3, 12) and issubclass(type(error), (NameError, AttributeError, ImportError)):
        return safe_result(_with_suggestion, error, line, otherwise=line)
    return line


def _syntax(error: SyntaxError, line: str) -> str:
    """Return the file, the source line and the marks of a syntax error, as this version of Python shows them."""
    message = f"{class_name_of(error)}: {safe_text(error.msg or '<no detail available>')}"
    if error.lineno is None:
        return message if error.filename is None else f"{message} ({error.filename})"
    if not isinstance(error.text, (str, type(None))) or len(error.text or "") > _LONGEST_CODE:
        return line
    # A new exception, since Python would examine the whole chain of the original one.
    details = (error.filename, error.lineno, error.offset, error.text, error.end_lineno, error.end_offset)
    bare = SyntaxError("x", details if error.end_lineno is not None else details[:4])
    return "".join([*traceback.format_exception_only(bare)[:-1], message])


def _with_suggestion(error: BaseException, line: str) -> str:
    """Return the line with a suggestion of what was meant, as this version of Python makes it."""
    trace = trace_of(error)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if len(line) > _LONGEST_NAME_ERROR or trace is None or previous(error) is not None:
        return line  # Python would examine the whole chain, which may be very long
    whole = traceback.TracebackException(type(error), error, trace, lookup_lines=False, compact=True)
    text = next(iter(whole.format_exception_only())).rstrip("\n")
    return text if text.startswith(line) else line
