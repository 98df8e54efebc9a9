"""What an exception bears, read past whatever its class puts in the way.

- The one place that stops whatever a hostile exception raises while it is looked at.
- The line in which Python says what was raised.
"""

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


def attempt(make: Callable[..., T], *arguments: Any, otherwise: T) -> T:
    """Return what a function makes, or something else where it raises.

    What is looked at is a script's: it may raise whatever it likes, memory may be gone, and the stack exhausted.

    Args:
        make: The function.
        arguments: What it gets.
        otherwise: What is returned instead.
    """
    try:
        return make(*arguments)
    except BaseException:  # noqa: BLE001 - the run's boundary: no fault of a report may replace what it is about
        return otherwise


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
    notes = attempt(_notes_attribute, error, otherwise=None)
    if notes is None:
        return []
    if not issubclass(type(notes), (list, tuple)):
        return [safe_text(notes)]
    size, texts = len(notes), [safe_text(each) for each in notes[:MOST_NOTES]]
    return texts if size <= MOST_NOTES else [*texts, f"... {size - MOST_NOTES:,} more notes"]


def _notes_attribute(error: BaseException) -> Any:
    """Return the notes of an exception; its class may give some to all."""
    return object.__getattribute__(error, "__notes__")


def kind_of(error: BaseException) -> str:
    """Return the name of an exception's class; "exception" where a metaclass does not tell."""
    return attempt(type_name, type(error), otherwise="exception")


_LONGEST_CODE = 1_000
_LONGEST_NAME_ERROR = 1_000


def text_of(error: BaseException, redactor: Redactor | None) -> str:
    """Return the text of an exception; it may still have secrets, but none that quotes within quotes would hide.

    A ``KeyError`` and exceptions with several arguments quote what they are given, so their arguments are looked at
    before that.
    """
    text = None if redactor is None else attempt(_of_arguments, error, redactor, otherwise=None)
    return safe_text(error) if text is None else text


def _of_arguments(error: BaseException, redactor: Redactor) -> str | None:
    """Return a text that is made of arguments as Python makes it; None where they have no secrets, or it is not."""
    arguments = vars(BaseException)["args"].__get__(error)
    is_key = type(error).__str__ is KeyError.__str__ and len(arguments) == 1
    if not is_key and not (type(error).__str__ is BaseException.__str__ and len(arguments) > 1):
        return None
    clean = tuple(fit(each, MESSAGE_LIMIT, redactor) if type(each) is str else each for each in arguments)
    if all(one is other for one, other in zip(clean, arguments, strict=True)):
        return None
    return repr(clean[0] if is_key else clean)


def last_words(error: BaseException, redactor: Redactor | None) -> str:
    """Return an exception as Python says it below the traceback: type and text, for a syntax error with its place.

    Args:
        error: The exception.
        redactor: As for :func:`text_of`.
    """
    kind, text = kind_of(error), text_of(error, redactor)
    line = f"{kind}: {text}" if text else kind
    if issubclass(type(error), SyntaxError):
        return attempt(_syntax, error, line, otherwise=line)
    if sys.version_info >= (3, 12) and issubclass(type(error), (NameError, AttributeError, ImportError)):
        return attempt(_with_suggestion, error, line, otherwise=line)
    return line


def _syntax(error: SyntaxError, line: str) -> str:
    """Return the file, the line of code and the mark below it, as this version of Python shows them."""
    message = f"{kind_of(error)}: {safe_text(error.msg or '<no detail available>')}"
    if error.lineno is None:
        return message if error.filename is None else f"{message} ({error.filename})"
    if not isinstance(error.text, (str, type(None))) or len(error.text or "") > _LONGEST_CODE:
        return line
    # A new one, since Python looks at all of an exception's chain before it says a word.
    details = (error.filename, error.lineno, error.offset, error.text, error.end_lineno, error.end_offset)
    bare = SyntaxError("x", details if error.end_lineno is not None else details[:4])
    return "".join([*traceback.format_exception_only(bare)[:-1], message])


def _with_suggestion(error: BaseException, line: str) -> str:
    """Return the line with what was probably meant, as this version of Python guesses."""
    trace = trace_of(error)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if len(line) > _LONGEST_NAME_ERROR or trace is None or before(error) is not None:
        return line  # Python would look at the whole chain, however long that is
    whole = traceback.TracebackException(type(error), error, trace, lookup_lines=False, compact=True)
    said = next(iter(whole.format_exception_only())).rstrip("\n")
    return said if said.startswith(line) else line
